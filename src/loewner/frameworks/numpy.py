"""The decompositions of NumPy, and of any library that follows the array API standard."""

from __future__ import annotations

import functools
import importlib.util
import math
import operator
from types import SimpleNamespace
from typing import Any

import array_api_compat.numpy as _compat
import numpy as np

from ..kernels import Decomposition, Team, Threads
from ..kernels.choice import MOST_IN_LANES
from ..rules.pieces import diagonal_matrix, hermitian_from_triangle
from ..rules.rule import Array, Arrays


class StandardSolvers:
    """`linalg` of an array API namespace."""

    name = "array API"
    compiles = False

    def __init__(self, xp: Any):
        self.xp = xp

    def decompose(self, decomposition: Decomposition, a: Array) -> Arrays:
        return decomposition.evaluate(self, a)

    def platform(self, a: Array) -> str:
        return str(getattr(a, "device", "cpu")).split(":")[0].lower()

    def diagonal_matrix(self, w: Array, dtype: Any) -> Array:
        return diagonal_matrix(self.xp, w, dtype)

    def core(self, w: Array, dtype: Any) -> Array:
        return self.diagonal_matrix(w, dtype)

    def combine(self, c: Array, x: Array, z: Array, y: Array) -> Array:
        return c * x + z * y

    def in_blocks(self, kernel: Any, a: Array, block: int) -> Arrays:
        count = a.shape[0]
        parts = [kernel(a[i : min(i + block, count), ...]) for i in range(0, count, block)]
        return tuple(self.xp.concat(x, axis=0) for x in zip(*parts, strict=True))

    def on_all_cores(self, kernel: Any, a: Array) -> Arrays:
        return kernel(a)

    def compiled(self, decomposition: Decomposition, a: Array) -> Arrays | None:
        return decomposition.compiled(a, HOST)

    def eigh(self, a: Array, lower: bool) -> tuple[Array, Array]:
        w, v = self.xp.linalg.eigh(hermitian_from_triangle(self.xp, a, lower))
        return w, v

    def eigvalsh(self, a: Array, lower: bool) -> Array:
        return self.xp.linalg.eigvalsh(hermitian_from_triangle(self.xp, a, lower))

    def svd(self, a: Array, full: bool) -> tuple[Array, Array, Array]:
        u, s, vh = self.xp.linalg.svd(a, full_matrices=full)
        return u, s, vh

    def svdvals(self, a: Array) -> Array:
        return self.xp.linalg.svdvals(a)

    def eig(self, a: Array, left: bool) -> tuple[Array, Array, Array | None]:
        w, v = self._linalg("eig")(a)
        return w, v, None

    def eigvals(self, a: Array) -> Array:
        return self._linalg("eigvals")(a)

    def cholesky(self, a: Array) -> Array:
        return self.xp.linalg.cholesky(a)

    def solve(self, a: Array, b: Array) -> Array:
        return self.xp.linalg.solve(a, b)

    def solve_triangular(self, a: Array, b: Array, lower: bool) -> Array:
        return self.xp.linalg.solve(a, b)

    def qr(self, a: Array) -> tuple[Array, Any]:
        q, r = self.xp.linalg.qr(a)
        return r, lambda x: q @ x

    def schur(self, a: Array) -> tuple[Array, Array]:
        raise NotImplementedError(f"the array library {self.xp.__name__!r} has no linalg.schur")

    def while_loop(self, condition: Any, body: Any, state: Arrays) -> Arrays:
        return while_loop(condition, body, state)

    def when(self, condition: Array, then: Any, otherwise: Any) -> Any:
        return then() if bool(self.xp.any(condition)) else otherwise

    def seldom(self, function: Any, *arrays: Array) -> Arrays:
        return function(*arrays)

    def tell(self, listener: Any, returned: Array, *arrays: Array) -> Array:
        listener(*(np.asarray(x) for x in arrays))
        return returned

    def _linalg(self, name: str) -> Any:
        try:
            return getattr(self.xp.linalg, name)
        except AttributeError:
            raise NotImplementedError(
                f"the array library {self.xp.__name__!r} has no linalg.{name}"
            ) from None


class _Compat:
    """array-api-compat's namespace of NumPy, with short ways to what each call asks for."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(_compat, name)
        setattr(self, name, found)
        return found

    @staticmethod
    def isdtype(dtype, kind):
        return dtype.kind == "c" if kind == "complex floating" else np.isdtype(dtype, kind)

    @staticmethod
    def matrix_transpose(x):
        return x.swapaxes(-1, -2)


COMPAT = _Compat()


class _Quick(_Compat):
    """The same, with the functions that tests of few values are made of at hand."""

    abs = np.abs
    linalg = SimpleNamespace(diagonal=lambda x: x.diagonal(axis1=-2, axis2=-1))
    real = operator.attrgetter("real")
    imag = operator.attrgetter("imag")
    finfo = np.finfo

    @staticmethod
    def any(x, axis=None):
        return np.logical_or.reduce(x, axis=axis)

    @staticmethod
    def sum(x, axis=None, keepdims=False):
        return np.add.reduce(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def max(x, axis=None, keepdims=False):
        return np.maximum.reduce(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def quotient(x, d, masked):
        if masked is not None:
            np.copyto(d, math.inf, where=masked)
        fits = isinstance(x, np.ndarray) and x.shape == d.shape and x.dtype == d.dtype
        return np.divide(x, d, out=d if fits else None)

    @staticmethod
    def with_diagonal(x, w, same):
        np.einsum("...ii->...i", x)[...] += w
        return x


QUICK = _Quick()


class NumpySolvers(StandardSolvers):
    """`numpy.linalg`, with left eigenvectors and triangular solves from SciPy if installed."""

    name = "NumPy"
    compiles = True

    def compiled(self, decomposition, a):
        if a.dtype != np.float32 or min(a.shape[-2:]) <= MOST_IN_LANES:
            return super().compiled(decomposition, a)
        # as numpy.linalg does, single precision is computed in double
        found = super().compiled(decomposition, a.astype(np.float64))
        with np.errstate(all="ignore"):
            return found and tuple(x.astype(np.float32) for x in found)

    def in_blocks(self, kernel, a, block):
        # here too
        double = np.result_type(a.dtype, np.float64)

        def quiet(x):
            with np.errstate(all="ignore"):
                return kernel(x.astype(double))

        def empty(shape, like):
            single = a.dtype if np.iscomplexobj(like) else np.finfo(a.dtype).dtype
            return np.empty(shape, single)

        return filled_in_blocks(quiet, a, block, empty)

    def eigh(self, a, lower):
        w, v = np.linalg.eigh(a, "L" if lower else "U")
        return w, v

    def eigvalsh(self, a, lower):
        return np.linalg.eigvalsh(a, "L" if lower else "U")

    def svd(self, a, full):
        entries = a.ravel("K")
        infinite = not math.isfinite(np.vdot(entries, entries).real) and np.isinf(a).any()
        if infinite:  # gesdd of OpenBLAS does not return from them; NaN it reports
            raise np.linalg.LinAlgError("SVD of a matrix with infinite entries")
        u, s, vh = np.linalg.svd(a, full_matrices=full)
        return u, s, vh

    def svdvals(self, a):
        return np.linalg.svd(a, compute_uv=False)

    def eig(self, a, left):
        if left and has_scipy():
            return scipy_eig(a)
        w, v = np.linalg.eig(a)
        dtype = np.result_type(a.dtype, np.complex64)
        return w.astype(dtype), v.astype(dtype), None

    def eigvals(self, a):
        return np.linalg.eigvals(a).astype(np.result_type(a.dtype, np.complex64))

    def cholesky(self, a):
        return np.linalg.cholesky(a)

    def solve(self, a, b):
        return solve_or_nan(a, b)

    def solve_triangular(self, a, b, lower):
        if not has_scipy() or 0 in b.shape:
            return np.linalg.solve(a, b)
        from scipy.linalg import solve_triangular

        return each_matrix(
            lambda t, x: (solve_triangular(t, x, lower=lower, check_finite=False),), a, b
        )[0]

    def schur(self, a):
        return scipy_schur(a)


@functools.cache
def _threads() -> int:
    """How many threads there may be: those of Numba, which users set by NUMBA_NUM_THREADS."""
    return importlib.import_module("numba").config.NUMBA_NUM_THREADS


class _Host:
    """Of NumPy's arrays, and of what becomes one of them without a copy."""

    team: Team = Threads(_threads)

    def dense(self, a):
        return np.ascontiguousarray(a)

    def address(self, x):
        return x.ctypes.data

    def empty(self, shape, like):
        return np.empty(shape, like.dtype)


HOST = _Host()


def filled_in_blocks(kernel: Any, a: Array, block: int, empty: Any) -> Arrays:
    """kernel(a), applied to so many of the b matrices of a (b, m, n) at a time.

    `empty` makes the arrays that the blocks are gathered in, from a shape and an array alike.
    """
    count = a.shape[0]
    whole: Arrays = ()
    for start in range(0, count, block):
        found = kernel(a[start : start + block])
        if not start:
            whole = tuple(empty((count, *x.shape[1:]), x) for x in found)
        for out, x in zip(whole, found, strict=True):
            out[start : start + block] = x
    return whole


def apart(values: list[float], width: float, origin: bool) -> bool:
    """Whether sorted values, and zero at their end, are more than width |values| apart."""
    if origin:
        values.append(0.0)
    if not values:
        return True
    if values[0] > values[-1]:
        values.reverse()
    least = min(map(operator.sub, values[1:], values), default=math.inf)
    return least > width * max(-values[0], values[-1])


def while_loop(condition: Any, body: Any, state: Arrays) -> Arrays:
    """state = body(state) as long as condition(state)."""
    while condition(state):
        state = body(state)
    return state


@functools.cache
def has_scipy() -> bool:
    """Whether SciPy can be imported; it is used where it is there and never required."""
    return importlib.util.find_spec("scipy") is not None


def each_matrix(function: Any, *stacks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Apply a function of single matrices, which returns a tuple, over leading dimensions."""
    batch = np.broadcast_shapes(*(x.shape[:-2] for x in stacks))
    flat = [np.broadcast_to(x, batch + x.shape[-2:]).reshape((-1, *x.shape[-2:])) for x in stacks]
    results = [function(*matrices) for matrices in zip(*flat, strict=True)]
    return tuple(np.stack(r).reshape(batch + r[0].shape) for r in zip(*results, strict=True))


def scipy_eig(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Eigenvalues, unit right and left eigenvectors by one call of geev per matrix.

    A matrix with NaN or infinite entries gives NaN: geev may not return on it.
    """
    from scipy.linalg import eig

    dtype = np.result_type(a.dtype, np.complex64)
    if 0 in a.shape:
        return np.zeros(a.shape[:-1], dtype), np.zeros(a.shape, dtype), np.zeros(a.shape, dtype)

    def one(matrix):
        if not np.isfinite(matrix).all():
            lost = np.full(matrix.shape, np.nan, dtype)
            return lost[0], lost, lost
        found: Any = eig(matrix, left=True, right=True, check_finite=False)
        w, y, v = found
        return w.astype(dtype), v.astype(dtype), y.astype(dtype)

    w, v, y = each_matrix(one, a)
    return w, v, y


def scipy_schur(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The complex Schur form; NaN for a matrix with entries that are not finite."""
    if not has_scipy():
        raise NotImplementedError("the Schur form of NumPy and PyTorch arrays needs SciPy")
    from scipy.linalg import schur

    dtype = np.result_type(a.dtype, np.complex64)
    if 0 in a.shape:
        return np.zeros(a.shape, dtype), np.zeros(a.shape, dtype)

    def one(matrix):
        if not np.isfinite(matrix).all():
            lost = np.full(matrix.shape, np.nan, dtype)
            return lost, lost
        found: Any = schur(matrix.astype(dtype), output="complex", check_finite=False)
        return found

    t, q = each_matrix(one, a)
    return t, q


def solve_or_nan(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a^-1 b, NaN for the matrices of the stack that are singular instead of an exception."""
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        if a.ndim == 2:
            return np.full_like(b, np.nan)
        return each_matrix(lambda x, y: (solve_or_nan(x, y),), a, b)[0]
