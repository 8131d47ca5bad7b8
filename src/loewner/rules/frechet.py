"""f(A) of a general matrix, and its derivatives, as rules that are closed under both modes.

The k-th derivative of f at A is a symmetric form with k arguments,

    D^k f(A)[E_1, ..., E_k] = the coefficient of e_1 ... e_k in f(A + e_1 E_1 + ... + e_k E_k)  (1)

with e_i^2 = 0: the block (1, 2) of f([A E; 0 A]) for k = 1 (Mathias, SIMAX 17 (1996); Higham,
Functions of Matrices (2008), theorem 3.6). The family is closed. Forward,

    d D^k f(A)[E_1, ...] = D^(k+1) f(A)[E_1, ..., dA] + sum_i D^k f(A)[.., dE_i, ..],         (2)

and backward, from tr(X D^k f(A)[E_1, .., E_k]) being symmetric in X and the E_i,

    E_i* = D^k f(A)[.., G^H, ..]^H  with G^H in the place of E_i,
    A*   = D^(k+1) f(A)[E_1, ..., E_k, G^H]^H.                                               (3)

Nothing divides by differences of eigenvalues, so all of it holds for defective matrices.
How f and (1) are computed is told by `iterations`; for spectral projectors, below.

Spectral projector. In a Schur form A = Q T Q^H, T upper triangular with the eigenvalues t_i,
of which some are selected, s_i = 1 or 0. P commutes with T and P^2 = P; entry by entry,

    (T P - P T)_ij = 0  where s_i != s_j,      (P P - P)_ij = 0  where s_i = s_j,            (4)

gives P column by column, from triangular systems whose diagonal is t_i - t_j or +-1: only
gaps between selected and other eigenvalues are divided by, whatever happens inside either
part, and the form need not be reordered. The derivatives (1) solve what (4) becomes when it
is linearized, with the lower orders on the right-hand side:

    (T D - D T)_ij = C_ij,      (P D + D P - D)_ij = F_ij.                                   (5)

This is Sylvester's equation across the two parts (Bartels and Stewart) and a consequence of
it inside them; compare the Schur method for the sign function, Higham (2008), section 5.2.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from .iterations import (
    HyperDual,
    constant,
    exponential,
    filled,
    frobenius,
    identity,
    largest,
    logarithm,
    norm,
    or_nan,
    phase,
    power,
    sign,
    times,
    turned,
)
from .pieces import (
    adjoint,
    diagonal_matrix,
    like,
    positions,
    powers_of_two,
    real,
    tolerance,
    total,
)
from .reports import Checks, FiniteReport, Watch, watch
from .rule import Array, Arrays, Ops, Rule, Solvers


class Function(ABC):
    """A function of matrices. Subclasses are frozen dataclasses: equal functions are one."""

    @property
    def degree(self) -> float | None:
        """p if f(c A) = c^p f(A), perhaps with a term log(c) I; None if there is no such law."""
        return None

    @abstractmethod
    def evaluate(self, solvers: Solvers, a: HyperDual, scale: Array) -> HyperDual:
        """c^-p f(c A) over the algebra (1); c = scale (...), 1 if there is no law.

        The value of A has entries of order one if there is a law, those of the E_i always.
        """


@dataclasses.dataclass(frozen=True)
class Exp(Function):
    """The exponential."""

    def evaluate(self, solvers, a, scale):
        return exponential(solvers, a)


@dataclasses.dataclass(frozen=True)
class Log(Function):
    """The principal logarithm."""

    @property
    def degree(self):
        return 0.0

    def evaluate(self, solvers, a, scale):
        xp = solvers.xp
        b, phi = turned(solvers, a)
        x = logarithm(solvers, b)
        shift = xp.astype(xp.log(scale), a.value.dtype)
        if xp.isdtype(shift.dtype, "complex floating"):
            shift = shift + 1j * xp.astype(phi, shift.dtype)
        x.parts[0] = x.value + times(xp, shift, identity(xp, a.value))
        return x


@dataclasses.dataclass(frozen=True)
class Power(Function):
    """The principal power A^p."""

    p: float

    @property
    def degree(self):
        return self.p

    def evaluate(self, solvers, a, scale):
        if self.p == int(self.p):
            return power(solvers, a, self.p)
        b, phi = turned(solvers, a)
        x = power(solvers, b, self.p)
        return x.map(lambda y: times(solvers.xp, phase(solvers.xp, self.p * phi, y), y))


@dataclasses.dataclass(frozen=True)
class Sqrt(Power):
    """The principal square root."""

    p: float = 0.5


@dataclasses.dataclass(frozen=True)
class InverseSqrt(Power):
    """The inverse of the principal square root."""

    p: float = -0.5


@dataclasses.dataclass(frozen=True)
class Sign(Function):
    """The sign: 1 for eigenvalues in the right half-plane, -1 in the left."""

    @property
    def degree(self):
        return 0.0

    def evaluate(self, solvers, a, scale):
        return sign(solvers, a)


@dataclasses.dataclass(frozen=True)
class Lowest:
    """The k eigenvalues with the smallest real parts."""

    k: int

    def mask(self, xp: Any, w: Array) -> Array:
        x, i = real(xp, w), positions(xp, w)
        before = x[..., None, :] < x[..., :, None]
        tied = (x[..., None, :] == x[..., :, None]) & (i[..., None, :] < i[..., :, None])
        rank = xp.sum(xp.astype(before | tied, i.dtype), axis=-1)
        return rank < self.k


@dataclasses.dataclass(frozen=True)
class Interval:
    """The eigenvalues with real parts in [low, high]."""

    low: float
    high: float

    def mask(self, xp: Any, w: Array) -> Array:
        x = real(xp, w)
        return (self.low <= x) & (x <= self.high)


@dataclasses.dataclass(frozen=True)
class Predicate:
    """The eigenvalues w for which function(w), applied to all of them at once, is true."""

    function: Callable[[Array], Array]

    def mask(self, xp: Any, w: Array) -> Array:
        return xp.astype(self.function(w), xp.bool)


@dataclasses.dataclass(frozen=True)
class Projector(Function):
    """The spectral projector of the selected eigenvalues."""

    selection: Lowest | Interval | Predicate

    @property
    def degree(self):
        return 0.0

    def evaluate(self, solvers, a, scale):
        xp = solvers.xp
        t, q = solvers.schur(a.value)
        qh = adjoint(xp, q)
        w = xp.linalg.diagonal(t)
        selected = self.selection.mask(xp, w * xp.astype(scale, w.dtype)[..., None])
        moved = a.map(lambda x: qh @ xp.astype(x, t.dtype) @ q)
        moved.parts[0] = t
        p, good = projector(solvers, moved, selected)
        p = p.map(lambda x: q @ x @ qh)
        if not xp.isdtype(a.value.dtype, "complex floating"):
            # If one of a conjugate pair is selected, |P - conj P| >= 1, since P conj(P) = 0.
            good = good & (frobenius(xp, xp.imag(p.value)) < 0.25)
            p = p.map(xp.real)
        return or_nan(xp, good, p)


def projector(solvers: Solvers, t: HyperDual, selected: Array) -> tuple[HyperDual, Array]:
    """The projector (4) over the algebra, and for which matrices (...) it is determined."""
    xp = solvers.xp
    w = xp.linalg.diagonal(t.value)
    across = selected[..., :, None] != selected[..., None, :]

    def lacking(p: HyperDual, t: HyperDual) -> HyperDual:
        """The right-hand sides of (5): what (4) lacks."""
        parts = zip((p @ t - t @ p).parts, (p - p @ p).parts, strict=True)
        return HyperDual([xp.where(across, c, f) for c, f in parts])

    p = _by_columns(solvers, t.value, selected)
    x = filled(xp, constant(p, t.order), t)
    for level in range(1, t.order + 1):
        r = lacking(x, filled(xp, t, t))
        for part in range(len(x.parts)):
            if part.bit_count() == level:
                x.parts[part] = _by_columns(solvers, t.value, selected, p, r.parts[part])
    gaps = xp.abs(w[..., :, None] - w[..., None, :])
    gap = xp.min(xp.min(xp.where(across, gaps, 0 * gaps + float("inf")), axis=-1), axis=-1)
    noise = tolerance(xp, xp.sum(xp.abs(t.value), axis=-1), w.shape[-1])[..., 0]
    return x, gap > noise * norm(xp, p)


def _by_columns(
    solvers: Solvers, t: Array, selected: Array, p: Array = None, r: Array = None
) -> Array:
    """D of (5), given P and C or F where it counts; without them, the triangular P of (4)."""
    xp = solvers.xp
    w, s = xp.linalg.diagonal(t), xp.astype(selected, t.dtype)
    index, eye = positions(xp, w), identity(xp, t)
    start = diagonal_matrix(xp, s, t.dtype) if r is None else xp.zeros_like(r)

    def going(loop):
        return xp.any(loop[0] < t.shape[-1])

    def column(loop):
        j, d = loop

        def at(x):
            return xp.take(x, j, axis=-1)

        across = selected != at(selected)
        # an equal eigenvalue across is reported by the caller
        shift = xp.where(across & (w == at(w)), w - 1, at(w))
        shift = xp.where(across, shift, 1 - at(s))
        m = xp.where(across[..., None], t, d if p is None else p) - shift[..., None] * eye
        known = d @ at(t)
        if r is None:
            x = known - at(s)[..., None] * at(t), 0 * known
        else:
            x = at(r) + known, at(r) - d @ at(p)
        x = solvers.solve_triangular(m, xp.where(across[..., None], *x), lower=False)
        here = index == xp.astype(j, index.dtype) + 1
        return j + 1, xp.where(here[..., None, :], at(d) + x, d)

    first = xp.astype(xp.reshape(xp.sum(xp.zeros_like(index)), (1,)), xp.int32)
    _, d = solvers.while_loop(going, column, (first, start))
    return d


@dataclasses.dataclass(frozen=True)
class GeneralFunction(Rule):
    """f(A) of A (..., n, n)."""

    function: Function
    checks: Checks | None = None
    needs_inputs = True

    def evaluate(self, solvers, inputs, outputs=None):
        return (_derivative(solvers, self.function, inputs),)

    @property
    def _watch(self) -> Watch | None:
        return watch(FiniteReport(), self.checks, 1)

    def jvp(self, ops, inputs, outputs, tangents):
        (da,) = tangents
        if self._watch:
            (da,) = ops.call(self._watch, _sizes(ops, *inputs), da)
        return ops.call(Frechet(self.function), *inputs, da)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        gh = adjoint(ops.xp, cotangents[0])
        ga = adjoint(ops.xp, ops.call(Frechet(self.function), *inputs, gh)[0])
        if self._watch:
            (ga,) = self._watch.seen(ops, (_sizes(ops, *inputs),), (ga,))
        return (ga,)


def _sizes(ops: Ops, a: Array) -> Array:
    """The sums of the columns of |A|, (..., n)."""
    return ops.xp.sum(ops.xp.abs(ops.constant(a)), axis=-2)


@dataclasses.dataclass(frozen=True)
class Frechet(Rule):
    """D^k f(A)[E_1, ..., E_k] of A and k >= 1 matrices E_i, all (..., n, n).

    Leading axes are broadcast: for a batch of E_i, f(A) is computed once.
    """

    function: Function
    needs_inputs = True
    linear = True

    def evaluate(self, solvers, inputs, outputs=None):
        return (_derivative(solvers, self.function, inputs),)

    def jvp(self, ops, inputs, outputs, tangents):
        a, *es = inputs
        da, *des = tangents
        terms = []
        if da is not None:
            terms += ops.call(self, a, *es, da)  # (2)
        for i, de in enumerate(des):
            if de is not None:
                terms += ops.call(self, a, *es[:i], de, *es[i + 1 :])
        return (total(*terms),)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        a, *es = inputs
        gh = adjoint(ops.xp, cotangents[0])

        def pull(*arguments):
            return adjoint(ops.xp, ops.call(self, a, *arguments)[0])

        want_a, *want_es = wanted
        found = [pull(*es, gh) if want_a else None]  # (3)
        for i, want in enumerate(want_es):
            found.append(pull(*es[:i], gh, *es[i + 1 :]) if want else None)
        return tuple(found)


def _derivative(solvers: Solvers, function: Function, inputs: Arrays) -> Array:
    """(1), with A and the E_i scaled by powers of two and NaN where A is not finite."""
    xp = solvers.xp
    a, *es = inputs
    nothing = total(*(xp.zeros_like(x) for x in inputs))
    if a.shape[-1] == 0:
        return nothing
    size = largest(xp, a)
    finite = xp.isfinite(size)
    a = xp.where(finite[..., None, None], a, identity(xp, a))
    one = xp.zeros_like(size) + 1
    down, up = one, one
    if function.degree is not None:
        # up^2 is of the size of A, and its square root a power of two as well
        far = finite & ((size > 2.0**16) | (size < 2.0**-16))
        powers = powers_of_two(xp, xp.sqrt(size))
        down, up = (xp.where(far, power, one) for power in powers)
        a = times(xp, down, times(xp, down, a))
    parts: list[Array] = [None] * 2 ** len(es)
    parts[0] = a
    scales = []
    batch = xp.zeros_like(total(*es)) if es else None
    for i, e in enumerate(es):
        e_down, e_up = powers_of_two(xp, largest(xp, e))
        parts[1 << i] = times(xp, e_down, like(xp, e, a)) + batch
        scales.append(e_up)
    x = function.evaluate(solvers, HyperDual(parts), up * up).parts[-1]
    if x is None:
        return nothing
    if function.degree:
        for factor in _power_of(xp, up, 2 * function.degree):
            x = times(xp, factor, x)
    for e_up in scales:
        x = times(xp, e_up * down, times(xp, down, x))
    return xp.where(finite[..., None, None], x, float("nan") * xp.zeros_like(x))


def _power_of(xp: Any, c: Array, p: float) -> tuple[Array, Array, Array]:
    """Factors of c^p for c a power of two, to the last bit.

    The exponent is multiplied by the leading bits of p without rounding.
    """
    exponent = xp.round(xp.log2(c))
    leading = float(round(p * 256)) / 256 if abs(p) < 16 else float(round(p))
    product = exponent * leading
    whole = xp.floor(product / 2)
    rest = (product - 2 * whole) + exponent * (p - leading)
    two = xp.zeros_like(c) + 2
    return xp.pow(two, whole), xp.pow(two, whole), xp.pow(two, rest)
