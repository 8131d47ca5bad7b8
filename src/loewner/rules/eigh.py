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
from typing import Any, ClassVar

from ..kernels.decomposition import Decomposition
from .pieces import (
    adjoint,
    column_products,
    crowded,
    diagonal_matrix,
    herm,
    hermitian_product,
    parted,
    reciprocal_gap,
    same_cluster,
    skew,
    tolerance,
    total,
    with_diagonal,
)
from .reports import (
    VECTORS,
    Checks,
    Report,
    Watch,
    gauge,
    norm,
    phased,
    phases_fixed,
    recording,
    rounding_unit,
    spread,
    turn_error,
    turned,
    value_error,
)
from .rule import Array, Arrays, Ops, Rule
from .sylvester import Sylvester


@dataclasses.dataclass(frozen=True)
class HermitianReport(Report):
    """Of the eigenproblem; known: w; cotangents: those of w and of the turn Omega."""

    name = "eigh"
    texts: ClassVar = {
        **VECTORS,
        "unresolved": "eigenvalues {i} and {j} coincide, and the loss treats them differently "
        "({size} of the cotangent): its gradient is not determined by w and V; if it is "
        "smooth, compose f(A) with lw.funm, or pass split=True",
    }

    def same(self, xp: Any, known: Arrays) -> Array:
        return same_cluster(xp, known[0], tolerance(xp, known[0], known[0].shape[-1]))

    def needed(self, xp, known, cotangents):
        return crowded(xp, known[0], known[0].shape[-1]) | phased(xp, cotangents[1])

    def findings(self, xp, known, cotangents):
        gw, turn = cotangents
        same = self.same(xp, known)
        found = {} if turn is None else gauge(xp, turn, same, norm(xp, turn))
        if gw is not None:
            found["unresolved"] = spread(xp, known[0], gw, same)
        return found

    def error(self, xp, known, cotangents):
        gw, turn = cotangents
        w = known[0]
        terms = [] if gw is None else [value_error(xp, gw)]
        if turn is not None:
            width = 2 * w.shape[-1] ** 0.5 * rounding_unit(xp, w)
            gap = reciprocal_gap(xp, w, w, self.same(xp, known))
            terms.append(turn_error(xp, gap, skew(xp, turn), width))
        return total(*terms)


@dataclasses.dataclass(frozen=True)
class Eigh(Rule):
    """(w, V, B) of the Hermitian matrix in the lower or upper triangle of A.

    A (..., n, n); w (..., n) real and ascending, V and B (..., n, n). With `split` the w are
    those of a matrix nearby without clusters, of the same V.
    """

    recorded = ("vjp",)
    lower: bool = True
    checks: Checks | None = None
    split: bool = False
    method: str = "auto"

    def evaluate(self, solvers, inputs, outputs=None):
        (a,) = inputs
        if outputs == 1:
            return solvers.decompose(Decomposition("eigvalsh", self.method, self.lower), a)
        xp = solvers.xp
        w, v = solvers.decompose(Decomposition("eigh", self.method, self.lower), a)
        if self.checks and self.checks.strict:
            v = turned(solvers, v, HermitianReport().same(xp, (w,)), self.checks.strict)
        if self.split:
            w = parted(xp, w)
        if outputs == 2:
            return w, v
        return w, v, solvers.core(w, v.dtype)

    def diagonals(self, count):
        return {2: 0}

    @property
    def _watch(self) -> Watch:
        assert self.checks
        return Watch(HermitianReport(), self.checks, 1)

    def _apart(self, ops: Ops, w: Array) -> bool:
        """Whether each value is known to be a cluster of its own, and that settles the matter."""
        return not recording(self.checks) and ops.apart(w, w.shape[-1])

    @staticmethod
    def _clusters(ops: Ops, w: Array, apart: bool) -> Array:
        """Pairs in one cluster."""
        if apart:
            return ops.diagonal(w)
        w = ops.constant(w)
        return same_cluster(ops.xp, w, tolerance(ops.xp, w, w.shape[-1]))

    def jvp(self, ops, inputs, outputs, tangents):
        w, v, b = outputs
        (da,) = tangents
        xp = ops.xp
        same = self._clusters(ops, w, self._apart(ops, w))
        av = da @ v
        dw = column_products(xp, v, av)  # Re diag P, without the rest of P
        p = herm(xp, adjoint(xp, v) @ av)  # P = herm(V^H dA V)
        (omega,) = ops.solve(Sylvester(), (same,), (b, b), (p,))
        if self.checks:
            dw, omega = ops.call(self._watch, w, dw, omega)
        db = xp.where(same, p, xp.zeros_like(p))  # M o P
        return dw, v @ omega, db

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        w, v, b = outputs
        gw, gv, gb = cotangents
        xp = ops.xp
        z = None if gv is None else adjoint(xp, v) @ gv
        values = gv is None and gb is None
        apart = (not values or bool(self.checks)) and self._apart(ops, w)
        if self.checks and not (apart and (z is None or phases_fixed(ops, z))):
            gw, z = self._watch.seen(ops, (w,), (gw, z))
        if values:
            return (hermitian_product(xp, v * xp.astype(gw, v.dtype)[..., None, :], v),)
        same = self._clusters(ops, w, apart)
        inner = []
        if z is not None:
            z = z - adjoint(xp, z)  # 2 skew Z
            inner += ops.solve(Sylvester(2.0), (same,), (b, b), (z,), adjoint=True)
        if gb is not None:
            inner.append(xp.where(same, herm(xp, gb), xp.zeros_like(gb)))
        h = total(*inner)
        if gw is not None and apart and gb is None:
            h = with_diagonal(xp, h, gw, same)
        elif gw is not None:
            h = h + diagonal_matrix(xp, gw, v.dtype)
        return (hermitian_product(xp, v @ h, v),)
