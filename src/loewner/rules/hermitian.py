"""A = V B V^H with V held fixed: functions of Hermitian matrices.

The frame is that of the eigenvectors at the value of A, and does not turn; the core B is
diagonal in value and carries all of the derivative,

    dB = herm(V^H dA V),        A* = V herm(B*) V^H,                                      (1)

exactly and to every order, for any unitary V. A function is then

    f(A) = V F_0(B) V^H,        df(A) = V F_1(B; dB) V^H                                  (2)

with the operator integrals F_k.

Daleckii and Krein (1965); Higham, Functions of Matrices (2008), Theorem 3.11.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..kernels.decomposition import Decomposition
from .operator_integral import DataGradient, OperatorIntegral, conjugate
from .pieces import (
    adjoint,
    herm,
    hermitian_product,
    like,
    real,
    sandwich,
    total,
)
from .reports import Checks, FiniteReport, Watch, watch
from .rule import Array, Arrays, Rule, Solvers
from .symbols import Symbol


@dataclasses.dataclass(frozen=True)
class HermitianFrame(Rule):
    """(w, V, B) of the Hermitian matrix in the lower triangle of A; w and V are constants."""

    checks: Checks | None = None

    @property
    def _watch(self) -> Watch | None:
        return watch(FiniteReport(), self.checks, 1)

    def values(self, solvers: Solvers, a: Array) -> Array:
        (w,) = solvers.decompose(Decomposition("eigvalsh", marked=True), a)
        return w

    copies = 1
    """How often each value is an eigenvalue of the operator."""

    def function(self, symbol: Symbol) -> Rule:
        return HermitianFunction(symbol)

    def operator(self, xp: Any, parts: Arrays) -> Arrays:
        """The core, as operator integrals take it, from V and B."""
        return parts[1:]

    def evaluate(self, solvers, inputs, outputs=None):
        (a,) = inputs
        w, v = solvers.decompose(Decomposition("eigh", marked=True), a)
        return w, v, solvers.diagonal_matrix(w, v.dtype)

    def jvp(self, ops, inputs, outputs, tangents):
        w, v, _ = outputs
        (da,) = tangents
        xp = ops.xp
        if self._watch:
            (da,) = ops.call(self._watch, w, da)
        v = ops.constant(v)
        db = herm(xp, adjoint(xp, v) @ da @ v)
        return xp.zeros_like(w), xp.zeros_like(v), db

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        w, v, b = outputs
        gb = cotangents[2]
        xp = ops.xp
        v = ops.constant(v)
        gb = xp.zeros_like(b) if gb is None else herm(xp, gb)
        ga = hermitian_product(xp, v @ gb, v)
        watch = self._watch
        return watch.seen(ops, (w,), (ga,)) if watch else (ga,)


@dataclasses.dataclass(frozen=True)
class HermitianFunction(Rule):
    """f(A) of (2) from V, B and the data of the symbol, if it has any."""

    symbol: Symbol
    needs_inputs = True
    linear = True

    def evaluate(self, solvers, inputs, outputs=None):
        v, b, *data = inputs
        xp = solvers.xp
        points = self.symbol.points(xp, real(xp, xp.linalg.diagonal(b)), *data)
        f = self.symbol.value(xp, points)
        if xp.isdtype(f.dtype, "complex floating") and f.dtype != v.dtype:
            v = xp.astype(v, f.dtype)
        vf = v * xp.astype(f, v.dtype)[..., None, :]
        real_valued = not xp.isdtype(f.dtype, "complex floating")
        return (hermitian_product(xp, vf, v) if real_valued else vf @ adjoint(xp, v),)

    def jvp(self, ops, inputs, outputs, tangents):
        v, b, *data = inputs
        _, db, *ddata = tangents
        xp = ops.xp
        terms = []
        if db is not None:
            (moved,) = ops.call(OperatorIntegral(self.symbol, 1), b, *data, db)
            terms.append(sandwich(xp, v, moved, adjoint(xp, v)))
        if ddata and ddata[0] is not None:
            terms += ops.call(self, v, b, ddata[0], *data[1:])
        return (total(*terms),) if terms else (xp.zeros_like(outputs[0]),)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        v, b, *data = inputs
        (g,) = cotangents
        xp = ops.xp
        g = sandwich(xp, adjoint(xp, v), g, v)
        gb, gdata = None, [None] * len(data)
        if wanted[1]:
            (gb,) = ops.call(OperatorIntegral(self.symbol, 1), b, *conjugate(xp, tuple(data)), g)
            gb = like(xp, gb, b)
        if data and wanted[2]:
            gdata = [*ops.call(DataGradient(self.symbol, 0), b, *data, g), *gdata[1:]]
        return (None, gb, *gdata)
