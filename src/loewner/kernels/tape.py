"""A derivative of a rule written down as instructions on the numbers of one matrix.

Rules speak of whole stacks, word by word. For stacks of small matrices each word costs more
than what it computes, since its arrays leave the cache; for one matrix each costs a call of the
interpreter. A rule says the same words of all matrices of one shape, so that they are recorded
once, as a `Tape`, by `Recorder`, the `Ops` whose arrays stand for numbers that are not known yet;
a machine of `replay` then follows the tape with some matrices at a time, or with one.

A rule may ask whether something is known of its values (`Ops.rules_out`, `Ops.apart`). The
answer here is yes, and the tape keeps the question: a matrix of which the answer is another is
*in doubt*, and what the tape makes of it is not to be used.

Only real matrices are recorded. A tape has fewer instructions than the rule has words: to
transpose, to broadcast and to index is to read the same numbers in another order.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..rules.pieces import crowded, diagonal_matrix
from ..rules.rule import QUICKER, Array, Arrays, LinearEquation, Rule, Solvers
from .choice import LEAST_COMPILED, REPLAYED, dtype_name, replays
from .team import Host

LOAD, STORE, DOUBT, MATMUL, ADD, SUBTRACT, MULTIPLY, DIVIDE, MAXIMUM = range(9)
LESS, LESS_EQUAL, EQUAL, WHERE, NEGATIVE, ABS, SQRT, COPY = range(9, 17)

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Tape:
    """Instructions, and what they need.

    An instruction is (what, m, n, d, d0, d1, a, a0, a1, b, b0, b1, c, c0, c1): entry (i, j) of
    the m x n result is the row d + i d0 + j d1 of a buffer, and those of its operands a, b and
    c lie likewise. LOAD has in a, and STORE in d, the number of an array, and LOAD in a0
    whether a vector is the diagonal of a matrix there; MATMUL has in c the length of its sums, and
    in c0 whether the result is Hermitian.
    Truth values are 0 and 1.
    """

    instructions: tuple[tuple[int, ...], ...]
    constants: tuple[float, ...]
    """They fill the first rows of the buffer."""
    rows: int
    """Of the buffer."""
    given: tuple[Shape, ...]
    """The shapes of the arrays it is about."""
    lines: tuple[bool, ...]
    """Of which of them no more than the diagonal is read."""
    results: tuple[Shape | None, ...]
    """Their shapes, None where there is none."""
    dtype: Any
    """The precision."""

    @functools.cached_property
    def arrays(self) -> tuple[Any, Any]:
        """The instructions and the constants, as the machine reads them."""
        return np.array(self.instructions, np.int64), np.array(self.constants, self.dtype)

    @functools.cached_property
    def name(self) -> str:
        """That no other tape has, the same in each process."""
        what = self.instructions, self.constants, self.rows, self.given, self.results, self.dtype
        return f"tape_{hashlib.sha256(repr(what).encode()).hexdigest()[:32]}"

    @functools.cached_property
    def work(self) -> float:
        """How many numbers are computed."""
        table, _ = self.arrays
        sums = np.where(table[:, 0] == MATMUL, table[:, 12], 1)
        return float((table[:, 1] * table[:, 2] * sums).sum())


class NotRecorded(Exception):
    """The rule says what no tape can hold."""


class Value:
    """An array of one matrix, whose numbers are known, or lie in rows of a register.

    The numbers of those rows, an array of the same shape, are what is transposed and indexed.
    """

    def __init__(self, recorder: Recorder, dtype: Any, register: int, rows: Any, known: Any = None):
        self.recorder, self.dtype, self.register = recorder, np.dtype(dtype), register
        self.rows, self.known = rows, known
        self.shape: Shape = (rows if known is None else known).shape
        self.ndim = len(self.shape)

    def view(self, function: Callable[[Any], Any]) -> Value:
        """What a NumPy function that only orders numbers makes of it."""
        if self.known is not None:
            return Value(self.recorder, self.dtype, -1, None, function(self.known))
        return Value(self.recorder, self.dtype, self.register, function(self.rows))

    @property
    def mT(self) -> Value:
        return self.view(lambda x: x.swapaxes(-1, -2))

    def __getitem__(self, index: Any) -> Value:
        return self.view(lambda x: x[index])

    def __bool__(self) -> bool:
        raise NotRecorded("a decision by value")

    def __neg__(self) -> Value:
        return self.recorder.entrywise(NEGATIVE, self)

    def __invert__(self) -> Value:
        return self.recorder.entrywise(SUBTRACT, 1.0, self, truth=True)

    def __add__(self, other: Any) -> Value:
        return self.recorder.entrywise(ADD, self, other)

    def __radd__(self, other: Any) -> Value:
        return self.recorder.entrywise(ADD, other, self)

    def __sub__(self, other: Any) -> Value:
        return self.recorder.entrywise(SUBTRACT, self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.recorder.entrywise(SUBTRACT, other, self)

    def __mul__(self, other: Any) -> Value:
        return self.recorder.entrywise(MULTIPLY, self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.recorder.entrywise(MULTIPLY, other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.recorder.entrywise(DIVIDE, self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.recorder.entrywise(DIVIDE, other, self)

    def __matmul__(self, other: Value) -> Value:
        return self.recorder.matmul(self, other)

    def __and__(self, other: Any) -> Value:
        return self.recorder.entrywise(MULTIPLY, self, other, truth=True)

    def __or__(self, other: Any) -> Value:
        return self.recorder.entrywise(MAXIMUM, self, other, truth=True)

    __rand__, __ror__ = __and__, __or__

    def __lt__(self, other: Any) -> Value:
        return self.recorder.entrywise(LESS, self, other, truth=True)

    def __le__(self, other: Any) -> Value:
        return self.recorder.entrywise(LESS_EQUAL, self, other, truth=True)

    def __gt__(self, other: Any) -> Value:
        return self.recorder.entrywise(LESS, other, self, truth=True)

    def __ge__(self, other: Any) -> Value:
        return self.recorder.entrywise(LESS_EQUAL, other, self, truth=True)

    def __eq__(self, other: Any) -> Any:
        return self.recorder.entrywise(EQUAL, self, other, truth=True)

    def __ne__(self, other: Any) -> Any:
        return ~(self == other)

    __hash__: Any = None


class _Linalg:
    @staticmethod
    def diagonal(x: Value) -> Value:
        return x.view(np.diagonal)

    @staticmethod
    def det(x: Value) -> Value:
        """Laplace's expansion, of matrices so small that it is short."""
        n = x.shape[-1]
        if n > 4:
            raise NotRecorded("a determinant of order 5")
        if n == 1:
            return x[0, 0]
        minors = (x.view(lambda y, j=j: np.delete(y[1:], j, -1)) for j in range(n))
        terms = [x[0, j] * _Linalg.det(minor) for j, minor in enumerate(minors)]
        for j in range(1, n):
            terms[0] = terms[0] - terms[j] if j % 2 else terms[0] + terms[j]
        return terms[0]


class _Words:
    """The words of the rules, spoken of `Value`s."""

    inf, nan = math.inf, math.nan
    int32 = np.dtype(np.int32)
    finfo = staticmethod(np.finfo)
    isdtype = staticmethod(np.isdtype)
    linalg = _Linalg

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name) if name in QUICKER else NotRecorded(name)

    @staticmethod
    def astype(x, dtype):
        return Value(x.recorder, dtype, x.register, x.rows, x.known)

    @staticmethod
    def conj(x):
        return x

    real = conj

    @staticmethod
    def matrix_transpose(x):
        return x.mT

    @staticmethod
    def zeros_like(x):
        return Value(x.recorder, x.dtype, -1, None, np.zeros(x.shape))

    @staticmethod
    def abs(x):
        return x.recorder.entrywise(ABS, x)

    @staticmethod
    def sqrt(x):
        return x.recorder.entrywise(SQRT, x)

    @staticmethod
    def where(mask, x, y):
        return mask.recorder.entrywise(WHERE, x, y, mask)

    @staticmethod
    def hermitian_product(x, y):
        return x.recorder.matmul(x, y.mT, hermitian=True)

    @staticmethod
    def with_diagonal(x, w, same):
        return x.recorder.with_diagonal(x, w)

    @staticmethod
    def sum(x, axis=None, keepdims=False):
        return _folded(x, ADD, axis, keepdims)

    @staticmethod
    def max(x, axis=None, keepdims=False):
        return _folded(x, MAXIMUM, axis, keepdims)

    @staticmethod
    def any(x, axis=None):
        return _folded(x, MAXIMUM, axis, False)

    @staticmethod
    def concat(xs, axis=0):
        return xs[0].recorder.joined(xs, axis)

    @staticmethod
    def cumulative_sum(x, axis, include_initial=False):
        ahead = [_part(x, i, axis) for i in range(x.shape[axis])]
        sums = [_Words.zeros_like(ahead[0])] if include_initial else []
        for i, term in enumerate(ahead):
            sums.append(sums[-1] + term if i or include_initial else term)
        return x.recorder.joined(sums, axis)


def _part(x: Value, i: int, axis: int, count: int = 1) -> Value:
    """So many parts of x along an axis, which stays, from the i-th on."""
    return x.view(lambda y: y.take(range(i, i + count), axis))


def _folded(x: Value, what: int, axis: Any, keepdims: bool) -> Value:
    """A reduction along an axis, several, or all: halves are added until there are none."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    for i in sorted(i % x.ndim for i in axes):
        odd = []
        while (half := x.shape[i] // 2) > 0:
            if x.shape[i] % 2:
                odd.append(_part(x, 2 * half, i))
            x = x.recorder.entrywise(what, _part(x, 0, i, half), _part(x, half, i, half))
        x = functools.reduce(functools.partial(x.recorder.entrywise, what), [x, *odd])
    if keepdims:
        return x
    return x.view(lambda y: y.squeeze(tuple(axes)))


_KNOWN: dict[int, Any] = {
    ADD: np.add,
    SUBTRACT: np.subtract,
    MULTIPLY: np.multiply,
    DIVIDE: np.divide,
    MAXIMUM: np.maximum,
    LESS: np.less,
    LESS_EQUAL: np.less_equal,
    EQUAL: np.equal,
    WHERE: lambda x, y, mask: np.where(mask != 0, x, y),
    NEGATIVE: np.negative,
    ABS: np.abs,
    SQRT: np.sqrt,
}
"""What the machine does, done to numbers that are known."""


class _Step(NamedTuple):
    """An instruction, of values."""

    what: int
    out: Value | None
    operands: tuple[Value, ...]
    length: int = 0
    hermitian: bool = False


class Recorder:
    """`Ops` of which the tape is kept."""

    xp: Any = _Words()

    def __init__(self, dtype: str):
        self._dtype = np.dtype(dtype)
        self._sizes: list[int] = []
        self._steps: list[_Step] = []
        self._found: dict[Any, Value] = {}
        self._doubts: list[Value] = []
        self._given: list[Value] = []

    def given(self, shape: Shape) -> Value:
        """The next of the arrays that the tape is about."""
        self._given.append(self._new(shape, self._dtype))
        return self._given[-1]

    # what a rule asks for

    def constant(self, x: Value) -> Value:
        return x

    def call(self, rule: Rule, *inputs: Value) -> Arrays:
        raise NotRecorded(type(rule).__name__)

    def rules_out(self, test: Any, *arrays: Value | None) -> bool:
        found = test(self.xp, *arrays)
        if found is not False:
            self._doubts.append(_Words.any(found))
        return True

    def listed(self, x: Value) -> None:
        return None

    number = norm = listed

    def apart(self, w: Value, size: int, origin: bool = False) -> bool:
        return self.rules_out(functools.partial(crowded, size=size, origin=origin), w)

    def diagonal(self, w: Value) -> Value:
        return self._known(np.eye(w.shape[-1], dtype=bool), bool)

    def solve(
        self,
        equation: LinearEquation,
        masks: Arrays,
        coefficients: Arrays,
        rhs: Arrays,
        adjoint: bool = False,
    ) -> Arrays:
        return equation.solution(self.xp, masks, coefficients, rhs, adjoint)

    # what its words become

    def entrywise(self, what: int, *operands: Any, truth: bool = False) -> Value:
        """An operation entry by entry, on values or numbers."""
        values = [
            x if isinstance(x, Value) else self._known(np.asarray(float(x)), self._dtype)
            for x in operands
        ]
        kinds = [x.dtype for x in values if x.dtype.kind == "f"] or [values[0].dtype]
        dtype = np.dtype(bool) if truth else kinds[0]
        if all(x.known is not None for x in values):
            with np.errstate(all="ignore"):
                return self._known(_KNOWN[what](*(x.known for x in values)) * 1.0, dtype)
        shape = np.broadcast_shapes(*(x.shape for x in values))
        values = [x.view(lambda y: np.broadcast_to(y, shape)) for x in values]
        if what == WHERE and values[2].known is not None:
            return self._chosen(values, dtype)
        return self._said(what, shape, dtype, values)

    def _chosen(self, operands: Sequence[Value], dtype: Any) -> Value:
        """WHERE on a known mask: on a diagonal, without looking at the mask again."""
        x, y, mask = operands
        if mask.ndim != 2 or not np.array_equal(mask.known, np.eye(mask.shape[0], mask.shape[1])):
            return self._said(WHERE, mask.shape, dtype, [x, y, mask])
        out = self._copy(y)
        self._steps.append(_Step(COPY, out.view(np.diagonal), (x.view(np.diagonal),)))
        return out

    def with_diagonal(self, x: Value, w: Value) -> Value:
        """x + diag w."""
        out = self._copy(x)
        line = out.view(np.diagonal)
        self._steps.append(_Step(ADD, line, (line, w)))
        return out

    def _copy(self, x: Value) -> Value:
        """x, in rows that may be written to; those of x if they are not read again."""
        out = self._new(x.shape, x.dtype)
        self._steps.append(_Step(COPY, out, (x,)))
        return out

    def matmul(self, x: Value, y: Value, hermitian: bool = False) -> Value:
        if x.ndim != 2 or y.ndim != 2:
            raise NotRecorded("a product that is not of two matrices")
        shape = x.shape[0], y.shape[1]
        return self._said(MATMUL, shape, x.dtype, [x, y], x.shape[1], hermitian)

    def joined(self, parts: Sequence[Value], axis: int) -> Value:
        shape = list(parts[0].shape)
        shape[axis] = sum(x.shape[axis] for x in parts)
        out, start = self._new(tuple(shape), parts[0].dtype), 0
        for x in parts:
            along = range(start, start := start + x.shape[axis])
            self._steps.append(_Step(COPY, out.view(lambda y, i=along: y.take(i, axis)), (x,)))
        return out

    def _said(
        self, what: int, shape: Shape, dtype: Any, operands: Sequence[Value], *more: Any
    ) -> Value:
        """The result of an instruction; of one that was given before, what it gave then."""
        key = what, shape, more, *(_key(x) for x in operands)
        if key not in self._found:
            self._found[key] = self._new(shape, dtype)
            self._steps.append(_Step(what, self._found[key], tuple(operands), *more))
        return self._found[key]

    def _known(self, numbers: Any, dtype: Any) -> Value:
        return Value(self, dtype, -1, None, numbers)

    def _new(self, shape: Shape, dtype: Any) -> Value:
        self._sizes.append(math.prod(shape))
        return Value(self, dtype, len(self._sizes) - 1, np.arange(self._sizes[-1]).reshape(shape))

    # what becomes of them

    def tape(self, results: Sequence[Value | None]) -> Tape:
        """The instructions that are needed, with places for their values."""
        stored = [
            _Step(STORE, None, (x,), len(self._given) + i)
            for i, x in enumerate(results)
            if x is not None
        ]
        ends = [_Step(DOUBT, None, (x,)) for x in self._doubts] + stored
        steps, used = [], set()
        for step in reversed(self._steps + ends):
            if step.out is None or step.out.register in used:
                steps.append(step)
                used |= {x.register for x in step.operands}
        steps.reverse()
        loads = self._loads(steps, used)
        lines = {step.length // 2 for step in loads if step.length % 2}
        # each as late as it can be, so that fewer are in the buffer at a time
        waiting = {step.out.register: step for step in loads if step.out is not None}
        ordered: list[_Step] = []
        for step in steps:
            ordered += [waiting.pop(x.register) for x in step.operands if x.register in waiting]
            ordered.append(step)
        layout = _Layout(self._sizes, ordered)
        return Tape(
            tuple(layout.instructions()),
            tuple(layout.constants),
            layout.rows,
            tuple(x.shape for x in self._given),
            tuple(i in lines for i in range(len(self._given))),
            tuple(x if x is None else x.shape for x in results),
            self._dtype,
        )

    def _loads(self, steps: Sequence[_Step], used: set[int]) -> list[_Step]:
        """Of each array given that is used: all of it, or the diagonal if no more is used."""
        read = {x.register: np.zeros(self._sizes[x.register], bool) for x in self._given}
        for step in steps:
            for x in step.operands:
                if x.register in read:
                    read[x.register][x.rows] = True
        loads = []
        for i, x in enumerate(self._given):
            if x.register in used:
                count = np.count_nonzero(read[x.register])
                line = x.ndim == 2 and count == np.count_nonzero(
                    read[x.register][np.diagonal(x.rows)]
                )
                out = x.view(np.diagonal) if line else x
                loads.append(_Step(LOAD, out, (), 2 * i + line))
        return loads


class _Layout:
    """Rows of a buffer for registers, and again for others when they are not used any more."""

    def __init__(self, sizes: Sequence[int], steps: Sequence[_Step]):
        self._sizes, self._steps = sizes, steps
        self.constants: list[float] = []
        self._constants: dict[Any, int] = {}
        self._starts: dict[int, int] = {}
        for x in (x for step in steps for x in step.operands if x.known is not None):
            self._keep(x.known)
        self.rows = len(self.constants)
        self._free: list[tuple[int, int]] = []

    def _keep(self, known: Any) -> Any:
        """The rows of numbers that are known; one for all if they are the same."""
        numbers = np.asarray(known, np.float64)
        first = numbers.reshape(-1)[0]
        same = bool(np.all(numbers == first)) or bool(np.all(np.isnan(numbers)))
        kept = numbers.reshape(-1)[:1] if same else numbers
        key = kept.shape, kept.tobytes()
        if key not in self._constants:
            self._constants[key] = len(self.constants)
            self.constants += kept.reshape(-1).tolist()
        along = 0 if same else np.arange(numbers.size).reshape(numbers.shape)
        return self._constants[key] + along + np.zeros(numbers.shape, int)

    def instructions(self) -> list[tuple[int, ...]]:
        last: dict[int, int] = {}
        for i, step in enumerate(self._steps):
            for x in (*step.operands, step.out):
                if x is not None and x.known is None:
                    last[x.register] = i
        found = []
        for i, step in enumerate(self._steps):
            if step.out is not None and step.out.register not in self._starts:
                if self._moves(step) and last[step.operands[0].register] == i:
                    self._starts[step.out.register] = self._starts[step.operands[0].register]
                    continue
                self._starts[step.out.register] = self._taken(self._sizes[step.out.register])
            found.append(self._spelled(step))
            for register in {x.register for x in (*step.operands, step.out) if x is not None}:
                if last.get(register) == i:
                    self._given_back(self._starts[register], self._sizes[register])
        return found

    def _moves(self, step: _Step) -> bool:
        """Whether a register is copied whole, as it is."""
        if step.what != COPY or step.operands[0].known is not None:
            return False
        out, x = step.out, step.operands[0]
        if out is None or out.rows.size != self._sizes[out.register]:
            return False
        return self._sizes[x.register] == x.rows.size and np.array_equal(out.rows, x.rows)

    def _given_back(self, start: int, size: int) -> None:
        """So many rows are free, and one with those beside them."""
        for beside in [x for x in self._free if x[1] + x[0] == start or x[1] == start + size]:
            self._free.remove(beside)
            room, first = beside
            start, size = min(start, first), size + room
        self._free.append((size, start))

    def _taken(self, size: int) -> int:
        """The first of so many rows that are free."""
        fitting = [x for x in self._free if x[0] >= size]
        if not fitting:
            self.rows += size
            return self.rows - size
        room, start = min(fitting)
        self._free.remove((room, start))
        if room > size:
            self._free.append((room - size, start + size))
        return start

    def _spelled(self, step: _Step) -> tuple[int, ...]:
        whole = step.operands[0] if step.out is None else step.out
        m, n = (1, 1, *whole.shape)[-2:]
        d, a, b, c = ([0, 0, 0] for _ in range(4))
        if step.out is not None:
            d = self._along(step.out)
        if step.what == LOAD:
            a = [step.length // 2, step.length % 2, 0]
        elif step.what == STORE:
            d = [step.length, 0, 0]
        if step.what == MATMUL:
            c = [step.length, int(step.hermitian), 0]
        places = map(self._along, step.operands)
        a, b, c = (next(places, x) for x in (a, b, c))
        return (step.what, m, n, *d, *a, *b, *c)

    def _along(self, x: Value) -> list[int]:
        """The row of the first entry, and the steps to the next one below and beside it."""
        if x.known is None:
            rows = self._starts[x.register] + x.rows
        else:
            rows = self._keep(x.known)
        rows = rows.reshape((1, 1, *rows.shape)[-2:] if rows.ndim < 2 else rows.shape[-2:])
        m, n = rows.shape
        first = rows[0, 0]
        below, beside = rows[1, 0] - first if m > 1 else 0, rows[0, 1] - first if n > 1 else 0
        if not np.array_equal(rows, first + below * np.arange(m)[:, None] + beside * np.arange(n)):
            raise NotRecorded("numbers that do not lie in equal steps")
        return [int(first), int(below), int(beside)]


def _key(x: Value) -> Any:
    return (x.register, x.shape, (x.rows if x.known is None else x.known).tobytes())


@functools.lru_cache(1024)
def pullback(
    rule: Rule,
    dtype: str,
    inputs: tuple[Shape, ...],
    outputs: tuple[Shape, ...],
    cotangents: tuple[Shape | None, ...],
    wanted: tuple[bool, ...],
) -> Tape | None:
    """The tape of `Rule.vjp` for arrays of these shapes, given in a row; None if there is none."""
    recorder = Recorder(dtype)
    known, found = (tuple(map(recorder.given, shapes)) for shapes in (inputs, outputs))
    seen = tuple(None if shape is None else recorder.given(shape) for shape in cotangents)
    try:
        return recorder.tape(rule.vjp(recorder, known, found, seen, wanted))
    except NotRecorded:
        return None


class Evaluation(NamedTuple):
    """What a rule makes of one decomposition of its input, or of the adjoint of that."""

    decomposition: Any
    adjoint: bool
    tape: Tape


class _Solvers:
    """`Solvers` that give a decomposition whose numbers are not known yet."""

    def __init__(self, recorder: Recorder, a: Value):
        self._recorder, self._a = recorder, a
        self.xp = recorder.xp
        self.decompositions: list[tuple[Any, bool]] = []

    def decompose(self, decomposition: Any, a: Value) -> Arrays:
        adjoint = a is not self._a
        if a.register != self._a.register or self.decompositions:
            raise NotRecorded("a decomposition of something else")
        self.decompositions.append((decomposition, adjoint))
        return tuple(map(self._recorder.given, decomposition.shapes(*a.shape)))

    def diagonal_matrix(self, w: Value, dtype: Any) -> Value:
        return diagonal_matrix(self.xp, w, dtype)

    core = diagonal_matrix


@functools.lru_cache(1024)
def evaluation(rule: Rule, dtype: str, shape: Shape, outputs: int | None) -> Evaluation | None:
    """How `Rule.evaluate` goes on from a decomposition; None if that is not all there is to it.

    The arrays of the tape are the matrix and the factors.
    """
    recorder = Recorder(dtype)
    solvers: Any = _Solvers(recorder, a := recorder.given(shape))
    try:
        results = rule.evaluate(solvers, (a,), outputs)
        ((decomposition, adjoint),) = solvers.decompositions
        return Evaluation(decomposition, adjoint, recorder.tape(results))
    except NotRecorded:
        return None


Kind = tuple[Shape, Shape, Any]
"""The shape of an array, the steps between its numbers along each axis, and their dtype."""

Kinds = tuple[Kind | None, ...]


class Program(Protocol):
    """What a tape of an evaluation needs of a framework."""

    @property
    def solvers(self) -> Solvers: ...

    def kinds(self, arrays: Sequence[Array]) -> Kinds | None: ...
    def replayed(self, tape: Tape, arrays: Sequence[Array]) -> Arrays | None: ...


class Framework(Program, Protocol):
    """What a tape needs of a framework."""

    @property
    def host(self) -> Host: ...


def evaluated(framework: Program, rule: Rule, inputs: Arrays, outputs: int | None) -> Arrays | None:
    """`rule.evaluate` of a stack, where nothing watches and its tape is faster; else None."""
    if "evaluate" not in rule.recorded or inputs[0].ndim < 3 or framework.kinds(inputs) is None:
        return None
    (a,) = inputs
    solvers, batch = framework.solvers, a.shape[:-2]
    dtype = dtype_name(a.dtype)
    where = solvers.platform(a), "", solvers.compiles  # large products are the framework's
    if not replays(tuple(a.shape[-2:]), {dtype}, math.prod(batch), *where):
        return None
    how = evaluation(rule, dtype, tuple(a.shape[-2:]), outputs)
    if how is None:
        return None
    factors = solvers.decompose(how.decomposition, a.mT if how.adjoint else a)
    stacks = flat(solvers, len(batch), (a, *factors))
    found = framework.replayed(how.tape, stacks)
    return None if found is None else folded(solvers, batch, found)


def pulled_back(
    framework: Framework,
    rule: Rule,
    inputs: Arrays,
    outputs: Arrays,
    cotangents: Arrays,
    wanted: Sequence[bool],
) -> Arrays | None:
    """`rule.vjp`, where nothing watches, its tape is faster, and no matrix is in doubt.

    Else None.
    """
    if "vjp" not in rule.recorded:
        return None
    if max([x.ndim for x in outputs]) < 3:
        order = min([n for x in outputs for n in x.shape])
        if order > REPLAYED.get(framework.solvers.name, 0):
            return None  # without a look at all arrays
    arrays = *inputs, *outputs, *cotangents
    kinds = framework.kinds(arrays)
    if kinds is None:
        return None
    solvers, i, j = framework.solvers, len(inputs), len(outputs)
    pull = _pull(rule, kinds, i, j, tuple(wanted), solvers.name, solvers.compiles)
    if pull is None:
        return None
    if len(pull.batch) > 1:
        stacks = flat(solvers, len(pull.batch), arrays)
        inputs, outputs, cotangents = map(tuple, (stacks[:i], stacks[i : i + j], stacks[i + j :]))
        found = pulled_back(framework, rule, inputs, outputs, cotangents, wanted)
        return None if found is None else folded(solvers, pull.batch, found)
    return pull(framework, arrays)


class _Pull:
    """How the derivatives of a rule are computed from arrays of some kind."""

    def __init__(self, key: Any, batch: Shape, kinds: Kinds, work: float):
        self.batch = batch
        self._key, self._kinds = key, tuple([x for x in kinds if x is not None])
        self._follow: Any = None
        count = math.prod(batch)
        self._work = count * (work + 2**18)
        self._left = 0.0 if count >= LEAST_COMPILED else PATIENCE

    def __call__(self, framework: Framework, arrays: Arrays) -> Arrays | None:
        """The cotangents; None if they are sooner had word by word, or a matrix is in doubt."""
        if self._left > 0:
            self._left -= self._work
            return None
        if self._follow is None:
            tape = pullback(*self._key)
            self._follow = tape and followed(tape, self._kinds)
        return self._follow and self._follow(framework, [x for x in arrays if x is not None])


PATIENCE = 2.0**30
"""What is computed word by word, in products of two numbers, before a tape is worth the time that
it takes to record it and to load Numba, half a second. That are 8 derivatives of one matrix of
order 512, 2000 of order 64, and 4000 of order 3. Stacks do not wait."""


@functools.lru_cache(1024)
def _pull(
    rule: Rule, kinds: Kinds, i: int, j: int, wanted: tuple[bool, ...], name: str, compiles: bool
) -> _Pull | None:
    """How that is done with arrays of these kinds, of which so many are inputs, and outputs."""
    what = _about(kinds, i, j, "cpu", name, compiles)
    if what is None:
        return None
    dtype, groups, batch = what
    m, n = max(groups[1], key=len)
    return _Pull((rule, dtype, *groups, wanted), batch, kinds, m * n * min(m, n))


def recorded(
    solvers: Solvers,
    rule: Rule,
    inputs: Arrays,
    outputs: Arrays,
    cotangents: Arrays,
    wanted: Sequence[bool],
) -> tuple[Tape, list[Array], Sequence[int]] | None:
    """The tape of `rule.vjp` of a stack, if it is faster; the stacks (b, ...) it is about; and
    the leading dimensions of the arrays."""
    arrays = *inputs, *outputs, *cotangents
    kinds = tuple(x if x is None else (x.shape, (), x.dtype) for x in arrays)
    where = solvers.platform(max(outputs, key=lambda x: x.ndim)), solvers.name, solvers.compiles
    what = _about(kinds, len(inputs), len(outputs), *where)
    if what is None:
        return None
    dtype, groups, batch = what
    tape = pullback(rule, dtype, *groups, tuple(wanted))
    return tape and (tape, flat(solvers, len(batch), [x for x in arrays if x is not None]), batch)


def _about(
    kinds: Kinds, i: int, j: int, platform: str, name: str, compiles: bool
) -> tuple[str, tuple[Any, Any, Any], Shape] | None:
    """What a tape is about that is faster than words on arrays of which so many are inputs, and
    outputs: a precision, the shapes of these and of the cotangents, without the leading
    dimensions, and those."""
    *batch, m, n = max([shape for shape, _, _ in filter(None, kinds[i : i + j])], key=len)
    k = len(batch)
    present = [x for x in kinds if x is not None]
    dtypes = {dtype_name(dtype) for _, _, dtype in present}
    alike = all([*shape[:k]] == batch for shape, _, _ in present)
    if not alike or not replays((m, n), dtypes, math.prod(batch), platform, name, compiles):
        return None
    own = [x if x is None else tuple(x[0][k:]) for x in kinds]
    return dtypes.pop(), (tuple(own[:i]), tuple(own[i : i + j]), tuple(own[i + j :])), tuple(batch)


def flat(solvers: Solvers, k: int, arrays: Sequence[Any]) -> list[Array]:
    """Arrays with so many leading dimensions as stacks (b, ...)."""
    if k < 2:
        return list(arrays)
    reshape = solvers.xp.reshape
    return [x if x is None else reshape(x, (math.prod(x.shape[:k]), *x.shape[k:])) for x in arrays]


def folded(solvers: Solvers, batch: Sequence[int], stacks: Sequence[Any]) -> Arrays:
    """Stacks (b, ...) with leading dimensions again."""
    if len(batch) == 1:
        return tuple(stacks)
    reshape = solvers.xp.reshape
    return tuple(x if x is None else reshape(x, (*batch, *x.shape[1:])) for x in stacks)


@functools.lru_cache(1024)
def followed(tape: Tape, kinds: tuple[Kind, ...]) -> Callable[[Framework, Any], Arrays | None]:
    """What follows a tape with arrays of one matrix, or stacks (b, ...): the results, None if a
    matrix is in doubt."""
    from .replay import Replay  # half a second, for Numba

    return Replay(tape, kinds)
