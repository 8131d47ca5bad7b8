"""A = (U C + K) V^H with U and V held fixed: functions of singular values.

The frames are those of the singular vectors at the value of A (m, n), m >= n, and do not
turn. The core C = U^H A V is diagonal in value, K, the part of A V outside the span of U,
is zero in value, and they carry all of the derivative:

    dC = U^H dA V,      dK = dA V - U dC,      A* = (U C* + K* - U U^H K*) V^H.           (1)

U f(S) V^H with f odd is the upper right block of f of the Hermitian dilation [0 A; A^H 0],
whose eigenvalues are s, -s and 0. In its frame (u, v)/sqrt 2, (u, -v)/sqrt 2 and the rest,

    B = [ herm C   -skew C   K^H/sqrt 2 ]
        [ skew C   -herm C  -K^H/sqrt 2 ],                                                (2)
        [ K/sqrt 2 -K/sqrt 2     0      ]

it is F_0(B), and its derivatives are the operator integrals of B, with f[s_i, s_j] on the
Hermitian part of dC, f[s_i, -s_j] on its skew part and f[s_j, 0] on dK.

Noferini, SIMAX 38 (2017); Hawkins and Ben-Israel, Linear Multilinear Algebra 1 (1973).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..kernels.decomposition import Decomposition
from .operator_integral import DataGradient, OperatorIntegral, conjugate
from .pieces import adjoint, filled, herm, like, real, skew, total
from .reports import Checks, FiniteReport, Watch, watch
from .rule import Array, Arrays, Rule, Solvers
from .symbols import Symbol


def singular_vectors(solvers: Solvers, a: Array, wide: bool) -> tuple[Array, Array, Array]:
    """s, U and V of a tall A, of which the solver is handed the adjoint if it is `wide`.

    NaN where A is not finite.
    """
    xp, how = solvers.xp, Decomposition("svd", marked=True)
    u, s, vh = solvers.decompose(how, adjoint(xp, a) if wide else a)
    u, v = (adjoint(xp, vh), u) if wide else (u, adjoint(xp, vh))
    return s, u, v


def extended(xp: Any, data: Array, parity: float, rest: bool, origin: Array | None = None) -> Array:
    """Data (..., d, n), f, f', ... at s, extended to (s, -s) by the parity of f.

    With a rest to zero as well, where the data are those of `origin`, zeros by default.
    """
    rows = [data[..., j : j + 1, :] for j in range(data.shape[-2])]
    left = xp.concat([(parity * (-1.0) ** j) * row for j, row in enumerate(rows)], axis=-2)
    if not rest:
        return xp.concat([data, left], axis=-1)
    origin = xp.zeros_like(data[..., :1]) if origin is None else origin
    return xp.concat([data, left, origin], axis=-1)


@dataclasses.dataclass(frozen=True)
class SingularFrame(Rule):
    """(s, U, V, C[, K]) of a tall A; s, U and V are constants, and K only if m > n.

    `wide` says that the solver is to be handed A^H, as for `Svd`.
    """

    wide: bool = False
    checks: Checks | None = None

    @property
    def _watch(self) -> Watch | None:
        return watch(FiniteReport(), self.checks, 1)

    def values(self, solvers: Solvers, a: Array) -> Array:
        given = adjoint(solvers.xp, a) if self.wide else a
        (s,) = solvers.decompose(Decomposition("svdvals", marked=True), given)
        return s

    copies = 2
    """Each singular value is twice an eigenvalue of the dilation, up to sign."""

    def function(self, symbol: Symbol) -> Rule:
        return SingularFunction(symbol)

    def operator(self, xp: Any, parts: Arrays) -> Arrays:
        """The dilation, as operator integrals take it, from U, V, C[, K]."""
        return _dilation(xp, parts[2:])

    def evaluate(self, solvers, inputs, outputs=None):
        (a,) = inputs
        xp = solvers.xp
        m, n = a.shape[-2:]
        s, u, v = singular_vectors(solvers, a, self.wide)
        c = solvers.diagonal_matrix(s, v.dtype)
        # made from s, so that it has the batch of the others under any vmap
        return (s, u, v, c) if m == n else (s, u, v, c, xp.zeros_like(a) + 0 * s[..., None, :])

    def jvp(self, ops, inputs, outputs, tangents):
        s, u, v, _, *k = outputs
        (da,) = tangents
        xp = ops.xp
        if self._watch:
            (da,) = ops.call(self._watch, s, da)
        u, v = ops.constant(u), ops.constant(v)
        y = da @ v
        dc = adjoint(xp, u) @ y
        dk = [y - u @ dc] if k else []
        return xp.zeros_like(s), xp.zeros_like(u), xp.zeros_like(v), dc, *dk

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        s, u, v, c, *k = outputs
        gc, gk = cotangents[3], (cotangents[4] if k else None)
        xp = ops.xp
        u, v = ops.constant(u), ops.constant(v)
        if gk is not None:
            gc = total(gc, -(adjoint(xp, u) @ gk))
        inner = u @ (xp.zeros_like(c) if gc is None else gc)
        ga = total(inner, gk) @ adjoint(xp, v)
        watch = self._watch
        return watch.seen(ops, (s,), (ga,)) if watch else (ga,)


@dataclasses.dataclass(frozen=True)
class SingularFunction(Rule):
    """U f(S) V^H, f odd, from U, V, C[, K] and the data of the symbol at (s, -s, 0).

    Data (..., d, 2n), or (..., d, 2n + 1) where there is K.
    """

    symbol: Symbol
    needs_inputs = True
    linear = True

    def _split(self, flat: Arrays) -> tuple[Array, Array, Arrays, Arrays]:
        """U, V, the core (C[, K]) and the data."""
        u, v, *core = flat
        d = len(core) - self.symbol.data
        return u, v, tuple(core[:d]), tuple(core[d:])

    def evaluate(self, solvers, inputs, outputs=None):
        u, v, core, data = self._split(inputs)
        xp = solvers.xp
        s = real(xp, xp.linalg.diagonal(core[0]))
        x = xp.concat([s, -s, xp.zeros_like(s[..., :1])] if len(core) > 1 else [s, -s], axis=-1)
        points = self.symbol.points(xp, x, *data)
        f = self.symbol.value(xp, points)[..., : s.shape[-1]]
        dtype = xp.result_type(f.dtype, u.dtype) if f.dtype != s.dtype else u.dtype
        u, v = (x if x.dtype == dtype else xp.astype(x, dtype) for x in (u, v))
        return ((u * xp.astype(f, dtype)[..., None, :]) @ adjoint(xp, v),)

    def jvp(self, ops, inputs, outputs, tangents):
        u, v, core, data = self._split(inputs)
        _, _, dcore, ddata = self._split(tangents)
        xp, terms = ops.xp, []
        if any(x is not None for x in dcore):
            dcore = filled(xp, dcore, core)
            rule = OperatorIntegral(self.symbol, 1, len(core) > 1)
            moved = ops.call(rule, *_dilation(xp, core), *data, *_dilation(xp, dcore))
            inner, outer = _block(xp, moved)
            u, vh = (like(xp, x, inner) for x in (u, adjoint(xp, v)))
            terms.append(total(u @ inner, outer) @ vh)
        if ddata and ddata[0] is not None:
            terms += ops.call(self, *inputs[:2], *core, ddata[0], *data[1:])
        return (total(*terms),) if terms else (xp.zeros_like(outputs[0]),)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        u, v, core, data = self._split(inputs)
        _, _, want_core, want_data = self._split(tuple(wanted))
        (g,) = cotangents
        xp = ops.xp
        b, rest = _dilation(xp, core), len(core) > 1
        gv = g @ like(xp, v, g)
        uh = like(xp, adjoint(xp, u), g)
        g = _block_adjoint(xp, uh @ gv, gv if rest else None)
        gcore: Arrays = (None,) * len(core)
        gdata: Arrays = (None,) * len(data)
        if any(want_core):
            rule = OperatorIntegral(self.symbol, 1, rest)
            found = ops.call(rule, *b, *conjugate(xp, data), *g)
            gcore = tuple(
                like(xp, x, y) for x, y in zip(_dilation_adjoint(xp, found), core, strict=True)
            )
        if data and want_data[0]:
            gdata = (*ops.call(DataGradient(self.symbol, 0, rest), *b, *data, *g), *gdata[1:])
        return (None, None, *gcore, *gdata)


def _dilation(xp: Any, core: Arrays) -> Arrays:
    """(2) in its parts: explicit, rest from explicit, explicit from rest."""
    c = core[0]
    h, k = herm(xp, c), skew(xp, c)
    explicit = xp.concat(
        [xp.concat([h, -k], axis=-1), xp.concat([k, -h], axis=-1)],
        axis=-2,
    )
    if len(core) == 1:
        return (explicit,)
    out = core[1] / math.sqrt(2)
    out = xp.concat([out, -out], axis=-1)
    return explicit, out, adjoint(xp, out)


def _quarters(x: Array) -> tuple[Array, Array, Array, Array]:
    n = x.shape[-1] // 2
    return x[..., :n, :n], x[..., :n, n:], x[..., n:, :n], x[..., n:, n:]


def _dilation_adjoint(xp: Any, g: Arrays) -> Arrays:
    """The adjoint of `_dilation` as a real-linear map."""
    pp, pm, mp, mm = _quarters(g[0])
    gc = herm(xp, pp - mm) + skew(xp, mp - pm)
    if len(g) == 1:
        return (gc,)
    n = pp.shape[-1]
    out = g[1] + adjoint(xp, g[2])
    return gc, (out[..., :n] - out[..., n:]) / math.sqrt(2)


def _block(xp: Any, f: Arrays) -> tuple[Array, Array]:
    """From F in the frame of the dilation, U^H X V and the part of X V outside U."""
    pp, pm, mp, mm = _quarters(f[0])
    n = pp.shape[-1]
    inner = (pp - pm + mp - mm) / 2
    outer = (f[1][..., :n] - f[1][..., n:]) / math.sqrt(2) if len(f) > 1 else None
    return inner, outer


def _block_adjoint(xp: Any, g: Array, outer: Array) -> Arrays:
    """The adjoint of `_block`."""
    g = g / 2
    explicit = xp.concat(
        [xp.concat([g, -g], axis=-1), xp.concat([g, -g], axis=-1)],
        axis=-2,
    )
    if outer is None:
        return (explicit,)
    outer = outer / math.sqrt(2)
    outer = xp.concat([outer, -outer], axis=-1)
    return explicit, outer, xp.zeros_like(adjoint(xp, outer))
