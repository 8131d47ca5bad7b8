"""Right or loud: every kind of derivative on every kind of matrix, against 50 digits.

    loewner census            # all cases; --quick takes every seventh of them

JAX, which compiles each of them, is given every seventh, and every 49th with --quick.

A case is a matrix and a loss, a real function of what a decomposition or a function of the
matrix returns. It is *well posed* if its derivative exists; *ill posed* if the loss depends
on what the matrix leaves open (a phase, a basis of a cluster, one member of a repeated pair),
if it cuts through a cluster, or if the function has a pole or a kink there. A loss is
written once. loewner's functions are put into it, those that people put together from the
framework's own linalg, and, for the truth, the same in 120 digits. The truth is a difference
quotient of these along t -> A + t E, whose step is 1e-30: good for more than 50 digits also at
exact repeats, which the step resolves.

Four numbers are judged, each by one word: the derivative along E by forward mode, the same by
reverse mode, and the second derivative along E and F by forward over reverse mode ("hessian":
so do `jax.hessian` and `torch.func.hessian`) and by reverse over reverse ("double").

right
    The error relative to max(1, |truth|) is at most max(1e-9, 1e4 eps c^order); c is the size
    of the matrix over the least gap: of its values if the loss sees single vectors or values,
    of its clusters if it is a function of the matrix (there zero counts as a value). Losses are
    without units, and directions are as large as the matrix.
loud
    NaN or infinite, or an exception; for loewner under ``checks("raise", strict=True)``.
    Forward mode follows one direction and cannot judge the loss: what it returns for a loss
    that loewner reports in reverse mode counts as loud.
WRONG
    All else: a finite number, off, in silence. For an ill-posed loss that is any number.

A loss may be stationary along all bases of a cluster at one matrix, and its gradient depend on
them: a single reverse pass does not see that, `loewner.certify` does. No case is such a one.

At the kinks of convex functions (norms, sums of the largest eigenvalues) the derivative along
E is right if it lies between the one-sided ones, as that of a subgradient does; there is no
second derivative to be judged. At matrices of defective rank `pinv` differentiates along
matrices of the same rank; it is tried at full rank. The unitary factor of a square
matrix of which one singular value vanishes has two branches, both differentiable: left out.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import loewner as lw

from ._optional import needed

HELP = "Count right, reported and silently wrong derivatives, against 50 digits."
MODES = ("forward", "reverse", "hessian", "double")
VERDICTS = ("right", "loud", "WRONG")
FRAMEWORKS = ("numpy", "jax", "torch", "autograd")
COLUMNS = {
    ("numpy", "loewner"): "NumPy",
    ("jax", "loewner"): "JAX",
    ("torch", "loewner"): "PyTorch",
    ("autograd", "loewner"): "autograd",
    ("jax", "own"): "jnp.linalg",
    ("torch", "own"): "torch.linalg",
    ("autograd", "own"): "autograd.numpy.linalg",
}

Array = Any
Loss = Callable[..., Array]

DIGITS = 120
NEAR = 1e-3
"""Values that are this near, relative to the largest, are one cluster of a well-posed loss."""
EQUAL = 1e-10
"""And those that cannot be told from each other."""


# matrices

_KINDS = {
    # eigenvalues, singular values; one list of each kind has a frame that rounds nothing
    "distinct": ([-2.0, -1.0, 1.0, 3.0], [4.0, 3.0, 2.0, 1.0]),
    "exact": ([-2.0, 1.0, 1.0, 3.0], [3.0, 3.0, 2.0, 1.0]),
    "rounded": ([-1.0, -1.0, 1.0, 2.0], [3.0, 2.0, 2.0, 1.0]),
    "near": ([-2.0, 1.0, 1.0001, 3.0], [3.0, 2.9999, 2.0, 1.0]),
    "deficient": ([-2.0, 0.0, 0.0, 1.0], [3.0, 2.0, 0.0, 0.0]),
    "graded": ([0.001, 0.01, 0.1, 1.0], [1.0, 0.1, 0.01, 0.001]),
    "huge": ([-2e200, -1e200, 1e200, 3e200], [4e200, 3e200, 2e200, 1e200]),
    "tiny": ([-2e-200, -1e-200, 1e-200, 3e-200], [4e-200, 3e-200, 2e-200, 1e-200]),
}
_DYADIC = ("exact", "deficient")
_SCALED = ("huge", "tiny")


def _cycle(n: int) -> np.ndarray:
    step = np.roll(np.eye(n), 1, axis=0)
    return step + step.T


def _kronecker_sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.kron(a, np.eye(len(b))) + np.kron(np.eye(len(a)), b)


_PATH2 = np.array([[1.0, -1.0], [-1.0, 1.0]])
_ROTATION = np.roll(np.eye(4), 1, axis=0)

STRUCTURED = {
    "identity": np.eye(4),
    "zero": np.zeros((4, 4)),
    "benzene": -_cycle(6),
    "cyclopentadienyl": -_cycle(5),
    "Laplacian of a ring": 2 * np.eye(4) - _cycle(4),
    "cube": _kronecker_sum(_PATH2, _kronecker_sum(_PATH2, _PATH2)),
    "prism": _kronecker_sum(2 * np.eye(3) - _cycle(3), _PATH2),
    "circulant": 5 * np.eye(4) + _cycle(4) + _ROTATION @ _ROTATION,
    "permutation-symmetric": 2 * np.eye(4) + np.ones((4, 4)),
    "uniaxial stress": np.eye(3) + 0.5 * np.outer([1.0, 2.0, 2.0], [1.0, 2.0, 2.0]),
    "hydrostatic stress": -2.5 * np.eye(3),
}
"""Real symmetric matrices as they occur: their values repeat exactly."""


def _gaussian(rng: np.random.Generator, shape: tuple[int, ...], z: bool) -> np.ndarray:
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if z else x


def _hermitian(a: np.ndarray) -> np.ndarray:
    return (a + a.conj().T) / 2


def _frame(rng: np.random.Generator, n: int, z: bool, exact: bool) -> np.ndarray:
    """A unitary matrix; an exact one is a reflection along a vector of squared norm 4 or 8."""
    if not exact:
        return np.linalg.qr(_gaussian(rng, (n, n), z))[0]
    v = np.array({4: [1, 1, 1, 1], 5: [2, 1, 1, 1, 1]}[n]) * rng.choice([-1, 1], n)
    v = v * np.array([1, 1j, -1j, 1, 1][:n]) if z else v
    return np.eye(n) - 2 * np.outer(v, v.conj()) / np.vdot(v, v).real


def _unimodular(rng: np.random.Generator, z: bool) -> np.ndarray:
    """An integer matrix whose inverse is an integer matrix."""
    lower, upper = (rng.integers(-1, 2, (4, 4)) for _ in range(2))
    lower = lower * 1j if z else lower
    return (np.eye(4) + np.tril(lower, -1)) @ (np.eye(4) + np.triu(upper, 1))


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A matrix (or a pair) of the table, and what is known about its spectrum."""

    kind: str
    argument: str
    """hermitian, positive, pair; tall, wide, square; general"""
    field: str

    @property
    def name(self) -> str:
        return f"{self.argument} {self.field} {self.kind}"

    def generator(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([stream, *self.name.encode()])

    @property
    def symmetric(self) -> bool:
        return self.argument in ("hermitian", "positive", "pair")

    @property
    def singular(self) -> bool:
        """Whether the values are singular values, and descend."""
        return self.argument in ("tall", "wide", "square")

    @property
    def scale(self) -> float:
        if self.kind in _SCALED:
            return max(abs(x) for x in self.listed)
        return 1.0

    @property
    def listed(self) -> list[float]:
        eigenvalues, singular_values = _KINDS[self.kind]
        return singular_values if self.singular or self.argument == "positive" else eigenvalues

    @functools.cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        if self.kind in STRUCTURED:
            return (STRUCTURED[self.kind],)
        rng, z, exact = self.generator(0), self.field == "complex", self.kind in _DYADIC
        values = np.array(self.listed) / self.scale
        if self.argument in ("hermitian", "positive"):
            v = _frame(rng, 4, z, exact)
            return (_hermitian((v * values) @ v.conj().T) * self.scale,)
        if self.argument == "pair":
            g = _unimodular(rng, z) if exact else _frame(rng, 4, z, False) * [1.0, 1.5, 0.7, 2.0]
            return _hermitian((g * values) @ g.conj().T) * self.scale, _hermitian(g @ g.conj().T)
        if self.argument == "general":
            if self.kind == "defective":
                return (self.basis @ _JORDAN @ np.round(np.linalg.inv(self.basis)),)
            x, inverse = self.basis, np.linalg.inv(self.basis)
            inverse = np.round(inverse) if exact else inverse
            return ((x * values) @ inverse * self.scale,)
        m = 4 if self.argument == "square" else 5
        u, v = _frame(rng, m, z, exact)[:, :4], _frame(rng, 4, z, exact)
        a = (u * values) @ v.conj().T * self.scale
        return (a.conj().T.copy() if self.argument == "wide" else a,)

    @functools.cached_property
    def basis(self) -> np.ndarray:
        """The eigenvectors of a general matrix."""
        rng, z = self.generator(0), self.field == "complex"
        if self.kind in (*_DYADIC, "defective"):
            return _unimodular(rng, z)
        return _frame(rng, 4, z, False) * [1.0, 1.4, 0.8, 1.2] @ _frame(rng, 4, z, False)

    def direction(self, stream: int) -> tuple[np.ndarray, ...]:
        rng = self.generator(stream)
        found = [_gaussian(rng, a.shape, self.field == "complex") for a in self.arrays]
        found[0] *= self.scale
        return tuple(_hermitian(e) if self.symmetric else e for e in found)

    @functools.cached_property
    def weight(self) -> np.ndarray:
        return _gaussian(self.generator(3), (8, 8), self.field == "complex") / 2

    @functools.cached_property
    def values(self) -> np.ndarray:
        """In the order in which they are returned, in units of the scale."""
        if self.kind not in STRUCTURED:
            return np.array(self.listed) / self.scale
        w = np.linalg.eigvalsh(self.arrays[0])
        return np.sort(abs(w))[::-1] if self.singular else w

    def clusters(self, width: float) -> list[list[int]]:
        """The places of values whose neighbours are within width times the largest."""
        largest = np.max(abs(self.values))
        found = [[0]]
        for i in range(1, len(self.values)):
            if abs(self.values[i] - self.values[i - 1]) <= width * largest:
                found[-1].append(i)
            else:
                found.append([i])
        return found

    @property
    def repeated(self) -> list[int]:
        """The last cluster of values that cannot be told from each other; empty if none."""
        return next((g for g in reversed(self.clusters(EQUAL)) if len(g) > 1), [])

    @property
    def member(self) -> int:
        return (self.repeated or [1])[0]

    @property
    def boundary(self) -> int:
        """How many values the first cluster has."""
        return len(self.clusters(NEAR)[0])

    @property
    def zeros(self) -> int:
        return int(np.sum(abs(self.values) <= EQUAL * np.max(abs(self.values))))

    def amplification(self, single: bool) -> float:
        """|A| over the least gap of its values, or of its clusters."""
        means = [np.mean(self.values[g]) for g in self.clusters(EQUAL if single else NEAR)]
        means += [] if single and not self.singular else [0.0]
        means += [-x for x in means] if self.singular else []
        largest = np.max(abs(self.values))
        gaps = [abs(x - y) for x, y in itertools.combinations(means, 2)]
        least = min((g for g in gaps if g > EQUAL * largest), default=largest or 1.0)
        condition = np.linalg.cond(self.basis) if self.argument == "general" else 1.0
        return float(max(largest / least, 1.0) * condition)


_JORDAN = np.array([[2.0, 1, 0, 0], [0, 2, 1, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
_KINDS["defective"] = ([2.0, 2.0, 2.0, 1.0], [])


# losses, written once: la offers the functions, fw the arrays, m is the matrix


def _dot(fw: Any, m: Matrix, p: Array) -> Array:
    """t + 0.3 t^2 of t = Re <C, p>."""
    c = fw.array(m.weight[: p.shape[0], : p.shape[1]])
    t = fw.real(fw.conj(c) * p).sum()
    return t + 0.3 * t * t


def _values(la: Any, m: Matrix, a: Sequence[Array]) -> Array:
    function = la.svdvals if m.singular else la.eigvalsh
    return function(*a) / m.scale


def _cluster_sums(la: Any, fw: Any, m: Matrix, *a: Array) -> Array:
    w = _values(la, m, a)
    return sum(w[g[0] : g[-1] + 1].sum() ** 3 * (j + 1) for j, g in enumerate(_proper(m)))


def _symmetric(la: Any, fw: Any, m: Matrix, *a: Array) -> Array:
    w = _values(la, m, a)
    return (w * w * w * w).sum() - (w * w).sum()


def _one_value(la: Any, fw: Any, m: Matrix, *a: Array) -> Array:
    return _values(la, m, a)[m.member]


def _proper(m: Matrix) -> list[list[int]]:
    """The clusters, but for singular values that vanish."""
    return [g for g in m.clusters(NEAR) if not (m.singular and abs(m.values[g[0]]) <= EQUAL)]


def _eigenprojectors(la: Any, fw: Any, m: Matrix, *a: Array) -> Array:
    w, v = la.eigh(*a)
    total = 0.0
    for g in m.clusters(NEAR):
        i, j = g[0], g[-1] + 1
        t = _dot(fw, m, v[:, i:j] @ fw.adjoint(v[:, i:j]))
        total = total + t + w[i:j].sum() / m.scale * t
    return total


def _one_vector(la: Any, fw: Any, m: Matrix, *a: Array) -> Array:
    v = la.eigh(*a)[1][:, m.member : m.member + 1]
    return _dot(fw, m, v @ fw.adjoint(v))


def _cut_projector(la: Any, fw: Any, m: Matrix, *a: Array) -> Array:
    v = la.eigh(*a)[1][:, : m.member + 1]
    return _dot(fw, m, v @ fw.adjoint(v))


def _one_entry(row: int) -> Loss:
    """LAPACK happens to return the first row of the eigenvectors real."""

    def loss(la: Any, fw: Any, m: Matrix, *a: Array) -> Array:
        v = la.eigh(*a)[1][:, m.member]
        # the exact frames of pairs have zeros in the first row
        return fw.real(v[row] + 2 * v[-1] if m.argument == "pair" else v[row])

    return loss


def _function_by_hand(la: Any, fw: Any, m: Matrix, *a: Array) -> Array:
    w, v = la.eigh(*a)
    return _dot(fw, m, (v * fw.functions.tanh(w / m.scale)) @ fw.adjoint(v))


def _svd(full: bool, loss: Loss) -> Loss:
    def whole(la: Any, fw: Any, m: Matrix, a: Array) -> Array:
        u, s, vh = la.svd(a, full_matrices=full)
        return loss(fw, m, u, s / m.scale, fw.adjoint(vh))

    return whole


def _singular_projectors(fw: Any, m: Matrix, u: Array, s: Array, v: Array) -> Array:
    total = 0.0
    for g in _proper(m):
        i, j = g[0], g[-1] + 1
        p, q = u[:, i:j], v[:, i:j]
        t = _dot(fw, m, p @ fw.adjoint(q)) + _dot(fw, m, p @ fw.adjoint(p))
        total = total + t + _dot(fw, m, q @ fw.adjoint(q)) * s[i:j].sum()
    rank = len(m.values) - m.zeros
    for x in (u, v):
        if x.shape[0] == x.shape[1] > rank:
            total = total + _dot(fw, m, x[:, rank:] @ fw.adjoint(x[:, rank:]))
    return total


def _null_entry(fw: Any, m: Matrix, u: Array, s: Array, v: Array) -> Array:
    x = u if u.shape[0] > v.shape[0] else v
    y = x[0, -1] + 2 * x[1, -1] - x[2, -1]
    return fw.real(y * fw.conj(y))


def _one_pair(fw: Any, m: Matrix, u: Array, s: Array, v: Array) -> Array:
    i = m.member
    return _dot(fw, m, u[:, i : i + 1] @ fw.adjoint(v[:, i : i + 1]))


def _left_phase(fw: Any, m: Matrix, u: Array, s: Array, v: Array) -> Array:
    return fw.real(u[1, m.member])


def _singular_by_hand(fw: Any, m: Matrix, u: Array, s: Array, v: Array) -> Array:
    k = s.shape[0]
    return _dot(fw, m, (u[:, :k] * fw.functions.tanh(s)) @ fw.adjoint(v[:, :k]))


def _sorted_eig(la: Any, fw: Any, a: Array) -> tuple[Array, Array, Array]:
    w, v, y = la.eig(a, left=True)
    order = fw.argsort(fw.real(w) + 0.1 * fw.imag(w))
    return w[order], v[:, order], y[:, order]


def _oblique_projectors(la: Any, fw: Any, m: Matrix, a: Array) -> Array:
    w, v, y = _sorted_eig(la, fw, a)
    total = 0.0
    for g in m.clusters(NEAR):
        p, q = v[:, g[0] : g[-1] + 1], y[:, g[0] : g[-1] + 1]
        t = _dot(fw, m, (p / (fw.conj(q) * p).sum(0)) @ fw.adjoint(q))
        sigma = w[g[0] : g[-1] + 1].sum() / m.scale
        total = total + t + fw.real(sigma * sigma * sigma)
    return total


def _eig_symmetric(la: Any, fw: Any, m: Matrix, a: Array) -> Array:
    w = la.eigvals(a) / m.scale
    return fw.real(w * w * w).sum()


def _eig_by_hand(la: Any, fw: Any, m: Matrix, a: Array) -> Array:
    w, v, y = _sorted_eig(la, fw, a)
    w = w / m.scale
    return _dot(fw, m, (v / (fw.conj(y) * v).sum(0) * (w * w * w)) @ fw.adjoint(y))


def _eig_member(la: Any, fw: Any, m: Matrix, a: Array) -> Array:
    return fw.real(_sorted_eig(la, fw, a)[0][m.member]) / m.scale


def _eig_vector(la: Any, fw: Any, m: Matrix, a: Array) -> Array:
    v = _sorted_eig(la, fw, a)[1]
    return fw.real(fw.conj(v[0, m.member]) * v[1, m.member])


def _eig_entry(la: Any, fw: Any, m: Matrix, a: Array) -> Array:
    v = _sorted_eig(la, fw, a)[1]
    return fw.real(v[0, m.member] * v[1, m.member])


def _matrix(function: Callable[[Any, Any, Matrix, Array], Array], degree: float = 0.0) -> Loss:
    """The loss of a function with values in matrices, f(c A) = c^degree f(A)."""

    def loss(la: Any, fw: Any, m: Matrix, a: Array) -> Array:
        return _dot(fw, m, function(la, fw, m, a) / m.scale**degree)

    return loss


def _number(function: Callable[[Any, Any, Matrix, Array], Array]) -> Loss:
    """And with values in numbers, of degree one."""
    return lambda la, fw, m, a: function(la, fw, m, a) / m.scale


def _softmax(fw: Any) -> Callable[[Array], Array]:
    def f(w: Array) -> Array:
        e = fw.functions.exp(-w)
        return e / e.sum(-1, keepdims=True)

    return f


# the table


def _never(m: Matrix) -> bool:
    return False


def _always(m: Matrix) -> bool:
    return True


def _repeats(m: Matrix) -> bool:
    return bool(m.repeated)


def _vanishes(m: Matrix) -> bool:
    return m.zeros > 0


def _member_or_kink(m: Matrix) -> bool:
    return bool(m.repeated) or abs(m.values[m.member]) <= EQUAL


def _reflected(m: Matrix) -> bool:
    """Whether the last two singular values cancel."""
    sign = np.sign(np.linalg.det(m.arrays[0] / m.scale))
    return bool(m.values[-2] + sign * m.values[-1] <= EQUAL * m.values[0])


def _one_branch(m: Matrix) -> bool:
    """Not where the unitary factor has two, each of which is differentiable."""
    return m.zeros != 1 or m.argument != "square"


def _of_full_rank(m: Matrix) -> bool:
    return m.zeros == 0


def _not_zero(m: Matrix) -> bool:
    return m.zeros < len(m.values)


def _has_gap(m: Matrix) -> bool:
    return m.boundary < len(m.values)


def _is_complex(m: Matrix) -> bool:
    return m.field == "complex"


@dataclasses.dataclass(frozen=True)
class Row:
    """A loss, and the matrices on which it is tried."""

    group: str
    name: str
    arguments: str
    loss: Loss
    ill: Callable[[Matrix], bool] = _never
    """Where it has no derivative."""
    where: Callable[[Matrix], bool] = _always
    scaled: bool = True
    """Whether it is tried at huge and tiny matrices."""
    single: bool = False
    """Whether it sees single vectors or values."""
    convex: bool = False
    sizes: bool = False
    """Whether it is tried at structured matrices of all sizes, or at those of four rows."""
    fields: tuple[str, ...] = ("real", "complex")
    kinds: tuple[str, ...] = tuple(k for k in _KINDS if k != "defective")


def _decompositions() -> list[Row]:
    def row(group: str, name: str, arguments: str, loss: Loss, *ill: Any, **more: Any) -> Row:
        return Row(group, name, arguments, loss, *ill, single=True, **more)

    rows = []
    for f, arguments in (("eigh", "hermitian"), ("eigh(a, b)", "pair")):
        rows += [
            row(f, "sums over clusters", arguments, _cluster_sums),
            row(f, "symmetric function", arguments, _symmetric),
            row(f, "projectors", arguments, _eigenprojectors, sizes=True),
            row(f"{f}, f(A) by hand", "V f(w) V^H", arguments, _function_by_hand, sizes=True),
            row(f"{f}, one of a pair", "value", arguments, _one_value, _repeats),
            row(f"{f}, one of a pair", "vector", arguments, _one_vector, _repeats),
            row(f"{f}, cut", "cut", arguments, _cut_projector, _repeats, where=_repeats),
            row(f"{f}, basis, phase", "basis", arguments, _one_entry(1), _always, where=_repeats),
            *(
                row(
                    f"{f}, basis, phase",
                    f"phase in row {i}",
                    arguments,
                    _one_entry(i),
                    _always,
                    where=_is_complex,
                )
                for i in range(2)
            ),
        ]
    for full, arguments in ((False, "tall"), (True, "wide")):
        f = "svd, full" if full else "svd"
        hand = _svd(full, _singular_by_hand)
        rows += [
            row(f, "projectors", arguments, _svd(full, _singular_projectors)),
            row(f"{f}, f(A) by hand", "U f(S) V^H", arguments, hand),
            row(f"{f}, one of a pair", "vectors", arguments, _svd(full, _one_pair), _repeats),
            row(
                f"{f}, basis, phase",
                "phase",
                arguments,
                _svd(full, _left_phase),
                _always,
                where=_is_complex,
            ),
        ]
    null = _svd(True, _null_entry)
    return [
        *rows,
        row("svd", "sums over clusters", "tall square", _cluster_sums, where=_not_zero),
        row("svd", "symmetric function", "wide square", _symmetric),
        row("svd, kink", "a value", "tall square", _one_value, _member_or_kink),
        row("svd, full, basis, phase", "null frame", "square", null, _always, where=_two_zeros),
        row("eig", "projectors", "general", _oblique_projectors),
        row("eig", "symmetric function", "general", _eig_symmetric),
        row("eig, f(A) by hand", "V w^3 V^-1", "general", _eig_by_hand),
        row("eig, one of a pair", "value", "general", _eig_member, _repeats),
        row("eig, one of a pair", "vector", "general", _eig_vector, _repeats),
        row("eig, basis, phase", "phase", "general", _eig_entry, _always, where=_is_complex),
    ]


def _two_zeros(m: Matrix) -> bool:
    return m.zeros > 1


def _functions() -> list[Row]:
    def h(name: str, loss: Loss, *ill: Any, arguments: str = "hermitian", **more: Any) -> Row:
        return Row(more.pop("group", name), name, arguments, loss, *ill, **more)

    def p(name: str, function: Any, degree: float, **more: Any) -> Row:
        return h(name, _matrix(function, degree), _vanishes, arguments="positive", **more)

    def s(name: str, loss: Loss, *ill: Any, arguments: str = "tall square", **more: Any) -> Row:
        return h(name, loss, *ill, arguments=arguments, **more)

    def spectral_sum(la: Any, fw: Any, m: Matrix, a: Array) -> Array:
        return la.spectral_sum(a, lambda x: x * fw.functions.log(x))

    general = {"arguments": "general", "scaled": False}
    defective = {**general, "kinds": ("distinct", "exact", "near", "defective")}
    return [
        h("expm", _matrix(lambda la, fw, m, a: la.expm(a, hermitian=True)), scaled=False),
        h(
            "funm",
            _matrix(lambda la, fw, m, a: la.funm(a, fw.functions.tanh)),
            scaled=False,
            sizes=True,
        ),
        h(
            "spectral_map",
            _matrix(lambda la, fw, m, a: la.spectral_map(a, _softmax(fw))),
            scaled=False,
        ),
        h("signm", _matrix(lambda la, fw, m, a: la.signm(a, hermitian=True)), _vanishes),
        h(
            "power",
            _matrix(lambda la, fw, m, a: la.fractional_matrix_power(a, 3, hermitian=True)),
            scaled=False,
        ),
        p("power", lambda la, fw, m, a: la.fractional_matrix_power(a, 0.3, hermitian=True), 0.3),
        p("logm", lambda la, fw, m, a: la.logm(a, hermitian=True), 0.0, scaled=False, sizes=True),
        p("sqrtm", lambda la, fw, m, a: la.sqrtm(a, hermitian=True), 0.5),
        p("invsqrtm", lambda la, fw, m, a: la.invsqrtm(a, hermitian=True), -0.5),
        h("spectral_sum", spectral_sum, _vanishes, arguments="positive", scaled=False),
        h(
            "spectral_projector",
            _matrix(lambda la, fw, m, a: la.spectral_projector(a, m.boundary)),
            where=_has_gap,
            sizes=True,
        ),
        h(
            "spectral_projector",
            _matrix(lambda la, fw, m, a: la.spectral_projector(a, m.member + 1)),
            _repeats,
            where=_repeats,
            group="spectral_projector, cut",
        ),
        h(
            "spectral_mean",
            _number(lambda la, fw, m, a: la.spectral_mean(a, m.boundary)),
        ),
        h(
            "spectral_mean",
            _number(lambda la, fw, m, a: la.spectral_mean(a, m.member + 1)),
            _repeats,
            where=_repeats,
            group="spectral_mean, cut",
        ),
        h(
            "sum_largest",
            _number(lambda la, fw, m, a: la.sum_largest(a, len(m.values) - m.member - 1)),
            _repeats,
            convex=True,
        ),
        s(
            "singular_value_map",
            _matrix(lambda la, fw, m, a: la.singular_value_map(a, fw.functions.tanh)),
            arguments="tall wide",
            scaled=False,
        ),
        s("polar", _matrix(lambda la, fw, m, a: la.polar(a).unitary), _vanishes, where=_one_branch),
        s("polar", _matrix(lambda la, fw, m, a: la.polar(a).hermitian, 1.0), _vanishes),
        s(
            "nearest_rotation",
            _matrix(lambda la, fw, m, a: la.nearest_rotation(a)),
            _reflected,
            arguments="square",
            fields=("real",),
            sizes=True,
        ),
        s(
            "low_rank",
            _matrix(lambda la, fw, m, a: la.low_rank(a, m.boundary), 1.0),
            arguments="tall wide",
            where=_has_gap,
        ),
        s(
            "low_rank",
            _matrix(lambda la, fw, m, a: la.low_rank(a, m.member + 1), 1.0),
            _repeats,
            arguments="tall square",
            where=_repeats,
            group="low_rank, cut",
        ),
        s(
            "pinv",
            _matrix(lambda la, fw, m, a: la.pinv(a), -1.0),
            where=_of_full_rank,
            arguments="tall wide",
        ),
        s(
            "nuclear norm",
            _number(lambda la, fw, m, a: la.matrix_norm(a, "nuc")),
            _vanishes,
            convex=True,
        ),
        s(
            "Ky Fan norm",
            _number(lambda la, fw, m, a: la.ky_fan_norm(a, m.member + 1)),
            _member_or_kink,
            convex=True,
        ),
        s(
            "Schatten norm",
            _number(lambda la, fw, m, a: la.schatten_norm(a, 4)),
            lambda m: m.zeros == len(m.values),
            convex=True,
        ),
        Row("general expm", "expm", loss=_matrix(lambda la, fw, m, a: la.expm(a)), **defective),
        Row(
            "general sqrtm",
            "sqrtm",
            loss=_matrix(lambda la, fw, m, a: la.sqrtm(a)),
            **{**defective, "kinds": ("graded", "defective")},
        ),
    ]


ROWS = (*_decompositions(), *_functions())


# what people write with eigh, svd and eig


class ByHand:
    """The functions of loewner, put together from the decompositions of a framework."""

    def __init__(self, fw: Any, **own: Any):
        self.fw = fw
        vars(self).update(own)

    def eigh(self, a: Array, b: Array | None = None) -> tuple[Array, Array]:
        if b is None:
            return self.fw.eigh(a)
        inverse = self.fw.inv(self.fw.cholesky(b))
        w, v = self.fw.eigh(inverse @ a @ self.fw.adjoint(inverse))
        return w, self.fw.adjoint(inverse) @ v

    def eigvalsh(self, a: Array, b: Array | None = None) -> Array:
        return self.eigh(a, b)[0]

    def svd(self, a: Array, full_matrices: bool = True) -> tuple[Array, Array, Array]:
        return self.fw.svd(a, full_matrices=full_matrices)

    def svdvals(self, a: Array) -> Array:
        return self.svd(a, full_matrices=False)[1]

    def eig(self, a: Array, left: bool = True) -> tuple[Array, Array, Array]:
        w, v = self.fw.eig(a)
        return w, v, self.fw.adjoint(self.fw.inv(v))

    def eigvals(self, a: Array) -> Array:
        return self.fw.eig(a)[0]

    def funm(self, a: Array, f: Callable[[Array], Array]) -> Array:
        w, v = self.eigh(a)
        return (v * f(w)) @ self.fw.adjoint(v)

    spectral_map = funm

    def expm(self, a: Array, hermitian: bool = False) -> Array:
        if not hermitian:
            raise NotImplementedError
        return self.funm(a, self.fw.functions.exp)

    def logm(self, a: Array, hermitian: bool) -> Array:
        return self.funm(a, self.fw.functions.log)

    def sqrtm(self, a: Array, hermitian: bool = False) -> Array:
        if not hermitian:
            raise NotImplementedError
        return self.funm(a, self.fw.functions.sqrt)

    def invsqrtm(self, a: Array, hermitian: bool) -> Array:
        return self.funm(a, lambda w: 1 / self.fw.functions.sqrt(w))

    def fractional_matrix_power(self, a: Array, p: float, hermitian: bool) -> Array:
        return self.funm(a, lambda w: w**p)

    def signm(self, a: Array, hermitian: bool) -> Array:
        return self.funm(a, self.fw.functions.sign)

    def spectral_sum(self, a: Array, f: Callable[[Array], Array]) -> Array:
        return f(self.eigvalsh(a)).sum()

    def spectral_projector(self, a: Array, k: int) -> Array:
        v = self.eigh(a)[1][:, :k]
        return v @ self.fw.adjoint(v)

    def spectral_mean(self, a: Array, k: int) -> Array:
        return self.eigvalsh(a)[:k].sum() / k

    def sum_largest(self, a: Array, k: int) -> Array:
        return self.eigvalsh(a)[a.shape[0] - k :].sum()

    def singular_value_map(self, a: Array, f: Callable[[Array], Array]) -> Array:
        u, s, vh = self.svd(a, full_matrices=False)
        return (u * f(s)) @ vh

    def polar(self, a: Array) -> lw._singular.PolarResult:
        u, s, vh = self.svd(a, full_matrices=False)
        return lw._singular.PolarResult(u @ vh, (self.fw.adjoint(vh) * s) @ vh)

    def nearest_rotation(self, a: Array) -> Array:
        u, _, vh = self.svd(a, full_matrices=False)
        return u[:, :-1] @ vh[:-1] + self.fw.det(u @ vh) * (u[:, -1:] @ vh[-1:])

    def low_rank(self, a: Array, k: int) -> Array:
        u, s, vh = self.svd(a, full_matrices=False)
        return (u[:, :k] * s[:k]) @ vh[:k]

    def pinv(self, a: Array) -> Array:
        u, s, vh = self.svd(a, full_matrices=False)
        return (self.fw.adjoint(vh) / s) @ self.fw.adjoint(u)

    def matrix_norm(self, a: Array, order: str) -> Array:
        return self.svdvals(a).sum()

    def ky_fan_norm(self, a: Array, k: int) -> Array:
        return self.svdvals(a)[:k].sum()

    def schatten_norm(self, a: Array, p: int) -> Array:
        return (self.svdvals(a) ** p).sum() ** (1 / p)


# frameworks


def _inner(g: Iterable[Any], e: Iterable[Any]) -> float:
    """Re <g, e> over all arguments."""
    return float(sum(np.sum(np.conj(x) * y).real for x, y in zip(g, e, strict=True)))


class Numpy:
    """Of each framework: its functions, and the derivatives of a loss in three modes."""

    own: Any = None
    array = staticmethod(np.asarray)
    real, imag, conj = staticmethod(np.real), staticmethod(np.imag), staticmethod(np.conj)
    argsort = staticmethod(np.argsort)
    functions: Any = np
    broken: tuple[type[Exception], ...] = ()
    """What it raises for an exception inside."""
    every = 1
    """Which of the cases it is given."""

    def forget(self) -> None:
        """Free what is not needed for the next loss."""

    def adjoint(self, x: Array) -> Array:
        return self.conj(x).swapaxes(-1, -2)

    def forward(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        return float(lw.jvp(f, a, e)[1])

    def reverse(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        return _inner(self._gradient(f, len(a))(*a), e)

    def _gradient(self, f: Loss, count: int) -> Loss:
        """In the convention dL = Re tr(g^H da)."""
        return lambda *a: lw.vjp(f, *a)[1](np.array(1.0))

    def hessian(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        return _inner(lw.jvp(self._gradient(f, len(a)), a, h)[1], e)

    def double(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        gradient = self._gradient(f, len(a))

        def along(*a: Array) -> Array:
            pairs = zip(e, gradient(*a), strict=True)
            return sum(self.real(self.conj(x) * g).sum() for x, g in pairs)

        return self.reverse(along, a, h, e)


class Jax(Numpy):
    every = 7

    def __init__(self) -> None:
        jax, jnp, jsp = (_needed(x) for x in ("jax", "jax.numpy", "jax.scipy.linalg"))
        self.jax, self.functions, la = jax, jnp, jnp.linalg
        self.real, self.imag, self.conj, self.argsort = jnp.real, jnp.imag, jnp.conj, jnp.argsort
        self.array = jnp.asarray
        self.eigh, self.svd, self.eig = la.eigh, la.svd, la.eig
        self.inv, self.det, self.cholesky = la.inv, la.det, la.cholesky
        self.broken = (jax.errors.JaxRuntimeError, ValueError)
        self.own = ByHand(
            self,
            eigvals=la.eigvals,
            svdvals=functools.partial(la.svd, compute_uv=False),
            expm=lambda a, hermitian=False: jsp.expm(a),
            pinv=la.pinv,
        )

    def _gradient(self, f: Loss, count: int) -> Loss:
        gradient = self.jax.grad(f, argnums=tuple(range(count)))
        return lambda *a: tuple(self.conj(g) for g in gradient(*a))

    def forget(self) -> None:
        self.jax.clear_caches()

    def forward(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        return float(self.jax.jit(lambda a, e: self.jax.jvp(f, a, e)[1])(a, e))

    def reverse(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        return _inner(self.jax.jit(self._gradient(f, len(a)))(*a), e)

    def hessian(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        gradient = self._gradient(f, len(a))
        return _inner(self.jax.jit(lambda a, h: self.jax.jvp(gradient, a, h)[1])(a, h), e)


class Torch(Numpy):
    def __init__(self) -> None:
        torch = _needed("torch")
        self.torch, self.functions, la = torch, torch, torch.linalg
        self.array, self.real, self.argsort = torch.as_tensor, torch.real, torch.argsort
        self.eigh, self.svd, self.eig = la.eigh, la.svd, la.eig
        self.inv, self.det, self.cholesky = la.inv, la.det, la.cholesky
        self.own = ByHand(
            self,
            eigvalsh=lambda *a: la.eigvalsh(*a) if len(a) == 1 else self.own.eigh(*a)[0],
            eigvals=la.eigvals,
            svdvals=la.svdvals,
            expm=lambda a, hermitian=False: la.matrix_exp(a),
            pinv=la.pinv,
        )

    def imag(self, x: Array) -> Array:
        return self.torch.imag(x) if x.is_complex() else self.torch.zeros_like(x)

    def conj(self, x: Array) -> Array:
        return self.torch.conj(x).resolve_conj()

    def _numpy(self, x: Iterable[Array]) -> list[np.ndarray]:
        return [y.detach().resolve_conj().numpy() for y in x]

    def forward(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        return float(self.torch.func.jvp(f, a, e)[1])

    def _gradient(self, f: Loss, count: int) -> Loss:
        return self.torch.func.grad(f, argnums=tuple(range(count)))

    def reverse(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        leaves = tuple(x.clone().requires_grad_() for x in a)
        return _inner(self._numpy(self.torch.autograd.grad(f(*leaves), leaves)), self._numpy(e))

    def hessian(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        found = self.torch.func.jvp(self._gradient(f, len(a)), a, h)[1]
        return _inner(self._numpy(found), self._numpy(e))

    def double(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        leaves = tuple(x.clone().requires_grad_() for x in a)
        first = self.torch.autograd.grad(f(*leaves), leaves, create_graph=True)
        along = sum((self.conj(x) * g).real.sum() for x, g in zip(e, first, strict=True))
        return _inner(self._numpy(self.torch.autograd.grad(along, leaves)), self._numpy(h))


class Autograd(Numpy):
    def __init__(self) -> None:
        self.autograd, anp = _needed("autograd"), _needed("autograd.numpy")
        self.functions, la = anp, anp.linalg
        self.real, self.imag, self.conj = anp.real, anp.imag, anp.conj
        self.eigh, self.svd, self.eig = la.eigh, la.svd, la.eig
        self.inv, self.det, self.cholesky = la.inv, la.det, la.cholesky
        sqrtm = _needed("autograd.scipy.linalg").sqrtm
        self.own = ByHand(
            self,
            pinv=la.pinv,
            sqrtm=lambda a, hermitian=False: sqrtm(a),
        )

    def adjoint(self, x: Array) -> Array:
        return self.conj(self.functions.swapaxes(x, -1, -2))

    def argsort(self, x: Array) -> np.ndarray:
        while hasattr(x, "_value"):
            x = x._value
        return np.argsort(x)

    def _packed(self, f: Loss) -> Loss:
        return lambda a: f(*(a[i] for i in range(len(a))))

    def _gradient(self, f: Loss, count: int) -> Loss:
        gradient = self.autograd.grad(self._packed(f))

        def conjugated(*a: Array) -> tuple[Array, ...]:
            g = gradient(self.autograd.builtins.tuple(a))
            return tuple(self.conj(g[i]) for i in range(count))

        return conjugated

    def forward(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        return float(self.autograd.make_jvp(self._packed(f))(a)(e)[1])

    def hessian(self, f: Loss, a: Any, e: Any, h: Any) -> float:
        gradient = self._gradient(f, len(a))

        def along(*a: Array) -> Array:
            pairs = zip(e, gradient(*a), strict=True)
            return sum(self.functions.sum(self.real(self.conj(x) * g)) for x, g in pairs)

        return self.forward(along, a, h, e)


_needed = functools.partial(needed, by="the census")


@contextlib.contextmanager
def _framework(name: str) -> Iterator[Any]:
    """One of FRAMEWORKS, in double precision."""
    framework = {"numpy": Numpy, "jax": Jax, "torch": Torch, "autograd": Autograd}[name]()
    if name != "jax":
        yield framework
        return
    config, log = framework.jax.config, logging.getLogger("jax._src.callback")
    before, disabled = config.jax_enable_x64, log.disabled
    config.update("jax_enable_x64", True)
    log.disabled = True  # it prints what is raised inside, and counted here
    try:
        yield framework
    finally:
        config.update("jax_enable_x64", before)
        log.disabled = disabled


# the truth


class Exact(Numpy):
    """Arrays of numbers of mpmath, with the decompositions of mpmath."""

    def __init__(self) -> None:
        self.mp = mp = _needed("mpmath")
        names = "tanh log exp sqrt sign".split()
        self.functions = SimpleNamespace(**{x: np.frompyfunc(getattr(mp, x), 1, 1) for x in names})
        self.real, self.imag, self.conj = (np.frompyfunc(f, 1, 1) for f in (mp.re, mp.im, mp.conj))
        self.own = ByHand(self, expm=self._expm, sqrtm=self._sqrtm)

    def array(self, x: np.ndarray) -> np.ndarray:
        """The exact values of stored numbers."""
        return np.frompyfunc(self.mp.mpmathify, 1, 1)(np.asarray(x).astype(object))

    def argsort(self, x: np.ndarray) -> list[int]:
        return sorted(range(len(x)), key=lambda i: x[i])

    def _matrix(self, a: np.ndarray) -> Any:
        return self.mp.matrix(a.tolist())

    def _array(self, a: Any) -> np.ndarray:
        found = np.empty((a.rows, a.cols), dtype=object)
        found[:] = a.tolist()
        return found

    def _is_real(self, a: np.ndarray) -> bool:
        return all(isinstance(x, self.mp.mpf) for x in a.flat)

    def eigh(self, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        solve = self.mp.eigsy if self._is_real(a) else self.mp.eighe
        w, v = solve(self._matrix(a))
        order = self.argsort(w)
        return np.array([w[i] for i in order]), self._array(v)[:, order]

    def svd(self, a: np.ndarray, full_matrices: bool) -> tuple[np.ndarray, ...]:
        solve = self.mp.svd_r if self._is_real(a) else self.mp.svd_c
        u, s, vh = solve(self._matrix(a), full_matrices=full_matrices)
        return self._array(u), np.array(list(s)), self._array(vh)

    def eig(self, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        w, v = self.mp.eig(self._matrix(a))
        v = self._array(v)
        return np.array(w), v / self.functions.sqrt(self.real(self.conj(v) * v).sum(0))

    def inv(self, a: np.ndarray) -> np.ndarray:
        return self._array(self.mp.inverse(self._matrix(a)))

    def cholesky(self, a: np.ndarray) -> np.ndarray:
        return self._array(self.mp.cholesky(self._matrix(a)))

    def det(self, a: np.ndarray) -> Any:
        return self.mp.det(self._matrix(a))

    def _expm(self, a: np.ndarray, hermitian: bool = False) -> np.ndarray:
        return self._array(self.mp.expm(self._matrix(a)))

    def _sqrtm(self, a: np.ndarray, hermitian: bool = False) -> np.ndarray:
        if hermitian:
            return self.own.funm(a, self.functions.sqrt)
        return self._array(self.mp.sqrtm(self._matrix(a)))


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss at a matrix."""

    row: Row
    matrix: Matrix

    @property
    def name(self) -> str:
        return f"{self.row.group}: {self.row.name} at {self.matrix.name}"

    @property
    def ill(self) -> bool:
        return self.row.ill(self.matrix)

    @property
    def modes(self) -> tuple[str, ...]:
        """A subgradient has no derivative."""
        return MODES[:2] if self.row.convex and self.ill else MODES

    def loss(self, la: Any, fw: Any) -> Loss:
        return functools.partial(self.row.loss, la, fw, self.matrix)

    def tolerance(self, mode: str) -> float:
        order = 1 if mode in MODES[:2] else 2
        amplification = self.matrix.amplification(self.row.single)
        return max(1e-9, 1e4 * np.finfo(float).eps * amplification**order)

    @functools.cached_property
    def truth(self) -> dict[str, tuple[float, float]]:
        """By mode, the least and the largest number that is right; {} if there is none."""
        if self.ill and not self.row.convex:
            return {}
        exact = Exact()
        with exact.mp.workdps(DIGITS):
            m, step = self.matrix, exact.mp.mpf(10) ** -30
            a, e, h = (
                [exact.array(x) for x in xs] for xs in (m.arrays, m.direction(1), m.direction(2))
            )
            loss = self.loss(exact.own, exact)

            def at(s: int, t: int = 0) -> Any:
                moved = (x + step * (s * y + t * z) for x, y, z in zip(a, e, h, strict=True))
                return loss(*moved)

            if self.row.convex and self.ill:
                middle = at(0)
                sides = sorted([(at(1) - middle) / step, (middle - at(-1)) / step])
                return dict.fromkeys(self.modes, (float(sides[0]), float(sides[1])))
            first = float((at(1) - at(-1)) / (2 * step))
            cross = at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)
            second = float(cross / (4 * step * step))
        numbers = {"forward": first, "reverse": first, "hessian": second, "double": second}
        return {mode: (x, x) for mode, x in numbers.items()}

    def judged(self, mode: str, value: float | None) -> str:
        """The verdict on a number, None if there is none."""
        if value is None or not np.isfinite(value):
            return "loud"
        return "right" if self.error(mode, value) <= self.tolerance(mode) else "WRONG"

    def error(self, mode: str, value: float) -> float:
        if mode not in self.truth:
            return float("inf")
        low, high = self.truth[mode]
        return max(low - value, value - high, 0.0) / max(1.0, abs(low), abs(high))


def _matrices(row: Row) -> Iterator[Matrix]:
    for argument in row.arguments.split():
        for field in row.fields:
            kinds = [k for k in row.kinds if row.scaled or k not in _SCALED]
            if field == "real" and argument in ("hermitian", "positive", "square"):
                kinds += [k for k, a in STRUCTURED.items() if row.sizes or len(a) == 4]
            for kind in kinds:
                yield Matrix(kind, argument, field)


def cases() -> list[Case]:
    """All cases of the census."""
    found = [Case(row, m) for row in ROWS for m in _matrices(row)]
    return [c for c in found if _proper_case(c)]


def _proper_case(case: Case) -> bool:
    m = case.matrix
    if m.argument == "positive" and np.min(m.values) < -EQUAL:
        return False
    return case.row.where(m)


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of one derivative."""

    case: Case
    framework: str
    provider: str
    mode: str
    verdict: str
    value: float | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "case": self.case.name,
            "group": self.case.row.group,
            "posed": "ill" if self.case.ill else "well",
            "framework": self.framework,
            "provider": self.provider,
            "mode": self.mode,
            "verdict": self.verdict,
            "value": self.value if self.value is None or np.isfinite(self.value) else None,
            "truth": self.case.truth.get(self.mode),
            "tolerance": self.case.tolerance(self.mode),
        }


_LOUD = (NotImplementedError, ArithmeticError, np.linalg.LinAlgError)
_FAILURES = (*_LOUD, ValueError, RuntimeError)


def _value(fw: Any, case: Case, provider: str, mode: str) -> float | None:
    """A derivative; None if there is an exception instead."""
    la = lw if provider == "loewner" else fw.own
    loss = case.loss(la, fw)
    m = case.matrix
    a, e, h = (tuple(fw.array(x) for x in xs) for xs in (m.arrays, m.direction(1), m.direction(2)))
    expected = _FAILURES if provider == "own" else (*_LOUD, *fw.broken)
    try:
        return getattr(fw, mode)(loss, a, e, h)
    except expected as error:
        reported = not isinstance(error, fw.broken) or "DerivativeError" in str(error)
        if provider == "loewner" and not reported:
            raise
        return None


def judge(fw: Any, framework: str, case: Case, provider: str) -> list[Result]:
    """The verdicts on one case, by mode."""
    with lw.checks("raise", strict=True), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        values = {mode: _value(fw, case, provider, mode) for mode in case.modes}
    verdicts = {mode: case.judged(mode, value) for mode, value in values.items()}
    if provider == "loewner" and verdicts["reverse"] == "loud" != verdicts["forward"] != "right":
        verdicts["forward"] = "loud"
    return [Result(case, framework, provider, x, verdicts[x], values[x]) for x in values]


def take(
    cases: Sequence[Case], frameworks: Sequence[str], providers: Sequence[str]
) -> Iterator[Result]:
    """Take the census, framework by framework."""
    for name in frameworks:
        with _framework(name) as fw:
            for _, group in itertools.groupby(cases[:: fw.every], lambda c: c.row.group):
                for case, provider in itertools.product(group, providers):
                    if provider == "loewner" or fw.own is not None:
                        yield from judge(fw, name, case, provider)
                fw.forget()


# the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``loewner census``."""
    parser.add_argument("--quick", action="store_true", help="every seventh case")
    parser.add_argument(
        "--framework",
        action="append",
        choices=FRAMEWORKS,
        help="one of these alone; may be given several times (by default, all that are installed)",
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="a file for all results, JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Take the census, print it, and return 1 if loewner was silently wrong, else 0."""
    _needed("mpmath")
    chosen = cases()[:: 7 if args.quick else 1]
    frameworks = args.framework or [x for x in FRAMEWORKS if importlib.util.find_spec(x)]
    results = list(_counted(take(chosen, frameworks, ("loewner", "own"))))
    if args.output:
        args.output.write_text(json.dumps([r.as_dict() for r in results], indent=1) + "\n")
    _print(results)
    return int(any(_silent(r) for r in results))


def _counted(results: Iterable[Result]) -> Iterator[Result]:
    """The same, with a counter on a terminal."""
    shown = sys.stderr.isatty()
    for i, result in enumerate(results):
        if shown:
            print(f"\r{result.framework}: {i}", end="\033[K", file=sys.stderr, flush=True)
        yield result
    if shown:
        print("\r\033[K", end="", file=sys.stderr)


def _silent(result: Result) -> bool:
    return result.provider == "loewner" and result.verdict == "WRONG"


def table(results: Iterable[Result]) -> list[list[str]]:
    """The names of the columns, then rows of counts "right/loud/WRONG", then the totals."""
    counts = collections.Counter(
        (r.case.row.group, (r.framework, r.provider), r.verdict) for r in results
    )
    groups = dict.fromkeys(group for group, _, _ in counts)
    columns = [x for x in COLUMNS if any(x == column for _, column, _ in counts)]
    rows = [["", *(COLUMNS[x] for x in columns)]]
    rows += [
        [g, *("/".join(str(counts[g, x, v]) for v in VERDICTS) for x in columns)] for g in groups
    ]
    for v in VERDICTS:
        totals = (sum(counts[g, x, v] for g in groups) for x in columns)
        rows.append([f"total {v}", *map(str, totals)])
    return rows


def _print(results: Sequence[Result]) -> None:
    print(f"{len({r.case.name for r in results})} cases, {len(results)} derivatives")
    print("Of each kind right/loud/WRONG against 50 digits; WRONG is off in silence. Columns with")
    print("a dot are the framework's own linalg, the others loewner in that framework.\n")
    rows = table(results)
    if importlib.util.find_spec("rich") is None:
        print(_plain(rows))
    else:
        from rich.console import Console

        Console(highlight=False).print(_rich(rows))
    silent: dict[tuple[str, str], list[Result]] = {}
    for r in results:
        if _silent(r):
            silent.setdefault((r.case.name, r.mode), []).append(r)
    count = sum(map(len, silent.values()))
    print(f"\nsilently wrong results of loewner: {count}")
    for (name, mode), found in silent.items():
        first, where = found[0], ", ".join(COLUMNS[r.framework, "loewner"] for r in found)
        truth = first.case.truth.get(mode)
        known = "none exists" if truth is None else f"true {truth[0]:.6g}"
        print(f"  {name}, {mode}\n    {first.value:.6g}, {known} ({where})")


def _plain(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def _rich(rows: list[list[str]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    (_, *names), *rows = rows
    drawn = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    drawn.add_column("")
    for name in names:
        drawn.add_column(name.replace(".", ".\n"), justify="right", vertical="bottom")
    for group, *cells in rows:
        style = "bold" if group.startswith("total") else ""
        counted = group != "total right" and group != "total loud"
        marked = [
            Text(x, style="bold red" if counted and x.split("/")[-1] != "0" else style)
            for x in cells
        ]
        drawn.add_row(Text(group, style=style), *marked)
    return drawn
