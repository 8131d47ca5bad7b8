"""The compiled kernels as foreign functions of XLA, which calls them without Python.

XLA hands a function one pointer, to a call frame (XLA_FFI_CallFrame of xla/ffi/api/c_api.h). Its
layout belongs to a version of that interface. What is read here are words of eight bytes:

    frame       1 extension, 2 functions, 3 context, 4 stage, 9 pointers to the arguments,
                14 pointers to the results
    buffer      3 data, 5 dimensions
    extension   3 metadata: 3 version (major, minor), 4 traits, 5 type of the state
    functions   8 Error_Destroy, 17 ThreadPool_Schedule, 18 ThreadPool_NumThreads; each takes a
                structure: size, extension, what it needs

XLA's own threads share out a stack. One may come when all is done and the function has
returned, so that a job lies in memory which is given back by the last that reads it:

    memory      0 how many will read it, 1 the address of the kernel, 2 the job
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from .native import COUNT, DONE, NEXT, OPTIONS, OWN, STEP, Kernel, added, kept, shares, words

_EXECUTE = 3
_LEAST = 1e5
"""How many turned pairs of numbers are worth a thread: some 100 microseconds."""

_int64, _void = numba.types.int64, numba.types.void
_allocate = numba.types.ExternalFunction("NRT_Allocate", _int64(_int64))
_free = numba.types.ExternalFunction("NRT_Free", _void(_int64))
_shares = numba.njit(shares)


def _call(context: Any, function: Any, argument: Any) -> Any:
    """The function at an address, called with an integer."""

    def build(context, builder, signature, arguments):
        word = context.get_value_type(_int64)
        place = builder.inttoptr(arguments[0], ir.FunctionType(word, [word]).as_pointer())
        return builder.call(place, [arguments[1]])

    return _int64(_int64, _int64), build


_called: Any = intrinsic(_call)


@numba.njit(**OPTIONS)
def _left(memory):
    """One reader less of the memory of a job."""
    if added(memory, -1) == 1:
        _free(memory)


def _task(memory):
    """What a thread of XLA's is asked to do."""
    _called(words(memory, 2)[1], memory + 16)
    _left(memory)


_TASK = kept(numba.cfunc, _void(_int64), _task, "task")


@numba.njit(**OPTIONS)
def _succeeds(functions, which, structure):
    """Whether one of XLA's functions reports no error; that takes the place of the structure."""
    error = _called(functions[which], structure)
    if error != 0:
        _filled(structure, 24, error, 0)
        _called(functions[8], structure)
    return error == 0


@numba.njit(**OPTIONS)
def _filled(structure, size, first, second, third=0):
    """A structure of an interface of XLA's: its size, no extension, and what is asked."""
    found = words(structure, 5)
    found[0], found[1], found[2], found[3], found[4] = size, 0, first, second, third
    return structure


def _handled(address, version, kernel, task, plan, lanes, work):
    """A call of a kernel; of its plan see `handler`."""
    frame = words(address, 21)
    if frame[1] != 0:  # not a call, but the question for which version this is
        metadata = words(words(frame[1], 4)[3], 6)
        metadata[3] = version
        metadata[4] = 0
        metadata[5] = 0
        return 0
    if frame[4] & 0xFFFFFFFF != _EXECUTE:
        return 0
    functions = words(frame[2], 19)
    arguments, results, length = words(plan, 3)
    places = words(plan + 24, arguments + results)
    own = words(plan + 24 + 8 * (arguments + results), length)
    count = words(words(words(frame[9], 1)[0], 6)[5], 1)[0]
    notes = _allocate(8 * 6)  # a structure, and the number of threads
    threads = words(notes + 40, 1)
    threads[0] = 1
    _succeeds(functions, 18, _filled(notes, 32, frame[3], notes + 40))
    readers, step = _shares(count, lanes, work, threads[0], _LEAST)
    memory = _allocate(8 * (2 + OWN + length))
    head, job = words(memory, 2), words(memory + 16, OWN + length)
    head[0], head[1] = readers, kernel
    job[NEXT], job[COUNT], job[STEP], job[DONE] = 0, count, step, 0
    for i in range(length):
        job[OWN + i] = own[i]
    for i in range(arguments):
        job[OWN + places[i]] = words(words(frame[9], arguments)[i], 6)[3]
    for i in range(results):
        job[OWN + places[arguments + i]] = words(words(frame[14], results)[i], 6)[3]
    for _ in range(readers - 1):
        if not _succeeds(functions, 17, _filled(notes, 40, frame[3], task, memory)):
            _left(memory)
    _free(notes)
    _called(kernel, memory + 16)
    while added(memory + 16 + 8 * DONE, 0) < count:
        pass  # what others have taken will be done soon
    _left(memory)
    return 0


_HANDLED = kept(numba.njit, _int64(*[_int64] * 6, numba.types.float64), _handled, "handled")


class Handler:
    """What XLA calls for a kernel.

    Parameters
    ----------
    version : (int, int)
        Of the interface.
    kernel : Kernel
    own : sequence of int
        The kernel's own words in a job.
    arguments, results : sequence of int
        Which of them are the addresses of the arguments and of the results.
    work : float
        What one matrix takes, in turned pairs of numbers.
    """

    def __init__(
        self,
        version: tuple[int, int],
        kernel: Kernel,
        own: Sequence[int],
        arguments: Sequence[int],
        results: Sequence[int],
        work: float,
    ):
        header = len(arguments), len(results), len(own)
        self._plan = np.array([*header, *arguments, *results, *own], np.int64)
        numbers = version[0] | version[1] << 32, kernel.address, _TASK.address
        plan, lanes, cost = self._plan.ctypes.data, kernel.lanes, float(work)

        def handle(frame):
            return _HANDLED(frame, *numbers, plan, lanes, cost)

        self._function: Any = numba.cfunc(_int64(_int64))(handle)
        self.pointer = self._function.ctypes
