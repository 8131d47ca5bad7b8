"""The compiled kernels made known to XLA.

Their functions in `kernels.xla` speak one version of its interface, so that jaxlib is asked for
its version first: with another, kernels of array operations are used instead.
"""

from __future__ import annotations

import functools
import re
import sys
import threading
from pathlib import Path
from typing import Any

import jax

from .._optional import needed
from ..kernels import Decomposition

_VERSION = 0, 3


@functools.cache
def known() -> bool:
    """Whether the version of the interface is the one that is spoken here."""
    if sys.byteorder != "little" or sys.maxsize < 2**32:
        return False
    header = Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api" / "c_api.h"
    try:
        text = header.read_text(encoding="utf-8")
    except OSError:
        return False
    found = (re.search(rf"define XLA_FFI_API_{x} (\d+)", text) for x in ("MAJOR", "MINOR"))
    return tuple(int(x[1]) if x else -1 for x in found) == _VERSION


def decomposed(decomposition: Decomposition, a: jax.Array) -> list[jax.Array]:
    """The factors of real matrices (b, m, n)."""
    b, m, n = a.shape
    operation = decomposition.operation
    if operation in ("svd", "svdvals") and m < n:
        u_s_vh = decomposed(decomposition, a.mT)
        return [x if x.ndim == 2 else x.mT for x in u_s_vh[::-1]]
    k = m if decomposition.full else n
    target = _target(operation, m, n, k, decomposition.lower, a.dtype.name)
    results = [jax.ShapeDtypeStruct((b, *x), a.dtype) for x in decomposition.shapes(m, n)]
    return list(jax.ffi.ffi_call(target, results)(a))


def _target(operation: str, m: int, n: int, k: int, lower: bool, dtype: str) -> str:
    """The name under which XLA knows a kernel, which is compiled at the first call."""
    name = f"loewner_{operation}_{m}_{n}_{k}_{'lower' if lower else 'upper'}_{dtype}"
    with _LOCK:  # threads may trace at the same time, and XLA takes a name once
        if name not in _TARGETS:
            function = _compiled(operation, m, n, k, lower, dtype)
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function.ctypes), platform="cpu")
            jax.ffi.register_ffi_target_as_batch_partitionable(name)
            _TARGETS[name] = function
    return name


_TARGETS: dict[str, Any] = {}
"""The functions whose addresses XLA holds, by name."""

_LOCK = threading.Lock()


def _compiled(operation: str, m: int, n: int, k: int, lower: bool, dtype: str) -> Any:
    needed("numba", "method='compiled'")
    from ..kernels import compiled, xla

    vectors = operation in ("eigh", "svd")
    if operation in ("eigh", "eigvalsh"):
        kernel = compiled.eigh_kernel(n, lower, vectors, dtype)
        return xla.handler(kernel, _VERSION, 2 if vectors else 1)
    kernel = compiled.svd_kernel(m, n, k, vectors, dtype)
    return xla.handler(kernel, _VERSION, 3 if vectors else 1)
