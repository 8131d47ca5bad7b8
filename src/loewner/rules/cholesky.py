"""A = L L^H, L lower triangular with a positive diagonal, and W = L^-1.

With P = W dA W^H and low(P) its lower triangle with half its diagonal,

    dL = L low(P),      dW = -low(P) W.                                                   (1)

Adjoint: A* = W^H herm( low*( L^H L* - W* W^H ) ) W, low* taking the lower triangle with half
its diagonal as well.                                                                     (2)

Murray, arXiv:1602.07527 (2016); Smith, J. Comput. Graph. Stat. 4 (1995).
"""

from __future__ import annotations

import dataclasses

from .pieces import adjoint, diagonal_matrix, herm, hermitian_from_triangle, positions, total
from .rule import Array, Rule


@dataclasses.dataclass(frozen=True)
class Cholesky(Rule):
    """(L, W) of the Hermitian positive definite matrix in the lower triangle of A."""

    def evaluate(self, solvers, inputs, outputs=None):
        xp = solvers.xp
        a = hermitian_from_triangle(xp, inputs[0], True)
        factor = solvers.cholesky(a)
        one = diagonal_matrix(xp, xp.linalg.diagonal(factor) * 0 + 1, factor.dtype)
        return factor, solvers.solve_triangular(factor, one, lower=True)

    def jvp(self, ops, inputs, outputs, tangents):
        factor, inverse = outputs
        (da,) = tangents
        xp = ops.xp
        p = _low(xp, inverse @ herm(xp, da) @ adjoint(xp, inverse))
        return factor @ p, -(p @ inverse)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        factor, inverse = outputs
        gfactor, ginverse = cotangents
        xp = ops.xp
        g = total(
            None if gfactor is None else adjoint(xp, factor) @ gfactor,
            None if ginverse is None else -(ginverse @ adjoint(xp, inverse)),
        )
        return (adjoint(xp, inverse) @ herm(xp, _low(xp, g)) @ inverse,)


def _low(xp, p: Array) -> Array:
    """The lower triangle with half the diagonal."""
    i = positions(xp, xp.sum(p, axis=-2))
    row, column = i[..., :, None], i[..., None, :]
    half = xp.where(row == column, p / 2, xp.zeros_like(p))
    return xp.where(row > column, p, half)
