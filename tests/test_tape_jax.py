"""Derivatives of stacks of small matrices that follow a tape inside a program of JAX."""

import warnings

import numpy as np
import pytest
from bench import on_four_devices

import loewner as lw
from loewner.kernels import Decomposition, choice
from loewner.kernels.choice import has_numba
from loewner.rules.reports import DerivativeWarning

jax = pytest.importorskip("jax")
jnp = jax.numpy
pytestmark = pytest.mark.skipif(not has_numba(), reason="the machine needs Numba")

BATCH = 200
FUNCTIONS = {
    "eigh": lambda a: tuple(lw.eigh(a + a.mT)),
    "eigvalsh": lambda a: (lw.eigvalsh(a + a.mT),),
    "svd": lambda a: tuple(lw.svd(a, full_matrices=False)),
    "full svd": lambda a: tuple(lw.svd(a, checks="off")),
    "svdvals": lambda a: (lw.svdvals(a),),
    "nearest_orthogonal": lambda a: (lw.nearest_orthogonal(a),),
    "nearest_rotation": lambda a: (lw.nearest_rotation(a),),
}
SQUARE = "eigh", "eigvalsh", "nearest_rotation"


def gaussian(*shape, dtype="float64", seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def pulled(function, a, cotangents):
    return jax.vjp(function, a)[1](tuple(cotangents))[0]


def tapes(function, *arrays):
    """How many tapes a program follows."""
    return jax.jit(function).lower(*arrays).as_text().count("custom_call @loewner_tape")


KINDS = [((3, 3), "float64"), ((5, 3), "float32"), ((3, 5), "float64")]
NIGHTLY = [((n, n), "float64") for n in (2, 7)] + [((5, 3), "float64"), ((3, 3), "float32")]
KINDS += [pytest.param(*kind, marks=pytest.mark.slow) for kind in NIGHTLY]


@pytest.mark.parametrize(("shape", "dtype"), KINDS, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_a_stack_are_those_of_the_words(name, shape, dtype, monkeypatch):
    if name in SQUARE and shape[0] != shape[1]:
        pytest.skip("of square matrices")
    function, a = FUNCTIONS[name], gaussian(2, BATCH, *shape, dtype=dtype)
    shapes = jax.eval_shape(function, a)
    g = [gaussian(*x.shape, dtype=dtype, seed=i) for i, x in enumerate(shapes, 1)]

    def pull(a, *g):
        return pulled(function, a, g)

    # a polar factor is evaluated by a tape as well, up to the determinants of order 5
    whole = name == "nearest_orthogonal" or (name == "nearest_rotation" and shape[0] < 5)
    assert tapes(pull, a, *g) == 1 + whole
    found = np.asarray(jax.jit(pull)(a, *g))
    monkeypatch.setattr("loewner.frameworks.jax.recorded", lambda *_: None)
    monkeypatch.setattr("loewner.frameworks.jax.evaluated", lambda *_: None)
    jax.clear_caches()
    assert tapes(pull, a, *g) == 0
    right = np.asarray(jax.jit(pull)(a, *g))
    size = np.linalg.norm(right, axis=(-2, -1)).max()
    assert abs(found - right).max() <= 40 * np.finfo(dtype).eps * size
    jax.clear_caches()


def test_a_gradient_of_one_matrix_meets_the_tape_under_vmap():
    def single(a):
        u, s, vh = lw.svd(a)
        return s[0] + (u @ vh)[0, 1]

    a = gaussian(BATCH, 3, 3)
    assert tapes(jax.vmap(jax.grad(single)), a) == 1
    assert tapes(jax.grad(lambda a: jax.vmap(single)(a).sum()), a) == 1
    assert tapes(jax.grad(single), a[0]) == 0
    found = jax.vmap(jax.grad(single))(a)
    alone = jnp.stack([jax.grad(single)(x) for x in a])
    np.testing.assert_allclose(found, alone, rtol=1e-9, atol=1e-9)


def test_a_matrix_in_doubt_is_reported_as_ever():
    a = gaussian(BATCH, 3, 3).at[7].set(jnp.eye(3))

    def smallest(a):
        return lw.eigvalsh(a + a.mT)[..., 0].sum()

    assert tapes(jax.grad(smallest), a) == 1
    with pytest.warns(DerivativeWarning, match=rf"coincide.*\(1 of {BATCH} matrices\)"):
        jax.block_until_ready(jax.jit(jax.grad(smallest))(a))


def test_a_repeated_eigenvalue_in_a_stack_keeps_the_derivative_of_invariant_losses():
    a = gaussian(BATCH, 3, 3).at[::3].set(jnp.eye(3))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = jax.jit(jax.grad(lambda a: (lw.eigh(a + a.mT).eigenvalues ** 2).sum()))(a)
    np.testing.assert_allclose(found, 4 * (a + a.mT), atol=1e-12)  # of |A + A^T|^2


def test_second_and_third_derivatives_are_those_of_powers():
    a, e = gaussian(BATCH, 3, 3), gaussian(BATCH, 3, 3, seed=1)

    def cubes(a):
        return (lw.eigvalsh(a + a.mT) ** 3).sum()

    # the gradient is 6 H^2 with H = A + A^T
    h, k = np.asarray(a + a.mT), np.asarray(e + e.mT)
    gradient = jax.grad(cubes)
    np.testing.assert_allclose(jax.jit(gradient)(a), 6 * h @ h, atol=1e-11)
    along = 6 * (h @ k + k @ h)
    np.testing.assert_allclose(jax.jvp(gradient, (a,), (e,))[1], along, atol=1e-10)
    again = jax.grad(lambda a: (gradient(a) * e).sum())
    np.testing.assert_allclose(again(a), 6 * (h @ k + k @ h), atol=1e-10)
    third = jax.jvp(lambda a: jax.jvp(gradient, (a,), (e,))[1], (a,), (e,))[1]
    np.testing.assert_allclose(third, 12 * k @ k, atol=1e-9)


def test_the_derivative_is_transposed_back_and_forth():
    a, e = gaussian(BATCH, 4, 3), gaussian(BATCH, 4, 3, seed=1)
    function = FUNCTIONS["svd"]
    _, push = jax.linearize(function, a)
    pull = jax.linear_transpose(push, a)
    again = jax.linear_transpose(lambda g: pull(g)[0], push(e))
    for x, y in zip(push(e), again(e)[0], strict=True):
        np.testing.assert_allclose(x, y, atol=1e-9)
    g = tuple(gaussian(*x.shape, seed=i) for i, x in enumerate(push(e)))
    forward = sum((x * y).sum() for x, y in zip(push(e), g, strict=True))
    np.testing.assert_allclose(forward, (pull(g)[0] * e).sum(), rtol=1e-9)


def test_all_rows_of_a_jacobian_follow_one_tape():
    a = gaussian(3, 3)

    def squares(a):  # which do not depend on signs
        return lw.eigh(a + a.mT).eigenvectors ** 2

    rows, columns = jax.jacrev(squares), jax.jacfwd(squares)
    np.testing.assert_allclose(rows(a), columns(a), atol=1e-12)
    stack = gaussian(BATCH, 3, 3)
    assert tapes(jax.vmap(rows), stack) == 1
    np.testing.assert_allclose(jax.vmap(rows)(stack)[5], columns(stack[5]), atol=1e-10)


def test_nan_in_a_matrix_stays_in_its_gradient():
    a = gaussian(BATCH, 3, 3).at[3, 0, 0].set(jnp.nan)
    found = jax.jit(jax.grad(lambda a: (lw.svdvals(a) ** 2).sum()))(a)
    assert jnp.isnan(found[3]).any()
    rest = np.delete(np.asarray(found), 3, 0)
    np.testing.assert_allclose(rest, 2 * np.delete(np.asarray(a), 3, 0), atol=1e-12)


def test_without_numba_there_is_no_tape(monkeypatch):
    a = gaussian(BATCH, 3, 3)
    monkeypatch.setattr(choice, "has_numba", lambda: False)
    jax.clear_caches()
    gradient = jax.grad(lambda a: (lw.eigvalsh(a + a.mT) ** 2).sum())
    assert tapes(gradient, a) == 0
    np.testing.assert_allclose(gradient(a), 4 * (a + a.mT), atol=1e-12)
    jax.clear_caches()


def test_a_program_that_is_exported_follows_no_tape():
    a = gaussian(BATCH, 3, 3)
    # reports, which speak to the host, are not exported
    gradient = jax.jit(jax.grad(lambda a: (lw.eigvalsh(a + a.mT, checks="off") ** 2).sum()))
    exported = jax.export.export(gradient)(a)
    assert "loewner_tape" not in exported.mlir_module()
    np.testing.assert_allclose(exported.call(a), gradient(a), atol=1e-12)


def test_the_threads_of_xla_share_out_a_stack_without_a_trace():
    from loewner.frameworks.numpy import HOST
    from loewner.kernels import compiled

    a = np.random.default_rng(0).standard_normal((20_011, 3, 3))
    alone = compiled.decomposed(Decomposition("svd"), a, HOST)
    assert alone is not None
    function = jax.jit(lambda a: tuple(lw.svd(a, full_matrices=False)))
    for _ in range(50):
        found = function(a)
        for x, y in zip(found, alone, strict=True):
            assert (x == y).all()


def test_the_pieces_of_shard_map_follow_their_tapes():
    program = """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import Mesh, PartitionSpec as P
        import loewner as lw

        jax.config.update("jax_enable_x64", True)
        mesh = Mesh(np.array(jax.devices()), ("x",))
        a = jnp.asarray(np.random.default_rng(0).standard_normal((400, 3, 3)))

        def loss(a):
            return (lw.eigvalsh(a + a.mT) ** 3).sum() + lw.nearest_rotation(a)[..., 0, 1].sum()

        right = jax.grad(loss)(a)
        each = jax.shard_map(jax.grad(loss), mesh=mesh, in_specs=P("x"), out_specs=P("x"))
        assert "loewner_tape" in jax.jit(each).lower(a).as_text()
        assert abs(jax.jit(each)(a) - right).max() < 1e-11
        total = lambda a: jax.lax.psum(loss(a), "x")
        total = jax.shard_map(total, mesh=mesh, in_specs=P("x"), out_specs=P())
        assert abs(jax.jit(jax.grad(total))(a) - right).max() < 1e-11
    """
    on_four_devices(program)
