"""Functions of the whole spectrum of a Hermitian matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._arguments import matrices
from ._functions import hermitian_frame, joined
from .frameworks import Framework, framework_of
from .rules import HermitianFunction
from .rules.operator_integral import DataGradient
from .rules.pieces import diagonal_matrix, positions, same_cluster, tolerance
from .rules.rule import Array
from .rules.symbols import Jet


def spectral_map(a: Array, f: Callable[[Array], Array]) -> Array:
    """V diag(f(w)) V^H for a function of the whole spectrum of a Hermitian matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian; the lower triangle is read.
    f : callable
        Maps the eigenvalues (..., n) to (..., n), along the last axis, in the framework of
        a, and is equivariant: permuting its argument permutes its result. Softmax, learned
        filters. It is called with more leading dimensions as well, and may close over
        arrays, which are then differentiated too.

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As `funm`.

    Notes
    -----
    *Differentiable*, in a and in whatever f depends on, to every order where the eigenvalues
    are simple and twice at repeats, where f is; third derivatives at repeats are NaN. About
    1e-9 in double precision where eigenvalues nearly coincide, full precision at exact
    repeats and where they are apart; second derivatives, which are quotients of quotients,
    lose eps/gap^2 of what f does not vary smoothly with, and down to 1e-2 for the narrowest
    gaps that still count as such.

    At a matrix whose clusters have the means m, f acts on the parts N_c of A - m, up to the
    second order, as

        f_i(m) + alpha_i N + (beta_i N^2 + sum_d gamma_id tr N_d^2)/2,

    alpha_i the derivative of f_i along u = e_i - e_j, j another member, gamma_id half its
    second derivative along e_j - e_k, j and k other members of d, and beta_i its second
    derivative along u less 2 gamma_ic. Away from repeats the quotients
    (f_i - f_j)/(w_i - w_j) and the Jacobian of f are all there is (Lewis and Sendov,
    SIMAX 23 (2001), for symmetric functions).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> def filling(w):
    ...     e = np.exp(-w)
    ...     return e / e.sum(axis=-1)[..., None]
    >>> np.trace(lw.spectral_map(np.diag([1.0, 1.0, 3.0]), filling)).round(12)
    np.float64(1.0)
    """
    framework, (a,) = matrices("spectral_map", square=True, a=a)
    w, (v, b) = hermitian_frame(framework, a)
    xp = framework.xp
    n = w.shape[-1]
    if n == 0:
        return a
    nought = xp.zeros_like(w)
    spread = w[..., -1:] - w[..., :1]
    tau = tolerance(xp, w, n)
    width = float(xp.finfo(w.dtype).eps) ** (1 / 3) * spread + tau
    same, close = (xp.astype(same_cluster(xp, w, t), w.dtype) for t in (tau, width))
    size = xp.sum(same, axis=-1)

    # sums of (x - w) and (x - w)^2 over each cluster, as functions of A
    identity = diagonal_matrix(xp, nought + 1, w.dtype)
    columns = xp.concat([nought[..., None, :]] * 4, axis=-2)
    alone = (tau + nought)[..., None, :]
    (moments,) = framework.call(DataGradient(Jet(clusters=True), 0), b, columns, alone, identity)
    first = xp.sum(moments[..., 1, None, :] * same, axis=-1)
    second = xp.sum(moments[..., 2, None, :] * same, axis=-1) * 2
    shift = first / size
    square = second - first * shift  # tr N_c^2
    mean = shift + w

    y = f(mean)
    if framework_of(y) is None:
        raise TypeError(f"spectral_map: f must return an array, not {type(y).__name__}")
    framework = joined(framework, y)
    xp = framework.xp
    if tuple(y.shape) != tuple(w.shape):
        raise ValueError(
            f"spectral_map: f must map the eigenvalues to as many numbers, but it maps shape "
            f"{tuple(w.shape)} to {tuple(y.shape)}"
        )
    slope, bend, _ = _coefficients(framework, f, mean, close)
    bad = _disagrees(framework, w, y, slope, bend, tau, close)
    sure = xp.where(bad[..., :, None], same, close)
    reach = xp.where(bad, tau + nought, width + nought)[..., None, :]
    slope, bend, gamma = _coefficients(framework, f, mean, sure)
    rows = [
        y - xp.multiply(slope, shift) + xp.multiply(bend, shift * shift) / 2
        + xp.sum(xp.multiply(gamma, (square / size)[..., None, :]), axis=-1) / 2,
        slope - xp.multiply(bend, shift),
        bend,
    ]  # fmt: skip
    missing = xp.where(size > 1, nought + xp.nan, nought)
    rows.append(missing + xp.zeros_like(y))
    data = xp.concat([row[..., None, :] for row in rows], axis=-2)
    return framework.call(HermitianFunction(Jet(clusters=True)), v, b, data, reach)[0]


def _disagrees(
    framework: Framework, w: Array, y: Array, slope: Array, bend: Array, tau: Array, close: Array
) -> Array:
    """Members of chains of close eigenvalues that f does not look smooth on, (..., n).

    That is where the slopes contradict a quotient of differences by more than it rounds off.
    """
    xp = framework.xp
    y, slope, bend = (framework.constant(x) for x in (y, slope, bend))
    gap = w[..., 1:] - w[..., :-1]
    run = xp.where(gap > 0, gap, xp.zeros_like(gap) + 1)
    quotient = (y[..., 1:] - y[..., :-1]) / run
    series = (slope[..., 1:] + slope[..., :-1]) / 2 - (bend[..., 1:] - bend[..., :-1]) * run / 4
    size = xp.abs(y)
    rounding = 8 * float(xp.finfo(w.dtype).eps) * (size[..., 1:] + size[..., :-1]) / run
    bad = (gap > tau) & ~(xp.abs(quotient - series) <= rounding)
    nothing = xp.zeros_like(w[..., :1])
    bad = xp.astype(bad, w.dtype)
    bad = xp.concat([bad, nothing], axis=-1) * xp.concat(
        [xp.linalg.diagonal(close[..., 1:, :-1]), nothing], axis=-1
    )
    return xp.sum(close * bad[..., None, :], axis=-1) > 0


def _coefficients(
    framework: Framework, f: Any, mean: Array, close: Array
) -> tuple[Array, Array, Array]:
    """The slopes alpha + beta (w - m) and beta (..., n), and gamma (..., n, n) of i and j's chain.

    From the derivatives of f at the means m of the chains of close eigenvalues, along
    e_j - e_k, k the member after j in its chain; all zero for a single one.
    """
    xp = framework.xp
    centre = xp.sum(mean[..., None, :] * close, axis=-1) / xp.sum(close, axis=-1)
    i = positions(xp, framework.constant(centre))
    row, column = i[..., :, None], i[..., None, :]
    count = xp.sum(close, axis=-1)
    start = i - xp.sum(xp.where(column < row, close, xp.zeros_like(close)), axis=-1)
    after = xp.where(i + 1 < start + count, i + 1, start)
    is_row = xp.astype(column == row, close.dtype)
    is_after = xp.astype(column == after[..., :, None], close.dtype)
    # the directions come first, so that the parameters of f may have a batch of their own
    forth = (close.ndim - 2, *range(close.ndim - 2), close.ndim - 1)
    back = (*range(1, close.ndim - 1), 0, close.ndim - 1)
    along = xp.permute_dims(is_row - is_after, forth)

    def slope(x: Array) -> Array:
        return framework.push(f, x, along)

    each = centre[None, ...] + xp.zeros_like(along)
    # [j, i]: of f_i along u_j
    first, second = slope(each), framework.push(slope, each, along)
    first, second = xp.permute_dims(first, back), xp.permute_dims(second, back)
    alpha = xp.linalg.diagonal(first)
    # pairs that have no part in i
    apart = (1 - is_row) * (1 - xp.matrix_transpose(is_after))
    usable = apart * xp.astype(count > 1, close.dtype)[..., None, :]  # [i, j]
    number = usable @ close
    one = xp.zeros_like(number) + 1
    gamma = (xp.matrix_transpose(second) * usable) @ xp.astype(close, second.dtype)
    gamma = gamma / xp.where(number > 0, number, one) / 2
    beta = xp.linalg.diagonal(second) - 2 * xp.linalg.diagonal(gamma)
    return alpha + xp.multiply(beta, mean - centre), beta, gamma
