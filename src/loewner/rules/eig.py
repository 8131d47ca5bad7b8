"""A = V B W with W V = I and unit columns of V: the eigenproblem of a general matrix.

With P = W dA V and M the mask of the clusters,

    Omega B - B Omega = P off M,       D = -diag(V^H V Omega),
    dw = diag P,       dB = M o (P - D B + B D),
    dV = V (Omega + D),       dW = -(Omega + D) W.                                       (1)

D takes from dv_j what lies along v_j: |v_j| stays 1 and the phase does not turn (the
horizontal choice), so a loss that sees |v| is right. Adjoint, for cotangents gw, gV, gW, gB:

    d    = diag(V^H gV - gW W^H) - rowsum(M o gB o conj B) + colsum(M o gB o conj B),
    gOmega = V^H (gV - V diag d) - gW W^H,
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

from .pieces import adjoint, diagonal_matrix, powers_of_two, tolerance, total
from .rule import Array, Ops, Rule, Solvers
from .sylvester import Sylvester


@dataclasses.dataclass(frozen=True)
class Eig(Rule):
    """(w, V, W, B, |A|) of A (..., n, n), complex; `real` says that A is real.

    The Frobenius norm |A| (..., 1), without derivative, sets the width of the clusters: an
    eigenvalue may be far smaller than the rounding errors of its matrix.
    """

    real: bool = False

    def evaluate(self, solvers, inputs, outputs=None):
        (a,) = inputs
        xp = solvers.xp
        a, scale = _scaled(xp, a)
        if outputs == 1:
            return (solvers.eigvals(a) * scale,)
        w, v, y = solvers.eig(a, left=outputs != 2)
        if outputs == 2:
            return w * scale, v
        norm = xp.sqrt(xp.sum(xp.sum(xp.abs(a) ** 2, axis=-1), axis=-1))[..., None]
        if y is None:
            inverse = solvers.solve(v, diagonal_matrix(xp, xp.zeros_like(w) + 1, v.dtype))
        else:
            inverse = _biorthogonal(solvers, w, v, y, norm)
        w = w * scale
        return w, v, inverse, diagonal_matrix(xp, w, v.dtype), norm * scale

    def jvp(self, ops, inputs, outputs, tangents):
        w, v, inverse, b, norm = outputs
        (da,) = tangents
        xp = ops.xp
        av = xp.astype(da, v.dtype) @ v
        dw = xp.sum(inverse * xp.matrix_transpose(av), axis=-1)  # diag P, without the rest
        p = inverse @ av  # P = W dA V
        same = _clusters(ops, w, inverse, norm)
        (omega,) = ops.solve(Sylvester(), (same,), (b, b), (p,))
        dv = v @ omega
        d = -xp.sum(xp.conj(v) * dv, axis=-2)  # D = -diag(V^H V Omega)
        db = p - d[..., :, None] * b + b * d[..., None, :]
        return (
            dw,
            dv + v * d[..., None, :],
            -(omega @ inverse + d[..., :, None] * inverse),
            xp.where(same, db, xp.zeros_like(db)),
            xp.zeros_like(norm),
        )

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        w, v, inverse, b, norm = outputs
        gw, gv, ginv, gb, _ = cotangents
        xp = ops.xp
        wh, vh = adjoint(xp, inverse), adjoint(xp, v)
        if gv is None and ginv is None and gb is None:
            ga = (wh * gw[..., None, :]) @ vh
            return (xp.real(ga) if self.real else ga,)
        same = _clusters(ops, w, inverse, norm)
        d, inner = [], []
        if gv is not None:
            d.append(xp.sum(xp.conj(v) * gv, axis=-2))
        if ginv is not None:
            d.append(-xp.sum(ginv * xp.conj(inverse), axis=-1))
        if gb is not None:
            gb = xp.where(same, gb, xp.zeros_like(gb))
            seen = gb * xp.conj(b)
            d.append(xp.sum(seen, axis=-2) - xp.sum(seen, axis=-1))
            inner.append(gb)
        if gw is not None:
            inner.append(diagonal_matrix(xp, gw, v.dtype))
        if d:
            along = v * total(*d)[..., None, :]
            turn = vh @ (-along if gv is None else gv - along)
            if ginv is not None:
                turn = turn - ginv @ wh
            inner += ops.solve(Sylvester(), (same,), (b, b), (turn,), adjoint=True)
        ga = wh @ total(*inner) @ vh
        return (xp.real(ga) if self.real else ga,)


def _clusters(ops: Ops, w: Array, inverse: Array, norm: Array) -> Array:
    """Pairs in one cluster, (..., n, n).

    The condition number of an eigenvalue is kappa_j = |W_j|: |dw_j| <= kappa_j |dA|.
    """
    xp = ops.xp
    size = xp.abs(ops.constant(inverse))
    largest = (xp.max if size.shape[-1] else xp.sum)(size, axis=-1, keepdims=True)
    relative = size / largest  # the square of a row may overflow
    kappa = largest[..., 0] * xp.sqrt(xp.sum(relative * relative, axis=-1))
    return _same(xp, ops.constant(w), kappa, ops.constant(norm))


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
