"""NumPy, and any library that follows the array API standard, which have no derivatives.

A derivative is found by following a function through the arrays it is called with: a
`Traced` array carries a value together with its tangent (forward) or with the step that
made it (reverse). Every operation on it is a `Rule`, decompositions like the rest
(`operations`), and values may be traced themselves, so that derivatives nest to any
order. What cannot be followed raises TypeError.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np

from ..rules.rule import Array, Arrays, Rule
from .base import Framework
from .numpy import COMPAT, NumpySolvers, StandardSolvers
from .operations import COMPARISONS, CONSTANT, NUMPY_NAMES, OPERATIONS, Operation, fit
from .plain import numbers


class ArrayLibrary(Framework):
    """One array library; arrays of it that are traced belong to it as well."""

    def __init__(self, base: Any):
        self.base = base
        is_numpy = array_api_compat.is_numpy_namespace(base)
        self.name = "NumPy" if is_numpy else base.__name__
        self.solvers = NumpySolvers(COMPAT) if is_numpy else StandardSolvers(base)
        self.xp = Namespace(self)
        self.precisions = base.float64, base.float32, base.complex128, base.complex64

    @property
    def default_float(self):
        return self.base.float64

    def constant(self, x):
        return plain_value(x)

    def plain(self, *arrays):
        return numbers(*arrays)

    def peek(self, x):
        return x if isinstance(x, np.ndarray) else None

    def ops(self, rule, *arrays):
        # an operation has words of its own
        return self if isinstance(rule, Operation) else super().ops(rule, *arrays)

    def asarray(self, x):
        if isinstance(x, Traced):
            return x
        numpy = self.name == "NumPy"
        if numpy and type(x) is np.ndarray and x.dtype.isnative:
            return x
        x = self.base.asarray(x)
        if numpy and not x.dtype.isnative:
            x = x.astype(x.dtype.newbyteorder("="))
        return x

    def push(self, function, x, direction):
        return push_through(function, x, direction)

    def value_and_gradient(self, function, x):
        source = Step()
        out = function(Traced(self, x, new_level(), origin=(source, 0)))
        if not isinstance(out, Traced):
            return out, self.base.zeros_like(x)
        (found,) = pull_back([source], [(out, self.base.ones_like(out.value))])
        return out.value, self.base.zeros_like(x) if found is None else found

    def own(self, x: Array) -> Array:
        """x in memory that nobody else can write to."""
        return x if isinstance(x, Traced) else self.base.asarray(x, copy=True)

    def accepts(self, other):
        return other.name == self.name

    def lift(self, *groups: Arrays) -> list[Arrays]:
        """The arrays, all of them traced if any is.

        NumPy leaves an operation of a plain and a traced array to the latter; the arrays of
        other libraries refuse it.
        """
        level = max((x.level for g in groups for x in g if isinstance(x, Traced)), default=0)
        if level == 0 or self.name == "NumPy":
            return list(groups)
        return [
            tuple(x if x is None or isinstance(x, Traced) else Traced(self, x, level) for x in g)
            for g in groups
        ]

    def call(self, rule: Rule, *inputs: Array, outputs: int | None = None) -> Arrays:
        """Evaluate a rule; on traced arrays, record its derivative at the innermost level."""
        level = max((x.level for x in inputs if isinstance(x, Traced)), default=0)
        if level == 0:
            return tuple(self.evaluate(rule, inputs, outputs))[:outputs]
        mine = [isinstance(x, Traced) and x.level == level for x in inputs]
        below = tuple(x.value if m else x for x, m in zip(inputs, mine, strict=True))
        origins = tuple(x.origin if m else None for x, m in zip(inputs, mine, strict=True))
        tangents = tuple(x.tangent if m else None for x, m in zip(inputs, mine, strict=True))
        values = self.call(rule, *below)
        if any(o is not None for o in origins):
            step = Step(rule, below, values, origins)
            traced = (Traced(self, v, level, origin=(step, i)) for i, v in enumerate(values))
        elif all(t is None for t in tangents):
            traced = (Traced(self, v, level) for v in values)
        else:
            lifted = self.lift(below, values, tangents)
            moved = rule.jvp(self.ops(rule, *below, *values, *tangents), *lifted)
            traced = (Traced(self, v, level, tangent=t) for v, t in zip(values, moved, strict=True))
        return tuple(traced)[:outputs]


class Namespace:
    """The array namespace of a library that also takes traced arrays of it."""

    def __init__(self, library: ArrayLibrary):
        self._library = library
        self.linalg = _Linalg(self)

    @property
    def __name__(self) -> str:
        return self._library.name

    def __getattr__(self, name: str) -> Any:
        found = _function(self._library, name, getattr(self._library.base, name, None))
        if found is None:
            raise AttributeError(f"{self._library.name} has no function {name!r}")
        setattr(self, name, found)  # it is found at once from now on
        return found


class _Linalg:
    def __init__(self, namespace: Namespace):
        self._namespace = namespace

    def __getattr__(self, name: str) -> Any:
        library = self._namespace._library
        found = _function(library, f"linalg.{name}", getattr(library.base.linalg, name, None))
        if found is None:
            raise AttributeError(f"{library.name} has no function linalg.{name}")
        setattr(self, name, found)
        return found


def _function(library: ArrayLibrary, name: str, plain: Any) -> Any:
    """A function of the namespace: plain on plain arrays, followed on traced ones."""
    if name in OPERATIONS:
        return functools.partial(apply, library, name)
    if not callable(plain) or isinstance(plain, type):
        return plain

    @functools.wraps(plain)
    def constant(*args, **kwargs):
        if any(isinstance(x, Traced) for x in args):
            if name not in CONSTANT:
                raise TypeError(_cannot_follow(name))
            args = tuple(plain_value(x) for x in args)
        return plain(*args, **kwargs)

    return constant


def apply(library: ArrayLibrary, name: str, *args: Any, **options: Any) -> Array:
    """One operation of `OPERATIONS`; those of sequences of arrays take the sequence first."""
    operation = OPERATIONS[name]
    if operation.variadic:
        inputs, rest = tuple(args[0]), args[1:]
    else:
        inputs, rest = args[: operation.arrays], args[operation.arrays :]
    if len(rest) > len(operation.options):
        raise TypeError(_cannot_follow(f"{name} with {len(args)} positional arguments"))
    inputs = tuple(library.asarray(x) if isinstance(x, (list, tuple)) else x for x in inputs)
    options |= dict(zip(operation.options, rest, strict=False))
    for option in options.keys() - {*operation.options, *operation.keywords}:
        raise TypeError(_cannot_follow(f"{name} with the argument {option!r}"))
    if name == "astype":
        dtype = library.base.empty(0, dtype=options["dtype"]).dtype
        if not library.base.isdtype(dtype, ("real floating", "complex floating")):
            return library.base.astype(plain_value(inputs[0]), dtype)
    if not any(isinstance(x, Traced) for x in inputs):
        return operation.evaluate(library.solvers.xp, *inputs, **options)
    return library.call(Operation(name, tuple(options.items())), *inputs)[0]


def _cannot_follow(name: str) -> str:
    hint = f"; lw.{name} can" if name in {"svd", "eigh", "eig", "eigvals", "eigvalsh"} else ""
    return (
        f"loewner cannot follow {name} on an array that is being differentiated{hint}. "
        "lw.jvp and lw.vjp follow arithmetic, matmul, sums, indexing and elementary "
        "functions; for anything else use JAX, PyTorch or autograd arrays"
    )


_ORDER = itertools.count()


@dataclasses.dataclass(eq=False)
class Step:
    """One recorded operation of reverse mode; a step without a rule is an input."""

    rule: Rule | None = None
    inputs: Arrays = ()
    outputs: Arrays = ()
    origins: tuple[tuple[Step, int] | None, ...] = ()
    order: int = dataclasses.field(default_factory=lambda: next(_ORDER))


class Traced:
    """An array that is being differentiated, at one level of possibly several."""

    __slots__ = ("level", "library", "origin", "tangent", "value")
    __array_priority__ = 1000.0

    def __init__(
        self,
        library: ArrayLibrary,
        value: Array,
        level: int,
        tangent: Array = None,
        origin: tuple[Step, int] | None = None,
    ):
        self.library = library
        self.value = value
        self.level = level
        self.tangent = tangent
        self.origin = origin

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    device = property(lambda self: getattr(self.value, "device", None))
    real = property(lambda self: self._apply("real"))
    imag = property(lambda self: self._apply("imag"))
    mT = property(lambda self: self._apply("matrix_transpose"))

    @property
    def T(self):
        return self._apply("permute_dims", axes=tuple(range(self.ndim))[::-1])

    def __array_namespace__(self, api_version=None):
        return self.library.xp

    def _apply(self, name: str, *args: Any, **options: Any) -> Any:
        return apply(self.library, name, self, *args, **options)

    def __len__(self):
        return len(self.value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __repr__(self):
        return f"Traced({self.value!r}, level={self.level})"

    def __getitem__(self, index):
        return self._apply("getitem", index=index)

    def __neg__(self):
        return self._apply("negative")

    def __pos__(self):
        return self

    def __abs__(self):
        return self._apply("abs")

    def __bool__(self):
        return bool(plain_value(self))

    def __array__(self, dtype=None, copy=None):
        raise TypeError(_cannot_follow("the conversion to a plain array or number"))

    __float__ = __int__ = __complex__ = __index__ = __array__

    def __hash__(self):
        return id(self)

    def sum(self, axis=None, keepdims=False):
        return self._apply("sum", axis=axis, keepdims=keepdims)

    def mean(self, axis=None, keepdims=False):
        return self._apply("mean", axis=axis, keepdims=keepdims)

    def max(self, axis=None, keepdims=False):
        return self._apply("max", axis=axis, keepdims=keepdims)

    def min(self, axis=None, keepdims=False):
        return self._apply("min", axis=axis, keepdims=keepdims)

    def swapaxes(self, axis1, axis2):
        axes = list(range(self.ndim))
        axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
        return self._apply("permute_dims", axes=tuple(axes))

    def transpose(self, axes=None):
        return self.T if axes is None else self._apply("permute_dims", axes=tuple(axes))

    def conj(self):
        return self._apply("conj")

    def astype(self, dtype, copy=True):
        return self._apply("astype", dtype=dtype)

    def reshape(self, *shape):
        return self._apply("reshape", shape=shape[0] if isinstance(shape[0], tuple) else shape)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        name = NUMPY_NAMES.get(ufunc.__name__, ufunc.__name__)
        if method == "__call__" and not options:
            if name in OPERATIONS:
                return apply(self.library, name, *inputs)
            if name in CONSTANT or ufunc.__name__ in COMPARISONS:
                return ufunc(*(plain_value(x) for x in inputs))
        raise TypeError(_cannot_follow(ufunc.__name__))

    def __array_function__(self, function, types, args, options):
        name = function.__name__
        if name in ("diagonal", "trace") and self.ndim == 2 and len(args) == 1 and not options:
            # of axes 0 and 1 in NumPy, of the last two in the standard
            diagonal = self._apply("linalg.diagonal")
            return diagonal if name == "diagonal" else diagonal.sum()
        if name in ("transpose", "swapaxes") and isinstance(args[0], Traced):
            return getattr(args[0], name)(*args[1:], **options)
        if name in ("diagonal", "trace"):
            raise TypeError(_cannot_follow(name))
        if NUMPY_NAMES.get(name, name) in OPERATIONS:
            return apply(self.library, NUMPY_NAMES.get(name, name), *args, **options)
        if name in CONSTANT:
            return function(*(plain_value(x) for x in args), **options)
        raise TypeError(_cannot_follow(name))


def _binary(name: str) -> tuple[Callable, Callable]:
    def forward(self, other):
        return apply(self.library, name, self, other)

    def reflected(self, other):
        return apply(self.library, name, other, self)

    return forward, reflected


for _symbol, _operation in {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "matmul": "matmul",
    "pow": "pow",
}.items():
    for _prefix, _method in zip(("__", "__r"), _binary(_operation), strict=True):
        setattr(Traced, f"{_prefix}{_symbol}__", _method)


def _comparison(name: str) -> Callable:
    def compare(self, other):
        return getattr(plain_value(self), name)(plain_value(other))

    return compare


for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
    setattr(Traced, _name, _comparison(_name))


def plain_value(x: Any) -> Any:
    """The array under all levels of tracing."""
    while isinstance(x, Traced):
        x = x.value
    return x


@functools.cache
def library_of(base: Any) -> ArrayLibrary:
    return ArrayLibrary(base)


def framework_of(x: Any) -> ArrayLibrary | None:
    if isinstance(x, Traced):
        return x.library
    if array_api_compat.is_array_api_obj(x):
        return library_of(array_api_compat.array_namespace(x))
    return None


NUMPY = library_of(array_api_compat.array_namespace(np.zeros(0)))

_LEVELS = itertools.count(1)


def new_level() -> int:
    """A level of differentiation, inside all those opened before it."""
    return next(_LEVELS)


def push_through(function: Callable[[Array], Array], x: Array, direction: Array) -> Array:
    """The derivative of function at x along a direction."""
    library, level = framework_of(x), new_level()
    assert library is not None
    out = function(Traced(library, x, level, tangent=direction))
    if isinstance(out, Traced) and out.level == level:
        return library.xp.zeros_like(out.value) if out.tangent is None else out.tangent
    return library.xp.zeros_like(out)  # a constant


def pull_back(sources: list[Step], targets: list[tuple[Array, Array]]) -> list[Array | None]:
    """Cotangents of the sources, given pairs of a traced output and its cotangent."""
    found: dict[Step, list[Array | None]] = {}
    waiting: dict[int, Step] = {}

    def add(origin: tuple[Step, int], g: Array) -> None:
        step, i = origin
        if step not in found:
            found[step] = [None] * max(1, len(step.outputs))
            waiting[step.order] = step
        found[step][i] = g if found[step][i] is None else found[step][i] + g

    for target, g in targets:
        add(target.origin, fit(target.library.xp, g, target.value))
    while waiting:
        step = waiting.pop(max(waiting))
        if step.rule is None:
            continue
        library = next(f for f in map(framework_of, (*step.outputs, *step.inputs)) if f is not None)
        wanted = tuple(o is not None for o in step.origins)
        inputs, outputs, g = library.lift(step.inputs, step.outputs, tuple(found.pop(step)))
        gs = library.pull(step.rule, inputs, outputs, g, wanted)
        for origin, g, x in zip(step.origins, gs, step.inputs, strict=True):
            if origin is not None and g is not None:
                add(origin, fit(library.xp, g, x))
    return [found[s][0] if s in found else None for s in sources]
