"""Functions of the singular values of a matrix: polar factors, approximations, inverses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._arguments import matrices
from ._checks import current, reported
from ._functions import hermitian_frame, jets, units
from .frameworks import Framework
from .rules import HermitianFunction, Polar, SingularFrame, SingularFunction
from .rules.pieces import adjoint, conj, positions
from .rules.rule import Array, Arrays
from .rules.singular import extended
from .rules.symbols import Cut, Inverse, Jet, Monomial, Symbol


class PolarResult(NamedTuple):
    """A = U P or P U, as `scipy.linalg.polar` returns it."""

    unitary: Array
    hermitian: Array


class Tall:
    """A matrix as the tall one that the rules take: itself, or its adjoint if it is wide."""

    def __init__(self, framework: Framework, a: Array, name: str):
        self.framework = framework
        self.checks = current(name)
        self.wide = a.shape[-2] < a.shape[-1]
        self.matrix = adjoint(framework.xp, a) if self.wide else a

    def back(self, x: Array) -> Array:
        """What belongs to the matrix itself, of what belongs to the tall one."""
        return adjoint(self.framework.xp, x) if self.wide else x

    def frame(self) -> tuple[Array, Arrays]:
        """The singular values, as a constant, and U, V and the core."""
        s, u, v, *core = self.framework.call(SingularFrame(self.wide, self.checks), self.matrix)
        constant = self.framework.constant
        return constant(s), (constant(u), constant(v), *core)

    def function(self, parts: Arrays, symbol: Symbol, *data: Array) -> Array:
        """U f(S) V^H of the tall matrix."""
        return self.framework.call(SingularFunction(symbol), *parts, *data)[0]

    def jets(
        self, s: Array, parts: Arrays, f: Callable[[Array], Array], parity: float
    ) -> tuple[Array, Array]:
        """The data of a `Jet` of f, which is called with s only, at (s, -s) and zero.

        The framework becomes that of what f closes over, if it is another.
        """
        n, rest, xp = s.shape[-1], len(parts) > 3, self.framework.xp
        points = xp.concat([s, xp.zeros_like(s[..., :1])], axis=-1) if rest else s
        self.framework, *data = jets(self.framework, f, points)
        xp = self.framework.xp
        rows, reach = (
            extended(xp, x[..., :n], sign, rest, x[..., n:])
            for x, sign in zip(data, (parity, 1.0), strict=True)
        )
        return rows, reach

    def cut(self, s: Array, parts: Arrays, base: Symbol, kept: Array, odd: bool) -> Array:
        """U f(S) V^H with f on the singular values that are kept, and 0 on the others."""
        xp = self.framework.xp
        c = xp.astype(kept, s.dtype)[..., None, :]
        c = extended(xp, c, -1.0 if odd else 1.0, rest=len(parts) > 3)
        return self.function(parts, Cut(base), c)


def tall_matrix(name: str, a: Any) -> tuple[Framework, Tall]:
    framework, (a,) = matrices(name, a=a)
    return framework, Tall(framework, a, name)


def _threshold(framework: Framework, size: tuple[int, ...], s: Array, rtol: Any) -> Array:
    """Which singular values exceed rtol times the largest."""
    xp = framework.xp
    if rtol is not None:
        rtol = float(rtol)
    else:
        rtol = max(size[-2:]) * float(xp.finfo(s.dtype).eps)
    if s.shape[-1] == 0:
        return s > 0
    return ~(s <= rtol * xp.max(s, axis=-1, keepdims=True))  # NaN is kept


@reported
def singular_value_map(
    a: Array, f: Callable[[Array], Array], *, checks: str | None = None
) -> Array:
    """U diag(f(S)) V^H for an odd function f: shrinkage, filters.

    Parameters
    ----------
    a : array, shape (..., m, n)
    f : callable
        A function of a number, as for `funm`, called with singular values only and extended
        to negative numbers by f(-s) = -f(s), so that f(0) = 0.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., m, n)

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As `funm`.

    Notes
    -----
    *Differentiable* at repeated and at vanishing singular values, up to the fifth order, in
    a and in whatever f depends on, where the odd extension of f is.

    References
    ----------
    Noferini, SIMAX 38 (2017); Hawkins and Ben-Israel, Linear Multilinear Algebra 1 (1973).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.singular_value_map(np.diag([3.0, 1.0]), lambda s: np.tanh(s) / np.tanh(1.0)).round(3)
    array([[1.307, 0.   ],
           [0.   , 1.   ]])
    """
    framework, tall = tall_matrix("singular_value_map", a)
    s, parts = tall.frame()
    data, reach = tall.jets(s, parts, f, parity=-1.0)
    if tall.wide:
        data = conj(tall.framework.xp, data)  # `back` would conjugate a complex f as well
    return tall.back(tall.function(parts, Jet(), data, reach))


@reported
def polar(a: Array, side: str = "right", *, checks: str | None = None) -> PolarResult:
    """Polar decomposition: a = U P ("right") or a = P U ("left").

    Parameters
    ----------
    a : array, shape (..., m, n)
    side : {"right", "left"}
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    PolarResult
        Named tuple ``(unitary, hermitian)``: U (..., m, n) with orthonormal columns, or rows if
        m < n, and P positive semidefinite, (..., n, n) or (..., m, m).

    Raises
    ------
    ValueError
        If side is neither "right" nor "left".
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* to every order at matrices of full rank, at repeated singular values too
    (at orthogonal matrices). U of a real square matrix is also differentiable where a single
    singular value vanishes, along the branch that is returned. At other rank-deficient
    matrices U is not unique and P not differentiable: NaN in the directions that see it.

    References
    ----------
    Higham, Functions of Matrices (2008), chapter 8; Kenney and Laub, SIMAX 12 (1991).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> u, p = lw.polar(np.array([[0.0, -2.0], [3.0, 0.0]]))
    >>> u.round(12) + 0.0
    array([[ 0., -1.],
           [ 1.,  0.]])
    >>> p.round(12)
    array([[3., 0.],
           [0., 2.]])
    """
    if side not in ("right", "left"):
        raise ValueError(f"polar: side must be 'right' or 'left', not {side!r}")
    framework, tall = tall_matrix("polar", a)
    xp = framework.xp
    u, w, _, v, h = framework.call(Polar(wide=tall.wide, checks=tall.checks), tall.matrix)
    v = framework.constant(v)
    inner = (side == "right") != tall.wide
    frame = v if inner else w
    p = xp.matmul(xp.matmul(frame, h), adjoint(xp, frame))
    return PolarResult(tall.back(u), (p + adjoint(xp, p)) / 2)


@reported
def nearest_orthogonal(a: Array, *, checks: str | None = None) -> Array:
    """The matrix with orthonormal columns (rows, if wide) that is nearest: ``polar(a).unitary``.

    Nearest in every unitarily invariant norm; the solution of the orthogonal Procrustes
    problem, max Re tr(U^H a).

    Parameters
    ----------
    a : array, shape (..., m, n)
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., m, n)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* as the factor of `polar`.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.nearest_orthogonal(np.diag([2.0, -0.5]))
    array([[ 1.,  0.],
           [ 0., -1.]])
    """
    framework, tall = tall_matrix("nearest_orthogonal", a)
    rule = Polar(wide=tall.wide, checks=tall.checks)
    return tall.back(framework.call(rule, tall.matrix, outputs=1)[0])


@reported
def nearest_rotation(a: Array, *, checks: str | None = None) -> Array:
    """The rotation (orthogonal, determinant one) that is nearest to a real square matrix.

    Parameters
    ----------
    a : array, shape (..., n, n), real
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)
        R that maximises tr(R^T a).

    Raises
    ------
    TypeError
        If a is complex, or as `svd`.
    numpy.linalg.LinAlgError
        If a is not square.

    Notes
    -----
    *Differentiable* to every order where R is unique: where the last two singular values do
    not cancel, s_{n-1} + det(U V^T) s_n > 0. So at the identity, where all of them
    coincide, where one vanishes (planar point sets) and at reflections with s_{n-1} > s_n.
    At a reflection with s_{n-1} = s_n, and where two vanish, there is none: it is NaN.

    References
    ----------
    Kabsch, Acta Cryst. A 32 (1976); Umeyama, IEEE PAMI 13 (1991).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.nearest_rotation(np.diag([3.0, 2.0, -1.0]))
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    framework, (a,) = matrices("nearest_rotation", square=True, a=a)
    if framework.xp.isdtype(a.dtype, "complex floating"):
        raise TypeError(f"nearest_rotation: a must be real, but has dtype {a.dtype}")
    rule = Polar(rotation=True, checks=current("nearest_rotation"))
    return framework.call(rule, a, outputs=1)[0]


@reported
def low_rank(a: Array, k: int, *, checks: str | None = None) -> Array:
    """The nearest matrix of rank at most k: the singular value decomposition cut after k.

    Parameters
    ----------
    a : array, shape (..., m, n)
    k : int
        At least 0; a itself is returned for k of min(m, n) and more.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., m, n)

    Raises
    ------
    ValueError
        If k is not a nonnegative integer.
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* to every order where s_k > s_{k+1}: at a matrix of rank exactly k too, and
    whatever repeats on one side of the cut. NaN where the cut is through a cluster, in the
    directions that see it.

    References
    ----------
    Eckart and Young, Psychometrika 1 (1936); Feppon and Lermusiaux, SIMAX 39 (2018), for the
    derivative.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.low_rank(np.diag([3.0, 2.0, 1.0]), 2)
    array([[3., 0., 0.],
           [0., 2., 0.],
           [0., 0., 0.]])
    """
    k = count("low_rank", k)
    framework, (a,) = matrices("low_rank", a=a)
    if k >= min(a.shape[-2:]):
        return a
    down, up = units(framework, a)
    tall = Tall(framework, a * down, "low_rank")
    s, parts = tall.frame()
    kept = positions(framework.xp, s) <= k
    return tall.back(tall.cut(s, parts, Monomial(1), kept, odd=False)) * up


def count(name: str, k: Any) -> int:
    """k as a nonnegative integer."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 0:
        raise ValueError(f"{name}: k must be a nonnegative integer, not {k!r}")
    return int(k)


@reported
def pinv(
    a: Array, rtol: float | None = None, hermitian: bool = False, *, checks: str | None = None
) -> Array:
    """Moore-Penrose inverse, as `numpy.linalg.pinv`.

    Parameters
    ----------
    a : array, shape (..., m, n)
    rtol : float, optional
        Singular values up to rtol times the largest count as zero; max(m, n) eps by default.
    hermitian : bool
        Whether a is Hermitian; its lower triangle is read.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, m)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* to every order along matrices of the same rank, as which the singular
    values that count as zero are taken: the pseudoinverse is not continuous where the rank
    changes, and no derivative tells.

    References
    ----------
    Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.pinv(np.diag([4.0, 0.0]))
    array([[0.25, 0.  ],
           [0.  , 0.  ]])
    """
    if hermitian:
        framework, (a,) = matrices("pinv", square=True, a=a)
        down, _ = units(framework, a)
        w, parts = hermitian_frame(framework, a * down, "pinv")
        xp = framework.xp
        kept = _threshold(framework, a.shape, xp.abs(w), rtol)
        c = xp.astype(kept, w.dtype)[..., None, :]
        return framework.call(HermitianFunction(Cut(Inverse())), *parts, c)[0] * down
    framework, (a,) = matrices("pinv", a=a)
    down, _ = units(framework, a)
    tall = Tall(framework, a * down, "pinv")
    s, parts = tall.frame()
    kept = _threshold(framework, tall.matrix.shape, s, rtol)
    inverse = tall.cut(s, parts, Inverse(), kept, odd=False)
    return adjoint(framework.xp, tall.back(inverse)) * down


@reported
def range_projector(a: Array, rtol: float | None = None, *, checks: str | None = None) -> Array:
    """Orthogonal projector on the range (column space) of a matrix.

    Parameters
    ----------
    a, rtol
        As for `pinv`.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., m, m)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* to every order where the singular values that count are apart from those
    that do not, as the projector on the left singular vectors of the former.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.range_projector(np.array([[1.0], [1.0]])).round(12)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    xp, isometry = _isometry("range_projector", a, rtol)
    return isometry @ adjoint(xp, isometry)


@reported
def null_projector(a: Array, rtol: float | None = None, *, checks: str | None = None) -> Array:
    """Orthogonal projector on the null space of a matrix.

    Parameters
    ----------
    a, rtol
        As for `pinv`.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* as `range_projector`, with the right singular vectors.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.null_projector(np.array([[1.0, 1.0]])).round(12)
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    xp, isometry = _isometry("null_projector", a, rtol)
    p = adjoint(xp, isometry) @ isometry
    i = positions(xp, p)
    one = xp.zeros_like(p) + 1
    return -p + xp.where(i == xp.matrix_transpose(i), one, xp.zeros_like(p))


def _isometry(name: str, a: Any, rtol: float | None) -> tuple[Any, Array]:
    """U_r V_r^H of the singular values that count."""
    framework, tall = tall_matrix(name, a)
    s, parts = tall.frame()
    kept = _threshold(framework, tall.matrix.shape, s, rtol)
    return framework.xp, tall.back(tall.cut(s, parts, Monomial(0), kept, odd=True))
