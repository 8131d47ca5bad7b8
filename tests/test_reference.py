"""First and second derivatives against 50 digits: every case, both modes, four frameworks."""

import numpy as np
import pytest
import reference
from bench import FRAMEWORKS, inner
from cases import CASES, Case, loss

import loewner as lw


@pytest.mark.parametrize("case", CASES, ids=str)
def test_first_derivatives_are_those_of_50_digits_in_both_modes(case: Case):
    a = case.matrices()
    e, h = case.directions(2)
    along_e, along_h, _, _ = reference.derivatives(case)
    size = max(abs(along_e), abs(along_h), 1e-3)
    for fw in FRAMEWORKS:
        f = loss(case, lw, fw)
        assert abs(fw.jvp(f, a, e) - along_e) <= case.tolerance * size, fw.name
        g = fw.grad(f, a)
        assert abs(inner(g, e) - along_e) <= case.tolerance * size, fw.name
        assert abs(inner(g, h) - along_h) <= case.tolerance * size, fw.name
        # adjoint to each other to rounding, not to the conditioning
        units = [case.argument_scale(i) for i in range(len(a))]
        scale = sum(
            np.linalg.norm(x * u) * np.linalg.norm(y / u)
            for x, y, u in zip(g, e, units, strict=True)
        )
        if case.kind not in ("near", "graded"):
            assert abs(fw.jvp(f, a, e) - inner(g, e)) <= 1e-13 * max(scale, 1e-3), fw.name


def nightly(case: Case) -> bool:
    """Where nothing repeats or vanishes, wide ones, and complex ones but for one kind of each."""
    if case.field == "complex":
        return (case.function, case.shape, case.kind) not in (
            ("svd", "tall", "repeated"),
            ("eigh", "square", "repeated"),
        )
    return case.shape == "wide" or case.kind in ("huge", "tiny", "graded", "distinct")


SECOND = [
    pytest.param(case, id=str(case), marks=[pytest.mark.slow] if nightly(case) else [])
    for case in CASES
]


@pytest.mark.parametrize("case", SECOND)
def test_second_derivatives_are_those_of_50_digits_in_every_composition_of_modes(case: Case):
    a = case.matrices()
    e, h = case.directions(2)
    _, _, e_e, e_h = reference.derivatives(case)
    size = max(abs(e_e), abs(e_h), 1e-3)
    for fw in FRAMEWORKS:
        f = loss(case, lw, fw)
        for composition, value in fw.seconds(f, a, e, h).items():
            error = abs(value - e_h)
            assert error <= case.second_order_tolerance * size, (fw.name, composition)
