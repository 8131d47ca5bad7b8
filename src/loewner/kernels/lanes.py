"""Jacobi's method for stacks of small real matrices, compiled by Numba.

The methods of `jacobi`, whose formulas, tests of convergence and reasons hold here, with
loops in place of array operations. A block of `LANES` matrices lies entry by entry in one
buffer (rows, lanes) that stays in a cache of the core; the innermost loops run over the lanes,
without branches, so that they become vector instructions. That needs orders known to the
compiler: there is one kernel for each shape and precision, compiled at its first use and
kept on disk.
"""

from __future__ import annotations

import functools
import math

import numba
import numpy as np

from .jacobi import RANGES
from .native import COUNT, OPTIONS, OWN, Kernel, array, finished, scaled, taken, words

LANES = 64
_SWEEPS = 40


@numba.njit(**OPTIONS)
def _turn(d, x, noise, one):
    """z and the shift of (1) in `jacobi`, and t with c = 1 - z t.

    With these columns are turned by x - z (y + t x) and y + z (x - t y), of which small turns
    round little (Rutishauser, Numer. Math. 9 (1966)).

        r = 1 / c = sqrt(1 + tau^2),  z = tau / r,  t = tau / (1 + r)
    """
    h = math.sqrt(d * d + (x * x + noise))
    tau = x / (d + math.copysign(h, d))
    r = math.sqrt(tau * tau + one)
    tangent = tau / (r + r * r)  # one division for both
    return tangent + tangent * r, tangent * r, x * tau


@numba.njit(inline="always", **OPTIONS)
def _turn_rows(x, p, q, z, t):
    """Rows p and q of the buffer turned by the z and t in two other rows."""
    for l in range(LANES):
        left, right = x[p, l], x[q, l]
        x[p, l] = left - x[z, l] * (right + x[t, l] * left)
        x[q, l] = right + x[z, l] * (left - x[t, l] * right)


@numba.njit(inline="always", **OPTIONS)
def _swap_rows(x, p, q, swap):
    """Rows p and q of the buffer exchanged in the lanes in which a third is not zero."""
    for l in range(LANES):
        left, right = x[p, l], x[q, l]
        x[p, l] = right if x[swap, l] != 0 else left
        x[q, l] = left if x[swap, l] != 0 else right


@numba.njit(inline="always", **OPTIONS)
def _start(x, first, n):
    """The columns of the identity, from that row of the buffer on."""
    for j in range(n):
        for i in range(n):
            for l in range(LANES):
                x[first + j * n + i, l] = 1 if i == j else 0


@numba.njit(**OPTIONS)
def _numbers(dtype):
    """What `_separated` needs: constants in a loop over lanes would be of double precision."""
    number = dtype.type
    return (
        number(1),
        number(2),
        number(0.5),
        number(1 / 3),
        number(0.0164),
        number(3**0.5),
        np.finfo(dtype).tiny,
    )


@numba.njit(inline="always", **OPTIONS)
def _separated(numbers, a):
    """`jacobi._separated` of one matrix with that lower triangle by rows: the vectors of a frame.

    The numbers are `_numbers` of its precision.
    """
    one, two, half, third, slope, start, tiny = numbers
    a00, a10, a11, a20, a21, a22 = a
    mean = (a00 + a11 + a22) * third
    b00, b11, b22 = a00 - mean, a11 - mean, a22 - mean
    mean = (b00 + b11 + b22) * third  # again, since it is rounded and p may be small
    b00, b11, b22 = b00 - mean, b11 - mean, b22 - mean
    squares = b00 * b00 + b11 * b11 + b22 * b22 + two * (a10 * a10 + a20 * a20 + a21 * a21)
    inverse = one / math.sqrt(squares * (half * third) + tiny)
    b00, b11, b22 = b00 * inverse, b11 * inverse, b22 * inverse
    b10, b20, b21 = a10 * inverse, a20 * inverse, a21 * inverse
    det = b00 * (b11 * b22 - b21 * b21) - b10 * (b10 * b22 - b20 * b21)
    det += b20 * (b10 * b21 - b20 * b11)
    size = abs(det)
    size = min(size, two)
    # the root of (2) to 4e-3, and two steps of Newton; a sweep mends the rest
    t = (half * third - size * slope) * size + start
    t = (t * t * t + size * half) / ((one + half) * (t * t - one))
    t = (t * t * t + size * half) / ((one + half) * (t * t - one))
    t = math.copysign(t, det)
    m00, m11, m22 = b00 - t, b11 - t, b22 - t
    # the columns of adj(B - t), and the longest of them
    c00, c11, c22 = m11 * m22 - b21 * b21, m00 * m22 - b20 * b20, m00 * m11 - b10 * b10
    c10, c20, c21 = b20 * b21 - b10 * m22, b10 * b21 - b20 * m11, b10 * b20 - b21 * m00
    second = c11 > c00
    x, y, z = c10 if second else c00, c11 if second else c10, c21 if second else c20
    last = c22 > (c11 if second else c00)
    x, y, z = c20 if last else x, c21 if last else y, c22 if last else z
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length  # the identity has a frame of zeros and ones
    # and its complement (Duff et al., JCGT 6 (2017))
    sign = math.copysign(one, z)
    xa, ya = -x / (sign + z), -y / (sign + z)
    first = sign * x * xa + one, sign * x * ya, -sign * x
    return first, (x * ya, y * ya + sign, -y), (x, y, z)


@numba.njit(inline="always", **OPTIONS)
def _start_separated(x, first, a, numbers):
    """The vectors of `_separated`, from the first row of the buffer on, of matrices from row a."""
    for l in range(LANES):
        y = x[a, l], x[a + 1, l], x[a + 2, l], x[a + 3, l], x[a + 4, l], x[a + 5, l]
        f, g, h = _separated(numbers, y)
        x[first, l], x[first + 1, l], x[first + 2, l] = f
        x[first + 3, l], x[first + 4, l], x[first + 5, l] = g
        x[first + 6, l], x[first + 7, l], x[first + 8, l] = h


@numba.njit(**OPTIONS)
def _form(a, u, v):
    """u^T A v for the lower triangle of symmetric A, of order 3, by rows."""
    a00, a10, a11, a20, a21, a22 = a
    x, y, z = v
    first, second = a00 * x + a10 * y + a20 * z, a10 * x + a11 * y + a21 * z
    return u[0] * first + u[1] * second + u[2] * (a20 * x + a21 * y + a22 * z)


@numba.njit(inline="always", **OPTIONS)
def _inner(x, p, q, m, out):
    """The inner products of columns of m rows that begin at rows p and q, into another row."""
    for l in range(LANES):
        x[out, l] = 0
    for i in range(m):
        for l in range(LANES):
            x[out, l] += x[p + i, l] * x[q + i, l]


@numba.njit(**OPTIONS)
def _rescaled(x, rows, sizes, exponents, low, high):
    """The first rows of the lanes that leave the range scaled by a power of two, 2^-exponent.

    Lanes that are not finite become NaN. Whether there are such lanes.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    outside = zero
    for lane in range(LANES):
        size = sizes[lane]
        outside += zero if size == zero or low <= size <= high else one
    if outside == zero:
        return False
    for lane in range(LANES):
        size = sizes[lane]
        exponents[lane] = 0
        if size - size != zero:
            for i in range(rows):
                x[i, lane] = np.nan
        elif size != zero and not low <= size <= high:
            sizes[lane], exponents[lane] = math.frexp(size)
            scaled(x[:, lane], 0, rows, -exponents[lane])
    return True


@numba.njit(**OPTIONS)
def _at(i, j):
    """The row of a_ij in the lower triangle by rows.

    Called inside the loops over lanes: a row that is worked out before them, with others in one
    assignment, keeps LLVM from making vector instructions.
    """
    return i * (i + 1) // 2 + j if i >= j else j * (j + 1) // 2 + i


@functools.cache
def eigh_kernel(n: int, lower: bool, vectors: bool, dtype: str) -> Kernel:
    """The kernel of `eigh` for one order."""
    number = np.dtype(dtype).type
    low, high, _ = RANGES[np.finfo(dtype).bits, 2]
    triangle = n * (n + 1) // 2
    # the rows of the buffer: the lower triangle by rows, the frame by columns, z, t and noise
    F = triangle
    Z = F + (n * n if vectors or n == 3 else 0)
    T, N = Z + 1, Z + 2

    def kernel(address):
        job = words(address, OWN + 3)
        b = job[COUNT]
        a = array(job[OWN], (b, n, n), number)
        w = array(job[OWN + 1], (b, n), number)
        v = array(job[OWN + 1 + vectors], (b, n, n), number)  # w, if not asked for
        zero, one = w.dtype.type(0), w.dtype.type(1)
        half, quarter = one / w.dtype.type(2), one / w.dtype.type(4)
        eps, tiny = np.finfo(w.dtype).eps * quarter, np.finfo(w.dtype).tiny
        nothing = w.dtype.type(2.0**-20)
        numbers = _numbers(w.dtype)
        x = np.empty((N + 1, LANES), w.dtype)
        sizes = np.empty(LANES, w.dtype)
        exponents = np.zeros(LANES, np.int64)
        while True:
            begin, end = taken(address)
            if begin == end:
                break
            for start in range(begin, end, LANES):
                count = min(LANES, end - start)
                for l in range(LANES):
                    t = start + min(l, count - 1)
                    size = lost = zero
                    for i in range(n):
                        for j in range(i + 1):
                            y = a[t, i, j] if lower else a[t, j, i]
                            x[_at(i, j), l] = y
                            size = max(size, abs(y))
                            lost += y - y  # NaN unless y is finite
                    sizes[l] = size + lost
                outside = _rescaled(x, triangle, sizes, exponents, low, high)
                for l in range(LANES):
                    size = zero
                    for i in range(triangle):
                        size = max(size, abs(x[i, l]))
                    sizes[l] = eps * size  # the limit of convergence
                    x[N, l] = sizes[l] * sizes[l] + tiny
                if n == 3:
                    _start_separated(x, F, 0, numbers)
                    for l in range(LANES):
                        y = x[0, l], x[1, l], x[2, l], x[3, l], x[4, l], x[5, l]
                        f = x[F, l], x[F + 1, l], x[F + 2, l]
                        g = x[F + 3, l], x[F + 4, l], x[F + 5, l]
                        h = x[F + 6, l], x[F + 7, l], x[F + 8, l]
                        x[0, l], x[1, l], x[2, l] = _form(y, f, f), _form(y, g, f), _form(y, g, g)
                        x[3, l], x[4, l], x[5, l] = _form(y, h, f), _form(y, h, g), _form(y, h, h)
                elif vectors:
                    _start(x, F, n)
                for _ in range(_SWEEPS):
                    far = zero
                    for q in range(1, n):
                        for p in range(q):
                            for l in range(LANES):
                                far += one if abs(x[_at(q, p), l]) > sizes[l] else zero
                    if far == zero:
                        break
                    for p in range(n - 1):
                        for q in range(p + 1, n):
                            for l in range(LANES):
                                d = (x[_at(q, q), l] - x[_at(p, p), l]) * half
                                y = x[_at(q, p), l]
                                # some processors take a hundred times as long for squares that
                                # are denormal; what is left out is 2^-10 of the limit
                                y = y if y * y > x[N, l] * nothing + tiny else zero
                                x[Z, l], x[T, l], shift = _turn(d, y, x[N, l], one)
                                x[_at(p, p), l] -= shift
                                x[_at(q, q), l] += shift
                                x[_at(q, p), l] = zero
                            for r in range(n):
                                if r != p and r != q:
                                    rp = _at(r, p)
                                    rq = _at(r, q)
                                    _turn_rows(x, rp, rq, Z, T)
                            if vectors:
                                for i in range(n):
                                    _turn_rows(x, F + p * n + i, F + q * n + i, Z, T)
                for last in range(n - 1, 0, -1):
                    for j in range(last):
                        for l in range(LANES):
                            left, right = x[_at(j, j), l], x[_at(j + 1, j + 1), l]
                            swap = left > right
                            x[_at(j, j), l] = right if swap else left
                            x[_at(j + 1, j + 1), l] = left if swap else right
                            x[Z, l] = one if swap else zero
                        if vectors:
                            for i in range(n):
                                _swap_rows(x, F + j * n + i, F + j * n + n + i, Z)
                for l in range(count):
                    for j in range(n):
                        w[start + l, j] = x[_at(j, j), l]
                        if vectors:
                            for i in range(n):
                                v[start + l, i, j] = x[F + j * n + i, l]
                if outside:
                    for l in range(count):
                        scaled(w[start + l], 0, n, exponents[l])
                        if vectors and w[start + l, 0] != w[start + l, 0]:
                            v[start + l] = np.nan
            finished(address, end - begin)

    name = f"eigh_{n}_{'lower' if lower else 'upper'}_{vectors:d}_{dtype}"
    return Kernel(kernel, name, LANES)


@functools.cache
def svd_kernel(m: int, n: int, k: int, vectors: bool, dtype: str) -> Kernel:
    """The kernel of `svd` for one shape, m >= n, with k columns of U."""
    number = np.dtype(dtype).type
    low, high, larger = RANGES[np.finfo(dtype).bits, 4]
    framed = n == 3
    # the rows of the buffer: G and the frame by columns, the squares of the columns, z and t, and
    # one more: the triangle of G^T G lies from S on, before all of these
    F = m * n
    S = F + (n * n if vectors or framed else 0)
    Z, T = S + n, S + n + 1

    def kernel(address):
        job = words(address, OWN + 4)
        b = job[COUNT]
        a = array(job[OWN], (b, m, n), number)
        u = array(job[OWN + 1], (b, m, k), number)  # s, if not asked for, as vh
        s = array(job[OWN + 1 + vectors], (b, n), number)
        vh = array(job[OWN + 1 + 2 * vectors], (b, n, n), number)
        zero, one = s.dtype.type(0), s.dtype.type(1)
        half = one / s.dtype.type(2)
        eps, tiny = np.finfo(s.dtype).eps, np.finfo(s.dtype).tiny
        # small turns round little, and long sums of rounding errors are random
        bound = s.dtype.type((2 * m**0.5 + 2) ** 2) * eps * eps
        numbers = _numbers(s.dtype)
        common, common_back = s.dtype.type(larger), s.dtype.type(1 / larger)
        x = np.empty((T + 2, LANES), s.dtype)
        sizes = np.empty(LANES, s.dtype)
        exponents = np.zeros(LANES, np.int64)
        while True:
            begin, end = taken(address)
            if begin == end:
                break
            for start in range(begin, end, LANES):
                count = min(LANES, end - start)
                for l in range(LANES):
                    t = start + min(l, count - 1)
                    size = lost = zero
                    for i in range(m):
                        for j in range(n):
                            y = a[t, i, j]
                            x[j * m + i, l] = y
                            size = max(size, abs(y))
                            lost += y - y  # NaN unless y is finite
                    sizes[l] = size + lost
                outside = _rescaled(x, m * n, sizes, exponents, low, high)
                if larger != 1:
                    for i in range(m * n):
                        for l in range(LANES):
                            x[i, l] *= common
                if framed:
                    for q in range(n):
                        for p in range(q + 1):
                            _inner(x, q * m, p * m, m, S + _at(q, p))
                    _start_separated(x, F, S, numbers)
                    for i in range(m):
                        for l in range(LANES):
                            y0, y1, y2 = x[i, l], x[m + i, l], x[2 * m + i, l]
                            x[i, l] = y0 * x[F, l] + y1 * x[F + 1, l] + y2 * x[F + 2, l]
                            x[m + i, l] = y0 * x[F + 3, l] + y1 * x[F + 4, l] + y2 * x[F + 5, l]
                            x[2 * m + i, l] = y0 * x[F + 6, l] + y1 * x[F + 7, l] + y2 * x[F + 8, l]
                elif vectors:
                    _start(x, F, n)
                for _ in range(_SWEEPS):
                    for j in range(n):
                        _inner(x, j * m, j * m, m, S + j)
                    far = zero
                    for p in range(n - 1):
                        for q in range(p + 1, n):
                            _inner(x, p * m, q * m, m, Z)
                            for l in range(LANES):
                                noise = bound * x[S + p, l] * x[S + q, l] + tiny
                                far += one if x[Z, l] * x[Z, l] > noise else zero
                    if far == zero:
                        break
                    for p in range(n - 1):
                        for q in range(p + 1, n):
                            _inner(x, p * m, q * m, m, Z)
                            for l in range(LANES):
                                noise = bound * x[S + p, l] * x[S + q, l] + tiny
                                d = (x[S + q, l] - x[S + p, l]) * half
                                x[Z, l], x[T, l], shift = _turn(d, x[Z, l], noise, one)
                                x[S + p, l], x[S + q, l] = x[S + p, l] - shift, x[S + q, l] + shift
                            for i in range(m):
                                _turn_rows(x, p * m + i, q * m + i, Z, T)
                            if vectors:
                                for i in range(n):
                                    _turn_rows(x, F + p * n + i, F + q * n + i, Z, T)
                for j in range(n):
                    for l in range(LANES):
                        x[S + j, l] = math.sqrt(x[S + j, l])
                for last in range(n - 1, 0, -1):
                    for j in range(last):
                        for l in range(LANES):
                            left, right = x[S + j, l], x[S + j + 1, l]
                            swap = left < right
                            x[S + j, l] = right if swap else left
                            x[S + j + 1, l] = left if swap else right
                            x[Z, l] = one if swap else zero
                        if vectors:
                            for i in range(m):
                                _swap_rows(x, j * m + i, j * m + m + i, Z)
                            for i in range(n):
                                _swap_rows(x, F + j * n + i, F + j * n + n + i, Z)
                for l in range(count):
                    for j in range(n):
                        s[start + l, j] = x[S + j, l] * common_back
                    if vectors:
                        whole = k == n
                        for j in range(n):
                            long = not x[S + j, l] <= eps * x[S, l]
                            whole = whole and long
                            inverse = one / x[S + j, l] if long else zero
                            for i in range(m):
                                u[start + l, i, j] = x[j * m + i, l] * inverse
                            for i in range(n):
                                vh[start + l, j, i] = x[F + j * n + i, l]
                        if not whole:
                            _complete(u[start + l], s[start + l], eps)
                if outside:
                    for l in range(count):
                        scaled(s[start + l], 0, n, exponents[l])
                        if vectors and s[start + l, 0] != s[start + l, 0]:
                            u[start + l] = np.nan
                            vh[start + l] = np.nan
            finished(address, end - begin)

    return Kernel(kernel, f"svd_{m}_{n}_{k}_{vectors:d}_{dtype}", LANES)


@numba.njit(**OPTIONS)
def _complete(u, s, eps):
    """The columns of u whose singular values say nothing, made orthonormal to those before them.

    From the axis that is farthest from their span, by Gram and Schmidt's method, twice over.
    """
    zero, one = u.dtype.type(0), u.dtype.type(1)
    m, k = u.shape
    for j in range(k):
        if j < len(s) and not s[j] <= eps * s[0]:
            continue
        axis, least = 0, one + one
        for i in range(m):
            inside = zero
            for q in range(j):
                inside += u[i, q] * u[i, q]
            if inside < least:
                axis, least = i, inside
        for i in range(m):
            u[i, j] = one if i == axis else zero
        for _ in range(2):
            for q in range(j):
                inner = zero
                for i in range(m):
                    inner += u[i, q] * u[i, j]
                for i in range(m):
                    u[i, j] -= inner * u[i, q]
        length = zero
        for i in range(m):
            length += u[i, j] * u[i, j]
        length = math.sqrt(length)
        for i in range(m):
            u[i, j] /= length
