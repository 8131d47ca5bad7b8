"""What factorizations do to rows of a matrix, in vector registers.

A matrix is a part of one buffer, in rows that begin at a multiple of a vector and end in zeros
up to the next one, so that a row is so many whole vectors. LLVM would make vector instructions
of such loops by itself, but a loop over what is left for rows of every length and place, and
it would keep no sum of several rows in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

from .native import OPTIONS
from .product import VECTOR

_WORD = ir.IntType(64)
_int64 = numba.types.int64
_FUSED = {"flags": ("contract",)}


def _constant(x: int) -> ir.Constant:
    return ir.Constant(_WORD, x)


class _Vectors:
    """Instructions for vectors of numbers like one of Numba's."""

    def __init__(self, context: Any, builder: Any, number: Any):
        self.builder = builder
        self.size = number.bitwidth // 8
        self.lanes = VECTOR // self.size
        self.scalar = context.get_value_type(number)
        self.type = ir.VectorType(self.scalar, self.lanes)
        self.zero = ir.Constant(self.type, [0.0] * self.lanes)

    def at(self, address: Any, offset: Any = 0) -> Any:
        """The place of a vector so many bytes from an address on."""
        if not isinstance(offset, int) or offset:
            offset = _constant(offset) if isinstance(offset, int) else offset
            address = self.builder.add(address, offset)
        return self.builder.inttoptr(address, self.type.as_pointer())

    def load(self, address: Any, offset: Any = 0) -> Any:
        return self.builder.load(self.at(address, offset), align=VECTOR)

    def store(self, x: Any, address: Any, offset: Any = 0) -> None:
        self.builder.store(x, self.at(address, offset), align=VECTOR)

    def everywhere(self, address: Any) -> Any:
        """A vector of the number at an address."""
        place = self.builder.inttoptr(address, self.scalar.as_pointer())
        return self.all(self.builder.load(place))

    def all(self, x: Any) -> Any:
        """A vector of one number."""
        builder, number = self.builder, ir.Constant(self.type, ir.Undefined)
        number = builder.insert_element(number, x, _constant(0))
        every = ir.VectorType(ir.IntType(32), self.lanes)
        return builder.shuffle_vector(number, number, ir.Constant(every, [0] * self.lanes))

    def product(self, x: Any, y: Any) -> Any:
        return self.builder.fmul(x, y, **_FUSED)

    def added(self, x: Any, y: Any, z: Any) -> Any:
        """x + y z."""
        return self.builder.fadd(x, self.product(y, z), **_FUSED)

    def taken(self, x: Any, y: Any, z: Any) -> Any:
        """x - y z."""
        return self.builder.fsub(x, self.product(y, z), **_FUSED)

    def joined(self, x: Any, y: Any, z: Any) -> Any:
        """x y + z, in which x y is what is not rounded, so that one instruction waits for y."""
        module, name = self.builder.module, f"llvm.fmuladd.v{self.lanes}f{8 * self.size}"
        kind = ir.FunctionType(self.type, [self.type] * 3)
        joined = module.globals.get(name) or ir.Function(module, kind, name)
        return self.builder.call(joined, [x, y, z])

    def sum(self, x: Any) -> Any:
        """The sum of the numbers of a vector, by halves."""
        builder, lanes = self.builder, self.lanes
        while lanes > 1:
            lanes //= 2
            kinds = ir.VectorType(ir.IntType(32), lanes)
            halves = [
                builder.shuffle_vector(x, x, ir.Constant(kinds, list(range(i, i + lanes))))
                for i in (0, lanes)
            ]
            x = builder.fadd(*halves)
        return builder.extract_element(x, _constant(0))

    def loop(
        self, begin: Any, end: Any, step: int, carried: list[Any], body: Callable[..., list[Any]]
    ) -> list[Any]:
        """body(i, carried) for i from begin to before end, at least once; what it ends with."""
        builder, before = self.builder, self.builder.block
        inside, after = (builder.append_basic_block(x) for x in ("inside", "after"))
        builder.branch(inside)
        builder.position_at_end(inside)
        i = builder.phi(_WORD)
        given = [builder.phi(x.type) for x in carried]
        found = body(i, given)
        following = builder.add(i, _constant(step))
        for phi, first, later in zip(
            [i, *given], [begin, *carried], [following, *found], strict=True
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(later, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, end), inside, after)
        builder.position_at_end(after)
        return found


def _combination(count: int, terms: int, ending: str) -> Any:
    """For `count` rows, that far apart, from byte `begin` to byte `end` of each:

    row_i -= c0_i v0 + c1_i v1          no, one or two terms
    y_i = row_i . u                     "products"
    u += sum_i y_i row_i                "sum"
    """

    def typed(context, number, rows, step, begin, end, c0, v0, c1, v1, u, y):
        def build(context, builder, signature, arguments):
            rows, step, begin, end, c0, v0, c1, v1, u, y = arguments[1:]
            of = _Vectors(context, builder, number)
            places = [builder.add(rows, builder.mul(step, _constant(i))) for i in range(count)]

            def entries(base):
                return [
                    of.everywhere(builder.add(base, _constant(of.size * i))) for i in range(count)
                ]

            pairs = [(c0, v0), (c1, v1)][:terms]
            coefficients = [entries(c) for c, _ in pairs]
            weights = entries(y) if ending == "sum" else []

            def body(j, sums):
                x = [of.load(place, j) for place in places]
                for c, (_, v) in zip(coefficients, pairs, strict=True):
                    term = of.load(v, j)
                    x = [of.taken(row, c[i], term) for i, row in enumerate(x)]
                if terms:
                    for row, place in zip(x, places, strict=True):
                        of.store(row, place, j)
                if ending == "products":
                    other = of.load(u, j)
                    return [of.added(s, row, other) for s, row in zip(sums, x, strict=True)]
                if ending == "sum":
                    total = of.load(u, j)
                    for row, weight in zip(x, weights, strict=True):
                        total = of.added(total, weight, row)
                    of.store(total, u, j)
                return []

            sums = of.loop(begin, end, VECTOR, [of.zero] * count * (ending == "products"), body)
            for i, s in enumerate(sums):
                place = builder.add(y, _constant(of.size * i))
                builder.store(of.sum(s), builder.inttoptr(place, of.scalar.as_pointer()))
            return context.get_dummy_value()

        return numba.types.void(number, *[_int64] * 10), build

    return intrinsic(typed)


_TOGETHER = 4
"""How many rows share what is read of the vectors that they are combined with."""


def _combined(terms: int, ending: str) -> Any:
    together, single = (_combination(count, terms, ending) for count in (_TOGETHER, 1))

    @numba.njit(**OPTIONS)
    def combined(x, rows, step, first, last, begin, end, c0, v0, c1, v1, u, y):
        size, start = x.itemsize, x.ctypes.data
        lanes = VECTOR // size
        low, high = size * (begin // lanes * lanes), size * end
        v0, v1, u = start + size * v0, start + size * v1, start + size * u
        i = first
        while i < last:
            row = start + size * (rows + i * step)
            a, b, z = start + size * (c0 + i), start + size * (c1 + i), start + size * (y + i)
            if i + _TOGETHER <= last:
                together(x[0], row, size * step, low, high, a, v0, b, v1, u, z)
                i += _TOGETHER
            else:
                single(x[0], row, size * step, low, high, a, v0, b, v1, u, z)
                i += 1

    return combined


products: Any = _combined(0, "products")
less_one: Any = _combined(1, "none")
less_two_products: Any = _combined(2, "products")
less_one_products: Any = _combined(1, "products")
less_one_sum: Any = _combined(1, "sum")


def _chain(width: int) -> Any:
    """One sequence of `turned` for so many vectors of each row; the row that is turned next stays
    in registers."""

    def typed(context, number, rows, step, count, c, s, sign):
        def build(context, builder, signature, arguments):
            rows, step, count, c, s, sign = arguments[1:]
            of = _Vectors(context, builder, number)
            offsets = [VECTOR * i for i in range(width)]

            def body(k, upper):
                row = builder.add(rows, builder.mul(k, step))
                entry = builder.mul(k, _constant(of.size))
                cosine = of.everywhere(builder.add(c, entry))
                sine = of.everywhere(builder.add(s, entry))
                minus, following = builder.fneg(sine), []
                for x, offset in zip(upper, offsets, strict=True):
                    y = of.load(builder.add(row, step), offset)
                    of.store(of.added(of.product(sine, y), cosine, x), row, offset)
                    following.append(of.joined(minus, x, of.product(cosine, y)))
                return following

            first = [of.load(rows, offset) for offset in offsets]
            last = of.loop(_constant(0), count, 1, first, body)
            row = builder.add(rows, builder.mul(count, step))
            sign = of.all(builder.sitofp(sign, of.scalar))
            for x, offset in zip(last, offsets, strict=True):
                of.store(of.product(sign, x), row, offset)
            return context.get_dummy_value()

        return numba.types.void(number, *[_int64] * 6), build

    return intrinsic(typed)


_four, _two, _one = map(_chain, (4, 2, 1))

SEQUENCES = 16
"""How many sequences of rotations a log has."""

FIRST, WAY, TURNS, SIGN = range(4)
"""Words of a sequence: the row it begins with, whether it goes down (1) or up (-1), how many
rotations it has, and what the row it ends with is multiplied by (1 or -1)."""

_NEAR = 2**15
"""So many bytes stay in the nearest cache."""


@numba.njit(**OPTIONS)
def turned(x, rows, step, log, count, c, apart, n, end):
    """n rows by as many sequences of a log as are in it, in which row_k meets the one after it:

        row_k, row_k+1 = c_k row_k + s_k row_k+1, c_k row_k+1 - s_k row_k

    The cosines of a sequence begin that far apart, n numbers before its sines. A few vectors of
    all rows see all sequences before the next ones do, in the nearest cache.
    """
    size, start = x.itemsize, x.ctypes.data
    row, c, s, apart = start + size * rows, start + size * c, start + size * (c + n), size * apart
    step, after = size * step, row + size * end
    most = max(1, min(4, _NEAR // (n * VECTOR)))
    while row < after:
        left = (after - row + VECTOR - size) // VECTOR
        width = min(most, left)
        width = 4 if width >= 4 else 2 if width >= 2 else 1
        for i in range(count):
            first, along = row + log[i, FIRST] * step, log[i, WAY] * step
            cosines, sines, turns, sign = c + i * apart, s + i * apart, log[i, TURNS], log[i, SIGN]
            if width == 4:
                _four(x[0], first, along, turns, cosines, sines, sign)
            elif width == 2:
                _two(x[0], first, along, turns, cosines, sines, sign)
            else:
                _one(x[0], first, along, turns, cosines, sines, sign)
        row += width * VECTOR
