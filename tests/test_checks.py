"""What is not determined is reported, and nothing else is."""

import warnings

import autograd
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from bench import FRAMEWORKS
from torch.utils.checkpoint import checkpoint

import loewner as lw
from loewner.frameworks import framework_of
from loewner.rules import pieces

NUMPY, JAX, TORCH, AUTOGRAD = FRAMEWORKS
Q = np.eye(4) - 0.5 * np.ones((4, 4))
"""Orthogonal, with dyadic entries: products with it are exact."""
PAIR = Q @ np.diag([1.0, 1.0, 2.0, 3.0]) @ Q
SIMPLE = Q @ np.diag([1.0, 2.0, 3.0, 5.0]) @ Q
C = np.arange(16.0).reshape(4, 4) % 7 - 2


def tall(*values):
    q = np.eye(6) - np.ones((6, 6)) / 3
    return q[:, :4] @ np.diag(values) @ Q


def first_of_a_pair(fw, a):
    return lw.eigh(a).eigenvalues[0]


def by_hand(fw, a):
    w, v = lw.eigh(a)
    return (fw.array(C) * ((v * fw.functions.exp(w)) @ v.T)).sum()


def basis(fw, a):
    return (fw.array(C[:, 0]) * lw.eigh(a).eigenvectors[:, 0]).sum() ** 2


def pair_of_singular_values(fw, a):
    return lw.svd(a, full_matrices=False).S[0]


def null_vector(fw, a):
    return (fw.array(np.arange(6.0) ** 2) * lw.svd(a).U[:, 5]).sum() ** 2


def zero_singular_value(fw, a):
    return lw.svdvals(a)[3]


def pair_of_general(fw, a):
    return fw.real(lw.eigvals(a)[0])


def definite_pair(fw, a):
    return lw.eigh(a, fw.array(np.diag([1.0, 2.0, 1.0, 3.0]) @ np.eye(4))).eigenvectors[1, 0] ** 2


ILL_POSED = {
    "one value of a pair": (first_of_a_pair, PAIR, "eigh: eigenvalues 0 and 1 coincide"),
    "a function by hand": (by_hand, PAIR, "compose f.A. with lw.funm"),
    "a basis": (basis, PAIR, "depends on the basis"),
    "a pair of singular values": (
        pair_of_singular_values,
        tall(3.0, 3.0, 2.0, 1.0),
        "svd: singular values 0 and 1 coincide",
    ),
    "a null vector": (null_vector, tall(4.0, 3.0, 2.0, 1.0), "basis of a null space"),
    "a zero singular value": (
        zero_singular_value,
        tall(3.0, 2.0, 1.0, 0.0),
        "svdvals: singular value 3 is zero",
    ),
    "one value of a general pair": (
        pair_of_general,
        np.triu(np.ones((4, 4)), 3) + np.diag([1.0, 1.0, 2.0, 3.0]),
        "eigvals: eigenvalues",
    ),
}


def gradient(fw, loss, a):
    return fw.grad(lambda a: loss(fw, a), (a,))[0]


@pytest.mark.parametrize("case", ILL_POSED)
@pytest.mark.parametrize("fw", FRAMEWORKS, ids=lambda fw: fw.name)
def test_what_is_not_determined_is_reported(fw, case):
    loss, a, words = ILL_POSED[case]
    with lw.checks("warn", strict=True), pytest.warns(lw.DerivativeWarning, match=words):
        plain = gradient(fw, loss, a)
    assert np.isfinite(plain).all()
    with lw.checks("nan", strict=True):
        assert np.isnan(gradient(fw, loss, a)).any()
    with lw.checks("raise", strict=True), pytest.raises(Exception, match=words):
        gradient(fw, loss, a)
    with lw.checks("off"), warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient(fw, loss, a)


@pytest.mark.parametrize("fw", FRAMEWORKS, ids=lambda fw: fw.name)
def test_phases_are_reported_unless_they_are_fixed(fw):
    a = SIMPLE + 1j * (np.tri(4) - np.tri(4).T)

    def loss(a):
        return fw.real((fw.array(C[0] + 0j) * lw.eigh(a).eigenvectors[:, 2]).sum())

    def fixed(a):
        v = lw.fix_phase(lw.eigh(a)).eigenvectors
        return fw.real((fw.array(C[0] + 0j) * v[:, 2]).sum())

    with pytest.warns(lw.DerivativeWarning, match="phase of eigenvector 2"):
        fw.grad(loss, (a,))
    with lw.checks("raise"):
        fw.grad(fixed, (a,))


def test_the_policy_is_an_argument_of_each_function_too():
    with pytest.raises(lw.DerivativeError, match="eigvalsh"):
        lw.vjp(lambda a: lw.eigvalsh(a, checks="raise")[0], PAIR)[1](np.array(1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lw.vjp(lambda a: lw.eigvalsh(a, checks="off")[0], PAIR)[1](np.array(1.0))
    with pytest.raises(ValueError, match="policy must be one of"):
        lw.eigvalsh(PAIR, checks="loud")
    with pytest.raises(ValueError, match="policy must be one of"):
        lw.set_checks("never")
    lw.set_checks("nan")
    try:
        assert np.isnan(lw.vjp(lambda a: lw.eigvalsh(a)[0], PAIR)[1](np.array(1.0))[0]).any()
    finally:
        lw.set_checks("warn")


def test_only_the_matrices_concerned_are_nan():
    stack = np.stack([SIMPLE, PAIR, SIMPLE])
    for fw in FRAMEWORKS:
        with lw.checks("nan"):
            g = fw.grad(lambda a: lw.eigvalsh(a)[:, 0].sum(), (stack,))[0]
        assert np.isnan(g).all(axis=(1, 2)).tolist() == [False, True, False], fw.name
        assert np.isfinite(g[[0, 2]]).all()


def test_a_stack_is_reported_once_with_its_number_of_matrices():
    stack = np.stack([PAIR, SIMPLE, PAIR])
    with pytest.warns(lw.DerivativeWarning, match="2 of 3 matrices") as found:
        lw.vjp(lambda a: lw.eigvalsh(a)[:, 0].sum(), stack)[1](np.array(1.0))
    assert len(found) == 1


MESH = jax.make_mesh((1,), ("x",))
JAX_TRANSFORMS = {
    "jit": lambda f, a: jax.jit(jax.grad(f))(a),
    "vmap of grad": lambda f, a: jax.jit(jax.vmap(jax.grad(f)))(jnp.stack([a, a])),
    "grad of vmap": lambda f, a: jax.grad(lambda s: jax.vmap(f)(s).sum())(jnp.stack([a, a])),
    "scan": lambda f, a: jax.jit(
        jax.grad(lambda a: jax.lax.scan(lambda c, _: (c + f(a), 0.0), 0.0, None, length=2)[0])
    )(a),
    "remat": lambda f, a: jax.jit(jax.grad(jax.checkpoint(f)))(a),
    "cond": lambda f, a: jax.grad(lambda a: jax.lax.cond(a[0, 0] > -9, f, jnp.trace, a))(a),
    "hessian": lambda f, a: jax.hessian(f)(a),
    "reverse over reverse": lambda f, a: jax.grad(lambda a: jax.grad(f)(a)[0, 1])(a),
    "pmap": lambda f, a: jax.pmap(jax.grad(f))(a[None]),
    "shard_map": lambda f, a: jax.shard_map(
        jax.vmap(jax.grad(f)),
        mesh=MESH,
        in_specs=jax.P("x"),
        out_specs=jax.P("x"),
    )(jax.device_put(jnp.stack([a, a]), jax.NamedSharding(MESH, jax.P("x")))),
}


@pytest.mark.parametrize("transform", JAX_TRANSFORMS)
def test_reports_survive_the_transforms_of_jax(transform):
    apply, a = JAX_TRANSFORMS[transform], jnp.asarray(PAIR)
    with lw.checks("warn", strict=True), pytest.warns(lw.DerivativeWarning, match="0 and 1"):
        jax.block_until_ready(apply(lambda a: by_hand(JAX, a), a))
    with lw.checks("raise"), warnings.catch_warnings():
        warnings.simplefilter("error", lw.DerivativeWarning)
        jax.block_until_ready(apply(lambda a: lw.expm(a, hermitian=True).sum(), a))


TORCH_TRANSFORMS = {
    "backward": lambda f, a: f(a.requires_grad_()).backward(),
    "func.grad": lambda f, a: torch.func.grad(f)(a),
    "vmap of grad": lambda f, a: torch.func.vmap(torch.func.grad(f))(torch.stack([a, a])),
    "grad of vmap": lambda f, a: torch.func.grad(lambda s: torch.func.vmap(f)(s).sum())(
        torch.stack([a, a])
    ),
    "hessian": lambda f, a: torch.func.hessian(f)(a),
    "double backward": torch.autograd.functional.hessian,
    "checkpoint": lambda f, a: checkpoint(f, a.requires_grad_(), use_reentrant=False).backward(),
    "compile": lambda f, a: torch.compile(f, fullgraph=True, backend="aot_eager")(
        a.requires_grad_()
    ).backward(),
}


@pytest.mark.parametrize("transform", TORCH_TRANSFORMS)
def test_reports_survive_the_transforms_of_pytorch(transform):
    apply = TORCH_TRANSFORMS[transform]
    with lw.checks("warn", strict=True), pytest.warns(lw.DerivativeWarning, match="0 and 1"):
        apply(lambda a: by_hand(TORCH, a), torch.tensor(PAIR))
    with lw.checks("raise"), warnings.catch_warnings():
        warnings.simplefilter("error", lw.DerivativeWarning)
        apply(lambda a: lw.expm(a, hermitian=True).sum(), torch.tensor(PAIR))


def test_second_derivatives_are_reported_where_the_first_are_determined():
    def squares(a):
        return (lw.eigvalsh(a) ** 2).sum()

    with lw.checks("raise", strict=True):
        g = lw.vjp(squares, PAIR)[1](np.array(1.0))[0]
        assert np.abs(g - 2 * PAIR).max() < 1e-14
        along = lambda a: lw.jvp(squares, (a,), (C + C.T,))[1]  # noqa: E731
        pullback = lw.vjp(along, PAIR)[1]
        with pytest.raises(lw.DerivativeError, match="0 and 1 coincide"):
            pullback(np.array(1.0))
        # determined, and right: the same through a function of the matrix
        smooth = lambda a: lw.spectral_sum(a, lambda x: x * x)  # noqa: E731
        along = lambda a: lw.jvp(smooth, (a,), (C + C.T,))[1]  # noqa: E731
        assert np.abs(lw.vjp(along, PAIR)[1](np.array(1.0))[0] - 2 * (C + C.T)).max() < 1e-13


def test_forward_over_reverse_is_reported_as_reverse_over_reverse_is():
    def squares(fw, a):
        return (lw.eigvalsh(a) ** 2).sum()

    def smooth(fw, a):
        return lw.spectral_sum(a, lambda x: x * x)

    def numpy_hessian(loss):
        gradient = lambda a: lw.vjp(lambda a: loss(NUMPY, a), a)[1](np.array(1.0))[0]  # noqa: E731
        return lw.jvp(gradient, (PAIR,), (C + C.T,))

    hessians = {
        "numpy": numpy_hessian,
        "jax": lambda loss: jax.block_until_ready(
            jax.jit(jax.hessian(lambda a: loss(JAX, a)))(jnp.asarray(PAIR))
        ),
        "torch": lambda loss: torch.func.hessian(lambda a: loss(TORCH, a))(torch.tensor(PAIR)),
        "autograd": lambda loss: autograd.hessian(lambda a: loss(AUTOGRAD, a))(PAIR),
    }
    for hessian in hessians.values():
        with lw.checks("raise", strict=True):
            hessian(smooth)
            with pytest.raises(Exception, match="0 and 1 coincide"):
                hessian(squares)


def test_a_pair_of_zeros_up_to_rounding_is_a_pair():
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    with pytest.warns(lw.DerivativeWarning, match="1 and 2 coincide"):
        lw.vjp(lambda a: lw.eigvalsh(a)[1], (q * [-2.0, 0.0, 0.0, 1.0]) @ q.T)[1](np.array(1.0))


def test_a_mean_of_one_of_several_equal_eigenvalues_has_no_derivative():
    value, pullback = lw.vjp(lambda a: lw.spectral_mean(a, 1), np.eye(3))
    assert value == 1
    assert np.isnan(pullback(np.array(1.0))[0]).any()
    (g,) = lw.vjp(lambda a: lw.spectral_mean(a, 3), np.eye(3))[1](np.array(1.0))
    assert np.abs(g - np.eye(3) / 3).max() < 1e-15


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_second_derivatives_of_projectors_of_huge_and_tiny_matrices(scale):
    functions = {
        "signm": (lambda a: lw.signm(a, hermitian=True), 0),
        "spectral_projector": (lambda a: lw.spectral_projector(a, 2), 0),
        "low_rank": (lambda a: lw.low_rank(a, 2), 1),
    }
    a = Q @ np.diag([-2.0, -1.0, 1.0, 3.0]) @ Q
    e = C + C.T
    for name, (function, degree) in functions.items():

        def second(a, e, function=function):
            along = lambda a: lw.jvp(function, (a,), (e,))[1]  # noqa: E731
            return lw.jvp(along, (a,), (e,))[1]

        right = second(a, e)
        scaled = second(a * scale, e * scale) / scale**degree
        assert np.abs(scaled - right).max() <= 1e-12 * np.abs(right).max(), name


def test_strict_sees_what_the_frame_of_a_diagonal_matrix_hides():
    # V = I and a constant diagonal of C: the cotangents of the values are equal
    c = np.ones((3, 3))

    def loss(a):
        w, v = lw.eigh(a)
        return (c * ((v * np.exp(w)) @ v.T)).sum()

    with lw.checks("raise"):
        wrong = lw.vjp(loss, np.eye(3))[1](np.array(1.0))[0]
    assert np.abs(wrong - np.e * c).max() > 1  # off the diagonal
    with lw.checks("raise", strict=True), pytest.raises(lw.DerivativeError):
        lw.vjp(loss, np.eye(3))[1](np.array(1.0))


def test_off_leaves_no_trace_in_a_compiled_program():
    f = lambda a: (lw.eigh(a).eigenvectors[:, :2] ** 2).sum()  # noqa: E731

    def program():
        return jax.jit(jax.grad(f)).lower(jnp.asarray(PAIR)).as_text()

    with lw.checks("off"):
        assert "callback" not in program()
    with lw.checks("nan"):
        assert "callback" not in program()
    with lw.checks("warn"):
        assert "callback" in program()


FUNCTIONS = {
    "logm": (lambda lw, a: lw.logm(a, hermitian=True), np.diag([1.0, 1.0, 0.0])),
    "sqrtm": (lambda lw, a: lw.sqrtm(a, hermitian=True), np.diag([1.0, 1.0, 0.0])),
    "sqrtm of rounding": (lambda lw, a: lw.sqrtm(a, hermitian=True), np.diag([1.0, 1.0, 1e-17])),
    "general logm": (lambda lw, a: lw.logm(a), np.diag([1.0, 2.0, 0.0])),
    "low_rank": (lambda lw, a: lw.low_rank(a, 1), np.diag([2.0, 2.0, 1.0])),
    "spectral_projector": (
        lambda lw, a: lw.spectral_projector(a, 2),
        np.diag([1.0, 2.0, 2.0]),
    ),
    "polar": (lambda lw, a: lw.polar(a).unitary, np.diag([1.0, 0.0, 0.0])),
    "nearest_rotation": (lambda lw, a: lw.nearest_rotation(a), np.diag([1.0, 1.0, -1.0])),
    "sum_largest": (lambda lw, a: lw.sum_largest(a, 1), np.diag([1.0, 2.0, 2.0])),
    "matrix_norm": (lambda lw, a: lw.matrix_norm(a, "nuc"), np.diag([1.0, 2.0, 0.0])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("fw", FRAMEWORKS, ids=lambda fw: fw.name)
def test_functions_report_where_they_have_no_derivative(fw, name):
    function, a = FUNCTIONS[name]
    weight = fw.array(C[:3, :3])

    def loss(a):
        x = fw.real(function(lw, a))
        return (weight * x).sum() if x.ndim else x

    with pytest.warns(lw.DerivativeWarning, match=name.split()[-1] if " " not in name else ": "):
        fw.grad(loss, (a,))
    with lw.checks("raise"):
        fw.grad(loss, (a + np.diag([0.5, 1.25, 3.5]),))


def test_a_certificate_says_what_is_determined_in_every_framework():
    for fw in FRAMEWORKS:
        a = fw.array(PAIR) if fw is not TORCH else torch.tensor(PAIR)
        good = lw.certify(lambda a, fw=fw: lw.expm(a, hermitian=True).sum(), a)
        assert good.determined, fw.name
        assert "determined" in good.verdict
        bad = lw.certify(lambda a, fw=fw: by_hand(fw, a), a)
        assert not bad.determined
        assert bad.unresolved > 1e-3
        assert bad.gauge < 1e-12
        assert "compose f(A) with lw.funm" in str(bad)
        with pytest.raises(AssertionError, match="basis"):
            lw.assert_gauge_invariant(lambda a, fw=fw: basis(fw, a), a)
        lw.assert_gauge_invariant(lambda a, fw=fw: by_hand(fw, a), a)
    assert "nothing to judge" in lw.certify(lambda a: a.sum(), PAIR).verdict


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_sign_of_a_null_vector_hides_the_kink_of_a_singular_value_at_zero(sign):
    def kinked(a):  # a smooth function of the matrix, and the nuclear norm
        u, s, vh = lw.svd(a)
        smooth = ((u * np.sin(s)) @ vh)[3, 3]
        return s.sum() + sign * smooth  # of one sign, the two cancel in the cotangent of s

    assert not lw.certify(kinked, np.diag([3.0, 2.0, 1.0, 0.0])).determined


@pytest.mark.parametrize("kind", ["eigh", "svd", "eig"])
def test_the_rounding_error_of_single_precision_is_below_the_bound_of_the_certificate(kind):
    rng = np.random.default_rng(0)
    ratios = []
    for gap in (1e-1, 1e-2, 1e-3):
        for n in (4, 8, 16):
            q = np.linalg.qr(rng.standard_normal((n, n)))[0]
            w = np.arange(n) + 1.0
            w[1] = w[0] + gap
            if kind == "eigh":
                a = (q * w) @ q.T
                a = a + a.T
            elif kind == "svd":
                a = (q * w) @ np.linalg.qr(rng.standard_normal((n, n)))[0]
            else:
                x = q @ np.diag(rng.uniform(1, 2, n)) @ np.linalg.qr(rng.standard_normal((n, n)))[0]
                a = x @ np.diag(w) @ np.linalg.inv(x)
            a, c = a.astype(np.float32), rng.standard_normal((n, n)).astype(np.float32)

            first = int(np.argmin(lw.eig(a, left=True).eigenvalues.real))

            def loss(a, c=c, first=first):
                if kind == "eigh":
                    v = lw.eigh(a).eigenvectors[:, :1]
                elif kind == "svd":
                    v = lw.svd(a).U[:, -1:]
                else:
                    v = lw.eig(a).eigenvectors[:, first : first + 1]
                    return (c * np.real(v @ np.conj(v).T)).sum()
                return (c * (v @ v.T)).sum()

            found = lw.certify(loss, a)
            assert found.determined
            wide = a.astype(np.float64)
            first = int(np.argmin(lw.eig(wide, left=True).eigenvalues.real))
            true = lw.vjp(lambda a, i=first: loss(a, first=i), a.astype(np.float64))[1](
                np.array(1.0)
            )[0]
            ratios.append(np.linalg.norm(found.gradient - true) / found.error)
    assert max(ratios) < 1
    assert max(ratios) > 1e-3


def unitary(rng, n, dtype):
    x = rng.standard_normal((n, n)) + 1j * rng.standard_normal((n, n))
    return np.linalg.qr(x if np.issubdtype(dtype, np.complexfloating) else x.real)[0]


def spectrum(rng, n):
    kind = rng.integers(6)
    if kind == 0:
        return rng.standard_normal(n)
    if kind == 1:
        return rng.standard_normal(3)[rng.integers(0, 3, n)]
    if kind == 2:
        return 10.0 ** -rng.uniform(0, 12, n)
    if kind == 3:
        return np.abs(rng.standard_normal(n)) * (np.arange(n) >= rng.integers(1, n))
    if kind == 4:
        pairs = np.repeat(rng.standard_normal((n + 1) // 2), 2)[:n]
        return pairs + 10.0 ** -rng.uniform(3, 15) * rng.standard_normal(n)
    return np.full(n, rng.standard_normal())


def structured(rng, n):
    ring = np.roll(np.eye(n), 1, axis=0)
    kind = rng.integers(5)
    if kind == 0:
        a = ring + ring.T
        return np.eye(n) - 2 * a + a @ a
    if kind == 1:
        return 2 * np.eye(n) - ring - ring.T
    if kind == 2:
        return np.ones((n, n)) * rng.standard_normal() + np.eye(n)
    if kind == 3:
        return np.eye(n) * rng.standard_normal()
    return np.diag(np.repeat([1.0, 2.0], [n // 2, n - n // 2]))


def well_posed(rng):
    """A loss that no phase or basis changes, and a matrix."""
    dtype = rng.choice([np.float32, np.float64, np.complex64, np.complex128])
    n, scale = int(rng.integers(2, 9)), 10.0 ** rng.choice([0, 0, 0, -25, 25, -12, 12])
    eps, kind = np.finfo(dtype).eps, rng.choice(["eigh", "svd", "eig"])
    frame = unitary(rng, n, dtype) if rng.integers(3) else np.eye(n)
    if kind == "eigh":
        a = (frame * spectrum(rng, n)) @ frame.conj().T if rng.integers(4) else structured(rng, n)
        a = (a + a.conj().T) / 2
    elif kind == "svd":
        m = n + int(rng.integers(0, 3))
        s = np.zeros((m, n))
        s[:n] = np.diag(np.sort(np.abs(spectrum(rng, n)))[::-1])
        a = unitary(rng, m, dtype) @ s @ frame
        a = a if rng.integers(2) else a.conj().T
    else:
        a = unitary(rng, n, dtype) @ np.diag(rng.uniform(0.5, 2, n)) @ unitary(rng, n, dtype)
    a = np.asarray(a * scale).astype(dtype)
    c = rng.standard_normal((a.shape[0], a.shape[0])).astype(dtype)
    order = int(rng.integers(4))
    if kind == "eig":
        size = np.abs(a).max()
        w = lw.eig(a, left=True).eigenvalues
        near = np.abs(w[:, None] - w).min(axis=1, initial=np.inf, where=~np.eye(n, dtype=bool))
        assert near.min() > 0
        if order % 2:
            return a, lambda a: np.real((lw.eigvals(a) / size) ** 2).sum()
        return a, lambda a: (lambda v: np.real(v * np.conj(v) * np.abs(c)).sum())(lw.eig(a)[1])
    values = np.linalg.eigvalsh(a) if kind == "eigh" else np.linalg.svd(a, compute_uv=False)
    size = np.abs(values).max() or 1.0
    gaps = np.abs(np.diff(values)) / size
    k = int(gaps.argmax()) + 1
    if order == 0 or gaps.max() < 1e3 * (max(a.shape) + 16) * eps:
        if kind == "eigh":
            return a, lambda a: np.exp(lw.eigvalsh(a) / size).sum()
        return a, lambda a: ((lw.svd(a, False).S / size) ** 4).sum()

    def projector(a):
        v = (lw.eigh(a).eigenvectors if kind == "eigh" else lw.svd(a, False).U)[:, :k]
        return np.real(c * (v @ np.conj(v).T)).sum()

    def mean(a):
        w = lw.eigh(a).eigenvalues if kind == "eigh" else lw.svd(a, False).S
        return (w[:k] / size).sum() ** 2 * (1 + projector(a))

    return a, projector if order % 2 else mean


@pytest.mark.parametrize(
    "draws", [500, pytest.param(10_000, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_well_posed_losses_raise_no_alarm(draws):
    rng = np.random.default_rng(draws)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # huge numbers overflow in the losses
        for _ in range(draws):
            a, loss = well_posed(rng)
            with lw.checks("raise", strict=bool(rng.integers(2))):
                value, pullback = lw.vjp(loss, a)
                pullback(np.ones_like(value))


@pytest.mark.parametrize(
    "values", [[1, 1, 1, 2], [1, 1, 2, 2], [1, 1, 1, 1], [0, 0, 0, 1]], ids=str
)
@pytest.mark.parametrize("fw", FRAMEWORKS, ids=lambda fw: fw.name)
def test_split_makes_functions_put_together_by_hand_right_to_1e_8(fw, values):
    a = Q @ np.diag(np.array(values, dtype=float)) @ Q
    x = tall(*sorted(map(float, values), reverse=True))
    c, d = fw.array(C), fw.array(np.arange(24.0).reshape(6, 4) % 5 - 1)

    def hermitian(a):
        w, v = lw.eigh(a, split=True)
        return (c * ((v * fw.functions.exp(w)) @ v.T)).sum()

    def singular(a):
        u, s, vh = lw.svd(a, full_matrices=False, split=True)
        return (d * ((u * fw.functions.sin(s)) @ vh)).sum()

    pairs = [
        (a, hermitian, lambda a: (c * lw.expm(a, hermitian=True)).sum()),
        (x, singular, lambda a: (d * lw.singular_value_map(a, fw.functions.sin)).sum()),
    ]
    for at, by_hand, function in pairs:
        with lw.checks("raise", strict=True):
            (g,), (true,) = fw.grad(by_hand, (at,)), fw.grad(function, (at,))
        assert np.linalg.norm(g - true) <= 1e-7 * np.linalg.norm(true)
        # and the price of it
        difference = float(by_hand(fw.array(at))) - float(function(fw.array(at)))
        assert 0 <= abs(difference) < 1e-6


def test_split_values_are_apart_and_ascending_for_a_definite_pair_as_well():
    b = np.diag([1.0, 2.0, 1.0, 4.0])
    w = lw.eigh(b @ PAIR @ b, b @ b, split=True).eigenvalues
    assert np.diff(w).min() > 1e-8
    assert np.abs(w - [1, 1, 2, 3]).max() < 1e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", [-1, 0, 1])
def test_the_size_of_loss_and_matrix_decides_nothing(dtype, exponent):
    scale = 10.0 ** (exponent * (30 if dtype is np.float32 else 200))
    for loss, a in ((basis, PAIR), (null_vector, tall(4.0, 3.0, 2.0, 1.0))):
        a = (a * scale).astype(dtype)
        for factor in (1.0, 1e-20, 1e20):
            with lw.checks("raise", strict=True), pytest.raises(lw.DerivativeError):
                lw.vjp(lambda a, f=loss: f(NUMPY, a), a)[1](dtype(factor))


@pytest.mark.parametrize("origin", [False, True], ids=["eigenvalues", "singular values"])
@pytest.mark.parametrize("batch", [(), (3,), (20_000,)], ids=["one", "few", "many"])
@pytest.mark.parametrize("fw", [NUMPY, TORCH, AUTOGRAD], ids=["numpy", "torch", "autograd"])
def test_values_are_apart_at_once_unless_two_are_in_a_cluster(fw, batch, origin):
    framework, size, width = framework_of(fw.array(np.zeros(2))), 7, 23 * 2.0**-52
    assert framework

    def apart(*values):
        """Of a stack of which the last matrix has these values, and the others distinct ones."""
        w = np.ones((*batch, 1)) * np.arange(len(values), 0.0, -1.0)
        w[(-1,) * len(batch)] = values
        w = w if origin else w[..., ::-1].copy()
        found = framework.apart(fw.array(w), size, origin)
        assert found != pieces.crowded(np, w, size, origin).any()
        return found

    assert all([apart(), apart(3.0), apart(3.0, 2.0, 1.0)])
    assert apart(4.0, 1 + 5 * width, 1.0)
    assert not apart(4.0, 1 + 3 * width, 1.0)
    assert not apart(4.0, 4.0, 1.0)
    assert not apart(0.0, 0.0)
    assert apart(0.0) != origin
    assert apart(4.0, 2.0, 3 * width) != origin
    assert apart(4.0, 2.0, 5 * width)
    if not origin:
        assert apart(3.0, -2.0, -4.0)
        assert not apart(3.0, -4.0 + 3 * width, -4.0)
