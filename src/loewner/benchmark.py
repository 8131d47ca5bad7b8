"""How fast: loewner and the frameworks' own linear algebra, by turns in one process.

    loewner bench             # all groups; --quick takes a small slice of each

A row is one operation on random matrices of one shape, and a competitor: the functions of
`jnp.linalg`, `torch.linalg`, `numpy.linalg`, `scipy.linalg`, or what people put together from
them. After a warm-up of both, loewner and the competitor are measured by turns, A B A B, so
that whatever else the machine does hits both; against SciPy, with a pause before each turn, in
which the threads of the one before go to sleep. A short call is repeated within its turn. The
ratio is the median over the rounds of (competitor / loewner): above 1, loewner is faster.
The warm-up of a gradient of one matrix in PyTorch lasts two seconds: loewner goes over to compiled
kernels when it has been asked for often (`loewner.kernels.tape.PATIENCE`).

value
    The operation itself; in JAX compiled.
gradient
    A loss and its gradient: `jax.value_and_grad`, compiled, or `.backward()` from a leaf. The
    loss is the same for both, and does not depend on signs of vectors.
second
    The product of the Hessian of that loss and a direction: forward over reverse mode in
    JAX, compiled; backward twice in PyTorch.

The group "compile" has the seconds of tracing, lowering and compiling by JAX, without what it
keeps from before; the group "memory" has the peak of memory above that before the call, in a
process of its own. loewner is at its defaults.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import loewner as lw

from ._optional import needed

HELP = "Time loewner against the frameworks' own linear algebra, by turns in one process."
ROUNDS, QUICK = 7, 3
"""The least number of rounds, and that with --quick."""
LEAST = 5e-3
"""Seconds that a turn takes at least; a short call is repeated."""
PAUSE = 0.15
"""Seconds that the threads of an OpenBLAS wait for work on a core; SciPy has one of its own."""
FOLDER = Path("benchmarks/results")
FILE = "results.json"
COMPETITORS = {
    "jnp.linalg": ("jax", "jax"),
    "torch.linalg": ("torch", "torch"),
    "numpy.linalg": ("numpy", "numpy"),
    "jax.scipy.linalg": ("jax", "jax"),
    "torch.matrix_exp": ("torch", "torch"),
    "scipy.linalg": ("numpy", "scipy"),
    "scipy.linalg/jax": ("jax", "scipy"),
    "scipy.linalg/torch": ("torch", "scipy"),
}
"""And the packages whose arrays loewner works on then, and they do. SciPy's are those of NumPy."""

Array = Any
Sampler = Callable[[], float]


# rows


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison."""

    group: str
    operation: str
    competitor: str
    shape: tuple[int, ...]
    dtype: str = "float64"
    derivative: str = "value"

    @property
    def size(self) -> str:
        """The shape, as a table has it."""
        return "x".join(map(str, self.shape))

    @property
    def case(self) -> tuple[str, str, str, str]:
        """What is compared, whoever the competitor is."""
        return self.operation, self.size, self.dtype.replace("float", "f"), self.derivative


def _product(
    group: str,
    operations: str,
    shapes: Iterable[tuple[int, ...]],
    dtypes: str = "float64",
    competitors: str = "jnp.linalg torch.linalg numpy.linalg",
    derivatives: str = "value gradient",
) -> list[Row]:
    """Rows of all combinations, less the derivatives of what has none."""
    lists = operations.split(), shapes, dtypes.split(), derivatives.split(), competitors.split()
    return [
        Row(group, operation, competitor, shape, dtype, derivative)
        for operation, shape, dtype, derivative, competitor in itertools.product(*lists)
        if derivative == "value" or COMPETITORS[competitor][1] in ("jax", "torch")
    ]


def _square(*sizes: int, batch: int = 0) -> list[tuple[int, ...]]:
    return [(batch, n, n) if batch else (n, n) for n in sizes]


def _stacks(quick: bool) -> list[Row]:
    add = functools.partial(_product, "stacks")
    if quick:
        return [
            *add("eigh svd", _square(3, 8, batch=1000)),
            *add("nearest_rotation", [(1000, 3, 3)]),
        ]
    found = [
        *add("eigh svd eigvalsh svdvals", _square(2, 3, 4, 6, 8, 16, batch=10_000)),
        *add("eigh svd", _square(2, 3, 4, 8, batch=10_000), "float32"),
        *add("eigvalsh svdvals", _square(3, 8, batch=10_000), "float32"),
        *add("eigh svd", [(1000, 3, 3), (100_000, 3, 3), (1000, 32, 32)]),
        *add("eigh", [(1_000_000, 2, 2)], derivatives="value"),
        *add("nearest_rotation", _square(3, batch=10_000), "float32 float64"),
        *add("nearest_rotation", _square(3, batch=100_000)),
        *add("sqrtm", _square(3, 8, batch=10_000)),
    ]
    return sorted(found, key=lambda row: [*OPERATIONS].index(row.operation))


def _dense(quick: bool) -> list[Row]:
    add = functools.partial(_product, "dense")
    if quick:
        return [*add("eigh", _square(64)), *add("svd", [(64, 64), (256, 64)])]
    small, large = _square(32, 64, 128, 256, 512), _square(1024)
    tall = [(256, 64), (512, 128), (1024, 256)]
    return [
        *add("eigh eigvalsh", small + large),
        *add("svd", small + large + tall),
        *add("svdvals", small + tall),
    ]


def _functions(quick: bool) -> list[Row]:
    sizes = _square(64) if quick else _square(64, 256, 512)
    return [
        *_product("functions", "expm", sizes, competitors="jax.scipy.linalg torch.matrix_exp"),
        *_product(
            "functions",
            "sqrtm",
            sizes,
            competitors="scipy.linalg/jax scipy.linalg/torch scipy.linalg",
        ),
    ]


def _second_order(quick: bool) -> list[Row]:
    sizes = _square(16) if quick else _square(16, 64, 128)
    return _product("second-order", "eigh", sizes, derivatives="second")


def _dispatch(quick: bool) -> list[Row]:
    sizes = _square(3) if quick else _square(3, 16)
    return _product("dispatch", "eigh svd", sizes, competitors="torch.linalg numpy.linalg")


def _compile(quick: bool) -> list[Row]:
    add = functools.partial(_product, "compile", competitors="jnp.linalg", derivatives="gradient")
    return add("eigh", [(1000, 3, 3)]) if quick else add("eigh svd", [(1000, 3, 3), (64, 64)])


def _memory(quick: bool) -> list[Row]:
    add = functools.partial(_product, "memory", derivatives="gradient")
    if quick:
        return add("svd", [(4096, 64)], competitors="torch.linalg")
    return [*add("svd", [(4096, 64)]), *add("eigh", _square(512))]


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows that are printed in one table and drawn in one picture."""

    rows: Callable[[bool], list[Row]]
    text: str
    unit: str = "ms"
    scale: float = 1e3
    each: bool = False
    """Whether the unit is per matrix of a stack."""
    rounds: int | None = None
    """At most so many."""


GROUPS = {
    "stacks": Group(_stacks, "stacks of small matrices", "ns per matrix", 1e9, each=True),
    "dense": Group(_dense, "single matrices"),
    "functions": Group(_functions, "functions of a symmetric matrix"),
    "second-order": Group(_second_order, "Hessian-vector products"),
    "dispatch": Group(_dispatch, "one small matrix, not compiled", "µs", 1e6),
    "compile": Group(_compile, "trace, lower and compile in JAX"),
    # a process for each number; but memory hardly varies
    "memory": Group(_memory, "peak of additional memory", "MB", 1e-6, rounds=3),
}


def rows(quick: bool = False) -> list[Row]:
    """All rows of all groups.

    Parameters
    ----------
    quick : bool
        Whether to take a few small ones of each group only.

    Returns
    -------
    list of Row
    """
    return [row for group in GROUPS.values() for row in group.rows(quick)]


# operations


def _generator(row: Row) -> np.random.Generator:
    return np.random.default_rng([*row.shape, *row.operation.encode()])


def _symmetric(row: Row, rng: np.random.Generator) -> np.ndarray:
    a = rng.standard_normal(row.shape)
    return (a + a.mT) / math.sqrt(2 * row.shape[-1])


def _positive(row: Row, rng: np.random.Generator) -> np.ndarray:
    *batch, n = row.shape[:-2] + row.shape[-1:]
    a = rng.standard_normal((*batch, n, n))
    return a @ a.mT / n + 0.5 * np.eye(n)


def _general(row: Row, rng: np.random.Generator) -> np.ndarray:
    """Without singular values near zero: in a large stack some would be reported."""
    return np.linalg.qr(rng.standard_normal(row.shape))[0] @ _positive(row, rng)


def _values(found: Array, c: Array, m: Array) -> Array:
    return (found * c).sum()


def _matrix(found: Array, c: Array, m: Array) -> Array:
    return (found * m).sum()


def _frame(found: Any, c: Array, m: Array) -> Array:
    w, v = found
    return (w * c).sum() + (v[..., 0, :] ** 2 * c).sum()


def _factors(found: Any, c: Array, m: Array) -> Array:
    u, s, vh = found
    return (s * c).sum() + (u[..., 0, :] * vh[..., :, 0] * c).sum()


@dataclasses.dataclass(frozen=True)
class Operation:
    """The matrices, the function of a provider (loewner or a competitor), and a loss of it."""

    matrix: Callable[[Row, np.random.Generator], np.ndarray]
    value: Callable[[Any, Array], Any]
    loss: Callable[[Any, Array, Array], Array]
    """A number, of what is returned and of weights for values and for entries.

    Of every factor, of no phase, and so cheap that it hides little: a product of factors would
    take as long as a gradient.
    """


OPERATIONS = {
    "eigh": Operation(_symmetric, lambda la, a: la.eigh(a), _frame),
    "eigvalsh": Operation(_symmetric, lambda la, a: la.eigvalsh(a), _values),
    "svd": Operation(_general, lambda la, a: la.svd(a, full_matrices=False), _factors),
    "svdvals": Operation(_general, lambda la, a: la.svdvals(a), _values),
    "nearest_rotation": Operation(_general, lambda la, a: la.nearest_rotation(a), _matrix),
    "expm": Operation(_symmetric, lambda la, a: la.expm(a, hermitian=True), _matrix),
    "sqrtm": Operation(_positive, lambda la, a: la.sqrtm(a, hermitian=True), _matrix),
}


class Textbook:
    """A framework's own functions, and what people put together from them."""

    def __init__(self, xp: Any):
        self.xp = xp
        self.eigh, self.eigvalsh = xp.linalg.eigh, xp.linalg.eigvalsh
        self.svd, self.svdvals = xp.linalg.svd, xp.linalg.svdvals

    def nearest_rotation(self, a: Array) -> Array:
        u, _, vh = self.svd(a, full_matrices=False)
        det = self.xp.linalg.det(u @ vh)
        one = self.xp.ones_like(det)
        return (u * self.xp.stack([one, one, det], -1)[..., None, :]) @ vh

    def sqrtm(self, a: Array, hermitian: bool) -> Array:
        w, v = self.eigh(a)
        return (v * self.xp.sqrt(w)[..., None, :]) @ v.mT


def _competitor(name: str) -> Any:
    if name.startswith("scipy.linalg"):
        scipy = _needed("scipy.linalg")
        return SimpleNamespace(sqrtm=lambda a, hermitian: scipy.sqrtm(a))
    if name == "jax.scipy.linalg":
        jsp = _needed("jax.scipy.linalg")
        return SimpleNamespace(expm=lambda a, hermitian: jsp.expm(a))
    if name == "torch.matrix_exp":
        torch = _needed("torch")
        return SimpleNamespace(expm=lambda a, hermitian: torch.matrix_exp(a))
    packages = {"jnp.linalg": "jax.numpy", "torch.linalg": "torch", "numpy.linalg": "numpy"}
    return Textbook(_needed(packages[name]))


# frameworks


class Numpy:
    """Of each framework: its arrays, a derivative of a function, and a call of it."""

    array: Callable[[np.ndarray], Array] = staticmethod(np.asarray)

    def settings(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def gradient(self, f: Callable[..., Array]) -> Callable[..., Any]:
        raise NotImplementedError

    def second(self, f: Callable[..., Array]) -> Callable[..., Any]:
        raise NotImplementedError

    def call(self, f: Callable[..., Any], *args: Array) -> Callable[[], Any]:
        return functools.partial(f, *args)

    ready = call
    """The same, with all that comes before the first call done."""


class Jax(Numpy):
    def __init__(self) -> None:
        self.jax = _needed("jax")
        self.array = _needed("jax.numpy").asarray

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """64 bits."""
        before = self.jax.config.jax_enable_x64
        self.jax.config.update("jax_enable_x64", True)
        try:
            yield
        finally:
            self.jax.config.update("jax_enable_x64", before)

    def gradient(self, f: Callable[..., Array]) -> Callable[..., Any]:
        return self.jax.value_and_grad(f)

    def second(self, f: Callable[..., Array]) -> Callable[..., Any]:
        return lambda a, e: self.jax.jvp(self.jax.grad(f), (a,), (e,))[1]

    def call(self, f: Callable[..., Any], *args: Array) -> Callable[[], Any]:
        compiled, ready = self.jax.jit(f), self.jax.block_until_ready
        return lambda: ready(compiled(*args))

    def ready(self, f: Callable[..., Any], *args: Array) -> Callable[[], Any]:
        compiled = self.jax.jit(f).lower(*args).compile()
        return lambda: self.jax.block_until_ready(compiled(*args))

    @contextlib.contextmanager
    def nothing_kept(self) -> Iterator[None]:
        """Without what was compiled before, on disk as well."""
        cache = _needed("jax.experimental.compilation_cache.compilation_cache")
        before = self.jax.config.jax_enable_compilation_cache
        self.jax.config.update("jax_enable_compilation_cache", False)
        cache.reset_cache()  # it asks for the setting once
        self.jax.clear_caches()
        try:
            yield
        finally:
            self.jax.config.update("jax_enable_compilation_cache", before)
            cache.reset_cache()


class Torch(Numpy):
    def __init__(self) -> None:
        self.torch = _needed("torch")
        self.array = self.torch.as_tensor

    def gradient(self, f: Callable[..., Array]) -> Callable[..., Any]:
        def value_and_gradient(a: Array) -> tuple[Array, Array]:
            leaf = a.clone().requires_grad_()
            value = f(leaf)
            value.backward()
            return value.detach(), leaf.grad

        return value_and_gradient

    def second(self, f: Callable[..., Array]) -> Callable[..., Any]:
        def product(a: Array, e: Array) -> Array:
            leaf, grad = a.clone().requires_grad_(), self.torch.autograd.grad
            (first,) = grad(f(leaf), leaf, create_graph=True)
            return grad((first * e).sum(), leaf)[0]

        return product


def _framework(competitor: str, provider: str = "loewner") -> Any:
    """That whose arrays a provider works on."""
    package = COMPETITORS[competitor][provider == "competitor"]
    return {"jax": Jax, "torch": Torch}.get(package, Numpy)()


_needed = functools.partial(needed, by="bench")


# measurements


def program(row: Row, provider: str) -> tuple[Callable[..., Any], list[Array]]:
    """What is measured, a function and its arguments.

    Parameters
    ----------
    row : Row
    provider : {"loewner", "competitor"}

    Returns
    -------
    function : callable
    arguments : list of array
        Of the framework of the provider, the same numbers for both.
    """
    framework, operation = _framework(row.competitor, provider), OPERATIONS[row.operation]
    la = lw if provider == "loewner" else _competitor(row.competitor)
    rng, n = _generator(row), min(row.shape[-2:])
    drawn = [operation.matrix(row, rng)]
    weights = [rng.standard_normal(n), rng.standard_normal(row.shape[-2:])]
    if row.derivative == "second":
        drawn.append(operation.matrix(row, rng))
    args, (c, m) = ([framework.array(x.astype(row.dtype)) for x in y] for y in (drawn, weights))

    def value(a: Array) -> Any:
        return operation.value(la, a)

    def loss(a: Array) -> Array:
        return operation.loss(value(a), c, m)

    return value if row.derivative == "value" else getattr(framework, row.derivative)(loss), args


def seconds(call: Callable[[], Any], warm: float = 0.0) -> Sampler:
    """The time of a call, repeated so often that it can be measured.

    Parameters
    ----------
    call : callable
        Called without arguments; twice at least before this returns.
    warm : float
        For how many seconds it is called before.

    Returns
    -------
    callable
        Returns the seconds that one call takes, on average over a turn.
    """

    def sample() -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count

    call()
    end = time.perf_counter() + warm
    while time.perf_counter() < end:
        call()
    count = 1
    while (taken := sample()) * count < LEAST:
        count = max(2 * count, math.ceil(1.2 * LEAST / max(taken, 1e-9)))
    return sample


def _compiling(row: Row, provider: str) -> Sampler:
    framework = _framework(row.competitor)

    def sample() -> float:
        f, args = program(row, provider)
        with framework.nothing_kept():
            start = time.perf_counter()
            framework.ready(f, *args)
            return time.perf_counter() - start

    return sample


def _remembering(row: Row, provider: str) -> Sampler:
    """The peak of memory, of a new process for each sample."""
    code = "from loewner import benchmark; benchmark.print_peak()"
    given = json.dumps([dataclasses.asdict(row), provider])
    command = [sys.executable, "-c", code, given]
    return lambda: float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def print_peak() -> None:
    """Print the bytes that a call needs at most, in the process that this is called in."""
    fields, provider = json.loads(sys.argv[1])
    row = Row(**{**fields, "shape": tuple(fields["shape"])})
    framework = _framework(row.competitor)
    with framework.settings():
        tiny = dataclasses.replace(row, shape=(4, 2) if row.shape[-2] > row.shape[-1] else (3, 3))
        for _ in range(2):
            f, args = program(tiny, provider)
            framework.ready(f, *args)()
        f, args = program(row, provider)
        call = framework.ready(f, *args)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak is now what there is now
        before = _peak()
        call()
        print(max(_peak() - before, 4096))


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # getrusage knows the process before exec as well, with its larger peak
        lines = status.read_text().splitlines()
        found = [int(x.split()[1]) for x in lines if x.startswith("VmHWM:")]
        if found:
            return 1024 * found[0]
    peak = _needed("resource").getrusage(_needed("resource").RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def alternate(
    ours: Sampler, theirs: Sampler, rounds: int, pause: float = 0.0
) -> tuple[list[float], list[float]]:
    """Samples by turns: ours, theirs, ours, theirs.

    Parameters
    ----------
    ours, theirs : callable
    rounds : int
    pause : float
        For how many seconds nothing is done before each.

    Returns
    -------
    ours, theirs : list of float
        One sample of each round.
    """
    samples: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for sampler, found in zip((ours, theirs), samples, strict=True):
            time.sleep(pause)
            found.append(sampler())
    return samples


@dataclasses.dataclass(frozen=True)
class Summary:
    """Median and quartiles."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, samples: Sequence[float], scale: float = 1.0) -> Summary:
        lower, median, upper = np.quantile(np.array(samples) * scale, [0.25, 0.5, 0.75])
        return cls(float(median), float(lower), float(upper))


@dataclasses.dataclass(frozen=True)
class Result:
    """The samples of a row: seconds or bytes, one of each round."""

    row: Row
    samples: tuple[Sequence[float], Sequence[float]]
    """Of loewner and of the competitor."""

    @property
    def scale(self) -> float:
        """From seconds or bytes to the unit of the group."""
        group = GROUPS[self.row.group]
        return group.scale / (math.prod(self.row.shape[:-2]) if group.each else 1)

    @property
    def ours(self) -> Summary:
        return Summary.of(self.samples[0], self.scale)

    @property
    def theirs(self) -> Summary:
        return Summary.of(self.samples[1], self.scale)

    @property
    def ratio(self) -> Summary:
        """Competitor over loewner, of the rounds: "times as fast"."""
        ours, theirs = self.samples
        return Summary.of([b / a for a, b in zip(ours, theirs, strict=True)])

    def as_dict(self) -> dict[str, Any]:
        def rounded(summary: Summary) -> dict[str, float]:
            return {k: float(f"{v:.4g}") for k, v in dataclasses.asdict(summary).items()}

        return {
            **dataclasses.asdict(self.row),
            "unit": GROUPS[self.row.group].unit,
            "rounds": len(self.samples[0]),
            "ours": rounded(self.ours),
            "theirs": rounded(self.theirs),
            "ratio": rounded(self.ratio),
        }


def _call(row: Row, provider: str) -> Callable[[], Any]:
    f, args = program(row, provider)
    return _framework(row.competitor, provider).call(f, *args)


def measure(row: Row, rounds: int = ROUNDS) -> Result:
    """Measure loewner and the competitor by turns, after a warm-up of both.

    Parameters
    ----------
    row : Row
    rounds : int
        How many samples there are of each.

    Returns
    -------
    Result

    Raises
    ------
    ImportError
        If the package of the competitor is not installed.
    """
    providers = "loewner", "competitor"
    rounds = min(rounds, GROUPS[row.group].rounds or rounds)
    with _framework(row.competitor).settings():
        if row.group == "memory":
            ours, theirs = (_remembering(row, p) for p in providers)
        elif row.group == "compile":
            ours, theirs = (_compiling(row, p) for p in providers)
            alternate(ours, theirs, 1)
        else:
            one = row.derivative == "gradient" and len(row.shape) == 2
            warm = 2.0 if one and row.competitor == "torch.linalg" else 0.0
            calls = (_call(row, p) for p in providers)
            ours, theirs = (seconds(call, warm) for call in calls)
        pause = PAUSE if COMPETITORS[row.competitor][1] == "scipy" else 0.0
        return Result(row, alternate(ours, theirs, rounds, pause))


# the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``loewner bench``."""
    parser.add_argument("--quick", action="store_true", help="a few small rows, and fewer rounds")
    parser.add_argument(
        "--group",
        action="extend",
        nargs="+",
        choices=GROUPS,
        metavar="NAME",
        help=f"of {', '.join(GROUPS)}; by default, all",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help=f"at least {ROUNDS}, the default; with --quick {QUICK}",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help=f"a folder for {FILE}, where other groups stay as they are, and for pictures; "
        f"by default one of the processor in {FOLDER}, with --quick none",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, print a table of each group, and write the results."""
    least = QUICK if args.quick else ROUNDS
    rounds = least if args.rounds is None else args.rounds
    if rounds < least:
        raise ValueError(f"--rounds: {least} at least are needed, not {rounds}")
    about = environment()
    folder = args.output or (None if args.quick else FOLDER / _slug(about["processor"]))
    if folder:
        _needed("matplotlib")
        folder.mkdir(parents=True, exist_ok=True)
    print("\n".join(f"{k}: {v}" for k, v in about.items()))
    print("Medians of loewner and of a competitor, by turns. ratio: competitor / loewner,")
    print("median and quartiles; above 1, loewner needs less. gradient: with the value.")
    for name in dict.fromkeys(args.group or GROUPS):
        chosen = [row for row in GROUPS[name].rows(args.quick) if _is_there(row)]
        results = [measure(row, rounds) for row in _counted(chosen)]
        if results:
            print(f"\n{name}: {GROUPS[name].text}, {GROUPS[name].unit}")
            for competitor in dict.fromkeys(r.row.competitor for r in results):
                _print(table([r for r in results if r.row.competitor == competitor]))
            if folder:
                _save(folder, name, results, about)


def _is_there(row: Row) -> bool:
    return all(importlib.util.find_spec(x) is not None for x in COMPETITORS[row.competitor])


def _counted(chosen: Sequence[Row]) -> Iterator[Row]:
    """The same, with a counter on a terminal."""
    shown = sys.stderr.isatty()
    for i, row in enumerate(chosen, 1):
        if shown:
            text = f"\r{row.group}: {i} of {len(chosen)}"
            print(text, end="\033[K", file=sys.stderr, flush=True)
        yield row
    if shown:
        print("\r\033[K", end="", file=sys.stderr)


def environment() -> dict[str, str]:
    """Date, processor, threads, what else the machine does, and versions.

    Returns
    -------
    dict
    """
    packages = ["loewner", "numpy", "scipy", "jax", "jaxlib", "torch", "numba"]
    versions = {"Python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = [f"{cores} processors to be used"]
    if "torch" in versions:
        threads.append(f"PyTorch {_needed('torch').get_num_threads()}")
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS"]
    names += ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"]
    threads += [f"{x}={os.environ[x]}" for x in names if x in os.environ]
    # threads that wait for each other take many times longer on a machine that is not idle
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": _processor(),
        "threads": ", ".join(threads),
        "load before": load,
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _slug(name: str) -> str:
    """The name of a processor as that of a folder: "intel-xeon-processor"."""
    return "-".join(re.findall(r"[a-z0-9]+", re.sub(r"\((r|tm)\)", " ", name.lower())))


def _short(x: float, digits: int = 3) -> str:
    return f"{x:.0f}" if x >= 10 ** (digits - 1) else f"{x:#.{digits}g}"


def table(results: Sequence[Result]) -> list[list[str]]:
    """The names of the columns, then a row of text for each result.

    Parameters
    ----------
    results : sequence of Result
        Against one competitor.

    Returns
    -------
    list of list of str
    """
    head = ["", "shape", "", "", "loewner", results[0].row.competitor, "ratio", "quartiles"]
    return [head] + [
        [
            *r.row.case,
            _short(r.ours.median),
            _short(r.theirs.median),
            _short(r.ratio.median),
            f"{_short(r.ratio.lower, 2)}-{_short(r.ratio.upper, 2)}",
        ]
        for r in results
    ]


def _print(lines: list[list[str]]) -> None:
    if importlib.util.find_spec("rich") is None:
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = [*map(str.ljust, line[:4], widths), *map(str.rjust, line[4:], widths[4:])]
            print("  ".join(cells).rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(lines[0]):
        drawn.add_column(name, justify="left" if i < 4 else "right", no_wrap=True)
    for line in lines[1:]:
        style = "bold green" if float(line[6]) > 1 else "bold red"
        drawn.add_row(*(Text(x, style=style if i == 6 else "") for i, x in enumerate(line)))
    Console(highlight=False).print(drawn)


def _save(folder: Path, name: str, results: Sequence[Result], about: dict[str, str]) -> None:
    """Put a group into the file of all groups, and draw it."""
    file = folder / FILE
    kept = json.loads(file.read_text()) if file.exists() else {}
    kept[name] = {**about, "rows": [r.as_dict() for r in results]}
    groups = [_written(x, kept[x]) for x in GROUPS if x in kept]
    file.write_text("{\n" + ",\n".join(groups) + "\n}\n")
    draw(name, results, about).savefig(folder / f"{name}.png", dpi=120)


def _written(name: str, group: dict[str, Any]) -> str:
    """JSON with a line for each row, so that a change of one is a line of a diff."""
    head = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in group.items() if k != "rows"]
    lines = ",\n".join(f"  {json.dumps(row)}" for row in group["rows"])
    return f"{json.dumps(name)}: {{\n" + ",\n".join([*head, f' "rows": [\n{lines}\n ]']) + "\n}"


_FAST, _SLOW = "#2b6ca3", "#c4572e"


def draw(name: str, results: Sequence[Result], about: dict[str, str]) -> Any:
    """Bars of the ratios of a group, a column for each competitor.

    Parameters
    ----------
    name : str
        The name of the group.
    results : sequence of Result
    about : dict
        What `environment` returned.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    group = GROUPS[name]
    cases = list(dict.fromkeys(r.row.case for r in results))
    columns = list(dict.fromkeys(r.row.competitor for r in results))
    figure = Figure(
        figsize=(2.6 + 3.6 * max(len(columns), 2), 1.7 + 0.24 * len(cases)), layout="constrained"
    )
    panels = figure.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        chosen = [r for r in results if r.row.competitor == column]
        _bars(panel, [cases.index(r.row.case) for r in chosen], chosen)
        panel.set_title(f"against {column}", fontsize=10)
    labels = ["  ".join(x for x in case if x != "f64") for case in cases]
    panels[0].set_yticks(range(len(cases)), labels, fontsize=8)
    panels[0].set_ylim(len(cases) - 0.4, -0.6)
    for panel, y in itertools.product(panels, range(1, len(cases))):
        if cases[y][0] != cases[y - 1][0]:
            panel.axhline(y - 0.5, color="#bbbbbb", lw=0.8)
    least, most = min(r.ratio.lower for r in results), max(r.ratio.upper for r in results)
    least, most = min(least / 1.1, 0.8), max(most, 1.25)
    # the text beyond the longest bar takes less than half of the width
    panels[0].set_xlim(least, most * (most / least) ** 0.85)
    panels[0].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if most / least < 30 else (1,)))
    panels[0].xaxis.set_major_formatter("{x:g}")
    panels[0].xaxis.set_minor_formatter("")
    figure.suptitle(
        f"{group.text}\n"
        "bars: competitor / loewner; above 1, loewner needs less; lines: quartiles\n"
        f"text: ratio (loewner | competitor, {group.unit})",
        fontsize=10,
    )
    *machine, versions = (f"{k}: {v}" for k, v in about.items())
    figure.supxlabel("; ".join(machine) + "\n" + versions, fontsize=7, color="#555555")
    return figure


def _bars(panel: Any, places: list[int], results: Sequence[Result]) -> None:
    """Bars from 1 to the ratio, with quartiles, and the medians as text."""
    for y, r in zip(places, results, strict=True):
        ratio = r.ratio
        color = _FAST if ratio.median >= 1 else _SLOW
        panel.barh(y, ratio.median - 1, left=1, height=0.7, color=color, zorder=2)
        panel.plot([ratio.lower, ratio.upper], [y, y], color="black", lw=1, zorder=3)
        text = f"{_short(ratio.median)}  ({_short(r.ours.median)} | {_short(r.theirs.median)})"
        panel.annotate(
            text,
            (max(ratio.upper, 1.0), y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    panel.set_xscale("log")
    panel.axvline(1, color="black", lw=1, zorder=4)
    panel.grid(axis="x", color="#dddddd", lw=0.6, zorder=0)
    panel.tick_params(axis="y", length=0)
    panel.tick_params(axis="x", labelsize=8)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
