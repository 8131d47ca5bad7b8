"""A = U B V^H + C V^H, U^H U = V^H V = I: the singular value decomposition of a tall matrix.

A (..., m, n) with m >= n; wide matrices are their adjoints. B (..., n, n) equals diag s
in value, and C (..., m, n), the part of A V outside the span of U, is zero in value;
both carry the tangents of a cluster that the vector s cannot carry. N (..., m, m - n)
completes U to a unitary matrix when `full`. The equation (2) of `CoupledSylvester` gives
the turns L, R, K, T = K^H and Q from P = U^H dA V and Y = dA V, and

    ds = Re diag P,          dU = U (L - Q) + K,        dV = V R,
    dB = M o herm P + Z o skew P,                       dN = -U T N,
    dC = z o (Y - U P) - U T C,                                                          (1)

with M the pairs in one cluster, z the cluster of zero and Z = z z^T. There U and V turn
independently, so that B keeps the whole of P instead of its Hermitian part. N does not
turn inside its own span (the horizontal choice), which is exact for every loss through
N N^H. Adjoint, x* being the adjoint solution for the right-hand side
(U^H gU, V^H gV, gU, -U^H gN N^H - U^H gC C^H, -U^H gU) of the same unknowns:

    P* = L* + R*^H + Q* + diag gs + M o herm gB + Z o skew gB - z o U^H gC,
    gA = ( U P* + K* + T*^H + z o gC ) V^H.                                              (2)

Derivation: L B - B R splits into the commutator of B with the common turn (L + R)/2,
Hermitian, and its anticommutator with (L - R)/2, skew. The complex term
i Im P_jj / (2 s_j) of Wan and Zhang, arXiv:1909.02659, is the diagonal of the latter.
Real case: Townsend, Differentiating the SVD (2016); Giles, NA-08/01 (2008), section 3.2.
"""

from __future__ import annotations

import dataclasses

from .pieces import (
    adjoint,
    column_products,
    diagonal_matrix,
    herm,
    same_cluster,
    skew,
    tolerance,
    total,
)
from .rule import Array, Ops, Rule
from .sylvester import CoupledSylvester


@dataclasses.dataclass(frozen=True)
class Svd(Rule):
    """(s, U, V[, N], B[, C]) of a tall A; N if `full`, N and C only if A is not square.

    `wide` says that the solver is to be handed A^H, of which A is the adjoint: the frames
    are then those that the solver returns for the wide matrix, phases included.
    """

    full: bool = False
    wide: bool = False

    def frames(self, m: int, n: int) -> int:
        """How many of the outputs are s and the frames."""
        return 4 if self.full and m > n else 3

    def evaluate(self, solvers, inputs, outputs=None):
        (a,) = inputs
        xp = solvers.xp
        m, n = a.shape[-2:]
        given = adjoint(xp, a) if self.wide else a
        if outputs == 1:
            return (solvers.svdvals(given),)
        u, s, vh = solvers.svd(given, self.full)
        u, v = (adjoint(xp, vh), u) if self.wide else (u, adjoint(xp, vh))
        frames = (u[..., :, :n], v, u[..., :, n:]) if self.full and m > n else (u, v)
        if outputs is not None and outputs <= 1 + len(frames):
            return (s, *frames)
        b = diagonal_matrix(xp, s, v.dtype)
        # C is made from s, so that it has the batch of the others under any vmap
        c = () if m == n else (xp.zeros_like(a) + 0 * s[..., None, :],)
        return (s, *frames, b, *c)

    def _name(self, outputs):
        """The outputs by name, with None for the absent ones."""
        s, u, v, *rest = outputs
        tall = u.shape[-2] > v.shape[-2]
        null = rest.pop(0) if self.full and tall else None
        b = rest.pop(0)
        return s, u, v, null, b, (rest[0] if tall else None)

    @staticmethod
    def _masks(ops: Ops, s: Array, m: int) -> tuple[Array, Array]:
        """Pairs in one cluster (..., n, n), and the members of the cluster of zero (..., n)."""
        xp, s = ops.xp, ops.constant(s)
        tau = tolerance(xp, s, m)
        ends = xp.concat([s, xp.zeros_like(xp.sum(s, axis=-1, keepdims=True))], axis=-1)
        same = same_cluster(xp, ends, tau)
        return same[..., :-1, :-1], same[..., -1, :-1]

    def jvp(self, ops, inputs, outputs, tangents):
        s, u, v, null, b, c = self._name(outputs)
        (da,) = tangents
        xp = ops.xp
        same, zero = self._masks(ops, s, u.shape[-2])
        y = da @ v
        ds = column_products(xp, u, y)  # Re diag P, without the rest of P
        p = adjoint(xp, u) @ y
        ph = adjoint(xp, p)
        both_zero = zero[..., :, None] & zero[..., None, :]
        none = xp.zeros_like(p)
        db = xp.where(same, (p + ph) / 2, none) + xp.where(both_zero, (p - ph) / 2, none)
        if c is None:
            left, right = ops.solve(CoupledSylvester(tall=False), (same, zero), (b,), (p, ph))
            return ds, u @ left, v @ right, db
        left, right, k, t, q = ops.solve(
            CoupledSylvester(tall=True), (same, zero), (b, c), (p, ph, y, adjoint(xp, y), p)
        )
        du = u @ (left - q) + k
        column = zero[..., None, :]
        dc = xp.where(column, y, xp.zeros_like(y)) - u @ (xp.where(column, p, none) + t @ c)
        if null is None:
            return ds, du, v @ right, db, dc
        return ds, du, v @ right, -(u @ (t @ null)), db, dc

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        s, u, v, null, b, c = self._name(outputs)
        gs, gu, gv, gnull, gb, gc = self._name_cotangents(cotangents, null, c)
        xp = ops.xp
        uh, vh = adjoint(xp, u), adjoint(xp, v)
        if gu is None and gv is None and gnull is None and gb is None and gc is None:
            return ((u * xp.astype(gs, u.dtype)[..., None, :]) @ vh,)
        same, zero = self._masks(ops, s, u.shape[-2])
        none = xp.zeros_like(b)
        left = none if gu is None else uh @ gu
        right = none if gv is None else vh @ gv
        inner = [None if gs is None else diagonal_matrix(xp, gs, u.dtype)]
        if gb is not None:
            both_zero = zero[..., :, None] & zero[..., None, :]
            inner.append(xp.where(same, herm(xp, gb), none))
            inner.append(xp.where(both_zero, skew(xp, gb), none))
        if c is None:
            x = ops.solve(
                CoupledSylvester(tall=False), (same, zero), (b,), (left, right), adjoint=True
            )
            p = total(*inner, x[0], adjoint(xp, x[1]))
            return (u @ p @ vh,)
        k = xp.zeros_like(u) if gu is None else gu
        t = xp.zeros_like(adjoint(xp, u))
        outer = []
        if gnull is not None:
            t = t - (uh @ gnull) @ adjoint(xp, null)
        if gc is not None:
            t = t - (uh @ gc) @ adjoint(xp, c)
            held = xp.where(zero[..., None, :], gc, xp.zeros_like(gc))
            inner.append(-(uh @ held))
            outer.append(held)
        x = ops.solve(
            CoupledSylvester(tall=True),
            (same, zero),
            (b, c),
            (left, right, k, t, -left),
            adjoint=True,
        )
        p = total(*inner, x[0], adjoint(xp, x[1]), x[4])
        return ((u @ p + total(*outer, x[2], adjoint(xp, x[3]))) @ vh,)

    @staticmethod
    def _name_cotangents(cotangents, null, c):
        gs, gu, gv, *rest = cotangents
        gnull = None if null is None else rest.pop(0)
        gb = rest.pop(0)
        return gs, gu, gv, gnull, gb, (None if c is None else rest[0])
