"""A -> cA changes no relative error, from the smallest to the largest numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bench import FRAMEWORKS, inner
from cases import Case, loss

import loewner as lw

FUNCTIONS = [
    ("svd", "tall", "distinct"),
    ("svd", "square", "triple"),
    ("svd-thin", "wide", "deficient"),
    ("eigh", "square", "triple"),
    ("eigh-ab", "square", "repeated"),
    ("eig", "square", "distinct"),
]


class Scaled(Case):
    """A case whose loss measures values in units of c."""

    @property
    def scale(self):
        return super().scale * UNIT[0]


UNIT = [1.0]


def single(a):
    return a.astype(np.complex64 if np.iscomplexobj(a) else np.float32)


@pytest.mark.parametrize("fw", FRAMEWORKS, ids=lambda f: f.name)
@pytest.mark.parametrize("field", ["real", "complex"])
@pytest.mark.parametrize(("function", "shape", "kind"), FUNCTIONS)
@pytest.mark.parametrize(
    ("precision", "unit"),
    [("double", 1e-250), ("double", 1e250), ("single", 1e-30), ("single", 1e30)],
)
def test_scaling_the_matrix_scales_the_gradient(
    fw, field, function, shape, kind, precision, unit, monkeypatch
):
    # a power of two, so that the scaled matrix repeats its values as exactly
    unit = 2.0 ** np.round(np.log2(unit))
    case = Scaled(function, field, shape, kind)
    a, (e,) = case.matrices(), case.directions(1)
    cast = single if precision == "single" else np.asarray
    factors = [unit, *[1.0] * (len(a) - 1)]
    plain = fw.grad(loss(case, lw, _in_single(fw, precision)), tuple(map(cast, a)))
    monkeypatch.setitem(UNIT, 0, unit)
    scaled_a = tuple(cast(x) * cast(np.float64(c)) for x, c in zip(a, factors, strict=True))
    assert all(x.dtype == cast(y).dtype for x, y in zip(scaled_a, a, strict=True))
    scaled = fw.grad(loss(case, lw, _in_single(fw, precision)), scaled_a)
    eps = np.finfo(np.float32 if precision == "single" else np.float64).eps
    for g, h, c in zip(scaled, plain, factors, strict=True):
        assert g.dtype == h.dtype
        g = np.asarray(g, np.complex128) * c
        assert np.abs(g - h).max() <= 300 * eps * np.abs(h).max() + 1e-300
    along = fw.jvp(
        loss(case, lw, _in_single(fw, precision)),
        scaled_a,
        tuple(cast(x) * cast(np.float64(c)) for x, c in zip(e, factors, strict=True)),
    )
    assert abs(along - inner(plain, e)) <= 3000 * eps * max(1.0, abs(along))


def _in_single(fw, precision):
    """The framework with constants of the precision of the matrices."""
    if precision == "double":
        return fw

    class Single(type(fw)):
        array = staticmethod(lambda x: fw.array(single(x)))

    return Single()


@pytest.mark.parametrize("power", [-1020, -990, -700, -460, 460, 700, 990, 1020])
def test_eig_is_scaled_by_a_power_of_two_around_the_solver(power):
    a = np.random.default_rng(0).standard_normal((5, 5))
    expected = lw.eigvals(a)
    unit = 2.0**power
    for values in (
        lw.eigvals(a * unit),
        lw.jvp(lw.eigvals, (a * unit,), (a,))[0],  # by the solver with left eigenvectors
        np.asarray(jax.jit(lw.eigvals)(jnp.asarray(a * unit))),
        np.asarray(jax.jvp(lw.eigvals, (jnp.asarray(a * unit),), (jnp.asarray(a),))[0]),
        lw.eigvals(torch.as_tensor(a * unit)).numpy(),
        lw.eigvals(torch.as_tensor(a * unit).requires_grad_()).detach().numpy(),
    ):
        distance = np.abs(values[:, None] / unit - expected[None, :]).min(axis=1)
        assert distance.max() < 1e-13


def test_eig_of_a_stack_scales_each_matrix_by_itself():
    a = np.random.default_rng(0).standard_normal((3, 3))
    stack = np.stack([a * 1e-200, a, a * 1e200, 0 * a])
    w = lw.jvp(lw.eigvals, (stack,), (stack,))[0]
    assert np.abs(w[0] * 1e200 - w[1]).max() < 1e-13
    assert np.abs(w[2] / 1e200 - w[1]).max() < 1e-13
    assert (w[3] == 0).all()
