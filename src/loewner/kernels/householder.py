"""Householder's reductions and the implicit QR algorithm, compiled, for one matrix at a time.

A symmetric matrix becomes tridiagonal and any other one bidiagonal, by reflections; the QR
algorithm with implicit shifts makes that diagonal, by rotations: Golub and Van Loan, Matrix
Computations, 5.4, 8.3 and 8.6. Singular values alone are left to `dqds`.

What makes it fast is that a tridiagonal matrix is had in one pass over memory for each reflection,
a bidiagonal one in two for each pair, that everything lies in rows which are whole vectors
(`rows`), that the vectors see the rotations of many sweeps at a time, in the nearest cache (Van
Zee, van de Geijn and Quintana-Orti, ACM TOMS 40 (2014)), and that no thread waits for another: up
to some hundred rows that takes longer.

It converges for the reasons that LAPACK's steqr and bdsqr do, whose shifts and order of work are
taken over: Wilkinson's shift converges globally for tridiagonal matrices (Parlett, The Symmetric
Eigenvalue Problem, 8.10); a sweep without shift makes bidiagonal ones with zeros on the diagonal
fall apart (Demmel and Kahan, SIAM J. Sci. Stat. Comput. 11 (1990)). What is smaller than rounding
errors of the matrix counts as nothing, as in LAPACK's divide and conquer. A matrix for which it
does not converge becomes NaN.

It is as accurate as LAPACK: rows that many rotations have turned are made of length one again, and
singular values are taken from A and the vectors, where errors of these are squared.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numba
import numpy as np

from .dqds import SWEEPS, singular_values
from .native import COUNT, OPTIONS, OWN, Kernel, added, array, finished, scaled, taken, words
from .product import ALIGNMENT, VECTOR, _size, moved, product, room
from .rows import (
    FIRST,
    SEQUENCES,
    SIGN,
    TURNS,
    WAY,
    less_one,
    less_one_products,
    less_one_sum,
    less_two_products,
    products,
    turned,
)


@numba.njit(**OPTIONS)
def _step(count, size):
    """How far rows of so many numbers of so many bytes are apart: whole vectors, of an odd number,
    since the entries of a column would otherwise have few places in the cache."""
    lanes = VECTOR // size
    return ((count + lanes - 1) // lanes | 1) * lanes


@numba.njit(**OPTIONS)
def _buffer(count, like):
    """Zeros of which the first lies at the beginning of a vector."""
    spare = ALIGNMENT // like.itemsize
    x = np.zeros(count + spare, like.dtype)
    return x[(-x.ctypes.data % ALIGNMENT) // like.itemsize :]


@numba.njit(**OPTIONS)
def _reflector(x, v, first, end, tau, least):
    """The entries from the first on, in a row v, as the v of the reflection I - tau v v^T that
    leaves nothing but beta of them, which is returned; those before become zero.

        v = (x - beta e_1) / (alpha - beta),  tau = (beta - alpha) / beta

    Nothing is reflected if less is left than can be squared.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(first):
        x[v + i] = zero
    alpha, x[v + first] = x[v + first], zero
    products(x, v, 0, 0, 1, first, end, tau, v, tau, v, v, tau)
    square = x[tau]
    x[v + first] = one
    if square <= least:
        x[tau] = zero
        return alpha
    beta = -math.copysign(math.sqrt(alpha * alpha + square), alpha)
    x[tau] = (beta - alpha) / beta
    scale = one / (alpha - beta)
    for i in range(first + 1, end):
        x[v + i] *= scale
    return beta


@numba.njit(**OPTIONS)
def _tridiagonal(x, a, n, step, w, d, e, tau, least):
    """A = Q T Q^T of a symmetric matrix in rows from a on, which become the v of Q's reflections.

    p = A v,  w = tau (p - (tau p.v / 2) v),  H A H = A - v w^T - w v^T
    """
    half = x.dtype.type(0.5)
    y = tau + n - 1
    old, new = w, w + step
    before = a  # of no weight while w is zero
    for k in range(n - 1):
        v = a + k * step
        if k > 0:
            for j in range(k, n):
                x[v + j] -= x[before + k] * x[old + j] + x[old + k] * x[before + j]
        x[d + k] = x[v + k]
        x[e + k] = _reflector(x, v, k + 1, n, tau + k, least)
        # the two last terms of the step before, and A v
        less_two_products(x, a, step, k + 1, n, k + 1, n, before, old, old, before, v, new)
        products(x, new, 0, 0, 1, k + 1, n, y, v, y, v, v, y)
        inner = half * x[tau + k] * x[y]
        for j in range(k + 1, n):
            x[new + j] = x[tau + k] * (x[new + j] - inner * x[v + j])
        old, new, before = new, old, v
    last = a + (n - 1) * step
    x[d + n - 1] = x[last + n - 1] - 2 * x[before + n - 1] * x[old + n - 1]


_TOGETHER = 8
"""How many rows are reflected together."""


@numba.njit(**OPTIONS)
def _reflected(x, q, rows, step, v, apart, tau, first, count, end, y):
    """The product of reflections, the first of them on the right, into rows from q on.

        M = H_l ... H_0,  from the left:  row -= tau (row . v) v

    v_k, in rows from v on, has nothing before its entry k + first. A few rows see all reflections
    before the next ones do, in the nearest cache.
    """
    for i in range(rows):
        for j in range(step):
            x[q + i * step + j] = i == j
    for upper in range(0, rows, _TOGETHER):
        lower = min(upper + _TOGETHER, rows)
        for k in range(min(count, lower - first) - 1, -1, -1):
            low, row = k + first, v + k * apart
            begin = max(upper, low)
            products(x, q, step, begin, lower, low, end, y, row, y, row, row, y)
            for i in range(begin, lower):
                x[y + i] *= x[tau + k]
            less_one(x, q, step, begin, lower, low, end, y, row, y, row, row, y)


@numba.njit(inline="always", **OPTIONS)
def _rotation(f, g, zero, one, least):
    """c, s and r with c f + s g = r and c g = s f; no rotation if f and g cannot be squared."""
    square = f * f + g * g
    if square <= least:
        return one, zero, f
    r = math.sqrt(square)
    return f / r, g / r, r


@numba.njit(inline="always", **OPTIONS)
def _negated(x, row, count):
    """So many numbers of a row with the other sign."""
    for j in range(row, row + count):
        x[j] = -x[j]


@numba.njit(inline="always", **OPTIONS)
def _noted(log, count, first, way, turns, sign):
    """A sequence of rotations, after so many in a log; how many there are then."""
    log[count, FIRST], log[count, WAY] = first, way
    log[count, TURNS], log[count, SIGN] = turns, sign
    return count + 1


@numba.njit(**OPTIONS)
def _diagonalized(x, d, e, n, q, step, angles, eps, least, vectors):
    """Whether T = S diag(d) S^T is found, for the tridiagonal T of d and e; S^T times the rows
    from q on takes their place, and squares that of e.

    A sweep is a QR step of T - sigma, towards that end of a block where the numbers are smaller:

        r_k = p_k + e_k^2,  c_k^2 = p_k / r_k,  s_k^2 = e_k^2 / r_k,
        gamma_k+1 = c_k^2 (d_k+1 - sigma) - s_k^2 gamma_k,  p_k+1 = gamma_k+1^2 / c_k^2

    without square roots in what waits for each other: Pal, Walker and Kahan's form of it (Parlett,
    The Symmetric Eigenvalue Problem, 8.15), where gamma_k = c_k-1 x_k, p_k = x_k^2, and x_k is
    what a rotation finds on the diagonal, so that the sign of c_k is its sign.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    bound, floor = eps * eps, zero
    for i in range(n):
        floor = max(floor, abs(x[d + i]))
    floor = max(least, floor * floor * bound)
    flipped = False
    for k in range(n - 1):
        flipped ^= x[e + k] < zero
        if vectors and flipped:
            _negated(x, q + (k + 1) * step, n)
        x[e + k] *= x[e + k]
    top = bottom = hi = n - 1
    way, left, logged = 0, SWEEPS * n, 0
    log = np.empty((SEQUENCES, 4), np.int64)
    while hi > 0:
        lo = hi
        while lo > 0:
            if x[e + lo - 1] <= bound * abs(x[d + lo - 1] * x[d + lo]) + floor:
                x[e + lo - 1] = zero
                break
            lo -= 1
        if lo == hi:
            hi -= 1
            continue
        if left == 0:
            return False
        left -= 1
        if way == 0 or lo > bottom or hi < top:
            way = 1 if abs(x[d + hi]) <= abs(x[d + lo]) else -1
        top, bottom = lo, hi
        count = hi - lo
        first, last = (lo, hi) if way > 0 else (hi, lo)
        i = d + first
        at = e + first - (way < 0)  # of the number between the first two
        off = math.sqrt(x[at + way * (count - 1)])
        ratio = (x[d + last - way] - x[d + last]) / (off + off)
        root = math.sqrt(ratio * ratio + one)
        sigma = x[d + last] - off / (ratio + math.copysign(root, ratio))
        gamma = x[i] - sigma
        p, cosine, sine = gamma * gamma, one, zero
        c = angles + 2 * n * logged
        s = c + n
        sign, before = math.copysign(one, gamma), one
        for k in range(count):
            square = x[at]
            r = p + square
            if k > 0:
                x[at - way] = sine * r
            old, cosine, sine = cosine, p / r, square / r
            following, found = x[i + way], gamma
            if cosine > least:
                gamma = cosine * (following - sigma) - sine * gamma
                x[c + k] = math.copysign(cosine, sign)
                before, sign = sign, sign * math.copysign(one, gamma)
                p = gamma * gamma * (r / p)
            else:  # a rotation by a right angle
                gamma, cosine, sine = zero, zero, one
                x[c + k] = zero
                before, sign = sign, -before
                p = old * square
            x[i] = found + (following - gamma)
            x[s + k] = sine
            i, at = i + way, at + way
        x[i] = sigma + gamma
        x[at - way] = sine * p
        if vectors:
            for k in range(_size(c), _size(c + count)):
                x[k] = math.copysign(math.sqrt(abs(x[k])), x[k])
            for k in range(_size(s), _size(s + count)):
                x[k] = math.sqrt(x[k])
            logged = _noted(log, logged, first, way, count, -1 if sign < zero else 1)
            if logged == SEQUENCES:
                turned(x, q, step, log, logged, angles, 2 * n, n, n)
                logged = 0
    if logged > 0:
        turned(x, q, step, log, logged, angles, 2 * n, n, n)
    return True


@numba.njit(**OPTIONS)
def _bidiagonal(x, a, m, n, step, l, long, w, y, d, e, tau, least):
    """A = Q B P^T of a matrix (m, n), m >= n, in rows from a on, B upper bidiagonal.

    The v of Q's reflections come to lie in rows from l on, and those of P's in the place of A.

        H A = A - v w^T,  w = tau A^T v;   A G = A - y u^T,  y = tau A u
    """
    zero, other = x.dtype.type(0), tau + step
    before = w + step  # a row of zeros: the u of the step before
    for k in range(n):
        v, row = l + k * long, a + k * step
        for i in range(k, m):
            x[v + i] = x[a + i * step + k] - x[y + i] * x[before + k]
        x[d + k] = _reflector(x, v, k, m, tau + k, least)
        if k == n - 1:
            break
        for j in range(step):
            x[w + j] = zero
        less_one_sum(x, a, step, k, m, k + 1, n, y, before, y, before, w, v)
        for j in range(k + 1, n):
            x[w + j] *= x[tau + k]
            x[row + j] -= x[w + j]  # v begins with one
        x[e + k] = _reflector(x, row, k + 1, n, other + k, least)
        less_one_products(x, a, step, k + 1, m, k + 1, n, v, w, v, w, row, y)
        for i in range(k + 1, m):
            x[y + i] *= x[other + k]
        before = row


@numba.njit(inline="always", **OPTIONS)
def _least_singular_value(f, g, h, zero, one):
    """That of [[f, g], [0, h]]; as LAPACK's las2."""
    f, g, h = abs(f), abs(g), abs(h)
    low, high = min(f, h), max(f, h)
    if low == zero:
        return zero
    if g < high:
        a, b, c = one + low / high, (high - low) / high, (g / high) * (g / high)
        return low * ((one + one) / (math.sqrt(a * a + c) + math.sqrt(b * b + c)))
    ratio = high / g
    a, b = (one + low / high) * ratio, ((high - low) / high) * ratio
    half = (low * (one / (math.sqrt(one + a * a) + math.sqrt(one + b * b)))) * ratio
    return half + half


@numba.njit(**OPTIONS)
def _least_bound(x, d, e, lo, hi):
    """No more than the least singular value of a block, within a factor of its order.

    mu_k+1 = |d_k+1| mu_k / (mu_k + |e_k|): Demmel and Kahan, as above.
    """
    mu = smallest = abs(x[d + lo])
    for i in range(lo, hi):
        if mu > 0:
            mu = abs(x[d + i + 1]) * (mu / (mu + abs(x[e + i])))
        smallest = min(smallest, mu)
    return smallest


@numba.njit(**OPTIONS)
def diagonalized_bidiagonal(x, d, e, n, u, long, m, v, step, angles, eps, least, vectors):
    """Whether B = S diag(d) W^T is found, for the upper bidiagonal B of d and e; S^T and W^T
    times the rows from u and from v on take their places.

    A sweep goes towards that end of a block where the numbers are smaller. From the last row to
    the first, B is lower bidiagonal, and B^T the upper one: its rotations are those of S^T. Each
    row takes two, one from the right, and an outer one from the left.
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    floor = abs(x[d + n - 1])
    for i in range(n - 1):
        floor = max(floor, abs(x[d + i]), abs(x[e + i]))
    floor *= eps
    top = bottom = hi = n - 1
    way, left, unchanged, logged = 1, SWEEPS * n, 0, 0
    log = np.empty((SEQUENCES, 4), np.int64)
    while hi > 0:
        lo = hi
        smallest = abs(x[d + hi])
        while lo > 0:
            off = abs(x[e + lo - 1])
            if off <= (eps + eps) * (abs(x[d + lo - 1]) + abs(x[d + lo])) or off <= floor:
                x[e + lo - 1] = zero
                break
            lo -= 1
            smallest = min(smallest, abs(x[d + lo]))
        if lo == hi:
            hi -= 1
            continue
        if left == 0:
            return False
        left -= 1
        if lo > bottom or hi < top or bottom == n - 1 == top:
            way = 1 if abs(x[d + hi]) <= abs(x[d + lo]) else -1
        unchanged = unchanged + 1 if (lo, hi) == (top, bottom) else 0
        top, bottom = lo, hi
        if unchanged > 2:
            smallest = _least_bound(x, d, e, lo, hi)
        count = hi - lo
        first, last = (lo, hi) if way > 0 else (hi, lo)
        right = angles + 4 * n * logged  # the angles of W^T, those of S^T after them
        c, outer_c = (right, right + 2 * n) if way > 0 else (right + 2 * n, right)
        s, outer_s = c + n, outer_c + n
        at = e + first - (way < 0)  # of the number between the first two
        i = d + first
        start = abs(x[i])
        off = x[at + way * (count - 1)]
        shift = _least_singular_value(x[d + last - way], off, x[d + last], zero, one)
        # where a number of the diagonal does not count no shift gets beyond it
        if smallest <= floor or (shift / start) * (shift / start) < eps or unchanged % 10 == 9:
            cosine = outer = one
            sine = other = zero
            for k in range(count):
                cosine, sine, r = _rotation(x[i] * cosine, x[at], zero, one, least)
                if k > 0:
                    x[at - way] = other * r
                f, g = outer * r, x[i + way] * sine
                outer, other, x[i] = _rotation(f, g, zero, one, least)
                x[c + k], x[s + k] = cosine, sine
                x[outer_c + k], x[outer_s + k] = outer, other
                i, at = i + way, at + way
            h = x[i] * cosine
            x[i] = h * outer
            x[at - way] = h * other
        else:
            f = (start - shift) * (math.copysign(one, x[i]) + shift / x[i])
            g = x[at]
            for k in range(count):
                cosine, sine, r = _rotation(f, g, zero, one, least)
                if k > 0:
                    x[at - way] = r
                f = cosine * x[i] + sine * x[at]
                off = cosine * x[at] - sine * x[i]
                g = sine * x[i + way]
                h = cosine * x[i + way]
                outer, other, x[i] = _rotation(f, g, zero, one, least)
                f = outer * off + other * h
                x[i + way] = outer * h - other * off
                if k < count - 1:
                    g = other * x[at + way]
                    x[at + way] = outer * x[at + way]
                x[c + k], x[s + k] = cosine, sine
                x[outer_c + k], x[outer_s + k] = outer, other
                i, at = i + way, at + way
            x[at - way] = f
        if vectors:
            logged = _noted(log, logged, first, way, count, 1)
            if logged == SEQUENCES:
                turned(x, v, step, log, logged, angles, 4 * n, n, n)
                turned(x, u, long, log, logged, angles + 2 * n, 4 * n, n, m)
                logged = 0
    if logged > 0:
        turned(x, v, step, log, logged, angles, 4 * n, n, n)
        turned(x, u, long, log, logged, angles + 2 * n, 4 * n, n, m)
    return True


_RANGES = {64: (2.0**-200, 2.0**200), 32: (2.0**-8, 2.0**30)}
"""By bits, the sizes of matrices whose numbers are squared as they are: what cannot be squared
does not count beside them."""


@numba.njit(**OPTIONS)
def _loaded(x, step, a):
    """The size of the largest entry of a matrix, or NaN, which becomes rows from 0 on."""
    size = lost = x.dtype.type(0)
    m, n = a.shape
    for i in range(m):
        for j in range(n):
            z = a[i, j]
            x[i * step + j] = z
            size = max(size, abs(z))
            lost += z - z  # NaN unless z is finite
        for j in range(n, step):
            x[i * step + j] = 0
    return size + lost


@numba.njit(**OPTIONS)
def _loaded_triangle(x, step, a, lower):
    """The same of the symmetric matrix in a triangle."""
    size = lost = x.dtype.type(0)
    n, _ = a.shape
    for i in range(n):
        for j in range(i + 1):
            z = a[i, j] if lower else a[j, i]
            x[i * step + j] = x[j * step + i] = z
            size = max(size, abs(z))
            lost += z - z
        for j in range(n, step):
            x[i * step + j] = 0
    return size + lost


@numba.njit(**OPTIONS)
def _rescaled(x, count, size, low, high):
    """The exponent of the power of two that numbers of this size are divided by."""
    if size == 0 or size - size != 0 or low <= size <= high:
        return 0
    _, exponent = math.frexp(size)
    scaled(x, 0, count, -exponent)
    return exponent


@numba.njit(**OPTIONS)
def _next(x, d, i, n, largest):
    """Where the smallest of numbers from the i-th on stands, or the largest."""
    found = i
    for j in range(i + 1, n):
        if x[d + j] > x[d + found] if largest else x[d + j] < x[d + found]:
            found = j
    return found


@numba.njit(**OPTIONS)
def _swapped(x, p, q, count):
    """So many numbers from p on, exchanged with those from q on."""
    for i in range(count):
        x[p + i], x[q + i] = x[q + i], x[p + i]


@numba.njit(**OPTIONS)
def _normalized(x, rows, count, step, end, y):
    """Rows of length one, from which many rotations have led them."""
    one = x.dtype.type(1)
    for i in range(count):
        row = rows + i * step
        products(x, row, step, 0, 1, 0, end, y, row, y, row, row, y)
        scale = one / math.sqrt(x[y])
        for j in range(end):
            x[row + j] *= scale


def _limits(dtype: str) -> tuple[Any, ...]:
    """The type of numbers, the largest rounding error, the least square that counts, and the range
    of sizes."""
    number, info = np.dtype(dtype).type, np.finfo(dtype)
    numbers = info.eps / 2, info.tiny / info.eps, *_RANGES[info.bits]
    return number, *(number(x) for x in numbers)


@functools.cache
def eigh_of_one(dtype: str) -> Kernel:
    """The kernel of `eigh`, for matrices of any order.

    Before the stack, its jobs have how many matrices became NaN, the order, whether the lower
    triangle is read, and whether there are eigenvectors.
    """
    number, eps, least, low, high = _limits(dtype)

    def kernel(address):
        job = words(address, OWN + 7)
        b, n, lower, vectors = job[COUNT], job[OWN + 1], job[OWN + 2] != 0, job[OWN + 3]
        a = array(job[OWN + 4], (b, n, n), number)
        w = array(job[OWN + 5], (b, n), number)
        v = array(job[OWN + 5 + vectors], (b * n * n,), number)  # w, if not asked for
        step = _step(n, w.itemsize)
        x = _buffer((n * (1 + vectors) + 5) * step + 2 * n * (SEQUENCES if vectors else 1), w)
        q = n * step
        y = q * (1 + vectors)
        d, e, tau = y + 2 * step, y + 3 * step, y + 4 * step
        angles = y + 5 * step
        while True:
            begin, end = taken(address)
            if begin == end:
                break
            for t in range(begin, end):
                size = _loaded_triangle(x, step, a[t], lower)
                exponent = _rescaled(x, n * step, size, low, high)
                done = size - size == 0
                if done:
                    for i in range(y, d):
                        x[i] = 0
                    _tridiagonal(x, 0, n, step, y, d, e, tau, least)
                    if vectors:
                        _reflected(x, q, n, step, 0, step, tau, 1, n - 1, n, y)
                    done = _diagonalized(x, d, e, n, q, step, angles, eps, least, vectors)
                if not done:
                    added(address + 8 * OWN, 1)
                    w[t] = np.nan
                    if vectors:
                        v[t * n * n : (t + 1) * n * n] = np.nan
                    continue
                for i in range(n - 1):
                    j = _next(x, d, i, n, False)
                    if j != i:
                        _swapped(x, d + i, d + j, 1)
                        if vectors:
                            _swapped(x, q + i * step, q + j * step, n)
                scaled(x, d, n, exponent)
                for i in range(n):
                    w[t, i] = x[d + i]
                if vectors:
                    _normalized(x, q, n, step, n, y)
                    moved(v, t * n * n, n, 1, x, q, 1, step, n, n)
            finished(address, end - begin)

    return Kernel(kernel, f"eigh_of_one_{dtype}", 1)


@functools.cache
def svd_of_one(dtype: str) -> Kernel:
    """The kernel of `svd`, for matrices of any shape (m, n), m >= n.

    Before the stack, its jobs have how many matrices became NaN, m, n, how many columns U has,
    and whether there are vectors.
    """
    number, eps, least, low, high = _limits(dtype)

    def kernel(address):
        job = words(address, OWN + 9)
        b, m, n, k, vectors = job[COUNT], job[OWN + 1], job[OWN + 2], job[OWN + 3], job[OWN + 4]
        a = array(job[OWN + 5], (b, m, n), number)
        u = array(job[OWN + 6], (b * m * k,), number)  # s, if not asked for, as vh
        s = array(job[OWN + 6 + vectors], (b, n), number)
        vh = array(job[OWN + 6 + 2 * vectors], (b * n * n,), number)
        step, long = _step(n, s.itemsize), _step(m, s.itemsize)
        left = m * step
        q = left + n * long
        p = q + vectors * k * long
        w = p + vectors * n * step
        y = w + 2 * step
        d = y + long
        e, tau, angles = d + step, d + 2 * step, d + 4 * step
        spare = angles + (4 * n * SEQUENCES if vectors else 6 * step)
        x = _buffer(spare + vectors * room(n, m, n, s.itemsize), s)
        while True:
            begin, end = taken(address)
            if begin == end:
                break
            for t in range(begin, end):
                size = _loaded(x, step, a[t])
                exponent = _rescaled(x, m * step, size, low, high)
                done = size - size == 0
                if done:
                    for i in range(w, d):
                        x[i] = 0
                    _bidiagonal(x, 0, m, n, step, left, long, w, y, d, e, tau, least)
                    if vectors:
                        _reflected(x, q, k, long, left, long, tau, 0, n, m, y)
                        _reflected(x, p, n, step, 0, step, tau + step, 1, n - 1, n, y)
                    done = not vectors and singular_values(x, d, e, n, angles, eps)
                    done = done or diagonalized_bidiagonal(
                        x, d, e, n, q, long, m, p, step, angles, eps, least, vectors
                    )
                if not done:
                    added(address + 8 * OWN, 1)
                    s[t] = np.nan
                    if vectors:
                        u[t * m * k : (t + 1) * m * k] = np.nan
                        vh[t * n * n : (t + 1) * n * n] = np.nan
                    continue
                for i in range(n):
                    if x[d + i] < 0:
                        x[d + i] = -x[d + i]
                        if vectors:
                            _negated(x, p + i * step, n)
                if vectors:
                    _normalized(x, q, k, long, m, y)
                    _normalized(x, p, n, step, n, y)
                    # s = u . A v, in which the errors of the vectors are squared
                    _loaded(x, step, a[t])
                    scaled(x, 0, m * step, -exponent)
                    product(x, spare, left, long, p, step, 1, 0, 1, step, n, m, n, False)
                    for i in range(n):
                        row, image = q + i * long, left + i * long
                        products(x, row, long, 0, 1, 0, m, y, row, y, row, image, y)
                        x[d + i] = abs(x[y])
                for i in range(n - 1):
                    j = _next(x, d, i, n, True)
                    if j != i:
                        _swapped(x, d + i, d + j, 1)
                        if vectors:
                            _swapped(x, q + i * long, q + j * long, m)
                            _swapped(x, p + i * step, p + j * step, n)
                scaled(x, d, n, exponent)
                for i in range(n):
                    s[t, i] = x[d + i]
                if vectors:
                    moved(u, t * m * k, k, 1, x, q, 1, long, m, k)
                    moved(vh, t * n * n, n, 1, x, p, step, 1, n, n)
            finished(address, end - begin)

    return Kernel(kernel, f"svd_of_one_{dtype}", 1)
