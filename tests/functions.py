"""The table of the functions of matrices: each for arrays and for mpmath, and where it is tried.

A matrix has a spectrum of a stated kind, exact where values repeat (`cases`). The functions
of mpmath go through its own eigenvectors or singular vectors in 120 digits, where the
exact repeats of the stored matrix are resolved by the steps of the differences.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import reference
from cases import _dyadic_frame, _gaussian, _hermitian, _random_frame

Matrix = Any


@dataclasses.dataclass(frozen=True)
class Function:
    """value(lw, fw, *a) for arrays of any framework, true(*a) for mpmath."""

    name: str
    argument: str
    """hermitian, tall, wide, square: the shape of the (first) argument"""
    spectra: tuple[str, ...]
    value: Callable[..., Any]
    true: Callable[..., Any]
    fields: tuple[str, ...] = ("real", "complex")


SPECTRA = {
    # eigenvalues
    "positive": [0.5, 1.0, 2.0, 3.5],
    "positive-triple": [1.0, 1.0, 1.0, 2.5],
    "identity": [1.0] * 4,
    "indefinite": [-2.0, -2.0, 1.0, 1.0],
    "pair": [-2.0, 1.0, 1.0, 3.0],
    # singular values
    "distinct": [4.0, 3.0, 2.0, 1.0],
    "repeated": [3.0, 3.0, 1.0, 1.0],
    "orthogonal": [1.0] * 4,
    "deficient": [2.0, 2.0, 0.0, 0.0],
    "planar": [3.0, 2.0, 2.0, 0.0],
}


@dataclasses.dataclass(frozen=True)
class Trial:
    function: Function
    field: str
    spectrum: str

    def __str__(self) -> str:
        return f"{self.function.name}-{self.function.argument}-{self.field}-{self.spectrum}"

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([stream, *f"{self.function.argument} {self.field}".encode()])

    def matrix(self) -> np.ndarray:
        rng, z = self._generator(0), self.field == "complex"
        values = SPECTRA[self.spectrum]
        exact = len(set(values)) < len(values)
        frame = _dyadic_frame if exact else _random_frame
        if self.function.argument == "hermitian":
            v = frame(rng, 4, z)
            return _hermitian((v * values) @ v.conj().T)
        m = 4 if self.function.argument == "square" else 5
        u, v = frame(rng, m, z)[:, :4], frame(rng, 4, z)
        a = (u * values) @ v.conj().T
        if self.function.name.startswith("nearest_rotation") and np.linalg.det(a) < 0:
            a[:, 0] *= -1  # dyadic frames stay exact
        return a.conj().T.copy() if self.function.argument == "wide" else a

    def directions(self) -> tuple[np.ndarray, np.ndarray]:
        rng, a = self._generator(1), self.matrix()
        es = [_gaussian(rng, a.shape, self.field == "complex") for _ in range(2)]
        e, h = (_hermitian(x) for x in es) if self.function.argument == "hermitian" else es
        return e, h

    def weight(self) -> np.ndarray:
        return _gaussian(self._generator(2), (6, 6), self.field == "complex") / 2

    def loss(self, lw: Any, fw: Any) -> Callable[..., Any]:
        """t + 0.3 t^2 of t = Re <C, X>, or of a scalar X."""
        c = self.weight()

        def loss(a):
            x = self.function.value(lw, fw, a)
            if x.ndim == 0:
                return x + 0.3 * x * x
            w = fw.array(c[: x.shape[-2], : x.shape[-1]])
            t = fw.real(fw.conj(w) * x).sum()
            return t + 0.3 * t * t

        return loss

    def true_loss(self, a: Matrix):
        x = self.function.true(a)
        if hasattr(x, "rows"):
            c = self.weight()
            x = mp.fsum(
                mp.re(mp.conj(mp.mpmathify(complex(c[i, j]))) * x[i, j])
                for i in range(x.rows)
                for j in range(x.cols)
            )
        return x + mp.mpf(0.3) * x * x

    def derivatives(self, order: int) -> tuple[float, ...]:
        """dL[e]; d2L[e, h]; or d3L[e, e, e], in 50 digits."""
        with mp.workdps(reference.DIGITS):
            a, e, h = (reference.matrix(x) for x in (self.matrix(), *self.directions()))
            step = reference.STEP if order < 3 else mp.mpf(10) ** -20

            def at(s, t=0):
                return self.true_loss(a + s * step * e + t * step * h)

            if order == 3:
                return (float((at(2) - 2 * at(1) + 2 * at(-1) - at(-2)) / (2 * step**3)),)
            first = (at(1) - at(-1)) / (2 * step)
            cross = at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)
            return float(first), float(cross / (4 * step**2))


# mpmath


def eigen(a: Matrix):
    return reference._eigh(a)


def singular(a: Matrix):
    u, s, vh = mp.svd(a) if any(mp.im(x) for x in a) else mp.svd_r(a)
    return u, s, vh


def hermitian_map(f):
    """V diag(f(w)) V^H; f takes the list of eigenvalues."""

    def true(a):
        w, v = eigen(a)
        return v * mp.diag(f(w)) * v.H

    return true


def each(f):
    return hermitian_map(lambda w: [f(x) for x in w])


def singular_map(f):
    """U diag(f(s)) V^H of a matrix of any shape; f takes the list of singular values."""

    def true(a):
        u, s, vh = singular(a)
        return u * mp.diag(f(list(s))) * vh

    return true


def right_factor(a):
    _, s, vh = singular(a)
    if a.rows >= a.cols:
        return vh.H * mp.diag(list(s)) * vh
    raise NotImplementedError


def left_factor(a):
    u, s, _ = singular(a)
    return u * mp.diag(list(s)) * u.H


def rotation(a):
    u, s, vh = singular(a)
    signs = [1] * (a.rows - 1) + [mp.sign(mp.det(u * vh))]
    return u * mp.diag(signs) * vh


def softmax(w):
    total = mp.fsum(mp.exp(-x) for x in w)
    return [mp.exp(-x) / total for x in w]


def whitened(x):
    m = x.rows
    mean = [mp.fsum(x[i, j] for i in range(m)) / m for j in range(x.cols)]
    x = mp.matrix([[x[i, j] - mean[j] for j in range(x.cols)] for i in range(m)])
    s = x.H * x / (m - 1)
    return x, s


def zca(x):
    x, s = whitened(x)
    return x * each(lambda w: 1 / mp.sqrt(w))(s)


def cholesky(x):
    x, s = whitened(x)
    return x * mp.inverse(mp.cholesky(s)).H


def kept(k):
    return lambda s: [x if i < k else mp.mpf(0) for i, x in enumerate(s)]


# arrays


def _softmax(fw):
    xp = fw.functions

    def f(w):
        e = xp.exp(-w)
        return e / e.sum(-1)[..., None]

    return f


def _h(name, spectra, value, true, **more):
    return Function(name, "hermitian", tuple(spectra), value, true, **more)


def _s(name, arguments, spectra, value, true, **more):
    return [Function(name, x, tuple(spectra), value, true, **more) for x in arguments]


_POSITIVE = ("positive", "positive-triple")
_ALL = ("tall", "wide", "square")

FUNCTIONS: list[Function] = [
    _h("expm", ("pair",), lambda lw, fw, a: lw.expm(a, hermitian=True), each(mp.exp)),
    _h("logm", _POSITIVE, lambda lw, fw, a: lw.logm(a, hermitian=True), each(mp.log)),
    _h("sqrtm", _POSITIVE, lambda lw, fw, a: lw.sqrtm(a, hermitian=True), each(mp.sqrt)),
    _h(
        "invsqrtm",
        ("identity",),
        lambda lw, fw, a: lw.invsqrtm(a, hermitian=True),
        each(lambda x: 1 / mp.sqrt(x)),
    ),
    _h(
        "power1.7",
        ("positive-triple",),
        lambda lw, fw, a: lw.fractional_matrix_power(a, 1.7, hermitian=True),
        each(lambda x: x ** mp.mpf(1.7)),
    ),
    _h(
        "power-2",
        ("pair",),
        lambda lw, fw, a: lw.fractional_matrix_power(a, -2, hermitian=True),
        each(lambda x: x**-2),
    ),
    _h(
        "power3",
        ("pair",),
        lambda lw, fw, a: lw.fractional_matrix_power(a, 3, hermitian=True),
        each(lambda x: x**3),
    ),
    _h("signm", ("indefinite",), lambda lw, fw, a: lw.signm(a, hermitian=True), each(mp.sign)),
    _h("funm-sin", ("pair",), lambda lw, fw, a: lw.funm(a, fw.functions.sin), each(mp.sin)),
    _h(
        "spectral_sum",
        ("positive-triple",),
        lambda lw, fw, a: lw.spectral_sum(a, lambda x: x * fw.functions.log(x)),
        lambda a: mp.fsum(x * mp.log(x) for x in eigen(a)[0]),
    ),
    _h(
        "spectral_map",
        ("positive", "positive-triple"),
        lambda lw, fw, a: lw.spectral_map(a, _softmax(fw)),
        hermitian_map(softmax),
    ),
    _h(
        "spectral_projector-k",
        ("pair",),
        lambda lw, fw, a: lw.spectral_projector(a, 3),
        hermitian_map(lambda w: [1, 1, 1, 0]),
    ),
    _h(
        "spectral_projector-interval",
        ("pair",),
        lambda lw, fw, a: lw.spectral_projector(a, (0.0, 2.0)),
        hermitian_map(lambda w: [0, 1, 1, 0]),
    ),
    _h(
        "spectral_mean",
        ("pair",),
        lambda lw, fw, a: lw.spectral_mean(a, lambda w: abs(w - 1) < 0.5),
        lambda a: (eigen(a)[0][1] + eigen(a)[0][2]) / 2,
    ),
    _h(
        "pinv-hermitian",
        ("indefinite",),
        lambda lw, fw, a: lw.pinv(a, hermitian=True),
        each(lambda x: 1 / x),
    ),
    _h(
        "sum_largest",
        ("pair",),
        lambda lw, fw, a: lw.sum_largest(a, 3),
        lambda a: mp.fsum(eigen(a)[0][1:]),
    ),
    *_s(
        "singular_value_map",
        _ALL,
        ("deficient",),
        lambda lw, fw, a: lw.singular_value_map(a, fw.functions.tanh),
        singular_map(lambda s: [mp.tanh(x) for x in s]),
    ),
    *_s(
        "polar-unitary",
        _ALL,
        ("orthogonal",),
        lambda lw, fw, a: lw.polar(a).unitary,
        singular_map(lambda s: [1] * len(s)),
    ),
    *_s(
        "polar-right",
        ("tall", "square"),
        ("repeated",),
        lambda lw, fw, a: lw.polar(a).hermitian,
        right_factor,
    ),
    *_s(
        "polar-left",
        ("tall", "wide"),
        ("distinct",),
        lambda lw, fw, a: lw.polar(a, side="left").hermitian,
        left_factor,
        fields=("real",),
    ),
    *_s(
        "nearest_rotation",
        ("square",),
        ("orthogonal", "planar"),
        lambda lw, fw, a: lw.nearest_rotation(a),
        rotation,
        fields=("real",),
    ),
    *_s(
        "low_rank",
        _ALL,
        ("repeated", "deficient"),
        lambda lw, fw, a: lw.low_rank(a, 2),
        singular_map(kept(2)),
    ),
    *_s(
        "pinv",
        _ALL,
        ("repeated",),
        lambda lw, fw, a: lw.pinv(a),
        lambda a: singular_map(lambda s: [1 / x for x in s])(a).H,
    ),
    *_s(
        "range_projector",
        ("tall",),
        ("deficient",),
        lambda lw, fw, a: lw.range_projector(lw.low_rank(a, 2)),
        lambda a: reference._projector(singular(a)[0], [0, 1]),
    ),
    *_s(
        "null_projector",
        ("wide",),
        ("repeated",),
        lambda lw, fw, a: lw.null_projector(a),
        lambda a: mp.eye(a.cols) - singular(a)[2].H * singular(a)[2],
    ),
    *_s(
        "nuclear",
        _ALL,
        ("repeated",),
        lambda lw, fw, a: lw.matrix_norm(a, "nuc"),
        lambda a: mp.fsum(singular(a)[1]),
    ),
    *_s(
        "frobenius",
        _ALL,
        ("deficient",),
        lambda lw, fw, a: lw.matrix_norm(a, "fro"),
        lambda a: mp.sqrt(mp.fsum(abs(x) ** 2 for x in a)),
    ),
    *_s(
        "schatten-4",
        ("tall",),
        ("deficient",),
        lambda lw, fw, a: lw.schatten_norm(a, 4),
        lambda a: mp.fsum(x**4 for x in singular(a)[1]) ** mp.mpf(0.25),
    ),
    *_s(
        "schatten-1.5",
        ("square",),
        ("repeated",),
        lambda lw, fw, a: lw.schatten_norm(a, 1.5),
        lambda a: mp.fsum(x ** mp.mpf(1.5) for x in singular(a)[1]) ** (mp.mpf(2) / 3),
    ),
    *_s(
        "spectral-norm",
        ("tall",),
        ("distinct",),
        lambda lw, fw, a: lw.matrix_norm(a, 2),
        lambda a: singular(a)[1][0],
    ),
    *_s(
        "ky_fan",
        ("wide",),
        ("repeated",),
        lambda lw, fw, a: lw.ky_fan_norm(a, 2),
        lambda a: singular(a)[1][0] + singular(a)[1][1],
    ),
    *_s(
        "whiten-zca",
        ("tall",),
        ("distinct",),
        lambda lw, fw, a: lw.whiten(a[:, :2]),
        lambda a: zca(a[:, :2]),
    ),
    *_s(
        "whiten-cholesky",
        ("tall",),
        ("distinct",),
        lambda lw, fw, a: lw.whiten(a[:, :2], method="cholesky"),
        lambda a: cholesky(a[:, :2]),
    ),
]

TRIALS = [
    Trial(f, field, spectrum) for f in FUNCTIONS for field in f.fields for spectrum in f.spectra
]
