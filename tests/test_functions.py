"""Derivatives of the functions of matrices against 50 digits and closed forms."""

import math

import autograd
import autograd.numpy as anp
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import reference
import torch
from bench import FRAMEWORKS, inner
from functions import TRIALS, Trial, eigen, hermitian_map, softmax

import loewner as lw
from loewner.rules import operator_integral

NUMPY, JAX, TORCH, AUTOGRAD = FRAMEWORKS
Q = np.eye(4) - 0.5 * np.ones((4, 4))
"""Orthogonal, with dyadic entries: products with it are exact."""


def nightly(trial: Trial) -> bool:
    """Whether another trial says nearly the same: complex numbers, or another shape."""
    function = trial.function
    if (function.name, trial.spectrum) == ("spectral_map", "positive"):
        return True
    if trial.field == "complex":
        return (function.name, function.argument) not in {
            ("expm", "hermitian"),
            ("funm-sin", "hermitian"),
            ("spectral_sum", "hermitian"),
            ("polar-unitary", "wide"),
        }
    return (
        function.argument in ("wide", "square")
        and trial.spectrum != "deficient"
        and function.name in SHAPES
    )


SHAPES = {"pinv", "frobenius", "polar-unitary", "polar-left", "nuclear", "low_rank"}
"""Functions of which the tall matrices are tried in each run."""


@pytest.mark.parametrize(
    "trial",
    [pytest.param(t, id=str(t), marks=[pytest.mark.slow] if nightly(t) else []) for t in TRIALS],
)
def test_first_and_second_derivatives_are_those_of_50_digits(trial: Trial):
    a = (trial.matrix(),)
    e, h = trial.directions()
    along, cross = trial.derivatives(2)
    for fw in FRAMEWORKS:
        f = trial.loss(lw, fw)
        bound = 1e-13 * max(1.0, abs(along))
        assert abs(fw.jvp(f, a, (e,)) - along) <= bound, fw.name
        assert abs(inner(fw.grad(f, a), (e,)) - along) <= bound, fw.name
        for composition, value in fw.seconds(f, a, (e,), (h,)).items():
            assert abs(value - cross) <= 2e-12 * max(1.0, abs(cross)), (fw.name, composition)


THIRD = [
    pytest.param(
        trial,
        id=str(trial),
        marks=[pytest.mark.slow]
        if trial.field == "complex"
        or trial.function.name
        in {"expm", "pinv", "frobenius", "whiten-zca", "spectral_map", "singular_value_map"}
        else [],
    )
    for trial in TRIALS
    if trial.function.name
    in {
        "expm",
        "sqrtm",
        "funm-sin",
        "spectral_sum",
        "spectral_map",
        "spectral_projector-k",
        "singular_value_map",
        "polar-unitary",
        "nearest_rotation",
        "low_rank",
        "pinv",
        "nuclear",
        "frobenius",
        "whiten-zca",
    }
    and (trial.function.argument in ("hermitian", "tall") or "nearest" in trial.function.name)
]


@pytest.mark.parametrize("trial", THIRD)
def test_third_derivatives_are_those_of_50_digits(trial: Trial):
    a, (e, _) = trial.matrix(), trial.directions()
    (true,) = trial.derivatives(3)
    bound = 1e-11 * max(1.0, abs(true))

    f = trial.loss(lw, NUMPY)
    first = lambda a: lw.jvp(f, (a,), (e,))[1]  # noqa: E731
    second = lambda a: lw.jvp(first, (a,), (e,))[1]  # noqa: E731
    assert abs(float(lw.jvp(second, (a,), (e,))[1]) - true) <= bound
    (g,) = lw.vjp(second, a)[1](np.array(1.0))
    assert abs(inner((g,), (e,)) - true) <= bound

    f = trial.loss(lw, JAX)
    x, t = jnp.asarray(a), jnp.asarray(e)
    gradient = jax.grad(f)
    along = lambda a: jnp.real(jnp.sum(t * gradient(a)))  # noqa: E731
    value = jax.jit(lambda x: jax.jvp(jax.grad(along), (x,), (t,))[1])(x)
    assert abs(float(jnp.real(jnp.sum(t * value))) - true) <= bound

    f = trial.loss(lw, TORCH)
    leaf, t = torch.as_tensor(a).requires_grad_(), torch.as_tensor(e)
    value = f(leaf)
    for _ in range(3):
        (g,) = torch.autograd.grad(value, leaf, create_graph=True)
        value = (t.conj() * g).real.sum()
    assert abs(float(value.detach()) - true) <= bound


def loewner_gradient(a, c, f, slope):
    """The gradient of Re tr(C^H f(A)) for Hermitian C by Daleckii and Krein, in 120 digits."""
    with mp.workdps(reference.DIGITS):
        w, v = eigen(reference.matrix(a))
        g = v.H * reference.matrix(c) * v
        for i, x in enumerate(w):
            for j, y in enumerate(w):
                g[i, j] *= slope(x) if abs(x - y) < mp.mpf(10) ** -60 else (f(x) - f(y)) / (x - y)
        g = v * g * v.H
        return np.array([[complex(x) for x in row] for row in g.tolist()])


CLOSED = {
    "exp": (lambda fw, a: lw.expm(a, hermitian=True), mp.exp, mp.exp),
    "log": (lambda fw, a: lw.logm(a, hermitian=True), mp.log, lambda x: 1 / x),
    "sqrt": (lambda fw, a: lw.sqrtm(a, hermitian=True), mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x))),
    "inverse": (
        lambda fw, a: lw.fractional_matrix_power(a, -1, hermitian=True),
        lambda x: 1 / x,
        lambda x: -1 / x**2,
    ),
    "inverse-sqrt": (
        lambda fw, a: lw.invsqrtm(a, hermitian=True),
        lambda x: 1 / mp.sqrt(x),
        lambda x: -1 / (2 * x * mp.sqrt(x)),
    ),
    "power": (
        lambda fw, a: lw.fractional_matrix_power(a, 1.75, hermitian=True),
        lambda x: x ** mp.mpf(1.75),
        lambda x: mp.mpf(1.75) * x ** mp.mpf(0.75),
    ),
    "sign": (
        lambda fw, a: lw.signm(a - fw.array(1.5 * np.eye(6)), hermitian=True),
        lambda x: mp.sign(x - mp.mpf(1.5)),
        lambda x: 0,
    ),
    "step": (
        lambda fw, a: lw.spectral_projector(a, 3),
        lambda x: mp.mpf(x < 1.5),
        lambda x: 0,
    ),
}

GENERIC = {
    "sin": (lambda fw, a: lw.funm(a, fw.functions.sin), mp.sin, mp.cos),
    "steep tanh": (
        lambda fw, a: lw.funm(a, lambda x: fw.functions.tanh(5 * (x - 1))),
        lambda x: mp.tanh(5 * (x - 1)),
        lambda x: 5 / mp.cosh(5 * (x - 1)) ** 2,
    ),
}


@pytest.mark.parametrize(
    "gap",
    [
        1e-4,
        1e-12,
        0.0,
        *(pytest.param(g, marks=pytest.mark.slow) for g in (1e-1, 5e-4, 1e-8, 1e-15)),
    ],
)
def test_gradients_are_exact_at_every_gap(gap):
    rng = np.random.default_rng(int(1e16 * gap))
    z = bool(rng.integers(2))
    x = rng.standard_normal((2, 6, 6)) + (1j * rng.standard_normal((2, 6, 6)) if z else 0)
    q, c = np.linalg.qr(x[0])[0], x[1] + x[1].conj().T
    a = (q * [1, 1 + gap, 1 + 2 * gap, 2, 2 + gap, 3]) @ q.conj().T
    a = (a + a.conj().T) / 2
    for bound, table in ((1e-13, CLOSED), (1e-11, GENERIC)):
        for name, (function, f, slope) in table.items():
            true = loewner_gradient(a, c, f, slope)
            # the rule is the same in all: JAX, which compiles, at two gaps only
            for fw in FRAMEWORKS if gap in (0.0, 1e-8) else (NUMPY, TORCH, AUTOGRAD):

                def loss(x, fw=fw, function=function):
                    return fw.real(fw.conj(fw.array(c)) * function(fw, x)).sum()

                error = np.linalg.norm(fw.grad(loss, (a,))[0] - true) / np.linalg.norm(true)
                assert error <= bound, (name, fw.name, error)


def test_a_function_of_the_caller_may_close_over_what_is_differentiated():
    a = Q @ np.diag([1.0, 1.0, 1.0, 2.0]) @ Q
    rng = np.random.default_rng(0)
    c, e = (x + x.T for x in rng.standard_normal((2, 4, 4)))
    s, step = 0.7, mp.mpf(10) ** -20
    with mp.workdps(reference.DIGITS):
        am, em, cm = (reference.matrix(x) for x in (a, e, c))

        def true(i, j):
            scale = mp.mpf(s) + j * step
            x = hermitian_map(lambda w: [mp.tanh(scale * y) for y in w])(am + i * step * em)
            return mp.fsum(cm[k, m] * x[k, m] for k in range(4) for m in range(4))

        slope = float((true(0, 1) - true(0, -1)) / (2 * step))
        mixed = true(1, 1) - true(1, -1) - true(-1, 1) + true(-1, -1)
        mixed = float(mixed / (4 * step**2))

    for fw in FRAMEWORKS:

        def loss(a, s, fw=fw):
            return (fw.array(c) * lw.funm(a, lambda x: fw.functions.tanh(s * x))).sum()

        arguments, zero = (a, np.array(s)), np.zeros(())
        assert abs(fw.grad(loss, arguments)[1] - slope) < 1e-13 * abs(slope), fw.name
        along_s, along_a = (0 * a, np.array(1.0)), (e, zero)
        both = ((along_s, along_a), (along_a, along_s))
        for first, second in both[:1] if fw is JAX else both:
            for composition, value in fw.seconds(loss, arguments, first, second).items():
                assert abs(value - mixed) < 1e-12 * abs(mixed), (fw.name, composition)


def test_closed_over_parameters_belong_to_the_framework_of_the_parameter():
    a = np.diag([1.0, 1.0, 2.0])
    trace = lambda s: lw.funm(a, lambda x: anp.tanh(s * x)).trace()  # noqa: E731
    expected = sum(x / math.cosh(0.5 * x) ** 2 for x in (1.0, 1.0, 2.0))
    assert abs(autograd.grad(trace)(0.5) - expected) < 1e-14
    slope = jax.grad(lambda s: lw.spectral_sum(a, lambda x: jnp.tanh(s * x)))(0.5)
    assert abs(slope - expected) < 1e-14


@pytest.mark.parametrize("gap", [0.0, 1e-14, 1e-9, 1e-6, 1e-4, 1e-3])
def test_a_map_of_the_whole_spectrum_is_differentiated_at_any_gap(gap):
    a = Q @ np.diag([1.0, 1.0 + gap, 1.0 + 2 * gap, 2.5]) @ Q
    a = (a + a.T) / 2
    rng = np.random.default_rng(0)
    c, e = (x + x.T for x in rng.standard_normal((2, 4, 4)))
    with mp.workdps(reference.DIGITS):
        am, em, cm = (reference.matrix(x) for x in (a, e, c))

        def true(t):
            x = hermitian_map(softmax)(am + t * reference.STEP * em)
            return mp.fsum(cm[i, j] * x[i, j] for i in range(4) for j in range(4))

        along = float((true(1) - true(-1)) / (2 * reference.STEP))
    for fw in FRAMEWORKS:

        def filling(w, fw=fw):
            x = fw.functions.exp(-w)
            return x / x.sum(-1)[..., None]

        def loss(a, fw=fw, filling=filling):
            return (fw.array(c) * lw.spectral_map(a, filling)).sum()

        assert abs(fw.jvp(loss, (a,), (e,)) - along) < 1e-11 * abs(along), (fw.name, gap)
        assert abs(inner(fw.grad(loss, (a,)), (e,)) - along) < 1e-11 * abs(along), (fw.name, gap)


def test_the_hessian_of_the_squared_frobenius_norm_is_twice_the_identity_at_repeats():
    a = Q @ np.diag([2.0, 2.0, 1.0, 1.0])
    hessian = jax.hessian(lambda a: lw.schatten_norm(a, 2) ** 2)(jnp.asarray(a))
    assert np.abs(np.asarray(hessian).reshape(16, 16) - 2 * np.eye(16)).max() < 1e-14
    hessian = torch.func.hessian(lambda a: lw.matrix_norm(a, "fro") ** 2)(torch.as_tensor(a))
    assert np.abs(hessian.numpy().reshape(16, 16) - 2 * np.eye(16)).max() < 1e-14
    # exactly, at a matrix that is not of full rank as well
    a = Q[:, :3] @ np.diag([2.0, 2.0, 0.0])
    hessian = jax.hessian(lambda a: lw.matrix_norm(a, "fro") ** 2)(jnp.asarray(a))
    assert np.abs(np.asarray(hessian).reshape(12, 12) - 2 * np.eye(12)).max() < 1e-14


@pytest.mark.parametrize("fw", FRAMEWORKS, ids=lambda fw: fw.name)
def test_the_subgradient_of_the_nuclear_norm_is_that_of_least_norm(fw):
    rng = np.random.default_rng(0)
    for shape in ((5, 4), (4, 4), (3, 5)):
        x, y = rng.standard_normal((shape[0], 2)), rng.standard_normal((2, shape[1]))
        u, s, vh = np.linalg.svd(x @ y, full_matrices=False)
        (g,) = fw.grad(lambda a: lw.matrix_norm(a, "nuc"), (x @ y,))
        assert np.abs(g - u[:, :2] @ vh[:2]).max() < 1e-13
        (g,) = fw.grad(lambda a: lw.matrix_norm(a, "nuc"), (0 * x @ y,))
        assert (g == 0).all()


@pytest.mark.parametrize("fw", FRAMEWORKS, ids=lambda fw: fw.name)
def test_a_cut_through_a_cluster_is_shared_whatever_the_basis(fw):
    a = Q @ np.diag([1.0, 2.0, 2.0, 2.0]) @ Q
    cluster = np.eye(4) - np.outer(Q[0], Q[0])
    (g,) = fw.grad(lambda a: lw.sum_largest(a, 2), (a,))
    assert np.abs(g - cluster * 2 / 3).max() < 1e-14
    (g,) = fw.grad(lambda a: lw.sum_largest(a, 5), (a,))
    assert np.abs(g - np.eye(4)).max() < 1e-14
    (g,) = fw.grad(lambda a: lw.matrix_norm(a, 2), (a,))
    assert np.abs(g - cluster / 3).max() < 1e-14
    (g,) = fw.grad(lambda a: lw.ky_fan_norm(a, 2), (Q @ np.diag([2.0, 0.0, 0.0, 0.0]) @ Q,))
    assert np.abs(g - np.outer(Q[0], Q[0])).max() < 1e-14  # no part in the null space


@pytest.mark.parametrize("fw", FRAMEWORKS, ids=lambda fw: fw.name)
def test_cuts_through_clusters_have_no_derivative_and_say_so(fw):
    a = Q @ np.diag([1.0, 2.0, 2.0, 3.0]) @ Q
    c = np.random.default_rng(0).standard_normal((4, 4))
    w = fw.array(c + c.T)
    for function in (lambda a: lw.spectral_projector(a, 2), lambda a: lw.low_rank(a, 2)):
        (g,) = fw.grad(lambda a, f=function: (w * f(a)).sum(), (a,))
        assert np.isnan(g).all()
    reflection, line = np.diag([2.0, 1.0, 1.0, -1.0]), np.diag([2.0, 1.0, 0.0, 0.0])
    for function, matrix in (
        (lw.nearest_rotation, reflection),
        (lw.nearest_orthogonal, line),
        (lambda a: lw.polar(a).hermitian, line),
        (lambda a: lw.nearest_orthogonal(a[:, :3]), line),
    ):
        rows = fw.array(c[:, : function(matrix).shape[-1]])
        (g,) = fw.grad(lambda a, f=function, rows=rows: (rows * f(a)).sum(), (matrix,))
        assert not np.isfinite(g).all()
    with np.errstate(all="ignore"):
        for function in (lw.logm, lw.invsqrtm, lw.sqrtm):
            singular = np.diag([0.0, 0.0, 1.0, 2.0])
            (g,) = fw.grad(lambda a, f=function: (w * f(a, hermitian=True)).sum(), (singular,))
            assert not np.isfinite(g).all()


def test_the_pseudoinverse_along_matrices_of_one_rank():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((5, 2)), rng.standard_normal((2, 4))
    e, h = rng.standard_normal((5, 2)), rng.standard_normal((2, 4))
    c = rng.standard_normal((4, 5))
    with mp.workdps(60):
        xm, ym, em, hm, cm = (reference.matrix(z) for z in (x, y, e, h, c))

        def true(t):
            x, y = xm + t * em, ym + t * hm
            z = y.T * mp.inverse(y * y.T) * mp.inverse(x.T * x) * x.T
            return mp.fsum(cm[i, j] * z[i, j] for i in range(4) for j in range(5))

        step = mp.mpf(10) ** -15
        first = float((true(step) - true(-step)) / (2 * step))
        second = float((true(step) - 2 * true(0) + true(-step)) / step**2)
    for fw in FRAMEWORKS:

        def loss(x, y, fw=fw):
            return (fw.array(c) * lw.pinv(x @ y)).sum()

        assert abs(fw.jvp(loss, (x, y), (e, h)) - first) < 1e-12 * abs(first), fw.name
        assert abs(inner(fw.grad(loss, (x, y)), (e, h)) - first) < 1e-12 * abs(first), fw.name
        for composition, value in fw.seconds(loss, (x, y), (e, h), (e, h)).items():
            assert abs(value - second) < 1e-11 * abs(second), (fw.name, composition)


@pytest.mark.parametrize("fw", FRAMEWORKS, ids=lambda fw: fw.name)
def test_the_distance_of_subspaces(fw):
    q1 = np.eye(4)[:, :2]
    angles = np.array([0.3, 1e-9])

    def turned(angles):
        q = fw.array(np.eye(4))
        c, s = fw.functions.cos(angles), fw.functions.sin(angles)
        return q[:, :2] * c + q[:, 2:] * s

    distance = lambda t: lw.subspace_distance(fw.array(q1), turned(t))  # noqa: E731
    value = np.hypot(*angles)
    assert abs(float(fw.numpy(distance(fw.array(angles)))) - value) < 1e-15
    (g,) = fw.grad(distance, (angles,))
    assert np.abs(g - angles / value).max() < 1e-14
    small = np.array([1e-9, 3e-9])
    assert abs(float(fw.numpy(distance(fw.array(small)))) / np.hypot(*small) - 1) < 1e-14

    # the square is smooth where the subspaces coincide: its Hessian is twice the identity
    def square(t):
        d = lw.subspace_distance(fw.array(q1), turned(t))
        return d * d

    e, h = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    near = np.array([1e-6, -2e-6])
    if fw is JAX:  # which compiles for long, and for nothing that the others do not show
        return
    for composition, found in fw.seconds(square, (near,), (e,), (h,)).items():
        assert abs(found - 2 * e @ h) < 1e-8, composition


METHANE = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [1, -1, -1], [-1, 1, -1.0]])
PLANAR = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0.0]])
SKEWED = np.array([[3, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1.0]])


@pytest.mark.parametrize("copy", ["same", "turned", "mirrored"])
@pytest.mark.parametrize(
    "points", [METHANE, PLANAR, SKEWED], ids=["tetrahedron", "planar", "skewed"]
)
def test_alignment_of_symmetric_planar_and_mirrored_sets(points, copy):
    if copy == "mirrored" and points is METHANE:
        pytest.skip("the rotation is not unique")
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    p, q = points, points + np.array([1.0, 2, 3])
    q = {"same": q, "turned": q @ quarter.T, "mirrored": q * [1, 1, -1]}[copy]
    rng = np.random.default_rng(0)
    e, h = rng.standard_normal((2, *p.shape))
    weights = np.linspace(1, 2, len(p)) if points is SKEWED else np.ones(len(p))
    c = rng.standard_normal((4, 3))

    with mp.workdps(reference.DIGITS):
        pm, qm, em, hm, cm = (reference.matrix(x) for x in (p, q, e, h, c))
        share = [mp.mpf(x) / mp.fsum(weights) for x in weights]

        def true(s, t):
            x, y = pm + s * reference.STEP * em, qm + t * reference.STEP * hm
            mean = lambda z: mp.matrix(  # noqa: E731
                [mp.fsum(share[i] * z[i, j] for i in range(z.rows)) for j in range(3)]
            )
            mx, my = mean(x), mean(y)
            k = mp.zeros(3)
            for i, weight in enumerate(share):
                k += weight * (y[i, :].T - my) * (x[i, :].T - mx).T
            u, s_, vh = mp.svd_r(k)
            r = u * mp.diag([1, 1, mp.sign(mp.det(u * vh))]) * vh
            shift = my - r * mx
            return mp.fsum(cm[i, j] * r[i, j] for i in range(3) for j in range(3)) + mp.fsum(
                cm[3, j] * shift[j] for j in range(3)
            )

        first = float((true(1, 1) - true(-1, -1)) / (2 * reference.STEP))
    for fw in FRAMEWORKS:

        def loss(p, q, fw=fw):
            r, t = lw.align(p, q, fw.array(weights))
            return (fw.array(c[:3]) * r).sum() + (fw.array(c[3]) * t).sum()

        assert abs(fw.jvp(loss, (p, q), (e, h)) - first) < 1e-13 * max(1, abs(first)), fw.name
        g = fw.grad(loss, (p, q))
        assert abs(inner(g, (e, h)) - first) < 1e-13 * max(1, abs(first)), fw.name


def test_whitened_samples_have_covariance_one_and_signs_of_their_own():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 3)) + 1j * rng.standard_normal(
        (30, 3)
    )
    for method in ("zca", "pca", "cholesky"):
        for samples in (x, x.real):
            y = lw.whiten(samples, method)
            assert np.abs(y.mean(0)).max() < 1e-14
            assert np.abs(y.conj().T @ y / 29 - np.eye(3)).max() < 1e-13
    loss = lambda x: (lw.whiten(x, "pca")[0] ** 3).sum()  # noqa: E731
    e, step = rng.standard_normal((30, 3)), 1e-5
    x = x.real
    difference = (loss(x + step * e) - loss(x - step * e)) / (2 * step)
    for fw in FRAMEWORKS:
        assert abs(fw.jvp(loss, (x,), (e,)) - difference) < 1e-8 * abs(difference)


def test_operator_integrals_of_large_matrices_are_formed_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    a, e, h = (x + x.T for x in rng.standard_normal((3, 12, 12)))
    first = lambda a: lw.jvp(lambda a: lw.expm(a, hermitian=True), (a,), (e,))[1]  # noqa: E731
    whole = lw.jvp(first, (a,), (h,))[1]
    monkeypatch.setattr(operator_integral, "_LARGEST", 12 * 12 * 5)
    parts = lw.jvp(first, (a,), (h,))[1]
    assert np.abs(parts - whole).max() <= 1e-15 * np.abs(whole).max()
    matrix = Q[:, :3] @ np.diag([3.0, 2.0, 2.0])
    slope = lambda a: lw.jvp(lambda a: lw.low_rank(a, 1), (a,), (e[:4, :3],))[1]  # noqa: E731
    parts = lw.jvp(slope, (matrix,), (h[:4, :3],))[1]
    monkeypatch.undo()
    assert np.allclose(parts, lw.jvp(slope, (matrix,), (h[:4, :3],))[1], atol=1e-14, rtol=0)


def entangled(xp, w):
    """An equivariant map with all terms that permutations allow, to the third order."""
    s, c = (w**2).sum(-1)[..., None], (w**3).sum(-1)[..., None]
    return (
        xp.exp(-w) * xp.sin(w + s / 7) / xp.exp(-w).sum(-1)[..., None] + w * c / 9 + w * w * s / 11
    )


def entangled_50_digits(w):
    s, c, z = sum(x**2 for x in w), sum(x**3 for x in w), sum(mp.exp(-x) for x in w)
    return [mp.exp(-x) * mp.sin(x + s / 7) / z + x * c / 9 + x * x * s / 11 for x in w]


@pytest.mark.parametrize(
    "sizes",
    ["22", "31", "4", *(pytest.param(s, marks=pytest.mark.slow) for s in ("53", "211", "8", "62"))],
)
def test_maps_of_the_spectrum_are_differentiated_thrice_at_clusters_of_any_size(sizes):
    values = [float(i + 1) for i, size in enumerate(sizes) for _ in range(int(size))]
    n = len(values)
    q = np.eye(n) - 2 / n * np.ones((n, n))
    a = q @ np.diag(values) @ q
    rng = np.random.default_rng(0)
    e, c = (x + x.T for x in rng.standard_normal((2, n, n)))

    with mp.workdps(reference.DIGITS):
        step, at = mp.mpf(10) ** -15, {}
        function = hermitian_map(entangled_50_digits)
        for t in range(-2, 3):
            x = function(reference.matrix(a) + t * step * reference.matrix(e))
            at[t] = mp.fsum(mp.mpf(c[i, j]) * x[i, j] for i in range(n) for j in range(n))
        true = [
            (at[1] - at[-1]) / (2 * step),
            (at[1] - 2 * at[0] + at[-1]) / step**2,
            (at[2] - 2 * at[1] + 2 * at[-1] - at[-2]) / (2 * step**3),
        ]

    def along(f):
        return lambda a: lw.jvp(f, (a,), (e,))[1]

    loss = lambda a: (c * lw.spectral_map(a, lambda w: entangled(np, w))).sum()  # noqa: E731
    for order, value in enumerate(true, start=1):
        loss = along(loss)
        assert abs(loss(a) - value) <= 10.0 ** (order - 14) * abs(value), order
    # and no further, which is said
    assert np.isnan(along(loss)(a))


def test_fourth_derivatives_of_maps_of_simple_spectra_exist():
    a, e = Q @ np.diag([1.0, 2.0, 3.0, 4.0]) @ Q, np.ones((4, 4)) + np.diag([0.0, 1, 2, 3])

    def along(f):
        return lambda a: lw.jvp(f, (a,), (e,))[1]

    loss = lambda a: lw.spectral_map(a, np.sin)[0, 1]  # noqa: E731
    true = lambda a: lw.funm(a, np.sin)[0, 1]  # noqa: E731
    for _ in range(4):
        loss, true = along(loss), along(true)
    assert abs(loss(a) - true(a)) <= 1e-11 * abs(true(a))


def test_a_function_may_vary_much_faster_than_the_eigenvalues_are_spread():
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    a = (q * [1.0, 0.13, 1.7e-2, 1e-3, 1.1e-5, 1e-6]) @ q.T
    a, c = (a + a.T) / 2, rng.standard_normal((6, 6))

    def gradient(function):
        return lw.vjp(lambda a: (c * function(a)).sum(), a)[1](np.array(1.0))[0]

    def close(x, y):
        return np.linalg.norm(x - y) <= 1e-12 * np.linalg.norm(y)

    right = gradient(lambda a: lw.logm(a, hermitian=True))
    assert close(gradient(lambda a: lw.funm(a, np.log)), right)
    assert close(gradient(lambda a: lw.spectral_map(a, np.log)), right)
    right = gradient(lambda a: lw.sqrtm(a, hermitian=True))
    assert close(gradient(lambda a: lw.funm(a, np.sqrt)), right)
    # the second derivative of log det is -tr(A^-1 E A^-1 E)
    e = np.outer(q[:, 4], q[:, 5]) + np.outer(q[:, 5], q[:, 4])
    along = lambda a: lw.jvp(lambda a: lw.spectral_sum(a, np.log), (a,), (e,))[1]  # noqa: E731
    inverse = np.linalg.inv(a)
    curvature = -np.trace(inverse @ e @ inverse @ e)
    assert abs(lw.jvp(along, (a,), (e,))[1] - curvature) <= 1e-8 * abs(curvature)
    # singular values far below the largest
    a, e = np.diag([1.0, 5e-5, 1e-6]), np.zeros((3, 3))
    e[1, 2] = e[2, 1] = 1
    f = lambda s: s / (s * s + 1e-10) ** 0.5  # noqa: E731
    slope = (f(5e-5) - f(1e-6)) / (5e-5 - 1e-6)
    found = lw.jvp(lambda a: lw.singular_value_map(a, f), (a,), (e,))[1][1, 2]
    assert abs(found - slope) <= 1e-12 * slope


@pytest.mark.parametrize("size", [0.0, 1e-17, 1.0, 1e5])
def test_a_multiple_of_the_identity_up_to_rounding(size):
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    noise, c = rng.standard_normal((2, 6, 6))
    a = (q * size) @ q.T + 1e-17 * max(size, 1.0) * (noise + noise.T)
    a = (a + a.T) / 2
    for f, slope in ((np.exp, np.exp), (np.sin, np.cos), (lambda x: 2 * x, lambda x: 2 + 0 * x)):
        if f is np.exp and size > 1:
            continue
        (g,) = lw.vjp(lambda a, f=f: (c * lw.funm(a, f)).sum(), a)[1](np.array(1.0))
        expected = slope(size) * (c + c.T) / 2
        assert np.abs(g - expected).max() <= 1e-14 * max(size, 1.0) * np.abs(c).max()


@pytest.mark.parametrize("p", [33, 60.5, 100, -10.5, -30, -100])
def test_second_derivatives_of_large_powers(p):
    a, e = np.diag([1.0, 1.2, 1.45]), np.array([[1.0, 2, 1], [2, 0.5, 1], [1, 1, 3]])
    first = lambda a: lw.jvp(  # noqa: E731
        lambda a: lw.fractional_matrix_power(a, p, hermitian=True), (a,), (e,)
    )[1]
    with mp.workdps(80):
        step, am, em = mp.mpf(10) ** -20, reference.matrix(a), reference.matrix(e)
        power = hermitian_map(lambda w: [x ** mp.mpf(p) for x in w])
        true = power(am + step * em) - 2 * power(am) + power(am - step * em)
        true = np.array((true / step**2).tolist(), float)
    error = np.linalg.norm(lw.jvp(first, (a,), (e,))[1] - true)
    assert error <= 1e-12 * np.linalg.norm(true)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, marks=pytest.mark.slow, id=name)
        for name, shape in (("tall", (4, 3, 2)), ("wide", (4, 2, 3)))
    ],
)
def test_derivatives_of_a_vmap_of_rectangular_matrices_in_jax(shape):
    a = jnp.asarray(np.random.default_rng(0).standard_normal(shape))
    functions = (
        lambda a: lw.singular_value_map(a, jnp.tanh),
        lambda a: lw.low_rank(a, 1),
        lambda a: lw.svd(a).Vh[:1] * lw.svd(a).S[0],
    )

    def each(a):
        return jnp.stack([jnp.sum(jnp.abs(f(a)) ** 3) for f in functions]).sum()

    def twice(f):
        return jax.grad(lambda a: jnp.sum(jax.grad(f)(a) ** 2))

    together, alone = jax.jit(twice(lambda a: jax.vmap(each)(a).sum())), jax.vmap(twice(each))
    assert np.abs(together(a) - alone(a)).max() <= 1e-12 * np.abs(alone(a)).max()


def test_only_the_lower_triangle_of_a_hermitian_matrix_is_read():
    a = np.array([[1.0, 99.0], [0.5, 2.0]])
    h = np.array([[1.0, 0.5], [0.5, 2.0]])
    for f in (
        lambda a: lw.spectral_mean(a, 1),
        lambda a: lw.spectral_projector(a, 1),
        lambda a: lw.sqrtm(a, hermitian=True),
        lambda a: lw.pinv(a, hermitian=True),
        lambda a: lw.spectral_sum(a, np.exp),
        lambda a: lw.spectral_map(a, np.exp),
        lambda a: lw.sum_largest(a, 1),
    ):
        assert np.array_equal(f(a), f(h))


def test_whitening_needs_samples_of_full_rank():
    x = np.random.default_rng(0).standard_normal((8, 2)) @ np.ones((2, 4))
    assert np.isnan(lw.whiten(x, "pca")).any()
    with pytest.raises(ValueError, match="more samples than variables"):
        lw.whiten(x[:4])
