"""Norms, and other sums over a spectrum."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._arguments import matrices, same_batch
from ._checks import current, reported
from ._functions import units
from ._singular import Tall, count, tall_matrix
from .rules import HermitianFrame, SingularFrame, SpectralSum, WeightedSum
from .rules.pieces import adjoint, real
from .rules.rule import Array
from .rules.sums import AbsolutePower, Largest


# ord is the name that NumPy has for it
@reported
def matrix_norm(a: Array, ord: Any = "fro", *, checks: str | None = None) -> Array:  # noqa: A002
    """Unitarily invariant norm of a matrix, a function of its singular values.

    Parameters
    ----------
    a : array, shape (..., m, n)
    ord : {"nuc", "fro", 2} or ("schatten", p)
        The nuclear norm (sum of the singular values), the Frobenius norm, or the spectral norm
        (the largest), as in `numpy.linalg.matrix_norm`; or the Schatten norm of exponent p
        (`schatten_norm`).
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (...), real

    Raises
    ------
    ValueError
        If ord is none of these.
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* to every order at repeated singular values, where the norm is. Elsewhere
    the gradient is an element of the subdifferential that does not depend on the singular
    vectors the solver chooses: for "nuc" at a matrix that is not of full rank the one of least
    norm, U_r V_r^H; for 2 where the largest singular value repeats the mean over its
    cluster. Second derivatives there are those of the part that is chosen.

    Values alone cost one `svdvals`, the gradient one product more.

    References
    ----------
    Lewis, J. Convex Anal. 2 (1995); Watson, Linear Algebra Appl. 170 (1992).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.diag([3.0, 2.0, 0.0])
    >>> value, pullback = lw.vjp(lambda a: lw.matrix_norm(a, "nuc"), a)
    >>> pullback(np.array(1.0))[0]
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 0.]])
    """
    if isinstance(ord, str) and ord in ("nuc", "fro"):
        return _schatten("matrix_norm", a, 1 if ord == "nuc" else 2)
    if isinstance(ord, tuple) and len(ord) == 2 and ord[0] == "schatten":
        return _schatten("matrix_norm", a, ord[1])
    if isinstance(ord, (int, float)) and ord == 2:
        return _largest("matrix_norm", a, 1)
    raise ValueError(f"matrix_norm: ord must be 'nuc', 'fro', 2 or ('schatten', p), not {ord!r}")


@reported
def schatten_norm(a: Array, p: float, *, checks: str | None = None) -> Array:
    """Schatten norm: the p-norm of the singular values.

    Parameters
    ----------
    a : array, shape (..., m, n)
    p : float
        At least 1, or infinity.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (...), real

    Raises
    ------
    ValueError
        If p is less than 1 or not a number.
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* at every matrix but zero for 1 < p < infinity, to every order where a is of
    full rank or p is even; at vanishing singular values as often as |s|^p is. p = 1 is the
    nuclear norm and infinity the spectral norm (`matrix_norm`).

    Examples
    --------
    The Hessian of the squared norm for p = 2 is twice the identity, where values repeat as well.

    >>> import numpy as np
    >>> import loewner as lw
    >>> e, a = np.ones((2, 2)), np.eye(2)
    >>> slope = lambda a: lw.jvp(lambda a: lw.schatten_norm(a, 2) ** 2, (a,), (e,))[1]
    >>> lw.jvp(slope, (a,), (e,))[1].round(12)
    np.float64(8.0)
    """
    return _schatten("schatten_norm", a, p)


def _schatten(name: str, a: Any, p: Any) -> Array:
    if isinstance(p, bool) or not isinstance(p, (int, float, np.number)) or not p >= 1:
        raise ValueError(f"{name}: p must be at least 1, not {p!r}")
    if p == 1 or math.isinf(p):
        return _largest(name, a, None if p == 1 else 1)
    p = float(p)
    framework, (a,) = matrices(name, a=a)
    xp = framework.xp
    down, up = units(framework, a)
    tall = Tall(framework, a * down, name)
    rule = WeightedSum(SingularFrame(tall.wide), AbsolutePower(p), p)
    (total,) = framework.call(rule, tall.matrix, outputs=1)
    one = xp.zeros_like(total) + 1
    some = xp.where(total == 0, one, total)  # the subgradient at zero is zero
    norm = xp.sqrt(some) if p == 2 else xp.exp(xp.log(some) / (p * one))
    return xp.where(total == 0, xp.zeros_like(norm), norm) * real(xp, up[..., 0, 0])


@reported
def ky_fan_norm(a: Array, k: int, *, checks: str | None = None) -> Array:
    """Ky Fan norm: the sum of the k largest singular values.

    Parameters
    ----------
    a : array, shape (..., m, n)
    k : int
        From 0; all of them are summed for k of min(m, n) and more.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (...), real

    Raises
    ------
    ValueError
        If k is not a nonnegative integer.
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* to every order where s_k > s_{k+1}; where k cuts a cluster the gradient
    is the element of the subdifferential that shares the cut equally among its members, and
    that has no part in vanishing singular values; the second derivative is that of this part.

    References
    ----------
    Overton and Womersley, Math. Program. 62 (1993); Watson, SIMAX 14 (1993).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.ky_fan_norm(np.diag([3.0, 2.0, 1.0]), 2)
    np.float64(5.0)
    """
    return _largest("ky_fan_norm", a, count("ky_fan_norm", k))


def _largest(name: str, a: Any, k: int | None) -> Array:
    """The sum of the k largest singular values, or of all."""
    framework, tall = tall_matrix(name, a)
    every = tall.matrix.shape[-1]
    largest = Largest(every if k is None else k, singular=True)
    rule = WeightedSum(SingularFrame(tall.wide), largest, checks=current(name))
    return framework.call(rule, tall.matrix, outputs=1)[0]


@reported
def sum_largest(a: Array, k: int, *, checks: str | None = None) -> Array:
    """Sum of the k largest eigenvalues of a Hermitian matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian; the lower triangle is read.
    k : int
        From 0; the trace for k of n and more.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (...), real

    Raises
    ------
    ValueError
        If k is not a nonnegative integer.
    TypeError, numpy.linalg.LinAlgError
        As `eigvalsh`.

    Notes
    -----
    *Differentiable* to every order where the k-th and the next eigenvalue differ. Convex: where
    k cuts a cluster the gradient is the element of the subdifferential that shares the cut
    equally among its members, P_1 + (k - k_1)/n_c P_c, which does not depend on the basis; the
    second derivative is that of this function.

    References
    ----------
    Overton and Womersley, Math. Program. 62 (1993), Theorem 3.5.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> value, pullback = lw.vjp(lambda a: lw.sum_largest(a, 2), np.diag([1.0, 2.0, 2.0, 2.0]))
    >>> np.diag(pullback(np.array(1.0))[0]).round(3)
    array([0.   , 0.667, 0.667, 0.667])
    """
    k = count("sum_largest", k)
    framework, (a,) = matrices("sum_largest", square=True, a=a)
    largest = Largest(k, singular=False)
    rule = WeightedSum(HermitianFrame(), largest, checks=current("sum_largest"))
    return framework.call(rule, a, outputs=1)[0]


@reported
def subspace_distance(q1: Array, q2: Array, *, checks: str | None = None) -> Array:
    """Grassmann distance of two subspaces: the root of the sum of the squared angles.

    Parameters
    ----------
    q1, q2 : arrays, shape (..., n, k)
        Orthonormal bases, which is not checked.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (...), real
        In radians, between 0 and pi/2 sqrt(k).

    Raises
    ------
    ValueError
        If the shapes differ.
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    The principal angles are those whose sines are the singular values of q2 - q1 q1^H q2, with
    full relative precision for small angles.

    *Differentiable* up to the fifth order, the square even where the subspaces coincide (the
    distance itself is not, like any norm; its gradient there is the subgradient zero), but
    for angles of pi/2: there is the cut locus.

    References
    ----------
    Bjorck and Golub, Math. Comp. 27 (1973); Edelman, Arias and Smith, SIMAX 20 (1998).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> q1 = np.array([[1.0], [0.0]])
    >>> q2 = np.array([[np.cos(0.3)], [np.sin(0.3)]])
    >>> lw.subspace_distance(q1, q2).round(12)
    np.float64(0.3)
    """
    framework, (q1, q2) = matrices("subspace_distance", q1=q1, q2=q2)
    if tuple(q1.shape[-2:]) != tuple(q2.shape[-2:]):
        raise ValueError(
            f"subspace_distance: the subspaces must have the same dimensions, but q1 has shape "
            f"{tuple(q1.shape)} and q2 has shape {tuple(q2.shape)}"
        )
    same_batch("subspace_distance", q1=q1, q2=q2)
    xp = framework.xp
    sines = xp.subtract(q2, xp.matmul(q1, xp.matmul(adjoint(xp, q1), q2)))
    tall = Tall(framework, sines, "subspace_distance")
    s, parts = tall.frame()

    def squared_angle(x: Array) -> Array:
        angle = xp.asin(xp.where(x < 1, x, xp.zeros_like(x) + 1))
        return angle * angle

    data = tall.jets(s, parts, squared_angle, parity=1.0)
    rule = SpectralSum(SingularFrame(tall.wide))
    return root_or_zero(xp, framework.call(rule, tall.matrix, s, *parts, *data)[0])


def root_or_zero(xp: Any, x: Array) -> Array:
    """The square root, with the subgradient zero at zero."""
    root = xp.sqrt(xp.where(x == 0, xp.zeros_like(x) + 1, x))
    return xp.where(x == 0, xp.zeros_like(x), root)
