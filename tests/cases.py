"""The one table of cases that drives the tests: matrices, and losses that are well posed on them.

A matrix has a spectrum of a stated kind in clusters that are known beforehand. Kinds
"repeated", "deficient" and "zero" are exact: the frames have dyadic or integer entries, so
that the stored matrix repeats its values exactly, in exact arithmetic. Kind "rounded" is
the same spectrum in random frames: repeated up to rounding.

A loss uses only what the matrix determines: projectors onto clusters, U_c V_c^H, sums of
values over a cluster. Each is written twice: for arrays of any framework (here) and for
mpmath (`reference.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

KINDS = (
    "distinct",
    "repeated",
    "triple",
    "rounded",
    "near",
    "deficient",
    "zero",
    "graded",
    "huge",
    "tiny",
)

_SINGULAR = {
    "distinct": ([4.0, 3.0, 2.0, 1.0], [[0], [1], [2], [3]]),
    "repeated": ([3.0, 3.0, 2.0, 1.0], [[0, 1], [2], [3]]),
    "triple": ([4.0, 2.0, 2.0, 2.0], [[0], [1, 2, 3]]),
    "rounded": ([3.0, 2.0, 2.0, 1.0], [[0], [1, 2], [3]]),
    "near": ([3.0, 3.0 - 1e-5, 2.0, 1.0], [[0, 1], [2], [3]]),
    "deficient": ([3.0, 2.0, 0.0, 0.0], [[0], [1], [2, 3]]),
    "zero": ([0.0] * 4, [[0, 1, 2, 3]]),
    "graded": ([1.0, 1e-2, 1e-4, 1e-6], [[0], [1], [2], [3]]),
    "huge": ([4e200, 3e200, 2e200, 1e200], [[0], [1], [2], [3]]),
    "tiny": ([4e-200, 3e-200, 2e-200, 1e-200], [[0], [1], [2], [3]]),
}

_EIGEN = {
    "distinct": ([-2.0, -1.0, 1.0, 3.0], [[0], [1], [2], [3]]),
    "repeated": ([-2.0, 1.0, 1.0, 3.0], [[0], [1, 2], [3]]),
    "triple": ([-1.0, -1.0, -1.0, 2.0], [[0, 1, 2], [3]]),
    "rounded": ([-1.0, -1.0, 1.0, 1.0], [[0, 1], [2, 3]]),
    "near": ([-2.0, 1.0, 1.0 + 1e-5, 3.0], [[0], [1, 2], [3]]),
    "deficient": ([-2.0, 0.0, 0.0, 1.0], [[0], [1, 2], [3]]),
    "zero": ([0.0] * 4, [[0, 1, 2, 3]]),
    "graded": ([1e-6, 1e-4, 1e-2, 1.0], [[0], [1], [2], [3]]),
    "huge": ([-4e200, -1e200, 2e200, 3e200], [[0], [1], [2], [3]]),
    "tiny": ([-4e-200, -1e-200, 2e-200, 3e-200], [[0], [1], [2], [3]]),
}

EXACT = ("repeated", "triple", "deficient", "zero")


@dataclasses.dataclass(frozen=True)
class Case:
    function: str
    """svd (full), svd-thin, eigh, eigh-ab or eig"""
    field: str
    """real or complex"""
    shape: str
    """tall, wide or square"""
    kind: str

    def __str__(self) -> str:
        return f"{self.function}-{self.field}-{self.shape}-{self.kind}"

    @property
    def spectrum(self) -> tuple[list[float], list[list[int]]]:
        return (_SINGULAR if self.function.startswith("svd") else _EIGEN)[self.kind]

    @property
    def groups(self) -> list[list[int]]:
        return self.spectrum[1]

    @property
    def scale(self) -> float:
        """The norm of the spectrum, 1 for the zero matrix."""
        return max(abs(x) for x in self.spectrum[0]) or 1.0

    @property
    def tolerance(self) -> float:
        """The conditioning: rounding divided by the least gap relative to the norm."""
        values, _ = self.spectrum
        if self.function.startswith("svd"):
            values = [*values, *(-x for x in values), 0.0]
        gaps = [abs(x - y) / self.scale for x in values for y in values]
        least = min((g for g in gaps if g > 1e-14), default=1.0)
        condition = np.linalg.cond(self._frame()) if self.function == "eig" else 1.0
        return 300 * np.finfo(float).eps / least * condition

    @property
    def second_order_tolerance(self) -> float:
        """As `tolerance`; what cancels inside a near cluster was divided by its gap twice."""
        return self.tolerance * (1e5 if self.kind == "near" else 10)

    def _frame(self) -> np.ndarray:
        """The eigenvectors of the case's matrix for eig."""
        rng, z = _generator(self), self.field == "complex"
        return _unimodular(rng, z) if self.kind in EXACT else _mildly_conditioned(rng, z)

    def matrices(self) -> tuple[np.ndarray, ...]:
        """The arguments of the function, in float64 or complex128."""
        rng = _generator(self)
        values, _ = self.spectrum
        if self.kind in ("huge", "tiny"):
            values = [v / self.scale for v in values]
        power = self.scale if self.kind in ("huge", "tiny") else 1.0
        exact = self.kind in EXACT
        z = self.field == "complex"
        if self.function.startswith("svd"):
            m = 4 if self.shape == "square" else 5
            u = (_dyadic_frame if exact else _random_frame)(rng, m, z)[:, :4]
            v = (_dyadic_frame if exact else _random_frame)(rng, 4, z)
            a = (u * values) @ v.conj().T * power
            return (a.conj().T.copy() if self.shape == "wide" else a,)
        if self.function == "eigh":
            v = (_dyadic_frame if exact else _random_frame)(rng, 4, z)
            return (_hermitian((v * values) @ v.conj().T) * power,)
        if self.function == "eigh-ab":
            g = _unimodular(rng, z) if exact else _random_frame(rng, 4, z) * [1.0, 1.5, 0.7, 2.0]
            return _hermitian((g * values) @ g.conj().T) * power, _hermitian(g @ g.conj().T)
        x = self._frame()
        d = np.diag(values).astype(x.dtype)
        if self.kind == "distinct" and not z:
            d[1:3, 1:3] = [[0.5, 1.5], [-1.5, 0.5]]  # a conjugate pair
        if self.kind == "distinct" and z:
            d = d + 1j * np.diag([0.5, -1.0, 0.25, 2.0])
        inverse = np.linalg.inv(x)
        if exact:
            inverse = np.round(inverse)  # an integer matrix
        return (x @ d @ inverse * power,)

    def directions(self, count: int) -> list[tuple[np.ndarray, ...]]:
        """Directions of the size of the arguments, Hermitian where these are."""
        rng = _generator(self, 1)
        found = []
        for _ in range(count):
            e = [
                _gaussian(rng, a.shape, self.field == "complex") * self.argument_scale(i)
                for i, a in enumerate(self.matrices())
            ]
            found.append(tuple(_hermitian(x) if self.function.startswith("eigh") else x for x in e))
        return found

    def argument_scale(self, i: int) -> float:
        return 1.0 if i else self.scale

    def weights(self, count: int) -> list[np.ndarray]:
        """Constant matrices of the losses."""
        rng = _generator(self, 2)
        return [_gaussian(rng, (5, 5), self.field == "complex") / 2 for _ in range(count)]


def _generator(case: Case, stream: int = 0) -> np.random.Generator:
    # the same for thin and full, and for every kind
    name = f"{case.function.split('-thin')[0]} {case.field} {case.shape}"
    return np.random.default_rng([stream, *name.encode()])


def _gaussian(rng, shape, z):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if z else x


def _hermitian(a):
    return (a + a.conj().T) / 2


def _random_frame(rng, n, z):
    return np.linalg.qr(_gaussian(rng, (n, n), z))[0]


def _dyadic_frame(rng, n, z):
    """An exactly unitary matrix: a product of reflections along vectors of squared norm 2^k."""
    vectors = {
        (4, False): [[1, 1, 1, 1], [1, -1, 1, 1], [0, 1, 0, 1]],
        (4, True): [[1, 1j, 1, -1], [1 + 1j, 1, -1j, 0], [1, 0, 1 + 1j, 1j]],
        (5, False): [[2, 1, 1, 1, 1], [1, 1, -1, 2, 1], [0, 1, 1, 1, 1]],
        (5, True): [[1 + 1j, 1, 1j, 1 - 1j, 1 + 1j], [1, 1j, 0, 1, -1], [0, 1j, 1, 1, 1j]],
    }[n, z]
    q = np.eye(n, dtype=complex if z else float)
    for v in vectors:
        v = np.array(v) * rng.choice([-1, 1], n)
        q = q - 2 * np.outer(v, v.conj() @ q) / np.vdot(v, v).real
    assert (q.conj().T @ q == np.eye(n)).all()
    return q


def _unimodular(rng, z):
    """An integer matrix whose inverse is an integer matrix."""
    lower = np.tril(rng.integers(-1, 2, (4, 4)), -1) + (
        1j * np.tril(rng.integers(-1, 2, (4, 4)), -1) if z else 0
    )
    upper = np.triu(rng.integers(-1, 2, (4, 4)), 1)
    return (np.eye(4) + lower) @ (np.eye(4) + upper)


def _mildly_conditioned(rng, z):
    return _random_frame(rng, 4, z) * [1.0, 1.4, 0.8, 1.2] @ _random_frame(rng, 4, z)


def _functions() -> list[Case]:
    table = []
    for field in ("real", "complex"):
        for kind in KINDS:
            table += [
                Case(f, field, shape, kind)
                for f in ("svd", "svd-thin")
                for shape in ("tall", "wide", "square")
                if not (f == "svd-thin" and shape == "square")
            ]
            table += [Case(f, field, "square", kind) for f in ("eigh", "eigh-ab", "eig")]
    return table


CASES = _functions()

TRANSFORMED = [
    Case(function, "complex", shape, kind)
    for function, shape, kind in (
        ("svd", "tall", "repeated"),
        ("svd-thin", "wide", "distinct"),
        ("eigh", "square", "repeated"),
        ("eigh-ab", "square", "distinct"),
        ("eig", "square", "repeated"),
    )
]
"""One case of each function, for the transforms of a framework."""


def loss(case: Case, lw: Any, fw: Any, unit: float = 1.0) -> Callable[..., Any]:
    """The loss of a case for arrays; lw offers the functions, fw the test's framework.

    Values are measured in multiples of unit, for a case whose first matrix is scaled by it.
    """
    c = [fw.array(w) for w in case.weights(6)]
    scale = case.scale * unit

    def dot(w, p):
        w = w[: p.shape[-2], : p.shape[-1]]
        return fw.real(fw.conj(w) * p).sum()

    def svd(a):
        full = case.function == "svd"
        u, s, vh = lw.svd(a, full_matrices=full)
        v = fw.adjoint(vh)
        m, n = a.shape[-2:]
        total = 0.0
        zero = 4
        for g in case.groups:
            i, j = g[0], g[-1] + 1
            if case.spectrum[0][i] == 0:
                zero = i
                continue
            ug, vg = u[:, i:j], v[:, i:j]
            t = dot(c[0], ug @ fw.adjoint(ug)) + dot(c[1], vg @ fw.adjoint(vg))
            t = t + dot(c[2], ug @ fw.adjoint(vg))
            sigma = s[i:j].sum() / scale
            total = total + t + 0.3 * t * t + sigma * sigma * sigma + sigma * t
        if m == 4 or full:
            un = u[:, zero:]
            t = dot(c[3], un @ fw.adjoint(un))
            total = total + t + 0.3 * t * t
        if n == 4 or full:
            vn = v[:, zero:]
            t = dot(c[4], vn @ fw.adjoint(vn))
            total = total + t + 0.3 * t * t
        return total

    def eigh(a, b=None):
        w, v = lw.eigh(a) if b is None else lw.eigh(a, b)
        total = 0.0
        for g in case.groups:
            i, j = g[0], g[-1] + 1
            t = dot(c[0], v[:, i:j] @ fw.adjoint(v[:, i:j]))
            sigma = w[i:j].sum() / scale
            total = total + t + 0.3 * t * t + sigma * sigma * sigma + sigma * t
        return total

    def eig(a):
        w, v, y = lw.eig(a, left=True)
        order = fw.argsort(fw.real(w) + 0.1 * fw.imag(w))
        w, v, y = w[order], v[:, order], y[:, order]
        total = 0.0
        for g in case.groups:
            i, j = g[0], g[-1] + 1
            vg, yg = v[:, i:j], y[:, i:j]
            p = (vg / (fw.conj(yg) * vg).sum(0)) @ fw.adjoint(yg)
            sigma = w[i:j].sum() / scale
            t = dot(c[0], p)
            if len(g) == 1:
                t = t + dot(fw.real(c[1]), fw.real(fw.conj(vg) * vg))
            total = total + t + 0.3 * t * t + fw.real(sigma * sigma * sigma) + fw.imag(sigma) * t
        return total

    return {"svd": svd, "svd-thin": svd, "eigh": eigh, "eigh-ab": eigh, "eig": eig}[case.function]
