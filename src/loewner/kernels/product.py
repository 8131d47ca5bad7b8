"""Products of matrices that fit into the cache of one core, compiled by Numba.

Both factors are laid out in panels of a few rows or columns, so that a tile of the product,
which stays in registers, reads them in the order in which they lie: Goto and van de Geijn,
Anatomy of high-performance matrix multiplication, ACM TOMS 34 (2008), without the blocks
for matrices that are larger than the cache.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from .native import OPTIONS

_features = llvmlite.binding.get_host_cpu_features()

# a tile is ROWS numbers high and two vectors wide, a multiple of that: no more than there are
# registers for, and sums enough to wait for none
if _features.get("avx512f"):
    ROWS, VECTOR = 8, 64
else:
    ROWS, VECTOR = 4, 32 if _features.get("avx") else 16

ALIGNMENT = 64
"""Of the panels, in bytes: vectors that begin at a multiple of their size are read at once."""


@numba.njit(inline="always", **OPTIONS)
def columns(size):
    """How many numbers of so many bytes a tile is wide."""
    return 2 * VECTOR // size


def _tile(context: Any, number: Any, a: Any, b: Any, c: Any, step: Any, length: Any) -> Any:
    """A tile of numbers like the first argument, at the address c and in rows that are so many
    bytes apart, from panels of that length at a and b."""
    size = number.bitwidth // 8
    lanes = VECTOR // size

    def build(context, builder, signature, arguments):
        _, a, b, c, step, length = arguments
        scalar = context.get_value_type(number)
        vector, word = ir.VectorType(scalar, lanes), ir.IntType(64)

        def constant(x):
            return ir.Constant(word, x)

        def added(x, i):
            return builder.add(x, constant(i))

        a = builder.inttoptr(a, scalar.as_pointer())
        b = builder.inttoptr(b, vector.as_pointer())
        before = builder.block
        loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(word)
        tile = [[builder.phi(vector) for _ in range(2)] for _ in range(ROWS)]
        row, column = builder.mul(k, constant(ROWS)), builder.mul(k, constant(2))
        right = [builder.load(builder.gep(b, [added(column, j)])) for j in range(2)]
        found, undefined = [], ir.Constant(vector, ir.Undefined)
        first, every = ir.Constant(ir.IntType(32), 0), ir.VectorType(ir.IntType(32), lanes)
        for i, sums in enumerate(tile):
            x = builder.load(builder.gep(a, [added(row, i)]))
            x = builder.insert_element(undefined, x, first)
            left = builder.shuffle_vector(x, undefined, ir.Constant(every, [0] * lanes))
            fused = {"flags": ("contract",)}
            products = [builder.fmul(left, y, **fused) for y in right]
            found.append([builder.fadd(x, y, **fused) for x, y in zip(sums, products, strict=True)])
        following = added(k, 1)
        k.add_incoming(constant(0), before)
        k.add_incoming(following, loop)
        zero = ir.Constant(vector, [0.0] * lanes)
        for sums, others in zip(tile, found, strict=True):
            for x, y in zip(sums, others, strict=True):
                x.add_incoming(zero, before)
                x.add_incoming(y, loop)
        builder.cbranch(builder.icmp_signed("<", following, length), loop, after)
        builder.position_at_end(after)
        for i, sums in enumerate(found):
            place = builder.add(c, builder.mul(step, constant(i)))
            place = builder.inttoptr(place, vector.as_pointer())
            for j, x in enumerate(sums):
                # which lies anywhere, unlike the panels
                builder.store(x, builder.gep(place, [constant(j)])).align = size
        return context.get_dummy_value()

    int64 = numba.types.int64
    return numba.types.void(number, int64, int64, int64, int64, int64), build


_tiled: Any = intrinsic(_tile)


@numba.njit(**OPTIONS)
def moved(x, d, d0, d1, y, a, a0, a1, m, n):
    """Numbers (m, n) of y to numbers of x, both in steps to the next one below and beside it."""
    if n == 1 or (d0 == 1 and a0 == 1):
        m, n, d0, d1, a0, a1 = n, m, d1, d0, a1, a0
    if d1 == 1 and a1 == 1:
        for i in range(m):
            for j in range(n):
                x[_size(d + i * d0 + j)] = y[_size(a + i * a0 + j)]
        return
    # in squares, of which no line leaves the cache before all of it is read
    for p in range(0, m, 8):
        for q in range(0, n, 8):
            for i in range(p, min(p + 8, m)):
                for j in range(q, min(q + 8, n)):
                    x[_size(d + i * d0 + j * d1)] = y[_size(a + i * a0 + j * a1)]


_size = np.uintp
"""Of an index that may be negative NumPy's meaning of that is looked into, for each number."""


@numba.njit(**OPTIONS)
def room(m, n, k, size):
    """How many numbers of so many bytes `product` needs for panels."""
    width = columns(size)
    edges = (n + width) * ROWS
    return (m + ROWS) * k + (n + width) * k + edges + 3 * ALIGNMENT // size


@numba.njit(**OPTIONS)
def _up(count, step):
    """The least multiple of a step that is not less."""
    return (count + step - 1) // step * step


@numba.njit(**OPTIONS)
def panels(m, n, size):
    """How many there are of the left and of the right factor of a product (m, n)."""
    width = columns(size)
    return (m + ROWS - 1) // ROWS, (n + width - 1) // width


@numba.njit(**OPTIONS)
def _places(x, spare, m, k):
    """Where the panels of the left and of the right factor begin."""
    size = x.itemsize
    left = (_up(x.ctypes.data + size * spare, ALIGNMENT) - x.ctypes.data) // size
    return left, left + _up(_up(m, ROWS) * k, ALIGNMENT // size)


@numba.njit(**OPTIONS)
def lay_out(x, spare, item, a, a0, a1, b, b0, b1, m, n, k):
    """One of the panels of a product, those of the left factor first."""
    width = columns(x.itemsize)
    at, right = _places(x, spare, m, k)
    count, _ = panels(m, n, x.itemsize)
    if item < count:
        step = ROWS
    else:  # the columns of b are the rows of its transpose
        item, at, step, m, a, a0, a1 = item - count, right, width, n, b, b1, b0
    first = item * step
    at, count = at + first * k, min(step, m - first)
    moved(x, at, step, 1, x, a + first * a0, a1, a0, k, count)
    for l in range(k):
        for i in range(count, step):
            x[at + l * step + i] = 0


@numba.njit(**OPTIONS)
def fill_in(x, spare, item, d, d0, m, n, k, hermitian):
    """The columns of a product that one panel of the right factor makes.

    With those above the diagonal of the columns before them, if the product is Hermitian.
    """
    size, start = x.itemsize, x.ctypes.data
    width = columns(size)
    left, right = _places(x, spare, m, k)
    _, count = panels(m, n, size)
    edge = right + count * width * k + item * width * ROWS  # of its own, for threads
    j = item * width
    wide = min(width, n - j)
    for i in range(j if hermitian else 0, m, ROWS):
        high = min(ROWS, m - i)
        whole = high == ROWS and wide == width
        to, step = (d + i * d0 + j, d0) if whole else (edge, width)
        _tiled(
            x[0],
            start + size * (left + i * k),
            start + size * (right + j * k),
            start + size * to,
            size * step,
            k,
        )
        if not whole:
            moved(x, d + i * d0 + j, d0, 1, x, edge, width, 1, high, wide)
    if hermitian:
        for i in range(j, m):
            for l in range(j, min(j + wide, i)):
                x[d + l * d0 + i] = x[d + i * d0 + l]


@numba.njit(**OPTIONS)
def product(x, spare, d, d0, a, a0, a1, b, b0, b1, m, n, k, hermitian):
    """The product (m, n) of two matrices (m, k) and (k, n), all of them among the numbers x.

    Entry (i, j) is to be number d + i d0 + j, and those of the factors lie likewise, in steps
    of their own. From number `spare` on there is `room`. Of a product that is Hermitian no more
    than a triangle is computed.
    """
    left, right = panels(m, n, x.itemsize)
    for item in range(left + right):
        lay_out(x, spare, item, a, a0, a1, b, b0, b1, m, n, k)
    for item in range(right):
        fill_in(x, spare, item, d, d0, m, n, k, hermitian)
