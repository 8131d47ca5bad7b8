"""The small pieces every rule is made of."""

from __future__ import annotations

from typing import Any

from .rule import Array, Arrays


def adjoint(xp: Any, x: Array) -> Array:
    """x^H, the conjugate transpose of the last two axes."""
    return conj(xp, xp.matrix_transpose(x))


def herm(xp: Any, x: Array) -> Array:
    """(x + x^H)/2."""
    return (x + adjoint(xp, x)) / 2


def skew(xp: Any, x: Array) -> Array:
    """(x - x^H)/2."""
    return (x - adjoint(xp, x)) / 2


def real(xp: Any, x: Array) -> Array:
    """The real part; a real array is returned as it is."""
    return xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x


def like(xp: Any, g: Array, x: Array) -> Array:
    """g with the dtype of x: the real part of a complex g if x is real."""
    if xp.isdtype(x.dtype, "complex floating"):
        return g if g.dtype == x.dtype else xp.astype(g, x.dtype)
    return real(xp, g)


def sandwich(xp: Any, left: Array, x: Array, right: Array) -> Array:
    """left x right, where x alone may be complex."""
    if x.dtype == left.dtype:
        return left @ x @ right
    return xp.astype(left, x.dtype) @ x @ xp.astype(right, x.dtype)


def poison(xp: Any, a: Array) -> Array:
    """0, or NaN for matrices with entries that are not finite, (..., 1)."""
    size = xp.abs(a) if xp.isdtype(a.dtype, "complex floating") else a
    return xp.sum(0 * size, axis=(-2, -1))[..., None]  # which does not overflow


def conj(xp: Any, x: Array) -> Array:
    """The conjugate; a real array, or None, is returned as it is."""
    return x if x is None or not xp.isdtype(x.dtype, "complex floating") else xp.conj(x)


def hermitian_product(xp: Any, x: Array, y: Array) -> Array:
    """x y^H where that is Hermitian; perhaps one triangle is computed."""
    if hasattr(xp, "hermitian_product"):
        return xp.hermitian_product(x, y)
    return x @ adjoint(xp, y)


def column_products(xp: Any, x: Array, y: Array) -> Array:
    """Re diag(x^H y), shape (..., n): the inner products of the columns."""
    if xp.isdtype(x.dtype, "complex floating"):
        return xp.sum(xp.real(xp.conj(x) * y), axis=-2)
    return xp.sum(x * y, axis=-2)


def positions(xp: Any, w: Array) -> Array:
    """1, 2, ..., n along the last axis of w, where w lives (no array is made from nothing)."""
    return xp.cumulative_sum(xp.zeros_like(real(xp, w)) + 1, axis=-1)


def diagonal_matrix(xp: Any, w: Array, dtype: Any) -> Array:
    """The matrices (..., n, n) with the vectors w (..., n) on their diagonals."""
    one = w if w.ndim == 1 else w[(*(slice(0, 1),) * (w.ndim - 1), slice(None))]
    i = positions(xp, one)
    row = xp.astype(w, dtype)[..., None, :]
    return xp.where(i[..., :, None] == i[..., None, :], row, xp.zeros_like(row))


def hermitian_from_triangle(xp: Any, a: Array, lower: bool) -> Array:
    """The Hermitian matrix whose lower (upper) triangle is that of a; the other is not read."""
    i = positions(xp, xp.sum(a, axis=-2))
    row, column = i[..., :, None], i[..., None, :]
    zero = xp.zeros_like(a)
    h = xp.where(column < row if lower else row < column, a, zero)
    return h + adjoint(xp, h) + xp.where(row == column, xp.astype(real(xp, a), a.dtype), zero)


def powers_of_two(xp: Any, size: Array) -> tuple[Array, Array]:
    """2^-e and 2^e with 2^e <= size < 2^(e+1), so that scaling by them rounds nothing.

    1 where size is zero or not finite; e is clipped to where both powers are normal.
    """
    one = xp.zeros_like(size) + 1
    usable = (size > 0) & xp.isfinite(size)
    exponent = xp.floor(xp.log2(xp.where(usable, size, one)))
    limit = 120.0 if xp.finfo(size.dtype).bits == 32 else 1000.0
    exponent = xp.clip(exponent, -limit, limit)
    return xp.pow(2 * one, -exponent), xp.pow(2 * one, exponent)


def tolerance(xp: Any, w: Array, size: int) -> Array:
    """tau, the backward error of a solver: values nearer than this carry no order.

    w is (..., k) and the result (..., 1). The usual n eps |A| is too narrow
    for small matrices: exact repeats stored in a rounded matrix come back up to 9 eps |A|
    apart at n = 2 and 21 eps |A| at n = 12 (worst of thousands of random draws, eigh and
    SVD, real and complex), after which the constant, not n, decides. Nothing wider is
    masked: from there on a gap carries information.
    """
    magnitude = xp.abs(w)
    norm = (xp.max if w.shape[-1] else xp.sum)(magnitude, axis=-1, keepdims=True)
    return width(xp, magnitude, size) * norm


def width(xp: Any, w: Array, size: int) -> float:
    """tau relative to the norm."""
    return (size + 16) * float(xp.finfo(w.dtype).eps)


def same_cluster(xp: Any, w: Array, tau: Array) -> Array:
    """Which pairs of the sorted real values w (..., n) lie in one cluster, (..., n, n) boolean.

    tau is (..., 1), or (..., n - 1) for a width of its own for each pair of neighbours. A
    cluster is a chain of neighbours at most tau apart, so being in one is transitive.
    """
    return chained(xp, near(xp, w, tau), w.shape[-1])


def near(xp: Any, w: Array, tau: Array) -> Array:
    """Which neighbours among the sorted real values w (..., n) are tau apart or less."""
    return xp.abs(w[..., 1:] - w[..., :-1]) <= tau


def crowded(xp: Any, w: Array, size: int, origin: bool = False) -> Array:
    """Whether two of the sorted real values w (..., n) are in one cluster, (...).

    With `origin`, zero is one of the values, after all others.
    """
    return xp.any(near(xp, ended(xp, w) if origin else w, tolerance(xp, w, size)), axis=-1)


def ended(xp: Any, s: Array) -> Array:
    """The values s (..., n), and zero after them, (..., n + 1)."""
    return xp.concat([s, xp.zeros_like(xp.sum(s, axis=-1, keepdims=True))], axis=-1)


def chained(xp: Any, close: Array, n: int) -> Array:
    """`same_cluster` of n values, given which neighbours are near."""
    label = xp.cumulative_sum(xp.astype(~close, xp.int32), axis=-1, include_initial=True)
    if n == 0:
        label = label[..., :0]
    return label[..., :, None] == label[..., None, :]


def parted(xp: Any, w: Array, origin: bool = False) -> Array:
    """The sorted values w (..., n), those of a cluster pushed apart by sqrt(eps) |A|.

    About their mean, or, if there is an origin, away from zero where that is near. Then a
    quotient 0/0 of the derivative is one of small differences. Values are pushed as soon as
    others are so near that pushing these would reach them.
    """
    n = w.shape[-1]
    if n == 0:
        return w
    size = xp.abs(w)
    step = float(xp.finfo(w.dtype).eps) ** 0.5 * xp.max(size, axis=-1, keepdims=True)
    x = ended(xp, w) if origin else w
    i = positions(xp, x)
    if origin:
        i = n + 1 - i  # descending: 0 at the origin
    same = xp.astype(same_cluster(xp, x, (n + 1) * step), w.dtype)
    centre = xp.sum(same * i[..., None, :], axis=-1) / xp.sum(same, axis=-1)
    if origin:
        centre = xp.where(same[..., -1] > 0, xp.zeros_like(centre), centre)
    return (x + (i - centre) * step)[..., :n]


def reciprocal_gap(
    xp: Any, a: Array, b: Array, masked: Array | None, x: Array | float = 1.0
) -> Array:
    """x/(b_j - a_i) off the mask and 0 on it; a (..., m), b (..., n), result (..., m, n)."""
    difference = b[..., None, :] - a[..., :, None]
    if not xp.isdtype(difference.dtype, "complex floating"):
        return quotient(xp, x, difference, masked)
    if masked is None:
        return x / difference
    one = xp.zeros_like(difference) + 1
    return xp.where(masked, 0 * one, x / xp.where(masked, one, difference))


def quotient(xp: Any, x: Array | float, d: Array, masked: Array | None) -> Array:
    """x/d off the mask and 0 on it, d real; perhaps in the memory of d."""
    if hasattr(xp, "quotient"):
        return xp.quotient(x, d, masked)
    return x / (d if masked is None else xp.where(masked, xp.inf, d))


def with_diagonal(xp: Any, x: Array, w: Array, same: Array) -> Array:
    """x + diag w for square x, with `Ops.diagonal` of w; perhaps in the memory of x."""
    if hasattr(xp, "with_diagonal"):
        return xp.with_diagonal(x, w, same)
    return xp.where(same, x + xp.astype(w, x.dtype)[..., None, :], x)


def filled(xp: Any, given: Arrays, x: Arrays) -> Arrays:
    """The given arrays, with zeros shaped like those of x for the absent ones."""
    return tuple(xp.zeros_like(y) if t is None else t for t, y in zip(given, x, strict=True))


def undefined(xp: Any, masked: Array, x: Array) -> Array:
    """NaN on the mask, where x is not zero; what is undefined and not asked for does no harm."""
    lost = masked & (x != 0)
    return xp.where(lost, xp.zeros_like(x) + float("nan"), xp.zeros_like(x))


def total(*terms: Array) -> Array:
    """The sum of the terms that are not None; None if there are none."""
    present = [t for t in terms if t is not None]
    if not present:
        return None
    out = present[0]
    for t in present[1:]:
        out = out + t
    return out
