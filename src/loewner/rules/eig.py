"""A = V B W with W V = I and unit columns of V: the eigenproblem of a general matrix.

With P = W dA V and M the mask of the clusters,

    Omega B - B Omega = P off M,       D = -diag(V^H V Omega),
    dw = diag P,       dB = M o (P - D B + B D),
    dV = V (Omega + D),       dW = -(Omega + D) W.                                       (1)

D takes from dv_j what lies along v_j: |v_j| stays 1 and the phase does not turn (the
horizontal choice), so a loss that sees |v| is right. Adjoint, for cotangents gw, gV, gW, gB:

    T    = V^H gV - gW W^H,
    d    = diag T - rowsum(M o gB o conj B) + colsum(M o gB o conj B),
    gOmega = T - V^H V diag d,
    gA   = W^H ( sylv^H(gOmega) + M o gB + diag gw ) V^H.                                (2)

For real A take the real part. W comes from the left eigenvectors of the solver, row by
row, so that each eigenvalue keeps its own condition number; solving with V would mix the
rows and spoil all of them as soon as one is ill-conditioned.

Boeddeker et al., arXiv:1701.00392, (4.60) and (4.77), for (1) without B and (2) without
gW and gB; Giles, NA-08/01 (2008), section 3.1, leaves D out and so holds only for losses
that ignore |v|. Condition numbers: Wilkinson; LAPACK Users' Guide, section 4.8.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any, ClassVar

from .pieces import (
    adjoint,
    diagonal_matrix,
    powers_of_two,
    reciprocal_gap,
    tolerance,
    total,
    width,
)
from .reports import (
    VECTORS,
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
from .rule import Array, Arrays, Ops, Rule, Solvers
from .sylvester import Sylvester


@dataclasses.dataclass(frozen=True)
class EigReport(Report):
    """Known: w, V, W, |A|; cotangents: those of w, and of the turn Omega + D."""

    name = "eig"
    texts: ClassVar = {
        **VECTORS,
        "unresolved": "eigenvalues {i} and {j} coincide, and the loss treats them differently "
        "({size} of the cotangent): its gradient is not determined by w and V; if it is "
        "smooth, use a function of the matrix (lw.expm, lw.spectral_mean, lw.spectral_projector)",
        "defective": "eigenvalue {i} is nearly defective (its derivative, and those of all "
        "eigenvectors, have an error of about {size}): use lw.spectral_mean or "
        "lw.spectral_projector of the cluster",
    }

    def same(self, xp: Any, known: Arrays) -> tuple[Array, Array]:
        """Pairs in one cluster, and the condition numbers of the eigenvalues."""
        w, _, inverse, size = known
        kappa = _condition(xp, inverse)
        return _same(xp, w, kappa, size), kappa

    def needed(self, xp, known, cotangents):
        same, kappa = self.same(xp, known)
        return _crowded(xp, same) | _defective(xp, kappa) | phased(xp, cotangents[1])

    def findings(self, xp, known, cotangents):
        gw, turn = cotangents
        w, v = known[:2]
        same, kappa = self.same(xp, known)
        found, none = {}, xp.zeros_like(kappa[..., :, None] + kappa[..., None, :])
        if turn is not None:
            allowed = kappa[..., :, None] + kappa[..., None, :]
            allowed = allowed * rounding(xp, none, w.shape[-1])
            size, d = norm(xp, turn), xp.linalg.diagonal(turn)
            # the columns stay of unit length
            inner = turn - (adjoint(xp, v) @ v) * d[..., None, :]
            inner = relative(xp, xp.abs(inner), size)
            found["basis"] = xp.where(same & off_diagonal(xp, turn), inner, none), allowed
            part = relative(xp, xp.abs(xp.imag(d)), size[..., 0])
            found["phase"] = part[..., :, None], allowed[..., :1]
        lost = kappa**2 * float(xp.finfo(kappa.dtype).eps)
        if gw is not None:
            found["unresolved"] = spread(xp, w, gw, same)
        # the vectors of the others suffer as well
        if turn is None:
            lost = xp.where(gw == 0, none[..., 0], lost)
        else:
            lost = xp.where(norm(xp, turn)[..., 0] == 0, none[..., 0], lost)
        found["defective"] = lost[..., :, None], none[..., :1] + _LOST
        return found

    def error(self, xp, known, cotangents):
        gw, turn = cotangents
        w, v = known[:2]
        same, kappa = self.same(xp, known)
        terms = [] if gw is None else [value_error(xp, gw * kappa**2)]
        if turn is not None:
            width = 2 * w.shape[-1] ** 0.5 * rounding_unit(xp, known[3])
            width = width * (kappa[..., :, None] + kappa[..., None, :])
            gap = reciprocal_gap(xp, w, w, same)
            inner = turn - (adjoint(xp, v) @ v) * xp.linalg.diagonal(turn)[..., None, :]
            inner = inner * kappa[..., :, None]
            terms.append(turn_error(xp, gap, inner, width))
            # the frame is not orthonormal, and known to that as well
            size = xp.abs(gap)
            terms.append((norm(xp, size * width) * norm(xp, size * inner))[..., 0, 0])
        return total(*terms)


_LOST = 1e-4
"""The relative error of a derivative that is reported: eps kappa^2."""


@dataclasses.dataclass(frozen=True)
class Eig(Rule):
    """(w, V, W, B, |A|) of A (..., n, n), complex; `real` says that A is real.

    The Frobenius norm |A| (..., 1), without derivative, sets the width of the clusters: an
    eigenvalue may be far smaller than the rounding errors of its matrix.
    """

    real: bool = False
    checks: Checks | None = None

    def evaluate(self, solvers, inputs, outputs=None):
        (a,) = inputs
        xp = solvers.xp
        a, scale = _scaled(xp, a)
        if outputs == 1:
            return (solvers.eigvals(a) * scale,)
        w, v, y = solvers.eig(a, left=outputs != 2)
        norm = xp.sqrt(xp.sum(xp.sum(xp.abs(a) ** 2, axis=-1), axis=-1))[..., None]
        if self.checks and self.checks.strict:
            same = _same(xp, w, xp.zeros_like(norm) + 1, norm)
            v = turned(solvers, v, same, self.checks.strict)
            v = v / xp.sqrt(xp.sum(xp.abs(v) ** 2, axis=-2))[..., None, :]
            y = None if y is None else turned(solvers, y, same, self.checks.strict)
        if outputs == 2:
            return w * scale, v
        if y is None:
            inverse = solvers.solve(v, diagonal_matrix(xp, xp.zeros_like(w) + 1, v.dtype))
        else:
            inverse = _biorthogonal(solvers, w, v, y, norm)
        w = w * scale
        return w, v, inverse, diagonal_matrix(xp, w, v.dtype), norm * scale

    @property
    def _watch(self) -> Watch:
        assert self.checks
        return Watch(EigReport(), self.checks, 4)

    def jvp(self, ops, inputs, outputs, tangents):
        w, v, inverse, b, norm = outputs
        (da,) = tangents
        xp = ops.xp
        av = xp.astype(da, v.dtype) @ v
        dw = xp.sum(inverse * xp.matrix_transpose(av), axis=-1)  # diag P, without the rest
        p = inverse @ av  # P = W dA V
        same = _clusters(ops, _simple(ops, *outputs), *outputs)
        (omega,) = ops.solve(Sylvester(), (same,), (b, b), (p,))
        d = -xp.sum(xp.conj(v) * (v @ omega), axis=-2)  # D = -diag(V^H V Omega)
        turn = omega + diagonal_matrix(xp, d, v.dtype)
        if self.checks:
            dw, turn = ops.call(self._watch, w, v, inverse, norm, dw, turn)
        db = p - d[..., :, None] * b + b * d[..., None, :]
        return (
            dw,
            v @ turn,
            -(turn @ inverse),
            xp.where(same, db, xp.zeros_like(db)),
            xp.zeros_like(norm),
        )

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        w, v, inverse, b, norm = outputs
        gw, gv, ginv, gb, _ = cotangents
        xp = ops.xp
        wh, vh = adjoint(xp, inverse), adjoint(xp, v)
        turns, along = [], []
        if gv is not None:
            turns.append(vh @ gv)
            along.append(xp.sum(xp.conj(v) * gv, axis=-2))
        if ginv is not None:
            turns.append(-(ginv @ wh))
            along.append(-xp.sum(ginv * xp.conj(inverse), axis=-1))
        turn, d = total(*turns), total(*along)
        values = turn is None and gb is None
        simple = (not values or bool(self.checks)) and _simple(ops, *outputs)
        quiet = simple and not recording(self.checks)
        if self.checks and not (quiet and phases_fixed(ops, turn)):
            gw, turn = self._watch.seen(ops, (w, v, inverse, norm), (gw, turn))
        if values:
            ga = (wh * gw[..., None, :]) @ vh
            return (xp.real(ga) if self.real else ga,)
        same = _clusters(ops, simple, *outputs)
        inner = []
        if gb is not None:
            gb = xp.where(same, gb, xp.zeros_like(gb))
            seen = gb * xp.conj(b)
            d = total(d, xp.sum(seen, axis=-2) - xp.sum(seen, axis=-1))
            inner.append(gb)
        turn = total(turn, -((vh @ v) * d[..., None, :]))
        inner += ops.solve(Sylvester(), (same,), (b, b), (turn,), adjoint=True)
        if gw is not None:
            inner.append(diagonal_matrix(xp, gw, v.dtype))
        ga = wh @ total(*inner) @ vh
        return (xp.real(ga) if self.real else ga,)


def _simple(ops: Ops, w: Array, v: Array, inverse: Array, b: Array, norm: Array) -> bool:
    """Whether it is known at once that all eigenvalues are simple, and none nearly defective.

    No condition number is larger than |W|, and no two values are nearer to each other than
    on a line, here one on which conjugate values stay apart.
    """
    values, size, kappa = ops.listed(w), ops.listed(norm), ops.norm(inverse)
    if not values or not size or kappa is None:
        return ops.rules_out(_doubtful, *map(ops.constant, (w, inverse, norm)))
    xp, n = ops.xp, len(values)
    line = sorted([0.8 * z.real + 0.6 * z.imag for z in values])
    gap = min(map(operator.sub, line[1:], line), default=math.inf)
    # false for NaN
    return gap > kappa * width(xp, norm, n) * size[0] and not _loses(xp, norm, kappa)


def _doubtful(xp: Any, w: Array, inverse: Array, norm: Array) -> Array:
    """The opposite of `_simple` for stacks, (...), with n max |W_ij| for |W|."""
    n = w.shape[-1]
    kappa = n * xp.max(xp.abs(inverse), axis=(-2, -1))
    line = xp.sort(0.8 * xp.real(w) + 0.6 * xp.imag(w), axis=-1)
    tau = kappa[..., None] * tolerance(xp, norm, n)
    close = xp.any(~(line[..., 1:] - line[..., :-1] > tau), axis=-1)  # True for NaN
    return close | _defective(xp, kappa[..., None])


def _clusters(
    ops: Ops, simple: bool, w: Array, v: Array, inverse: Array, b: Array, norm: Array
) -> Array:
    """Pairs in one cluster, (..., n, n)."""
    if simple:
        return ops.diagonal(w)
    kappa = _condition(ops.xp, ops.constant(inverse))
    return _same(ops.xp, ops.constant(w), kappa, ops.constant(norm))


def _crowded(xp: Any, same: Array) -> Array:
    """Whether there is a pair of different values in one cluster, (...)."""
    return xp.sum(xp.sum(xp.astype(same, xp.float32), axis=-1), axis=-1) > same.shape[-1]


def _defective(xp: Any, kappa: Array) -> Array:
    """Whether an eigenvalue is nearly defective, (...)."""
    return _loses(xp, kappa, xp.max(kappa, axis=-1))


def _loses(xp: Any, like: Array, kappa: Any) -> Any:
    """Whether a condition number costs so many digits of the precision of an array."""
    return kappa**2 * float(xp.finfo(like.dtype).eps) > _LOST


def _condition(xp: Any, inverse: Array) -> Array:
    """kappa_j = |W_j|, the condition numbers of the eigenvalues: |dw_j| <= kappa_j |dA|."""
    size = xp.abs(inverse)
    largest = (xp.max if size.shape[-1] else xp.sum)(size, axis=-1, keepdims=True)
    relative = size / largest  # the square of a row may overflow
    return largest[..., 0] * xp.sqrt(xp.sum(relative * relative, axis=-1))


def _same(xp, w: Array, kappa: Array, norm: Array) -> Array:
    """Pairs of eigenvalues nearer than their own backward error, kappa times the solver's."""
    tau = tolerance(xp, norm, w.shape[-1])[..., None]
    distance = xp.abs(w[..., :, None] - w[..., None, :])
    return distance <= tau * (kappa[..., :, None] + kappa[..., None, :]) / 2


def _scaled(xp, a: Array) -> tuple[Array, Array]:
    """A and a power of two whose product is the given matrix, max |a_ij| of order one.

    The factor is NaN for a matrix with entries that are not finite.

    geev in LAPACK, as SciPy and JAX call it, returns wrong eigenvalues for matrices whose
    norm is far from one (in double from about 1e138 up and 1e-140 down).
    """
    if a.shape[-1] == 0:
        return a, 1 + xp.sum(xp.sum(xp.abs(a), axis=-1), axis=-1)[..., None]
    size = xp.max(xp.max(xp.abs(a), axis=-1), axis=-1)
    down, up = (x[..., None] for x in powers_of_two(xp, size))
    # geev of MKL (PyTorch) returns finite eigenvalues for NaN entries
    up = xp.where(xp.isfinite(size)[..., None], up, float("nan") * xp.zeros_like(up))
    return a * xp.astype(down[..., None], a.dtype), up


def _biorthogonal(solvers: Solvers, w: Array, v: Array, y: Array, norm: Array) -> Array:
    """W with W V = I from the left eigenvectors, the columns of y.

    W = N^-1 Y^H with N = Y^H V, of which only the blocks of the clusters are kept: for
    simple eigenvalues that is the division by y_j^H v_j, and inside a semisimple cluster
    it makes the two bases dual to each other, which geev does not.
    """
    xp = solvers.xp
    yh = adjoint(xp, y)
    n = yh @ v
    kappa = 1 / xp.abs(xp.linalg.diagonal(n))
    same = _same(xp, w, kappa, norm)
    return solvers.solve(xp.where(same, n, xp.zeros_like(n)), yh)
