"""Functions of square matrices: exponentials, logarithms, roots, projectors, spectral sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._arguments import matrices
from ._checks import current, reported
from .frameworks import Framework, framework_of
from .rules import Broken, GeneralFunction, HermitianFrame, HermitianFunction, SpectralSum, frechet
from .rules.frechet import Interval, Lowest, Predicate, Projector
from .rules.pieces import (
    hermitian_from_triangle,
    powers_of_two,
    real,
    same_cluster,
    tolerance,
)
from .rules.reports import Watch, ZeroReport, recording
from .rules.rule import Array, Arrays
from .rules.symbols import Cut, Exp, Inverse, Jet, Log, Monomial, Power, Symbol

Select = int | tuple[float, float] | Callable[[Array], Array]

DERIVATIVES = 5
"""How many derivatives of a function of the caller's are taken: the order to which it is
differentiable at exact repeats."""


def hermitian_frame(framework: Framework, a: Array, name: str) -> tuple[Array, Arrays]:
    """The eigenvalues, as a constant, and V and the core of A = V B V^H."""
    w, v, b = framework.call(HermitianFrame(current(name)), a)
    return framework.constant(w), (framework.constant(v), b)


def jets(
    framework: Framework, f: Callable[[Array], Array], x: Array
) -> tuple[Framework, Array, Array]:
    """f, f', f'', ... of a scalar function at sorted x (..., n), (..., 1 + d, n), and their reach.

    And the framework of these: that of what f closes over, if it is not that of x.
    """

    def whole(x: Array) -> Array:
        return f(x) + framework.xp.zeros_like(x)

    y = f(x)
    if framework_of(y) is None:
        if not isinstance(y, (int, float, complex)):
            raise TypeError(f"f must return an array, not {type(y).__name__}")
        y = whole(x)
    framework = joined(framework, y)
    if tuple(y.shape) != tuple(x.shape):
        raise ValueError(
            f"f must act on each number of an array by itself, but it maps shape "
            f"{tuple(x.shape)} to {tuple(y.shape)}"
        )
    rows, g = [y], whole
    for _ in range(DERIVATIVES):
        g = _slope(framework, g)
        rows.append(g(x))
    xp = framework.xp
    reach = _reach(xp, [xp.abs(framework.constant(row)) for row in rows], framework.constant(x))
    dtype = xp.result_type(*(row.dtype for row in rows))
    rows = [xp.astype(row, dtype)[..., None, :] for row in rows]
    return framework, xp.concat(rows, axis=-2), reach[..., None, :]


def _reach(xp: Any, sizes: list[Array], x: Array) -> Array:
    """The distance up to which the Taylor series of f is better than a quotient of differences.

    From |f|, |f'|, ..., |f^(d)| at x (..., n). Within a length l on which the derivatives up
    to the d-th are bounded as those of a geometric series, |f^(p)| <= p! c/l^p, the series
    leaves out c (h/l)^(d+1), and the quotient rounds off eps c: as much for
    h = eps^(1/(d+1)) l. c is |f| or, for the series of f', whatever allows more, |f'|.
    """
    lengths = []
    for first in (0, 1):
        shortest, factorial = None, 1.0
        for p in range(1, len(sizes) - first):
            factorial *= p + first
            c, derivative = sizes[first], sizes[p + first]
            proper = derivative > 0
            one = xp.zeros_like(c) + 1
            length = (c / xp.where(proper, derivative, one) * factorial) ** (1 / p)
            length = xp.where(proper, length, xp.inf * one)
            if shortest is None:
                shortest = length
            shortest = xp.where(length < shortest, length, shortest)
        lengths.append(shortest)
    length = xp.where(lengths[0] < lengths[1], lengths[1], lengths[0])
    # a polynomial, or a piece of one: no further than the points are
    spread = xp.abs((x[..., -1:] - x[..., :1] if x.shape[-1] else x) + xp.zeros_like(x))
    spread = xp.where(spread < xp.abs(x), xp.abs(x), spread)
    length = xp.where(length < xp.inf, length, spread)
    length = xp.where(length >= 0, length, xp.zeros_like(length))  # not where f is not finite
    return float(xp.finfo(x.dtype).eps) ** (1 / len(sizes)) * length


def joined(framework: Framework, y: Array) -> Framework:
    """The framework of what a function of the caller's returned, if that takes arrays of ours."""
    own = framework_of(y)
    if own is None or framework.accepts(own):
        return framework
    if not own.accepts(framework):
        raise TypeError(f"f returned a {own.name} array for a {framework.name} array")
    return own


def _slope(framework: Framework, g: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: framework.push(g, x, framework.xp.zeros_like(x) + 1)


def units(framework: Framework, a: Array) -> tuple[Array, Array]:
    """Powers of two 1/c and c, (..., 1, 1), with the entries of a/c at most of order one.

    Of four, so that their roots round nothing either. Products of the entries of matrices
    with very large or small ones would leave the range.
    """
    xp = framework.xp
    size = xp.abs(framework.constant(a))
    reduce = xp.max if 0 not in size.shape else xp.sum
    size = reduce(reduce(size, axis=-1), axis=-1)[..., None, None]
    down, up = powers_of_two(xp, xp.sqrt(size))
    return xp.astype(down * down, a.dtype), xp.astype(up * up, a.dtype)


def _hermitian(name: str, a: Any, symbol: Symbol, degree: float | None = None) -> Array:
    """f(A); degree is p if f(c A) = c^p f(A) for positive c."""
    framework, (a,) = matrices(name, square=True, a=a)
    down, up = (None, None) if degree is None else units(framework, a)
    w, (v, b) = hermitian_frame(framework, a if down is None else a * down, name)
    singular = not isinstance(symbol, Monomial | Exp)
    held = current(name) if singular else None
    if held and (recording(held) or not ZeroReport.regular(framework, w)):
        (b,) = framework.call(Watch(ZeroReport(), held, 1), w, b)
    (x,) = framework.call(HermitianFunction(symbol), v, b)
    return x if degree is None else x * framework.xp.pow(up, degree)


@reported
def expm(a: Array, hermitian: bool = False, *, checks: str | None = None) -> Array:
    """Exponential of a square matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
    hermitian : bool
        Whether a is Hermitian; then its lower triangle is read and the exponential is taken
        of the eigenvalues.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)
        Of the dtype of a.

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        If a is not an array of floating-point numbers, or not square in its last two axes.

    Notes
    -----
    *Differentiable* everywhere and to every order, at repeated eigenvalues and defective
    matrices too. Hermitian: one `eigh` and 10 n^3 flops of products for value and gradient.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 10 and Theorem 3.6; Daleckii and Krein
    (1965) for Hermitian matrices.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.expm(np.array([[0.0, 1.0], [0.0, 0.0]]))
    array([[1., 1.],
           [0., 1.]])
    """
    return _hermitian("expm", a, Exp()) if hermitian else _general("expm", a, frechet.Exp())


@reported
def logm(a: Array, hermitian: bool = False, *, checks: str | None = None) -> Array:
    """Principal logarithm of a square matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Without eigenvalues on the closed negative real axis; a real matrix has a real
        logarithm. NaN where it does not exist: at zero eigenvalues, and at negative ones of
        Hermitian and of real matrices (of which the complex logarithm is asked for by
        making them complex).
    hermitian : bool
        Whether a is Hermitian (positive definite); its lower triangle is read.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `expm`.

    Notes
    -----
    *Differentiable* to every order wherever it exists.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 11.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.logm(np.diag([1.0, np.e]), hermitian=True)
    array([[0., 0.],
           [0., 1.]])
    """
    return _hermitian("logm", a, Log()) if hermitian else _general("logm", a, frechet.Log())


@reported
def sqrtm(a: Array, hermitian: bool = False, *, checks: str | None = None) -> Array:
    """Principal square root of a square matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Without eigenvalues on the negative real axis; a real matrix has a real root. NaN
        where that does not exist, and for singular matrices that are not declared Hermitian.
    hermitian : bool
        Whether a is Hermitian (positive semidefinite); its lower triangle is read.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `expm`.

    Notes
    -----
    *Differentiable* to every order at nonsingular matrices. Along directions that move a zero
    eigenvalue there is no derivative: it is infinite or NaN.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 6.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.sqrtm(np.diag([4.0, 9.0]), hermitian=True)
    array([[2., 0.],
           [0., 3.]])
    """
    if hermitian:
        return _hermitian("sqrtm", a, Power(0.5), 0.5)
    return _general("sqrtm", a, frechet.Sqrt())


@reported
def invsqrtm(a: Array, hermitian: bool = False, *, checks: str | None = None) -> Array:
    """Inverse of the principal square root of a square matrix.

    Parameters
    ----------
    a, hermitian
        As for `sqrtm`; a nonsingular.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `expm`.

    Notes
    -----
    *Differentiable* to every order wherever it exists.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.invsqrtm(np.diag([4.0, 16.0]), hermitian=True)
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    if hermitian:
        return _hermitian("invsqrtm", a, Power(-0.5), -0.5)
    return _general("invsqrtm", a, frechet.InverseSqrt())


@reported
def fractional_matrix_power(
    a: Array, p: float, hermitian: bool = False, *, checks: str | None = None
) -> Array:
    """Principal power A^p of a square matrix, p real.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Any for p = 0, 1, 2, ...; nonsingular for negative integers; as for `sqrtm` otherwise.
    p : float
        A number, not differentiated; for a p that is, use ``expm(p * logm(a))``.
    hermitian : bool
        Whether a is Hermitian; its lower triangle is read.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `expm`; TypeError if p is not a real number.

    Notes
    -----
    *Differentiable* to every order where a is nonsingular, and for p = 0, 1, 2, ... everywhere.

    References
    ----------
    Higham and Lin, SIMAX 32 (2011); Higham, Functions of Matrices (2008), chapter 7.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.fractional_matrix_power(np.diag([1.0, 8.0]), 2 / 3, hermitian=True).round(12)
    array([[1., 0.],
           [0., 4.]])
    """
    if isinstance(p, bool) or not isinstance(p, (int, float, np.integer, np.floating)):
        raise TypeError(f"fractional_matrix_power: p must be a real number, not {p!r}")
    p = float(p)
    if not hermitian:
        return _general("fractional_matrix_power", a, frechet.Power(p))
    if p == -1:
        symbol: Symbol = Inverse()
    else:
        symbol = Monomial(int(p)) if p.is_integer() and 0 <= p <= 32 else Power(p)
    return _hermitian("fractional_matrix_power", a, symbol, p)


@reported
def signm(a: Array, hermitian: bool = False, *, checks: str | None = None) -> Array:
    """Sign of a square matrix: eigenvalues become the signs of their real parts.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Without eigenvalues on the imaginary axis, where the result is NaN.
    hermitian : bool
        Whether a is Hermitian; its lower triangle is read.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `expm`.

    Notes
    -----
    *Differentiable* to every order where no eigenvalue has a vanishing real part, wherever
    the eigenvalues of one sign coincide.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 5.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.signm(np.diag([-3.0, 2.0]), hermitian=True)
    array([[-1.,  0.],
           [ 0.,  1.]])
    """
    if not hermitian:
        return _general("signm", a, frechet.Sign())
    framework, (a,) = matrices("signm", square=True, a=a)
    w, parts = hermitian_frame(framework, a * units(framework, a)[0], "signm")
    xp = framework.xp
    tau = tolerance(xp, w, w.shape[-1])
    one = xp.zeros_like(w) + 1
    c = xp.where(w > tau, one, xp.where(w < -tau, -one, xp.nan * one))
    return framework.call(HermitianFunction(Cut(Monomial(0))), *parts, c[..., None, :])[0]


@reported
def funm(
    a: Array, f: Callable[[Array], Array], hermitian: bool = True, *, checks: str | None = None
) -> Array:
    """Any function of a Hermitian matrix: V diag(f(w)) V^H.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian; the lower triangle is read.
    f : callable
        A smooth function of a number in the framework of a, such as ``jnp.sin`` or
        ``torch.tanh``: it is called with arrays of eigenvalues, returns an array of their
        shape, real or complex, and its derivatives are taken by the framework. It may
        close over arrays, which are then differentiated as well.
    hermitian : bool
        Only True: functions of general matrices need more than their values (`expm`,
        `logm`, `sqrtm`, `signm` and `fractional_matrix_power` take any matrix).
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `expm`; TypeError if the framework cannot follow f.
    ValueError
        If f does not return one number for each.
    NotImplementedError
        If hermitian is False, and for derivatives beyond the fifth.

    Notes
    -----
    *Differentiable*, in a and in whatever f depends on, up to the fifth order at repeated
    eigenvalues, where f has so many derivatives. Divided differences are Taylor series of f
    for points nearer than eps^(1/6) of the length on which f varies, as its derivatives tell,
    and quotients for others: better than 1e-11 in double precision, and full precision at
    exact repeats.

    References
    ----------
    Daleckii and Krein (1965); Higham, Functions of Matrices (2008), Theorem 3.11.

    Examples
    --------
    The gradient of the trace of C sin(A) at the identity is cos(1) C: all eigenvalues coincide.

    >>> import numpy as np
    >>> import loewner as lw
    >>> c = np.array([[1.0, 2.0], [2.0, 5.0]])
    >>> _, pullback = lw.vjp(lambda a: (c * lw.funm(a, np.sin)).sum(), np.eye(2))
    >>> (pullback(np.array(1.0))[0] / np.cos(1.0)).round(12)
    array([[1., 2.],
           [2., 5.]])
    """
    if not hermitian:
        raise NotImplementedError(
            "funm: only functions of Hermitian matrices; expm, logm, sqrtm, invsqrtm, signm and "
            "fractional_matrix_power take general ones"
        )
    framework, (a,) = matrices("funm", square=True, a=a)
    w, parts = hermitian_frame(framework, a, "funm")
    framework, *data = jets(framework, f, w)
    return framework.call(HermitianFunction(Jet()), *parts, *data)[0]


@reported
def spectral_sum(a: Array, f: Callable[[Array], Array], *, checks: str | None = None) -> Array:
    """Sum of a function over the eigenvalues of a Hermitian matrix: tr f(A).

    Entropies, free energies, log-determinants: ``lw.spectral_sum(a, jnp.log)``.

    Parameters
    ----------
    a, f
        As for `funm`.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (...)

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As `funm`.

    Notes
    -----
    *Differentiable* as `funm`, up to the fifth order at repeats; the gradient is f'(A), at
    the cost of one product.

    References
    ----------
    Lewis, SIAM J. Optim. 6 (1996).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.diag([2.0, 2.0, 4.0])
    >>> value, pullback = lw.vjp(lambda a: lw.spectral_sum(a, np.log), a)
    >>> pullback(np.array(1.0))[0]
    array([[0.5 , 0.  , 0.  ],
           [0.  , 0.5 , 0.  ],
           [0.  , 0.  , 0.25]])
    """
    framework, (a,) = matrices("spectral_sum", square=True, a=a)
    w, parts = hermitian_frame(framework, a, "spectral_sum")
    framework, *data = jets(framework, f, w)
    return framework.call(
        SpectralSum(HermitianFrame(), current("spectral_sum")), a, w, *parts, *data
    )[0]


@reported
def spectral_projector(
    a: Array, select: Select, hermitian: bool = True, *, checks: str | None = None
) -> Array:
    """Projector on the eigenspaces of selected eigenvalues.

    Parameters
    ----------
    a : array, shape (..., n, n)
    select : int, pair of floats, or callable
        The k lowest eigenvalues (by their real parts); those whose real parts lie in the
        closed interval (low, high); or those for which a predicate, called with the array of
        eigenvalues (..., n), returns True.
    hermitian : bool
        Whether a is Hermitian; its lower triangle is read. If not, the spectral (oblique)
        projector is found from the Schur form, which needs SciPy for NumPy and PyTorch
        arrays, and in JAX a CPU.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)
        P with P^2 = P and P a = a P; for a real matrix real, NaN if the selection splits a
        conjugate pair.

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `expm`; TypeError for another kind of selection.
    ValueError
        If k is negative.

    Notes
    -----
    *Differentiable* to every order where the selected eigenvalues are apart from the others,
    whatever repeats among them, defective eigenvalues too: the condition number is that of
    the separation. NaN where the selection cuts a cluster of a Hermitian matrix, in the
    directions that see it.

    References
    ----------
    Kato, Perturbation Theory for Linear Operators, II.1; Bai and Demmel, Linear Algebra Appl.
    186 (1993).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.spectral_projector(np.diag([1.0, 3.0, 1.0]), 2)
    array([[1., 0., 0.],
           [0., 0., 0.],
           [0., 0., 1.]])
    """
    return _projector("spectral_projector", a, select, hermitian)


def _projector(name: str, a: Any, select: Any, hermitian: bool) -> Array:
    chosen = _selection(name, select)
    if not hermitian:
        return _general(name, a, Projector(chosen))
    return _hermitian_projector(name, a, chosen)[0]


def _hermitian_projector(name: str, a: Any, chosen: Any) -> tuple[Array, Array]:
    """The projector on the chosen eigenvalues, and whether a cluster is cut, (...)."""
    framework, (a,) = matrices(name, square=True, a=a)
    xp = framework.xp
    down, up = units(framework, a)
    w, parts = hermitian_frame(framework, a * down, name)
    c = xp.astype(chosen.mask(xp, w * real(xp, up)[..., 0]), w.dtype)
    same = same_cluster(xp, w, tolerance(xp, w, w.shape[-1]))
    cut = xp.any(xp.any(same & (c[..., :, None] != c[..., None, :]), axis=-1), axis=-1)
    (p,) = framework.call(HermitianFunction(Cut(Monomial(0))), *parts, c[..., None, :])
    return p, cut


def _selection(name: str, select: Any) -> Interval | Lowest | Predicate:
    if callable(select):
        return Predicate(select)
    if isinstance(select, (tuple, list)) and len(select) == 2:
        return Interval(float(select[0]), float(select[1]))
    if isinstance(select, (int, np.integer)) and not isinstance(select, bool):
        if select < 0:
            raise ValueError(f"{name}: the number of eigenvalues must not be negative: {select}")
        return Lowest(int(select))
    raise TypeError(
        f"{name}: select must be a number of eigenvalues, an interval (low, high) or a "
        f"predicate, not {select!r}"
    )


@reported
def spectral_mean(
    a: Array, select: Select, hermitian: bool = True, *, checks: str | None = None
) -> Array:
    """Mean of selected eigenvalues, such as those of a cluster.

    Parameters
    ----------
    a, select, hermitian
        As for `spectral_projector`.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (...)
        tr(P a)/tr(P), NaN where nothing is selected; real for Hermitian and for real matrices.

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As `spectral_projector`.

    Notes
    -----
    *Differentiable* as `spectral_projector`. The mean of a cluster is well-conditioned where
    its members are not, in particular at a defective eigenvalue.

    References
    ----------
    Kato, Perturbation Theory for Linear Operators, II.2; Bai, Demmel and McKenney, ACM Trans.
    Math. Softw. 19 (1993).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.spectral_mean(np.diag([1.0, 7.0, 2.0]), 2)
    np.float64(1.5)
    """
    framework, (a,) = matrices("spectral_mean", square=True, a=a)
    xp = framework.xp
    cut = None
    if hermitian:
        a = hermitian_from_triangle(xp, a, True)
        p, cut = _hermitian_projector("spectral_mean", a, _selection("spectral_mean", select))
    else:
        p = _projector("spectral_mean", a, select, hermitian)
    mean = xp.sum(xp.sum(p * xp.matrix_transpose(a), axis=-1), axis=-1)
    rank = xp.sum(xp.linalg.diagonal(framework.constant(p)), axis=-1)
    mean = mean / rank
    return mean if cut is None else framework.call(Broken(), real(xp, mean), cut)[0]


def _general(name: str, a: Any, function: Any) -> Array:
    framework, (a,) = matrices(name, square=True, a=a)
    return framework.call(GeneralFunction(function, current(name)), a)[0]
