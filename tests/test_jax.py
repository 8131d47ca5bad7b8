"""Every JAX transform, and what the transposed program costs."""

import functools
import os
import subprocess
import sys
import textwrap
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bench import Jax, inner
from cases import TRANSFORMED, Case, loss

import loewner as lw
from loewner import rules
from loewner.frameworks.jax import FRAMEWORK
from loewner.frameworks.products import products_replaced

fw = Jax()


def close(x, y, tolerance=1e-12):
    x, y = np.asarray(x), np.asarray(y)
    assert np.abs(x - y).max() <= tolerance * max(1.0, np.abs(y).max())


def nightly(case: Case) -> bool:
    return case.function in ("eig", "svd-thin", "eigh-ab")


@pytest.fixture(
    params=[pytest.param(c, marks=[pytest.mark.slow] if nightly(c) else []) for c in TRANSFORMED],
    ids=str,
)
def problem(request):
    case = request.param
    a = tuple(jnp.asarray(x) for x in case.matrices())
    e = tuple(jnp.asarray(x) for x in case.directions(1)[0])
    f = loss(case, lw, fw)
    return f, a, e, jax.grad(f)(*a)


def test_jit_changes_nothing(problem):
    f, a, e, g = problem
    close(jax.jit(f)(*a), f(*a))
    close(jax.jit(jax.grad(f))(*a), g)


def test_vmap_of_value_and_gradient_equals_a_loop(problem):
    f, a, e, g = problem
    stacks = tuple(jnp.stack([x, x + 0.01 * y]) for x, y in zip(a, e, strict=True))
    whole = jax.vmap(jax.value_and_grad(f))(*stacks)
    for i in range(2):
        value, gradient = jax.value_and_grad(f)(*(s[i] for s in stacks))
        close(whole[0][i], value)
        close(whole[1][i], gradient, 1e-11)


def test_vmap_over_one_argument_or_over_directions(problem):
    f, a, e, g = problem
    directions = jnp.stack([e[0], 2 * e[0]])
    rest = a[1:]
    along = jax.vmap(lambda d: jax.jvp(lambda x: f(x, *rest), a[:1], (d,))[1])(directions)
    close(along[1], 2 * along[0])


def test_linearize_and_its_transpose(problem):
    f, a, e, g = problem
    _, linear = jax.linearize(f, *a)
    close(linear(*e), jax.jvp(f, a, e)[1])
    transposed = jax.linear_transpose(linear, *a)
    close(transposed(1.0)[0], g)


def test_vjp_and_jvp_agree(problem):
    f, a, e, g = problem
    _, pullback = jax.vjp(f, *a)
    gs = pullback(1.0)
    close(jax.jvp(f, a, e)[1], inner([jnp.conj(x) for x in gs], e))


def test_jacfwd_jacrev_and_hessian_agree():
    a = jnp.asarray(Case("eigh", "real", "square", "triple").matrices()[0])
    f = loss(Case("eigh", "real", "square", "triple"), lw, fw)
    close(jax.jacfwd(f)(a), jax.jacrev(f)(a))
    hessian = jax.hessian(f)(a)
    close(jax.jacrev(jax.jacfwd(f))(a), hessian, 1e-11)
    close(jax.jacfwd(jax.jacfwd(f))(a), hessian, 1e-11)
    close(jax.jacrev(jax.jacrev(f))(a), hessian, 1e-11)


def test_scan_and_remat_around_a_decomposition(problem):
    f, a, e, g = problem

    def descend(a, _):
        slope = jax.grad(f, range(len(a)))(*a)
        return tuple(x - 0.01 * jnp.conj(d) for x, d in zip(a, slope, strict=True)), 0.0

    by_scan, _ = jax.lax.scan(descend, a, length=2)
    by_hand, _ = descend(descend(a, None)[0], None)
    close(by_scan[0], by_hand[0])
    close(jax.grad(jax.checkpoint(f))(*a), g)

    def through(x):
        def body(c, _):
            return c + 0.01 * f(c, *a[1:]) * x, None

        return f(jax.lax.scan(body, x, length=2)[0], *a[1:])

    close(jax.grad(through)(a[0]), jax.jit(jax.grad(through))(a[0]), 1e-11)


def test_second_order_under_jit_and_vmap(problem):
    f, a, e, g = problem
    rest = a[1:]

    def curvature(x):
        return jax.jvp(jax.grad(lambda x: f(x, *rest)), (x,), (e[0],))[1]

    close(jax.jit(curvature)(a[0]), curvature(a[0]), 1e-11)
    close(jax.vmap(curvature)(jnp.stack([a[0]] * 2))[1], curvature(a[0]), 1e-11)


def test_gradients_agree_with_jax_where_jax_is_right():
    for shape in ("tall", "square"):
        a = jnp.asarray(Case("svd-thin", "real", shape, "distinct").matrices()[0])

        def f(a, la):
            u, s, vh = la.svd(a, full_matrices=False)
            return (u[:, :2] @ vh[:2]).sum() + (s**3).sum()

        close(jax.grad(f)(a, lw), jax.grad(f)(a, jnp.linalg))
    a = jnp.asarray(Case("eigh", "real", "square", "distinct").matrices()[0])

    def f(a, la):
        w, v = la.eigh(a)
        return (v[:, :2] @ v[:, :2].T)[0].sum() + (w**3).sum()

    close(jax.grad(f)(a, lw), jax.grad(f)(a, jnp.linalg))


def test_vmap_of_one_matrix_meets_the_batched_solver():
    a = jnp.zeros((7, 3, 3))
    one = jax.make_jaxpr(jax.vmap(lw.eigh))(a)
    assert "eigh" in str(one)
    assert "scan" not in str(one)
    assert "while" not in str(one)


def compiled_products(f, *args) -> int:
    """Products left in the program after the compiler removed what is not needed."""
    text = jax.jit(f).lower(*args).compile().as_text()
    assert text is not None
    return sum(
        (
            "dot(" in line
            or "__onednn$matmul" in line
            or ("dot_general" in line and "custom-call" in line)
        )
        and "=" in line
        for line in text.splitlines()
    )


@pytest.mark.parametrize(
    ("rule", "shape"),
    [
        (rules.Eigh(), (40, 40)),
        (rules.Svd(), (60, 40)),
        (rules.Svd(), (40, 40)),
        (rules.Svd(full=True), (60, 40)),
        (rules.Eig(real=False), (40, 40)),
    ],
    ids=str,
)
@pytest.mark.parametrize("which", ["values", "all"])
def test_the_transposed_jvp_costs_no_more_products_than_the_written_vjp(rule, shape, which):
    a = jnp.ones(shape, complex if isinstance(rule, rules.Eig) else float)
    outputs = jax.eval_shape(lambda a: FRAMEWORK.call(rule, a), a)
    public = rule.frames(*shape) if isinstance(rule, rules.Svd) else 2
    count = 1 if which == "values" else public

    def transposed(outputs, cotangents):
        def linear(da):
            none = (None,)
            moved = rule.jvp(FRAMEWORK, none, outputs, (da,))
            return tuple(moved[:count])

        return jax.linear_transpose(linear, a)(tuple(cotangents))[0]

    def written(outputs, cotangents):
        given = (*cotangents, *(None,) * (len(outputs) - count))
        return rule.vjp(FRAMEWORK, (None,), outputs, given, (True,))[0]

    outputs = tuple(jnp.ones(x.shape, x.dtype) for x in outputs)
    cotangents = outputs[:count]
    assert compiled_products(written, outputs, cotangents) >= 1
    assert compiled_products(transposed, outputs, cotangents) <= compiled_products(
        written, outputs, cotangents
    )


@pytest.mark.parametrize(
    ("loss", "products"),
    [
        # of 2 n^3 flops: one for the value, two into and two out of the frame
        (lambda a, c: (c * lw.expm(a, hermitian=True)).sum(), 5),
        (lambda a, c: (c * lw.invsqrtm(a, hermitian=True)).sum(), 5),
        (lambda a, c: (c * lw.spectral_projector(a, 3)).sum(), 5),
        (lambda a, c: (c * lw.funm(a, jnp.sin)).sum(), 5),
        (lambda a, c: (c * lw.low_rank(a, 3)).sum(), 5),
        (lambda a, c: (c * lw.nearest_orthogonal(a)).sum(), 5),
        # values alone, and with checks
        (lambda a, c: (c[0] * lw.eigvalsh(a)).sum(), 1),
        (lambda a, c: (c[0] * lw.svdvals(a)).sum(), 1),
        # a sum: its gradient alone
        (lambda a, c: lw.spectral_sum(a, jnp.log), 1),
        (lambda a, c: lw.sum_largest(a, 3), 1),
        (lambda a, c: lw.matrix_norm(a, "nuc"), 1),
        (lambda a, c: lw.schatten_norm(a, 3), 1),
    ],
)
def test_value_and_gradient_of_a_function_cost_few_products(loss, products):
    a = jnp.ones((40, 40))
    assert 1 <= compiled_products(jax.value_and_grad(loss), a, a) <= products


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.complex128], ids=str)
@pytest.mark.parametrize(
    ("left", "right"),
    [((3, 4), (4, 5)), ((9, 4, 6), (9, 6, 5)), ((2, 3, 7, 8), (2, 3, 8, 1)), ((40, 30), (30, 20))],
    ids=str,
)
def test_products_of_rules_are_matmul_and_so_are_their_derivatives(left, right, dtype):
    def product(x, y):
        return x.mT.mT @ y + (y.mT @ x.mT).mT

    replaced = products_replaced(product)
    keys = jax.random.split(jax.random.key(0), 5)
    x, dx = (jax.random.normal(k, left, dtype) for k in keys[:2])
    y, dy = (jax.random.normal(k, right, dtype) for k in keys[2:4])
    g = jax.random.normal(keys[4], jax.eval_shape(product, x, y).shape, dtype)
    assert "dot_general" not in str(jax.make_jaxpr(replaced)(x, y))

    @functools.partial(jax.jit, static_argnums=0)  # one program instead of many
    def everything(f, x, y, dx, dy, g):
        value, moved = jax.jvp(f, (x, y), (dx, dy))
        back, pull = jax.vjp(lambda x, y: jax.vjp(f, x, y)[1](g), x, y)
        over_y = jax.vmap(f, (None, 0))(x, jnp.stack([y, dy]))
        over_both = jax.vmap(f, (0, -1))(jnp.stack([x, dx]), jnp.stack([y, dy], -1))
        return value, moved, back, pull((dx, dy)), over_y, over_both

    found, expected = (everything(f, x, y, dx, dy, g) for f in (replaced, product))
    for got, right_ in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        close(got, right_, 100 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("shape", [(50, 5, 5), (32, 32)], ids=str)
def test_no_product_of_a_gradient_is_left_in_a_form_that_xla_is_slow_at(shape):
    def loss(a):
        w, v = lw.eigh(a)
        return (w**3).sum() + (v[..., 0, :] ** 2 * jnp.arange(shape[-1])).sum()

    a = jnp.eye(shape[-1]) + jnp.ones(shape)
    program = jax.jit(jax.grad(loss)).lower(a)
    assert "dot_general" not in str(jax.make_jaxpr(jax.grad(loss))(a))
    if len(shape) > 2:
        assert compiled_products(jax.grad(loss), a) == 0  # sums, in the loops around
    else:
        assert "optimization_barrier" in program.as_text()  # behind a transpose


def test_float32_stays_float32():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a = jnp.eye(3, dtype=jnp.float32)
        assert lw.eigh(a).eigenvectors.dtype == jnp.float32
        assert jax.grad(lambda a: lw.svdvals(a).sum())(a).dtype == jnp.float32


def test_rotations_of_a_large_compiled_stack_do_not_wait_for_ever():
    # two stacks of determinants in one program may wait for each other
    program = """
        import jax
        import loewner as lw
        jax.config.update("jax_enable_x64", True)
        rotations = jax.jit(lw.nearest_rotation)
        a = jax.random.normal(jax.random.key(0), (10_000, 4, 4))
        for _ in range(40):
            r = jax.block_until_ready(rotations(a))
        print(bool((abs(r @ r.mT - jax.numpy.eye(4)) < 1e-12).all()))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    environment = os.environ | {"XLA_FLAGS": ""}  # optimized, or it takes long
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.stdout == "True\n", done.stderr
