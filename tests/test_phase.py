"""fix_phase: vectors as functions of the matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import loewner as lw

RNG = np.random.default_rng(3)
A = RNG.standard_normal((5, 3)) + 1j * RNG.standard_normal((5, 3))
E = RNG.standard_normal((5, 3)) + 1j * RNG.standard_normal((5, 3))
SQUARE, ESQUARE = A[:3] + np.diag([1, 2, 3]), E[:3]
H, EH = SQUARE + SQUARE.conj().T, ESQUARE + ESQUARE.conj().T

FUNCTIONS = {
    "svd": (lambda a: lw.fix_phase(lw.svd(a, full_matrices=False)), A, E),
    "svd-wide": (lambda a: lw.fix_phase(lw.svd(a, full_matrices=False), rows=[0, 1, 0]), A.T, E.T),
    "eigh": (lambda a: lw.fix_phase(lw.eigh(a), rows=0), H, EH),
    "eig": (lambda a: lw.fix_phase(lw.eig(a, left=True), rows=-1), SQUARE, ESQUARE),
    "eig-largest": (lambda a: lw.fix_phase(lw.eig(a)), SQUARE, ESQUARE),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_derivative_is_that_of_the_function_by_finite_differences(name):
    f, a, e = FUNCTIONS[name]
    out, moved = lw.jvp(f, (a,), (e,))
    h = 1e-3
    stencil = {-3: -1 / 60, -2: 3 / 20, -1: -3 / 4, 1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
    values = {k: f(a + k * h * e) for k in stencil}
    for i, tangent in enumerate(moved):
        difference = sum(c * values[k][i] for k, c in stencil.items()) / h
        assert np.abs(tangent - difference).max() < 1e-8 * np.abs(tangent).max()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mixed_second_derivatives_commute_as_those_of_a_function_do(name):
    f, a, e = FUNCTIONS[name]
    d = e[::-1] @ np.diag([1, 2, 1j]) if a.shape[1] == 3 else e[:, ::-1]
    if name == "eigh":
        d = d + d.conj().T

    def second(e, d):
        return lw.jvp(lambda a: tuple(lw.jvp(f, (a,), (e,))[1]), (a,), (d,))[1]

    for x, y in zip(second(e, d), second(d, e), strict=True):
        assert np.abs(x - y).max() < 1e-11 * np.abs(x).max()


def test_the_chosen_component_is_real_and_positive_and_nothing_else_changes():
    u, s, vh = lw.svd(A)
    fixed = lw.fix_phase(lw.svd(A))
    assert np.abs(fixed.U[:, :3] * s @ fixed.Vh - A).max() < 1e-14
    assert np.array_equal(fixed.U[:, 3:], u[:, 3:])
    largest = fixed.U[np.abs(fixed.U[:, :3]).argmax(axis=0), range(3)]
    assert np.abs(largest.imag).max() < 1e-16
    assert (largest.real > 0).all()
    w, v = lw.fix_phase(lw.eigh(H), rows=[0, 1, 2])
    assert (v.diagonal().real > 0).all()
    assert np.abs(v.diagonal().imag).max() < 1e-16
    x = lw.fix_phase(np.array([[1.0, -3.0], [-2.0, 1.0]]))
    assert np.array_equal(x, [[-1, 3], [2, -1]])


def test_left_eigenvectors_turn_with_the_right_ones():
    w, v, y = lw.fix_phase(lw.eig(SQUARE, left=True))
    products = np.sum(y.conj() * v, axis=0)
    assert np.abs(products.imag).max() < 1e-15
    assert (products.real > 0).all()


def test_the_frameworks_agree():
    f, a, e = FUNCTIONS["svd"]
    expected = lw.jvp(f, (a,), (e,))[1]
    for x, y in zip(expected, jax.jit(lambda a, e: jax.jvp(f, (a,), (e,))[1])(a, e), strict=True):
        assert np.abs(x - y).max() < 1e-12
    moved = torch.func.jvp(f, (torch.as_tensor(a),), (torch.as_tensor(e),))[1]
    for x, y in zip(expected, moved, strict=True):
        assert np.abs(x - y.resolve_conj().numpy()).max() < 1e-12


def test_real_vectors_have_signs_and_batches_lead():
    a = RNG.standard_normal((2, 4, 4))
    w, v = lw.fix_phase(lw.eigh(a))
    for x in v:
        assert (x[np.abs(x).argmax(axis=0), range(4)] > 0).all()


def test_a_vanishing_component_has_no_phase():
    assert np.isnan(lw.fix_phase(np.eye(2), rows=0)[:, 1]).all()
    with np.errstate(invalid="ignore"):
        assert np.isnan(lw.fix_phase(np.eye(2) + 0j, rows=0)[:, 1]).all()
    assert jnp.isnan(lw.fix_phase(jnp.eye(2), rows=0)[:, 1]).all()


@pytest.mark.parametrize("rows", [5, -6, [0, 1], 0.5, [[0, 0, 0]], "first"], ids=str)
def test_wrong_rows_are_refused(rows):
    with pytest.raises(ValueError, match="fix_phase: rows"):
        lw.fix_phase(A, rows=rows)
