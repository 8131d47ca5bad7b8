"""Jacobi's method for stacks of small matrices: plain array operations, the stack as last axis.

Every operation acts on one entry, or one column, of all matrices of a block at once, so that
the stack is the axis that is contiguous and vectorised, and nothing branches on a value.

*Two-sided*, of Hermitian A. With d = (a_qq - a_pp)/2 and h = sqrt(d^2 + |a_pq|^2), the turn

    tau = a_pq / (d + sign(d) h),      c = 1/sqrt(1 + |tau|^2),    z = c tau,
    v_p <- c v_p - conj(z) v_q,        v_q <- z v_p + c v_q                                (1)

annihilates a_pq and moves a_pp and a_qq by -+ Re(conj(tau) a_pq). It is the smaller of the two
angles that do, at most pi/4, with which sweeps over all pairs in the order of rows converge
(Forsythe and Henrici, Trans. AMS 94 (1960)), in the end quadratically (Wilkinson, Numer. Math.
4 (1962); van Kempen, Numer. Math. 9 (1966), where eigenvalues repeat): four or five sweeps
for n = 4. It has converged once |a_pq| <= eps/4 max |a_ij|. A matrix of which squares would
leave the range is scaled by a power of two, which rounds nothing. For n = 2 one turn will do;
real matrices of order 3 start in a frame of which one vector is an eigenvector but for
rounding (`_separated`), so that one turn is left to be found, and one sweep mostly sees to it.

*One-sided*, of A (m, n), m >= n (Hestenes, J. SIAM 6 (1958); de Rijk, SISSC 10 (1989)): (1) turns
the columns of G = A V so that they become orthogonal, as the two-sided method does on
G^H G, of which only the entries at hand are formed. Converged once
|g_p^H g_q| <= (m + 2) eps |g_p| |g_q|, with which each column is found to its own precision,
however small (Demmel and Veselic, SIMAX 13 (1992)). The singular values are the lengths of the
columns and U their directions; those shorter than eps times the longest have none that
matters, and U is completed by Gram and Schmidt's method, twice over. With n = 3 the columns
start in such a frame of G^T G; real 2 by 2 matrices have a closed form.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..rules.pieces import adjoint, conj, real, total
from ..rules.rule import Array, Arrays, Solvers

_SWEEPS = 40
"""More than were ever seen to be needed; a bound for what is not a number."""


def eigh(solvers: Solvers, a: Array, lower: bool, vectors: bool = True) -> Arrays:
    """w (b, n) ascending[, V (b, n, n)] of the Hermitian matrices in a triangle of a (b, n, n)."""
    xp, n = solvers.xp, a.shape[-1]
    if n == 2:
        return _one_turn(xp, a, lower, vectors)
    places = [(i, j) for i in range(n) for j in range(i + 1)]
    x = xp.stack([a[..., i, j] if lower else conj(xp, a[..., j, i]) for i, j in places])
    scale = _scale(solvers, x, power=2)
    x = scale.scaled(x)
    below = [real(xp, x[k, ...]) if i == j else x[k, ...] for k, (i, j) in enumerate(places)]
    diagonal = [k for k, (i, j) in enumerate(places) if i == j]
    size = scale.scaled(scale.size)
    limit, noise = float(xp.finfo(size.dtype).eps) / 4 * size, _noise(xp, size)
    pairs = [(p, q) for p in range(n - 1) for q in range(p + 1, n)]

    def open_(state: Arrays) -> Array:
        sweep, *x = state
        far = [xp.abs(x[_place(q, p)]) > limit for p, q in pairs]
        return _goes_on(xp, sweep, far)

    def swept(state: Arrays) -> Arrays:
        sweep, *x = state
        core, frame = x[: len(below)], x[len(below) :]
        for p, q in pairs:
            _annihilate(solvers, core, noise, n, p, q, frame)
        return (sweep + 1, *core, *frame)

    if n == 3 and not xp.isdtype(x.dtype, "complex floating"):
        frame = _separated(solvers, below)
        below = _transformed(below, frame)
        frame = frame if vectors else []
    else:
        frame = _identity(xp, 0 * x[0, ...], n) if vectors else []
    _, *x = solvers.while_loop(open_, swept, (0, *below, *frame))
    w, frame = [x[i] for i in diagonal], x[len(below) :]
    _sort(xp, w, [frame] if vectors else [])
    w = scale.back(_last(xp, w))
    return (w, _columns(xp, frame)) if vectors else (w,)


def _one_turn(xp: Any, a: Array, lower: bool, vectors: bool) -> Arrays:
    """`eigh` of order 2, which a single turn (1) makes diagonal."""
    apq = conj(xp, a[..., 1, 0]) if lower else a[..., 0, 1]
    app, aqq = real(xp, a[..., 0, 0]), real(xp, a[..., 1, 1])
    size = _largest(xp, [app, aqq, apq])
    scale = _for_squares(xp, size)
    d, x = (aqq * scale - app * scale) / 2, apq * _as(xp, scale, apq)
    c, z, shift = _turn(xp, d, x, _noise(xp, size * scale))
    shift, c = shift * (1 / scale), _as(xp, c, z)
    w = [app - shift, aqq + shift]
    rows = [[c, z], [-conj(xp, z), c]] if vectors else []
    _sort(xp, w, rows)
    w = _last(xp, w)
    return (w, xp.reshape(_last(xp, rows[0] + rows[1]), a.shape)) if vectors else (w,)


def svd(solvers: Solvers, a: Array, full: bool = False, vectors: bool = True) -> Arrays:
    """[U (b, m, k),] S (b, k) descending[, Vh (b, k, n)] of a (b, m, n); U, Vh square if `full`."""
    if a.shape[-2] < a.shape[-1]:
        ah = conj(solvers.xp, solvers.xp.matrix_transpose(a))
        if not vectors:
            return svd(solvers, ah, vectors=False)
        u, s, vh = svd(solvers, ah, full)
        return adjoint(solvers.xp, vh), s, adjoint(solvers.xp, u)
    xp, (m, n) = solvers.xp, a.shape[-2:]
    if m == n == 2 and not xp.isdtype(a.dtype, "complex floating"):
        return _rotation_and_reflection(xp, a, vectors)
    x = xp.stack([a[..., i, j] for j in range(n) for i in range(m)])
    scale = _scale(solvers, x, power=4)
    x = scale.scaled(x)
    g = [x[j * m : (j + 1) * m, ...] for j in range(n)]
    eps, tiny = float(xp.finfo(a.dtype).eps), _tiny(xp, a)
    pairs = [(p, q) for p in range(n - 1) for q in range(p + 1, n)]

    def allowed(squares: list[Array], p: int, q: int) -> Array:
        # rounding a turn and the product of m terms leaves up to about (m + 2) eps
        return ((m + 2) * eps) ** 2 * squares[p] * squares[q] + tiny

    def open_(state: Arrays) -> Array:
        sweep, *x = state
        squares = x[-n:]
        products = [_abs2(xp, _inner(xp, x[p], x[q])) for p, q in pairs]
        far = [x > allowed(squares, p, q) for x, (p, q) in zip(products, pairs, strict=True)]
        return _goes_on(xp, sweep, far)

    def swept(state: Arrays) -> Arrays:
        sweep, *x = state
        g, frame, squares = x[:n], x[n:-n], x[-n:]
        for p, q in pairs:
            product = _inner(xp, g[p], g[q])
            noise = allowed(squares, p, q)
            c, z, shift = _turn(xp, (squares[q] - squares[p]) / 2, product, noise)
            squares[p], squares[q] = squares[p] - shift, squares[q] + shift
            _rotate(solvers, g, p, q, c, z)
            if frame:
                _rotate(solvers, frame, p, q, c, z)
        return (sweep + 1, *g, *frame, *(_square(xp, x) for x in g))

    if n == 3 and not xp.isdtype(a.dtype, "complex floating"):
        frame = _separated(
            solvers, [_inner(xp, g[i], g[j]) for i in range(n) for j in range(i + 1)]
        )
        g = [total(*(y * v[k, ...] for k, y in enumerate(g))) for v in frame]
        frame = frame if vectors else []
    else:
        frame = _identity(xp, 0 * x[0, ...], n) if vectors else []
    state = (0, *g, *frame, *(_square(xp, x) for x in g))
    _, *x = solvers.while_loop(open_, swept, state)
    g, frame = x[:n], x[n : 2 * n]
    s = [xp.sqrt(y) for y in x[-n:]]
    if not vectors:
        _sort(xp, s, [], descending=True)
        return (scale.back(_last(xp, s)),)
    _sort(xp, s, [g, frame], descending=True)
    u = _directions(solvers, s, g, eps, m if full else n)
    vh = xp.permute_dims(xp.stack([conj(xp, x) for x in frame]), (2, 0, 1))
    return xp.permute_dims(u, (2, 1, 0)), scale.back(_last(xp, s)), vh


def _rotation_and_reflection(xp: Any, a: Array, vectors: bool) -> Arrays:
    """`svd` of real matrices of order 2, q Rot(alpha) + r Refl(beta).

    A rotation and a reflection, of which U = Rot((beta + alpha)/2), V = Rot((beta - alpha)/2)
    and S = (q + r, |q - r|) are read off (Blinn, IEEE CG&A 16 (1996)).
    """
    entries = [a[..., i, j] for i in range(2) for j in range(2)]
    scale = _for_squares(xp, _largest(xp, entries))
    p, q, r, s = (x * scale for x in entries)
    (q, ca, sa), (r, cb, sb) = (
        _half_angle(xp, x, y, _tiny(xp, a) ** 0.5) for x, y in ((p + s, r - q), (p - s, r + q))
    )
    back = 1 / scale
    found = _last(xp, [(q + r) / 2 * back, xp.abs(q - r) / 2 * back])
    if not vectors:
        return (found,)
    c, s = ca * cb - sa * sb, sa * cb + ca * sb
    sign = xp.copysign(xp.ones_like(q), q - r)
    u = [c, -s * sign, s, c * sign]
    c, s = ca * cb + sa * sb, ca * sb - sa * cb
    return xp.reshape(_last(xp, u), a.shape), found, xp.reshape(_last(xp, [c, s, -s, c]), a.shape)


def _half_angle(xp: Any, x: Array, y: Array, tiny: float) -> tuple[Array, Array, Array]:
    """The length of (x, y), and cosine and sine of half its angle to the x axis."""
    length, high = xp.sqrt(x * x + y * y), xp.abs(y)
    wide = length + xp.abs(x) + tiny
    size, right = xp.sqrt(wide * wide + y * y), x >= 0
    # divided last: XLA computes the result of a division once, and of a product wherever it is used
    c, s = xp.where(right, wide, high), xp.where(right, y, xp.copysign(wide, y))
    return length, c / size, s / size


def _separated(solvers: Solvers, core: list[Array]) -> list[Array]:
    """An orthonormal frame (3, b) whose last vector is an eigenvector, of real symmetric A.

    That of the eigenvalue farthest from the others. With A = m + p B, tr B = 0, |B|^2 = 6, the
    eigenvalues of B are 2 cos(phi + 2 pi k/3), where cos(3 phi) = det(B)/2 (Smith, CACM 4
    (1961)), and the one of largest modulus, that of the sign of det B, is t there with

        t^3 - 3 t = |det B|,    sqrt(3) <= t <= 2,                                         (2)

    at least sqrt(3) from the others, so that the columns of adj(B - t), which is of rank one,
    are that eigenvector with no cancellation in the largest of them.
    """
    xp, combine = solvers.xp, solvers.combine

    def centred(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        mean = (x + y + z) / 3
        return x - mean, y - mean, z - mean

    a00, a10, a11, a20, a21, a22 = core
    # twice, since the mean is rounded and p may be small
    diagonal = centred(*centred(a00, a11, a22))
    squares = [total(*(x * x for x in xs)) for xs in (diagonal, (a10, a20, a21))]
    p = xp.sqrt(squares[0] / 6 + squares[1] / 3 + _tiny(xp, a00))
    inverse = 1 / p
    b00, b11, b22, b10, b20, b21 = (x * inverse for x in (*diagonal, a10, a20, a21))
    n10, n20, n21 = -b10, -b20, -b21
    det = (
        b00 * combine(b11, b22, n21, b21)
        + n10 * combine(b10, b22, n20, b21)
        + b20 * combine(b10, b21, n20, b11)
    )
    size = xp.abs(det)
    size = xp.where(size > 2, 2 * xp.ones_like(size), size)
    t = (size * -0.0164 + 1 / 6) * size + 3**0.5  # the root of (2) to 4e-3
    for _ in range(2):  # steps of Newton, to 1e-10; a sweep mends the rest
        square = t * t
        t = (t * square + size / 2) / (square * 1.5 - 1.5)
    t = xp.copysign(t, det)
    m00, m11, m22 = b00 - t, b11 - t, b22 - t
    c00, c11, c22 = (
        combine(m11, m22, n21, b21),
        combine(m00, m22, n20, b20),
        combine(m00, m11, n10, b10),
    )
    c10, c20, c21 = (
        combine(b20, b21, n10, m22),
        combine(b10, b21, n20, m11),
        combine(b10, b20, n21, m00),
    )
    second = c11 > c00
    third = c22 > xp.where(second, c11, c00)
    v = [
        xp.where(third, z, xp.where(second, y, x))
        for x, y, z in ((c00, c10, c20), (c10, c11, c21), (c20, c21, c22))
    ]
    length = xp.sqrt(total(*(x * x for x in v)))
    x, y, z = (x / length for x in v)
    # and its complement (Duff et al., JCGT 6 (2017))
    sign = xp.copysign(xp.ones_like(z), z)
    a = -1 / (sign + z)
    xa, ya = x * a, y * a
    first = xp.stack([sign * x * xa + 1, sign * x * ya, -sign * x])
    return [first, xp.stack([x * ya, y * ya + sign, -y]), xp.stack([x, y, z])]


def _transformed(core: list[Array], frame: list[Array]) -> list[Array]:
    """V^T A V of real symmetric A, the lower triangle by rows."""
    order = range(len(frame))
    images = [
        [total(*(core[_place(max(i, k), min(i, k))] * v[k, ...] for k in order)) for i in order]
        for v in frame
    ]
    return [
        total(*(frame[i][k, ...] * images[j][k] for k in order))
        for i in order
        for j in order[: i + 1]
    ]


def _turn(xp: Any, d: Array, x: Array, noise: Array) -> tuple[Array, Array, Array]:
    """c and z of (1), and by how much the diagonal moves; d is (a_qq - a_pp)/2 and x a_pq.

    With the square of what counts as zero under the root, which leaves behind no more than
    that, equal values are not turned by what is rounding.
    """
    square = _abs2(xp, x)
    h = xp.sqrt(d * d + (square + noise))
    h = d + xp.copysign(h, d)
    tau = x / _as(xp, h, x)
    c = 1 / xp.sqrt(_abs2(xp, tau) + 1)
    # divided last: a product may be rounded in one of its uses and not in the other, which
    # would take values that are nearly equal out of order
    return c, _as(xp, c, tau) * tau, square / h


def _noise(xp: Any, size: Array) -> Array:
    """The square of what counts as zero beside entries of that size, itself not zero."""
    limit = float(xp.finfo(size.dtype).eps) / 4 * size
    return limit * limit + _tiny(xp, size)


def _tiny(xp: Any, x: Array) -> float:
    return float(xp.finfo(x.dtype).smallest_normal)


def _rotate(solvers: Solvers, columns: list[Array], p: int, q: int, c: Array, z: Array) -> None:
    """Columns (m, b) turned by (1), in place in the list."""
    x, y = columns[p], columns[q]
    c = _as(solvers.xp, c, z)
    columns[p] = solvers.combine(c, x, -conj(solvers.xp, z), y)
    columns[q] = solvers.combine(c, y, z, x)


def _annihilate(
    solvers: Solvers, core: list[Array], noise: Array, n: int, p: int, q: int, frame: list[Array]
) -> None:
    """a_pq turned to zero by (1), and the frame with it, in place in the lists."""
    xp = solvers.xp
    at = _place(q, p)
    app, aqq, apq = core[_place(p, p)], core[_place(q, q)], conj(xp, core[at])
    c, z, shift = _turn(xp, (aqq - app) / 2, apq, noise)
    core[_place(p, p)], core[_place(q, q)] = app - shift, aqq + shift
    core[at] = xp.zeros_like(apq)
    for r in range(n):
        if r in (p, q):
            continue
        pair = [_entry(xp, core, r, p), _entry(xp, core, r, q)]
        _rotate(solvers, pair, 0, 1, c, z)
        for j, x in zip((p, q), pair, strict=True):
            core[_place(max(r, j), min(r, j))] = x if r > j else conj(xp, x)
    if frame:
        _rotate(solvers, frame, p, q, c, z)


def _place(i: int, j: int) -> int:
    """Where a_ij is in the list of the lower triangle by rows."""
    return i * (i + 1) // 2 + j


def _entry(xp: Any, core: list[Array], i: int, j: int) -> Array:
    return core[_place(i, j)] if i >= j else conj(xp, core[_place(j, i)])


def _directions(solvers: Solvers, s: list[Array], g: list[Array], eps: float, count: int) -> Array:
    """U as (count, m, b): the directions of the columns g, completed where they are too short."""
    xp, n = solvers.xp, len(s)
    long = [x > eps * s[0] for x in s]
    u = []
    for x, y, found in zip(s, g, long, strict=True):
        one = xp.zeros_like(x) + 1
        u.append(y * _as(xp, xp.where(found, 1 / xp.where(found, x, one), x), y))
    if count > n:
        whole = [*long, *(xp.zeros_like(s[0]) > 0 for _ in range(count - n))]
        return _completed(xp, [*u, *(xp.zeros_like(u[0]) for _ in range(count - n))], whole)
    short = [~x for x in long]
    return solvers.when(_any(short), lambda: _completed(xp, u, long), xp.stack(u))


def _completed(xp: Any, u: list[Array], found: list[Array]) -> Array:
    """Columns (m, b) of which those not found are made orthonormal to those before them.

    From the axis that is farthest from their span, of length at least m^-1/2 outside it.
    """
    m = u[0].shape[0]
    done: list[Array] = []
    for column, known in zip(u, found, strict=True):
        inside = total(0 * real(xp, column), *(_abs2(xp, x) for x in done))
        least, pieces = xp.min(inside, axis=0), []
        taken = least != least
        for i in range(m):
            hit = (inside[i, ...] <= least) & ~taken
            taken = taken | hit
            pieces.append(xp.where(hit, xp.zeros_like(least) + 1, xp.zeros_like(least)))
        x = _as(xp, xp.stack(pieces), column)
        for _ in range(2):
            for other in done:
                x = x - other * _inner(xp, other, x)
        x = x / _as(xp, xp.sqrt(_square(xp, x)), x)
        # what is not a number stays so
        done.append(xp.where(known, column, x + 0 * column))
    return xp.stack(done)


def _sort(xp: Any, x: list[Array], frames: list[list[Array]], descending: bool = False) -> None:
    """The values in order, and the columns of frames with them, in place in the lists."""
    for end in range(len(x) - 1, 0, -1):
        for i in range(end):
            low, high = x[i], x[i + 1]
            swap = low < high if descending else low > high
            x[i], x[i + 1] = xp.where(swap, high, low), xp.where(swap, low, high)
            for frame in frames:
                left, right = frame[i], frame[i + 1]
                frame[i], frame[i + 1] = xp.where(swap, right, left), xp.where(swap, left, right)


@dataclasses.dataclass(frozen=True)
class _Scale:
    """Powers of two by which the entries x (k, b) of a block are scaled, matrix by matrix.

    Most blocks are within the range in which no square, or fourth power, of an entry or of eps
    times it is lost; then nothing is done but to multiply all of them by `common`. NaN takes the
    place of a matrix with an entry that is not finite.
    """

    solvers: Solvers
    size: Array
    """The largest entries (b,), as they are."""
    outside: Array
    common: float
    steps: tuple[tuple[int, ...], ...]

    def scaled(self, x: Array) -> Array:
        """x, or the sizes, scaled."""
        xp = self.solvers.xp
        usual = x * self.common if self.common != 1 else x
        return self.solvers.when(self.outside, lambda: _times(xp, x, self._factors(False)), usual)

    def back(self, x: Array) -> Array:
        """Values x (b, k) scaled back."""
        xp = self.solvers.xp
        usual = x * (1 / self.common) if self.common != 1 else x

        def exactly() -> Array:
            return _times(xp, x, [y[:, None] for y in self._factors(True)])

        return self.solvers.when(self.outside, exactly, usual)

    def _factors(self, back: bool) -> list[Array]:
        """To scale by, or to scale back by, one after the other: their product may overflow."""
        xp, size = self.solvers.xp, self.size
        one = 0 * size + 1
        downs, ups = [], []
        for factor in self.steps:
            down = up = one
            for step in factor:
                # the window is the last step wide about `common`
                large = size > 2.0 ** (step // 2) * self.common
                small = size < 2.0 ** (-step // 2) * self.common
                less, more = one * 2.0**-step, one * 2.0**step
                by = xp.where(large, less, xp.where(small, more, one))
                size, down = size * by, down * by
                up = up * xp.where(large, more, xp.where(small, less, one))
            downs.append(down)
            ups.append(up)
        return ups[::-1] if back else downs


_STEPS = {64: ((512, 256), (128,)), 32: ((64, 48), (24, 12))}
"""Exponents by which sizes are scaled until they are within the last of them, by bits."""

RANGES = {
    (64, 2): (2.0**-200, 2.0**200, 1.0),
    (64, 4): (2.0**-60, 2.0**60, 1.0),
    (32, 2): (2.0**-30, 2.0**50, 1.0),
    (32, 4): (2.0**-8, 2.0**10, 2.0**14),
}
"""By bits and the power that is formed: the range within which `common` will do, and `common`.

Multiplied by that, columns that are eps times as long as the longest have fourth powers of which
eps^2 times is still a normal number.
"""


def _scale(solvers: Solvers, x: Array, power: int) -> _Scale:
    xp = solvers.xp
    parts = (xp.real(x), xp.imag(x)) if xp.isdtype(x.dtype, "complex floating") else (x,)
    size = _largest(xp, [part[i, ...] for part in parts for i in range(x.shape[0])])
    bits = xp.finfo(size.dtype).bits
    low, high, common = RANGES[bits, power]
    outside = ~((size >= low) & (size <= high)) & (size != 0)
    return _Scale(solvers, size, outside, common, _STEPS[bits])


def _largest(xp: Any, entries: list[Array]) -> Array:
    size = xp.abs(entries[0])
    for x in entries[1:]:
        size = xp.maximum(size, xp.abs(x))
    return size


_SQUARES = {
    64: (2.0**-340, 2.0**340, 2.0**700, 2.0**-700),
    32: (2.0**-40, 2.0**40, 2.0**90, 2.0**-70),
}
"""By bits, the range within which squares are normal, and what scales smaller and larger sizes."""


def _for_squares(xp: Any, size: Array) -> Array:
    """A power of two by which numbers of that size are scaled before they are squared, or NaN.

    Not the size itself: XLA turns (x/y)/z into x/(yz), which leaves the range.
    """
    low, high, up, down = _SQUARES[xp.finfo(size.dtype).bits]
    one = 0 * size + 1
    return xp.where(size > high, one * down, xp.where(size < low, one * up, one))


def _times(xp: Any, x: Array, factors: list[Array]) -> Array:
    for y in factors:
        x = x * _as(xp, y, x)
    return x


def _goes_on(xp: Any, sweep: Any, far: list[Array]) -> Array:
    return (xp.any(_any(far)) if far else False) & (sweep < _SWEEPS)


def _any(masks: list[Array]) -> Array:
    found = masks[0]
    for mask in masks[1:]:
        found = found | mask
    return found


def _identity(xp: Any, zero: Array, n: int) -> list[Array]:
    """The columns (n, b) of the identity; zero (b,) is NaN for what is not finite."""
    one = zero + 1
    return [xp.stack([one if i == j else zero for i in range(n)]) for j in range(n)]


def _last(xp: Any, rows: list[Array]) -> Array:
    """(b, k) from k rows (b,)."""
    return xp.permute_dims(xp.stack(rows), (1, 0))


def _columns(xp: Any, frame: list[Array]) -> Array:
    """(b, n, k) from k columns (n, b)."""
    return xp.permute_dims(xp.stack(frame), (2, 1, 0))


def _inner(xp: Any, x: Array, y: Array) -> Array:
    """x^H y of columns (m, b)."""
    return xp.sum(conj(xp, x) * y, axis=0)


def _square(xp: Any, x: Array) -> Array:
    """|x|^2 of columns (m, b)."""
    return xp.sum(_abs2(xp, x), axis=0)


def _abs2(xp: Any, x: Array) -> Array:
    """|x|^2, entry by entry."""
    if xp.isdtype(x.dtype, "complex floating"):
        re, im = xp.real(x), xp.imag(x)
        return re * re + im * im
    return x * x


def _as(xp: Any, x: Array, like: Array) -> Array:
    """x, complex if `like` is."""
    return xp.astype(x, like.dtype) if xp.isdtype(like.dtype, "complex floating") else x
