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
from collections.abc import Iterator
from typing import Any

from .pieces import adjoint, conj, diagonal_matrix, filled, like, real, total
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

    def _split(self, flat: Arrays) -> tuple[Arrays, Arrays, list[Arrays]]:
        """B, the data, and E_1, ..., E_k."""
        n, d = self.parts, self.symbol.data
        es = flat[n + d :]
        return flat[:n], tuple(flat[n : n + d]), [es[i : i + n] for i in range(0, len(es), n)]

    def evaluate(self, solvers, inputs, outputs=None):
        b, data, es = self._split(inputs)
        return integral(solvers.xp, self.symbol, b, data, es)

    def jvp(self, ops, inputs, outputs, tangents):
        b, data, es = self._split(inputs)
        db, ddata, des = self._split(tangents)
        varied = _varied(ops, b, db, es, des, range(self.order + 1))
        terms = [self._call(ops, self.order + more, b, data, moved) for more, moved in varied]
        if any(x is not None for x in ddata[:1]):
            terms.append(self._call(ops, self.order, b, (ddata[0], *data[1:]), es))
        return tuple(total(*parts) for parts in zip(*terms, strict=True))

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        b, data, es = self._split(inputs)
        want_b, want_data, want_es = self._split(tuple(wanted))
        g = filled(ops.xp, cotangents, outputs or cotangents)
        gb, ges = self._pull(ops, b, data, es, g, any(want_b), [any(w) for w in want_es])
        gdata: Arrays = (None,) * len(data)
        if any(want_data[:1]):
            rule = DataGradient(self.symbol, self.order, self.rest)
            found = ops.call(rule, *b, *data, *g, *(x for e in es for x in e))
            gdata = (*found, *gdata[1:])
        return (*gb, *gdata, *(x for ge in ges for x in ge))

    def _pull(self, ops, b, data, es, g, want_b, want_es):
        """(3) for the slots that are wanted; None for the others."""
        xp, none = ops.xp, (None,) * self.parts
        data = conjugate(xp, data)

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

    def _call(self, ops: Ops, order: int, b: Arrays, data: Arrays, es: list[Arrays]) -> Arrays:
        rule = OperatorIntegral(self.symbol, order, self.rest)
        return ops.call(rule, *b, *data, *(x for e in es for x in e))


@dataclasses.dataclass(frozen=True)
class DataGradient(OperatorIntegral):
    """The adjoint of F_k as a map of the first of its data: <result, H> = <G, F_k with data H>.

    Inputs B, the data (of the first only the shape and the dtype count), G, E_1, ..., E_k.
    """

    def _arguments(self, flat):
        b, data, (g, *es) = self._split(flat)
        return b, data, g, es

    def evaluate(self, solvers, inputs, outputs=None):
        b, data, g, es = self._arguments(inputs)
        return (data_gradient(solvers.xp, self.symbol, b, data, g, es),)

    def jvp(self, ops, inputs, outputs, tangents):
        b, data, g, es = self._arguments(inputs)
        db, _, dg, des = self._arguments(tangents)
        terms = []
        # B moves between the E alone
        for more, moved in _varied(ops, b, db, [g, *es], [dg, *des], range(1, self.order + 2)):
            rule = DataGradient(self.symbol, self.order + more, self.rest)
            terms += ops.call(rule, *b, *data, *(x for e in moved for x in e))
        return (total(*terms),)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        b, data, g, es = self._arguments(inputs)
        want_b, _, want_g, want_es = self._arguments(tuple(wanted))
        data = (*cotangents, *data[1:])
        # <h, result> = <G, F_k with data h>
        gg = (None,) * self.parts
        if any(want_g):
            gg = _like(ops.xp, self._call(ops, self.order, b, data, es), g)
        gb, ges = (None,) * self.parts, [(None,) * self.parts for _ in es]
        if any(want_b) or any(any(w) for w in want_es):
            gb, ges = self._pull(ops, b, data, es, g, any(want_b), [any(w) for w in want_es])
        return (*gb, *(None for _ in data), *gg, *(x for ge in ges for x in ge))


def _varied(
    ops: Ops, b: Arrays, db: Arrays, es: list[Arrays], des: list[Arrays], positions: range
) -> Iterator[tuple[int, list[Arrays]]]:
    """The terms of (2): how many orders more, and the matrices; dB goes to the positions."""
    for s, de in enumerate(des):
        if any(x is not None for x in de):
            yield 0, [*es[:s], filled(ops.xp, de, es[s]), *es[s + 1 :]]
    if any(x is not None for x in db):
        db = filled(ops.xp, db, b)
        for s in positions:
            yield 1, [*es[:s], db, *es[s:]]


def conjugate(xp: Any, data: Arrays) -> Arrays:
    """The data of conj(f); those after the first are real constants."""
    return (*(conj(xp, x) for x in data[:1]), *data[1:])


def _like(xp: Any, given: Arrays, x: Arrays) -> Arrays:
    return tuple(None if g is None else like(xp, g, y) for g, y in zip(given, x, strict=True))


def _adjoint(xp: Any, e: Arrays) -> Arrays:
    """The adjoint of a matrix in parts."""
    if len(e) == 1:
        return (adjoint(xp, e[0]),)
    return adjoint(xp, e[0]), adjoint(xp, e[2]), adjoint(xp, e[1])


def integral(xp: Any, symbol: Symbol, b: Arrays, data: Arrays, es: list[Arrays]) -> Arrays:
    """F_k of (1) from its parts, where values alone count; complex if any of them is."""
    es = _promoted(xp, (*b, *data[:1]), es)
    explicit, origin = _points(xp, symbol, b, data)
    if not es:
        f = symbol.divided_difference(xp, [explicit])
        dtype = xp.result_type(f.dtype, b[0].dtype)
        return (diagonal_matrix(xp, f, dtype), *(xp.astype(xp.zeros_like(e), dtype) for e in b[1:]))
    found: list[Array] = [None] * len(b)
    for where, links in _paths(es, len(b) > 1):
        sums = []
        for at, product in _sections(explicit, [origin] * sum(where), links):
            d = symbol.divided_difference(xp, at)
            if product is None:
                sums.append(d)
                continue
            q = len(links)
            product = _scaled(xp, symbol, d, product)
            sums.append(xp.sum(product, axis=tuple(range(-q, -1))) if q > 1 else product)
        inner = sums[0] if len(sums) == 1 else xp.concat(sums, axis=-2)
        if where[0]:
            part, x, d = 1, es[0][1], inner[..., None, :]
            term = x @ inner if links else _scaled(xp, symbol, d, x)
        elif where[-1]:
            part, x, d = 2, es[-1][2], inner[..., :, None]
            term = inner @ x if links else _scaled(xp, symbol, d, x)
        else:
            part, term = 0, inner
        found[part] = total(found[part], term)
    return tuple(found)


def _scaled(xp: Any, symbol: Symbol, d: Array, x: Array) -> Array:
    """d x, zero where x is: what is undefined there is not asked for."""
    return d * x if not symbol.partial else xp.where(x == 0, xp.zeros_like(x), d) * x


def data_gradient(
    xp: Any, symbol: Symbol, b: Arrays, data: Arrays, g: Arrays, es: list[Arrays]
) -> Array:
    """The adjoint of `integral` at g as a linear map of the first of the data.

    A divided difference is linear in the data of each of its points: its coefficients are
    those of data that are zero but for a single one.
    """
    g, *es = _promoted(xp, (*b, data[0]), [g, *es])
    explicit, origin = _points(xp, symbol, b, (xp.zeros_like(data[0]), *data[1:]))
    rows, n = data[0].shape[-2], b[0].shape[-1]
    one = xp.zeros_like(explicit[0]) + 1
    found: list[list[Array]] = [[None] * rows, [None] * rows]  # explicit, and at the origin

    def add(at: list[Point], weight: Array, section: tuple[int, int]) -> None:
        for a, point in enumerate(at):
            for p in range(rows):
                unit = [*at]
                # the data are the last entries of a point
                unit[a] = tuple(
                    x + 1 if j == len(point) - rows + p else x for j, x in enumerate(point)
                )
                c = symbol.divided_difference(xp, unit) * weight
                axes = weight.ndim - one.ndim + 1
                other = tuple(-axes + j for j in range(axes) if j != a)
                term = xp.sum(c, axis=other, keepdims=False) if other else c
                if a >= axes:
                    term = term[..., None]
                elif a == 0:
                    term = _placed(xp, term, section, n)
                kind = int(a >= axes)
                found[kind][p] = total(found[kind][p], term)

    if not es:
        add([explicit], xp.linalg.diagonal(g[0]), (0, n))
    for where, links in _paths(es, len(b) > 1) if es else []:
        q = len(links)
        if where[0]:
            inner = (
                adjoint(xp, es[0][1]) @ g[1] if q else xp.sum(conj(xp, es[0][1]) * g[1], axis=-2)
            )
        elif where[-1]:
            inner = (
                g[2] @ adjoint(xp, es[-1][2]) if q else xp.sum(conj(xp, es[-1][2]) * g[2], axis=-1)
            )
        else:
            inner = g[0]
        start = 0
        for at, product in _sections(explicit, [origin] * sum(where), links):
            stop = start + at[0][0].shape[-1 - q]
            weight = inner
            if product is not None:
                weight = inner[..., start:stop, :]
                weight = weight[(..., slice(None), *(None,) * (q - 1), slice(None))]
                weight = weight * conj(xp, product)
            add(at, weight, (start, stop))
            start = stop
    out = []
    for p in range(rows):
        row = found[0][p]
        row = xp.zeros_like(one) if row is None else row
        if len(b) > 1:
            last = found[1][p]
            last = xp.zeros_like(row[..., :1]) if last is None else last
            row = xp.concat([row, last], axis=-1)
        out.append(like(xp, row, data[0])[..., None, :])
    return xp.concat(out, axis=-2)


def _placed(xp: Any, x: Array, section: tuple[int, int], n: int) -> Array:
    """x (..., stop - start) among zeros, (..., n)."""
    start, stop = section
    if (start, stop) == (0, n):
        return x
    nought = xp.zeros_like(x[..., :1])
    return xp.concat([nought] * start + [x] + [nought] * (n - stop), axis=-1)


def _promoted(xp: Any, others: Arrays, es: list[Arrays]) -> list[Arrays]:
    """The matrices, complex if any of them, or of the others, is."""
    dtype = xp.result_type(*(x.dtype for x in (*others, *(x for e in es for x in e))))
    return [tuple(x if x.dtype == dtype else xp.astype(x, dtype) for x in e) for e in es]


def _points(xp: Any, symbol: Symbol, b: Arrays, data: Arrays) -> tuple[Point, Point]:
    """The explicit points and the origin, where the rest is."""
    x = real(xp, xp.linalg.diagonal(b[0]))
    n = x.shape[-1]
    if len(b) > 1:
        x = xp.concat([x, xp.zeros_like(xp.sum(x, axis=-1, keepdims=True))], axis=-1)
    points = symbol.points(xp, x, *data)
    return tuple(p[..., :n] for p in points), tuple(p[..., n:] for p in points)


def _paths(es: list[Arrays], rest: bool) -> list[tuple[tuple[bool, ...], list[Array]]]:
    """Which of the indices i_0, ..., i_k lie in the rest, and what joins those that do not.

    No two neighbours lie there, and not both ends; two matrices that meet there are
    multiplied.
    """
    count = len(es) + 1
    paths = []
    for where in itertools.product((False, True) if rest else (False,), repeat=count):
        if any(x and y for x, y in itertools.pairwise(where)) or (where[0] and where[-1]):
            continue
        links, s, last = [], int(where[0]), len(es) - int(where[-1])
        while s < last:
            through = where[s + 1]
            links.append(es[s][2] @ es[s + 1][1] if through else es[s][0])
            s += 1 + through
        paths.append((where, links))
    return paths


def _sections(
    points: Point, others: list[Point], links: list[Array]
) -> Iterator[tuple[list[Point], Array]]:
    """Points, one along each of q + 1 last axes, and the products of the entries of q links.

    (M_1)_{ia} (M_2)_{ab} ... with axes i, a, b, ...; in sections of the first axis if there
    are many; None for no links.
    """
    q = len(links)
    n = points[0].shape[-1]

    def along(x: Array, axis: int) -> Array:
        """The last axis of x as the given one of q + 1."""
        return x[(..., *(slice(None) if a == axis else None for a in range(q + 1)))] if q else x

    entries = n ** (q + 1) * math.prod(points[0].shape[:-1])
    step = n if q < 2 or entries <= _LARGEST else max(1, n * _LARGEST // entries)
    for start in range(0, n, step) if n else (0,):
        section = slice(start, min(start + step, n))
        whole = step >= n
        at = [
            tuple(along(p if a or whole else p[..., section], a) for p in points)
            for a in range(q + 1)
        ]
        at += [tuple(along(p, q) for p in other) for other in others]
        product = None
        for a, m in enumerate(links):
            m = m if a or whole else m[..., section, :]
            if q > 1:
                m = m[(..., *(slice(None) if j in (a, a + 1) else None for j in range(q + 1)))]
            product = m if product is None else product * m
        yield at, product
