"""The branches of A + tE at t = 0+, where eigenvalues and singular values repeat.

The ground truth is the eigenproblem of A + tE itself, by mpmath with 200 digits at
t = 1e-30 and 2t. From the projector P(t) onto a branch, or onto branches that never part,

    P(0) = 2 P(t) - P(2t) + O(t^2),    dP = (P(2t) - P(t))/t + O(t),

and the horizontal derivative of its vectors v is dP v. The singular value decomposition is
the eigenproblem of [0 A; A^H 0], of vectors (u; v)/sqrt 2.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import array_api_strict
import autograd
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import torch
from reference import matrix
from torch.autograd import forward_ad

import loewner as lw
from loewner import eigh_directional, svd_directional

DIGITS = 200
STEP = mp.mpf(10) ** -30
DOUBLE = np.finfo(np.float64).eps
SINGLE = np.finfo(np.float32).eps

# unitary, and so short in binary that products with them are exact
HOUSEHOLDER = np.eye(4) - np.ones((4, 4)) / 2
FOURIER = np.array([[1, 1, 1, 1], [1, 1j, -1, -1j], [1, -1, 1, -1], [1, -1j, -1, 1j]]) / 2
REFLECTION = np.eye(8) - np.ones((8, 8)) / 4
TALL = np.block([[HOUSEHOLDER, np.zeros((4, 2))], [np.zeros((2, 4)), np.eye(2)]])


@dataclasses.dataclass(frozen=True)
class Case:
    """A with these values, in a frame where the direction has these blocks.

    `blocks` are of the direction, by their slices; the rest is arbitrary. `together` are the
    positions of the branches that never part, in the order of the result.
    """

    values: tuple[float, ...]
    blocks: tuple[tuple[Any, Any, Any], ...] = ()
    together: tuple[int, ...] = ()
    shape: tuple[int, int] = (4, 4)

    def arbitrary(self, field: str) -> np.ndarray:
        rng = np.random.default_rng(7)
        parts = rng.integers(-8, 9, (2, *self.shape)) / 8
        return parts[0] + 1j * parts[1] if field == "complex" else parts[0]

    def eigh(self, field: str) -> tuple[np.ndarray, np.ndarray]:
        """Hermitian A and E."""
        q = REFLECTION if self.shape == (8, 8) else FOURIER if field == "complex" else HOUSEHOLDER
        f = self.arbitrary(field)
        f = (f + f.conj().T) / 2
        for i, j, block in self.blocks:
            f[i, j] = block
            f[j, i] = np.conj(block).T
        return q @ np.diag(self.values) @ q.conj().T, q @ f @ q.conj().T

    def svd(self, field: str) -> tuple[np.ndarray, np.ndarray]:
        m, n = self.shape
        square = FOURIER if field == "complex" else HOUSEHOLDER
        q, p = (TALL if k == 6 else square if k == n else HOUSEHOLDER for k in (m, n))
        s = np.zeros(self.shape)
        np.fill_diagonal(s, self.values)
        f = self.arbitrary(field)
        for i, j, block in self.blocks:
            f[i, j] = block
        return q @ s @ p.conj().T, q @ f @ p.conj().T


PAIR, REST, TRIPLE = slice(0, 2), slice(2, 4), slice(0, 3)
EIGH = {
    "simple": Case((1, 2, 3.5, 5)),
    "first order": Case((1, 1, 3, 4)),
    "first order, two pairs": Case((1, 1, 3, 3)),
    "first order, all equal": Case((2, 2, 2, 2)),
    "first order, zero matrix": Case((0, 0, 0, 0)),
    "second order": Case((1, 1, 3, 4), ((PAIR, PAIR, np.eye(2) / 2),)),
    "third order": Case((1, 1, 3, 3), ((PAIR, PAIR, np.eye(2) / 2), (PAIR, REST, np.eye(2)))),
    "first, then second order": Case((1, 1, 1, 3), ((TRIPLE, TRIPLE, np.diag([0, 0, 1])),)),
    "never": Case(
        (1, 1, 3, 4), ((PAIR, PAIR, np.eye(2) / 2), (PAIR, REST, np.zeros((2, 2)))), (0, 1)
    ),
    "never, all": Case((2, 2, 2, 2), ((slice(4), slice(4), np.eye(4)),), (0, 1, 2, 3)),
    "never, beside a first order": Case(
        (1, 1, 1, 3),
        ((TRIPLE, TRIPLE, np.diag([0.5, 0.5, 1])), (PAIR, slice(3, 4), np.zeros((2, 1)))),
        (0, 1),
    ),
    # equal to third order: a path of four steps joins the pair
    "fourth order": Case(
        (1, 1, 3, 3, 5, 7, 7, 9),
        (
            (PAIR, slice(8), np.eye(2, 8, 2)),
            (REST, REST, np.zeros((2, 2))),
            (REST, slice(4, 8), np.eye(2, 4)[[0, 0]]),
        ),
        shape=(8, 8),
    ),
    "all orders at once": Case(
        (1, 1, 1, 1, 1, 4, 4, 6),
        (
            (slice(5), slice(5), np.diag([0, 0, 0, 0, 1])),
            (slice(0, 2), slice(5, 8), np.zeros((2, 3))),
            (slice(2, 4), slice(5, 8), np.eye(2, 3)),
        ),
        (2, 3),
        shape=(8, 8),
    ),
}
NULL = slice(3, None)
SVD = {
    "simple": Case((4, 3, 2, 1)),
    "simple, tall": Case((4, 3, 2, 1), shape=(6, 4)),
    "simple, wide": Case((4, 3, 2, 1), shape=(4, 6)),
    "repeated": Case((3, 2, 2, 1)),
    "repeated, tall": Case((3, 2, 2, 2), shape=(6, 4)),
    "repeated, second order": Case((2, 2, 1, 0.5), ((PAIR, PAIR, np.eye(2)),)),
    "zero": Case((3, 2, 2, 0)),
    "zero, tall": Case((3, 2, 2, 0), shape=(6, 4)),
    "zero, wide": Case((3, 2, 2, 0), shape=(4, 6)),
    "two zeros": Case((3, 2, 0, 0)),
    "two zeros, tall": Case((3, 2, 0, 0), shape=(6, 4)),
    "two zeros, wide": Case((3, 2, 0, 0), shape=(4, 6)),
    "two zeros, growing alike": Case((3, 2, 0, 0), ((REST, REST, np.eye(2)),)),
    "zero of second order": Case((3, 2, 1, 0), ((NULL, NULL, 0),)),
    "zero of second order, tall": Case((3, 2, 1, 0), ((NULL, NULL, 0),), shape=(6, 4)),
    "zeros of first and second order": Case((3, 2, 0, 0), ((REST, REST, np.diag([1, 0])),)),
    "zeros for ever": Case((3, 2, 0, 0), ((slice(4), REST, np.zeros((4, 2))),), (2, 3)),
    "zero for ever, wide": Case(
        (3, 2, 2, 0), ((NULL, slice(6), np.zeros((1, 6))),), (3,), shape=(4, 6)
    ),
    "zero for ever, one growing": Case((3, 2, 0, 0), ((slice(4), NULL, np.zeros((4, 1))),), (3,)),
    "all zero": Case((0, 0, 0, 0), shape=(6, 4)),
}


@dataclasses.dataclass(frozen=True)
class Truth:
    """The eigenvalues of A + tE at t = 0 with derivatives, projectors of groups likewise.

    `order` and `split` are of neighbours: split t^order apart, until they never part.
    """

    values: np.ndarray
    d_values: np.ndarray
    projectors: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]
    order: np.ndarray
    split: np.ndarray


def numbers(x: Any) -> np.ndarray:
    """An mpmath matrix, rounded."""
    return np.array(x.apply(mp.mpc).tolist()).astype(np.complex128)


def truth(a: np.ndarray, e: np.ndarray, groups: list[tuple[int, ...]]) -> Truth:
    """The ground truth, for groups of the ascending positions."""
    with mp.workdps(DIGITS):
        x, y = matrix(a), matrix(e)
        (w, p), (w2, p2) = (_branches(x + k * STEP * y, groups) for k in (1, 2))
        parted = [x for x in (w[i + 1] - w[i] for i in range(len(w) - 1)) if x > STEP**4.5]
        order = [round(float(mp.log(x, STEP))) for x in parted]
        return Truth(
            np.real(numbers(2 * w - w2)[:, 0]),
            np.real(numbers((w2 - w) / STEP)[:, 0]),
            {
                g: (numbers(2 * x - x2), numbers((x2 - x) / STEP))
                for g, x, x2 in zip(groups, p, p2, strict=True)
            },
            np.array(order),
            np.array([float(x / STEP**k) for x, k in zip(parted, order, strict=True)]),
        )


def _branches(h: Any, groups: list[tuple[int, ...]]) -> tuple[Any, list[Any]]:
    real = all(mp.im(x) == 0 for x in h)
    w, v = mp.eigsy(h.apply(mp.re)) if real else mp.eighe(h)
    order = sorted(range(len(w)), key=lambda i: w[i])
    columns = (mp.matrix([[v[i, order[j]] for j in g] for i in range(v.rows)]) for g in groups)
    return mp.matrix([w[i] for i in order]), [x * x.H for x in columns]


@functools.cache
def eigh_truth(name: str, field: str) -> Truth:
    case = EIGH[name]
    count = len(case.values)
    alone = [(i,) for i in range(count) if i not in case.together]
    return truth(*case.eigh(field), [*alone, case.together] if case.together else alone)


@functools.cache
def svd_truth(name: str, field: str) -> Truth:
    """Of the dilation: the last position is the first singular value."""
    case = SVD[name]
    last = sum(case.shape) - 1
    growing = [(last - i,) for i in range(len(case.values)) if i not in case.together]
    a, e = (dilation(x) for x in case.svd(field))
    return truth(a, e, growing)


def dilation(a: np.ndarray) -> np.ndarray:
    m, n = a.shape
    return np.block([[np.zeros((m, m)), a], [a.conj().T, np.zeros((n, n))]])


def allowed(tangents, exact: Truth, a, e, eps) -> tuple[float, float, float]:
    """Bounds of the errors of d_values, vectors and d_vectors: what the documentation promises.

    A cluster of order k is known to its width, (3) of `_directional.py`, its frame to the width
    over the gap, and the derivative of the frame to as much of its own size.
    """
    size = np.linalg.norm(a, 2) or 1.0
    turn = np.linalg.norm(e, 2)
    gap = exact.split[exact.order == 0].min(initial=np.inf)
    rate = turn / size + 2 * turn / gap
    width = (max(a.shape) + 16) * eps * size
    frame = (width * rate**exact.order / exact.split).max(initial=max(a.shape) * eps)
    return width * rate, frame, frame * max(1.0, rate, worst(*tangents))


def worst(*differences: np.ndarray) -> float:
    return max(float(np.abs(x).max(initial=0)) for x in differences)


def single(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(x.astype(np.complex64 if np.iscomplexobj(x) else np.float32) for x in arrays)


def exactly(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return arrays


FIELDS = pytest.mark.parametrize("field", ["real", "complex"])
PRECISIONS = pytest.mark.parametrize(
    ("cast", "eps"), [(exactly, DOUBLE), (single, SINGLE)], ids=["double", "single"]
)


@FIELDS
@PRECISIONS
@pytest.mark.parametrize("name", EIGH)
def test_the_branches_of_eigenvalues_and_vectors_are_those_of_200_digits(name, field, cast, eps):
    a, e = EIGH[name].eigh(field)
    exact = eigh_truth(name, field)
    found = eigh_directional(*cast(a, e))
    w, v, dw, dv = found
    assert v.dtype == dv.dtype == np.result_type(*cast(a, e))
    assert w.dtype == dw.dtype == v.real.dtype
    in_values, in_frame, in_turn = allowed((dv,), exact, a, e, eps)
    assert worst(w - exact.values) <= (len(a) + 16) * eps * np.abs(exact.values).max()
    assert worst(dw - exact.d_values) <= in_values
    for g, (p, dp) in exact.projectors.items():
        assert worst(p @ v[:, g] - v[:, g]) <= in_frame
        assert worst(dp @ v[:, g] - dv[:, g]) <= in_turn


@FIELDS
@PRECISIONS
@pytest.mark.parametrize("name", SVD)
def test_the_branches_of_singular_values_and_vectors_are_those_of_200_digits(
    name, field, cast, eps
):
    a, e = SVD[name].svd(field)
    exact = svd_truth(name, field)
    found = svd_directional(*cast(a, e))
    u, s, vh, du, ds, dvh = found
    (m, n), k = a.shape, len(s)
    assert {x.dtype for x in (u, vh, du, dvh)} == {np.result_type(*cast(a, e))}
    assert s.dtype == ds.dtype == u.real.dtype
    in_values, in_frame, in_turn = allowed((du, dvh), exact, a, e, eps)
    assert worst(s - exact.values[: -k - 1 : -1]) <= (max(m, n) + 16) * eps * s[0]
    assert worst(ds - exact.d_values[: -k - 1 : -1]) <= in_values
    x, dx = np.concat([u, vh.conj().T]), np.concat([du, dvh.conj().T])
    for g, (p, dp) in exact.projectors.items():
        j = [m + n - 1 - i for i in g]
        assert worst(p @ x[:, j] - x[:, j]) <= in_frame
        assert worst(dp @ x[:, j] - dx[:, j]) <= in_turn
    # what stays zero: 2 p has the projectors onto the ranges of A + tE and its adjoint
    p, dp = 2 * np.sum(list(exact.projectors.values()), axis=0)
    for rows in (slice(0, m), slice(m, None)):
        null, dnull = x[rows, SVD[name].together], dx[rows, SVD[name].together]
        assert worst(p[rows, rows] @ null) <= in_frame
        assert worst(-dp[rows, rows] @ null - dnull) <= in_turn


@FIELDS
@pytest.mark.parametrize("name", EIGH)
def test_the_first_order_of_the_eigenproblem_holds_and_nothing_turns_that_need_not(name, field):
    a, e = EIGH[name].eigh(field)
    w, v, dw, dv = eigh_directional(a, e)
    tol = allowed((dv,), eigh_truth(name, field), a, e, DOUBLE)[2] * max(1, worst(a, e))
    assert worst(a @ v - v * w, v.conj().T @ v - np.eye(len(a))) <= tol
    assert worst(a @ dv + e @ v - dv * w - v * dw) <= tol
    turn = v.conj().T @ dv
    assert worst(turn + turn.conj().T, np.diagonal(turn)) <= tol
    assert worst(turn[np.ix_(EIGH[name].together, EIGH[name].together)]) <= tol


@FIELDS
@pytest.mark.parametrize("name", SVD)
def test_the_first_order_of_the_svd_holds_and_nothing_turns_that_need_not(name, field):
    a, e = SVD[name].svd(field)
    u, s, vh, du, ds, dvh = svd_directional(a, e)
    v, dv = vh.conj().T, dvh.conj().T
    tol = allowed((du, dv), svd_truth(name, field), a, e, DOUBLE)[2] * worst(a, e)
    assert worst(a @ v - u * s, a.conj().T @ u - v * s) <= tol
    assert worst(u.conj().T @ u - np.eye(len(s)), v.conj().T @ v - np.eye(len(s))) <= tol
    assert worst(a @ dv + e @ v - du * s - u * ds) <= tol
    assert worst(a.conj().T @ du + e.conj().T @ u - dv * s - v * ds) <= tol
    turns = u.conj().T @ du, v.conj().T @ dv
    assert worst(*(x + x.conj().T for x in turns), np.diagonal(sum(turns))) <= tol
    together = np.ix_(SVD[name].together, SVD[name].together)
    assert worst(*(x[together] for x in turns)) <= tol


@FIELDS
def test_simple_spectra_have_the_ordinary_derivative(field):
    a, e = EIGH["simple"].eigh(field)
    (w, v), (dw, dv) = lw.jvp(lw.eigh, (a,), (e,))
    found = eigh_directional(a, e)
    phase = np.diagonal(v.conj().T @ found.eigenvectors)
    assert worst(found.d_eigenvalues - dw, found.d_eigenvectors - dv * phase) <= 100 * DOUBLE
    a, e = SVD["simple, tall"].svd(field)
    (u, s, vh), (du, ds, dvh) = lw.jvp(lambda a: lw.svd(a, full_matrices=False), (a,), (e,))
    found = svd_directional(a, e)
    phase = np.diagonal(u.conj().T @ found.U)
    assert worst(found.dS - ds, found.dU - du * phase) <= 100 * DOUBLE
    assert worst(found.dVh - dvh * phase.conj()[:, None]) <= 100 * DOUBLE


@FIELDS
@pytest.mark.parametrize("name", EIGH)
def test_the_branches_go_on_to_the_other_side(name, field):
    a, e = EIGH[name].eigh(field)
    exact = eigh_truth(name, field)
    w, v, dw, dv = eigh_directional(a, -e)
    in_values, in_frame, in_turn = allowed((dv,), exact, a, e, DOUBLE)
    assert worst(np.sort(dw) + np.sort(exact.d_values)[::-1]) <= in_values
    for p, dp in exact.projectors.values():
        inside = p @ v  # each vector lies in one group
        j = np.linalg.norm(inside, axis=0) > 0.5
        assert worst(inside[:, j] - v[:, j]) <= in_frame
        assert worst(dp @ v[:, j] + dv[:, j]) <= in_turn


def orthogonal(rng: np.random.Generator, n: int, field: str) -> np.ndarray:
    x = rng.standard_normal((2, n, n))
    return np.linalg.qr(x[0] + 1j * x[1] if field == "complex" else x[0])[0]


@FIELDS
@pytest.mark.parametrize("name", EIGH)
def test_eigenvalues_that_repeat_to_rounding_count_as_repeated_at_every_order(name, field):
    a, e = EIGH[name].eigh(field)
    exact = eigh_truth(name, field)
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = orthogonal(rng, len(a), field)
        w, v, dw, dv = eigh_directional(q @ a @ q.conj().T, q @ e @ q.conj().T)
        in_values, in_frame, in_turn = allowed((dv,), exact, a, e, DOUBLE)
        assert worst(dw - exact.d_values) <= in_values
        for g, (p, dp) in exact.projectors.items():
            x, dx = q.conj().T @ v[:, g], q.conj().T @ dv[:, g]
            assert worst(p @ x - x) <= in_frame
            assert worst(dp @ x - dx) <= in_turn


@FIELDS
@pytest.mark.parametrize("name", SVD)
def test_singular_values_that_repeat_to_rounding_count_as_repeated(name, field):
    a, e = SVD[name].svd(field)
    exact = svd_truth(name, field)
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, q = (orthogonal(rng, k, field) for k in a.shape)
        u, s, vh, du, ds, dvh = svd_directional(p @ a @ q, p @ e @ q)
        in_values, in_frame, in_turn = allowed((du, dvh), exact, a, e, DOUBLE)
        assert worst(ds - exact.d_values[: -len(s) - 1 : -1]) <= in_values
        x = np.concat([p.conj().T @ u, q @ vh.conj().T])
        dx = np.concat([p.conj().T @ du, q @ dvh.conj().T])
        for (g,), (projector, dp) in exact.projectors.items():
            j = len(x) - 1 - g
            assert worst(projector @ x[:, j] - x[:, j]) <= in_frame
            assert worst(dp @ x[:, j] - dx[:, j]) <= in_turn


@pytest.mark.parametrize(("order", "splits"), [(7, True), (8, True), (9, False)])
def test_the_eighth_order_is_the_last_that_splits(order, splits):
    # two ends of a path, order steps apart: the branches are even and odd, from there on
    path = [0, *range(2, order + 1), 1]
    a, e = np.diag([1.0, 1.0, *(3.0,) * (order - 1)]), np.zeros((order + 1, order + 1))
    e[path[1:], path[:-1]] = e[path[:-1], path[1:]] = 1
    w, v, dw, dv = eigh_directional(a, e)
    assert worst(dw[:2]) == 0
    assert (worst(np.abs(v[:2, :2]) - np.sqrt(0.5)) <= 1e-6) == splits
    # nothing splits then, and the horizontal choice does not turn the basis
    assert worst((v.T @ dv)[:2, :2]) <= 1e-6


@PRECISIONS
@pytest.mark.parametrize("units", [(2.0**-100, 1.0), (2.0**100, 2.0**-20), (2.0**60, 2.0**90)])
def test_scale_changes_nothing(units, cast, eps):
    unit, e_unit = (x if cast is single else x**8 for x in units)
    a, e = cast(*EIGH["first, then second order"].eigh("real"))
    w, v, dw, dv = eigh_directional(a, e)
    scaled = eigh_directional(a * a.dtype.type(unit), e * a.dtype.type(e_unit))
    for x, y in zip(scaled, (w * unit, v, dw * e_unit, dv * (e_unit / unit)), strict=True):
        assert np.array_equal(x, y.astype(x.dtype))
    a, e = cast(*SVD["zeros of first and second order"].svd("complex"))
    u, s, vh, du, ds, dvh = svd_directional(a, e)
    scaled = svd_directional(a * a.real.dtype.type(unit), e * a.real.dtype.type(e_unit))
    turned = (x * (e_unit / unit) for x in (du, dvh))
    expected = (u, s * unit, vh, next(turned), ds * e_unit, next(turned))
    for x, y in zip(scaled, expected, strict=True):
        assert np.array_equal(x, y.astype(x.dtype))


def test_leading_dimensions_broadcast():
    a = np.stack([EIGH[k].eigh("real")[0] for k in ("simple", "first order", "never, all")])
    e = np.stack([EIGH[k].eigh("complex")[1] for k in ("simple", "second order")])
    for function in (eigh_directional, svd_directional):
        stacked = function(a[:, None], e)
        for i, j in np.ndindex(3, 2):
            for x, y in zip(stacked, function(a[i], e[j]), strict=True):
                assert np.array_equal(x[i, j], y)
        assert all(x.shape[:2] == (0, 2) for x in function(a[:0, None], e))
    assert [x.shape for x in eigh_directional(np.zeros((2, 0, 0)), np.zeros((0, 0)))] == [
        *((2, 0), (2, 0, 0)) * 2
    ]
    assert [x.shape for x in svd_directional(np.zeros((3, 0)), np.zeros((3, 0)))] == [
        *((3, 0), (0,), (0, 0)) * 2
    ]


def test_very_tall_and_wide_matrices_are_reduced_to_the_range_of_both():
    a, e = SVD["two zeros"].svd("real")
    rng = np.random.default_rng(1)
    q = np.linalg.qr(rng.standard_normal((3000, 4)))[0]
    u, s, vh, du, ds, dvh = svd_directional(a, e)
    for tall in (svd_directional(q @ a, q @ e), svd_directional((q @ a).T, (q @ e).T)):
        assert worst(tall.S - s, tall.dS - ds) <= 3016 * DOUBLE * worst(a, e)
    tall = svd_directional(q @ a, q @ e)
    assert worst(tall.U @ tall.dVh + tall.dU @ tall.Vh - q @ (u @ dvh + du @ vh)) <= 1e-10


@FIELDS
def test_every_framework_gives_the_same_numbers_in_its_own_arrays(field):
    for function, (a, e) in (
        (eigh_directional, EIGH["first order"].eigh(field)),
        (svd_directional, SVD["zero, tall"].svd(field)),
    ):
        expected = function(a, e)
        for convert, kind in (
            (jnp.asarray, jax.Array),
            (torch.as_tensor, torch.Tensor),
            (lambda x: torch.as_tensor(x.conj()).conj(), torch.Tensor),
            (array_api_strict.asarray, type(array_api_strict.zeros(1))),
            (np.ndarray.tolist, np.ndarray),
        ):
            for x, y in zip(function(convert(a), convert(e)), expected, strict=True):
                assert isinstance(x, kind)
                assert np.array_equal(np.asarray(x), y)


def test_what_is_traced_or_differentiated_is_refused():
    a, e = EIGH["first order"].eigh("real")
    t, d = torch.as_tensor(a), torch.as_tensor(e)
    for function, kept in ((eigh_directional, 2), (svd_directional, 4)):

        def loss(a, e, function=function, kept=kept):
            return function(a, e)[kept].sum()

        refused = [
            lambda loss=loss: jax.jit(loss)(a, e),
            lambda loss=loss: jax.grad(loss)(jnp.asarray(a), e),
            lambda loss=loss: jax.grad(loss, 1)(jnp.asarray(a), jnp.asarray(e)),
            lambda loss=loss: jax.vmap(loss)(jnp.asarray(a)[None], e[None]),
            lambda loss=loss: loss(t.clone().requires_grad_(), d),
            lambda loss=loss: torch.func.grad(loss)(t, d),
            lambda loss=loss: torch.func.vmap(loss)(t[None], d[None]),
            lambda loss=loss: torch.func.jvp(loss, (t, d), (d, d)),
            lambda loss=loss: autograd.grad(loss)(a, e),
            lambda loss=loss: lw.jvp(loss, (a, e), (e, e)),
            lambda loss=loss: lw.vjp(loss, a, e),
        ]
        for call in refused:
            with pytest.raises(TypeError, match="_directional needs the values"):
                call()
        with forward_ad.dual_level(), pytest.raises(TypeError, match="needs the values"):
            loss(forward_ad.make_dual(t, d), d)


def test_bad_input_is_named():
    a = np.eye(3)
    for function in (eigh_directional, svd_directional):
        with pytest.raises(ValueError, match="a has shape"):
            function(a, np.eye(2))
        with pytest.raises(ValueError, match="do not broadcast"):
            function(np.zeros((2, 3, 3)), np.zeros((5, 3, 3)))
        with pytest.raises(np.linalg.LinAlgError, match="not finite"):
            function(a, a * np.nan)
        with pytest.raises(TypeError, match="dtype object"):
            function(a.astype(object), a)
    with pytest.raises(np.linalg.LinAlgError, match="square"):
        eigh_directional(a[:2], a[:2])


def test_only_the_lower_triangle_of_a_is_read_and_the_hermitian_part_of_e():
    a, e = EIGH["first order"].eigh("complex")
    upper, skew = np.triu(np.full((4, 4), np.nan), 1), e @ a - a @ e
    for x, y in zip(
        eigh_directional(np.tril(a) + upper, e + skew), eigh_directional(a, e), strict=True
    ):
        assert np.array_equal(x, y)
