"""The compiled kernels made known to XLA.

Their functions in `kernels.xla` speak one version of its interface, so that jaxlib is asked for
its version first: with another, kernels of array operations are used instead.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._optional import needed
from ..kernels import Decomposition, Tape, transposed

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


def decomposed(decomposition: Decomposition, a: jax.Array) -> tuple[jax.Array, ...]:
    """The factors of real matrices (..., m, n)."""
    *batch, m, n = a.shape
    if m < n:
        return transposed(decomposed(decomposition, a.mT))
    shapes = decomposition.shapes(m, n)

    def made() -> Any:
        needed("numba", "method='compiled'")
        from ..kernels import compiled

        kernel, sizes, work = compiled.kernel_for(decomposition, m, n, a.dtype.name)
        places = range(len(sizes), len(sizes) + 1 + len(shapes))
        own = [*sizes, *[0] * len(places)]
        return kernel, own, places[:1], places[1:], work * kernel.work

    triangle = "lower" if decomposition.lower else "upper"
    what = f"{decomposition.operation}_{m}_{n}_{decomposition.full:d}"
    b = math.prod(batch)
    results = [jax.ShapeDtypeStruct((b, *x), a.dtype) for x in shapes]
    name = f"{what}_{triangle}_{a.dtype.name}"
    found = _call(name, made, results, a.reshape(b, m, n))
    return tuple(x.reshape(*batch, *x.shape[1:]) for x in found)


def replayed(tape: Tape, arrays: Sequence[jax.Array]) -> tuple[list[jax.Array | None], jax.Array]:
    """The results of a tape for stacks (b, ...), and which blocks have a matrix in doubt.

    Of a matrix of which no more than the diagonal is read, that is what is given.
    """
    from ..kernels import replay

    b, dtype = arrays[0].shape[0], arrays[0].dtype
    kernel, own, read = replay.machine_for(tape, replay.lanes_for(tape, b))
    doubt = len(own)

    def made() -> Any:
        shapes = [*(x.shape[1:] for x in arrays), *tape.results]
        steps = [replay.words_of(x and replay.steps_of((b, *x))) for x in shapes]
        places = range(doubt + 1, doubt + 1 + 4 * len(steps), 4)
        given, found = places[: len(arrays)], places[len(arrays) :]
        stored = [i for i, x in zip(found, tape.results, strict=True) if x is not None]
        words = [*own, 0, *itertools.chain(*steps)]
        return kernel, words, given, [*stored, doubt], tape.work * kernel.work

    results = [jax.ShapeDtypeStruct((b, *x), dtype) for x in tape.results if x is not None]
    results.append(jax.ShapeDtypeStruct((-(-b // kernel.lanes),), np.bool_))
    name = "_".join([tape.name, f"{kernel.lanes}", *(f"{x.ndim}" for x in arrays)])
    *found, doubts = _call(name, made, results, *arrays, read=read)
    return [None if x is None else found.pop(0) for x in tape.results], doubts


def _call(
    name: str,
    made: Callable[[], Any],
    results: Sequence[Any],
    *arrays: jax.Array,
    read: Any = None,
) -> list[jax.Array]:
    """A kernel of that name, which is compiled at the first call, on stacks (b, ...).

    What it reads besides them is kept for as long.
    """
    name = f"loewner_{name}"
    with _LOCK:  # threads may trace at the same time, and XLA takes a name once
        if name not in _HANDLERS:
            from ..kernels import xla

            handler = xla.Handler(_VERSION, *made())
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(handler.pointer), platform="cpu")
            jax.ffi.register_ffi_target_as_batch_partitionable(name)
            _HANDLERS[name] = handler, read
    return list(jax.ffi.ffi_call(name, results)(*arrays))


_HANDLERS: dict[str, Any] = {}
"""The functions whose addresses XLA holds, by name."""

_LOCK = threading.Lock()
