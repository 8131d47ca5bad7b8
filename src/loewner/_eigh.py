"""The Hermitian eigenproblem, standard and generalized."""

from __future__ import annotations

from typing import Any

from ._arguments import kernel, matrices, same_batch, triangle
from ._checks import current, reported
from ._results import EighResult
from .rules import Eigh, GeneralizedEigh
from .rules.rule import Array


@reported
def eigh(
    a: Array,
    b: Array | None = None,
    UPLO: str = "L",
    *,
    split: bool = False,
    method: str = "auto",
    checks: str | None = None,
) -> EighResult:
    """Eigenvalues and eigenvectors of a Hermitian matrix, or of a Hermitian definite pair.

    Solves ``a V = V diag(w)`` with ``V^H V = I``, or ``a V = b V diag(w)`` with
    ``V^H b V = I``, as `numpy.linalg.eigh` and `scipy.linalg.eigh` do.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian, or real symmetric. Only the triangle named by `UPLO` is read.
    b : array, shape (..., n, n), optional
        Hermitian positive definite; its leading dimensions broadcast with those of a.
        Only the triangle named by `UPLO` is read.
    UPLO : {"L", "U"}
        The triangle that is read.
    split : bool, default False
        Whether eigenvalues that coincide are returned sqrt(eps) max|w| apart. Every smooth
        loss that depends on no phase or basis, ``V f(w) V^H`` included, then has the right
        first derivative to about 1e-8 in double precision (3e-4 in single), at the price of
        as much in the eigenvalues. For code that cannot be rewritten with `funm`.
    method : {"auto", "lapack", "jacobi", "compiled"}, default "auto"
        By which algorithm: the framework's own solver; Jacobi's method, in array operations on
        all matrices of a stack at once; or a kernel that Numba compiles (real matrices on the
        CPU; in JAX, on one device), of Jacobi's method up to order 16, else of Householder's
        reduction and the QR algorithm. By default the one that is measured to be faster: Jacobi's
        for stacks of small matrices, and, if Numba is installed, the compiled ones, up to order 128
        (`eigvalsh`: 256).
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens when a derivative is not determined, as in `set_checks`.

    Returns
    -------
    EighResult
        Named tuple ``(eigenvalues, eigenvectors)``: w (..., n), real and ascending, and V
        (..., n, n), whose columns are the eigenvectors.

    Raises
    ------
    TypeError
        For object, half or extended precision dtypes, what is not an array, or a and b of
        different frameworks.
    ValueError
        If UPLO is neither "L" nor "U", the method is not one of those, or the shapes of a and b
        do not match.
    numpy.linalg.LinAlgError
        If a or b is not a square matrix; if b is not positive definite, in NumPy and
        autograd (PyTorch raises its own ``torch.linalg.LinAlgError``, JAX returns NaN);
        and whatever the framework's solver raises for NaN and infinite entries.

    Notes
    -----
    *The triangle that is not read.* The derivative is the one on the space of Hermitian
    matrices: the gradient is the Hermitian G with ``dL = Re tr(G^H da)`` for every
    Hermitian da, so that a pair of mirrored entries shares the derivative equally, and a
    tangent enters by its Hermitian part. Composed with anything that builds a Hermitian
    matrix this is the right chain rule, and a step along G keeps a Hermitian. The
    derivative with respect to the entries of the triangle that is read alone is
    ``tril(2 G) - diag(diag(G))``. The same holds for b.

    *Differentiable*: every function of the outputs that does not depend on the phases of
    the eigenvectors, nor on the basis inside a cluster of equal eigenvalues, in both modes
    and to every order: separated eigenvalues and vectors, projectors onto clusters, sums
    over clusters. Phases and bases do not turn (the horizontal choice); compose
    `fix_phase` for a definite phase. With b, the part of the derivative that keeps
    ``V^H b V = I`` is kept inside a cluster as well.

    *Not differentiable*, and reported (`set_checks`): a loss that uses one member of a
    repeated pair, a phase or a basis. A function f(a) put together as ``V f(w) V^H`` is
    smooth at a repeat, but its derivative is not determined by w and V alone there, which
    is reported too: use `funm`, the named functions, or `split`.

    Eigenvalues within ``(n + 16) eps max|w|`` of each other count as equal: the backward
    error of the solver. With b the width is multiplied by the ratio of the squared lengths
    of the eigenvectors of the pair scaled to a diagonal of b between 1 and 4, to the least of
    them; it grows with the condition number of the scaled b.

    Cost besides the decomposition: 6 n^3 flops (10 n^3 to 12 n^3 with b), and 2 n^3 for a
    loss on the eigenvalues alone.

    References
    ----------
    Magnus, Econometric Theory 1 (1985); Giles, NA-08/01 (2008), section 3.1. The formulas
    are (1) and (2) of ``loewner/rules/eigh.py`` and ``loewner/rules/geigh.py``.

    Examples
    --------
    The sum of the two lowest eigenvalues, which coincide, and its gradient: the projector
    on their space.

    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.diag([1.0, 1.0, 3.0])
    >>> value, pullback = lw.vjp(lambda a: lw.eigh(a).eigenvalues[:2].sum(), a)
    >>> pullback(np.array(1.0))[0]
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 0.]])
    """
    w, v = _call("eigh", a, b, UPLO, 2, method, bool(split))
    return EighResult(w, v)


@reported
def eigvalsh(
    a: Array,
    b: Array | None = None,
    UPLO: str = "L",
    *,
    method: str = "auto",
    checks: str | None = None,
) -> Array:
    """Eigenvalues of a Hermitian matrix or definite pair: ``eigh(a, b, UPLO).eigenvalues``.

    Parameters
    ----------
    a, b, UPLO, method, checks
        As for `eigh`.

    Returns
    -------
    array, shape (..., n)
        Real and ascending.

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As `eigh`.

    Notes
    -----
    *Differentiable* to every order where the eigenvalues are distinct; at a repeat, for
    functions that are symmetric in the repeated values (first order; to higher orders if
    they depend on them through their sum: the Hessian of ``sum(eigvalsh(a))`` is zero).
    The second derivative of, say, ``sum(eigvalsh(a)**2)`` is not determined there by a
    vector of values. The vectors are computed only if a derivative is taken.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.eigvalsh(np.array([[2.0, 1.0], [1.0, 2.0]])).round(12)
    array([1., 3.])
    """
    return _call("eigvalsh", a, b, UPLO, 1, method)[0]


def _call(
    name: str, a: Any, b: Any, UPLO: str, outputs: int, method: str, split: bool = False
) -> tuple[Array, ...]:
    lower, method = triangle(name, UPLO), kernel(name, method)
    if b is None:
        framework, (a,) = matrices(name, square=True, a=a)
        return framework.call(Eigh(lower, current(name), split, method), a, outputs=outputs)
    framework, (a, b) = matrices(name, square=True, a=a, b=b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"{name}: a and b must be of the same order, but a has shape {tuple(a.shape)} "
            f"and b has shape {tuple(b.shape)}"
        )
    batch = same_batch(name, a=a, b=b)
    a, b = (
        x
        if tuple(x.shape[:-2]) == batch
        else framework.xp.broadcast_to(x, batch + tuple(x.shape[-2:]))
        for x in (a, b)
    )
    rule = GeneralizedEigh(lower, current(name), split, method)
    return framework.call(rule, a, b, outputs=outputs)
