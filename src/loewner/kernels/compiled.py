"""The kernels that Numba compiles, and what they are called with.

Jacobi's method works on many small matrices at a time (`lanes`), the QR algorithm on one that is
larger (`householder`).
"""

from __future__ import annotations

import functools
import math
from array import array as Job
from typing import Any

from ..rules.rule import Array, Arrays
from .choice import MOST_IN_LANES, dtype_name
from .decomposition import Decomposition, transposed
from .householder import eigh_of_one, svd_of_one
from .lanes import eigh_kernel, svd_kernel
from .native import OWN, Kernel, launch
from .team import Host


def kernel_for(
    decomposition: Decomposition, m: int, n: int, dtype: str
) -> tuple[Kernel, list[int], int]:
    """The kernel for matrices (m, n) with m >= n, what stands in its jobs before a stack and its
    factors, and the work of one matrix."""
    vectors, lower = decomposition.vectors, decomposition.lower
    columns, work = m if decomposition.full else n, m * n * n
    if n > MOST_IN_LANES:
        if decomposition.hermitian:
            return eigh_of_one(dtype), [0, n, lower, vectors], work
        return svd_of_one(dtype), [0, m, n, columns, vectors], work
    if decomposition.hermitian:
        return eigh_kernel(n, lower, vectors, dtype), [], work
    return svd_kernel(m, n, columns, vectors, dtype), [], work


def decomposed(decomposition: Decomposition, a: Array, host: Host) -> Arrays | None:
    """The factors of real matrices (..., m, n); None of one alone that has none.

    In a stack, those are NaN.
    """
    *batch, m, n = a.shape
    if m < n:
        found = decomposed(decomposition, a.mT, host)
        return found and transposed(found)
    kernel, sizes, work, shapes = _prepared(decomposition, m, n, dtype_name(a.dtype))
    a, b = host.dense(a), math.prod(batch)
    found = tuple([host.empty((*batch, *x), a) for x in shapes])
    # made in half the time of NumPy's arrays
    job = Job("q", [0, b, 0, 0, *sizes, host.address(a), *map(host.address, found)])
    launch(kernel, job, b, host.team, work)
    return None if sizes and not batch and job[OWN] else found


@functools.lru_cache(1024)
def _prepared(decomposition: Decomposition, m: int, n: int, dtype: str) -> tuple[Any, ...]:
    """All that is the same for arrays of one kind."""
    return *kernel_for(decomposition, m, n, dtype), decomposition.shapes(m, n)
