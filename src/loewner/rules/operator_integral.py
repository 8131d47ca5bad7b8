"""Multiple operator integrals: a function of a matrix and all its derivatives as one rule.

In a fixed orthonormal frame in which the Hermitian core B is diagonal, with entries x_i,

    F_k(B; E_1, ..., E_k)_{ij} = sum f[x_i, x_a, ..., x_j] (E_1)_{ia} ... (E_k)_{.j},     (1)

summed over the k - 1 inner indices: F_0 = f(B), and F_1 is the Frechet derivative,
multiplication by the Loewner matrix (Daleckii and Krein). The family is closed:

    dF_k = sum over positions of F_{k+1}(.., dB, ..) + sum_s F_k(.., dE_s, ..),           (2)
    E_s* = F_k(E_{s-1}^H, .., E_1^H, G, E_k^H, .., E_{s+1}^H),  with conj(f),             (3)
    B*   = the sum of (3) over the positions of dB in (2).

No gap is divided by, so all of it holds at repeats and to every order. The frame does not
turn: A = V B V^H with V held at its value is the same function of A.

With a *rest* the space has, beside the n explicit directions, r more in which B is zero in
value: E then has blocks on the explicit directions (n, n), from them to the rest (r, n) and
back (n, r), and none inside the rest, where nothing is asked for either. The rest may be
written in any coordinates, in more than its dimension even: only its products occur.

Daleckii and Krein (1965); Higham and Relton, SIMAX 35 (2014), for higher derivatives;
Birman and Solomyak for the name.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

from .pieces import adjoint, conj, diagonal_matrix, like, real, total
from .rule import Array, Arrays, Ops, Rule
from .symbols import Point, Symbol

_LARGEST = 2**22
"""Entries of the largest array of divided differences that is formed at once."""


@dataclasses.dataclass(frozen=True)
class OperatorIntegral(Rule):
    """F_k of (1). Inputs B, the symbol's data if it has any, E_1, ..., E_k.

    Each of B, E and F is one array (..., n, n), or three with a rest: explicit (..., n, n),
    rest from explicit (..., r, n), explicit from rest (..., n, r). Data (..., d, n), one
    more column for the rest.
    """

    symbol: Symbol
    order: int
    rest: bool = False
    needs_inputs = True
    linear = True

    @property
    def parts(self) -> int:
        return 3 if self.rest else 1

    def _split(self, flat: Arrays) -> tuple[Arrays, Array, list[Arrays]]:
        """B, the data, and E_1, ..., E_k."""
        n, d = self.parts, int(self.symbol.data)
        es = flat[n + d :]
        return flat[:n], (flat[n] if d else None), [es[i : i + n] for i in range(0, len(es), n)]

    def evaluate(self, solvers, inputs, outputs=None):
        b, data, es = self._split(inputs)
        return integral(solvers.xp, self.symbol, b, data, es)

    def jvp(self, ops, inputs, outputs, tangents):
        b, data, es = self._split(inputs)
        db, ddata, des = self._split(tangents)
        terms = []
        for s, de in enumerate(des):
            if any(x is not None for x in de):
                moved = [*es[:s], _filled(ops, de, es[s]), *es[s + 1 :]]
                terms.append(self._call(ops, self.order, b, data, moved))
        if any(x is not None for x in db):
            db = _filled(ops, db, b)
            for s in range(self.order + 1):
                moved = [*es[:s], db, *es[s:]]
                terms.append(self._call(ops, self.order + 1, b, data, moved))
        if ddata is not None:
            terms.append(self._call(ops, self.order, b, ddata, es))
        return tuple(total(*parts) for parts in zip(*terms, strict=True))

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        b, data, es = self._split(inputs)
        want_b, want_data, want_es = self._split(tuple(wanted))
        g = _filled(ops, cotangents, outputs or cotangents)
        gb, ges = self._pull(ops, b, data, es, g, any(want_b), [any(w) for w in want_es])
        gdata = (None,) * int(self.symbol.data)
        if want_data:
            rule = DataGradient(self.symbol, self.order, self.rest)
            gdata = ops.call(rule, *b, data, *g, *(x for e in es for x in e))
        return (*gb, *gdata, *(x for ge in ges for x in ge))

    def _pull(self, ops, b, data, es, g, want_b, want_es):
        """(3) for the slots that are wanted; None for the others."""
        xp, none, data = ops.xp, (None,) * self.parts, conj(ops.xp, data)

        def around(left: list[Arrays], right: list[Arrays]) -> list[Arrays]:
            """E_{s-1}^H, .., E_1^H, G, E_k^H, .., E_{s+1}^H."""
            before = [_adjoint(xp, e) for e in reversed(left)]
            return [*before, g, *(_adjoint(xp, e) for e in reversed(right))]

        def slot(order: int, left: list[Arrays], right: list[Arrays]) -> Arrays:
            return self._call(ops, order, b, data, around(left, right))

        ges = []
        for s, want in enumerate(want_es):
            found = slot(self.order, es[:s], es[s + 1 :]) if want else none
            ges.append(_like(xp, found, es[s]))
        gb = none
        if want_b:
            terms = [slot(self.order + 1, es[:s], es[s:]) for s in range(self.order + 1)]
            gb = _like(xp, tuple(total(*parts) for parts in zip(*terms, strict=True)), b)
        return gb, ges

    def _call(self, ops: Ops, order: int, b: Arrays, data: Array, es: list[Arrays]) -> Arrays:
        rule = OperatorIntegral(self.symbol, order, self.rest)
        columns = (data,) if self.symbol.data else ()
        return ops.call(rule, *b, *columns, *(x for e in es for x in e))


@dataclasses.dataclass(frozen=True)
class DataGradient(OperatorIntegral):
    """The adjoint of F_k as a map of the data: <result, H> = <G, F_k with data H>.

    Inputs B, the data (of which only the shape and the dtype count), G, E_1, ..., E_k.
    """

    def _arguments(self, flat):
        b, data, (g, *es) = self._split(flat)
        return b, data, g, es

    def evaluate(self, solvers, inputs, outputs=None):
        b, data, g, es = self._arguments(inputs)

        def with_data(xp, columns):
            return integral(xp, self.symbol, b, columns, es)

        return (solvers.pull_back(with_data, solvers.xp.zeros_like(data), g),)

    def jvp(self, ops, inputs, outputs, tangents):
        b, data, g, es = self._arguments(inputs)
        db, _, dg, des = self._arguments(tangents)
        terms = []
        slots, moved = [g, *es], [dg, *des]
        for s, de in enumerate(moved):
            if any(x is not None for x in de):
                filled = _filled(ops, de, slots[s])
                terms += self._again(ops, self.order, b, data, [*slots[:s], filled, *slots[s + 1 :]])
        if any(x is not None for x in db):
            db = _filled(ops, db, b)
            for s in range(self.order + 1):
                terms += self._again(ops, self.order + 1, b, data, [g, *es[:s], db, *es[s:]])
        return (total(*terms),)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        b, data, g, es = self._arguments(inputs)
        want_b, _, want_g, want_es = self._arguments(tuple(wanted))
        (h,) = cotangents
        # <h, result> = <G, F_k with data h>
        gg = (None,) * self.parts
        if any(want_g):
            gg = _like(ops.xp, self._call(ops, self.order, b, h, es), g)
        gb, ges = (None,) * self.parts, [(None,) * self.parts for _ in es]
        if any(want_b) or any(any(w) for w in want_es):
            gb, ges = self._pull(ops, b, h, es, g, any(want_b), [any(w) for w in want_es])
        return (*gb, None, *gg, *(x for ge in ges for x in ge))

    def _again(self, ops, order, b, data, slots):
        rule = DataGradient(self.symbol, order, self.rest)
        return ops.call(rule, *b, data, *(x for e in slots for x in e))


def _filled(ops: Ops, given: Arrays, like: Arrays) -> Arrays:
    return tuple(
        ops.xp.zeros_like(x) if t is None else t for t, x in zip(given, like, strict=True)
    )


def _like(xp: Any, given: Arrays, x: Arrays) -> Arrays:
    return tuple(None if g is None else like(xp, g, y) for g, y in zip(given, x, strict=True))


def _adjoint(xp: Any, e: Arrays) -> Arrays:
    """The adjoint of a matrix in parts."""
    if len(e) == 1:
        return (adjoint(xp, e[0]),)
    return adjoint(xp, e[0]), adjoint(xp, e[2]), adjoint(xp, e[1])


def integral(xp: Any, symbol: Symbol, b: Arrays, data: Array, es: list[Arrays]) -> Arrays:
    """F_k of (1) from its parts, where values alone count."""
    x = real(xp, xp.linalg.diagonal(b[0]))
    n = x.shape[-1]
    rest = len(b) == 3
    if rest:
        x = xp.concat([x, xp.zeros_like(xp.sum(x, axis=-1, keepdims=True))], axis=-1)
    points = symbol.points(xp, x, data)
    explicit = tuple(p[..., :n] for p in points)
    origin = tuple(p[..., n:] for p in points)
    if not es:
        f = symbol.divided_difference(xp, [explicit])
        dtype = xp.result_type(f.dtype, b[0].dtype)
        return (diagonal_matrix(xp, f, dtype), *(xp.zeros_like(e) for e in b[1:]))
    found: list[Array] = [None] * len(b)
    for where in _patterns(len(es) + 1, rest):
        links, s, last = [], int(where[0]), len(es) - int(where[-1])
        while s < last:
            through = where[s + 1]
            links.append(es[s][2] @ es[s + 1][1] if through else es[s][0])
            s += 1 + through
        inner = _chain(xp, symbol, explicit, [origin] * sum(where), links)
        if where[0]:
            part, term = 1, es[0][1] @ inner if links else es[0][1] * inner[..., None, :]
        elif where[-1]:
            part, term = 2, inner @ es[-1][2] if links else inner[..., :, None] * es[-1][2]
        else:
            part, term = 0, inner
        found[part] = total(found[part], term)
    return tuple(found)


def _patterns(count: int, rest: bool) -> list[tuple[bool, ...]]:
    """Which of the indices may lie in the rest: no two neighbours, and not both ends."""
    if not rest:
        return [(False,) * count]
    return [
        p
        for p in itertools.product((False, True), repeat=count)
        if not any(x and y for x, y in itertools.pairwise(p)) and not (p[0] and p[-1])
    ]


def _chain(
    xp: Any, symbol: Symbol, points: Point, others: list[Point], links: list[Array]
) -> Array:
    """sum over the inner indices of f[x_i, .., x_j, others] (M_1)_{ia} ... (M_q)_{.j}.

    (..., n, n); without links the divided differences themselves, (..., n).
    """
    q = len(links)
    n = points[0].shape[-1]

    def along(x: Array, axis: int, count: int) -> Array:
        """The last axis of x as the given one of `count` last axes."""
        index = (..., *(slice(None) if a == axis else None for a in range(count)))
        return x[index]

    def rows(start: int, stop: int) -> Array:
        at = [
            tuple(along(p[..., start:stop] if a == 0 else p, a, q + 1) for p in points)
            for a in range(q + 1)
        ]
        at += [tuple(along(p, q, q + 1) for p in other) for other in others]
        d = symbol.divided_difference(xp, at)
        if not q:
            return d
        product = None
        for a, m in enumerate(links):
            m = m[..., start:stop, :] if a == 0 else m
            index = (..., *(slice(None) if b in (a, a + 1) else None for b in range(q + 1)))
            product = m[index] if product is None else product * m[index]
        if symbol.partial:  # undefined, but not asked for
            d = xp.where(product == 0, xp.zeros_like(d), d)
        product = d * product
        return xp.sum(product, axis=tuple(range(-q, -1))) if q > 1 else product

    entries = n ** (q + 1) * math.prod(points[0].shape[:-1])
    if q < 2 or entries <= _LARGEST:
        return rows(0, n)
    step = max(1, n * _LARGEST // entries)
    return xp.concat([rows(i, min(i + step, n)) for i in range(0, n, step)], axis=-2)
