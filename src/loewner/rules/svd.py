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
from typing import Any, ClassVar

from ..kernels.decomposition import Decomposition
from .pieces import (
    adjoint,
    column_products,
    crowded,
    diagonal_matrix,
    ended,
    filled,
    herm,
    parted,
    reciprocal_gap,
    same_cluster,
    skew,
    tolerance,
    total,
    with_diagonal,
)
from .reports import (
    Checks,
    Report,
    Watch,
    norm,
    off_diagonal,
    phased,
    phases_fixed,
    recording,
    relative,
    rounding,
    rounding_unit,
    spread,
    turn_error,
    turned,
    value_error,
)
from .rule import Array, Arrays, Ops, Rule
from .sylvester import CoupledSylvester, RightDivision


@dataclasses.dataclass(frozen=True)
class SvdReport(Report):
    """Known: s[, U, N]; cotangents: of s, of the turns L and R[, K[, N]]; m rows of A.

    Off the cluster of zero U and V turn together, on it each by itself. There, and with a
    null frame N, turns between U and its complement are open as well: without N what lies
    outside the span of U in its cotangent, with N the skew part of the one in the other.
    """

    m: int
    full: int
    name = "svd"
    texts: ClassVar = {
        "phase": "the loss depends on the phase of the singular vectors {i} ({size} of the "
        "cotangent), which the matrix leaves open: fix it with lw.fix_phase, or use a loss "
        "without it",
        "basis": "singular values {i} and {j} coincide, and the loss depends on the basis of "
        "their spaces ({size} of the cotangent): use the projectors on them",
        "unresolved": "singular values {i} and {j} coincide, and the loss treats them "
        "differently ({size} of the cotangent): its gradient is not determined by U, S and Vh; "
        "if it is smooth, use lw.singular_value_map or lw.matrix_norm, or pass split=True",
        "null basis": "the loss depends on the basis of a null space ({size} of the "
        "cotangent): use its projector, lw.null_projector",
        "zero": "singular value {i} is zero, where it has a kink ({size} of the cotangent): "
        "one element of the Clarke subdifferential is returned; a smooth function of the "
        "matrix, such as U diag(S) Vh, goes through lw.low_rank or lw.singular_value_map",
    }

    @property
    def shape(self):
        return self.m, self.full

    def masks(self, xp: Any, s: Array) -> tuple[Array, Array]:
        """Pairs in one cluster (..., n, n), and the members of the cluster of zero (..., n)."""
        same = same_cluster(xp, ended(xp, s), tolerance(xp, s, self.m))
        return same[..., :-1, :-1], same[..., -1, :-1]

    def needed(self, xp, known, cotangents):
        found = crowded(xp, known[0], self.m, origin=True)
        if len(known) > 1 and any(g is not None for g in cotangents[1:]):
            return found | True
        return found | phased(xp, *cotangents[1:3])

    def findings(self, xp, known, cotangents):
        gs, left, right, *rest = cotangents
        s, *frames = known
        same, zero = self.masks(xp, s)
        found = {}
        if any(g is not None for g in cotangents[1:]):
            found |= self._gauge(xp, frames, left, right, same, zero, *rest)
        if gs is not None:
            pair = zero[..., :, None] & zero[..., None, :]
            found["unresolved"] = spread(xp, s, gs, same & ~pair)
            size = xp.max(xp.abs(gs), axis=-1, keepdims=True)
            part = relative(xp, xp.where(zero, xp.abs(gs), xp.zeros_like(gs)), size)
            allowed = xp.zeros_like(part) + float(xp.finfo(s.dtype).eps) ** 0.5
            found["zero"] = part[..., :, None], allowed[..., :, None]
        return found

    def error(self, xp, known, cotangents):
        gs, left, right, *rest = cotangents
        s = known[0]
        same, zero = self.masks(xp, s)
        terms = [] if gs is None else [value_error(xp, gs)]
        if left is not None or right is not None:
            none = xp.zeros_like(right if left is None else left)
            left, right = (none if g is None else g for g in (left, right))
            x, y = skew(xp, left), skew(xp, right)
            pair = zero[..., :, None] & zero[..., None, :]
            width = 2 * s.shape[-1] ** 0.5 * rounding_unit(xp, s)
            terms.append(turn_error(xp, reciprocal_gap(xp, s, s, same), x + y, width))
            terms.append(turn_error(xp, reciprocal_gap(xp, -s, s, pair), x - y, width))
            if rest:
                origin = xp.zeros_like(xp.sum(s, axis=-1, keepdims=True))
                inverse = reciprocal_gap(xp, origin, s, zero[..., None, :])
                terms.append(turn_error(xp, inverse, rest[0], width))
        return total(*terms)

    def _gauge(self, xp, frames, left, right, same, zero, outer=None, null=None):
        if left is None and right is None:  # then there is a null frame
            left = xp.zeros_like(adjoint(xp, frames[0]) @ frames[0])
        none = xp.zeros_like(right if left is None else left)
        left, right = (none if g is None else g for g in (left, right))
        if null is not None and outer is None:
            outer = xp.zeros_like(frames[0])
        size = norm(xp, left if outer is None else outer) + norm(xp, right)
        x, y = skew(xp, left), skew(xp, right)
        pair = zero[..., :, None] & zero[..., None, :]
        apart = xp.maximum(xp.abs(x), xp.abs(y))
        part = relative(xp, xp.where(pair, apart, xp.abs(x + y)), size)
        nothing = xp.zeros_like(part)
        part = xp.where(same, part, nothing)
        allowed = nothing + rounding(xp, part, self.m)
        off = off_diagonal(xp, left)
        found = {"basis": (xp.where(off, part, nothing), allowed)}
        if xp.isdtype(left.dtype, "complex floating"):
            found["phase"] = (xp.where(off, nothing, part), allowed)
        if null is not None:
            frames = [adjoint(xp, frame) for frame in frames]
            size = size + norm(xp, null)
            within = xp.abs(skew(xp, frames[1] @ null))
            across = xp.abs(frames[0] @ null - adjoint(xp, frames[1] @ outer)) / 2
            across = xp.where(zero[..., :, None], across, xp.zeros_like(across))
            part = relative(xp, xp.concat([within, across], axis=-2), size)
            found["null basis"] = part, xp.zeros_like(part) + rounding(xp, part, self.m)
        elif outer is not None and not self.full:
            inside, whole = (
                xp.sum(relative(xp, xp.abs(g), size) ** 2, axis=-2) for g in (left, outer)
            )
            lost = xp.sqrt(xp.where(whole > inside, whole - inside, xp.zeros_like(whole)))
            part = xp.where(zero, lost, xp.zeros_like(lost))
            # a difference of squares
            allowed = xp.zeros_like(part) + rounding(xp, part, self.m) ** 0.5
            found["null basis"] = part[..., :, None], allowed[..., :, None]
        return found


@dataclasses.dataclass(frozen=True)
class Svd(Rule):
    """(s, U, V[, N], B[, C]) of a tall A; N if `full`, N and C only if A is not square.

    `wide` says that the solver is to be handed A^H, of which A is the adjoint: the frames
    are then those that the solver returns for the wide matrix, phases included.
    """

    recorded = ("vjp",)
    full: bool = False
    wide: bool = False
    checks: Checks | None = None
    split: bool = False
    method: str = "auto"

    def frames(self, m: int, n: int) -> int:
        """How many of the outputs are s and the frames."""
        return 4 if self.full and m > n else 3

    def evaluate(self, solvers, inputs, outputs=None):
        (a,) = inputs
        xp = solvers.xp
        m, n = a.shape[-2:]
        given = adjoint(xp, a) if self.wide else a
        if outputs == 1:
            return solvers.decompose(Decomposition("svdvals", self.method), given)
        how = Decomposition("svd", self.method, full=self.full)
        u, s, vh = solvers.decompose(how, given)
        u, v = (adjoint(xp, vh), u) if self.wide else (u, adjoint(xp, vh))
        if self.checks and self.checks.strict:
            u, v = self._turned(solvers, s, u, v, 3 * self.checks.strict)
        if self.split:
            s = parted(xp, s, origin=True)
        frames = (u[..., :, :n], v, u[..., :, n:]) if self.full and m > n else (u, v)
        if outputs is not None and outputs <= 1 + len(frames):
            return (s, *frames)
        b = solvers.core(s, v.dtype)
        # C is made from s, so that it has the batch of the others under any vmap
        nothing = xp.astype(0 * s[..., None, :], v.dtype)
        c = () if m == n else (xp.broadcast_to(nothing, a.shape),)
        return (s, *frames, b, *c)

    def diagonals(self, count):
        return {max(3, count - 2): 0}

    def _name(self, outputs):
        """The outputs by name, with None for the absent ones."""
        s, u, v, *rest = outputs
        tall = u.shape[-2] > v.shape[-2]
        null = rest.pop(0) if self.full and tall else None
        b = rest.pop(0)
        return s, u, v, null, b, (rest[0] if tall else None)

    def _turned(self, solvers, s, u, v, seed):
        """U and V turned inside the clusters: together, and on that of zero each by itself."""
        xp, (m, n) = solvers.xp, (u.shape[-2], v.shape[-1])
        report = self._report(m)
        same, zero = report.masks(xp, s)
        pair = zero[..., :, None] & zero[..., None, :]
        v = turned(solvers, turned(solvers, v, same & ~pair, seed), pair, seed + 1)
        if seed % 2:  # and the other sign, which no rotation gives
            v = xp.where(zero[..., None, :], -v, v)
        first = turned(solvers, u[..., :, :n], same & ~pair, seed)
        if u.shape[-1] == n:
            return turned(solvers, first, pair, seed + 2), v
        # the complement belongs to zero as well
        rest = xp.sum(xp.zeros_like(u[..., n:]), axis=-2) == 0
        zero = xp.concat([zero, rest], axis=-1)
        u = xp.concat([first, u[..., :, n:]], axis=-1)
        return turned(solvers, u, zero[..., :, None] & zero[..., None, :], seed + 2), v

    def _report(self, m: int) -> SvdReport:
        return SvdReport(m, int(self.full))

    def _watch(self, m: int, known: int) -> Watch:
        assert self.checks
        return Watch(self._report(m), self.checks, known)

    def _apart(self, ops: Ops, s: Array, m: int) -> bool:
        """Whether no value is known to be in a cluster, and that settles the matter."""
        return not recording(self.checks) and ops.apart(s, m, origin=True)

    def _masks(self, ops: Ops, s: Array, m: int, apart: bool) -> Arrays:
        """Those of the report; the first alone if no value is in the cluster of zero."""
        return (ops.diagonal(s),) if apart else self._report(m).masks(ops.xp, ops.constant(s))

    def jvp(self, ops, inputs, outputs, tangents):
        s, u, v, null, b, c = self._name(outputs)
        (da,) = tangents
        xp = ops.xp
        m = u.shape[-2]
        masks = self._masks(ops, s, m, self._apart(ops, s, m))
        y = da @ v
        ds = column_products(xp, u, y)  # Re diag P, without the rest of P
        p = adjoint(xp, u) @ y
        ph = adjoint(xp, p)
        db = _inner(xp, masks, p)
        known = (s,) if null is None else (s, u, null)
        watch = self._watch(m, len(known)) if self.checks else None
        if c is None:
            left, right = ops.solve(CoupledSylvester(tall=False), masks, (b,), (p, ph))
            if watch:
                ds, left, right = ops.call(watch, *known, ds, left, right)
            return ds, u @ left, v @ right, db
        left, right, k, t, q = ops.solve(
            CoupledSylvester(tall=True), masks, (b, c), (p, ph, y, adjoint(xp, y), p)
        )
        dnull = None if null is None else -(u @ (t @ null))
        if watch:
            seen = (ds, left, right, k) if dnull is None else (ds, left, right, k, dnull)
            ds, left, right, k, *rest = ops.call(watch, *known, *seen)
            dnull = rest[0] if rest else None
        du = u @ (left - q) + k
        dc = total(_columns(xp, masks, y), -(u @ total(_columns(xp, masks, p), t @ c)))
        if dnull is None:
            return ds, du, v @ right, db, dc
        return ds, du, v @ right, dnull, db, dc

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        s, u, v, null, b, c = self._name(outputs)
        gs, gu, gv, gnull, gb, gc = self._name_cotangents(cotangents, null, c)
        xp = ops.xp
        uh, vh = adjoint(xp, u), adjoint(xp, v)
        left = None if gu is None else uh @ gu
        right = None if gv is None else vh @ gv
        values = gu is None and gv is None and gnull is None and gb is None and gc is None
        m = u.shape[-2]
        apart = (not values or bool(self.checks)) and self._apart(ops, s, m)
        if self.checks and not (apart and gnull is None and phases_fixed(ops, left, right)):
            known = (s,) if null is None else (s, u, null)
            outer = () if c is None else (gu,) if null is None else (gu, gnull)
            watch = self._watch(m, len(known))
            gs, left, right, *outer = watch.seen(ops, known, (gs, left, right, *outer))
            gu, gnull = (outer[0] if outer else gu), (outer[1] if len(outer) > 1 else gnull)
        row = None if gs is None else xp.astype(gs, u.dtype)[..., None, :]
        if values:
            return ((u * row) @ vh,)
        masks = self._masks(ops, s, m, apart)
        left, right = filled(xp, (left, right), (b, b))
        inner = [] if gb is None else [_inner(xp, masks, gb)]
        if gs is not None and not apart:
            inner.append(diagonal_matrix(xp, gs, u.dtype))
        if c is None or (apart and gnull is None and gc is None):
            # C, which lives in the columns of zero, is no part of the matter
            x = ops.solve(CoupledSylvester(tall=False), masks, (b,), (left, right), adjoint=True)
            k = q = None
            if c is not None and gu is not None:
                (k,) = ops.solve(RightDivision(), (), (b,), (gu,), adjoint=True)
                (q,) = ops.solve(RightDivision(), (), (b,), (-left,), adjoint=True)
            p = total(x[0], adjoint(xp, x[1]), q, *inner)
            if gs is not None and apart:
                p = with_diagonal(xp, p, gs, masks[0])
            return (total(u @ p, k) @ vh,)
        k = xp.zeros_like(u) if gu is None else gu
        t = xp.zeros_like(adjoint(xp, u))
        outer = None
        if gnull is not None:
            t = t - (uh @ gnull) @ adjoint(xp, null)
        if gc is not None:
            t = t - (uh @ gc) @ adjoint(xp, c)
            outer = _columns(xp, masks, gc)
            if outer is not None:
                inner.append(-(uh @ outer))
        x = ops.solve(
            CoupledSylvester(tall=True),
            masks,
            (b, c),
            (left, right, k, t, -left),
            adjoint=True,
        )
        p = total(x[0], adjoint(xp, x[1]), x[4], *inner)
        if gs is not None and apart:
            p = with_diagonal(xp, p, gs, masks[0])
        return (total(u @ p, outer, x[2], adjoint(xp, x[3])) @ vh,)

    @staticmethod
    def _name_cotangents(cotangents, null, c):
        gs, gu, gv, *rest = cotangents
        gnull = None if null is None else rest.pop(0)
        gb = rest.pop(0)
        return gs, gu, gv, gnull, gb, (None if c is None else rest[0])


def _inner(xp: Any, masks: Arrays, p: Array) -> Array:
    """M o herm P + Z o skew P."""
    same, *zero = masks
    found = xp.where(same, herm(xp, p), xp.zeros_like(p))
    if not zero:
        return found
    pair = zero[0][..., :, None] & zero[0][..., None, :]
    return found + xp.where(pair, skew(xp, p), xp.zeros_like(p))


def _columns(xp: Any, masks: Arrays, y: Array) -> Array | None:
    """z o Y; None if no value is zero."""
    _, *zero = masks
    return xp.where(zero[0][..., None, :], y, xp.zeros_like(y)) if zero else None
