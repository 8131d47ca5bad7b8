"""Which kernel computes a decomposition: one function of all that matters, in one place.

The numbers are measured crossovers (``loewner bench --group stacks``), on the processors that
are measured: elsewhere LAPACK, or the framework's own kernel, is taken. "jacobi" is the kernel
of array operations, which XLA compiles; "compiled" the one that Numba compiles, if it is
installed.

The drivers of LAPACK are those of the frameworks, heevd and gesdd, which are the faster ones:
through SciPy heevr took 1.2 times as long at n = 64 to 512, and gesvd 1.6 to 18 times. What they
are handed is chosen: of a square matrix its transpose, as LAPACK wants it to lie, if only values
are asked for; of a real symmetric one the upper triangle of that, which syevd works on 1.02 to
1.1 times as fast; of a tall matrix its triangular factor (`Plan.reduced`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import math
import os
from typing import Any

METHODS = ("auto", "lapack", "jacobi", "compiled")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A kernel, and what of a stack it is handed."""

    method: str
    block: int = 0
    """How many matrices at a time; 0: all of them."""
    shared: bool = False
    """Whether the cores share out the stack among them."""
    reduced: bool = False
    """Whether LAPACK is handed the triangular factor of a tall matrix, or of the transpose."""


def choose(
    operation: str,
    shape: tuple[int, int],
    dtype: str,
    batch: int,
    platform: str,
    framework: str,
    compiles: bool,
    method: str = "auto",
    numba: bool | None = None,
    full: bool = False,
) -> Plan:
    """The kernel for a stack of matrices.

    Parameters
    ----------
    operation : {"eigh", "eigvalsh", "svd", "svdvals"}
    shape : (int, int)
        Of one matrix.
    dtype : str
        "float32", "float64", "complex64" or "complex128".
    batch : int
        How many matrices.
    platform : str
        "cpu", or another device.
    framework : str
        The name of the `Solvers`.
    compiles : bool
        Whether a compiled kernel can work on its arrays.
    method : {"auto", "lapack", "jacobi", "compiled"}
        What the caller asks for; "lapack" stands for the framework's own kernel.
    numba : bool, optional
        What `has_numba` says, for compilers, which cannot look into it.
    full : bool
        Whether the U and Vh of svd are square.

    Raises
    ------
    ValueError
        If "compiled" is asked for where it is not to be had.
    """
    m, n = max(shape), min(shape)
    kind = "svd" if operation.startswith("svd") else "eigh"
    compiles = compiles and platform == "cpu" and "float" in dtype
    if method == "compiled" and not compiles:
        raise ValueError(
            "method='compiled' is for real matrices on the CPU, in NumPy, PyTorch, autograd, and "
            f"JAX on one device, not for {dtype} in {framework} on {platform!r}"
        )
    if method == "auto" and compiles and _compiled_wins(operation, (m, n), batch, framework):
        method = "compiled" if (has_numba() if numba is None else numba) else "auto"
    if method == "compiled":
        return Plan("compiled")
    reduced = False
    if method == "auto":
        known = platform == "cpu" and "float" in dtype and m <= 4 * n
        least = _LEAST.get((framework, operation), {}).get(n)
        wins = known and least is not None and batch >= least
        method = "jacobi" if wins else "lapack"
        reduced = platform == "cpu" and reducible(operation, shape, framework) and not full
    if method == "lapack":
        worth = batch > 1 and batch * m * n >= _LEAST_SHARED
        shared = worth and platform == "cpu" and n >= _SHARED.get(framework, math.inf)
        return Plan("lapack", shared=shared, reduced=reduced)
    straight = n == 2 and (kind == "eigh" or (m == 2 and "float" in dtype))
    if straight and framework == "JAX":
        return Plan("jacobi")  # no loops: XLA shares it out to the cores itself
    size = n * n + (m * n if kind == "svd" else n * n // 2)
    return Plan("jacobi", max(256, _ENTRIES.get(framework, 2**17) // size))


def _compiled_wins(operation: str, shape: tuple[int, int], batch: int, framework: str) -> bool:
    """Whether a compiled kernel is the fastest for real matrices on the CPU, if there is one."""
    m, n = shape
    if m > 4 * n or (m >= 3 * n and n >= _TALL.get(framework, 0)):
        return False
    if n <= MOST_IN_LANES:
        return n > 1 and batch >= LEAST_COMPILED
    first, last = _ALONE[operation]
    return n <= last and (n >= first or batch >= _STACK)


def usual(operation: str, shape: tuple[int, int], framework: str) -> bool:
    """Whether the framework's own kernel is the one for one matrix, wherever it is."""
    m, n = max(shape), min(shape)
    first, last = _ALONE[operation]
    if not isinstance(n, int):
        return not reducible(operation, shape, framework)  # it is a symbol
    return not (first <= n <= last and m <= 4 * n) and not reducible(operation, shape, framework)


def reducible(operation: str, shape: tuple[int, int], framework: str) -> bool:
    """Whether a triangular factor is sooner had and decomposed than a matrix on the CPU."""
    m, n = max(shape), min(shape)
    return m >= 3 * n and n >= _REDUCED.get((framework, operation), math.inf)


def replays(
    shape: tuple[int, int],
    dtypes: set[str],
    batch: int,
    platform: str,
    framework: str,
    compiles: bool,
) -> bool:
    """Whether the derivatives of a stack are taken from a tape; the parameters are as above."""
    if platform != "cpu" or not compiles:
        return False
    most = max(16 if batch >= LEAST_COMPILED else 0, REPLAYED.get(framework, 0))
    return replayable(shape, dtypes, most) and has_numba()


def replayable(shape: tuple[int, int], dtypes: set[str], most: int = 16) -> bool:
    """Whether they are for some batch, somewhere, up to this order."""
    m, n = max(shape), min(shape)
    return dtypes in ({"float32"}, {"float64"}) and 1 < n <= most and m <= 4 * n


def dtype_name(dtype: Any) -> str:
    """The name of a dtype of any framework: "float64" for float64 and for torch.float64."""
    return str(dtype).split(".")[-1]


@functools.cache
def has_numba() -> bool:
    """Whether Numba is installed, goes with this NumPy, and is not switched off."""
    try:
        return not importlib.import_module("numba").config.DISABLE_JIT
    except (ImportError, AttributeError):
        return False


def _is_amd() -> bool:
    """Whether the processor is one of AMD's."""
    told = os.environ.get("PROCESSOR_IDENTIFIER", "")  # of Windows
    with contextlib.suppress(OSError, UnicodeDecodeError), open("/proc/cpuinfo") as file:
        told += file.read(2**10)
    return "AuthenticAMD" in told


FAST_MKL = not _is_amd()
"""Whether MKL, the BLAS and LAPACK of PyTorch, is at its fastest.

On AMD's processors its products take as long as those of our kernels, on Intel's two thirds to four
fifths of that, and to reduce a tall matrix first gains nothing. Others are not measured.
"""

MOST_IN_LANES = 16
"""The largest order at which compiled kernels work on many matrices at a time, by Jacobi's method;
larger ones they take by themselves, by the QR algorithm."""

LEAST_COMPILED = 64
"""The least batch at which the former win: one block of them. Their first use takes a second, and
later processes find them on disk."""

_ALONE = {"eigh": (24, 128), "eigvalsh": (48, 256), "svd": (24, 160), "svdvals": (48, 256)}
"""By operation, the orders at which the latter win of one matrix alone, against LAPACK on two
threads."""

_TALL = {"PyTorch": 96, "JAX": 192, "NumPy": 192}
"""By framework, the least n at which a matrix of three times as many rows is not for them, but
perhaps its triangular factor."""

_STACK = 4
"""So many matrices are a stack, in which they win at lower orders as well."""

_LEAST = {
    ("JAX", "eigh"): dict.fromkeys((2, 3, 4, 5), 64),
    ("JAX", "eigvalsh"): dict.fromkeys((2, 3, 4, 5), 64),
    ("JAX", "svd"): dict.fromkeys((2, 3, 4, 5, 6), 64),
    ("JAX", "svdvals"): dict.fromkeys((2, 3, 4, 5, 6), 64),
    ("PyTorch", "eigh"): {2: 1024, 3: 1024, 4: 2048},
    ("PyTorch", "eigvalsh"): {2: 2048, 3: 4096, 4: 16384},
    ("PyTorch", "svd"): {2: 512, 3: 1024, 4: 2048},
    ("PyTorch", "svdvals"): {2: 1024, 3: 2048},
    ("NumPy", "eigh"): {2: 512, 3: 1024, 4: 4096},
    ("NumPy", "eigvalsh"): {2: 1024, 3: 2048, 4: 4096},
    ("NumPy", "svd"): {2: 256, 3: 1024, 4: 2048},
    ("NumPy", "svdvals"): {2: 256, 3: 1024, 4: 4096},
}
"""By framework, operation and n, the least batch at which Jacobi's method wins."""

REPLAYED = {"PyTorch": 96 if FAST_MKL else 512}
"""By framework, the largest n at which the derivatives of one matrix, or of few, are taken from a
tape: 1.05 to 1.25 times as fast, value included. Beside a fast MKL from 128 on only 0.85 to 0.98
times. Up to 512 a tape works in memory that glibc's allocator keeps for the next one
(`native._keep_freed_memory`); pages that are new each time cost more than is won. XLA makes one
program of the words itself.
"""

_SHARED = {"PyTorch": 3}
"""By framework, the least n from which LAPACK gains from cores that share out a stack: two of them
are 1.1 to 1.9 times as fast, also where LAPACK has threads of its own.

NumPy's LAPACK, OpenBLAS, makes its callers wait for each other, and XLA calls it for one part
after the other.
"""

LEAST_TURNED = 48
"""The least order of a square matrix that is transposed for LAPACK; else that takes as long."""

_REDUCED = {
    ("JAX", "svd"): 64,
    ("JAX", "svdvals"): 64,
    ("PyTorch", "svd"): math.inf if FAST_MKL else 128,
    ("PyTorch", "svdvals"): math.inf if FAST_MKL else 64,
}
"""By framework and operation, the least n at which a matrix of three times as many rows is reduced:
1.05 to 1.3 times as fast. NumPy has no product with the Q of a factorization."""

_LEAST_SHARED = 2**14
"""How many entries a stack has that is shared out, some 600 microseconds of work."""

_ENTRIES = {"JAX": 2**14, "PyTorch": 2**20, "NumPy": 2**17}
"""How many entries of matrices and frames a block has.

One that stays in the cache of a core; in PyTorch, one that its operations share out to all.
"""
