"""How the rules are built: their vocabulary, their adjointness, and what they import."""

import ast
import pathlib
from typing import cast

import array_api_strict as strict
import numpy as np
import pytest
from cases import CASES, Case

from loewner import rules
from loewner.frameworks.arrays import NUMPY
from loewner.rules.rule import VOCABULARY, Solve, Solvers

SOURCE = pathlib.Path(rules.__file__).parent


class Vocabulary:
    """array_api_strict, reduced to the words that rules may use."""

    def __init__(self, namespace=strict, prefix=""):
        self._namespace, self._prefix = namespace, prefix

    def __getattr__(self, name):
        if self._prefix + name == "linalg":
            return Vocabulary(strict.linalg, "linalg.")
        assert self._prefix + name in VOCABULARY, f"{self._prefix}{name} is not in the vocabulary"
        return getattr(self._namespace, name)


class StrictOps:
    """`Ops` on strict arrays: solutions without derivatives."""

    xp = Vocabulary()

    def constant(self, x):
        return x

    def solve(self, equation, masks, coefficients, rhs, adjoint=False):
        rule = Solve(equation, len(masks), len(coefficients), adjoint)
        inputs = (*masks, *coefficients, *rhs)
        found = rule.evaluate(cast(Solvers, self), inputs)  # of which it reads xp only
        if not getattr(self, "inside", False):
            # the derivatives of the solution are made of the same words
            self.inside = True
            rule.jvp(self, inputs, found, (*(None for _ in masks), *coefficients, *rhs))
            rule.vjp(self, inputs, found, found, (True,) * len(inputs))
            self.inside = False
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


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_rules_say_nothing_outside_the_vocabulary(case):
    rule, rng = rule_of(case), np.random.default_rng(0)
    outputs = NUMPY.call(rule, *tall(case, case.matrices()))
    tangents = tall(case, case.directions(1)[0])
    cotangents = [gaussian_like(rng, x) for x in outputs]

    def convert(xs):
        return tuple(strict.asarray(x) for x in xs)

    ops = StrictOps()
    moved = rule.jvp(ops, (), convert(outputs), convert(tangents))
    back = rule.vjp(ops, (), convert(outputs), convert(cotangents), (True,) * len(tangents))
    for x, y in zip(moved, rule.jvp(NUMPY, (), outputs, tangents), strict=True):
        assert np.array_equal(np.asarray(x), y)
    wanted = (True,) * len(tangents)
    for x, y in zip(back, rule.vjp(NUMPY, (), outputs, cotangents, wanted), strict=True):
        assert np.array_equal(np.asarray(x), y)


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


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda p: p.stem)
def test_rules_import_no_framework(path):
    allowed = {"__future__", "abc", "collections.abc", "dataclasses", "typing"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {a.name for a in node.names} <= allowed
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or node.module in allowed


def test_frameworks_name_no_decomposition_in_what_they_learn():
    # a rule is a rule: adding one touches no framework file
    for path in (SOURCE.parent / "frameworks").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and "rules" in node.module:
                assert node.module in ("rules.rule", "rules.pieces"), path
