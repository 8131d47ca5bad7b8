"""The functions of matrices take part in everything that the decompositions do.

`test_functions.py` holds their derivatives against 50 digits one matrix at a time. Here the
reference is NumPy's gradient of one matrix, and transforms, stacks, scales and bad input are
tried around it.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

import array_api_strict as strict
import autograd
import autograd.numpy as anp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from bench import FRAMEWORKS, Autograd, Jax, Numpy, Torch, inner
from cases import _dyadic_frame, _gaussian, _hermitian
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import loewner as lw

NUMPY, JAX, TORCH, AUTOGRAD = Numpy(), Jax(), Torch(), Autograd()

SPECTRA = {
    "positive": [0.5, 1.0, 1.0, 3.5],
    "distinct": [0.5, 1.0, 2.0, 3.5],
    "indefinite": [-2.0, -1.0, 1.0, 1.0],
}
SHAPES = {"tall": (4, 3), "wide": (3, 4), "square": (3, 3)}
MIXING = np.array([[1.0, 0.5, 0.0], [-1.0, 0.25, 1.0], [0.5, 1.0, -2.0]])
# multiples of 1/8 are the same numbers in single precision
TARGET = np.random.default_rng(5).integers(-8, 9, (4, 3)) / 8.0
WEIGHTS = np.random.default_rng(6).integers(-8, 9, (2, 4, 4, 2)) / 8.0 @ np.array([1, 1j])


def like(fw: Any, c: Any, x: Any) -> Any:
    """A constant with the dtype of x; its real part if x is real."""
    name = str(x.dtype).rpartition(".")[2]
    return fw.array(np.asarray(c if name.startswith("complex") else np.real(c)).astype(name))


def summed(x: Any, count: int) -> Any:
    """The sum over the last axes."""
    for _ in range(count):
        x = x.sum(-1) if hasattr(x, "sum") else x.__array_namespace__().sum(x, axis=-1)
    return x


@dataclasses.dataclass(frozen=True)
class Entry:
    """value(fw, a) is an array or a tuple of arrays."""

    name: str
    kind: str
    """positive, distinct or indefinite (spectra of Hermitian matrices); tall, wide or square"""
    value: Callable[[Any, Any], Any]
    powers: tuple[float, ...] = ()
    """The values of c a are c^power those of a; empty if they are not homogeneous."""
    complex: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def hermitian(self) -> bool:
        return self.kind in SPECTRA

    def _generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([stream, *self.kind.encode()])

    def matrix(self, z: bool = False) -> np.ndarray:
        rng = self._generator(0)
        if self.hermitian:  # dyadic, so that what repeats does so exactly
            v = _dyadic_frame(rng, 4, z)
            return _hermitian((v * SPECTRA[self.kind]) @ v.conj().T)
        return _gaussian(rng, SHAPES[self.kind], z)

    def direction(self, z: bool = False, stream: int = 1) -> np.ndarray:
        e = _gaussian(self._generator(stream), self.matrix().shape, z)
        return _hermitian(e) if self.hermitian else e

    def stack(self, z: bool = False) -> np.ndarray:
        """Six different matrices, (2, 3, m, n)."""
        a, e = self.matrix(z), self.direction(z)
        return np.stack([a + 0.01 * i * e for i in range(6)]).reshape(2, 3, *a.shape)


def _softmax(fw):
    def f(w):
        e = fw.functions.exp(-w)
        return e / summed(e, 1)[..., None]

    return f


def _xlogx(fw):
    return lambda x: x * fw.functions.log(x)


def _distance(fw, a):
    return lw.subspace_distance(lw.nearest_orthogonal(a), like(fw, np.eye(4, 3), a))


def _align_to_target(fw, a):
    return tuple(lw.align(a, like(fw, TARGET, a)))


def _align_to_itself(fw, a):
    return tuple(lw.align(a, a @ like(fw, MIXING, a)))


def _weighted(fw, a):
    return tuple(lw.align(a, like(fw, TARGET, a), weights=a[..., 0] * a[..., 0]))


ENTRIES = [
    Entry("expm", "positive", lambda fw, a: lw.expm(a, hermitian=True)),
    Entry("logm", "positive", lambda fw, a: lw.logm(a, hermitian=True)),
    Entry("sqrtm", "positive", lambda fw, a: lw.sqrtm(a, hermitian=True), (0.5,)),
    Entry("invsqrtm", "positive", lambda fw, a: lw.invsqrtm(a, hermitian=True), (-0.5,)),
    Entry("power", "positive", lambda fw, a: lw.fractional_matrix_power(a, 0.75, True), (0.75,)),
    Entry("inverse", "indefinite", lambda fw, a: lw.fractional_matrix_power(a, -1, True), (-1,)),
    Entry("signm", "indefinite", lambda fw, a: lw.signm(a, hermitian=True), (0,)),
    Entry("funm", "positive", lambda fw, a: lw.funm(a, fw.functions.sin)),
    Entry("funm-linear", "positive", lambda fw, a: lw.funm(a, lambda x: 2 * x), (1,)),
    Entry("spectral_sum", "positive", lambda fw, a: lw.spectral_sum(a, _xlogx(fw))),
    Entry("spectral_map", "distinct", lambda fw, a: lw.spectral_map(a, _softmax(fw))),
    Entry("spectral_projector", "indefinite", lambda fw, a: lw.spectral_projector(a, 2), (0,)),
    Entry("spectral_mean", "indefinite", lambda fw, a: lw.spectral_mean(a, 2), (1,)),
    Entry("pinv-hermitian", "indefinite", lambda fw, a: lw.pinv(a, hermitian=True), (-1,)),
    Entry("sum_largest", "indefinite", lambda fw, a: lw.sum_largest(a, 2), (1,)),
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
    Entry("subspace_distance", "tall", _distance),
    Entry("align", "tall", _align_to_target, (), False),
    Entry("align-both", "tall", _align_to_itself, (0, 1), False),
    Entry("align-weighted", "tall", _weighted, (), False),
    Entry("whiten-zca", "tall", lambda fw, a: lw.whiten(a), (0,)),
    Entry("whiten-pca", "tall", lambda fw, a: lw.whiten(a, method="pca"), (0,)),
    Entry("whiten-cholesky", "tall", lambda fw, a: lw.whiten(a, method="cholesky"), (0,)),
]
NAMED = {entry.name: entry for entry in ENTRIES}

# at least one of each rule and symbol, for what is expensive to compile
EACH_RULE = [
    NAMED[name]
    for name in (
        "sqrtm funm spectral_sum spectral_map spectral_projector singular_value_map polar "
        "nearest_rotation low_rank schatten ky_fan subspace_distance align whiten-zca "
        "whiten-cholesky"
    ).split()
]
# of these, second derivatives and complex matrices too
CURVED = [NAMED[name] for name in ("funm", "polar", "low_rank", "whiten-cholesky")]

every = pytest.mark.parametrize("entry", ENTRIES, ids=str)
each_rule = pytest.mark.parametrize("entry", EACH_RULE, ids=str)


def fields(entry: Entry) -> tuple[bool, ...]:
    return (False, True) if entry.complex else (False,)


def loss(entry: Entry, fw: Any, factors: Any = None) -> Callable[[Any], Any]:
    """t + 0.3 t^2 of t = Re <C, X>, for each matrix of a stack; a factor for each value."""

    def f(a):
        found = entry.value(fw, a)
        t: Any = None
        for i, x in enumerate(found if isinstance(found, tuple) else (found,)):
            rank = x.ndim - (a.ndim - 2)
            shape = (*x.shape[x.ndim - rank :], 1, 1)[:2]
            c = WEIGHTS[i, : shape[0], : shape[1]].reshape(x.shape[x.ndim - rank :])
            if factors is not None:
                x = x * factors[i]
            part = summed(fw.real(x * like(fw, c.conj(), x)), rank)
            t = part if t is None else t + part
        return t + t * t * like(fw, 0.3, t)

    return f


@functools.cache
def reference(entry: Entry, z: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The gradient, and the second derivative along a direction, by NumPy."""
    f = loss(entry, NUMPY)

    def gradient(a):
        return NUMPY.grad(f, (a,))[0]

    return gradient(entry.matrix(z)), lw.jvp(gradient, (entry.matrix(z),), (entry.direction(z),))[1]


def close(x: Any, y: Any, tolerance: float = 1e-12) -> None:
    x, y = (z.detach().resolve_conj() if isinstance(z, torch.Tensor) else z for z in (x, y))
    x, y = np.asarray(x), np.asarray(y)
    assert x.shape == y.shape
    assert np.isfinite(y).all()
    # entries of order one and condition numbers below 100; `not >` would let NaN pass
    assert np.abs(x - y).max(initial=0.0) <= tolerance * max(1.0, np.abs(y).max(initial=0.0))


# Stacks


@functools.cache
def compiled(entry: Entry) -> Any:
    """The losses of a stack and the gradient of their sum."""

    def total(a):
        each = loss(entry, JAX)(a)
        return each.sum(), each

    return jax.jit(jax.value_and_grad(total, has_aux=True))


def values_and_gradients(fw: Any, entry: Entry, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if fw.name == "jax":
        (_, each), g = compiled(entry)(jnp.asarray(a))
        return np.asarray(each), np.asarray(jnp.conj(g))
    f = loss(entry, fw)
    return fw.numpy(f(fw.array(a))), fw.grad(lambda a: f(a).sum(), (a,))[0]


@every
def test_a_stack_is_differentiated_as_its_matrices_are(entry):
    for z in fields(entry):
        stack = entry.stack(z)
        f = loss(entry, NUMPY)
        expected = [(f(a), NUMPY.grad(f, (a,))[0]) for a in stack.reshape(-1, *stack.shape[2:])]
        for fw in FRAMEWORKS:
            if fw.name == "jax" and z and entry not in CURVED:
                continue
            values, gradients = values_and_gradients(fw, entry, stack)
            close(values.ravel(), np.array([v for v, _ in expected]))
            close(gradients.reshape(-1, *stack.shape[2:]), np.stack([g for _, g in expected]))


def bad_matrices(entry: Entry) -> dict[str, np.ndarray]:
    a = entry.matrix()
    rows = np.arange(a.shape[0], dtype=float)
    return {
        "zero": np.zeros(a.shape),
        "identity": np.eye(*a.shape),
        "rank one": np.outer(rows, rows if entry.hermitian else np.ones(a.shape[1])),
        "negative": -a,
        "huge": a * 2.0**600,
        "tiny": a * 2.0**-600,
        "nan": np.full(a.shape, np.nan),
        "infinite": np.full(a.shape, np.inf),
    }


without_warnings = pytest.mark.filterwarnings("ignore::RuntimeWarning")

REFUSED = (np.linalg.LinAlgError, RuntimeError)
"""What NumPy and PyTorch raise for a stack with a matrix their solvers do not take."""


@every
@without_warnings
def test_a_degenerate_matrix_does_not_disturb_its_neighbours(entry):
    stack = entry.stack()
    others = np.ones((2, 3), bool)
    others[0, 1] = False
    for fw in FRAMEWORKS:
        values, gradients = values_and_gradients(fw, entry, stack)
        for name, bad in bad_matrices(entry).items():
            mixed = stack.copy()
            mixed[0, 1] = bad
            try:
                found, g = values_and_gradients(fw, entry, mixed)
            except REFUSED:
                assert fw.name != "jax"
                refuses = ("nan", "infinite")
                if entry.name.startswith(("align-", "whiten")):
                    refuses = (*refuses, "zero", "rank one")  # there is no answer
                if entry.name == "align-weighted":  # whose weights are squares
                    refuses = (*refuses, "huge", "tiny")
                assert name in refuses, (fw.name, name)
                continue
            assert np.array_equal(found[others], values[others]), (fw.name, name)
            assert np.array_equal(g[others], gradients[others]), (fw.name, name)


def test_leading_dimensions_of_pairs_broadcast():
    p, q = np.random.default_rng(0).standard_normal((2, 5, 3))
    stack = np.stack([q, q[::-1]])
    for fw in FRAMEWORKS:

        def f(p, q, fw=fw):
            rotation, translation = lw.align(p, q)
            return (rotation * fw.array(MIXING)).sum() + translation.sum()

        f = jax.jit(f) if fw.name == "jax" else f
        single = [fw.grad(f, (p, x)) for x in stack]
        gp, gq = fw.grad(f, (p, stack))
        close(gp, single[0][0] + single[1][0])
        close(gq, np.stack([g for _, g in single]))
        if fw.name == "jax":
            continue
        ones = np.ones((2, 5))
        close(fw.numpy(lw.align(fw.array(p), fw.array(q), fw.array(ones)).rotation)[1],
              fw.numpy(lw.align(fw.array(p), fw.array(q)).rotation))  # fmt: skip


# Small and empty matrices


def empty_shapes(entry: Entry) -> list[tuple[int, ...]]:
    if entry.hermitian or entry.kind == "square":
        return [(0, 0), (3, 0, 0), (0, 4, 4)]
    if entry.name.startswith(("whiten", "align", "subspace")):  # of samples, points, bases
        return [(4, 0), (2, 4, 0), (0, 4, 3)]
    return [(0, 0), (0, 3), (3, 0), (2, 0, 3), (0, 4, 3), (0, 3, 4)]


@every
@without_warnings
def test_gradients_of_empty_matrices_are_empty(entry):
    names = {"subspace_distance", "align", "align-both", "align-weighted"}
    for shape in empty_shapes(entry):
        for z in fields(entry):
            a = np.zeros(shape, complex if z else float)

            def value(fw, a):
                if entry.name not in names:
                    return entry.value(fw, a)
                if entry.name == "subspace_distance":
                    return lw.subspace_distance(a, 2 * a)
                return tuple(lw.align(a, 2 * a))

            changed = dataclasses.replace(entry, value=value)
            for fw in (NUMPY, TORCH, AUTOGRAD):

                def total(a, f=loss(changed, fw)):  # noqa: B008
                    return f(a).sum()

                assert loss(changed, fw)(fw.array(a)).shape == shape[:-2]
                (g,) = fw.grad(total, (a,))
                assert g.shape == shape
                assert g.dtype == a.dtype
                if entry.name != "spectral_mean":  # NaN where nothing is selected
                    assert fw.jvp(total, (a,), (a,)) == 0
            if z or shape != empty_shapes(entry)[-1 if entry in EACH_RULE else 0]:
                continue
            f = loss(changed, JAX)
            g = jax.eval_shape(jax.grad(lambda a, f=f: f(a).sum()), jnp.asarray(a))
            assert g.shape == shape
            assert g.dtype == a.dtype


@every
@without_warnings
def test_values_of_empty_matrices_have_their_shapes(entry):
    """Functions of an n x n matrix with n = 0 are 0 x 0, and sums over nothing are zero."""
    if entry.name.startswith(("subspace", "align", "whiten")):
        pytest.skip("of bases, points and samples, of which there must be some")
    shapes = [(0, 0)] if entry.hermitian or entry.kind == "square" else [(0, 0), (0, 3), (3, 0)]
    for m, n in shapes:
        found = entry.value(NUMPY, np.zeros((m, n)))
        for i, x in enumerate(found if isinstance(found, tuple) else (found,)):
            expected = {
                "polar": ((m, n), (n, n))[i],
                "polar-left": ((m, n), (m, m))[i],
                "pinv": (n, m),
                "range_projector": (m, m),
                "null_projector": (n, n),
            }.get(entry.name, (m, n) if x.ndim else ())
            assert x.shape == expected
            if not x.ndim and entry.name != "spectral_mean":
                assert x == 0
        if entry.name == "null_projector":
            assert np.array_equal(found, np.eye(n))


def _norm(v):
    return (v * v.conj()).sum() ** 0.5


ONE_COLUMN = {
    "polar": lambda v: v / _norm(v),
    "polar-left": lambda v: v @ v.conj().swapaxes(0, 1) / _norm(v),
    "pinv": lambda v: v.conj().swapaxes(0, 1) / _norm(v) ** 2,
    "low_rank": lambda v: v * 1.0,
    "range_projector": lambda v: v @ v.conj().swapaxes(0, 1) / _norm(v) ** 2,
    "null_projector": lambda v: v.conj().swapaxes(0, 1) @ v * 0.0,
    "nuclear": _norm,
    "schatten": _norm,
    "spectral": _norm,
    "singular_value_map": lambda v: v / _norm(v) * np.tanh(_norm(v)),
}
BY_LOEWNER = {
    "polar": lambda fw, a: lw.polar(a).unitary,
    "polar-left": lambda fw, a: lw.polar(a, "left").hermitian,
    "low_rank": lambda fw, a: lw.low_rank(a, 1),
}


@pytest.mark.parametrize("name", ONE_COLUMN)
def test_one_row_or_one_column_has_the_derivative_of_the_closed_form(name):
    """A row as well: functions of v^H are the adjoints of those of v, projectors swap."""
    rng = np.random.default_rng(1)
    value = BY_LOEWNER.get(name, NAMED[name].value)
    swap = {
        "range_projector": "null_projector",
        "null_projector": "range_projector",
    }
    for m in (1, 3):
        for z in (False, True):
            v, e = _gaussian(rng, (m, 1), z), _gaussian(rng, (m, 1), z)
            y, dy = lw.jvp(ONE_COLUMN[name], (v,), (e,))
            c = _gaussian(rng, np.shape(y), z)
            for fw in (NUMPY, TORCH, AUTOGRAD):
                weight = np.conj(c) if np.iscomplexobj(y) else np.real(c)

                def t(a, value=value, fw=fw, weight=weight):
                    return summed(fw.real(value(fw, a) * like(fw, weight, a)), weight.ndim)

                expected = float(np.sum(np.real(weight * dy)))
                assert abs(fw.jvp(t, (v,), (e,)) - expected) < 1e-13, fw.name
                assert abs(inner(fw.grad(t, (v,)), (e,)) - expected) < 1e-13, fw.name
            if name == "polar-left" or name in swap:
                continue
            row = value(NUMPY, v.conj().T)
            close(row.conj().T if np.ndim(row) else row, y, 1e-14)


def test_one_by_one_matrices_have_the_derivatives_of_the_numbers():
    numbers = {
        "expm": np.exp,
        "logm": np.log,
        "sqrtm": np.sqrt,
        "invsqrtm": lambda x: x**-0.5,
        "power": lambda x: x**0.75,
        "inverse": lambda x: 1 / x,
        "signm": lambda x: x * 0.0 + 1.0,
        "funm": np.sin,
        "spectral_sum": lambda x: (x * np.log(x))[..., 0, 0],
        "spectral_map": lambda x: x * 0.0 + 1.0,
        "spectral_mean": lambda x: x[..., 0, 0] * 1.0,
        "pinv-hermitian": lambda x: 1 / x,
        "sum_largest": lambda x: x[..., 0, 0] * 1.0,
        "nearest_rotation": lambda x: x * 0.0 + 1.0,
    }
    x = np.array([[1.7]])
    for name, f in numbers.items():
        value, slope = lw.jvp(f, (x,), (np.ones((1, 1)),))
        for fw in (NUMPY, TORCH, AUTOGRAD):
            close(fw.numpy(NAMED[name].value(fw, fw.array(x))), value, 1e-15)
            (g,) = fw.grad(lambda a, fw=fw, name=name: NAMED[name].value(fw, a).sum(), (x,))
            close(g.sum(), slope.sum(), 1e-15)


# JAX


def test_a_second_call_with_the_same_shapes_compiles_nothing(caplog):
    """Neither compiled programs nor, called one operation at a time, the rules within."""
    for entry in (NAMED["sqrtm"], NAMED["low_rank"]):
        f = compiled(entry)
        for c in (1.0, 2.0, 3.0):
            f(jnp.asarray(c * entry.stack()))
        assert f._cache_size() <= 2  # stacks of real and of complex matrices

    def learned(theta, a):
        return lw.funm(a, lambda x: jnp.exp(theta * x)).sum() + lw.schatten_norm(a, 3)

    def messages():
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            caplog.clear()
            jax.grad(learned, (0, 1))(jnp.asarray(0.5), jnp.eye(2) + 1)
            return [r.message for r in caplog.records if "ompiling" in r.message]

    first, second = messages(), messages()
    assert first
    assert not second


@pytest.mark.parametrize("name", ["funm", "polar"])
def test_no_tracer_leaks(name):
    e = jnp.asarray(NAMED[name].direction()[:2, :2])  # a shape of its own: the rules trace again
    with jax.checking_leaks():
        jax.eval_shape(jax.grad(loss(NAMED[name], JAX)), e)


def at_once(entry: Entry) -> Callable[[Any, Any], dict[str, Any]]:
    """What transforms of JAX make of an entry, in one compilation."""
    f = loss(entry, JAX)

    def program(a, e):
        value, linear = jax.linearize(f, a)

        def step(carry, _):
            return carry - 0.001 * jnp.conj(jax.grad(jax.checkpoint(f))(carry)), None

        found = {
            "along": linear(e),
            "transposed": jax.linear_transpose(linear, a)(jnp.ones_like(value))[0],
            "scan": jax.lax.scan(step, a, length=2)[0],
        }
        if entry in CURVED:
            found["curvature"] = jax.vmap(lambda a: jax.jvp(jax.grad(f), (a,), (e,))[1])(
                jnp.stack([a + 0.01 * e, a])
            )
            if not jnp.iscomplexobj(a):
                found["jacfwd"] = jax.jacfwd(f)(a)
        return found

    return jax.jit(program)


@each_rule
def test_every_transform_of_jax_agrees_with_numpy(entry):
    """linearize and its transpose, scan over checkpointed gradients, vmap of second derivatives."""
    z = entry.name in ("funm", "sqrtm", "whiten-zca")
    a, e = entry.matrix(z), entry.direction(z)
    gradient, curvature = reference(entry, z)
    found = {k: np.asarray(x) for k, x in at_once(entry)(a, e).items()}
    close(found["along"], np.asarray(inner((gradient,), (e,))))
    close(np.conj(found["transposed"]), gradient)
    f, b = loss(entry, NUMPY), a
    for _ in range(2):
        b = b - 0.001 * NUMPY.grad(f, (b,))[0]
    close(found["scan"], b)
    if "curvature" in found:
        close(np.conj(found["curvature"][1]), curvature, 1e-11)
    if "jacfwd" in found:
        close(found["jacfwd"], gradient)


def learned(fw: Any) -> Callable[[Any, Any], Any]:
    """A loss with functions of a learned parameter, a number or one for each matrix."""
    xp = fw.functions

    def f(theta, a):
        decay = lw.funm(a, lambda x: xp.exp(-theta * x))
        filtered = lw.singular_value_map(a[..., :3], lambda s: xp.tanh(theta * s))
        softmax = lw.spectral_map(a, lambda w: _softmax(fw)(theta * w))
        energy = lw.spectral_sum(a, lambda x: xp.log(1 + xp.exp(-theta * x)))
        weight = like(fw, WEIGHTS[0].real, a)
        parts = (decay * weight, filtered * weight[:, :3], softmax * weight)
        total = energy
        for x in parts:
            total = total + summed(x, 2)
        return total * total

    return f


THETA = np.array(0.7)


@functools.cache
def learned_reference() -> tuple[Any, ...]:
    a = NAMED["spectral_map"].matrix()
    f = learned(NUMPY)
    return f(THETA, a), *NUMPY.grad(f, (THETA, a))


def test_the_gradient_of_a_learned_parameter_is_the_difference_quotient():
    a = NAMED["spectral_map"].matrix()
    value, g, _ = learned_reference()
    f = learned(NUMPY)
    h = 1e-5
    quotient = (f(THETA + h, a) - f(THETA - h, a)) / (2 * h)
    assert abs(g - quotient) < 1e-8 * abs(value)  # h^2 and eps/h


@pytest.mark.slow
def test_a_learned_parameter_in_f_under_jit_vmap_and_grad():
    a = jnp.asarray(NAMED["spectral_map"].matrix())
    f = learned(JAX)
    value, gt, ga = learned_reference()
    both = jax.value_and_grad(f, (0, 1))

    @jax.jit
    def program(theta, a):
        over_parameters = jax.vmap(both, (0, None))(jnp.stack([theta, 2 * theta]), a)
        over_matrices = jax.vmap(both, (None, 0))(theta, jnp.stack([a, a + 1]))
        return over_parameters, over_matrices

    for found in program(jnp.asarray(THETA), a):
        for x, y in zip((found[0], *found[1]), (value, gt, ga), strict=True):
            close(x[0], y)


PARAMETRIC: dict[str, Callable[[Any, Any, Any], Any]] = {
    "funm": lambda fw, t, a: lw.funm(a, lambda x: fw.functions.exp(-t * x)),
    "spectral_sum": lambda fw, t, a: lw.spectral_sum(a, lambda x: fw.functions.exp(-t * x)),
    "singular_value_map": lambda fw, t, a: lw.singular_value_map(
        a, lambda x: fw.functions.tanh(t * x)
    ),
    "spectral_map": lambda fw, t, a: lw.spectral_map(a, lambda w: _softmax(fw)(t * w)),
}


@pytest.mark.parametrize("name", PARAMETRIC)
def test_a_parameter_for_each_matrix_of_a_stack(name):
    """As in the arithmetic of arrays: parameters (2, 1) for eigenvalues (2, n)."""
    a = NAMED["spectral_map"].matrix()
    theta = np.array([[0.7], [0.3]])
    for fw in (NUMPY, TORCH, AUTOGRAD):

        def f(theta, a, fw=fw):
            x = PARAMETRIC[name](fw, theta, a)
            return summed(x * x, x.ndim - a.ndim + 2)

        (gt, ga) = fw.grad(lambda t, a: f(t, a).sum(), (theta, np.stack([a, a])))
        for i in range(2):
            each = fw.grad(lambda t, a: f(t, a).sum(), (theta[i], a))
            close(gt[i], each[0])
            close(ga[i], each[1])


# PyTorch


def leaf(a: np.ndarray) -> torch.Tensor:
    return torch.tensor(a, requires_grad=True)


def dot(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x.conj() * y).real.sum()


@every
def test_every_transform_of_pytorch_agrees_with_numpy(entry):
    f = loss(entry, TORCH)
    for z in fields(entry):
        a, e = torch.tensor(entry.matrix(z)), torch.tensor(entry.direction(z))
        gradient, curvature = reference(entry, z)
        along = np.asarray(inner((gradient,), (entry.direction(z),)))
        x = leaf(entry.matrix(z))
        f(x).backward(create_graph=True)
        assert x.grad is not None
        close(x.grad, gradient)
        close(torch.autograd.grad(dot(e, x.grad), x)[0], curvature, 1e-11)
        value, pullback = torch.func.vjp(f, a)[:2]
        close(pullback(torch.ones_like(value))[0], gradient)
        close(torch.func.jvp(f, (a,), (e,))[1], along)
        close(torch.func.jvp(torch.func.grad(f), (a,), (e,))[1], curvature, 1e-11)
        close(torch.func.grad(lambda a, e=e: torch.func.jvp(f, (a,), (e,))[1])(a), curvature, 1e-11)
        stack = torch.stack([a + 0.01 * e, a])
        close(torch.func.vmap(f)(stack)[1], f(a).numpy())
        close(torch.func.vmap(torch.func.grad(f))(stack)[1], gradient)
        second = torch.func.vmap(lambda a, e=e: torch.func.jvp(torch.func.grad(f), (a,), (e,))[1])
        close(second(stack)[1], curvature, 1e-11)
        x = leaf(entry.matrix(z))
        through = torch.func.vmap(f)(torch.stack([x, 2 * x])).sum()
        close(torch.autograd.grad(through, x)[0],
              gradient + 2 * NUMPY.grad(loss(entry, NUMPY), (2 * entry.matrix(z),))[0])  # fmt: skip


@every
def test_dual_tensors(entry):
    f = loss(entry, TORCH)
    for z in fields(entry):
        a, e = torch.tensor(entry.matrix(z)), torch.tensor(entry.direction(z))
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(a, e))).tangent
        close(tangent, np.asarray(inner((reference(entry, z)[0],), (entry.direction(z),))))


@each_rule
def test_hessians_of_pytorch_agree_in_all_compositions(entry):
    f, a = loss(entry, TORCH), torch.tensor(entry.matrix())
    curvature = reference(entry)[1]
    jacfwd, jacrev = torch.func.jacfwd, torch.func.jacrev
    for outer in (jacfwd, jacrev):
        for within in (jacfwd, jacrev):
            hessian = outer(within(f))(a).numpy()
            close(np.tensordot(hessian, entry.direction(), 2), curvature, 1e-11)
            if not entry.hermitian:  # one triangle of a Hermitian matrix is read
                close(hessian, hessian.transpose(2, 3, 0, 1), 1e-11)
    close(torch.func.hessian(f)(a), hessian, 1e-11)


@every
@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing(entry, reentrant):
    x = leaf(entry.matrix())
    value: Any = torch.utils.checkpoint.checkpoint(loss(entry, TORCH), x, use_reentrant=reentrant)
    value.backward()
    close(x.grad, reference(entry)[0])


def _hermitian_part(x):
    return (x + x.mH) / 2


CHECKED = {
    "funm": lambda a: lw.funm(_hermitian_part(a @ a.mH), torch.sin).abs(),
    "sqrtm": lambda a: lw.sqrtm(a @ a.mH + torch.eye(len(a)), hermitian=True).abs(),
    "polar": lambda a: tuple(torch.view_as_real(x * (1 + 0j)) for x in lw.polar(a)),
    "low_rank": lambda a: torch.view_as_real(lw.low_rank(a, 2) * (1 + 0j)),
    "schatten_norm": lambda a: lw.schatten_norm(a, 3),
    "whiten": lambda a: torch.view_as_real(lw.whiten(a, method="cholesky") * (1 + 0j)),
}


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=["real", "complex"])
def test_gradcheck_and_gradgradcheck(name, dtype):
    shape = (3, 3) if name in ("funm", "sqrtm") else (4, 3)
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()
    assert gradcheck(CHECKED[name], (a,), check_forward_ad=name != "funm", check_batched_grad=True)
    assert gradgradcheck(CHECKED[name], (a,), fast_mode=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", "expm sqrtm polar low_rank nuclear align whiten-zca".split())
def test_torch_compile_makes_one_graph_of_value_and_gradient(name):
    entry = NAMED[name]
    torch.compiler.reset()
    f = torch.compile(loss(entry, TORCH), backend="aot_eager", fullgraph=True)
    x = leaf(entry.matrix())
    close(torch.autograd.grad(f(x), x)[0], reference(entry)[0])


def test_a_parameter_of_a_module_in_f_is_learned():
    a = torch.tensor(NAMED["spectral_map"].matrix())
    _, gt, ga = learned_reference()
    theta = torch.nn.Parameter(torch.tensor(THETA))
    f = learned(TORCH)
    f(theta, a).backward()  # the matrix itself is not differentiated
    close(theta.grad, gt)
    x = leaf(NAMED["spectral_map"].matrix())
    found = torch.autograd.grad(f(theta, x), (theta, x), create_graph=True)
    close(found[0], gt)
    close(found[1], ga)
    second = lw.jvp(
        lambda t: NUMPY.grad(learned(NUMPY), (t, a.numpy()))[1], (THETA,), (np.ones(()),)
    )[1]
    e = torch.tensor(NAMED["spectral_map"].direction())
    twice = torch.autograd.grad(dot(e, found[1]), theta)[0]
    close(twice, np.asarray(np.sum(second * e.numpy())), 1e-11)
    for i, found in ((0, gt), (1, ga)):
        each = torch.func.vmap(torch.func.grad(f, i), (0, None))(torch.stack([2 * theta, theta]), a)
        close(each[1], found)


@pytest.mark.parametrize("name", ["sqrtm", "funm", "low_rank", "polar", "schatten", "whiten-zca"])
def test_batched_cotangents_of_pytorch(name):
    """is_grads_batched, of vectorized Jacobians, goes through the older of PyTorch's two vmaps."""
    entry = NAMED[name]
    x = leaf(entry.matrix())
    value = entry.value(TORCH, x)
    value = value[0] if isinstance(value, tuple) else value
    each = torch.eye(value.numel(), dtype=value.dtype).reshape(-1, *value.shape)
    (rows,) = torch.autograd.grad(value, x, each, retain_graph=True, is_grads_batched=True)
    close(rows[-1], torch.autograd.grad(value, x, each[-1])[0].numpy())


# autograd and NumPy


@each_rule
def test_transforms_of_autograd_agree_with_numpy(entry):
    a, e = entry.matrix(), entry.direction()
    f = loss(entry, AUTOGRAD)
    gradient, curvature = reference(entry)
    close(autograd.grad(f)(a), gradient)
    close(autograd.make_jvp(f)(a)(e)[1], np.asarray(inner((gradient,), (e,))))
    nested = autograd.grad(lambda a: anp.sum(autograd.grad(f)(a) * e))(a)
    close(nested, curvature, 1e-11)
    hessian = autograd.hessian(f)(a)
    close(np.tensordot(hessian, e, 2), curvature, 1e-11)


def test_closures_over_differentiated_arrays_in_autograd_and_numpy():
    a = NAMED["spectral_map"].matrix()
    value, gt, ga = learned_reference()
    for i, expected in ((0, gt), (1, ga)):
        close(autograd.grad(learned(AUTOGRAD), i)(THETA, a), expected)
    # the parameter alone, as a constant of the inner of two derivatives, and both
    f = learned(NUMPY)
    pullback = lw.vjp(lambda t: f(t, a), THETA)[1]
    close(pullback(np.array(1.0))[0], gt)
    e, one = NAMED["spectral_map"].direction(), np.ones(())

    def along_a(t):
        return lw.jvp(lambda a: f(t, a), (a,), (e,))[1]

    def along_t(a):
        return lw.jvp(lambda t: f(t, a), (THETA,), (one,))[1]

    mixed = [
        lw.jvp(along_a, (THETA,), (one,))[1],
        lw.vjp(along_a, THETA)[1](one)[0],
        lw.jvp(along_t, (a,), (e,))[1],
        inner(lw.vjp(along_t, a)[1](one), (e,)),
        inner(
            (lw.jvp(lambda t: NUMPY.grad(lambda a: f(t, a), (a,))[0], (THETA,), (one,))[1],), (e,)
        ),
    ]
    close(np.array(mixed), np.full(len(mixed), mixed[0]), 1e-11)


class Strict(Numpy):
    """array_api_strict, which has no methods and takes no array but its own."""

    name = "array_api_strict"
    array = staticmethod(strict.asarray)
    numpy = staticmethod(np.asarray)

    class functions:
        exp = staticmethod(lambda x: x.__array_namespace__().exp(x))
        log = staticmethod(lambda x: x.__array_namespace__().log(x))
        sin = staticmethod(lambda x: x.__array_namespace__().sin(x))
        tanh = staticmethod(lambda x: x.__array_namespace__().tanh(x))

    @staticmethod
    def real(x):
        return x.__array_namespace__().real(x) if "complex" in str(x.dtype) else x


STRICT = Strict()


@every
def test_arrays_of_the_array_api_standard_have_the_derivatives_of_numpy_arrays(entry):
    for z in fields(entry):
        f, a, e = loss(entry, STRICT), entry.matrix(z), entry.direction(z)
        gradient, _ = reference(entry, z)
        value, pullback = lw.vjp(f, strict.asarray(a))
        assert type(value) is type(strict.asarray(a))
        close(value, loss(entry, NUMPY)(a))
        (g,) = pullback(strict.asarray(1.0))
        assert type(g) is type(value)
        close(g, gradient)
        along = lw.jvp(f, (strict.asarray(a),), (strict.asarray(e),))[1]
        close(along, np.asarray(inner((gradient,), (e,))))


# Scale and dtype


def single(a: Any) -> np.ndarray:
    return np.asarray(a).astype(np.complex64 if np.iscomplexobj(a) else np.float32)


HOMOGENEOUS = [entry for entry in ENTRIES if entry.powers]


SCALES = {
    # powers of two, whose halves and quarters are whole: scaling by them rounds nothing
    "double-small": (np.asarray, -800),
    "double-large": (np.asarray, 800),
    "single-small": (single, -100),
    "single-large": (single, 100),
}


@functools.cache
def compiled_with_factors(entry: Entry) -> Any:
    """Constant factors the compiler would multiply with each other, out of range."""

    def both(a, e, factors):
        f = loss(entry, JAX, factors)
        return *jax.value_and_grad(f)(a), jax.jvp(f, (a,), (e,))[1]

    return jax.jit(both)


def scaled(fw: Any, entry: Entry, a: Any, e: Any, power: int) -> Any:
    """Value, gradient and derivative along 2^power E at 2^power A of the loss in its units."""
    c = np.asarray(2.0**power, a.real.dtype)
    factors = tuple(np.asarray(2.0 ** (-power * p), a.real.dtype) for p in entry.powers)
    if fw.name == "jax":
        value, g, along = compiled_with_factors(entry)(a * c, e * c, factors)
        return float(value), np.asarray(jnp.conj(g)), float(along)
    f = loss(entry, fw, tuple(fw.array(x) for x in factors))
    (g,) = fw.grad(f, (a * c,))
    return float(fw.numpy(f(fw.array(a * c)))), g, fw.jvp(f, (a * c,), (e * c,))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("entry", HOMOGENEOUS, ids=str)
@without_warnings
def test_scaling_the_matrix_changes_no_relative_error(entry, scale):
    """Of values and derivatives by the scaled matrix."""
    cast, power = SCALES[scale]
    for z in fields(entry):
        a, e = cast(entry.matrix(z)), cast(entry.direction(z))
        eps = float(np.finfo(a.dtype).eps)
        for fw in FRAMEWORKS:
            if fw.name == "jax" and (entry not in EACH_RULE or z or cast is np.asarray):
                continue
            value, g, along = scaled(fw, entry, a, e, 0)
            value_there, g_there, along_there = scaled(fw, entry, a, e, power)
            assert g_there.dtype == a.dtype
            assert abs(value_there - value) <= 100 * eps * max(1.0, abs(value)), fw.name
            error = np.abs(g_there.astype(complex) * 2.0**power - g).max()
            assert error <= 300 * eps * np.abs(g).max(), fw.name
            assert abs(along_there - along) <= 1000 * eps * max(1.0, abs(along)), fw.name


def outputs(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def names(*arrays: Any) -> set[str]:
    return {str(x.dtype).rpartition(".")[2] for x in arrays}


@every
def test_single_precision_stays_single(entry):
    """Values and derivatives, first and second; in JAX no weak types, by shapes alone."""
    for z in fields(entry):
        a, e = single(entry.matrix(z)), single(entry.direction(z))
        narrow, wide = ("complex64" if z else "float32"), reference(entry, z)[0]
        allowed = {narrow, "float32"}

        for fw in (NUMPY, TORCH, AUTOGRAD):
            assert names(*outputs(entry.value(fw, fw.array(a)))) <= allowed
            (g,) = fw.grad(loss(entry, fw), (a,))
            assert names(g) == {narrow}
            # and right to single precision: condition numbers up to 100
            assert np.abs(g - wide).max() <= 3e-5 * max(1.0, np.abs(wide).max()), fw.name

        def gradient(a, entry=entry):
            return NUMPY.grad(loss(entry, NUMPY), (a,))[0]

        moved = lw.jvp(lambda a: entry.value(NUMPY, a), (a,), (e,))[1]
        assert names(*outputs(moved)) <= allowed
        assert names(lw.jvp(gradient, (a,), (e,))[1]) == {narrow}
        x, d = torch.tensor(a), torch.tensor(e)
        moved = torch.func.jvp(lambda a: entry.value(TORCH, a), (x,), (d,))[1]
        assert names(*outputs(moved)) <= allowed
        f = loss(entry, TORCH)
        assert names(torch.func.jvp(torch.func.grad(f), (x,), (d,))[1]) == {narrow}
        if entry not in (CURVED if z else EACH_RULE):
            continue

        def everything(a, e, entry=entry):
            f = loss(entry, JAX)
            found = jax.jvp(lambda a: outputs(entry.value(JAX, a)), (a,), (e,))
            return *found, jax.jvp(jax.grad(f), (a,), (e,))

        for x in jax.tree.leaves(jax.eval_shape(everything, jnp.asarray(a), jnp.asarray(e))):
            assert str(x.dtype) in allowed
            assert not x.weak_type


@each_rule
def test_the_default_dtype_of_pytorch_does_not_matter(entry):
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        (g,) = TORCH.grad(loss(entry, TORCH), (single(entry.matrix()),))
        assert g.dtype == np.float32
    finally:
        torch.set_default_dtype(before)


def test_norms_are_in_range_where_squares_are_not():
    for unit in (1e-300, 1e300):
        a = np.diag([3.0, 4.0, 0.0]) * unit
        for fw in FRAMEWORKS:
            assert abs(float(lw.matrix_norm(fw.array(a))) / unit - 5) < 1e-14
            assert abs(float(lw.schatten_norm(fw.array(a), 4)) / unit - 337**0.25) < 1e-14


@without_warnings
def test_the_subgradient_of_every_norm_at_zero_is_zero():
    for fw in (NUMPY, TORCH, AUTOGRAD):
        for order in ("nuc", "fro", 2):
            for shape in ((3, 3), (4, 3), (2, 3)):
                (g,) = fw.grad(lambda a, order=order: lw.matrix_norm(a, order), (np.zeros(shape),))
                assert np.array_equal(g, np.zeros(shape)), (fw.name, order)


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)], ids=str)
def test_a_cut_through_a_cluster_is_felt_only_in_directions_that_see_it(shape):
    """At rank one, low_rank(a, 2) cuts the cluster of zero; its largest value is not in it."""
    a, e = np.zeros(shape), np.zeros(shape)
    a[0, 0], e[0, 0] = 3.0, 1.0
    for fw in (NUMPY, TORCH, AUTOGRAD):
        f = lambda a: lw.low_rank(a, 2)[0, 0]  # noqa: E731
        assert fw.jvp(f, (a,), (e,)) == 1
        assert np.array_equal(fw.grad(f, (a,))[0], e)


# f with complex values


def evolution(h: np.ndarray, e: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """exp(-iHt), its derivatives along E and t: -it exp(-it(x + y)/2) sinc(t(x - y)/2)."""
    w, v = np.linalg.eigh(h)
    x, y = w[:, None], w[None, :]
    slope = -1j * t * np.exp(-0.5j * t * (x + y)) * np.sinc(t * (x - y) / (2 * np.pi))
    u = (v * np.exp(-1j * t * w)) @ v.conj().T
    return u, v @ (slope * (v.conj().T @ e @ v)) @ v.conj().T, -1j * h @ u


@pytest.mark.parametrize("z", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("fw", [*FRAMEWORKS, STRICT], ids=lambda fw: fw.name)
def test_unitary_evolution_has_the_derivative_of_the_closed_form(fw, z):
    entry = NAMED["sqrtm"]  # a pair of equal eigenvalues
    h, e, c = entry.matrix(z), entry.direction(z), WEIGHTS[0]
    time, rate = np.array(1.3), np.array(0.4)
    u, along_h, along_t = evolution(h, e, float(time))
    moved = along_h + float(rate) * along_t

    def amplitude(t, h):
        def f(x):
            return fw.functions.exp(x * like(fw, t, x) * -1j if fw is STRICT else x * t * -1j)

        return lw.funm(h, f)

    def overlap(t, h):
        u = amplitude(t, h)
        return summed(fw.real(u * fw.array(c.conj())), 2)

    def population(t, h):
        x = amplitude(t, h)[0, 1]
        return fw.real(x * fw.conj(x))

    expected = float(np.sum(c.conj() * moved).real)
    if fw is STRICT:
        value, pullback = lw.vjp(lambda h: overlap(time, h), strict.asarray(h))
        close(value, np.asarray(np.sum(c.conj() * u).real))
        (g,) = pullback(strict.asarray(1.0))
        assert g.dtype == strict.asarray(h).dtype
        close(inner((np.asarray(g),), (e,)), np.asarray(np.sum(c.conj() * along_h).real))
        return
    close(fw.numpy(amplitude(fw.array(time), fw.array(h))), u)
    losses = [(overlap, expected)]
    if fw.name != "jax":
        losses.append((population, 2 * (u[0, 1].conj() * moved[0, 1]).real))
    transformed = jax.jit if fw.name == "jax" else (lambda f: f)
    for f, exact in losses:
        f = transformed(f)
        g = fw.grad(f, (time, h))
        assert g[0].dtype == np.float64
        assert g[1].dtype == h.dtype
        assert abs(inner(g, (rate, e)) - exact) < 1e-13 * max(1.0, abs(exact))
        assert abs(fw.jvp(f, (time, h), (rate, e)) - exact) < 1e-13 * max(1.0, abs(exact))


def test_a_complex_spectral_sum_has_a_complex_derivative():
    h, e = NAMED["sqrtm"].matrix(), NAMED["sqrtm"].direction()
    t = 1.3
    u = evolution(h, e, t)[0]
    expected = np.trace(u), np.trace(-1j * t * u @ e)
    f = lambda h: lw.spectral_sum(h, lambda x: np.exp(-1j * t * x))  # noqa: E731
    close(np.stack(lw.jvp(f, (h,), (e,))), np.array(expected), 1e-14)
    g = lw.vjp(lambda h: np.imag(f(h)), h)[1](np.array(1.0))[0]
    close(g, np.imag(-1j * t * u), 1e-14)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("z", [False, True], ids=["real", "complex"])
@without_warnings
def test_complex_functions_of_singular_values(shape, z):
    """U f(S) V^H is linear in f."""
    rng = np.random.default_rng(2)
    a, e = (_gaussian(rng, SHAPES[shape], z) for _ in range(2))
    c = _gaussian(rng, SHAPES[shape], True)
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    parts = [
        lw.jvp(lambda a, f=f: lw.singular_value_map(a, f), (a,), (e,))[1] for f in (np.sin, np.tanh)
    ]
    expected = np.sum(c.conj() * (parts[0] + 1j * parts[1])).real
    for fw in FRAMEWORKS:
        if fw.name == "jax" and (shape, z) not in (("tall", False), ("wide", True)):
            continue

        def value(a, fw=fw):
            xp = fw.functions
            return lw.singular_value_map(a, lambda s: xp.sin(s) + 1j * xp.tanh(s))

        def f(a, fw=fw, value=value):
            return summed(fw.real(value(a) * fw.array(c.conj())), 2)

        f = jax.jit(f) if fw.name == "jax" else f
        close(fw.numpy(value(fw.array(a))), (u * (np.sin(s) + 1j * np.tanh(s))) @ vh)
        assert abs(fw.jvp(f, (a,), (e,)) - expected) < 1e-12, fw.name
        assert abs(inner(fw.grad(f, (a,)), (e,)) - expected) < 1e-12, fw.name


def test_complex_maps_of_a_spectrum():
    entry = NAMED["spectral_map"]
    for z in (False, True):
        a, e = entry.matrix(z), entry.direction(z)
        c = WEIGHTS[0]
        _, along = lw.jvp(lambda a: lw.funm(a, lambda x: np.exp(-1j * x)), (a,), (e,))
        expected = np.sum(c.conj() * along).real
        for fw in FRAMEWORKS:
            if fw.name == "jax" and z:
                continue

            def f(a, fw=fw, c=c):
                x = lw.spectral_map(a, lambda w: fw.functions.exp(-1j * w))
                return summed(fw.real(x * fw.array(c.conj())), 2)

            f = jax.jit(f) if fw.name == "jax" else f
            assert abs(fw.jvp(f, (a,), (e,)) - expected) < 1e-12, fw.name
            assert abs(inner(fw.grad(f, (a,)), (e,)) - expected) < 1e-12, fw.name


# Bad input

PUBLIC: dict[str, Callable[[Any], Any]] = {
    "expm": lambda a: lw.expm(a, hermitian=True),
    "logm": lambda a: lw.logm(a, hermitian=True),
    "sqrtm": lambda a: lw.sqrtm(a, hermitian=True),
    "invsqrtm": lambda a: lw.invsqrtm(a, hermitian=True),
    "signm": lambda a: lw.signm(a, hermitian=True),
    "fractional_matrix_power": lambda a: lw.fractional_matrix_power(a, 0.5, hermitian=True),
    "funm": lambda a: lw.funm(a, lambda x: x * x),
    "spectral_sum": lambda a: lw.spectral_sum(a, lambda x: x * x),
    "spectral_map": lambda a: lw.spectral_map(a, lambda x: x * x),
    "spectral_projector": lambda a: lw.spectral_projector(a, 1),
    "spectral_mean": lambda a: lw.spectral_mean(a, 1),
    "singular_value_map": lambda a: lw.singular_value_map(a, lambda x: x * x * x),
    "polar": lw.polar,
    "nearest_orthogonal": lw.nearest_orthogonal,
    "nearest_rotation": lw.nearest_rotation,
    "low_rank": lambda a: lw.low_rank(a, 1),
    "pinv": lw.pinv,
    "range_projector": lw.range_projector,
    "null_projector": lw.null_projector,
    "matrix_norm": lw.matrix_norm,
    "matrix_norm-nuc": lambda a: lw.matrix_norm(a, "nuc"),
    "matrix_norm-2": lambda a: lw.matrix_norm(a, 2),
    "schatten_norm": lambda a: lw.schatten_norm(a, 3),
    "schatten_norm-1": lambda a: lw.schatten_norm(a, 1),
    "schatten_norm-inf": lambda a: lw.schatten_norm(a, np.inf),
    "ky_fan_norm": lambda a: lw.ky_fan_norm(a, 1),
    "sum_largest": lambda a: lw.sum_largest(a, 1),
    "subspace_distance": lambda a: lw.subspace_distance(a, a),
    "align": lambda a: lw.align(a, a),
    "whiten": lw.whiten,
    "whiten-pca": lambda a: lw.whiten(a, "pca"),
    "whiten-cholesky": lambda a: lw.whiten(a, "cholesky"),
}
ARGUMENT = {"subspace_distance": "q1", "align": "p", "whiten": "x"}
SQUARE = (
    "expm logm sqrtm invsqrtm signm fractional_matrix_power funm spectral_sum spectral_map "
    "spectral_projector spectral_mean nearest_rotation sum_largest"
).split()
MAKE: dict[str, Any] = {"numpy": np.asarray, "jax": jnp.asarray, "torch": torch.as_tensor}

every_public = pytest.mark.parametrize("name", PUBLIC)


def named(name: str) -> str:
    """How a message must begin: the function that was called, and its argument."""
    function = name.split("-")[0]
    return f"{function}: {ARGUMENT.get(function, 'a')}"


@every_public
def test_dtypes_that_are_not_taken_are_named_with_function_and_argument(name):
    eye = np.eye(3)
    refused = [
        (eye.astype(np.float16), "float16"),
        (eye.astype(object), "object"),
        (eye.astype(str), "<U32"),
        (jnp.eye(3, dtype=jnp.bfloat16), "bfloat16"),
        (torch.eye(3, dtype=torch.float16), "float16"),
    ]
    for x, dtype in refused:
        with pytest.raises(TypeError, match=rf"^{named(name)} has dtype .*{dtype}"):
            PUBLIC[name](x)
    for x in (None, "matrix", [[1, 2], [3]]):
        with pytest.raises(TypeError, match=rf"^{named(name)} "):
            PUBLIC[name](x)


@every_public
def test_shapes_that_are_not_taken_are_named_with_function_and_argument(name):
    for make in MAKE.values():
        for shape in ((3,), ()):
            with pytest.raises(np.linalg.LinAlgError, match=rf"^{named(name)} must be .*shape \("):
                PUBLIC[name](make(np.ones(shape)))
        if name in SQUARE:
            with pytest.raises(np.linalg.LinAlgError, match=rf"^{named(name)} must be square"):
                PUBLIC[name](make(np.ones((2, 3, 4))))


@every_public
@without_warnings
def test_integers_and_booleans_are_promoted_as_the_framework_promotes_them(name):
    a = np.array([[2, 0], [0, 1], [1, 1]])
    a = a @ a.T + np.eye(3, dtype=int) if name in SQUARE else np.vstack([a, [[0, 1], [3, 1]]])
    for dtype in ("int32", "uint8", "bool"):
        if dtype == "bool" and name in ("logm", "invsqrtm", "whiten-cholesky"):
            continue  # not of full rank as zeros and ones
        given = a.astype(dtype)
        expected = {"numpy": "float64", "torch": "float32"}
        for framework, default in expected.items():
            assert names(*outputs(PUBLIC[name](MAKE[framework](given)))) == {default}
        found = jax.eval_shape(lambda a: outputs(PUBLIC[name](a)), jnp.asarray(given))
        assert names(*found) == {str(jnp.result_type(float))}


def test_counts_that_are_not_taken():
    a = np.eye(3)
    for name in ("low_rank", "ky_fan_norm", "sum_largest"):
        for k in (-1, 1.5, True, None, "2", np.array(2.0)):
            with pytest.raises(ValueError, match=f"^{name}: k must be a nonnegative integer"):
                getattr(lw, name)(a, k)
        for k in (0, 7, np.int64(2)):
            assert np.isfinite(getattr(lw, name)(a, k)).all()
    for name in ("spectral_projector", "spectral_mean"):
        f = getattr(lw, name)
        with pytest.raises(ValueError, match=f"^{name}: .*must not be negative: -1"):
            f(a, -1)
        for select in (1.5, True, None, "two", (1, 2, 3), {}):
            with pytest.raises(TypeError, match=f"^{name}: select must be"):
                f(a, select)
    assert (lw.spectral_projector(a, 0) == 0).all()
    assert (lw.spectral_projector(a, 7) == a).all()


def test_options_that_are_not_taken():
    a = np.eye(3)
    wrong: Any
    for wrong in ("both", "", None, 1):
        with pytest.raises(ValueError, match=r"^polar: side must be 'right' or 'left'"):
            lw.polar(a, wrong)
    for wrong in ("frobenius", 1, -2, np.inf, None, True, [2]):
        with pytest.raises(ValueError, match=r"^matrix_norm: ord must be 'nuc', 'fro'"):
            lw.matrix_norm(a, wrong)
    for wrong in (0.5, -1, np.nan, "2", None, 1j, True):
        with pytest.raises(ValueError, match=r"^schatten_norm: p must be at least 1"):
            lw.schatten_norm(a, wrong)
    for wrong in ("pcacor", "", None, 1):
        with pytest.raises(ValueError, match=r"^whiten: method must be"):
            lw.whiten(a, wrong)
    for wrong in (True, None, "1", 1j):
        with pytest.raises(TypeError, match=r"^fractional_matrix_power: p must be a real number"):
            lw.fractional_matrix_power(a, wrong, hermitian=True)
    with pytest.raises(NotImplementedError, match=r"^funm: only functions of Hermitian"):
        lw.funm(a, np.exp, hermitian=False)
    with pytest.raises(TypeError, match=r"^nearest_rotation: a must be real.*complex128"):
        lw.nearest_rotation(a + 0j)
    expected = lw.schatten_norm(a, 2)
    for right in (np.float32(2), np.int64(2), np.float64(2)):
        given: Any = right
        assert lw.schatten_norm(a, given) == expected


def test_points_and_bases_that_do_not_match():
    p, q = np.ones((5, 3)), np.ones((4, 3))
    with pytest.raises(ValueError, match=r"^align: .*\(5, 3\).*\(4, 3\)"):
        lw.align(p, q)
    with pytest.raises(ValueError, match=r"^align: .*\(5, 3\).*\(5, 2\)"):
        lw.align(p, p[:, :2])
    with pytest.raises(ValueError, match=r"^align: .*weights.*\(4,\)"):
        lw.align(p, p, weights=np.ones(4))
    with pytest.raises(ValueError, match=r"^align: .*weights"):
        lw.align(p, p, weights=np.ones(()))
    with pytest.raises(TypeError, match=r"^align: p, q and weights must be real"):
        lw.align(p + 0j, p)
    with pytest.raises(ValueError, match=r"^subspace_distance: .*\(5, 3\).*\(4, 3\)"):
        lw.subspace_distance(p, q)
    with pytest.raises(ValueError, match=r"^align: .*\(2, 5, 3\).*\(3, 5, 3\)"):
        lw.align(np.ones((2, 5, 3)), np.ones((3, 5, 3)))
    with pytest.raises(ValueError, match=r"^subspace_distance: .*\(2, 5, 3\).*\(3, 5, 3\)"):
        lw.subspace_distance(np.ones((2, 5, 3)), np.ones((3, 5, 3)))


def test_frameworks_do_not_mix():
    p = np.ones((3, 2))
    for f, first, second in ((lw.align, "p", "q"), (lw.subspace_distance, "q1", "q2")):
        for x, y in ((p, torch.ones(3, 2)), (torch.ones(3, 2), jnp.ones((3, 2)))):
            with pytest.raises(
                TypeError, match=f"{first} is a .* array and {second} is a .* array"
            ):
                f(x, y)
        joined = jax.eval_shape(lambda y, f=f: outputs(f(p, y)), jnp.ones((3, 2)))
        assert joined[0].dtype == np.float64
        assert isinstance(outputs(f([[1.0, 0], [0, 1]], torch.eye(2)))[0], torch.Tensor)
    with pytest.raises(TypeError, match="weights is a PyTorch array"):
        lw.align(p, p, weights=torch.ones(3))


@pytest.mark.parametrize("name", ["funm", "spectral_sum", "spectral_map", "singular_value_map"])
def test_functions_that_cannot_be_followed(name):
    f = getattr(lw, name)
    a = np.eye(3)
    for wrong in (lambda x: x.sum(), lambda x: x[..., :2], lambda x: x[..., None]):
        with pytest.raises(ValueError, match=r"f must .*shape"):
            f(a, wrong)
    for x, wrong in (
        (a, lambda x: torch.ones(3)),
        (torch.eye(3), lambda x: jnp.ones(3)),
        (a, lambda x: "three"),
        (a, lambda x: None),
        (a, 3),
    ):
        with pytest.raises(TypeError):
            f(x, wrong)


def in_time(function: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What a function returns; a failure if it does not."""
    found: list[Any] = []

    def run():
        try:
            found.append(function())
        except Exception as error:  # noqa: BLE001
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, f"no answer in {seconds} seconds"
    return found[0]


NOT_FINITE = {
    "nan": np.full((3, 3), np.nan),
    "one nan": np.array([[1.0, np.nan, 0.0], [np.nan, 2.0, 0.0], [0.0, 0.0, 1.0]]),
    "one inf": np.array([[1.0, np.inf, 0.0], [np.inf, 2.0, 0.0], [0.0, 0.0, 1.0]]),
    "inf on the diagonal": np.diag([1.0, np.inf, -np.inf]),
    "all inf": np.full((3, 3), np.inf),
}


@every_public
@without_warnings
def test_nan_and_inf_are_refused_or_give_nan_and_never_a_finite_gradient(name):
    for a in NOT_FINITE.values():
        for fw in (NUMPY, TORCH, AUTOGRAD):

            def f(x):
                return sum(y.sum() for y in outputs(PUBLIC[name](x)))

            g = in_time(lambda fw=fw, a=a, f=f: fw.grad(f, (a,))[0])
            if isinstance(g, Exception):
                assert isinstance(g, (*REFUSED, ValueError)), repr(g)
            else:
                assert not np.isfinite(g).all(), fw.name


# three samples of three variables are too few to be whitened
ENOUGH = [name for name in PUBLIC if not name.startswith("whiten")]


@pytest.mark.parametrize("names", np.array_split(ENOUGH, 4), ids=range(4))
def test_nan_and_inf_give_nan_in_jax(names):
    """In one compilation of many functions."""

    @jax.jit
    def gradients(a):
        def f(name):
            return lambda a: sum(y.sum() for y in outputs(PUBLIC[name](a)))

        return {str(name): jax.grad(f(name))(a) for name in names}

    for a in NOT_FINITE.values():
        found = in_time(lambda a=a: jax.block_until_ready(gradients(a)))
        assert isinstance(found, dict), repr(found)
        for name, g in found.items():
            assert not np.isfinite(g).all(), name
