"""The compiled kernels as foreign functions of XLA, which calls them without Python.

XLA hands a function one pointer, to a call frame (XLA_FFI_CallFrame of xla/ffi/api/c_api.h). Its
layout belongs to a version of that interface, so that jaxlib is asked for its version first:
with another than the one below, kernels of array operations are used instead. What is read
here are words of eight bytes:

    frame       1 extension, 4 stage, 9 pointers to the arguments, 14 pointers to the results
    buffer      3 data, 5 dimensions
    extension   3 metadata: 3 version (major, minor), 4 traits, 5 type of the state
"""

from __future__ import annotations

import functools
import re
import sys
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._optional import needed
from ..kernels import Decomposition

_VERSION = 0, 3
_EXECUTE = 3


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
    numba = needed("numba", "method='compiled'")
    from ..kernels import compiled

    types, carray = numba.types, numba.carray
    number = np.dtype(dtype)
    vectors = operation in ("eigh", "svd")
    is_eigh = operation in ("eigh", "eigvalsh")
    kernel = (
        compiled.eigh_kernel(n, vectors, dtype)
        if is_eigh
        else compiled.svd_kernel(m, n, k, vectors, dtype)
    )
    version = _VERSION[0] | _VERSION[1] << 32

    @numba.extending.intrinsic
    def pointer(context, address):
        def build(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

        return types.voidptr(types.int64), build

    @numba.njit
    def words(address, count):
        return carray(pointer(address), (count,), np.int64)

    @numba.njit
    def data(buffer):
        return pointer(words(buffer, 6)[3])

    def called(address):
        frame = words(address, 21)
        if frame[1] != 0:  # not a call, but the question for which version this is
            metadata = words(words(frame[1], 4)[3], 6)
            metadata[3] = version
            metadata[4] = 0
            metadata[5] = 0
            return 0
        if frame[4] & 0xFFFFFFFF != _EXECUTE:
            return 0
        argument = words(frame[9], 1)[0]
        count = words(words(argument, 6)[5], 1)[0]
        a = carray(data(argument), (count, m, n), number)
        results = words(frame[14], 3)
        none = np.empty((0, n, n), number)
        if is_eigh:
            w = carray(data(results[0]), (count, n), number)
            if vectors:
                v = carray(data(results[1]), (count, n, n), number)
                kernel(0, count, a, lower, w, v)
            else:
                kernel(0, count, a, lower, w, none)
        elif vectors:
            u = carray(data(results[0]), (count, m, k), number)
            s = carray(data(results[1]), (count, n), number)
            vh = carray(data(results[2]), (count, n, n), number)
            kernel(0, count, a, u, s, vh)
        else:
            s = carray(data(results[0]), (count, n), number)
            kernel(0, count, a, none, s, none)
        return 0

    return numba.cfunc(types.int64(types.int64))(called)
