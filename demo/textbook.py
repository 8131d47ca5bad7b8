"""What one writes, with a framework's own linalg, where the function wanted is absent."""

from __future__ import annotations

from typing import Any

Array = Any


def transposed(a: Array) -> Array:
    return a.swapaxes(-1, -2)


def by_cholesky(linalg: Any, a: Array, b: Array) -> Any:
    """eigh(a, b): b = l l^T, then eigh(l^-1 a l^-T)."""
    l = linalg.cholesky(b)
    w, v = linalg.eigh(linalg.solve(l, linalg.solve(l, a).T))
    return w, linalg.solve(l.T, v)


def by_svd(xp: Any, linalg: Any, p: Array, q: Array, weights: Array) -> Any:
    """align(p, q, weights), after Kabsch: the R and t that bring R p + t closest to q."""
    w = weights[:, None] / xp.sum(weights)
    p_centre, q_centre = xp.sum(w * p, -2), xp.sum(w * q, -2)
    covariance = transposed(w * (p - p_centre)) @ (q - q_centre[..., None, :])
    u, _, vh = linalg.svd(covariance, full_matrices=False)
    det = xp.sign(linalg.det(u @ vh))
    proper = xp.stack([xp.ones_like(det), xp.ones_like(det), det], -1)
    r = (transposed(vh) * proper[..., None, :]) @ transposed(u)
    return r, q_centre - r @ p_centre


def by_eigh(xp: Any, linalg: Any, a: Array) -> Array:
    """sqrtm(a) of a symmetric positive definite matrix."""
    w, v = linalg.eigh(a)
    return (v * xp.sqrt(w)[..., None, :]) @ transposed(v)
