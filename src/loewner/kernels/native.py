"""Functions that Numba compiles and that are called without Python, by several threads at once.

A kernel has one argument, the address of a *job*, a vector of 64-bit words:

    NEXT    the first matrix of the stack that no thread has taken
    COUNT   how many matrices there are
    STEP    how many a thread takes at a time
    DONE    how many matrices are done
    OWN     what the kernel reads, from here on: addresses of arrays, those of results last

It takes matrices until there are none, so that several threads can be sent to the same job, and
leaves alone what others took.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
from array import array as Job
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import carray  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

from .team import Team

NEXT, COUNT, STEP, DONE, OWN = range(5)

# contraction alone of what is called fast: a product and a sum are rounded once
OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

_STEPS = 4
"""How many times a thread takes matrices: more, and it waits less for the others at the end."""

_int64, _voidptr = numba.types.int64, numba.types.voidptr


class Kernel:
    """A function that is compiled for the address of a job.

    Parameters
    ----------
    function : callable
    name : str
        Of its files. Functions of one name share an index on disk, in which processes that
        compile at the same time may exchange them.
    lanes : int
        How many matrices it works at a time.
    work : float
        How many turned pairs of numbers take as long as one unit of the work that it is given.
    """

    def __init__(self, function: Callable[[int], None], name: str, lanes: int, work: float = 1):
        self.lanes, self.work = lanes, work
        _keep_freed_memory()
        self.compiled: Any = kept(numba.cfunc, numba.types.void(_int64), function, name)
        self.address: int = self.compiled.address
        self.call: Callable[[int], None] = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self.address)
        """It runs without the interpreter's lock."""


def kept(compiler: Any, signature: Any, function: Callable[..., Any], name: str) -> Any:
    """A function compiled for a signature, and kept on disk if there is a folder to write to.

    Numba looks whether the file of a function has changed, and not at those that it is made of
    as well: the name says what they were.
    """
    function.__qualname__ = f"{name}_{_stamp()}"
    try:
        return compiler(signature, cache=True, **OPTIONS)(function)
    except RuntimeError:
        return compiler(signature, **OPTIONS)(function)


@functools.cache
def _stamp() -> str:
    """Of the files whose constants and functions are compiled into kernels of other files."""
    names = "dqds.py", "jacobi.py", "native.py", "product.py", "rows.py", "tape.py"
    text = b"".join(Path(__file__).with_name(x).read_bytes() for x in names)
    return hashlib.sha256(text).hexdigest()[:8]


@functools.cache
def _keep_freed_memory() -> None:
    """Let the allocator keep what is freed, which stacks of the same size ask for again.

    glibc gives freed blocks of 128 KiB and more back to the system, whose pages then cost more
    than what a kernel does with them, until it meets larger ones that are freed; 32 MiB is the
    largest that it learns from. Aligned blocks, as those of XLA, teach it nothing.
    """
    np.empty(2**25 - 2**16, np.uint8)


def shares(b: int, lanes: int, work: float, threads: int, least: float) -> tuple[int, int]:
    """How many threads are worth it, and how many of b matrices they take at a time."""
    if b <= lanes:
        return 1, lanes
    blocks = -(-b // lanes)
    count = max(1, min(threads, blocks, int(b * work / least)))
    steps = _STEPS * count if count > 1 else 1
    return count, lanes * -(-blocks // steps)


def launch(
    kernel: Kernel, job: Job[int], b: int, team: Team, work: float, joint: bool = False
) -> None:
    """The kernel on a job of b matrices, each of which takes so many turned pairs of numbers.

    All threads are sent to it if they may work on one matrix together, `joint`.
    """
    count, job[STEP] = shares(b, kernel.lanes, work, team.size(), team.least)
    if joint and work >= 2 * team.least:
        count = team.size()
    address, _ = job.buffer_info()
    if count == 1:
        kernel.call(address)
    else:
        team.run(kernel, address, count)
    if job[DONE] != b:
        raise MemoryError("a compiled kernel had no memory to work in")


def _pointer(context: Any, address: Any) -> Any:
    """An integer as a pointer."""

    def build(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(_voidptr))

    return _voidptr(_int64), build


def _added(context: Any, address: Any, amount: Any) -> Any:
    """The word at an address, to which an amount is added before another thread can read it."""

    def build(context, builder, signature, arguments):
        word = context.get_value_type(numba.types.CPointer(_int64))
        place = builder.inttoptr(arguments[0], word)
        return builder.atomic_rmw("add", place, arguments[1], "seq_cst")

    return _int64(_int64, _int64), build


def _read(context: Any, address: Any) -> Any:
    """The word at an address, which another thread may have written in the meantime."""

    def build(context, builder, signature, arguments):
        word = context.get_value_type(numba.types.CPointer(_int64))
        return builder.load_atomic(builder.inttoptr(arguments[0], word), "seq_cst", 8)

    return _int64(_int64), build


_pointed: Any = intrinsic(_pointer)
read: Any = intrinsic(_read)
added: Any = intrinsic(_added)


@numba.njit(inline="always", **OPTIONS)
def array(address, shape, dtype):
    """The array of a shape that begins at an address."""
    return carray(_pointed(address), shape, dtype)


@numba.njit(inline="always", **OPTIONS)
def words(address, count):
    """So many words from an address on."""
    return array(address, (count,), np.int64)


@numba.njit(**OPTIONS)
def taken(address):
    """The matrices that are now the caller's, from the first to that after the last; (0, 0) if
    none is left."""
    job = words(address, OWN)
    first = added(address + 8 * NEXT, job[STEP])
    return (first, min(first + job[STEP], job[COUNT])) if first < job[COUNT] else (0, 0)


@numba.njit(**OPTIONS)
def scaled(x, first, count, exponent):
    """So many numbers of x, from the first on, times 2^exponent, in place.

    In two steps, since that power may itself leave the range.
    """
    if exponent == 0:
        return
    one, half = x.dtype.type(1), exponent // 2
    lower, upper = math.ldexp(one, half), math.ldexp(one, exponent - half)
    for i in range(first, first + count):
        x[i] = x[i] * lower * upper


@numba.njit(**OPTIONS)
def finished(address, count):
    """So many of the matrices that were taken are done."""
    added(address + 8 * DONE, count)
