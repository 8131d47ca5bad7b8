"""Functions of general matrices against 40 digits: defective, nonnormal, real and complex.

The derivatives of f at A along E and H are blocks of f of one block triangular matrix
(Mathias), which mpmath evaluates: exact references, at defective matrices too.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import torch
from bench import FRAMEWORKS, inner
from reference import matrix

import loewner as lw
from loewner.frameworks.arrays import NUMPY as LIBRARY
from loewner.rules.frechet import Exp, Frechet, InverseSqrt, Log, Lowest, Projector, Sign

NUMPY, JAX, TORCH, AUTOGRAD = FRAMEWORKS
DIGITS = 40
N = 4


class Matrix(NamedTuple):
    a: np.ndarray
    middle: float
    """Where the line between the eigenvalues that a projector selects and the others lies."""
    condition: float = 1.0


def _matrices() -> dict[str, Matrix]:
    p = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 1.0]])
    jordan = np.diag([2.0, 2, 2, 5]) + np.diag([1.0, 1, 0], 1)
    steep = np.eye(N) + np.diag([30.0, 30, 30], 1)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((N, N))
    pairs = np.array([[1, 2, 0, 0], [-2, 1, 0, 0], [0, 0, 3, 1], [0, 0, -1, 3.0]])
    return {
        # integers: exactly defective, with a block of order three
        "defective": Matrix(p @ jordan @ np.round(np.linalg.inv(p)), 3.0),
        "conjugate pairs": Matrix(pairs + 0.3 * noise, 2.0),
        # integers: eigenvalues 1, 2, 3, 4 with condition numbers up to 2e4
        "ill-conditioned": Matrix(
            steep @ np.diag([1.0, 2, 3, 4]) @ np.round(np.linalg.inv(steep)), 2.5, 1e4
        ),
        "complex": Matrix(
            np.diag([1 + 1j, 2 - 1j, 1j - 0.3, 3]) + 0.3 * (noise + 1j * noise.T), 1.5
        ),
    }


MATRICES = _matrices()
REAL = [name for name, m in MATRICES.items() if not np.iscomplexobj(m.a)]


def _root(m: Any) -> Any:
    x, y = m, mp.eye(m.rows)
    while True:
        new = (x + mp.inverse(y)) / 2
        y = (y + mp.inverse(x)) / 2
        if mp.norm(new - x) < mp.mpf(10) ** (5 - mp.mp.dps) * mp.norm(x):
            return new
        x = new


def _sign(m: Any) -> Any:
    while True:
        new = (m + mp.inverse(m)) / 2
        if mp.norm(new - m) < mp.mpf(10) ** (5 - mp.mp.dps) * mp.norm(m):
            return new
        m = new


_LOGARITHMS: dict[Any, Any] = {}


def _log(m: Any) -> Any:
    key = tuple(m)
    if key not in _LOGARITHMS:
        _LOGARITHMS[key] = _log_by_roots(m)
    return _LOGARITHMS[key]


def _log_by_roots(m: Any) -> Any:
    one, roots = mp.eye(m.rows), 5  # which bring the eigenvalues of MATRICES to 1 within 0.1
    for _ in range(roots):
        m = _root(m)
    z = (m - one) * mp.inverse(m + one)  # log m = 2 atanh z
    square, power, out = z * z, z, z
    for j in range(3, 2 * mp.mp.dps, 2):
        power = power * square
        out = out + power / j
        if mp.norm(power) < mp.mpf(10) ** (-mp.mp.dps):
            break
    return out * 2 ** (roots + 1)


def _exp(m: Any) -> Any:
    return mp.expm(m, method="taylor")


class Function(NamedTuple):
    ours: Callable[[Any, Any], Any]
    """The function of the matrix and of `middle` times the identity."""
    true: Callable[[Any, Any], Any]


FUNCTIONS = {
    "expm": Function(lambda a, x: lw.expm(a), lambda m, x: _exp(m)),
    "logm": Function(lambda a, x: lw.logm(a), lambda m, x: _log(m)),
    "sqrtm": Function(lambda a, x: lw.sqrtm(a), lambda m, x: _root(m)),
    "invsqrtm": Function(lambda a, x: lw.invsqrtm(a), lambda m, x: mp.inverse(_root(m))),
    "power 1/3": Function(
        lambda a, x: lw.fractional_matrix_power(a, 1 / 3),
        lambda m, x: _exp(_log(m) * mp.mpf(1 / 3)),
    ),
    "power -2.5": Function(
        lambda a, x: lw.fractional_matrix_power(a, -2.5),
        lambda m, x: mp.inverse(m * m * _root(m)),
    ),
    "power 3": Function(lambda a, x: lw.fractional_matrix_power(a, 3), lambda m, x: m * m * m),
    "signm": Function(lambda a, x: lw.signm(a - x), lambda m, x: _sign(m - x)),
    "spectral_projector": Function(
        lambda a, x: lw.spectral_projector(a - x, (-9.0, 0.0), hermitian=False),
        lambda m, x: (mp.eye(m.rows) - _sign(m - x)) / 2,
    ),
}


def directions(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """E, H and the weights of the loss."""
    rng = np.random.default_rng(1)
    e, h, c = rng.standard_normal((3, N, N))
    if name in REAL:
        return e, h, c
    return e + 1j * h.T, h - 0.5j * c, c + 1j * e


@functools.cache
def truth(function: str, name: str) -> tuple[np.ndarray, ...]:
    """f(A), Df[E], Df[H] and D2f[E, H]."""
    a, x, _ = MATRICES[name]
    e, h, _ = directions(name)
    o = np.zeros_like(a)
    big = np.block([[a, e, h, o], [o, a, o, h], [o, o, a, e], [o, o, o, a]])
    with mp.workdps(DIGITS):
        f = FUNCTIONS[function].true(matrix(big), x * mp.eye(4 * N))
        row = np.array(f[:N, :].tolist(), dtype=complex)
    return tuple(np.split(row, 4, axis=1))


def loss_of(function: str, x: Any, c: Any, fw: Any) -> Callable[[Any], Any]:
    """t + 0.3 t^2 with t = Re tr C^H f(A)."""

    def loss(a):
        t = fw.real(fw.conj(c) * FUNCTIONS[function].ours(a, x)).sum()
        return t + 0.3 * t * t

    return loss


def expected(function: str, name: str) -> tuple[float, float, float]:
    """The loss, its derivative along E and its second derivative along E and H."""
    c = directions(name)[2]
    t, te, th, teh = (np.vdot(c, x).real for x in truth(function, name))
    return t + 0.3 * t * t, (1 + 0.6 * t) * te, (1 + 0.6 * t) * teh + 0.6 * te * th


def close(value: Any, true: float, function: str, name: str, order: int) -> bool:
    """To the precision and the condition; sums that cancel are held to their terms."""
    c = np.linalg.norm(directions(name)[2])
    f, fe, fh, feh = (c * np.linalg.norm(x) for x in truth(function, name))
    size = (f * (1 + f), fe * (1 + f), feh * (1 + f) + fe * fh)[order]
    return bool(abs(float(value) - true) <= 1e-14 * MATRICES[name].condition * size)


# 40 digits of these take ten seconds
LONG = {("power 1/3", "ill-conditioned"), ("logm", "ill-conditioned")}
EACH = [
    pytest.param(f, name, marks=[pytest.mark.slow] if (f, name) in LONG else [])
    for f in FUNCTIONS
    for name in MATRICES
]


@pytest.mark.parametrize(("function", "name"), EACH)
def test_values_and_two_derivatives_are_those_of_40_digits(function, name):
    a, x, condition = MATRICES[name]
    e, h, c = directions(name)
    value, first, second = expected(function, name)
    f, true = FUNCTIONS[function].ours(a, x * np.eye(N)), truth(function, name)[0]
    assert np.linalg.norm(f - true) <= 1e-14 * condition * np.linalg.norm(true)
    assert f.dtype == a.dtype
    for fw in (NUMPY, TORCH, AUTOGRAD):
        loss = loss_of(function, fw.array(x * np.eye(N)), fw.array(c), fw)
        assert close(fw.numpy(loss(fw.array(a))), value, function, name, 0), fw.name
        assert close(fw.jvp(loss, (a,), (e,)), first, function, name, 1), fw.name
        assert close(inner(fw.grad(loss, (a,)), (e,)), first, function, name, 1), fw.name
        for composition, found in fw.seconds(loss, (a,), (e,), (h,)).items():
            assert close(found, second, function, name, 2), (fw.name, composition)


# XLA takes seconds to compile each of the others
IN_JAX = [
    pytest.param(f, marks=[] if f in ("expm", "signm", "spectral_projector") else pytest.mark.slow)
    for f in FUNCTIONS
]


@pytest.mark.parametrize("function", IN_JAX)
def test_derivatives_in_jax_under_jit_are_those_of_40_digits(function):
    @jax.jit
    def both(a, e, c, x):
        loss = loss_of(function, x, c, JAX)
        return (loss(a), *jax.jvp(lambda a: jax.jvp(loss, (a,), (e,))[1], (a,), (e,)))

    @jax.jit
    def gradient(a, c, x):
        return jnp.conj(jax.grad(loss_of(function, x, c, JAX))(a))

    for name in MATRICES if function == "signm" else REAL:
        a, x, _ = MATRICES[name]
        e, _, c = directions(name)
        value, first, _ = expected(function, name)
        found = both(a, e, c, x * np.eye(N))
        assert close(found[0], value, function, name, 0)
        assert close(found[1], first, function, name, 1)
        assert close(inner((gradient(a, c, x * np.eye(N)),), (e,)), first, function, name, 1)


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_second_derivatives_in_jax_are_right_in_every_composition_of_modes(function):
    name = "complex" if function in ("expm", "sqrtm") else "defective"
    a, x, _ = MATRICES[name]
    e, h, c = directions(name)
    loss = loss_of(function, jnp.asarray(x * np.eye(N)), jnp.asarray(c), JAX)
    for composition, found in JAX.seconds(loss, (a,), (e,), (h,)).items():
        assert close(found, expected(function, name)[2], function, name, 2), composition


def test_hessians_in_jax_agree_with_those_of_40_digits():
    a, x, _ = MATRICES["defective"]
    e, h, c = directions("defective")
    loss = loss_of("signm", jnp.asarray(x * np.eye(N)), jnp.asarray(c), JAX)
    found = jnp.einsum("ij,ijkl,kl", e, jax.jit(jax.hessian(loss))(jnp.asarray(a)), h)
    assert close(found, expected("signm", "defective")[2], "signm", "defective", 2)


@pytest.mark.parametrize("function", ["expm", "sqrtm", "signm", "spectral_projector"])
def test_third_derivatives_of_a_defective_matrix_are_those_of_40_digits(function):
    a, x, _ = MATRICES["defective"]
    e, _, c = directions("defective")
    o = np.zeros_like(a)
    big = np.block([[a, e, o, o], [o, a, e, o], [o, o, a, e], [o, o, o, a]])
    with mp.workdps(DIGITS):
        f = FUNCTIONS[function].true(matrix(big), x * mp.eye(4 * N))
        taylor = np.split(np.array(f[:N, :].tolist(), dtype=float), 4, axis=1)
    t, t1, t2, t3 = (k * (c * d).sum() for k, d in zip((1, 1, 2, 6), taylor, strict=True))
    true = (1 + 0.6 * t) * t3 + 1.8 * t1 * t2

    loss = loss_of(function, x * np.eye(N), c, NUMPY)
    first = lambda a: lw.jvp(loss, (a,), (e,))[1]  # noqa: E731
    second = lambda a: lw.jvp(first, (a,), (e,))[1]  # noqa: E731
    assert abs(lw.jvp(second, (a,), (e,))[1] - true) <= 1e-13 * abs(true)
    (g,) = lw.vjp(second, a)[1](np.array(1.0))
    assert abs(np.vdot(g, e) - true) <= 1e-13 * abs(true)

    loss = loss_of(function, torch.as_tensor(x * np.eye(N)), torch.as_tensor(c), TORCH)
    leaf = torch.as_tensor(a).requires_grad_()
    value = loss(leaf)
    for _ in range(3):
        (g,) = torch.autograd.grad(value, leaf, create_graph=True)
        value = (g * torch.as_tensor(e)).sum()
    assert abs(float(value.detach()) - true) <= 1e-13 * abs(true)


def _derivative(function, a, e):
    return lw.jvp(function, (a,), (e,))


@pytest.mark.parametrize("exponent", [-400, -12, 12, 400])
@pytest.mark.parametrize(
    ("f", "degree"),
    [
        (lw.sqrtm, 0.5),
        (lw.invsqrtm, -0.5),
        (lw.signm, 0.0),
        (lambda a: lw.fractional_matrix_power(a, 0.75), 0.75),
        (lambda a: lw.fractional_matrix_power(a, 1 / 3), 1 / 3),
        (lambda a: lw.spectral_projector(a, 3, hermitian=False), 0.0),
    ],
)
def test_the_scale_of_a_matrix_changes_no_relative_error(f, degree, exponent):
    a = MATRICES["defective"].a
    a = a - 3 * np.eye(N) if degree == 0 else a
    e, _, _ = directions("defective")
    scale = 2.0**exponent
    x, dx = _derivative(f, a, e)
    with mp.workdps(DIGITS):
        factor = float(mp.mpf(2) ** (exponent * mp.mpf(degree)))
    y, dy = _derivative(f, scale * a, scale * e)
    assert np.linalg.norm(y / factor - x) <= 1e-14 * np.linalg.norm(x)
    assert np.linalg.norm(dy / factor - dx) <= 1e-14 * np.linalg.norm(dx)


@pytest.mark.parametrize("exponent", [-400, -12, 12, 400])
def test_the_logarithm_at_any_scale_is_shifted(exponent):
    a = MATRICES["defective"].a
    e, _, _ = directions("defective")
    x, dx = _derivative(lw.logm, a, e)
    y, dy = _derivative(lw.logm, 2.0**exponent * a, 2.0**exponent * e)
    shift = exponent * np.log(2)
    assert np.linalg.norm(y - shift * np.eye(N) - x) <= 1e-15 * (abs(shift) + np.linalg.norm(x))
    assert np.linalg.norm(dy - dx) <= 1e-14 * np.linalg.norm(dx)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_single_precision_is_right_to_its_precision(function, dtype):
    name = "defective" if dtype is np.float32 else "complex"
    a, x, _ = MATRICES[name]
    e, _, _ = directions(name)
    shift = (x * np.eye(N)).astype(dtype)
    f, df = _derivative(
        lambda a: FUNCTIONS[function].ours(a, shift), a.astype(dtype), e.astype(dtype)
    )
    assert f.dtype == df.dtype == dtype
    # a and e are rounded
    for found, true in zip((f, df), truth(function, name), strict=False):
        assert np.linalg.norm(found - true) <= 1e-5 * np.linalg.norm(true)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_batches_are_what_a_loop_gives(function):
    # matrices that take different numbers of steps, one of them none at all: NaN
    a = np.stack([MATRICES[name].a for name in REAL] + [300 * np.eye(N), np.full((N, N), np.nan)])
    a = np.stack([a, a[::-1] + 0.5 * np.eye(N)])
    e = np.broadcast_to(directions("defective")[0], a.shape)
    x = 2.7 * np.eye(N)
    f = lambda a: FUNCTIONS[function].ours(a, x)  # noqa: E731
    whole, moved = _derivative(f, a, e)
    for index in np.ndindex(a.shape[:2]):
        one, one_moved = _derivative(f, a[index], e[index])
        assert np.array_equal(np.isnan(whole[index]), np.isnan(one))
        assert np.isnan(one).all() == np.isnan(a[index]).any()
        for found, true in ((whole[index], one), (moved[index], one_moved)):
            if np.isfinite(a[index]).all():
                assert np.linalg.norm(found - true) <= 1e-12 * (1e-300 + np.linalg.norm(true))


@pytest.mark.parametrize("function", ["expm", "sqrtm", "spectral_projector"])
def test_vmap_of_pytorch_is_what_a_loop_gives(function):
    a = torch.as_tensor(np.stack([MATRICES[name].a for name in REAL]))
    x, c = torch.as_tensor(2.7 * np.eye(N)), torch.as_tensor(directions("defective")[2])
    gradient = torch.func.grad(loss_of(function, x, c, TORCH))
    for found, one in zip(torch.func.vmap(gradient)(a), a, strict=True):
        true = gradient(one)
        assert (found - true).norm() <= 1e-12 * true.norm()
    jacobian = torch.func.jacrev(FUNCTIONS[function].ours)(a[0], x)
    forward = torch.func.jacfwd(FUNCTIONS[function].ours)(a[0], x)
    assert (jacobian - forward).norm() <= 1e-13 * jacobian.norm()


def test_vmap_of_jax_is_what_a_loop_gives():
    a = jnp.asarray(np.stack([MATRICES[name].a for name in REAL]))
    x, c = 2.7 * jnp.eye(N), jnp.asarray(directions("defective")[2])
    gradient = jax.jit(jax.grad(loss_of("signm", x, c, JAX)))
    for found, one in zip(jax.jit(jax.vmap(gradient))(a), a, strict=True):
        true = gradient(one)
        assert jnp.linalg.norm(found - true) <= 1e-13 * jnp.linalg.norm(true)


def test_roots_have_the_residual_of_backward_stable_ones():
    rng = np.random.default_rng(2)
    eps = np.finfo(float).eps
    for n in (3, 30):
        q, _ = np.linalg.qr(rng.standard_normal((n, n)))
        for a in (
            q * np.logspace(0, -8, n) @ q.T,
            q * np.logspace(0, -14, n) @ q.T,
            q @ (np.eye(n) + np.diag(np.full(n - 1, 1.0), 1)) @ q.T,
            np.eye(n) + np.diag(np.full(n - 1, 0.5), 1),
            q @ (np.diag(np.linspace(1, 2, n)) + np.triu(np.ones((n, n)), 1)) @ q.T,
            rng.standard_normal((n, n)).astype(complex),
        ):
            x = lw.sqrtm(a)
            assert np.linalg.norm(x @ x - a) <= n * eps * np.linalg.norm(x) ** 2


def test_exponentials_of_large_and_of_nonnormal_matrices():
    rng = np.random.default_rng(3)
    rates = rng.uniform(size=(N, N))
    rates = rates - np.diag(rates.sum(axis=1))
    s = rng.standard_normal((N, N))
    for a, bound in (
        (np.array([[1.0, 1e6], [0.0, -1.0]]), 1e-15),  # without overscaling
        (1e5 * rates, 1e-10),  # condition number 1e5
        (-300 * s @ s.T, 1e-11),
        (1e4 * (s - s.T), 1e-11),
        (1e-200 * s, 1e-16),
    ):
        with mp.workdps(DIGITS):
            true = np.array(_exp(matrix(a)).tolist(), dtype=float)
        assert np.linalg.norm(lw.expm(a) - true) <= bound * np.linalg.norm(true)
    nilpotent = np.array([[0.0, 1e200], [0.0, 0.0]])
    assert np.array_equal(lw.expm(nilpotent), np.eye(2) + nilpotent)


BRANCHED = ("logm", "sqrtm", "invsqrtm", "power 1/3")


@pytest.mark.parametrize("function", BRANCHED)
def test_on_the_cut_a_real_result_is_nan_and_a_complex_one_takes_the_upper_side(function):
    f = lambda a: FUNCTIONS[function].ours(a, 0.0)  # noqa: E731
    scalar = {
        "logm": np.log,
        "sqrtm": np.sqrt,
        "invsqrtm": lambda z: z**-0.5,
        "power 1/3": lambda z: z ** (1 / 3),
    }[function]
    rng = np.random.default_rng(4)
    v = rng.standard_normal((5, 5))
    for spectrum in ([-1, 2, 3, 4, 5], [-1, -2, -2, 1, 1], [-3, -3, -3, -3, -3]):
        w = np.array(spectrum, dtype=complex)
        a = v @ np.diag(w) @ np.linalg.inv(v)
        assert np.isnan(f(a.real)).all()
        x = f(a.real.astype(complex))
        true = v @ np.diag(scalar(w)) @ np.linalg.inv(v)
        assert np.linalg.norm(x - true) <= 1e-13 * np.linalg.cond(v) * np.linalg.norm(true)
    # eigenvalues on both sides of it
    w = np.array([-1 + 0.1j, -1 - 0.1j, 1j, -1j, -2 - 1j])
    x = f(v @ np.diag(w) @ np.linalg.inv(v))
    true = v @ np.diag(scalar(w)) @ np.linalg.inv(v)
    assert np.linalg.norm(x - true) <= 1e-13 * np.linalg.cond(v) * np.linalg.norm(true)


def test_derivatives_on_the_cut_continue_the_function_from_above():
    rng = np.random.default_rng(5)
    a = np.diag([-1.0, -2.0, 3.0]).astype(complex)
    e, g = rng.standard_normal((2, 3, 3)) + 1j * rng.standard_normal((2, 3, 3))
    x, dx = _derivative(lw.sqrtm, a, e)
    root = np.array([1j, 1j * np.sqrt(2), np.sqrt(3)])
    assert np.allclose(x, np.diag(root), rtol=0, atol=1e-15)
    assert np.allclose(dx, e / (root[:, None] + root), rtol=0, atol=1e-14)
    (back,) = lw.vjp(lw.sqrtm, a)[1](g)
    assert np.allclose(back, g / np.conj(root[:, None] + root), rtol=0, atol=1e-14)


def test_a_sign_that_rounding_errors_decide_is_nan():
    rng = np.random.default_rng(6)
    for n in (2, 3, 6):
        for dtype in (np.float64, np.float32, np.complex128):
            d = np.diag(np.linspace(-2, 2, n) + 0.3)
            d[:2, :2] = [[0.0, 1.0], [-1.0, 0.0]]
            v = rng.standard_normal((n, n))
            a = (v @ d @ np.linalg.inv(v)).astype(dtype)
            assert np.isnan(lw.signm(a)).all()
            assert np.isnan(_derivative(lw.signm, a, a)[1]).all()
    # and one that they do not decide is not
    a = np.array([[1e-6, 1.0, 0.0], [-1.0, 1e-6, 0.0], [3.0, 0.0, -1.0]])
    s = lw.signm(a)
    assert np.linalg.norm(s @ s - np.eye(3)) <= 1e-14
    assert np.linalg.norm(s @ a - a @ s) <= 1e-14


def test_projectors_of_real_matrices_do_not_split_conjugate_pairs():
    a, x, _ = MATRICES["conjugate pairs"]
    assert np.isnan(lw.spectral_projector(a, 1, hermitian=False)).all()
    p = lw.spectral_projector(a, 2, hermitian=False)
    assert p.dtype == a.dtype
    assert np.array_equal(p, lw.spectral_projector(a, (-9.0, x), hermitian=False))
    upper = lambda w: w.imag > 0  # noqa: E731
    assert np.isnan(lw.spectral_projector(a, upper, hermitian=False)).all()
    p = lw.spectral_projector(a.astype(complex), upper, hermitian=False)
    assert np.linalg.norm(p @ p - p) <= 1e-14
    assert np.linalg.norm(p + p.conj() - np.eye(N)) <= 1e-14


def test_projectors_that_cut_a_cluster_are_nan():
    jordan = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    q, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((3, 3)))
    for a in (np.eye(3), jordan, q @ jordan @ q.T):
        assert np.isnan(lw.spectral_projector(a, 1, hermitian=False)).all()
    assert np.array_equal(lw.spectral_projector(np.eye(3), 3, hermitian=False), np.eye(3))
    assert np.array_equal(lw.spectral_projector(np.eye(3), 0, hermitian=False), np.zeros((3, 3)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_not_finite_or_not_there_gives_nan_or_nothing(function):
    f = lambda a: FUNCTIONS[function].ours(a, 0.0)  # noqa: E731
    for fw in FRAMEWORKS if function in ("expm", "signm") else (NUMPY, TORCH):
        for bad in (np.nan, np.inf):
            a = np.diag([1.0, 2.0, 3.0])
            a[0, 1] = bad
            assert np.isnan(fw.numpy(f(fw.array(a)))).all()
        assert fw.numpy(f(fw.array(np.zeros((2, 0, 0))))).shape == (2, 0, 0)
        assert fw.numpy(f(fw.array(np.zeros((0, 2, 2))))).shape == (0, 2, 2)
    if function not in ("expm", "power 3", "spectral_projector"):
        assert np.isnan(f(np.diag([1.0, 2.0, 0.0]))).all()


def test_several_directions_share_one_value():
    # a stack of directions at one matrix

    a = MATRICES["defective"].a - 3 * np.eye(N)
    es = np.random.default_rng(8).standard_normal((5, N, N))
    for function in (Exp(), Log(), InverseSqrt(), Sign(), Projector(Lowest(3))):
        b = a + 3 * np.eye(N) if isinstance(function, (Log, InverseSqrt)) else a
        (found,) = LIBRARY.call(Frechet(function), b, es, es)
        one = np.stack([LIBRARY.call(Frechet(function), b, e, e)[0] for e in es])
        assert np.linalg.norm(found - one) <= 1e-13 * np.linalg.norm(one)
