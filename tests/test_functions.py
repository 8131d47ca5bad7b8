"""Derivatives of the functions of matrices against 50 digits, both modes, four frameworks."""

import pytest
from bench import FRAMEWORKS, inner
from functions import TRIALS, Trial

import loewner as lw


@pytest.mark.parametrize("trial", TRIALS, ids=str)
def test_first_and_second_derivatives_are_those_of_50_digits(trial: Trial):
    a = (trial.matrix(),)
    e, h = trial.directions()
    along, cross = trial.derivatives(2)
    for fw in FRAMEWORKS:
        f = trial.loss(lw, fw)
        bound = 1e-13 * max(1.0, abs(along))
        assert abs(fw.jvp(f, a, (e,)) - along) <= bound, fw.name
        assert abs(inner(fw.grad(f, a), (e,)) - along) <= bound, fw.name
        for composition, value in fw.seconds(f, a, (e,), (h,)).items():
            assert abs(value - cross) <= 2e-12 * max(1.0, abs(cross)), (fw.name, composition)
