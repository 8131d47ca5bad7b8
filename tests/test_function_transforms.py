"""The functions of matrices take part in everything that the decompositions do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from bench import FRAMEWORKS, Autograd, Jax, Numpy, Torch
from cases import _dyadic_frame, _gaussian, _hermitian

import loewner as lw

def like(fw: Any, c: np.ndarray, x: Any) -> Any:
    """A constant with the dtype of x, real if x is."""
    name = str(x.dtype).rpartition(".")[2]
    return fw.array((c if name.startswith("complex") else c.real).astype(name))


SPECTRA = {
    "positive": [0.5, 1.0, 1.0, 3.5],
    "indefinite": [-2.0, -1.0, 1.0, 1.0],
    "distinct": [0.5, 1.0, 2.0, 3.5],
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """value(fw, a) is an array or a tuple of arrays."""

    name: str
    kind: str
    """positive or indefinite (Hermitian); tall, wide or square"""
    value: Callable[[Any, Any], Any]
    powers: tuple[float, ...] | None = None
    """of c, which the values of c a have beside those of a; None if not homogeneous"""
    complex: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def hermitian(self) -> bool:
        return self.kind in SPECTRA

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([stream, *self.kind.encode()])

    def matrix(self, z: bool = False) -> np.ndarray:
        """With exact repeats if Hermitian: the frames are dyadic."""
        rng = self._generator(0)
        if self.hermitian:
            v = _dyadic_frame(rng, 4, z)
            return _hermitian((v * SPECTRA[self.kind]) @ v.conj().T)
        shape = {"tall": (4, 3), "wide": (3, 4), "square": (3, 3)}[self.kind]
        a = _gaussian(rng, shape, z)
        return a

    def direction(self, z: bool = False, stream: int = 1) -> np.ndarray:
        e = _gaussian(self._generator(stream), self.matrix().shape, z)
        return _hermitian(e) if self.hermitian else e


def _h(name, value, powers=None, kind="positive", **more):
    return Entry(name, kind, value, powers, **more)


def _softmax(fw):
    def f(w):
        e = fw.functions.exp(-w)
        return e / e.sum(-1)[..., None]

    return f


MIXING = np.array([[1.0, 0.5, 0.0], [-1.0, 0.25, 1.0], [0.5, 1.0, -2.0]])
TARGET = np.random.default_rng(5).integers(-8, 9, (4, 3)) / 8.0

ENTRIES = [
    _h("expm", lambda fw, a: lw.expm(a, hermitian=True)),
    _h("logm", lambda fw, a: lw.logm(a, hermitian=True)),
    _h("sqrtm", lambda fw, a: lw.sqrtm(a, hermitian=True), (0.5,)),
    _h("invsqrtm", lambda fw, a: lw.invsqrtm(a, hermitian=True), (-0.5,)),
    _h("power", lambda fw, a: lw.fractional_matrix_power(a, 0.7, hermitian=True)),
    _h("inverse", lambda fw, a: lw.fractional_matrix_power(a, -1, hermitian=True), (-1,)),
    _h("signm", lambda fw, a: lw.signm(a, hermitian=True), (0,), "indefinite"),
    _h("funm", lambda fw, a: lw.funm(a, fw.functions.sin)),
    _h("spectral_sum", lambda fw, a: lw.spectral_sum(a, lambda x: x * fw.functions.log(x))),
    _h("spectral_map", lambda fw, a: lw.spectral_map(a, _softmax(fw)), None, "distinct"),
    _h("spectral_projector", lambda fw, a: lw.spectral_projector(a, 2), (0,), "indefinite"),
    _h("spectral_mean", lambda fw, a: lw.spectral_mean(a, 2), (1,), "indefinite"),
    _h("pinv-hermitian", lambda fw, a: lw.pinv(a, hermitian=True), (-1,), "indefinite"),
    _h("sum_largest", lambda fw, a: lw.sum_largest(a, 2), (1,), "indefinite"),
    Entry("singular_value_map", "tall", lambda fw, a: lw.singular_value_map(a, fw.functions.tanh)),
    Entry("polar", "tall", lambda fw, a: tuple(lw.polar(a)), (0, 1)),
    Entry("polar-left", "wide", lambda fw, a: tuple(lw.polar(a, side="left")), (0, 1)),
    Entry("nearest_orthogonal", "wide", lambda fw, a: lw.nearest_orthogonal(a), (0,)),
    Entry("nearest_rotation", "square", lambda fw, a: lw.nearest_rotation(a), (0,), False),
    Entry("low_rank", "tall", lambda fw, a: lw.low_rank(a, 2), (1,)),
    Entry("pinv", "wide", lambda fw, a: lw.pinv(a), (-1,)),
    Entry("range_projector", "tall", lambda fw, a: lw.range_projector(a), (0,)),
    Entry("null_projector", "wide", lambda fw, a: lw.null_projector(a), (0,)),
    Entry("nuclear", "wide", lambda fw, a: lw.matrix_norm(a, "nuc"), (1,)),
    Entry("frobenius", "tall", lambda fw, a: lw.matrix_norm(a), (1,)),
    Entry("spectral", "wide", lambda fw, a: lw.matrix_norm(a, 2), (1,)),
    Entry("schatten", "square", lambda fw, a: lw.schatten_norm(a, 2.5), (1,)),
    Entry("ky_fan", "tall", lambda fw, a: lw.ky_fan_norm(a, 2), (1,)),
    Entry(
        "subspace_distance",
        "tall",
        lambda fw, a: lw.subspace_distance(lw.nearest_orthogonal(a), like(fw, np.eye(4, 3), a)),
    ),
    Entry("align", "tall", lambda fw, a: tuple(lw.align(a, like(fw, TARGET, a))), None, False),
    Entry("align-both", "tall", lambda fw, a: tuple(lw.align(a, a @ like(fw, MIXING, a))), (0, 1), False),
    Entry("whiten-zca", "tall", lambda fw, a: lw.whiten(a), (0,)),
    Entry("whiten-pca", "tall", lambda fw, a: lw.whiten(a, method="pca"), (0,)),
    Entry("whiten-cholesky", "tall", lambda fw, a: lw.whiten(a, method="cholesky"), (0,)),
]


WEIGHTS = np.random.default_rng(6).integers(-8, 9, (2, 2, 4, 4)) / 8.0  # exact in single precision


def loss(entry: Entry, fw: Any, unit: float = 1.0) -> Callable[[Any], Any]:
    """t + 0.3 t^2 of t = Re <C, X> for each matrix of a stack; X in multiples of unit^power."""

    def f(a):
        found = entry.value(fw, a)
        t = 0.0
        for i, x in enumerate(found if isinstance(found, tuple) else (found,)):
            rank = x.ndim - (a.ndim - 2)
            shape = tuple(x.shape)[x.ndim - rank :]
            c = WEIGHTS[i, 0] + 1j * WEIGHTS[i, 1]
            c = like(fw, c[tuple(slice(0, n) for n in (*shape, 1, 1)[:2])].reshape(shape) if rank==2 else c[0,:shape[0]] if rank==1 else c[0,0], x)
            if unit != 1:
                x = x * unit ** -entry.powers[i]
            x = fw.real(fw.conj(c) * x)
            for _ in range(rank):
                x = x.sum(-1)
            t = t + x
        return t + 0.3 * t * t

    return f
