"""Divided differences f[x_0, ..., x_k], the symbols of functions of matrices.

A symbol is a scalar function f that knows its divided differences of every order, right to
rounding at any distance of the points, also where they coincide. The matrix of the first
ones, f[x_i, x_j], is the Loewner matrix of f.

Order 1 is in closed form. From order 2 on, Newton's table of the sorted points,

    f[x_0..x_k] = (f[x_1..x_k] - f[x_0..x_{k-1}]) / (x_k - x_0),                         (1)

is used where the points are so far apart that it loses no digits, and where they are near
the expansion about their mean m,

    f[x_0..x_k] = sum_j f^(k+j)(m)/(k+j)! h_j(x_0 - m, ..., x_k - m),                    (2)

h_j the complete homogeneous symmetric polynomial of degree j, whose terms fall quickly.

Higham, Functions of Matrices (2008), B.16 (divided differences) and (3.14) (Daleckii and
Krein); McCurdy, Ng and Parlett, Math. Comp. 43 (1984), for (1) beside (2).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from abc import ABC, abstractmethod
from typing import Any

from .pieces import tolerance
from .rule import Array, Arrays

Point = Arrays
"""A point x and what the symbol knows of f there, as arrays of one shape: (x, ...)."""


class Symbol(ABC):
    """A scalar function and its divided differences; subclasses are frozen dataclasses."""

    data: int = 0
    """How many arrays (..., d, n) beside the n points describe f; it is linear in the first,
    and the others are constants."""

    partial: bool = False
    """Whether divided differences may be undefined, NaN. They do no harm where they are
    multiplied by zero: the function does not move there."""

    def points(self, xp: Any, x: Array, *data: Array) -> Point:
        """The points (..., n) with what the symbol needs to know of them."""
        return (x,)

    def value(self, xp: Any, p: Point) -> Array:
        """f(x)."""
        return self.divided_difference(xp, [p])

    @abstractmethod
    def divided_difference(self, xp: Any, points: list[Point]) -> Array:
        """f[x_0, ..., x_k], broadcast over the shapes of the points."""


class Tabled(Symbol):
    """A symbol that has f[x, y] in closed form, and (1) and (2) for more points."""

    @abstractmethod
    def value(self, xp: Any, p: Point) -> Array:
        """f(x)."""

    @abstractmethod
    def pair(self, xp: Any, p: Point, q: Point) -> Array:
        """f[x, y]."""

    @abstractmethod
    def near(self, xp: Any, points: list[Point]) -> tuple[Array, Array]:
        """Where three or more sorted points are too near for (1), and what holds there."""

    def divided_difference(self, xp, points):
        if len(points) == 1:
            return self.value(xp, points[0])
        if len(points) == 2:
            return self.pair(xp, *points)
        points = _sorted(xp, points)
        table = [self.pair(xp, p, q) for p, q in itertools.pairwise(points)]
        for width in range(2, len(points)):
            row = []
            for i in range(len(points) - width):
                low, high = points[i][0], points[i + width][0]
                near, there = self.near(xp, points[i : i + width + 1])
                run = xp.where(near, xp.zeros_like(high - low) + 1, high - low)
                row.append(xp.where(near, there, (table[i + 1] - table[i]) / run))
            table = row
        return table[0]


def _sorted(xp: Any, points: list[Point]) -> list[Point]:
    """The points in ascending order of x, by exchanges of neighbours."""
    points = list(points)
    for last in range(len(points) - 1, 0, -1):
        for i in range(last):
            p, q = points[i], points[i + 1]
            swap = q[0] < p[0]
            points[i] = tuple(xp.where(swap, b, a) for a, b in zip(p, q, strict=True))
            points[i + 1] = tuple(xp.where(swap, a, b) for a, b in zip(p, q, strict=True))
    return points


def _homogeneous(terms: list[Array], count: int) -> list[Any]:
    """h_0, ..., h_count of the terms: complete homogeneous symmetric polynomials."""
    h: list[Any] = [1.0] + [0.0] * count
    for u in terms:
        for j in range(1, count + 1):
            h[j] = h[j] + u * h[j - 1]
    return h


def _series(terms: list[Array], coefficients: list[float]) -> Array:
    """sum_j coefficients[j] h_j(terms)."""
    h = _homogeneous(terms, len(coefficients) - 1)
    return functools.reduce(
        lambda s, t: s + t, (c * hj for c, hj in reversed(list(zip(coefficients, h, strict=True))))
    )


def _mean(points: list[Array]) -> Array:
    return functools.reduce(lambda s, x: s + x, points) / len(points)


@dataclasses.dataclass(frozen=True)
class Exp(Tabled):
    """exp(x)."""

    def value(self, xp, p):
        return xp.exp(p[0])

    def pair(self, xp, p, q):
        # e^max (1 - e^-d)/d, d = |y - x|
        d = xp.abs(q[0] - p[0])
        one = xp.zeros_like(d) + 1
        high = xp.where(p[0] < q[0], q[0], p[0])
        return xp.exp(high) * xp.where(d > 0, -xp.expm1(-d) / xp.where(d > 0, d, one), one)

    def near(self, xp, points):
        x = [p[0] for p in points]
        k, m = len(x) - 1, _mean(x)
        near = x[-1] - x[0] <= 1
        inside = [xp.where(near, xi - m, xp.zeros_like(m)) for xi in x]
        coefficients = [1.0]
        for j in range(1, k + 1):
            coefficients[0] /= j
        for j in range(1, 19):
            coefficients.append(coefficients[-1] / (k + j))  # 1/(k+j)!
        return near, xp.exp(m) * _series(inside, coefficients)


class _Homogeneous(Tabled):
    """A symbol of positive numbers that is a power, or the logarithm, up to scale."""

    def _rounded(self, xp, x):
        """Without the negative numbers that are rounding errors of zero."""
        tau = tolerance(xp, x, x.shape[-1])
        return xp.where((x < 0) & (x >= -tau), xp.zeros_like(x), x)

    @abstractmethod
    def coefficients(self, k: int, count: int) -> list[float]:
        """f^(k+j)(1)/(k+j)! for j = 0, ..., count."""

    def _expanded(self, xp, x, power):
        """Where |x| are within a factor of each other, on one side; (2) scaled by the mean.

        The factor is 1.5, and less for large powers, whose series needs it.
        """
        k, m = len(x) - 1, _mean(x)
        low, high = xp.minimum(xp.abs(x[0]), xp.abs(x[-1])), xp.maximum(xp.abs(x[0]), xp.abs(x[-1]))
        near = (x[0] * x[-1] > 0) & ((1 + min(0.5, 4 / max(1.0, abs(power)))) * low >= high)
        one = xp.zeros_like(m) + 1
        m = xp.where(near, m, one)
        u = [xp.where(near, (xi - m) / m, xp.zeros_like(m)) for xi in x]
        size = xp.abs(m)
        sign = xp.where(m < 0, -one, one)
        return near, xp.pow(size, power - k * one) * _series(u, self.coefficients(k, 30)), sign


def _logarithm_of_ratio(xp, low, high):
    """log(low/high) and (high - low)/high for 0 <= low <= high, 0 < high."""
    u = (high - low) / high
    ratio = low / high
    small = ratio < 0.5
    one = xp.zeros_like(ratio) + 1
    far = xp.log(xp.where(small, ratio, one))
    return xp.where(small, far, xp.log1p(-xp.where(small, xp.zeros_like(u), u))), u


@dataclasses.dataclass(frozen=True)
class Log(_Homogeneous):
    """log(x), NaN at negative x."""

    def points(self, xp, x, *data):
        return (self._rounded(xp, x),)

    def value(self, xp, p):
        return xp.log(p[0])

    def pair(self, xp, p, q):
        # log(high/low)/(high - low)
        low, high = xp.minimum(p[0], q[0]), xp.maximum(p[0], q[0])
        one = xp.zeros_like(high) + 1
        proper = low >= 0
        log, u = _logarithm_of_ratio(xp, xp.where(proper, low, one), xp.where(proper, high, one))
        slope = xp.where(u > 0, -log / xp.where(u > 0, u, one), one) / high
        return xp.where(proper, slope, xp.nan * one)

    def near(self, xp, points):
        near, there, _ = self._expanded(xp, [p[0] for p in points], 0.0)
        return near, there

    def coefficients(self, k, count):
        return [(-1.0) ** (k + j - 1) / (k + j) for j in range(count + 1)]


@dataclasses.dataclass(frozen=True)
class Power(_Homogeneous):
    """x^p; at negative x NaN, or (-1)^p |x|^p if p is an integer, or -|x|^p if `odd`."""

    p: float
    odd: bool = False

    @property
    def _parity(self) -> float:
        if self.odd:
            return -1.0
        return (1.0 if self.p % 2 == 0 else -1.0) if float(self.p).is_integer() else float("nan")

    def points(self, xp, x, *data):
        return (x if self._parity == self._parity else self._rounded(xp, x),)

    def value(self, xp, p):
        (x,) = p
        one = xp.zeros_like(x) + 1
        return xp.pow(xp.abs(x), self.p * one) * xp.where(x < 0, self._parity * one, one)

    def pair(self, xp, p, q):
        # with r = low/high, the numbers without their signs:
        # high^(p-1) (1 - r^p)/(1 - r) on one side, high^(p-1) (1 - parity r^p)/(1 + r) across
        x, y = p[0], q[0]
        low, high = (f(xp.abs(x), xp.abs(y)) for f in (xp.minimum, xp.maximum))
        one = xp.zeros_like(high) + 1
        positive = xp.where(high > 0, high, one)
        log, u = _logarithm_of_ratio(xp, low, positive)
        log = xp.where(u > 0, log, xp.zeros_like(u))
        falls = -xp.expm1(self.p * log)  # 1 - r^p
        one_side = xp.where(u > 0, falls / xp.where(u > 0, u, one), self.p * one)
        parity = self._parity
        # at x the larger, f(x) - f(-y) = x^p - parity y^p; at -y the larger, the opposite
        larger_is_negative = xp.where(xp.abs(x) >= xp.abs(y), x, y) < 0
        across = (1 - parity * xp.exp(self.p * log)) / (1 + low / positive)
        across = xp.where(larger_is_negative, -parity * across, across)
        same = (x >= 0) & (y >= 0) | (x <= 0) & (y <= 0)
        side = xp.where((x < 0) | (y < 0), -parity * one, one)
        return xp.pow(high, (self.p - 1) * one) * xp.where(same, side * one_side, across)

    def near(self, xp, points):
        x = [p[0] for p in points]
        near, there, sign = self._expanded(xp, x, self.p)
        k = len(x) - 1
        # f(-y) = parity f(y): (-1)^k parity times the difference of the numbers without sign
        there = xp.where(sign < 0, (-1.0) ** k * self._parity * there, there)
        if self._parity == self._parity:
            nought = (x[0] == 0) & (x[-1] == 0)
            at_zero = 0.0 if self.p > k else float("inf")
            there = xp.where(nought, xp.zeros_like(there) + at_zero, there)
            near = near | nought
        return near, there

    def coefficients(self, k, count):
        c = 1.0
        for j in range(k):
            c *= (self.p - j) / (j + 1)
        found = [c]
        for j in range(count):
            found.append(found[-1] * (self.p - k - j) / (k + j + 1))  # binomial(p, k + j)
        return found


@dataclasses.dataclass(frozen=True)
class Monomial(Symbol):
    """x^p, p = 0, 1, 2, ...: f[x_0..x_k] = h_{p-k}(x_0..x_k)."""

    p: int

    def divided_difference(self, xp, points):
        x = [p[0] for p in points]
        degree = self.p - len(x) + 1
        nought = functools.reduce(lambda s, t: s + t, (xp.zeros_like(xi) for xi in x))
        return nought + (_homogeneous(x, degree)[-1] if degree >= 0 else 0.0)


@dataclasses.dataclass(frozen=True)
class Inverse(Symbol):
    """1/x: f[x_0..x_k] = (-1)^k / (x_0 ... x_k)."""

    def divided_difference(self, xp, points):
        k = len(points) - 1
        return (-1.0) ** k * functools.reduce(lambda s, t: s * t, (1 / p[0] for p in points))


@dataclasses.dataclass(frozen=True)
class Cut(Tabled):
    """c f(x), c (..., 1, n) constant on parts of the spectrum that are apart.

    On one part the divided differences are those of c f; across, quotients. They are
    undefined, NaN, if two parts come nearer than the backward error of the solver.
    """

    base: Symbol
    data = 1
    partial = True

    def points(self, xp, x, *data):
        c = data[0][..., 0, :]
        safe = xp.where(c == 0, xp.zeros_like(x) + 1, x)
        tau = tolerance(xp, x, x.shape[-1]) + xp.zeros_like(x)
        return x, c, tau, *self.base.points(xp, safe)

    def value(self, xp, p):
        _, c, _, *base = p
        value = c * self.base.value(xp, tuple(base))
        return xp.where(c == 0, xp.zeros_like(value), value)

    def _together(self, xp, points):
        """Whether all points are in one part, and what holds then."""
        c = points[0][1]
        same = functools.reduce(lambda s, t: s & t, (p[1] == c for p in points[1:]))
        inside = c * self.base.divided_difference(xp, [tuple(p[3:]) for p in points])
        return same, xp.where(same & (c != 0), inside, xp.zeros_like(inside))

    def pair(self, xp, p, q):
        same, inside = self._together(xp, [p, q])
        gap = q[0] - p[0]
        apart = xp.abs(gap) > p[2]
        one = xp.zeros_like(gap) + 1
        quotient = (self.value(xp, q) - self.value(xp, p)) / xp.where(apart, gap, one)
        return xp.where(same, inside, xp.where(apart, quotient, xp.nan * one))

    def near(self, xp, points):
        return self._together(xp, points)


@dataclasses.dataclass(frozen=True)
class Jet(Tabled):
    """Any smooth f, given by f, f', f'', ... at the points, (..., 1 + d, n), and their reach.

    The reach (..., 1, n) is the distance up to which the Taylor series at a point is better
    than (1): the series holds for points within the reach of each other, (1) for the rest.
    """

    data = 2

    def points(self, xp, x, *data):
        rows, reach = data
        return x, reach[..., 0, :], *(rows[..., j, :] for j in range(rows.shape[-2]))

    def value(self, xp, p):
        return p[2]

    def pair(self, xp, p, q):
        near, there = self.near(xp, [p, q])
        run = xp.where(near, xp.zeros_like(q[0] - p[0]) + 1, q[0] - p[0])
        return xp.where(near, there, (q[2] - p[2]) / run)

    def near(self, xp, points):
        (x, reach, *_), (y, other, *_) = points[0], points[-1]
        run = xp.abs(y - x)
        near = (run <= reach) & (run <= other)
        k, order = len(points) - 1, len(points[0]) - 3
        if k > order:
            raise NotImplementedError(
                f"derivatives of order {k} of a function of a matrix whose values are given "
                f"with {order} derivatives"
            )
        return near, self._expanded(xp, points, near, order)

    def _expanded(self, xp, points, near, order):
        """The mean of the expansions at the first and at the last point."""
        k, total = len(points) - 1, None
        for at in (points[0], points[-1]):
            h = _homogeneous(
                [xp.where(near, p[0] - at[0], xp.zeros_like(p[0])) for p in points], order - k
            )
            factorial = 1.0
            for j in range(1, k + 1):
                factorial *= j
            for j in range(order - k + 1):
                term = at[2 + k + j] * (h[j] / (2 * factorial))
                if j:  # products of large numbers may overflow where they do not count
                    none = (h[j] == 0) | (at[2 + k + j] == 0)
                    term = xp.where(none, xp.zeros_like(term), term)
                total = term if total is None else total + term
                factorial *= k + j + 1
        return total


@dataclasses.dataclass(frozen=True)
class Pieces(Jet):
    """A polynomial f on each piece of the spectrum, given by f, f', ... at the points.

    The data (..., 2 + d, n) end with what higher divided differences within a piece are: 0,
    or NaN where they are missing. Points of one piece carry one label (..., 1, n).
    """

    def near(self, xp, points):
        first, last = points[0], points[-1]
        near = first[1] == last[1]
        k, order = len(points) - 1, len(first) - 4
        return near, first[-1] if k > order else self._expanded(xp, points, near, order)
