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


def single(a):
    return a.astype(np.complex64 if np.iscomplexobj(a) else np.float32)


@pytest.mark.parametrize("field", ["real", pytest.param("complex", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("function", "shape", "kind"), FUNCTIONS)
@pytest.mark.parametrize(
    ("cast", "unit"),
    # powers of two, so that the scaled matrix repeats its values as exactly
    [(np.asarray, 2.0**-830), (np.asarray, 2.0**830), (single, 2.0**-100), (single, 2.0**100)],
    ids=["double-1e-250", "double-1e250", "single-1e-30", "single-1e30"],
)
def test_scaling_the_matrix_scales_the_gradient(field, function, shape, kind, cast, unit):
    case = Case(function, field, shape, kind)
    eps = np.finfo(cast(np.zeros(1)).dtype).eps
    a = tuple(cast(x) for x in case.matrices())
    e = tuple(cast(x) for x in case.directions(1)[0])
    units = (unit, *(1.0,) * (len(a) - 1))
    scaled_a, scaled_e = (
        tuple(x * cast(np.float64(c)) for x, c in zip(y, units, strict=True)) for y in (a, e)
    )
    for fw in FRAMEWORKS:
        chosen = _in_single(fw) if cast is single else fw
        plain = fw.grad(loss(case, lw, chosen), a)
        scaled_loss = loss(case, lw, chosen, unit)
        for g, h, c, x in zip(fw.grad(scaled_loss, scaled_a), plain, units, a, strict=True):
            assert g.dtype == x.dtype, fw.name
            g = np.asarray(g, np.complex128) * c
            assert np.abs(g - h).max() <= 300 * eps * np.abs(h).max(), fw.name
        along = fw.jvp(scaled_loss, scaled_a, scaled_e)
        assert abs(along - inner(plain, e)) <= 1000 * eps * max(1.0, abs(along)), fw.name


def _in_single(fw):
    """The framework with constants in single precision."""

    class Single(type(fw)):
        array = staticmethod(lambda x: fw.array(single(x)))

    return Single()


@pytest.mark.parametrize("power", [-1000, -990, -700, -460, 460, 700, 990, 1020])
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
