"""Which kernel computes a decomposition: one function of all that matters, in one place.

The numbers are measured crossovers (``loewner bench --group stacks``), on the processors that
are measured: elsewhere LAPACK, or the framework's own kernel, is taken. A compiled kernel
would be one more name here.
"""

from __future__ import annotations

import dataclasses

METHODS = ("auto", "lapack", "jacobi")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A kernel, and how many matrices it is handed at a time (0: all of them)."""

    method: str
    block: int = 0


def choose(
    operation: str,
    shape: tuple[int, int],
    dtype: str,
    batch: int,
    platform: str,
    framework: str,
    method: str = "auto",
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
    method : {"auto", "lapack", "jacobi"}
        What the caller asks for; "lapack" stands for the framework's own kernel.
    """
    m, n = max(shape), min(shape)
    if method == "auto":
        known = platform == "cpu" and "float" in dtype and m <= 4 * n
        largest, least = _CROSSOVERS.get((framework, operation), (0, 0))
        method = "jacobi" if known and 2 <= n <= largest and batch >= least else "lapack"
    if method == "jacobi":
        size = (m * n if operation.startswith("svd") else n * n // 2) + n * n
        # a block and its frames in the cache of one core, in several operations' worth of work
        return Plan("jacobi", max(256, _ENTRIES.get(framework, 2**15) // max(size, 1)))
    return Plan("lapack")


_CROSSOVERS = {
    ("JAX", "eigh"): (4, 64),
    ("JAX", "eigvalsh"): (4, 64),
    ("JAX", "svd"): (4, 64),
    ("JAX", "svdvals"): (4, 64),
    ("PyTorch", "eigh"): (4, 1024),
    ("PyTorch", "eigvalsh"): (4, 1024),
    ("PyTorch", "svd"): (4, 1024),
    ("PyTorch", "svdvals"): (4, 1024),
    ("NumPy", "eigh"): (4, 1024),
    ("NumPy", "eigvalsh"): (4, 1024),
    ("NumPy", "svd"): (4, 1024),
    ("NumPy", "svdvals"): (4, 1024),
}
"""By framework and operation: the largest n, and the least batch, at which Jacobi wins."""

_ENTRIES = {"JAX": 2**15, "PyTorch": 2**20, "NumPy": 2**17}
"""How many entries of matrices and frames a block has."""
