"""How the rules are built: their vocabulary, their adjointness, and what they import."""

import ast
import itertools
import pathlib
import sys
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
from cases import CASES, Case

from loewner import rules
from loewner.frameworks.arrays import NUMPY, ArrayLibrary
from loewner.frameworks.numpy import StandardSolvers
from loewner.frameworks.torch import FRAMEWORK as TORCH
from loewner.rules.frechet import Exp, Frechet
from loewner.rules.operator_integral import DataGradient, OperatorIntegral
from loewner.rules.rule import QUICKER, VOCABULARY, Solve
from loewner.rules.sums import AbsolutePower, Largest
from loewner.rules.symbols import Cut, Jet, Log, Monomial

SOURCE = pathlib.Path(rules.__file__).parent


class Vocabulary:
    """array_api_strict, reduced to the words that rules may use."""

    def __init__(self, namespace=strict, prefix=""):
        self._namespace, self._prefix = namespace, prefix

    def __getattr__(self, name):
        if name in QUICKER:
            raise AttributeError(name)  # words alone
        if self._prefix + name == "linalg":
            return Vocabulary(strict.linalg, "linalg.")
        assert self._prefix + name in VOCABULARY, f"{self._prefix}{name} is not in the vocabulary"
        return getattr(self._namespace, name)


class StrictSolvers(StandardSolvers):
    """Solvers of strict arrays; what rules compute as values may use any word."""

    def __init__(self):
        super().__init__(strict)


class StrictOps:
    """`Ops` on strict arrays: rules whose derivatives are tried, and thrown away."""

    xp = Vocabulary()

    def constant(self, x):
        return x

    def __init__(self, depth: int = 1, peeking: bool = False):
        self.depth = depth
        self.peeking = peeking

    def rules_out(self, test, *arrays):
        return False

    def listed(self, x):
        return None

    def number(self, x):
        return None

    def norm(self, x):
        return None

    def apart(self, w, size, origin=False):
        return self.peeking and NUMPY.apart(np.asarray(w), size, origin)

    def diagonal(self, w):
        return strict.asarray(NUMPY.diagonal(w))

    def solve(self, equation, masks, coefficients, rhs, adjoint=False):
        rule = Solve(equation, len(masks), len(coefficients), adjoint)
        return self.call(rule, *masks, *coefficients, *rhs)

    def call(self, rule, *inputs):
        found = tuple(rule.evaluate(StrictSolvers(), inputs))
        if self.depth:
            # the derivatives of the rule are made of the same words
            below = StrictOps(self.depth - 1, self.peeking)
            masks = rule.masks if isinstance(rule, Solve) else 0
            rule.jvp(below, inputs, found, (*(None for _ in range(masks)), *inputs[masks:]))
            rule.vjp(below, inputs, found, found, (True,) * len(inputs))
        return found


def rule_of(case: Case):
    return {
        "svd": lambda: rules.Svd(full=True, wide=case.shape == "wide"),
        "svd-thin": lambda: rules.Svd(wide=case.shape == "wide"),
        "eigh": rules.Eigh,
        "eigh-ab": rules.GeneralizedEigh,
        "eig": lambda: rules.Eig(real=case.field == "real"),
    }[case.function]()


def tall(case, a):
    return tuple(x.conj().T if case.shape == "wide" else x for x in a)


def gaussian_like(rng, x):
    y = rng.standard_normal(x.shape)
    return y + 1j * rng.standard_normal(x.shape) if np.iscomplexobj(x) else y


SMALL = [c for c in CASES if c.kind in ("distinct", "repeated", "deficient")]


class Unseen(ArrayLibrary):
    """NumPy, as if values could not be looked at."""

    def peek(self, x):
        return None


@pytest.mark.parametrize("peeking", [False, True], ids=["unseen", "seen"])
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_rules_say_nothing_outside_the_vocabulary(case, peeking):
    rule, rng = rule_of(case), np.random.default_rng(0)
    outputs = NUMPY.call(rule, *tall(case, case.matrices()))
    tangents = tall(case, case.directions(1)[0])
    cotangents = [gaussian_like(rng, x) for x in outputs]

    def convert(xs):
        return tuple(strict.asarray(x) for x in xs)

    ops = StrictOps(peeking=peeking)
    plain = NUMPY if peeking else Unseen(NUMPY.base)
    moved = rule.jvp(ops, (), convert(outputs), convert(tangents))
    back = rule.vjp(ops, (), convert(outputs), convert(cotangents), (True,) * len(tangents))
    for x, y in zip(moved, rule.jvp(plain, (), outputs, tangents), strict=True):
        assert np.array_equal(np.asarray(x), y)
    wanted = (True,) * len(tangents)
    for x, y in zip(back, rule.vjp(plain, (), outputs, cotangents, wanted), strict=True):
        assert np.array_equal(np.asarray(x), y)


@pytest.mark.parametrize(
    "case", [c for c in SMALL if c.function not in ("eig", "eigh-ab")], ids=str
)
def test_the_gradient_is_the_same_whether_values_are_seen_or_not(case):
    rule, rng, unseen = rule_of(case), np.random.default_rng(0), Unseen(NUMPY.base)
    outputs = NUMPY.call(rule, *tall(case, case.matrices()))
    g = [gaussian_like(rng, x) for x in outputs]
    wanted = (True,) * len(case.matrices())
    for present in itertools.product([False, True], repeat=len(g)):
        if not any(present):
            continue
        given = tuple(x if p else None for x, p in zip(g, present, strict=True))
        seen = rule.vjp(NUMPY, (), outputs, given, wanted)
        for x, y in zip(seen, rule.vjp(unseen, (), outputs, given, wanted), strict=True):
            assert x is y is None or np.linalg.norm(x - y) <= 1e-13 * np.linalg.norm(y)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_a_reverse_pass_of_plain_arrays_is_the_same_and_overwrites_nothing_it_is_given(
    case, library
):
    framework = {"numpy": NUMPY, "torch": TORCH}[library]
    rule, rng = rule_of(case), np.random.default_rng(0)
    outputs = NUMPY.call(rule, *tall(case, case.matrices()))
    g = [gaussian_like(rng, x) for x in outputs]
    wanted = (True,) * len(case.matrices())

    def chosen(arrays, present):
        return tuple(x if p else None for x, p in zip(arrays, present, strict=True))

    for present in itertools.product([False, True], repeat=len(g)):
        if not any(present[:3]):  # the others are constants, or parts of cores
            continue
        kept, seen = ([framework.asarray(x.copy()) for x in group] for group in (outputs, g))
        given = chosen(seen, present)
        assert framework.ops(rule, *kept, *given) is not framework
        found = framework.pull(rule, (), tuple(kept), given, wanted)
        for x, y in zip((*kept, *seen), (*outputs, *g), strict=True):
            assert np.array_equal(np.asarray(x), y)
        right = rule.vjp(NUMPY, (), outputs, chosen(g, present), wanted)
        for x, y in zip(found, right, strict=True):
            assert x is y is None or np.linalg.norm(np.asarray(x) - y) <= 1e-13 * np.linalg.norm(y)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_and_reverse_are_adjoint_for_every_cotangent_of_every_output(case):
    if case.kind in ("huge", "tiny"):
        pytest.skip("covered at unit scale; the scale has a test of its own")
    rule, rng = rule_of(case), np.random.default_rng(1)
    outputs = NUMPY.call(rule, *tall(case, case.matrices()))
    tangents = tall(case, case.directions(1)[0])
    cotangents = tuple(gaussian_like(rng, x) for x in outputs)
    moved = rule.jvp(NUMPY, (), outputs, tangents)
    back = rule.vjp(NUMPY, (), outputs, cotangents, (True,) * len(tangents))
    forward = sum(np.vdot(g, x).real for g, x in zip(cotangents, moved, strict=True))
    reverse = sum(np.vdot(g, e).real for g, e in zip(back, tangents, strict=True))
    size = sum(
        np.linalg.norm(g) * np.linalg.norm(x) for g, x in zip(cotangents, moved, strict=True)
    )
    assert abs(forward - reverse) <= 1e-13 * size


def positive(rng, z):
    x = rng.standard_normal((4, 4)) + (1j * rng.standard_normal((4, 4)) if z else 0)
    return x @ x.conj().T + np.eye(4)


def matrix(rng, z, m=5):
    return rng.standard_normal((m, 4)) + (1j * rng.standard_normal((m, 4)) if z else 0)


def data(rng, d, n):
    """One function: the same where points coincide."""
    x = rng.standard_normal((d, n))
    x[:, 2] = x[:, 1]
    return x


def reach(n):
    return np.full((1, n), 1e-3)


def core(rng, z):
    """Hermitian and diagonal in value."""
    return np.diag(np.array([1.0, 2.0, 2.0, 3.0])).astype(complex if z else float)


def unitary(rng, z, m=4):
    return np.linalg.qr(matrix(rng, z, m))[0]


def singular_core(rng, z):
    u, v = unitary(rng, z, 5), unitary(rng, z)
    return u, v, core(rng, z), np.zeros((5, 4), complex if z else float)


def with_rest(rng, z):
    """B and two matrices E, each in three parts."""
    b = (core(rng, z), np.zeros((5, 4), complex if z else float))
    e = [(matrix(rng, z, 4), matrix(rng, z), matrix(rng, z).T) for _ in range(2)]
    return (*b, b[1].T), e


RULES = {
    "hermitian frame": lambda rng, z: (rules.HermitianFrame(), (positive(rng, z),)),
    "hermitian function": lambda rng, z: (
        rules.HermitianFunction(Log()),
        (unitary(rng, z), core(rng, z)),
    ),
    "hermitian function of data": lambda rng, z: (
        rules.HermitianFunction(Jet()),
        (unitary(rng, z), core(rng, z), data(rng, 5, 4), reach(4)),
    ),
    "operator integral 1": lambda rng, z: (
        OperatorIntegral(Log(), 1),
        (core(rng, z), matrix(rng, z, 4)),
    ),
    "operator integral 2 with a rest": lambda rng, z: (
        OperatorIntegral(Jet(), 2, rest=True),
        (*(pair := with_rest(rng, z))[0], data(rng, 5, 5), reach(5), *pair[1][0], *pair[1][1]),
    ),
    "data gradient 1 with a rest": lambda rng, z: (
        DataGradient(Jet(), 1, rest=True),
        (*(pair := with_rest(rng, z))[0], data(rng, 5, 5), reach(5), *pair[1][0], *pair[1][1]),
    ),
    "singular frame": lambda rng, z: (rules.SingularFrame(), (matrix(rng, z),)),
    "singular function": lambda rng, z: (
        rules.SingularFunction(Cut(Monomial(1))),
        (*singular_core(rng, z), np.array([[0, 1, 1, 1, 0, 1, 1, 1, 0.0]])),
    ),
    "polar": lambda rng, z: (rules.Polar(), (matrix(rng, z),)),
    "rotation": lambda rng, z: (rules.Polar(rotation=not z), (matrix(rng, z, 4),)),
    "cholesky": lambda rng, z: (rules.Cholesky(), (positive(rng, z),)),
    "sum of the largest": lambda rng, z: (
        rules.WeightedSum(rules.HermitianFrame(), Largest(2, singular=False)),
        (positive(rng, z),),
    ),
    "sum of powers": lambda rng, z: (
        rules.WeightedSum(rules.SingularFrame(), AbsolutePower(3.0), 3.0),
        (matrix(rng, z),),
    ),
    "frechet derivative": lambda rng, z: (
        Frechet(Exp()),
        (matrix(rng, z, 4), matrix(rng, z, 4), matrix(rng, z, 4)),
    ),
}


@pytest.mark.parametrize("z", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("name", RULES)
def test_rules_of_functions_say_nothing_outside_the_vocabulary_and_are_adjoint(name, z):
    rng = np.random.default_rng(0)
    rule, inputs = RULES[name](rng, z)
    outputs = NUMPY.call(rule, *inputs)
    hermitian = name in ("hermitian frame", "cholesky", "sum of the largest")
    frames = 1 if name.startswith("hermitian function") else 2 if name == "singular function" else 0
    labels = len(inputs) - 1 if name == "singular function" else None
    tangents: list[Any] = []
    for i, x in enumerate(inputs):
        t = gaussian_like(rng, x)
        core_of = name.startswith(("operator", "data")) and x.shape == (4, 4) and i == 0
        if hermitian or core_of or (name.startswith("hermitian function") and i == 1):
            t = (t + t.conj().T) / 2
        tangents.append(None if i < frames or i == labels else t)
    if name.startswith("data"):
        tangents[3] = None  # only its shape counts
    tangents = [None if x.shape[0] == 1 else t for x, t in zip(inputs, tangents, strict=True)]
    if "rest" in name:
        tangents[2] = tangents[1].conj().T  # B stays Hermitian
    cotangents = tuple(gaussian_like(rng, x) for x in outputs)
    if name.startswith("data"):
        cotangents[0][:, 2] = cotangents[0][:, 1]  # a function as well

    def convert(xs):
        return tuple(None if x is None else strict.asarray(x) for x in xs)

    wanted = tuple(t is not None for t in tangents)
    moved = rule.jvp(NUMPY, inputs, outputs, tuple(tangents))
    back = rule.vjp(NUMPY, inputs, outputs, cotangents, wanted)
    # derivatives of a second derivative with a rest take long here, and are of the same code
    if z and "with a rest" not in name:
        again = rule.jvp(StrictOps(), convert(inputs), convert(outputs), convert(tangents))
        for x, y in zip(again, moved, strict=True):
            assert np.allclose(np.asarray(x), y, rtol=1e-13, atol=1e-13)
        given = (convert(x) for x in (inputs, outputs, cotangents))
        again = rule.vjp(StrictOps(), *given, wanted)
        for x, y, w in zip(again, back, wanted, strict=True):
            assert not w or np.allclose(np.asarray(x), y, rtol=1e-13, atol=1e-13)

    forward = sum(np.vdot(g, x).real for g, x in zip(cotangents, moved, strict=True))
    reverse = sum(np.vdot(g, t).real for g, t in zip(back, tangents, strict=True) if t is not None)
    size = sum(
        np.linalg.norm(g) * np.linalg.norm(x) for g, x in zip(cotangents, moved, strict=True)
    )
    assert abs(forward - reverse) <= 1e-13 * size
    for x, g in zip(inputs, back, strict=True):
        assert g is None or (g.shape == x.shape and g.dtype == x.dtype)


KERNELS = SOURCE.parent / "kernels"
MEMORY = {"native", "lanes", "householder", "dqds", "rows", "product", "replay", "xla"}
"""The kernels that work on the numbers of arrays."""


@pytest.mark.parametrize(
    "path", sorted([*SOURCE.glob("*.py"), *KERNELS.glob("*.py")]), ids=lambda p: p.stem
)
def test_rules_and_kernels_import_no_framework(path):
    allowed = {*sys.stdlib_module_names, "collections.abc"}
    if path.stem in MEMORY:
        allowed |= {"llvmlite", "llvmlite.binding", "numba", "numba.extending", "numpy"}
    if path.stem == "team":
        allowed |= {"concurrent.futures"}
    if path.stem == "tape":  # which orders numbers of rows
        allowed |= {"numpy"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {a.name for a in node.names} <= allowed
        if isinstance(node, ast.ImportFrom):
            other = {"kernels.decomposition", "rules.rule", "rules.pieces", "_optional"}
            assert node.level == 1 or node.module in allowed | other


def test_frameworks_name_no_decomposition_in_what_they_learn():
    # a rule is a rule: adding one touches no framework file
    for path in (SOURCE.parent / "frameworks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and "rules" in node.module:
                assert node.module in ("rules.rule", "rules.pieces"), path
