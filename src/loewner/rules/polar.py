"""A = W H V^H = U P with V held fixed, W^H W = I and H Hermitian: the polar decomposition.

V are the right singular vectors at the value of A (m, n), m >= n, and do not turn, so that
H is diagonal in value. With X = W^H dA V,

    Omega H + H Omega = X - X^H,        K H = dA V - W X,
    dW = W Omega + K,    dU = dW V^H,   dH = herm(X - Omega H).                           (1)

Of two singular values only their sum is divided by, which is why the orthogonal factor is
smooth where they repeat, and, for real square A, where one of them vanishes: the diagonal of
X - X^H is zero. Where another sum vanishes there is no solution, and Omega is NaN unless
X - X^H is zero there. Adjoint: with Y the solution of the first equation for
Omega* = skew(W^H W* - herm(H*) H), and K* that of the second for W*,

    X* = 2 Y + herm(H*) - W^H K*,        A* = (W X* + K*) V^H.                            (2)

A cotangent U* of U = W V^H, the orthonormal factor of A, is one of W, U* V.

The Hermitian factor is H where it is differentiable; where singular values vanish it is not,
as |s| is not.

The rotation is that of the nearest W of determinant one: the last column of U and the last
singular value change their sign where det(U V^H) = -1.

Higham, Functions of Matrices (2008), chapter 8; Kenney and Laub, SIMAX 12 (1991), for the
condition number; Kabsch, Acta Cryst. A 32 (1976), and Umeyama, IEEE PAMI 13 (1991), for
the rotation.
"""

from __future__ import annotations

import dataclasses

from .pieces import adjoint, herm, positions, real, skew, tolerance, total
from .reports import Checks, FiniteReport, Watch, watch
from .rule import Array, Ops, Rule
from .singular import singular_vectors
from .sylvester import Defined, RightDivision, Sylvester


@dataclasses.dataclass(frozen=True)
class Polar(Rule):
    """(U, W, H, V, P) of a tall A: U and W (..., m, n), the others (..., n, n); P = H.

    A = W H V^H; U = W V^H is its orthonormal factor, which W is in the frame V. `wide` says that
    the solver is to be handed A^H, `rotation` that det(U) = 1 is wanted (A real, square).
    """

    recorded = ("evaluate", "vjp")
    rotation: bool = False
    wide: bool = False
    checks: Checks | None = None

    @property
    def _watch(self) -> Watch | None:
        return watch(FiniteReport(), self.checks, 1)

    def evaluate(self, solvers, inputs, outputs=None):
        (a,) = inputs
        xp = solvers.xp
        s, u, v = singular_vectors(solvers, a, self.wide)
        if self.rotation and s.shape[-1]:
            # one determinant: two stacks of them at a time may wait for each other in JAX
            negative = xp.linalg.det(u @ adjoint(xp, v))[..., None] < 0
            i = positions(xp, s)
            flip = xp.where(
                negative & (i == s.shape[-1]), xp.zeros_like(s) - 1, xp.zeros_like(s) + 1
            )
            u, s = u * flip[..., None, :], s * flip
        unitary = u @ adjoint(xp, v)
        if outputs == 1:
            return (unitary,)
        # two arrays: the outputs of a rule are told apart by their identity
        h, p = (solvers.diagonal_matrix(s, v.dtype) for _ in range(2))
        return unitary, u, h, v, p

    @staticmethod
    def _masks(ops: Ops, w: Array, h: Array) -> tuple[tuple[Array, Array], Array]:
        """Pairs whose singular values both vanish, less those that do no harm, and values that do.

        (..., n, n) twice and (..., n). A pair is twice the same value on the diagonal; there
        X - X^H is zero if it is real.
        """
        xp = ops.xp
        s = ops.constant(real(xp, xp.linalg.diagonal(h)))
        tau = tolerance(xp, s, w.shape[-2])
        pairs = xp.abs(s[..., :, None] + s[..., None, :]) <= tau[..., None]
        lost = pairs
        if not xp.isdtype(w.dtype, "complex floating"):
            i = positions(xp, s)
            lost = pairs & ~(i[..., :, None] == i[..., None, :])
        return (pairs, lost), xp.abs(s) <= tau

    def jvp(self, ops, inputs, outputs, tangents):
        _, w, h, v, _ = outputs
        (da,) = tangents
        xp = ops.xp
        if self._watch:
            (da,) = ops.call(self._watch, real(xp, xp.linalg.diagonal(h)), da)
        pairs, zero = self._masks(ops, w, h)
        v = ops.constant(v)
        y = da @ v
        x = adjoint(xp, w) @ y  # X = W^H dA V
        (omega,) = ops.solve(Sylvester(), pairs, (-h, h), (x - adjoint(xp, x),))
        omega = skew(xp, omega)  # as it is; its adjoint takes the skew part of a cotangent first
        dw = w @ omega
        if w.shape[-2] > w.shape[-1]:
            dw = dw + ops.solve(RightDivision(), (zero,), (h,), (y - w @ x,))[0]
        dh = herm(xp, x - omega @ h)
        (dp,) = ops.solve(Defined(), pairs[:1], (), (dh,))
        return dw @ adjoint(xp, v), dw, dh, xp.zeros_like(v), dp

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        _, w, h, v, _ = outputs
        gu, gw, gh, _, gp = cotangents
        xp = ops.xp
        v = ops.constant(v)
        if gu is not None:
            gw = total(gw, gu @ v)
        pairs, zero = self._masks(ops, w, h)
        if gp is not None:
            gh = total(gh, *ops.solve(Defined(), pairs[:1], (), (herm(xp, gp),), adjoint=True))
        gx, outer = [], None
        turn = [] if gw is None else [adjoint(xp, w) @ gw]
        if gh is not None:
            gh = herm(xp, gh)
            turn.append(-gh @ h)
            gx.append(gh)
        if turn:
            turned = skew(xp, total(*turn))
            (y,) = ops.solve(Sylvester(), pairs, (-h, h), (turned,), adjoint=True)
            gx.append(2 * y)
        if gw is not None and w.shape[-2] > w.shape[-1]:
            (outer,) = ops.solve(RightDivision(), (zero,), (h,), (gw,), adjoint=True)
            gx.append(-(adjoint(xp, w) @ outer))
        if not gx:
            return (xp.zeros_like(w) @ adjoint(xp, v),)
        ga = total(w @ total(*gx), outer) @ adjoint(xp, v)
        if self._watch:
            (ga,) = self._watch.seen(ops, (real(xp, xp.linalg.diagonal(h)),), (ga,))
        return (ga,)
