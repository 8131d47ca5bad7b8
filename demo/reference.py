"""The reference: the same losses in mpmath, differentiated by differences of many digits."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath as mp
import numpy as np

from .problems import Array, Problem, problems
from .textbook import by_eigh, by_svd


def digits(order: int) -> int:
    """Working precision for a derivative with steps of 1e-25, right to 20 digits and more."""
    return 25 * (order + 1) + 10


STEP = "1e-25"


def _matrix(a: np.ndarray) -> Any:
    return mp.matrix(a.tolist())


def _array(a: Any) -> np.ndarray:
    """An mpmath matrix as an object array."""
    return np.array(a.tolist(), dtype=object).reshape(a.rows, a.cols)


def _each(function: Any) -> Any:
    return np.frompyfunc(function, 1, 1)


class MpmathNumbers:
    """The part of an array namespace that the losses use, on object arrays of mpmath."""

    exp = staticmethod(_each(mp.exp))
    sqrt = staticmethod(_each(mp.sqrt))
    real = staticmethod(_each(mp.re))
    imag = staticmethod(_each(mp.im))
    conj = staticmethod(_each(mp.conj))
    log = staticmethod(_each(mp.log))
    sign = staticmethod(_each(mp.sign))
    abs = staticmethod(np.abs)
    sum = staticmethod(np.sum)
    stack = staticmethod(np.stack)
    ones_like = staticmethod(np.ones_like)
    max = staticmethod(np.max)
    argmax = staticmethod(np.argmax)

    @staticmethod
    def asarray(x: np.ndarray, dtype: Any = None) -> np.ndarray:
        return _each(mp.mpmathify)(x if np.iscomplexobj(x) else x.astype(float))


def _stacked(decompose: Any, a: np.ndarray, *options: Any) -> Any:
    return [np.stack(part) for part in zip(*(decompose(x, *options) for x in a), strict=True)]


class MpmathLinalg:
    """Decompositions in the working precision of mpmath."""

    def svd(self, a: Array, full_matrices: bool = True) -> Any:
        if a.ndim > 2:
            return _stacked(self.svd, a, full_matrices)
        u, s, vh = mp.svd_r(_matrix(a), full_matrices=full_matrices)
        return _array(u), _array(s)[:, 0], _array(vh)

    def eigh(self, a: Array, b: Array | None = None) -> Any:
        if a.ndim > 2:
            return _stacked(self.eigh, a)
        if b is not None:
            inverse = _array(mp.cholesky(_matrix(b)) ** -1)
            w, v = self.eigh(inverse @ a @ inverse.T)
            return w, inverse.T @ v
        is_complex = any(isinstance(x, mp.mpc) for x in a.flat)
        w, v = (mp.eighe if is_complex else mp.eigsy)(_matrix(a))
        return _array(w)[:, 0], _array(v)

    def eigvalsh(self, a: Array) -> Array:
        return self.eigh(a)[0]

    def eig(self, a: Array) -> Any:
        w, v = mp.eig(_matrix(a))
        return np.array(w, dtype=object), _array(v)

    def eigvals(self, a: Array) -> Array:
        return np.array(mp.eig(_matrix(a), left=False, right=False), dtype=object)

    def det(self, a: Array) -> Array:
        return np.array([mp.det(_matrix(x)) for x in a], dtype=object)

    def align(self, p: Array, q: Array, weights: Array) -> Any:
        return by_svd(MpmathNumbers, self, p, q, weights)

    def sqrtm(self, a: Array, hermitian: bool = True) -> Array:
        return by_eigh(MpmathNumbers, self, a)


def directions(problem: Problem) -> np.ndarray:
    """The directions along which the derivative is compared, one in a row."""
    size = problem.x.size
    if problem.directions is None:
        return np.eye(size)
    return np.random.default_rng(0).standard_normal((problem.directions, size))


def reference(name: str) -> np.ndarray:
    """The derivative of a problem along its directions: a vector, or a symmetric matrix."""
    problem = problems()[name]
    mp.mp.dps = digits(problem.order)
    xp, la = MpmathNumbers(), MpmathLinalg()
    h = mp.mpf(STEP) * float(np.abs(problem.x).max() or 1)
    steps = [xp.asarray(d) for d in directions(problem)]
    start = xp.asarray(problem.x)

    def at(*moves: np.ndarray) -> Any:
        return problem.loss(xp, la, start + sum(h * m.reshape(start.shape) for m in moves))

    value = at()
    if problem.order == 1:
        return np.array([float((at(d) - value) / h) for d in steps])
    once = [at(d) for d in steps]
    pairs = itertools.product(range(len(steps)), repeat=2)
    second = [(at(steps[i], steps[j]) - once[i] - once[j] + value) / h**2 for i, j in pairs]
    return np.array([float(x) for x in second]).reshape(len(steps), -1)


def relative_error(problem: Problem, derivative: np.ndarray, expected: np.ndarray) -> float:
    """Of a gradient or Hessian, over all directions together."""
    d = directions(problem)
    # the norm is taken on scaled numbers: squares of physical units leave the range
    scale = np.abs(expected).max()
    found = d @ (derivative.astype(float).reshape(d.shape[1], -1) / scale)
    found = found @ d.T if problem.order == 2 else found[:, 0]
    return float(np.linalg.norm(found - expected / scale) / np.linalg.norm(expected / scale))
