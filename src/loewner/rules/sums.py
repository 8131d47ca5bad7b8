"""Sums over a spectrum: L = sum f(x_j), whose gradient is a function of the matrix.

For Hermitian A with its eigenvalues, and for any A with its singular values and f even,

    L = sum_j f(w_j),     dL = Re tr(f'(A) dA),                                           (1)
    L = sum_j f(s_j),     dL = Re tr((U f'(S) V^H)^H dA).                                 (2)

A sum is never differentiated through single values, so that it is right where they
repeat, and its second derivative is the first of f'(A).

Where f has a kink the gradient is an element of the Clarke subdifferential: with any
element g of that of f at the vector of values, V diag(g) V^H is one (Lewis, SIOPT 6
(1996), Theorem 8.1; for singular values Lewis, J. Convex Anal. 2 (1995)). Taken equal
within each cluster, it does not depend on the basis there (Overton and Womersley, Math.
Program. 62 (1993), for the sum of the largest).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from .hermitian import HermitianFrame
from .operator_integral import DataGradient
from .pieces import conj, diagonal_matrix, like, positions, real, same_cluster, tolerance, total
from .reports import Checks, FiniteReport, Report, Watch, watch
from .rule import Array, Arrays, Rule
from .singular import SingularFrame, extended
from .sylvester import Defined
from .symbols import Cut, Jet, Monomial, Power, Symbol

Frame = HermitianFrame | SingularFrame


class Weight(ABC):
    """A function whose values are summed: f, and its slope as a symbol and its data."""

    @property
    @abstractmethod
    def slope(self) -> Symbol:
        """f'."""

    @abstractmethod
    def value(self, xp: Any, x: Array) -> Array:
        """sum f(x), (..., n) to (...)."""

    def data(self, xp: Any, x: Array, size: int) -> Array | None:
        """The data of the slope, (..., n); size is the larger dimension of the matrix."""
        return None


@dataclasses.dataclass(frozen=True)
class Largest(Weight):
    """The sum of the k largest; with k of them all, of all. Absolute values at a kink at zero.

    The slope is shared equally in the cluster that k cuts, and, for singular values, zero on
    the cluster of zero (the subgradient of least norm).
    """

    k: int
    singular: bool

    @property
    def slope(self):
        return Cut(Monomial(0))

    def _chosen(self, xp, x):
        i = positions(xp, x)
        return i <= self.k if self.singular else i > x.shape[-1] - self.k

    def value(self, xp, x):
        return xp.sum(xp.where(self._chosen(xp, x), x, xp.zeros_like(x)), axis=-1)

    def data(self, xp, x, size):
        tau = tolerance(xp, x, size)
        same = xp.astype(same_cluster(xp, x, tau), x.dtype)
        chosen = xp.astype(self._chosen(xp, x), x.dtype)
        share = xp.sum(same * chosen[..., None, :], axis=-1) / xp.sum(same, axis=-1)
        return xp.where(x <= tau, xp.zeros_like(x), share) if self.singular else share


@dataclasses.dataclass(frozen=True)
class KinkReport(Report):
    """Of `Largest`; known: the values; cotangent: that of the sum."""

    k: int
    singular: int
    name = "kink"
    texts: ClassVar = {
        "kink": "the k-th value is one of several that coincide, among them value {i}, or is "
        "zero: the function has a kink here, and the gradient is an element of its "
        "subdifferential",
    }

    @property
    def shape(self):
        return self.k, self.singular

    def _kinks(self, xp, known):
        (x,) = known
        data = Largest(self.k, bool(self.singular)).data(xp, x, x.shape[-1])
        whole = Largest(self.k, bool(self.singular))._chosen(xp, x)
        return xp.abs(data - xp.astype(whole, x.dtype))

    def needed(self, xp, known, cotangents):
        return (xp.sum(self._kinks(xp, known), axis=-1) > 0) & (cotangents[0] != 0)

    def findings(self, xp, known, cotangents):
        part = self._kinks(xp, known)[..., :, None]
        return {"kink": (part, xp.zeros_like(part) + 1e-3)}


@dataclasses.dataclass(frozen=True)
class AbsolutePower(Weight):
    """|x|^p, p >= 1 (Schatten norms)."""

    p: float

    @property
    def slope(self):
        if self.p % 2 == 0:
            return Monomial(int(self.p) - 1)
        return Power(self.p - 1.0, odd=True)

    def value(self, xp, x):
        return xp.sum(xp.pow(xp.abs(x), self.p * (xp.zeros_like(x) + 1)), axis=-1)


@dataclasses.dataclass(frozen=True)
class WeightedSum(Rule):
    """(L, values, V, B, ...) of A: (1) or (2) for a weight; the outputs of the frame follow L.

    The data of the slope, if it has any, come last, as a constant.
    """

    frame: Frame
    weight: Weight
    factor: float = 1.0
    checks: Checks | None = None

    @property
    def _watch(self) -> Watch | None:
        weight = self.weight
        if not self.checks or not isinstance(weight, Largest):
            return None
        return Watch(KinkReport(weight.k, int(weight.singular)), self.checks, 1)

    def evaluate(self, solvers, inputs, outputs=None):
        xp = solvers.xp
        if outputs == 1:
            return (self.weight.value(xp, self.frame.values(solvers, *inputs)),)
        parts = self.frame.evaluate(solvers, inputs)
        found = (self.weight.value(xp, parts[0]), *parts)
        data = self.weight.data(xp, parts[0], max(inputs[0].shape[-2:]))
        if data is None:
            return found
        data = data[..., None, :]
        if isinstance(self.frame, SingularFrame):
            data = extended(xp, data, -1.0, rest=len(parts) == 5)
        return (*found, data)

    def _split(self, outputs: Arrays) -> tuple[Arrays, Arrays]:
        """The outputs of the frame, and the data."""
        count = len(outputs) - self.weight.slope.data
        return outputs[1:count], outputs[count:]

    def _slope(self, ops, outputs):
        """f'(A)."""
        _, _, *parts = outputs
        (found,) = ops.call(self.frame.function(self.weight.slope), *parts)
        return self.factor * found

    def jvp(self, ops, inputs, outputs, tangents):
        (da,) = tangents
        xp = ops.xp
        parts, data = self._split(outputs)
        moved = conj(xp, self._slope(ops, outputs)) * da
        dl = xp.sum(xp.sum(real(xp, moved), axis=-1), axis=-1)
        if self._watch:
            (dl,) = ops.call(self._watch, parts[0], dl)
        still = (xp.zeros_like(x) for x in data)
        return (dl, *self.frame.jvp(ops, inputs, parts, tangents), *still)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        xp = ops.xp
        parts, _ = self._split(outputs)
        g, (rest, _) = cotangents[0], self._split(cotangents)
        ga = None
        if self._watch:
            (g,) = self._watch.seen(ops, parts[:1], (g,))
        if g is not None:
            ga = xp.astype(g, parts[1].dtype)[..., None, None] * self._slope(ops, outputs)
        if any(x is not None for x in rest[2:]):
            ga = total(ga, *self.frame.vjp(ops, inputs, parts, rest, wanted))
        return (xp.zeros_like(inputs[0]) if ga is None else ga,)


@dataclasses.dataclass(frozen=True)
class Broken(Rule):
    """Numbers that have no derivative on a mask of the same shape: there it is NaN."""

    needs_inputs = True

    def evaluate(self, solvers, inputs, outputs=None):
        return (inputs[0] + 0,)

    def jvp(self, ops, inputs, outputs, tangents):
        return ops.solve(Defined(), inputs[1:], (), tangents[:1])

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        return (*ops.solve(Defined(), inputs[1:], (), cotangents, adjoint=True), None)


@dataclasses.dataclass(frozen=True)
class SpectralSum(Rule):
    """(1) or (2) from A, the outputs of its frame, and the data of a `Jet`: f, f', ..., reach.

    All of the derivative is that along A and the data; the core, which moves with A, carries
    the higher ones. Data (..., 1 + d, N) as `frame.spectrum` lays them out.
    """

    frame: Frame
    checks: Checks | None = None
    needs_inputs = True
    linear = True

    @property
    def _watch(self) -> Watch | None:
        return watch(FiniteReport(), self.checks, 1)

    def evaluate(self, solvers, inputs, outputs=None):
        n = inputs[1].shape[-1] * self.frame.copies
        return (solvers.xp.sum(inputs[-2][..., 0, :n], axis=-1) / self.frame.copies,)

    def _slope(self, ops, parts, data, reach):
        """f'(A), or U f'(S) V^H."""
        return ops.call(self.frame.function(Jet()), *parts, data[..., 1:, :], reach)[0]

    def jvp(self, ops, inputs, outputs, tangents):
        a, values, *parts, data, reach = inputs
        da, ddata = tangents[0], tangents[-2]
        xp, terms = ops.xp, []
        if da is not None:
            if self._watch:
                (da,) = ops.call(self._watch, values, da)
            slope = self._slope(ops, parts, data, reach)
            # tr(f'(A) dA), where f may be complex; Re tr(X^H dA)
            hermitian = isinstance(self.frame, HermitianFrame)
            moved = xp.matrix_transpose(slope) * da if hermitian else real(xp, conj(xp, slope) * da)
            terms.append(xp.sum(xp.sum(moved, axis=-1), axis=-1))
        if ddata is not None:
            terms += ops.call(self, a, values, *parts, ddata, reach)
        if not terms:
            return (xp.zeros_like(outputs[0]),)
        return (like(xp, total(*terms), outputs[0]),)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        a, values, *parts, data, reach = inputs
        (g,) = cotangents
        xp = ops.xp
        ga = gdata = None
        if wanted[0]:
            slope = self._slope(ops, parts, conj(xp, data), reach)
            ga = like(xp, xp.astype(g, slope.dtype)[..., None, None] * slope, a)
            if self._watch:
                (ga,) = self._watch.seen(ops, (values,), (ga,))
        if wanted[-2]:
            b = self.frame.operator(xp, tuple(parts))
            each = g[..., None] + xp.zeros_like(xp.linalg.diagonal(b[0]))
            identity = diagonal_matrix(xp, each / self.frame.copies, each.dtype)
            rule = DataGradient(Jet(), 0, len(b) > 1)
            (gdata,) = ops.call(rule, *b, data, reach, identity, *(xp.zeros_like(x) for x in b[1:]))
        return (ga, None, *(None for _ in parts), gdata, None)
