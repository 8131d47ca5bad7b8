"""A = V B V^H with V unitary: the Hermitian eigenproblem.

With P = herm(V^H dA V), M the mask of the clusters and tau their width,

    dw = Re diag P,    dB = M o P,    dV = V Omega,    Omega B - B Omega = P off M.      (1)

Adjoint, for cotangents gw, gV, gB and Z = V^H gV:

    gA = V ( sylv(skew Z) + M o herm gB + diag gw ) V^H,                                 (2)

Hermitian by construction. B equals diag w in value and is full in tangent inside a
cluster, which keeps every further derivative right at exact repeats. Where w repeats,
(1) is the derivative of every function of the cluster as a whole; the phases and the
basis inside a cluster do not turn (the horizontal choice).

Magnus, On differentiating eigenvalues and eigenvectors, Econometric Theory 1 (1985);
Giles, NA-08/01 (2008), section 3.1; Kato, Perturbation theory, II.4, for the clusters.
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
from .sylvester import Sylvester


@dataclasses.dataclass(frozen=True)
class Eigh(Rule):
    """(w, V, B) of the Hermitian matrix in the lower or upper triangle of A.

    A (..., n, n); w (..., n) real and ascending, V and B (..., n, n).
    """

    lower: bool = True

    def evaluate(self, solvers, inputs, outputs=None):
        (a,) = inputs
        if outputs == 1:
            return (solvers.eigvalsh(a, self.lower),)
        w, v = solvers.eigh(a, self.lower)
        if outputs == 2:
            return w, v
        return w, v, diagonal_matrix(solvers.xp, w, v.dtype)

    def jvp(self, ops, inputs, outputs, tangents):
        w, v, b = outputs
        (da,) = tangents
        xp = ops.xp
        same = _clusters(ops, w)
        av = da @ v
        dw = column_products(xp, v, av)  # Re diag P, without the rest of P
        p = herm(xp, adjoint(xp, v) @ av)  # P = herm(V^H dA V)
        (omega,) = ops.solve(Sylvester(), (same,), (b, b), (p,))
        db = xp.where(same, p, xp.zeros_like(p))  # M o P
        return dw, v @ omega, db

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        w, v, b = outputs
        gw, gv, gb = cotangents
        xp = ops.xp
        if gv is None and gb is None:
            return ((v * xp.astype(gw, v.dtype)[..., None, :]) @ adjoint(xp, v),)
        same = _clusters(ops, w)
        inner = []
        if gv is not None:
            z = skew(xp, adjoint(xp, v) @ gv)
            inner += ops.solve(Sylvester(), (same,), (b, b), (z,), adjoint=True)
        if gb is not None:
            inner.append(xp.where(same, herm(xp, gb), xp.zeros_like(gb)))
        if gw is not None:
            inner.append(diagonal_matrix(xp, gw, v.dtype))
        return (v @ total(*inner) @ adjoint(xp, v),)


def _clusters(ops: Ops, w: Array) -> Array:
    """Pairs in one cluster, (..., n, n)."""
    xp, w = ops.xp, ops.constant(w)
    return same_cluster(xp, w, tolerance(xp, w, w.shape[-1]))
