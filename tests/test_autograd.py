"""Every transform of autograd (HIPS)."""

import autograd
import autograd.numpy as anp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bench import Autograd, Jax, Numpy, inner
from cases import Case, loss

import loewner as lw

FUNCTIONS = [
    pytest.param(Case("svd", "real", "tall", "repeated"), marks=pytest.mark.slow),
    Case("svd-thin", "real", "wide", "distinct"),
    Case("eigh", "real", "square", "triple"),
    pytest.param(Case("eig", "real", "square", "distinct"), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("case", FUNCTIONS, ids=str)
def test_hessian_is_that_of_jax(case):
    (a,) = case.matrices()
    found = autograd.hessian(loss(case, lw, Autograd()))(a)
    expected = np.asarray(jax.hessian(loss(case, lw, Jax()))(jnp.asarray(a)))
    assert np.abs(found - expected).max() <= 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize(
    "f",
    [
        lw.svdvals,
        lw.eigvalsh,
        lambda a: lw.eigvalsh(a, 3 * np.eye(4)),
        lambda a: lw.fix_phase(lw.svd(a)).U,
        lambda a: lw.fix_phase(lw.eigh(a)).eigenvectors,
        lambda a: anp.abs(lw.eig(a, left=True).left_eigenvectors),
        lambda a: anp.real(lw.eigvals(a)),
    ],
)
def test_jacobian_and_make_jvp_agree_with_numpy(f):
    a, e = np.random.default_rng(0).standard_normal((2, 4, 4))
    expected = lw.jvp(f, (a,), (e,))[1] if "anp" not in f.__code__.co_names else None
    along = autograd.make_jvp(f)(a)(e)[1]
    jacobian = autograd.jacobian(f)(a)
    assert np.abs(np.tensordot(jacobian, e, 2) - along).max() <= 1e-12 * np.abs(along).max()
    if expected is not None:
        assert np.abs(along - expected).max() <= 1e-13 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["distinct", "repeated"])
def test_complex_gradients_are_the_conjugates_of_those_of_numpy(kind):
    case = Case("eigh-ab", "complex", "square", kind)
    a = case.matrices()
    conjugate = autograd.grad(lambda p: loss(case, lw, Autograd())(p[0], p[1]))(a)
    expected = Numpy().grad(loss(case, lw, Numpy()), a)
    (e,) = case.directions(1)
    assert abs(inner([np.conj(g) for g in conjugate], e) - inner(expected, e)) < 1e-11
