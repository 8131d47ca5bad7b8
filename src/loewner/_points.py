"""Point sets and samples: alignment and whitening."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ._arguments import matrices, same_batch
from ._checks import reported
from ._functions import invsqrtm, units
from ._phase import fix_phase
from ._singular import nearest_rotation
from ._svd import svd
from .frameworks import framework_of
from .rules import Cholesky
from .rules.pieces import adjoint
from .rules.rule import Array


class AlignResult(NamedTuple):
    """The rigid motion x -> R x + t."""

    rotation: Array
    translation: Array


@reported
def align(
    p: Array, q: Array, weights: Array | None = None, *, checks: str | None = None
) -> AlignResult:
    """The rigid motion that brings points p nearest to points q (Kabsch's problem).

    Minimises ``sum_i weights_i |R p_i + t - q_i|^2`` over rotations R and translations t.

    Parameters
    ----------
    p, q : arrays, shape (..., m, d), real
        m points in d dimensions, one in a row, in corresponding order.
    weights : array, shape (..., m), optional
        Nonnegative, of positive sum; equal by default.
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    AlignResult
        Named tuple ``(rotation, translation)``: R (..., d, d) with determinant one, never a
        reflection, and t (..., d). Aligned points are ``p @ R.T + t``.

    Raises
    ------
    ValueError
        If the shapes do not match.
    TypeError, numpy.linalg.LinAlgError
        As `nearest_rotation`.

    Notes
    -----
    *Differentiable* to every order, in p, q and the weights, wherever the rotation is unique:
    for symmetric and for planar sets too, and for mirrored copies unless the set has two
    equal least extents, or less than two dimensions (see `nearest_rotation`).

    References
    ----------
    Kabsch, Acta Cryst. A 32 (1976); Umeyama, IEEE PAMI 13 (1991).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> p = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    >>> quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    >>> r, t = lw.align(p, p @ quarter.T + [3.0, 4.0])
    >>> r.round(12) + 0.0, t.round(12)
    (array([[ 0., -1.],
           [ 1.,  0.]]), array([3., 4.]))
    """
    given = {} if weights is None else {"weights": _as_column(weights)}
    framework, (p, q, *w) = matrices("align", p=p, q=q, **given)
    xp = framework.xp
    if xp.isdtype(p.dtype, "complex floating"):
        raise TypeError(f"align: p, q and weights must be real, but have dtype {p.dtype}")
    if tuple(p.shape[-2:]) != tuple(q.shape[-2:]) or (w and w[0].shape[-2] != p.shape[-2]):
        shapes = f"p has shape {tuple(p.shape)}, q has shape {tuple(q.shape)}"
        if w:
            shapes += f" and weights has shape {tuple(w[0].shape[:-1])}"
        raise ValueError(f"align: as many points in q, and weights, as in p, but {shapes}")
    same_batch("align", p=p, q=q, **({"weights": w[0]} if w else {}))
    one = w[0] if w else xp.zeros_like(p[..., :1]) + 1
    share = one / xp.sum(one, axis=-2, keepdims=True)
    mean_p, mean_q = (xp.sum(xp.multiply(share, x), axis=-2, keepdims=True) for x in (p, q))
    # the rotation does not depend on the units of p and q, whose product may leave the range
    from_p, from_q = xp.subtract(p, mean_p), xp.subtract(q, mean_q)
    from_p, from_q = (x * units(framework, x)[0] for x in (from_p, from_q))
    covariance = xp.matmul(xp.matrix_transpose(from_q), xp.multiply(share, from_p))
    rotation = nearest_rotation(covariance)
    translation = xp.subtract(mean_q, xp.matmul(mean_p, xp.matrix_transpose(rotation)))
    return AlignResult(rotation, translation[..., 0, :])


def _as_column(weights: Any) -> Any:
    if framework_of(weights) is None:
        weights = np.asarray(weights)
    return weights[..., None]


@reported
def whiten(x: Array, method: str = "zca", *, checks: str | None = None) -> Array:
    """Centred samples with covariance one.

    Parameters
    ----------
    x : array, shape (..., m, d)
        m samples of d variables, one in a row, m > d.
    method : {"zca", "pca", "cholesky"}
        The factor W of the inverse covariance, S^-1 = W W^H, that the samples are multiplied
        by: its Hermitian root S^(-1/2) ("zca", nearest to the samples), V w^(-1/2) from the
        eigenvectors, in descending order of variance ("pca"), or L^-H from the Cholesky factor
        ("cholesky").
    checks : {"off", "warn", "raise", "nan"}, optional
        What happens where a derivative does not exist, or is not determined (`set_checks`).

    Returns
    -------
    array, shape (..., m, d)
        ``y`` with mean zero and ``y^H y = (m - 1) I``.

    Raises
    ------
    ValueError
        If method is none of these, or there are not more samples than variables.
    TypeError, numpy.linalg.LinAlgError
        As `eigh`.

    Notes
    -----
    *Differentiable* to every order where the covariance is of full rank; "zca" and "cholesky"
    where its eigenvalues repeat as well. The axes of "pca" are functions of the samples only
    where the eigenvalues are distinct; their signs are fixed by a positive (real) largest
    entry.

    References
    ----------
    Kessy, Lewin and Strimmer, Am. Stat. 72 (2018).

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> y = lw.whiten(x)
    >>> (y.T @ y / 3).round(12)
    array([[1., 0.],
           [0., 1.]])
    """
    if method not in ("zca", "pca", "cholesky"):
        raise ValueError(f"whiten: method must be 'zca', 'pca' or 'cholesky', not {method!r}")
    framework, (x,) = matrices("whiten", x=x)
    xp = framework.xp
    m, d = x.shape[-2:]
    if m <= d:
        raise ValueError(
            f"whiten: there must be more samples than variables, but x has shape {tuple(x.shape)}"
        )
    x = x - xp.sum(x, axis=-2, keepdims=True) / m
    x = x * units(framework, x)[0]  # the result does not depend on the unit
    if method == "pca":
        _, s, vh = svd(x, full_matrices=False)
        if d:  # NaN where the samples are not of full rank
            size = framework.constant(s)
            lost = size <= m * float(xp.finfo(s.dtype).eps) * size[..., :1]
            s = xp.where(lost, xp.nan + xp.zeros_like(s), s)
        v = fix_phase(adjoint(xp, vh))
        return (x @ v) * xp.astype(math.sqrt(m - 1) / s, v.dtype)[..., None, :]
    covariance = adjoint(xp, x) @ x / (m - 1)
    if method == "zca":
        return x @ invsqrtm(covariance, hermitian=True)
    _, inverse = framework.call(Cholesky(), covariance)
    return x @ adjoint(xp, inverse)
