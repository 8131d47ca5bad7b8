"""A V = B V diag w with V^H B V = I: the generalized Hermitian eigenproblem.

With the core T = V^H A V, A' = herm(V^H dA V), B' = herm(V^H dB V),

    H = A' - herm(B' T),       dw = Re diag H,       dT = M o H,
    dV = V (Omega - B'/2),     Omega T - T Omega = H off the clusters M.                 (1)

The regular part -B'/2, which keeps V^H B V = I, is not divided by any gap and so
survives inside a cluster. Adjoint, with Z = V^H gV:

    H* = sylv(skew Z) + M o herm gT + diag gw,
    gA = V H* V^H,       gB = V ( -herm(H* T) - herm(Z)/2 ) V^H.                         (2)

The usual v_i^H (dA - w_j dB) v_j / (w_j - w_i) is the same off the clusters.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..kernels.decomposition import Decomposition
from .eigh import HermitianReport
from .pieces import (
    adjoint,
    diagonal_matrix,
    herm,
    hermitian_from_triangle,
    hermitian_product,
    near,
    parted,
    powers_of_two,
    real,
    same_cluster,
    skew,
    tolerance,
    total,
)
from .reports import Checks, Watch, phased, phases_fixed, recording, turned
from .rule import Array, Ops, Rule
from .sylvester import Sylvester


@dataclasses.dataclass(frozen=True)
class DefiniteReport(HermitianReport):
    """Of the definite pair; known: w and the squared lengths."""

    name = "pair"

    def same(self, xp, known):
        return _same(xp, *known)

    def needed(self, xp, known, cotangents):
        return _crowded(xp, *known) | phased(xp, cotangents[1])


@dataclasses.dataclass(frozen=True)
class GeneralizedEigh(Rule):
    """(w, V, T, l) for Hermitian A and positive definite B, (..., n, n), one triangle read.

    The solver works on D A D and D B D with diag(D B D) between 1 and 4 (van der Sluis), D
    of powers of two, so that rows of different units do not spoil each other. l (..., n),
    without derivative, are the squared lengths of its eigenvectors.
    """

    lower: bool = True
    checks: Checks | None = None
    split: bool = False
    method: str = "auto"

    def evaluate(self, solvers, inputs, outputs=None):
        a, b = inputs
        xp = solvers.xp
        size = real(xp, xp.linalg.diagonal(b))
        size = xp.sqrt(xp.where(size > 0, size, xp.zeros_like(size) + 1))
        units = xp.astype(powers_of_two(xp, size)[0], a.dtype)
        a, b = (x * units[..., :, None] * units[..., None, :] for x in (a, b))
        factor = solvers.cholesky(b if self.lower else adjoint(xp, b))  # B = L L^H
        a = hermitian_from_triangle(xp, a, self.lower)
        half = solvers.solve_triangular(factor, a, lower=True)
        c = solvers.solve_triangular(factor, adjoint(xp, half), lower=True)  # L^-1 A L^-H
        if outputs == 1:
            return solvers.decompose(Decomposition("eigvalsh", self.method), c)
        w, y = solvers.decompose(Decomposition("eigh", self.method), c)
        v = solvers.solve_triangular(adjoint(xp, factor), y, lower=False)
        length = xp.sum(xp.abs(v) ** 2, axis=-2)
        v = v * units[..., :, None]
        if self.checks and self.checks.strict:
            v = turned(solvers, v, _same(xp, w, length), self.checks.strict)
        if self.split:
            w = parted(xp, w)
        return (w, v, solvers.diagonal_matrix(w, v.dtype), length)[:outputs]

    @property
    def _watch(self) -> Watch:
        assert self.checks
        return Watch(DefiniteReport(), self.checks, 2)

    def _apart(self, ops: Ops, w: Array, length: Array) -> bool:
        """Whether each value is known to be a cluster of its own, and that settles the matter."""
        values = ops.constant(w), ops.constant(length)
        return not recording(self.checks) and ops.rules_out(_crowded, *values)

    @staticmethod
    def _clusters(ops: Ops, w: Array, length: Array, apart: bool) -> Array:
        """Pairs in one cluster."""
        if apart:
            return ops.diagonal(w)
        return _same(ops.xp, ops.constant(w), ops.constant(length))

    def jvp(self, ops, inputs, outputs, tangents):
        w, v, t, length = outputs
        da, db = tangents
        xp = ops.xp
        vh = adjoint(xp, v)
        same = self._clusters(ops, w, length, self._apart(ops, w, length))
        p = None if da is None else herm(xp, vh @ (da @ v))
        bp = None if db is None else herm(xp, vh @ (db @ v))
        h = total(p, None if bp is None else -herm(xp, bp @ t))  # H = A' - herm(B' T)
        (omega,) = ops.solve(Sylvester(), (same,), (t, t), (h,))
        dw = real(xp, xp.linalg.diagonal(h))
        if self.checks:
            dw, omega = ops.call(self._watch, w, length, dw, omega)
        turn = omega if bp is None else omega - bp / 2
        dt = xp.where(same, h, xp.zeros_like(h))
        return dw, v @ turn, dt, xp.zeros_like(length)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        w, v, t, length = outputs
        gw, gv, gt, _ = cotangents
        xp = ops.xp
        vh = adjoint(xp, v)
        apart = self._apart(ops, w, length)
        inner, z = [], None if gv is None else vh @ gv
        if self.checks and not (apart and phases_fixed(ops, z)):
            gw, z = self._watch.seen(ops, (w, length), (gw, z))
        same = self._clusters(ops, w, length, apart)
        if z is not None:
            inner += ops.solve(Sylvester(), (same,), (t, t), (skew(xp, z),), adjoint=True)
        if gt is not None:
            inner.append(xp.where(same, herm(xp, gt), xp.zeros_like(gt)))
        if gw is not None:
            inner.append(diagonal_matrix(xp, gw, v.dtype))
        h = total(*inner)
        ga = hermitian_product(xp, v @ h, v) if wanted[0] else None
        gb = None
        if wanted[1]:
            g = -herm(xp, h @ t)
            gb = hermitian_product(xp, v @ (g if z is None else g - herm(xp, z) / 2), v)
        return ga, gb


def _same(xp: Any, w: Array, length: Array) -> Array:
    """Pairs in one cluster, (..., n, n)."""
    return same_cluster(xp, w, _widths(xp, w, length))


def _crowded(xp: Any, w: Array, length: Array) -> Array:
    """Whether two values are in one cluster, (...)."""
    return xp.any(near(xp, w, _widths(xp, w, length)), axis=-1)


def _widths(xp: Any, w: Array, length: Array) -> Array:
    """How near neighbours of one cluster are, (..., n - 1).

    |dw_j| <= |v_j|^2 (|dA| + |w_j| |dB|), and |v_j|^-2 is a lower bound of |B|: beside a
    long eigenvector the backward error of the solver is larger by the square of its length.
    """
    if length.shape[-1] == 0:
        return w
    kappa = length / -xp.max(-length, axis=-1, keepdims=True)
    return tolerance(xp, w, w.shape[-1]) * (kappa[..., 1:] + kappa[..., :-1]) / 2
