"""The machines that follow a `Tape`, compiled by Numba.

Of small matrices a block is worked at a time. A row of the buffer is one number of each of them,
so that the innermost loops run over the matrices and become vector instructions, as in
`compiled`; what it takes to read an instruction is shared by all.

Others are worked one at a time, and the innermost loops run along their rows; a row of the buffer
is one number. There is one machine of each kind for all tapes, which is compiled at its first use
and kept on disk.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from .native import (
    COUNT,
    OPTIONS,
    OWN,
    Job,
    Kernel,
    added,
    array,
    finished,
    launch,
    read,
    taken,
    words,
)
from .product import fill_in, lay_out, moved, panels, product, room
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
    Framework,
    Kind,
    Tape,
)


class Replay:
    """Follows a tape with arrays of some kind: those of one matrix, or stacks (b, ...)."""

    def __init__(self, tape: Tape, kinds: Sequence[Kind]):
        shape, _, _ = kinds[0]
        batch = tuple(shape[: len(shape) - len(tape.given[0])])
        self._b = math.prod(batch)
        self._kernel, own, self._read = machine_for(tape, lanes_for(tape, self._b))
        self._work = tape.work * self._kernel.work
        self._shapes = [x if x is None else (*batch, *x) for x in tape.results]
        self._blocks = -(-self._b // self._kernel.lanes)
        steps = [steps for _, steps, _ in kinds]
        steps += [x and steps_of(x) for x in self._shapes]
        job = [0, self._b, 0, 0, *own, 0]
        self._doubt = len(job) - 1
        for x in steps:
            job += words_of(x if batch or x is None else (0, *x))
        products = [m * n * c for what, m, n, *_, c, _, _ in tape.instructions if what == MATMUL]
        self._joint = self._b == 1 and max(products, default=0) >= _LEAST_JOINT
        if self._joint:
            job[OWN + 7] = len(job)
            job += [0] * (PHASES + 6 * len(products))
        self._job = Job("q", job)

    def __call__(self, framework: Framework, arrays: Sequence[Any]) -> tuple[Any, ...] | None:
        """The results; None if a matrix is in doubt."""
        host, address, first = framework.host, framework.host.address, arrays[0]
        found = [x if x is None else host.empty(x, first) for x in self._shapes]
        job, doubt = self._job[:], Job("b", bytes(self._blocks))
        i = self._doubt
        job[i], _ = doubt.buffer_info()
        for x in arrays:
            job[i + 1] = address(x)
            i += 4
        for x in found:
            if x is not None:
                job[i + 1] = address(x)
            i += 4
        launch(self._kernel, job, self._b, host.team, self._work, self._joint)
        return None if any(doubt) else tuple(found)


def steps_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Those between the numbers of an array without gaps."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def words_of(steps: Sequence[int] | None) -> tuple[int, ...]:
    """How a job has a stack (b, n) or (b, m, n), or none: a place for the address, and the steps
    to the next matrix, row and column."""
    if steps is None:
        return 0, 0, 0, 0
    first, *others = steps
    return (0, first, *(others if len(others) == 2 else (0, *others)))


def lanes_for(tape: Tape, b: int) -> int:
    """How many of b matrices are worked at a time."""
    if b < _FEW or tape.rows > _MANY_ROWS:
        return 1
    return 256 if tape.rows <= _FEW_ROWS and b >= _MANY else 64


_FEW = 32
"""So many matrices are not worth a block of 64."""

_MANY = 512
"""So many matrices are two blocks of 256."""

_FEW_ROWS = 200
"""So many rows of the buffer stay in the cache with 256 matrices."""

_LEAST_JOINT = 2**19
"""The least product of one matrix that several threads share, some 10 microseconds."""

_MANY_ROWS = 8000
"""More rows leave it with 64; a matrix of order 16 takes some thousands."""


@functools.lru_cache(1024)
def machine_for(tape: Tape, lanes: int) -> tuple[Kernel, list[int], Any]:
    """The machine with so many lanes, the first words of its jobs, and what they read.

    The next are the address of the doubts, a truth value for each block of so many matrices as
    it works at a time, and the `words_of` each array and each result of the tape.
    """
    table, constants = tape.arrays
    count = len(tape.given) + len(tape.results)
    addresses = table.ctypes.data, constants.ctypes.data
    kind = constants.dtype.name
    kernel = machine_for_one(kind) if lanes == 1 else machine(kind, lanes)
    spare = _spare(tape) if lanes == 1 else 0
    own = [len(table), len(constants), tape.rows, count, *addresses, spare, 0]
    return kernel, own, (table, constants)


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


@numba.njit(inline="always", **OPTIONS)
def _instruction(tape, t):
    """The words of instruction t."""
    i = tape[t]
    head = i[0], i[1], i[2], i[3], i[4], i[5]
    return (*head, i[6], i[7], i[8], i[9], i[10], i[11], i[12], i[13], i[14])


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
        job = words(address, OWN + 9)
        rows = job[OWN + 2]
        tape = array(job[OWN + 4], (job[OWN], 15), np.int64)
        constants = array(job[OWN + 5], (job[OWN + 1],), number)
        doubt = array(job[OWN + 8], (-(-job[COUNT] // lanes),), np.bool_)
        places = array(address + 8 * (OWN + 9), (job[OWN + 3], 4), np.int64)
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
                    what, m, n, d, d0, d1, a, a0, a1, b, b0, b1, c, c0, c1 = _instruction(tape, t)
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
                            for j in range(i + 1 if c0 == 1 else n):
                                p = d + i * d0 + j * d1
                                _inner(x, lanes, p, a + i * a0, a1, b + j * b1, b0, c)
                                if c0 == 1 and i != j:
                                    q = d + j * d0 + i * d1
                                    for l in range(lanes):
                                        x[q, l] = x[p, l]
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


# one matrix at a time


@numba.njit(inline="always", **OPTIONS)
def _operands(what):
    """How many operands an instruction on entries has."""
    if what == WHERE:
        return 3
    return 1 if what in (NEGATIVE, ABS, SQRT, COPY) else 2


@numba.njit(inline="always", **OPTIONS)
def _row(x, to, a, a0, a1, i, n):
    """Where row i of an operand begins, whose n numbers follow each other or are all the same."""
    if a1 == 1 or n == 1:
        return a + i * a0
    if i == 0 or a0 != 0:
        for j in range(n):
            x[to + j] = x[a + i * a0]
    return to


@numba.njit(**OPTIONS)
def _in_rows(x, spare, a, a0, a1, m, n):
    """Where an operand lies whose rows have neighbouring or equal numbers: at `spare`, if it must
    be moved; and what is spare then."""
    if n == 1 or a1 == 1 or a1 == 0:
        return a, a0, a1, spare
    moved(x, spare, n, 1, x, a, a0, a1, m, n)
    return spare, n, 1, spare + m * n


@numba.njit(**OPTIONS)
def _entries(x, spare, what, m, n, d, d0, d1, a, a0, a1, b, b0, b1, c, c0, c1):
    """An instruction on entries, of one matrix."""
    if d1 != 1 and (d0 == 1 or n == 1):
        m, n, d0, d1, a0, a1, b0, b1, c0, c1 = n, m, d1, d0, a1, a0, b1, b0, c1, c0
    count = _operands(what)
    if d1 == 1:
        a, a0, a1, spare = _in_rows(x, spare, a, a0, a1, m, n)
        if count > 1:
            b, b0, b1, spare = _in_rows(x, spare, b, b0, b1, m, n)
        if count > 2:
            c, c0, c1, spare = _in_rows(x, spare, c, c0, c1, m, n)
    lanes = x.reshape(x.size, 1)  # so many numbers from one on
    length = n if d1 == 1 else 1
    for i in range(m):
        for j in range(0, n, length):
            q = _row(x, spare, a + j * a1, a0, a1, i, length)
            r = _row(x, spare + n, b + j * b1, b0, b1, i, length) if count > 1 else q
            s = _row(x, spare + 2 * n, c + j * c1, c0, c1, i, length) if count > 2 else q
            _entry(lanes, length, what, d + i * d0 + j * d1, q, r, s)


def _spare(tape: Tape) -> int:
    """How many numbers the machine for one matrix needs besides the buffer."""
    size, most = np.dtype(tape.dtype).itemsize, 0
    for what, m, n, _, d0, d1, *places in tape.instructions:
        if what == MATMUL:
            most = max(most, room(m, n, places[6], size))
            continue
        along = 2 if d1 == 1 or d0 != 1 else 1  # whether rows are worked, or columns
        moves = sum(step not in (0, 1) for step in places[along::3])
        most = max(most, moves * m * n + 3 * max(m, n))
    return most


# of one large matrix several threads share out the products: a leader follows the tape, and the
# others help with the *phases* that it opens, two to a product. What they know of each other are
# words at the end of a job:
ARRIVED, OPENED, CLOSED, BUFFER, PHASES = range(5)
# how many threads have come, how many phases are open, whether there will be no more, the address
# of the buffer, and of each phase
INSTRUCTION, ITEM, READY = range(3)
# the product, how many of its items are taken, and how many are ready


@numba.njit(**OPTIONS)
def _helped(x, rows, tape, shared, phase):
    """Items of a phase, until none is left."""
    own = shared + 8 * (PHASES + 3 * phase)
    t = read(own + 8 * INSTRUCTION)
    m, n, k, hermitian = tape[t, 1], tape[t, 2], tape[t, 12], tape[t, 13] == 1
    left, right = panels(m, n, x.itemsize)
    count = right if phase % 2 else left + right
    while True:
        item = added(own + 8 * ITEM, 1)
        if item >= count:
            return count
        if phase % 2:
            fill_in(x, rows, item, tape[t, 3], tape[t, 4], m, n, k, hermitian)
        else:
            a, b = tape[t, 6:9], tape[t, 9:12]
            lay_out(x, rows, item, a[0], a[1], a[2], b[0], b[1], b[2], m, n, k)
        added(own + 8 * READY, 1)


@numba.njit(**OPTIONS)
def _joint_product(x, rows, tape, shared, t):
    """A product that the leader shares out, instruction t."""
    for _ in range(2):
        phase = read(shared + 8 * OPENED)
        own = shared + 8 * (PHASES + 3 * phase)
        added(own + 8 * INSTRUCTION, t)
        added(shared + 8 * OPENED, 1)
        count = _helped(x, rows, tape, shared, phase)
        while read(own + 8 * READY) < count:
            pass


@numba.njit(**OPTIONS)
def _help(tape, shared, rows, size, like):
    """What a thread does that is not the leader."""
    phase = 0
    while read(shared + 8 * CLOSED) == 0:
        opened = read(shared + 8 * OPENED)
        if opened > phase:
            phase = opened  # those before it are ready
            x = array(read(shared + 8 * BUFFER), (size,), like)
            _helped(x, rows, tape, shared, phase - 1)


@functools.cache
def machine_for_one(dtype: str) -> Kernel:
    """The machine for one precision that works one matrix at a time."""
    number, size = np.dtype(dtype).type, np.dtype(dtype).itemsize

    def kernel(address):
        job = words(address, OWN + 9)
        rows = job[OWN + 2]
        tape = array(job[OWN + 4], (job[OWN], 15), np.int64)
        constants = array(job[OWN + 5], (job[OWN + 1],), number)
        doubt = array(job[OWN + 8], (job[COUNT],), np.bool_)
        places = array(address + 8 * (OWN + 9), (job[OWN + 3], 4), np.int64)
        # several threads come to one matrix, if to the words that they share there is a way
        shared = address + 8 * job[OWN + 7] if job[OWN + 7] > 0 else 0
        if shared and added(shared + 8 * ARRIVED, 1) > 0:
            _help(tape, shared, rows, rows + job[OWN + 6], number)
            return
        try:
            x = np.empty(rows + job[OWN + 6], number)
        except Exception:  # noqa: BLE001  the only kind that is known here
            if shared:
                added(shared + 8 * CLOSED, 1)  # others wait for it
            return
        for r in range(len(constants)):
            x[r] = constants[r]
        if shared:
            added(shared + 8 * BUFFER, x.ctypes.data)
        while True:
            first, last = taken(address)
            if first == last:
                break
            for matrix in range(first, last):
                doubt[matrix] = False
                for t in range(len(tape)):
                    what, m, n, d, d0, d1, a, a0, a1, b, b0, b1, c, c0, c1 = _instruction(tape, t)
                    if what == LOAD:
                        place = places[a]
                        s0, s1 = place[2], place[3] + (place[2] if a0 == 1 else 0)
                        memory = array(place[0] + size * matrix * place[1], (1,), number)
                        moved(x, d, d0, d1, memory, 0, s0, s1, m, n)
                    elif what == STORE:
                        place = places[d]
                        memory = array(place[0] + size * matrix * place[1], (1,), number)
                        moved(memory, 0, place[2], place[3], x, a, a0, a1, m, n)
                    elif what == DOUBT:
                        doubt[matrix] |= x[a] != 0
                    elif what == MATMUL:
                        if shared and m * n * c >= _LEAST_JOINT:
                            _joint_product(x, rows, tape, shared, t)
                        else:
                            product(x, rows, d, d0, a, a0, a1, b, b0, b1, m, n, c, c0 == 1)
                    else:
                        _entries(x, rows, what, m, n, d, d0, d1, a, a0, a1, b, b0, b1, c, c0, c1)
            finished(address, last - first)
        if shared:
            added(shared + 8 * CLOSED, 1)

    return Kernel(kernel, f"replay_one_{dtype}", 1, 1 / 16)
