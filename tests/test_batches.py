"""Stacks of matrices: each is differentiated as if it were alone."""

import autograd
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import loewner as lw

RNG = np.random.default_rng(0)
Q = np.eye(4) - 0.5 * np.ones((4, 4))
GOOD = RNG.standard_normal((4, 4))
BAD = {
    "zero": np.zeros((4, 4)),
    "identity": np.eye(4),
    "repeated": Q @ np.diag([2.0, 2.0, 1.0, 1.0]) @ Q,
    "deficient": Q @ np.diag([2.0, 1.0, 0.0, 0.0]) @ Q,
    "rank one": np.outer(np.arange(4.0), np.ones(4)),
    "defective": np.eye(4) + np.eye(4, k=1),
    "huge": GOOD * 1e200,
    "tiny": GOOD * 1e-200,
    "nan": np.full((4, 4), np.nan),
}


def outputs(name, a, xp):
    """Functions of each matrix that depend on all outputs."""
    h = xp.swapaxes
    if name == "svd":
        u, s, vh = lw.svd(a[..., :, :3])
        weights = xp.asarray(np.arange(16.0).reshape(4, 4))
        return (weights * (u @ h(u, -1, -2) * u @ h(u, -1, -2))).sum((-1, -2)) + s.sum(-1)
    if name == "eigh":
        w, v = lw.eigh(a + h(a, -1, -2))
        return (v[..., 0] ** 4).sum(-1) + (v[..., 1, :] ** 4).sum(-1) + (w**2).sum(-1)
    if name == "eigh-ab":
        b = a @ h(a, -1, -2) + xp.asarray(np.eye(4))
        w, v = lw.eigh(a + h(a, -1, -2), b)
        return (v[..., 0] ** 4).sum(-1) + (w**2).sum(-1)
    w, v = lw.eig(a)
    return (xp.abs(v) ** 4).sum((-1, -2)) + (xp.abs(w) ** 2).sum(-1)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["svd", "eigh", "eigh-ab", "eig"])
def test_a_degenerate_matrix_does_not_disturb_its_neighbours(name, bad):
    if bad in ("huge", "tiny") and name == "eigh-ab":
        pytest.skip("b = a a^T + 1 overflows or vanishes in the test itself")
    stack = np.stack([GOOD, BAD[bad], 2 * GOOD])
    one = np.stack([GOOD, GOOD, 2 * GOOD])

    grad_j = jax.jacrev(lambda a: outputs(name, a, jnp))
    mixed, alone = (np.asarray(grad_j(jnp.asarray(x))) for x in (stack, one))
    for i in (0, 2):
        assert np.array_equal(mixed[i, i], alone[i, i])
        assert np.isfinite(mixed[i, i]).all()

    if bad == "nan":
        return  # NumPy and PyTorch raise
    for g, h in (
        (grad_torch(name, stack), grad_torch(name, one)),
        (grad_numpy(name, stack), grad_numpy(name, one)),
    ):
        assert np.array_equal(g[[0, 2]], h[[0, 2]])
        assert np.isfinite(g[[0, 2]]).all()


def grad_numpy(name, a):
    def f(a):
        return outputs(name, a, np)

    out, pullback = lw.vjp(f, a)
    return pullback(np.ones_like(out))[0]


def grad_torch(name, a):
    a = torch.as_tensor(a).requires_grad_()
    outputs(name, a, torch).sum().backward()
    assert a.grad is not None
    return a.grad.numpy()


@pytest.mark.parametrize("name", ["svd", "eigh", "eigh-ab", "eig"])
def test_any_number_of_leading_dimensions(name):
    a = RNG.standard_normal((2, 3, 4, 4))
    g = grad_numpy(name, a)
    assert g.shape == a.shape
    for i in np.ndindex(2, 3):
        assert np.abs(g[i] - grad_numpy(name, a[i])).max() < 1e-12 * np.abs(g[i]).max()
    assert np.abs(grad_torch(name, a) - g).max() < 1e-11 * np.abs(g).max()
    assert (
        np.abs(jax.grad(lambda a: outputs(name, a, jnp).sum())(jnp.asarray(a)) - g).max()
        < 1e-11 * np.abs(g).max()
    )


def test_leading_dimensions_of_a_pair_broadcast():
    a, b = RNG.standard_normal((2, 1, 3, 3)), RNG.standard_normal((5, 3, 3))
    a, b = a + a.swapaxes(-1, -2), b @ b.swapaxes(-1, -2) + np.eye(3)
    w, v = lw.eigh(a, b)
    assert w.shape == (2, 5, 3)
    assert v.shape == (2, 5, 3, 3)
    assert np.abs(a @ v - b @ v * w[..., None, :]).max() < 1e-12 * np.abs(w).max()
    _, pullback = lw.vjp(lw.eigvalsh, a, b)
    ga, gb = pullback(np.ones_like(w))
    assert ga.shape == a.shape
    assert gb.shape == b.shape
    inverse = np.linalg.inv(b)
    assert np.allclose(ga[1, 0], inverse.sum(axis=0))


def test_a_stack_and_one_matrix_make_a_pair_in_every_framework_and_mode():
    a, b = np.stack([np.diag([1.0, 2, 3]), np.diag([2.0, 3, 4])]), np.eye(3) * 2.0
    expected = -np.diag([3.0, 5, 7]) / 4
    loss = lambda a, b: lw.eigvalsh(a, b).sum()  # noqa: E731
    gb = lw.vjp(loss, a, b)[1](np.array(1.0))[1]
    assert np.allclose(gb, expected)
    assert np.allclose(autograd.grad(loss, 1)(a, b), expected)
    assert np.allclose(jax.grad(loss, 1)(jnp.asarray(a), jnp.asarray(b)), expected)
    gb = torch.func.grad(loss, 1)(torch.as_tensor(a), torch.as_tensor(b))
    assert np.allclose(gb, expected)


def test_rows_of_different_units_in_a_pair_do_not_merge_distinct_eigenvalues():
    for c in (1e-4, 1e-12, 1e-20):
        a, b = np.diag([1.0, 1.001 * c]), np.diag([1.0, c])
        e = np.sqrt(c) * np.array([[0.0, 1], [1, 0]])
        _, (_, dv) = lw.jvp(lambda a, b=b: lw.eigh(a, b), (a,), (e,))
        expected = np.array([[0, 1000.0], [-1000 / np.sqrt(c), 0]])
        assert np.allclose(np.abs(dv), np.abs(expected), rtol=1e-9)
