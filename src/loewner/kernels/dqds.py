"""Singular values of bidiagonal matrices by the differential qd algorithm with shifts, compiled.

A step takes the q and e of B, the squares of its diagonal and of what stands above it, to those of
a B' with B'^T B' = B B^T - tau: Fernando and Parlett, Accurate singular values and differential qd
algorithms, Numer. Math. 67 (1994). There are no square roots in it, and no subtractions but that of
tau. A tau larger than all eigenvalues allow shows as a negative number; the step is taken
again with less, and at last with none. That converges, by q_k+1 / q_k in each step.
"""

from __future__ import annotations

import math

import numba

from .native import OPTIONS

SWEEPS = 30
"""How many sweeps over a matrix a value may take, as in LAPACK."""


@numba.njit(**OPTIONS)
def _shift(x, q, e, lo, hi, least, last, above):
    """A number that is hardly larger than the least eigenvalue of B B^T.

    `least` is the smallest of the numbers t that the step before has met, `last` the last of them,
    and `above` the smallest before it.
    """
    number = x.dtype.type
    one, quarter = number(1), number(0.25)
    tau = quarter * least
    if least != last or least == 0:
        return tau
    # (1 - |r|) t / (1 + r^2), with the residual of a vector: Parlett and Marques, An implementation
    # of the dqds algorithm, Linear Algebra Appl. 309 (2000), whose bounds these are
    square, term = number(0), one
    for i in range(hi - 1, lo - 1, -1):
        if x[e + i] > x[q + i] or square > number(0.5):
            square = one
            break
        term *= x[e + i] / x[q + i]
        square += term
        if number(100) * term < square:
            break
    square *= number(1.05)
    if square < number(0.5):
        tau = max(tau, least * (one - math.sqrt(square)) / (one + square))
    # t - b^2 / gap, b between the last two rows of B^T B
    square, gap = last * x[e + hi - 1], (above - last) / number(2)
    if gap > 0 and square < gap * gap / number(2):
        tau = max(tau, last - square / gap)
    return tau


@numba.njit(**OPTIONS)
def _pair(a, b, c, bound, half):
    """The eigenvalues of B^T B for the q a, b and the e c of two rows, the larger first.

    As in LAPACK's lasq3, without cancellation.
    """
    if b > a:
        a, b = b, a
    t = half * ((a - b) + c)
    if c <= b * bound or t == 0:
        return a, b
    s = b * (c / t)
    root = math.sqrt(t) * math.sqrt(t + s) if s > t else t * math.sqrt((t + s) / t)
    t = a + (b * (c / (t + root)) + c)
    return t, b * (a / t)


@numba.njit(**OPTIONS)
def _reversed(x, first, last):
    """The numbers from the first to the last in the other order."""
    for i in range((last - first + 1) // 2):
        x[first + i], x[last - i] = x[last - i], x[first + i]


@numba.njit(inline="always", **OPTIONS)
def _step(x, q, e, r, f, lo, hi, tau):
    """The q and e of the matrix after a step, at r and f.

        q'_k = t_k + e_k,  e'_k = e_k q_k+1 / q'_k,  t_k+1 = t_k q_k+1 / q'_k - tau

    Besides the least e', the last three t, and the least of all of them, of all but the last, and
    of all but the last two.
    """
    zero = x.dtype.type(0)
    t = x[q + lo] - tau
    t1 = t2 = m0 = m1 = m2 = t
    least = x[e + lo]
    for k in range(lo, hi):
        p = t + x[e + k]
        t2, t1, m2, m1 = t1, t, m1, m0
        if p > zero:
            ratio = x[q + k + 1] / p
            following = x[e + k] * ratio
            t = t * ratio - tau
        else:
            following = zero
            t = x[q + k + 1] - tau
        x[r + k] = p
        x[f + k] = following
        least = min(least, following)
        m0 = min(m0, t)
    x[r + hi] = t
    return least, t, t1, t2, m0, m1, m2


@numba.njit(**OPTIONS)
def singular_values(x, d, above, n, spare, eps):
    """Whether the singular values of a bidiagonal matrix are found, in the place of its diagonal.

    Its numbers are those of x from d on, and above them from `above` on, and stay if not. From
    `spare` on there is room for six times as many.

    An eigenvalue of B^T B is the sum of what was subtracted and of q, and known when the e beside
    it does not count. Where another e does not, the matrix falls into blocks, of which the upper
    one is left for later, with what was subtracted until then.
    """
    number = x.dtype.type
    zero, one, half = number(0), number(1), number(0.5)
    bound = number(200) * eps * (number(200) * eps)
    q, e, r, f, begun = spare, spare + n, spare + 2 * n, spare + 3 * n, spare + 4 * n
    found = spare + 5 * n
    size = zero
    for i in range(n):
        x[q + i] = x[d + i] * x[d + i]
        size = max(size, x[q + i])
    for i in range(n - 1):
        x[e + i] = x[above + i] * x[above + i]
        size = max(size, x[e + i])
    small = eps * eps * size  # of which no root counts
    sigma = lost = zero  # what was subtracted
    least_e = t0 = t1 = t2 = m0 = m1 = m2 = zero
    lo, hi, left = 0, n - 1, SWEEPS * n
    gone, split = 3, True  # how many values the last step has given, and whether to look for blocks
    while hi >= 0:
        done = 0
        if lo == hi or x[e + hi - 1] <= max(bound * (sigma + x[q + hi]), zero if sigma else small):
            x[found + hi] = math.sqrt(sigma + x[q + hi])
            done = 1
        elif lo == hi - 1 or x[e + hi - 2] <= bound * sigma:
            first, second = _pair(x[q + hi - 1], x[q + hi], x[e + hi - 1], bound, half)
            x[found + hi - 1] = math.sqrt(sigma + first)
            x[found + hi] = math.sqrt(sigma + second)
            done = 2
        if done > 0:
            hi -= done
            gone += done
            if hi < lo and lo > 0:  # the next block
                sigma, lost = x[begun + hi], zero
                lo = hi
                while lo > 0 and x[e + lo - 1] >= zero:
                    lo -= 1
                gone, split = 3, True
            continue
        near = bound * sigma if sigma > zero else small
        if split or least_e <= near:
            split = False
            for i in range(lo, hi):
                if x[e + i] <= near:
                    x[e + i], x[begun + i] = -one, sigma
                    lo, gone = i + 1, 3
            if lo == hi:
                continue
        if gone > 0 and x[q + hi] > (one + half) * x[q + lo]:  # it converges at the smaller end
            _reversed(x, q + lo, q + hi)
            _reversed(x, e + lo, e + hi - 1)
            gone = 3
        tau = zero
        if gone == 0:
            tau = _shift(x, q, e, lo, hi, m0, t0, m1)
        elif gone == 1:
            tau = _shift(x, q, e, lo, hi, m1, t1, m2)
        elif gone == 2:
            tau = _shift(x, q, e, lo, hi, m2, t2, zero)
        failures = 0
        while True:
            if left == 0:
                return False
            left -= 1
            least_e, t0, t1, t2, m0, m1, m2 = _step(x, q, e, r, f, lo, hi, tau)
            if m0 >= zero:
                break
            failures += 1
            if failures == 1 and m1 > zero:
                tau = max((tau + m0) * (one - eps - eps), zero)  # no more than the last t allows
            else:
                tau = zero if failures > 2 or m0 != m0 else tau * half * half
        for i in range(lo, hi):
            x[q + i], x[e + i] = x[r + i], x[f + i]
        x[q + hi] = x[r + hi]
        lost += tau
        total = sigma + lost
        lost -= total - sigma
        sigma, gone = total, 0
    for i in range(n):
        x[d + i] = x[found + i]
    return True
