"""Phase conventions, as a function composed on top of a decomposition."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arguments import matrices
from ._results import EighResult, EigResult, LeftEigResult, SVDResult
from .frameworks import Framework
from .rules.pieces import adjoint, positions
from .rules.rule import Array


def fix_phase(decomposition: Any, rows: Any = None) -> Any:
    """Give singular or eigenvectors a definite phase (a definite sign, if real).

    Each column is multiplied by the phase that makes one chosen component real and
    positive. Composed on top of a decomposition this turns vectors that are defined up to
    a phase into functions of the matrix, whose derivatives, in both modes and to every
    order, include the turn of the phase.

    Parameters
    ----------
    decomposition : SVDResult, EighResult, EigResult, LeftEigResult or array (..., m, k)
        The result of a decomposition, or an array whose columns are to be turned.
    rows : int or sequence of k ints, optional
        The row of the component that becomes real and positive, for all columns or one
        for each; negative rows count from the end. By default the component of largest
        magnitude in each column. It is chosen from the values only, and the result jumps
        where two components tie.

    Returns
    -------
    The same kind of object. For an SVD the phases are read from U, and the same phase is
    taken from u_j and v_j, which leaves ``U diag(S) Vh`` as it is; the columns of a full U
    and rows of a full Vh beyond the k-th, which have no phase in common, stay as they are.
    For `eig` the left eigenvectors turn with the right ones.

    Raises
    ------
    ValueError
        If rows is out of range, or there is not one for each column.
    TypeError, numpy.linalg.LinAlgError
        As `svd`, for an array.

    Notes
    -----
    A column whose chosen component is exactly zero has no such phase: it becomes NaN.
    LAPACK's own conventions are ``rows=0`` for complex `eigh` with UPLO="L" and for the
    rows of Vh of a tall complex `svd`, and the largest component for `eig`, with the sign
    left free.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> w, v = lw.fix_phase(lw.eigh(a), rows=0)
    >>> v.round(3)
    array([[ 0.707,  0.707],
           [-0.707,  0.707]])
    """
    if isinstance(decomposition, SVDResult):
        u, s, vh = decomposition
        framework, (u, vh) = matrices("fix_phase", U=u, Vh=vh)
        k = s.shape[-1]
        xp = framework.xp
        phase = _conjugate_phase(framework, u[..., :k], rows)
        v = adjoint(xp, vh)
        return SVDResult(_turn(xp, u, phase, k), s, adjoint(xp, _turn(xp, v, phase, k)))
    if isinstance(decomposition, (EighResult, EigResult, LeftEigResult)):
        w, *frames = decomposition
        framework, frames = matrices("fix_phase", **dict(zip(("v", "y"), frames, strict=False)))
        phase = _conjugate_phase(framework, frames[0], rows)
        return type(decomposition)(w, *(v * phase for v in frames))
    if isinstance(decomposition, tuple):
        raise TypeError(
            "fix_phase: give the result of lw.svd, lw.eigh or lw.eig, or one array of columns, "
            f"not {type(decomposition).__name__}"
        )
    framework, (v,) = matrices("fix_phase", v=decomposition)
    return v * _conjugate_phase(framework, v, rows)


def _turn(xp: Any, frame: Array, phase: Array, k: int) -> Array:
    if frame.shape[-1] == k:
        return frame * phase
    return xp.concat([frame[..., :k] * phase, frame[..., k:]], axis=-1)


def _conjugate_phase(framework: Framework, v: Array, rows: Any) -> Array:
    """conj(c/|c|), shape (..., 1, k), for the chosen component c of each column of v."""
    xp = framework.xp
    m, k = v.shape[-2:]
    if rows is None:
        if m == 0:
            return xp.zeros_like(xp.sum(v, axis=-2, keepdims=True)) + 1
        values = framework.constant(v)
        i = xp.matrix_transpose(positions(xp, xp.matrix_transpose(values)))
        largest = xp.astype(xp.argmax(xp.abs(values), axis=-2), i.dtype)[..., None, :] + 1
        chosen = xp.where(i == largest, v, xp.zeros_like(v))
        component = xp.sum(chosen, axis=-2, keepdims=True)
    else:
        each = _row_of_each_column(rows, m, k)
        parts = [v[..., r : r + 1, j : j + 1] for j, r in enumerate(each)]
        component = xp.concat(parts, axis=-1) if parts else xp.sum(v, axis=-2, keepdims=True)
    if xp.isdtype(v.dtype, "complex floating"):
        size = xp.sqrt(xp.real(component * xp.conj(component)))
        return xp.conj(component / xp.astype(size, v.dtype))
    one = xp.zeros_like(component) + 1
    nan = one * float("nan")
    # a sign has no derivative to carry
    return xp.where(component > 0, one, xp.where(component < 0, -one, nan))


def _row_of_each_column(rows: Any, m: int, k: int) -> list[int]:
    given = np.asarray(rows)
    if given.dtype.kind not in "iu" or given.shape not in ((), (k,)):
        raise ValueError(
            f"fix_phase: rows must be an integer or {k} integers, one for each column, not {rows!r}"
        )
    if ((given < -m) | (given >= m)).any():
        raise ValueError(f"fix_phase: rows {rows!r} out of range for {m} rows")
    return np.broadcast_to(given % max(m, 1), (k,)).tolist()
