"""The one equation behind every rule: how a frame turns.

A decomposition is a frame W and a core B, A = W B W^-1. With dW = W Omega,

    W^-1 dA W = dB + Omega B - B Omega,

and, split into the blocks of the clusters, dB takes the blocks and Omega the rest:

    Omega B2 - B1 Omega = X  off the mask,     Omega = 0  on it.                  (1)

The cores are diagonal in value, so that (1) is a division by gaps, but full inside the
clusters in tangent, so that its derivative is right where eigenvalues repeat. Higher
orders see the tangent through `apply` and `coefficients_gradient` alone.
"""

from __future__ import annotations

import dataclasses

from .pieces import adjoint, conj, real, reciprocal_gap, undefined
from .rule import LinearEquation


@dataclasses.dataclass(frozen=True)
class Sylvester(LinearEquation):
    """f (Omega B2 - B1 Omega) = X: coefficients (B1, B2), masks (same[, lost]), unknown (Omega,).

    Bartels and Stewart's equation (LAPACK trsyl); B1, B2 and X are (..., n, n). The number f,
    `factor`, saves a pass over X that would divide it.

    Where there is no solution, on `lost`, a part of the mask, Omega is NaN unless X is zero.
    """

    factor: float = 1.0

    def apply(self, xp, c, x):
        b1, b2 = c
        (omega,) = x
        return (self._times(omega @ b2 - b1 @ omega),)

    def apply_adjoint(self, xp, c, y):
        b1, b2 = c
        (y,) = y
        return (self._times(y @ adjoint(xp, b2) - adjoint(xp, b1) @ y),)

    def coefficients_gradient(self, xp, x, y):
        (omega,), (y,) = x, y
        omega = self._times(adjoint(xp, omega))
        return -(y @ omega), omega @ y

    def solve(self, xp, masks, c, rhs):
        return (self._divided(xp, *self._diagonals(xp, c), masks, rhs[0]),)

    def solve_adjoint(self, xp, masks, c, rhs):
        b1, b2 = (conj(xp, b) for b in self._diagonals(xp, c))
        return (self._divided(xp, b1, b2, masks, rhs[0]),)

    def _times(self, x):
        return x if self.factor == 1 else self.factor * x

    def _diagonals(self, xp, c):
        b1, b2 = c
        first = self._times(xp.linalg.diagonal(b1))
        return first, first if b2 is b1 else self._times(xp.linalg.diagonal(b2))

    @staticmethod
    def _divided(xp, b1, b2, masks, x):
        omega = reciprocal_gap(xp, b1, b2, masks[0], x)
        return omega if len(masks) == 1 else omega + undefined(xp, masks[1], x)


@dataclasses.dataclass(frozen=True)
class RightDivision(LinearEquation):
    """K B = Y: coefficient (B,), mask (zero,) or none, unknown (K,); B (..., n, n), Y (..., m, n).

    The part of the turn outside a span, where the other core of (1) is zero. NaN in the
    columns of the mask, unless Y is zero.
    """

    def apply(self, xp, c, x):
        return (x[0] @ c[0],)

    def apply_adjoint(self, xp, c, y):
        return (y[0] @ adjoint(xp, c[0]),)

    def coefficients_gradient(self, xp, x, y):
        return (adjoint(xp, x[0]) @ y[0],)

    def solve(self, xp, masks, c, rhs):
        s = real(xp, xp.linalg.diagonal(c[0]))[..., None, :]
        if not masks:
            return (rhs[0] * (1 / s),)
        zero = masks[0][..., None, :]
        return (rhs[0] * (1 / xp.where(zero, xp.inf, s)) + undefined(xp, zero, rhs[0]),)

    def solve_adjoint(self, xp, masks, c, rhs):
        return self.solve(xp, masks, c, rhs)  # at a real diagonal core


@dataclasses.dataclass(frozen=True)
class Defined(LinearEquation):
    """X as it is, but NaN on the mask, where it has no derivative, unless it is zero there."""

    def apply(self, xp, c, x):
        return x

    def apply_adjoint(self, xp, c, y):
        return y

    def coefficients_gradient(self, xp, x, y):
        return ()

    def solve(self, xp, masks, c, rhs):
        return (rhs[0] + undefined(xp, masks[0], rhs[0]),)

    def solve_adjoint(self, xp, masks, c, rhs):
        return self.solve(xp, masks, c, rhs)


@dataclasses.dataclass(frozen=True)
class CoupledSylvester(LinearEquation):
    """How the two frames of A = U B V^H turn: the generalized Sylvester equation (LAPACK tgsyl).

    The Sylvester equation (1) of the Hermitian dilation [0 A; A^H 0], written in its
    blocks. With dU = U L + K, dV = V R, T = K^H, the core B (..., k, k) and, if A is
    tall, the part C (..., m, k) of A V outside the span of U (zero in value; in tangent
    it lives in the columns of vanishing singular values, where U and its complement
    cannot be told apart):

        L B   - B R   - T C   = P            P = U^H dA V
        R B^H - B^H L - C^H K = P^H
        K B   - C R           = Y            Y = dA V
        B^H T + R C^H         = Y^H
        Q B                   = P                                                  (2)

    K is solved with the whole of dA V and its part U Q inside the span is taken off
    afterwards, Q = U^H K, which saves the product that projects Y. The gaps are
    s_j - s_i, s_j + s_i and s_j; no square of a singular value is formed. Masks: same
    (..., k, k), pairs in one cluster; zero (..., k), values in its cluster, if there are any.
    """

    tall: bool

    def apply(self, xp, c, x):
        if not self.tall:
            (b,), (left, right) = c, x
            bh = adjoint(xp, b)
            return left @ b - b @ right, right @ bh - bh @ left
        b, cc = c
        left, right, k, t, q = x
        bh, ch = adjoint(xp, b), adjoint(xp, cc)
        return (
            left @ b - b @ right - t @ cc,
            right @ bh - bh @ left - ch @ k,
            k @ b - cc @ right,
            bh @ t + right @ ch,
            q @ b,
        )

    def apply_adjoint(self, xp, c, y):
        b, bh = c[0], adjoint(xp, c[0])
        y1, y2, *rest = y
        left = y1 @ bh - b @ y2
        right = y2 @ b - bh @ y1
        if not self.tall:
            return left, right
        cc, ch = c[1], adjoint(xp, c[1])
        y3, y4, y5 = rest
        return (
            left,
            right - ch @ y3 + y4 @ cc,
            y3 @ bh - cc @ y2,
            b @ y4 - y1 @ ch,
            y5 @ bh,
        )

    def coefficients_gradient(self, xp, x, y):
        left, right, *outer = x
        y1, y2, *rest = y
        y2h = adjoint(xp, y2)
        gb = adjoint(xp, left) @ y1 - y1 @ adjoint(xp, right) + y2h @ right - left @ y2h
        if not self.tall:
            return (gb,)
        k, t, q = outer
        y3, y4, y5 = rest
        y4h = adjoint(xp, y4)
        gb = gb + adjoint(xp, k) @ y3 + t @ y4h + adjoint(xp, q) @ y5
        gc = y4h @ right - adjoint(xp, t) @ y1 - k @ y2h - y3 @ adjoint(xp, right)
        return gb, gc

    def solve(self, xp, masks, c, rhs):
        same, *zero = masks
        s = real(xp, xp.linalg.diagonal(c[0]))
        p, ph, *rest = rhs
        both_zero = zero[0][..., :, None] & zero[0][..., None, :] if zero else None
        # turn together: 1/(s_j - s_i), and against each other: 1/(s_j + s_i)
        common = reciprocal_gap(xp, s + s, s + s, same, p + ph)
        against = reciprocal_gap(xp, -s - s, s + s, both_zero, p - ph)
        turns = common + against, common - against
        if not self.tall:
            return turns
        y, yh, q = rest
        origin = xp.zeros_like(xp.sum(s, axis=-1, keepdims=True))
        column = zero[0][..., None, :] if zero else None
        inverse = reciprocal_gap(xp, origin, s, column)  # 1/s_j
        return (*turns, y * inverse, xp.matrix_transpose(inverse) * yh, q * inverse)

    def solve_adjoint(self, xp, masks, c, rhs):
        return self.solve(xp, masks, c, rhs)  # at a real diagonal core M is Hermitian
