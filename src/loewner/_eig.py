"""The eigenproblem of a general square matrix."""

from __future__ import annotations

from typing import Literal, overload

from ._arguments import matrices
from ._checks import current, reported
from ._results import EigResult, LeftEigResult
from .rules import Eig
from .rules.pieces import adjoint
from .rules.rule import Array


@overload
def eig(a: Array, left: Literal[False] = False, *, checks: str | None = None) -> EigResult: ...


@overload
def eig(a: Array, left: Literal[True], *, checks: str | None = None) -> LeftEigResult: ...


@reported
def eig(a: Array, left: bool = False, *, checks: str | None = None) -> EigResult | LeftEigResult:
    """Eigenvalues and right (and left) eigenvectors of a general square matrix.

    Parameters
    ----------
    a : array, shape (..., n, n)
        float32, float64, complex64 or complex128; integers and booleans are promoted.
    left : bool, default False
        Whether to return left eigenvectors too.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    EigResult or LeftEigResult
        Named tuple ``(eigenvalues, eigenvectors)``: w (..., n) and V (..., n, n) with
        ``a V = V diag(w)``, columns of unit norm. With ``left=True`` also
        ``left_eigenvectors``: Y (..., n, n) with ``Y^H a = diag(w) Y^H``, columns of unit
        norm and of the phase for which ``y_j^H v_j > 0``. Always complex, as in JAX and
        PyTorch (NumPy returns real arrays where all eigenvalues happen to be real), in no
        particular order.

    Raises
    ------
    TypeError
        For object, half or extended precision dtypes, or what is not an array.
    numpy.linalg.LinAlgError
        If a is not a square matrix, and whatever the framework's solver raises for NaN and
        infinite entries.
    NotImplementedError
        For an array library without an eigenvalue solver.

    Notes
    -----
    *Differentiable* where the eigenvalues are distinct, in both modes and to every order,
    for losses that do not depend on the phases of the eigenvectors; the norm of the
    vectors is respected, so that a loss that sees it is right. Phases do not turn
    (the horizontal choice, ``v_j^H dv_j = 0``); compose `fix_phase` for a definite phase.
    At a semisimple repeat the functions of the cluster as a whole are right as well. A real
    a has a real gradient.

    *Not differentiable*, and not reported except by the size of the result: a loss that
    uses the eigenvalues of a defective cluster. If the solver finds a matrix defective to
    the last bit, reverse mode may return NaN for it, also for a loss on its other
    eigenvalues, since a cotangent of zero does not say that an eigenvalue is not used;
    forward mode is right for those. The projector of a cluster and the mean of its
    eigenvalues are well-conditioned, whatever happens inside: `spectral_projector` and
    `spectral_mean` with ``hermitian=False``; functions of a are `expm`, `sqrtm`, ...

    The rule uses the left eigenvectors of the solver, so that each eigenvalue keeps its
    own condition number, however ill-conditioned the others are: in JAX on the CPU, and in
    NumPy, autograd and PyTorch on the CPU if SciPy is installed. Elsewhere V is inverted,
    and the error of every derivative grows with the condition number of V.

    The matrix is scaled by a power of two before the solver sees it.

    References
    ----------
    Boeddeker, Hanebrink, Drude, Heymann and Haeb-Umbach, arXiv:1701.00392, (4.60) and
    (4.77); Giles, NA-08/01 (2008), section 3.1, without its restriction to losses that
    ignore the norm. The formulas are (1) and (2) of ``loewner/rules/eig.py``.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.array([[0.0, 1.0], [-4.0, 0.0]])  # eigenvalues 2i and -2i
    >>> value, pullback = lw.vjp(lambda a: abs(lw.eigvals(a)).sum(), a)
    >>> pullback(np.array(1.0))[0].round(12)
    array([[ 0. ,  2. ],
           [-0.5,  0. ]])
    """
    framework, (a,) = matrices("eig", square=True, a=a)
    xp = framework.xp
    rule = Eig(real=not xp.isdtype(a.dtype, "complex floating"), checks=current("eig"))
    if not left:
        w, v = framework.call(rule, a, outputs=2)
        return EigResult(w, v)
    w, v, inverse = framework.call(rule, a, outputs=3)
    y = adjoint(xp, inverse)
    norm = xp.sqrt(xp.sum(xp.real(xp.conj(y) * y), axis=-2))
    return LeftEigResult(w, v, y / xp.astype(norm, y.dtype)[..., None, :])


@reported
def eigvals(a: Array, *, checks: str | None = None) -> Array:
    """Eigenvalues of a general square matrix: ``eig(a).eigenvalues`` without the vectors.

    Parameters
    ----------
    a : array, shape (..., n, n)
        As for `eig`.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., n)
        Complex, in no particular order.

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError, NotImplementedError
        As `eig`.

    Notes
    -----
    *Differentiable* where the eigenvalues are distinct, to every order. A real a has a
    real gradient. The vectors are computed only if a derivative is taken.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.eigvals(np.array([[3.0, 0.0], [0.0, 4.0]]))
    array([3.+0.j, 4.+0.j])
    """
    framework, (a,) = matrices("eigvals", square=True, a=a)
    real = not framework.xp.isdtype(a.dtype, "complex floating")
    rule = Eig(real=real, checks=current("eigvals"))
    return framework.call(rule, a, outputs=1)[0]
