"""Functions of the whole spectrum of a Hermitian matrix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ._arguments import matrices
from ._checks import reported
from ._functions import hermitian_frame, joined
from .frameworks import Framework, framework_of
from .rules import HermitianFunction
from .rules.operator_integral import DataGradient
from .rules.pieces import diagonal_matrix, positions, same_cluster, tolerance
from .rules.rule import Array
from .rules.symbols import Pieces

Function = Callable[[Array], Array]


@reported
def spectral_map(a: Array, f: Function, *, checks: str | None = None) -> Array:
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
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As `funm`.

    Notes
    -----
    *Differentiable*, in a and in whatever f depends on, three times at repeats and to every
    order where the eigenvalues are simple, where f is; fourth derivatives at repeats are
    NaN. Exact repeats have full precision, and so have eigenvalues that are apart. Between
    them, at gaps of eps^(1/4) of the spread, first derivatives have about 1e-11 in double
    precision, second ones 1e-7 and third ones 1e-3.

    On a cluster with the mean m, f_i acts on the part N of A - m as the polynomial

        f_i(m) + alpha N + beta N^2/2 + a N^3/6                                            (1)
               + sum_d ((gamma_d + b_d N) tr N_d^2/2 + c_d tr N_d^3/6),

    the sum over all clusters d: what permutations leave of the Taylor series of f at the
    means, to the third order. The coefficients are derivatives of f_i along differences of
    unit vectors of the same cluster, so that nothing is divided by. Away from repeats the
    quotients (f_i - f_j)/(w_i - w_j) and the Jacobian of f are all there is (Lewis and
    Sendov, SIMAX 23 (2001), for symmetric functions).

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
    own, (a,) = matrices("spectral_map", square=True, a=a)
    w, (v, b) = hermitian_frame(own, a, "spectral_map")
    if w.shape[-1] == 0:
        return a
    y = f(w)
    if framework_of(y) is None:
        raise TypeError(f"spectral_map: f must return an array, not {type(y).__name__}")
    if tuple(y.shape) != tuple(w.shape):
        raise ValueError(
            f"spectral_map: f must map the eigenvalues to as many numbers, but it maps shape "
            f"{tuple(w.shape)} to {tuple(y.shape)}"
        )
    framework = joined(own, y)
    clusters = _clusters(framework, f, w, framework.constant(y))
    mean, *powers = _moments(framework, clusters, b)
    rows = _expanded(framework, f, clusters, mean, powers)
    label = clusters.first[..., None, :]
    return framework.call(HermitianFunction(Pieces()), v, b, rows, label)[0]


@dataclasses.dataclass
class _Clusters:
    """Which values of a sorted spectrum w (..., n) f is expanded for together."""

    xp: Any
    w: Array
    together: Array
    """(..., n, n): 1 for two values of one cluster, else 0."""

    def __post_init__(self):
        self.size = self.sum(self.w * 0 + 1)
        self.place = positions(self.xp, self.w)
        others = self.place[..., None, :] < self.place[..., :, None]
        self.first = self.place - self.xp.sum(self.together * self._number(others), axis=-1)
        """The place where the cluster of each value begins."""

    def _number(self, x: Array) -> Array:
        return self.xp.astype(x, self.w.dtype)

    def sum(self, x: Array) -> Array:
        """The sum of x (..., n) over the cluster of each value."""
        return self.xp.sum(x[..., None, :] * self.together, axis=-1)

    def largest(self, x: Array) -> Array:
        """The largest x >= 0 (..., n) in the cluster of each value."""
        return self.xp.max(self.together * x[..., None, :], axis=-1)

    def at_least(self, count: int) -> Array:
        """1 for the values of clusters of so many, else 0."""
        return self._number(self.size >= count)

    def member(self, number: Array | int) -> Array:
        """(..., n, n): 1 in the row i and the column of that member of the cluster of i."""
        place = (self.first + number)[..., :, None]
        return self._number(self.place[..., None, :] == place)

    @property
    def centre(self) -> Array:
        """The mean of the cluster of each value."""
        return self.sum(self.w) / self.size


def _clusters(framework: Framework, f: Function, w: Array, y: Array) -> _Clusters:
    """Clusters of values that are equal, or so near that (1) is better than quotients.

    A quotient of differences has eps/gap, the slope of (1) gap^3: as much at eps^(1/4) of
    the distance on which f varies, which is taken to be the spread of w, unless (1) then
    contradicts f; there at the square root of it.
    """
    xp, n = framework.xp, w.shape[-1]
    eps = float(xp.finfo(w.dtype).eps)
    tau = tolerance(xp, w, n)

    def near(width: float) -> Array:
        chains = same_cluster(xp, w, tau + width * (w[..., -1:] - w[..., :1]))
        return xp.astype(chains, w.dtype)

    widths = [near(eps**power) for power in (1 / 2, 1 / 4)]
    tried = _Clusters(xp, *(xp.stack(x) for x in ([w, w], widths)))
    away = w - tried.centre
    powers = [tried.sum(away**2), tried.sum(away**3)]
    found = framework.constant(_expanded(framework, f, tried, tried.centre, powers))
    value, slope = xp.abs(y), xp.abs(found[..., 1, :])
    largest = xp.max(xp.abs(w), axis=-1, keepdims=True)
    # f rounds like its argument and its value
    rounding = 8 * eps * tried.largest(value + slope * largest)
    wrong = tried.sum(xp.astype(~(xp.abs(found[..., 0, :] - y) <= rounding), w.dtype))
    together = near(0.0)
    for chains, bad in zip(widths, (wrong[0, ...], wrong[1, ...]), strict=True):
        together = xp.where(bad[..., :, None] > 0, together, chains)
    return _Clusters(xp, w, together)


def _moments(framework: Framework, clusters: _Clusters, b: Array) -> tuple[Array, Array, Array]:
    """The mean of each cluster, and sums of (x - mean)^2 and ^3 over it, as functions of A.

    From the sums of x - u, (x - u)^2 and (x - u)^3 with u constant: traces of polynomials of
    pieces of A, hence linear in the values and derivatives of these.
    """
    xp, w = framework.xp, clusters.w
    nought = xp.zeros_like(w)[..., None, :]
    columns = xp.concat([nought] * 5, axis=-2)
    identity = diagonal_matrix(xp, xp.zeros_like(w) + 1, w.dtype)
    label = clusters.first[..., None, :]
    (found,) = framework.call(DataGradient(Pieces(), 0), b, columns, label, identity)
    f0, f1, f2, f3 = (found[..., j, :] for j in range(4))
    u = clusters.centre
    t = w - u
    first = clusters.sum(f0 * t + f1)
    second = clusters.sum(f0 * t**2 + f1 * (2 * t) + f2 * 2)
    third = clusters.sum(f0 * t**3 + f1 * (3 * t**2) + f2 * (6 * t) + f3 * 6)
    shift = first / clusters.size
    return (
        shift + u,
        second - first * shift,
        third - 3 * (shift * second) + 2 * (first * (shift * shift)),
    )


def _expanded(
    framework: Framework, f: Function, clusters: _Clusters, mean: Array, powers: list[Array]
) -> Array:
    """(1), its derivatives along N, and 0 or NaN for what comes after, at w, (..., 5, n).

    In the expansion of f at the means, x_i being that of w_i, D^k f_i along a direction x is
    the form alpha x_i; beta x_i^2 + 2 sum_d gamma_d |x_d|^2; a x_i^3 +
    3 x_i sum_d b_d |x_d|^2 + sum_d c_d sum(x_d^3). Of clusters of two or three values
    the terms in N^2 and N^3 are not independent (Cayley and Hamilton), and one is left out.
    """
    xp = framework.xp
    size, together = clusters.size, clusters.together
    two, three, four = (clusters.at_least(count)[..., :, None] for count in (2, 3, 4))
    first, last = clusters.member(0), clusters.member(size - 1)
    # a row for each cluster d, by each of its members: e_1 - e_2, e_1 - e_3, e_3 - e_4
    q = two * (first - clusters.member(1))
    r = three * (first - clusters.member(2))
    s = xp.where(four > 0, clusters.member(2) - clusters.member(3), q)
    every = xp.sum(xp.linalg.diagonal(first)[..., :, None] * q, axis=-2)

    # the directions come first, so that the parameters of f may have a batch of their own
    rows = together.ndim - 2
    forth = (rows, *range(rows), rows + 1)
    back = (*range(1, rows + 1), 0, rows + 1)

    def derivative(at: Array, *directions: Array) -> Array:
        """[d, i]: of f_i along the directions of d."""
        g = f
        for x in directions:
            g = _pushed(framework, g, xp.permute_dims(x, forth))
        return xp.permute_dims(g(at[None, ...] + 0 * xp.permute_dims(directions[0], forth)), back)

    def of(member: Array, x: Array) -> Array:
        """x[d, member(i)] for x[d, i]."""
        return x @ xp.astype(xp.matrix_transpose(member), x.dtype)

    def kept(where: Array, x: Array) -> Array:
        return xp.where(where > 0, x, xp.zeros_like(x))

    def own(x: Array) -> Array:
        return xp.linalg.diagonal(x)

    def independent(large: Array) -> Array:
        """[d, i]: 1 if d is a cluster, and i not in it unless it is large."""
        return two * xp.where(together > 0, large, xp.zeros_like(together) + 1)

    slope = derivative(mean, every[..., None, :] + xp.zeros_like(q[..., :1, :]))
    alpha = own(of(first, slope + xp.zeros_like(xp.astype(q, slope.dtype))))
    bend = derivative(mean, q, q)
    gamma = kept(independent(three), of(last, bend)) / 2
    beta = own(of(first, bend)) - 2 * own(gamma)
    # the mean moves a, b and c in the fourth order only
    still, all_of = framework.constant(mean), every[..., None, :] + xp.zeros_like(q)
    b = kept(independent(four), of(first, derivative(still, all_of, s, s))) / 2
    a = own(of(first, derivative(still, q, q, q))) - 6 * own(b)
    c = kept(three, of(last, derivative(still, q, r, q)))

    def over_clusters(x: Array, sums: Array) -> Array:
        return xp.sum(xp.multiply(x, (sums / size)[..., :, None]), axis=-2)

    second, third = powers
    t = xp.subtract(clusters.w, mean)
    mixed = over_clusters(b, second) / 2
    h3 = a
    h2 = beta + xp.multiply(a, t)
    h1 = alpha + xp.multiply(beta, t) + xp.multiply(a, t * t) / 2 + mixed
    h0 = (
        f(mean) + xp.multiply(alpha + mixed, t) + xp.multiply(beta, t * t) / 2
        + xp.multiply(a, t * t * t) / 6 + over_clusters(gamma, second) / 2
        + over_clusters(c, third) / 6
    )  # fmt: skip
    missing = xp.where(size > 1, xp.zeros_like(size) + xp.nan, xp.zeros_like(size))
    out = (h0, h1, h2, h3, missing + xp.zeros_like(h0))
    return xp.concat([x[..., None, :] for x in out], axis=-2)


def _pushed(framework: Framework, g: Function, direction: Array) -> Function:
    return lambda x: framework.push(g, x, direction)
