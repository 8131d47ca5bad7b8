"""The machine that follows a `Tape`, compiled by Numba.

A block of matrices is worked at a time. A row of the buffer is one number of each of them, so
that the innermost loops run over the matrices and become vector instructions, as in
`compiled`; what it takes to read an instruction is shared by all. There is one machine for all
tapes, which is compiled at its first use and kept on disk.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from .native import COUNT, OPTIONS, OWN, Kernel, array, finished, run, taken, words
from .tape import (
    ABS,
    ADD,
    COPY,
    DIVIDE,
    DOUBT,
    EQUAL,
    LESS,
    LESS_EQUAL,
    LOAD,
    MATMUL,
    MAXIMUM,
    MULTIPLY,
    NEGATIVE,
    SQRT,
    STORE,
    SUBTRACT,
    WHERE,
    Place,
    Tape,
)
from .team import Team


def replay(tape: Tape, b: int, places: Sequence[Place | None], team: Team) -> bool:
    """`tape.replayed`."""
    kernel, own, _ = machine_for(tape, b >= MANY)
    doubt = np.empty(-(-b // kernel.lanes), bool)
    own = [*own, doubt.ctypes.data]
    for place in places:
        own += words_of(place)
    run(kernel, b, team, *own, work=tape.work * kernel.work)
    return bool(doubt.any())


def words_of(place: Place | None) -> tuple[int, ...]:
    """How a job has a place: the address, and the steps to the next matrix, row and column."""
    if place is None:
        return 0, 0, 0, 0
    address, steps = place
    if len(steps) == 3:
        return (address, *steps)
    return (address, steps[0], 0, steps[1])


@functools.lru_cache(1024)
def machine_for(tape: Tape, many: bool) -> tuple[Kernel, list[int], Any]:
    """The machine that suits a tape and a stack, the first words of its jobs, and what they read.

    The next are the address of the doubts, a truth value for each block of so many matrices as
    it works at a time, and the `words_of` each array and each result of the tape.
    """
    table, constants = tape.arrays
    lanes = 256 if tape.rows <= _FEW_ROWS and many else 64
    count = len(tape.given) + len(tape.results)
    addresses = table.ctypes.data, constants.ctypes.data
    kernel = machine(constants.dtype.name, lanes)
    own = [len(table), len(constants), tape.rows, count, *addresses]
    return kernel, own, (table, constants)


_FEW_ROWS = 200
"""So many rows of the buffer stay in the cache with 256 matrices."""

MANY = 512
"""So many matrices are two blocks of 256."""


@numba.njit(inline="always", **OPTIONS)
def _entry(x, lanes, what, p, q, r, s):
    """One entry of a result, in row p, from those of the operands in rows q, r and s."""
    if what == ADD:
        for l in range(lanes):
            x[p, l] = x[q, l] + x[r, l]
    elif what == SUBTRACT:
        for l in range(lanes):
            x[p, l] = x[q, l] - x[r, l]
    elif what == MULTIPLY:
        for l in range(lanes):
            x[p, l] = x[q, l] * x[r, l]
    elif what == DIVIDE:
        for l in range(lanes):
            x[p, l] = x[q, l] / x[r, l]
    elif what == COPY:
        for l in range(lanes):
            x[p, l] = x[q, l]
    elif what == WHERE:
        for l in range(lanes):
            y, z = x[q, l], x[r, l]
            x[p, l] = y if x[s, l] != 0 else z
    elif what == MAXIMUM:
        for l in range(lanes):
            y, z = x[q, l], x[r, l]
            x[p, l] = y if y > z or y != y else z  # NaN if there is one
    elif what == ABS:
        for l in range(lanes):
            x[p, l] = abs(x[q, l])
    elif what == LESS_EQUAL:
        for l in range(lanes):
            x[p, l] = x[q, l] <= x[r, l]
    elif what == LESS:
        for l in range(lanes):
            x[p, l] = x[q, l] < x[r, l]
    elif what == EQUAL:
        for l in range(lanes):
            x[p, l] = x[q, l] == x[r, l]
    elif what == NEGATIVE:
        for l in range(lanes):
            x[p, l] = -x[q, l]
    elif what == SQRT:
        for l in range(lanes):
            x[p, l] = math.sqrt(x[q, l])


@numba.njit(inline="always", **OPTIONS)
def _inner(x, lanes, p, q, q1, r, r1, length):
    """The inner product of the rows q, q + q1, ... and r, r + r1, ..., four at a time."""
    terms = (length - 1) % 4 + 1
    if terms == 1:
        for l in range(lanes):
            x[p, l] = x[q, l] * x[r, l]
    elif terms == 2:
        for l in range(lanes):
            x[p, l] = x[q, l] * x[r, l] + x[q + q1, l] * x[r + r1, l]
    elif terms == 3:
        for l in range(lanes):
            y = x[q, l] * x[r, l] + x[q + q1, l] * x[r + r1, l]
            x[p, l] = y + x[q + 2 * q1, l] * x[r + 2 * r1, l]
    else:
        for l in range(lanes):
            y = x[q, l] * x[r, l] + x[q + q1, l] * x[r + r1, l]
            z = x[q + 2 * q1, l] * x[r + 2 * r1, l] + x[q + 3 * q1, l] * x[r + 3 * r1, l]
            x[p, l] = y + z
    for k in range(terms, length, 4):
        qk = q + k * q1
        rk = r + k * r1
        for l in range(lanes):
            y = x[qk, l] * x[rk, l] + x[qk + q1, l] * x[rk + r1, l]
            z = x[qk + 2 * q1, l] * x[rk + 2 * r1, l] + x[qk + 3 * q1, l] * x[rk + 3 * r1, l]
            x[p, l] += y + z


_size = np.uintp
"""Of an index that may be negative NumPy's meaning of that is looked into, for each number."""


@numba.njit(**OPTIONS)
def _load(x, p, address, step, count):
    """Row p from numbers that lie so many steps apart, the last of them for lanes without one."""
    memory = array(address, (count * step,), x.dtype)
    for l in range(count):
        x[p, l] = memory[_size(l * step)]
    for l in range(count, x.shape[1]):
        x[p, l] = memory[_size((count - 1) * step)]


@numba.njit(**OPTIONS)
def _store(x, p, address, step, count):
    """Row p to numbers that lie so many steps apart."""
    memory = array(address, (count * step,), x.dtype)
    for l in range(count):
        memory[_size(l * step)] = x[p, l]


@functools.cache
def machine(dtype: str, lanes: int) -> Kernel:
    """The machine for one precision, and so many matrices at a time."""
    number, size = np.dtype(dtype).type, np.dtype(dtype).itemsize

    def kernel(address):
        job = words(address, OWN + 7)
        rows = job[OWN + 2]
        tape = array(job[OWN + 4], (job[OWN], 15), np.int32)
        constants = array(job[OWN + 5], (job[OWN + 1],), number)
        doubt = array(job[OWN + 6], (-(-job[COUNT] // lanes),), np.bool_)
        places = array(address + 8 * (OWN + 7), (job[OWN + 3], 4), np.int64)
        x = np.empty((rows, lanes), number)
        for r in range(len(constants)):
            for l in range(lanes):
                x[r, l] = constants[r]
        while True:
            first, last = taken(address)
            if first == last:
                break
            for start in range(first, last, lanes):
                count = min(lanes, last - start)
                doubt[start // lanes] = False
                for t in range(len(tape)):
                    what, m, n = tape[t, 0], tape[t, 1], tape[t, 2]
                    d, d0, d1 = tape[t, 3], tape[t, 4], tape[t, 5]
                    a, a0, a1 = tape[t, 6], tape[t, 7], tape[t, 8]
                    b, b0, b1 = tape[t, 9], tape[t, 10], tape[t, 11]
                    c, c0, c1 = tape[t, 12], tape[t, 13], tape[t, 14]
                    if what == LOAD:
                        place, step = places[a], places[a, 1]
                        s0, s1 = place[2], place[3] + (place[2] if a0 == 1 else 0)
                        for i in range(m):
                            for j in range(n):
                                at = place[0] + size * (start * step + i * s0 + j * s1)
                                _load(x, d + i * d0 + j * d1, at, step, count)
                    elif what == STORE:
                        place, step = places[d], places[d, 1]
                        for i in range(m):
                            for j in range(n):
                                at = start * step + i * place[2] + j * place[3]
                                at = place[0] + size * at
                                _store(x, a + i * a0 + j * a1, at, step, count)
                    elif what == DOUBT:
                        for l in range(count):
                            doubt[start // lanes] |= x[a, l] != 0
                    elif what == MATMUL:
                        for i in range(m):
                            for j in range(n):
                                p = d + i * d0 + j * d1
                                _inner(x, lanes, p, a + i * a0, a1, b + j * b1, b0, c)
                    else:
                        for i in range(m):
                            for j in range(n):
                                p = d + i * d0 + j * d1
                                q = a + i * a0 + j * a1
                                r = b + i * b0 + j * b1
                                s = c + i * c0 + j * c1
                                _entry(x, lanes, what, p, q, r, s)
            finished(address, last - first)

    # what one number takes; a turned pair takes four times that
    return Kernel(kernel, f"replay_{lanes}_{dtype}", lanes, 1 / 4)
