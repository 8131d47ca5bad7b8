"""eig: ill-conditioned neighbours, norms, left eigenvectors, real input."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from bench import FRAMEWORKS

import loewner as lw


def beside_a_nearly_defective_triple(delta):
    """Eigenvalues 3 and 4, well-conditioned, beside a triple one split by delta^(1/3)."""
    rng = np.random.default_rng(0)
    a = np.zeros((5, 5))
    a[:3, :3] = np.eye(3) + np.eye(3, k=1)
    a[2, 0] = delta
    a[3, 3], a[4, 4] = 3.0, 4.0
    a[:3, 3:] = 0.3 * rng.standard_normal((3, 2))
    q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    return q @ a @ q.T


@pytest.mark.parametrize("delta", [1e-6, 1e-12, 1e-15])
def test_well_conditioned_eigenvalues_keep_their_accuracy_beside_a_nearly_defective_cluster(delta):
    a = beside_a_nearly_defective_triple(delta)
    with mp.workdps(60):
        w, left, right = mp.eig(mp.matrix(a.tolist()), left=True, right=True)
        top = max(range(5), key=lambda i: mp.re(w[i]))
        y, x = left[top, :], right[:, top]
        inner = mp.fsum(y[i] * x[i] for i in range(5))
        true = np.array([[float(mp.re(y[i] * x[j] / inner)) for j in range(5)] for i in range(5)])
    assert np.linalg.cond(np.linalg.eig(a)[1]) > 0.1 * delta ** (-2 / 3)
    for fw in FRAMEWORKS:

        def largest(a, fw=fw):
            w = lw.eigvals(a)
            return fw.real(w)[fw.argsort(fw.real(w))[-1]]

        (g,) = fw.grad(largest, (a,))
        assert np.abs(g - true).max() <= 2e-14 * np.abs(true).max(), fw.name
    theirs = jax.grad(lambda a: jnp.linalg.eigvals(a).real.max())(jnp.asarray(a))
    if delta == 1e-15:
        assert np.abs(theirs - true).max() > 1e-10 * np.abs(true).max()


def test_a_defective_eigenvalue_has_no_derivative_and_none_is_invented():
    a = np.eye(2) + np.eye(2, k=1)
    (g,) = lw.vjp(lambda a: np.real(lw.eigvals(a)[0]), a)[1](np.array(1.0))
    assert not (np.isfinite(g).all() and np.abs(g).max() < 1e10)


@pytest.mark.parametrize("z", [False, True], ids=["real", "complex"])
def test_left_and_right_eigenvectors_have_unit_norm_and_satisfy_their_equations(z):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2, 5, 5)) + (1j * rng.standard_normal((2, 5, 5)) if z else 0)
    w, v, y = lw.eig(a, left=True)
    assert np.abs(a @ v - v * w[..., None, :]).max() < 1e-13
    assert np.abs(y.conj().mT @ a - w[..., :, None] * y.conj().mT).max() < 1e-13
    assert np.abs(np.linalg.norm(v, axis=-2) - 1).max() < 1e-14
    assert np.abs(np.linalg.norm(y, axis=-2) - 1).max() < 1e-14
    products = np.sum(y.conj() * v, axis=-2)
    assert np.abs(products.imag).max() < 1e-14
    assert (products.real > 0).all()


def test_the_norm_of_the_vectors_is_constant_and_their_phase_does_not_turn():
    rng = np.random.default_rng(0)
    a, e = rng.standard_normal((2, 4, 4))
    (_, v), (_, dv) = lw.jvp(lw.eig, (a,), (e,))
    assert np.abs(np.sum(v.conj() * dv, axis=0)).max() < 1e-14


def test_a_real_matrix_has_a_real_gradient_also_through_conjugate_pairs():
    a = np.array([[0.0, 2.0], [-1.0, 0.0]])
    for fw in FRAMEWORKS:
        (g,) = fw.grad(lambda a, fw=fw: (fw.imag(lw.eigvals(a)) ** 2).sum(), (a,))
        assert g.dtype == np.float64
        # the sum of squares is 2 det A - (tr A)^2 / 2 here
        assert np.allclose(g, [[0, 2], [-4, 0]], atol=1e-14)


def test_eigenvectors_of_a_semisimple_repeat_are_dual_to_each_other():
    x = np.array([[1, 2, 0, 1], [0, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 1.0]])
    a = x @ np.diag([2.0, 2.0, 2.0, -1.0]) @ np.linalg.inv(x)
    _, v, y = lw.eig(a, left=True)
    p = y.conj().T @ v
    assert np.abs(p - np.diag(np.diag(p))).max() < 1e-12
