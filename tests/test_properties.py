"""Properties over all shapes, dtypes and spectra, searched by hypothesis."""

import itertools

import jax.numpy as jnp
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

import loewner as lw

VALUES = st.sampled_from([0.0, 1.0, 1.0, 2.0, -1.0, 3.5, 1e-3])
DTYPES = st.sampled_from([np.float32, np.float64, np.complex64, np.complex128])


def frame(rng, n, dtype):
    x = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))
    return np.linalg.qr(x if np.issubdtype(dtype, np.complexfloating) else x.real)[0]


@st.composite
def rectangular(draw):
    m, n = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    dtype, rng = draw(DTYPES), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k = min(m, n)
    s = np.abs(draw(st.lists(VALUES, min_size=k, max_size=k)))
    a = frame(rng, m, dtype)[:, :k] * s @ frame(rng, n, dtype)[:k]
    e = rng.standard_normal((m, n))
    return a.astype(dtype), e.astype(dtype)


@st.composite
def hermitian(draw):
    n, dtype = draw(st.integers(1, 5)), draw(DTYPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    w = np.array(draw(st.lists(VALUES, min_size=n, max_size=n)))
    v = frame(rng, n, dtype)
    e = rng.standard_normal((n, n))
    return ((v * w) @ v.conj().T).astype(dtype), (e + e.T).astype(dtype)


def eps(a):
    return np.finfo(a.dtype).eps


def ranges(w, width):
    """Runs of sorted values, apart by more than width."""
    cuts = [0, *(np.flatnonzero(np.abs(np.diff(w)) > width) + 1), len(w)]
    return list(itertools.pairwise(cuts))


@given(rectangular(), st.booleans())
def test_svd_reconstructs_and_is_unitary(problem, full):
    a, _ = problem
    u, s, vh = lw.svd(a, full_matrices=full)
    k = s.shape[-1]
    assert np.abs(u[:, :k] * s @ vh[:k] - a).max() <= 50 * eps(a) * max(1, s.max())
    for q in (u.conj().T @ u, vh @ vh.conj().T):
        assert np.abs(q - np.eye(q.shape[0])).max() <= 50 * eps(a)


@given(rectangular())
def test_derivatives_of_projectors_onto_singular_subspaces_are_tangent_to_projectors(problem):
    a, e = problem
    s = np.linalg.svd(a.astype(np.complex128), compute_uv=False)
    for i, j in ranges(s, 1e-4):
        if s[i] < 1e-4:
            continue

        def projector(a, i=i, j=j):
            v = np.conj(lw.svd(a).Vh[i:j])
            return np.swapaxes(v, 0, 1) @ np.conj(v)

        p, dp = lw.jvp(projector, (a,), (e,))
        size = 1e5 * eps(a) * max(1, np.abs(dp).max())
        assert np.abs(p @ dp + dp @ p - dp).max() <= size
        assert np.abs(dp - dp.conj().T).max() <= size


@given(rectangular())
def test_the_sum_of_squares_of_singular_values_has_gradient_twice_the_matrix(problem):
    a, _ = problem
    (g,) = lw.vjp(lambda a: (lw.svdvals(a) ** 2).sum(), a)[1](np.ones((), eps(a).dtype))
    assert np.abs(g - 2 * a).max() <= 100 * eps(a) * max(1, np.abs(a).max())


@given(hermitian())
def test_power_sums_of_eigenvalues_have_their_closed_gradients(problem):
    a, _ = problem
    one = np.ones((), eps(a).dtype)
    (g,) = lw.vjp(lambda a: lw.eigvalsh(a).sum(), a)[1](one)
    assert np.abs(g - np.eye(len(a))).max() <= 100 * eps(a)
    (g,) = lw.vjp(lambda a: (lw.eigvalsh(a) ** 3).sum(), a)[1](one)
    assert np.abs(g - 3 * a @ a).max() <= 1000 * eps(a) * max(1, np.abs(a).max() ** 2)


@given(hermitian())
def test_numpy_jax_and_torch_agree_on_projectors_onto_clusters(problem):
    a, _ = problem
    a = a.astype(np.complex128)
    w = np.linalg.eigvalsh(a)
    c = np.arange(float(a.size)).reshape(a.shape)
    for i, j in ranges(w, 1e-4):
        # values that differ, but by little, cancel in the sum over the cluster
        inner = [x for x in np.diff(w[i:j]) if x > 1e-15]
        bound = 1e-12 + 1e3 * np.finfo(float).eps / min(inner, default=1.0)

        def loss(a, fw, i=i, j=j):
            v = lw.eigh(a).eigenvectors[:, i:j]
            weights = torch.as_tensor(c) if fw is torch else c
            return (fw.real(v @ fw.swapaxes(fw.conj(v), 0, 1)) * weights).sum()

        (g,) = lw.vjp(lambda a: loss(a, np), a)[1](np.array(1.0))
        t = torch.func.grad(lambda a: loss(a, torch))(torch.as_tensor(a)).resolve_conj().numpy()
        assert np.abs(g - t).max() <= bound * max(1.0, np.abs(g).max())
        value = float(loss(jnp.asarray(a), jnp))
        assert abs(value - loss(a, np)) <= 1e-8 * max(1.0, abs(value))
        assert np.abs(g - g.conj().T).max() <= 1e-13 * max(1.0, np.abs(g).max())


@given(st.integers(1, 5), DTYPES, st.integers(0, 2**32 - 1))
def test_left_and_right_eigenvectors_of_random_matrices_reconstruct(n, dtype, seed):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))
    a = (a if np.issubdtype(dtype, np.complexfloating) else a.real).astype(dtype)
    w, v, y = lw.eig(a, left=True)
    kappa = 1 / np.abs(np.sum(y.conj() * v, axis=0))
    again = (v * w / np.sum(y.conj() * v, axis=0)) @ y.conj().T
    assert np.abs(again - a).max() <= 1e3 * eps(a) * np.sum(kappa) * max(1, np.abs(a).max())
