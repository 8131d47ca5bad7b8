"""The singular value decomposition."""

from __future__ import annotations

from ._arguments import kernel, matrices
from ._checks import current, reported
from ._results import SVDResult
from .rules import Svd
from .rules.pieces import adjoint
from .rules.rule import Array


@reported
def svd(
    a: Array,
    full_matrices: bool = True,
    *,
    split: bool = False,
    method: str = "auto",
    checks: str | None = None,
) -> SVDResult:
    """Singular value decomposition ``a = U diag(S) Vh``, differentiable in every framework.

    Parameters
    ----------
    a : array, shape (..., m, n)
        float32, float64, complex64 or complex128; integers and booleans are promoted.
    full_matrices : bool, default True
        Whether U and Vh are square. If False they have k = min(m, n) columns and rows.
    split : bool, default False
        Whether singular values that coincide, or vanish, are returned sqrt(eps) S[0] apart
        from each other and from zero. Every smooth loss that depends on no phase or basis
        then has the right first derivative to about 1e-8 in double precision (3e-4 in
        single), at the price of as much in S. For code that cannot be rewritten with
        `singular_value_map` and the like.
    method : {"auto", "lapack", "jacobi", "compiled"}, default "auto"
        By which algorithm: the framework's own solver; Jacobi's method, in array operations on
        all matrices of a stack at once; or a kernel that Numba compiles (real matrices on the
        CPU; in JAX, on one device), of Jacobi's method up to order 16, else of Householder's
        reduction and the QR algorithm. By default the one that is measured to be faster: Jacobi's
        for stacks of small matrices, and, if Numba is installed, the compiled ones, up to order
        256.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens when a derivative is not determined, as in `set_checks`.

    Returns
    -------
    SVDResult
        Named tuple ``(U, S, Vh)`` of shapes (..., m, m), (..., k), (..., n, n), or
        (..., m, k), (..., k), (..., k, n). S is real, non-negative and descending.

    Raises
    ------
    TypeError
        For object, half or extended precision dtypes, or what is not an array.
    ValueError
        If the method is not one of those.
    numpy.linalg.LinAlgError
        If a has fewer than two dimensions, or the framework's solver reports an error
        (NumPy and PyTorch do for NaN and infinite entries, JAX and Jacobi's method return
        NaN).

    Notes
    -----
    *Differentiable*: every function of the outputs that does not depend on what the
    matrix leaves open, in both modes and to every order: the phases of the pairs
    (u_j, v_j), the basis inside a cluster of equal singular values, the two bases that
    belong to the value zero, and the basis of the columns of U (rows of Vh) beyond the
    k-th. Those do not turn (the horizontal choice); compose `fix_phase` for a definite
    phase. Projectors onto clusters, also onto the null spaces, have exact derivatives at
    exact repeats and zeros.

    *Not differentiable*, and reported (`set_checks`): a loss that uses one member of a
    repeated pair, a phase, a basis, or a singular value that is zero. A smooth loss such as
    ``sum(S**2)`` at repeated values has a correct first derivative; its second is not
    determined by a vector of values, which is reported.

    Singular values within ``(max(m, n) + 16) eps S[0]`` of each other, or of zero, count
    as equal: the backward error of the solver.

    Cost for m >= n, besides the decomposition: 6 m n^2 + 2 n^3 flops in reverse mode, and
    2 m n^2 for a loss on S alone.

    References
    ----------
    Townsend, *Differentiating the singular value decomposition* (2016); Wan and Zhang,
    arXiv:1909.02659 (complex); Giles, NA-08/01 (2008). The formulas are (1) and (2) of
    ``loewner/rules/svd.py``.

    Examples
    --------
    The gradient of a loss through the projector onto the two leading singular vectors,
    which coincide: elsewhere it is NaN.

    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.diag([2.0, 2.0, 1.0])
    >>> def loss(a):
    ...     U, S, Vh = lw.svd(a, full_matrices=False)
    ...     return (U[:, :2] @ U[:, :2].T)[0, 2]
    >>> value, pullback = lw.vjp(loss, a)
    >>> (gradient,) = pullback(np.array(1.0))
    >>> gradient.round(6) + 0.0
    array([[0.      , 0.      , 0.333333],
           [0.      , 0.      , 0.      ],
           [0.666667, 0.      , 0.      ]])
    """
    framework, (a,) = matrices("svd", a=a)
    xp = framework.xp
    wide = a.shape[-2] < a.shape[-1]
    x = adjoint(xp, a) if wide else a
    rule = Svd(bool(full_matrices), wide, current("svd"), bool(split), kernel("svd", method))
    count = rule.frames(*x.shape[-2:])
    s, u, v, *null = framework.call(rule, x, outputs=count)
    if null:
        u = xp.concat([u, null[0]], axis=-1)
    u, v = (v, u) if wide else (u, v)
    return SVDResult(u, s, adjoint(xp, v))


@reported
def svdvals(a: Array, *, method: str = "auto", checks: str | None = None) -> Array:
    """Singular values, descending: ``svd(a).S`` without the vectors.

    Parameters
    ----------
    a : array, shape (..., m, n)
        As for `svd`.
    method, checks
        As for `svd`.

    Returns
    -------
    array, shape (..., min(m, n))
        Real and non-negative.

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `svd`.

    Notes
    -----
    *Differentiable* where the values are distinct and positive, in both modes and to
    every order, and at repeats for functions that are symmetric in the repeated values
    (first order; to higher orders if they are linear in the sum over the cluster). At
    the value zero, where a singular value has a kink, the derivative is u^H da v, an
    element of the Clarke subdifferential that depends on the signs of u and v. The
    vectors are computed only if a derivative is taken.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.svdvals(np.array([[0.0, 2.0], [1.0, 0.0]]))
    array([2., 1.])
    """
    framework, (a,) = matrices("svdvals", a=a)
    wide = a.shape[-2] < a.shape[-1]
    x = adjoint(framework.xp, a) if wide else a
    rule = Svd(wide=wide, checks=current("svdvals"), method=kernel("svdvals", method))
    return framework.call(rule, x, outputs=1)[0]
