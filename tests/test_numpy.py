"""lw.jvp and lw.vjp on NumPy arrays and on arrays of another array API library."""

import functools
import math

import array_api_strict as strict
import numpy as np
import pytest

import loewner as lw

RNG = np.random.default_rng(0)
A = RNG.standard_normal((4, 4))
E = RNG.standard_normal((4, 4))


def numerical(f, a, e, h=1e-3):
    # sixth order
    return (
        45 * (f(a + h * e) - f(a - h * e))
        - 9 * (f(a + 2 * h * e) - f(a - 2 * h * e))
        + (f(a + 3 * h * e) - f(a - 3 * h * e))
    ) / (60 * h)


OPERATIONS = {
    "arithmetic": lambda a: ((2 - a) * a / (a + 7) - 1 / (3 + a * a) + (-a) ** 2 + 2**a).sum(),
    "power": lambda a: ((a + 9) ** 1.5).sum() + ((a * a + 1) ** (a + 1)).sum(),
    "matmul": lambda a: (a @ a[0] @ a).sum() + (a[1] @ a).sum() + a[0] @ a[1],
    "batched matmul": lambda a: (np.stack([a, 2 * a]) @ a[None]).sum(),
    "elementwise": lambda a: np.sum(
        np.exp(a)
        + np.sin(a) * np.cos(a)
        + np.tanh(a)
        + np.sqrt(a + 9)
        + np.log(a + 9)
        + np.arctan(a)
        + np.expm1(a)
        + np.log1p(a + 9)
        + np.sinh(a)
        - np.cosh(a)
        + np.square(a)
    ),
    "indexing": lambda a: a[1, 2] * a[..., 0].sum() + (a[:, None, 1:3] * a[::2, 1:3]).sum(),
    "integer and boolean indices": lambda a: (a[[0, 0, 2]] * a[A > 0].sum()).sum(),
    "repeated indices in tuples": lambda a: (a[(0, 0),] * a[:, (1, 1)][:2, :1]).sum(),
    "negative axes": lambda a: (np.transpose(a, (-1, 0)) * A).sum() + (a.swapaxes(0, -1) * A).sum(),
    "lists": lambda a: ([1.0, 2.0, 3.0, 4.0] * a).sum() + np.concatenate([[1.0], a[0]]).sum(),
    "reductions": lambda a: np.max(a) * np.min(a, axis=0).sum() + np.sum(a, axis=(0, 1)) ** 2,
    "means": lambda a: np.mean(a, axis=0)[1] * a.mean() * a.max() - a.min(axis=1).mean(),
    "shapes": lambda a: (np.reshape(a, (2, 8)) @ np.transpose(a).reshape(8, 2)).sum(),
    "concatenate": lambda a: (np.concatenate([a, a * a], axis=1) ** 2).sum(),
    "where and abs": lambda a: np.where(A > 0, a * a, np.abs(a)).sum(),
    "trace and diagonal": lambda a: np.trace(a @ a) * np.diagonal(a).sum(),
    "complex": lambda a: np.real(np.conj(a * 1j + a @ a) * (a + 2j)).sum() + np.imag(a * 1j).sum(),
    "modulus": lambda a: np.abs(a + 1j * (a @ a)).sum(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_arithmetic_around_decompositions_is_followed_in_both_modes(name):
    f = OPERATIONS[name]
    _, tangent = lw.jvp(f, (A,), (E,))
    assert abs(tangent - numerical(f, A, E)) < 1e-8 * max(1, abs(tangent))
    value, pullback = lw.vjp(f, A)
    assert value == f(A)
    (g,) = pullback(np.array(1.0))
    assert abs(np.sum(g * E) - tangent) < 1e-12 * max(1, abs(tangent))
    second = lw.jvp(lambda a: lw.vjp(f, a)[1](np.array(1.0))[0], (A,), (E,))[1]
    twice = lw.jvp(lambda a: lw.jvp(f, (a,), (E,))[1], (A,), (E,))[1]
    assert abs(np.sum(second * E) - twice) < 1e-10 * max(1, abs(twice))


def test_outputs_keep_their_structure():
    out, tangent = lw.jvp(lambda a: {"svd": lw.svd(a), "more": [a, 1.0]}, (A,), (E,))
    assert isinstance(out["svd"], lw.SVDResult)
    assert isinstance(tangent["svd"], lw.SVDResult)
    assert tangent["more"][0] is not A
    assert tangent["more"][1] == 0


def test_absent_cotangents_and_independent_outputs():
    (w, _), pullback = lw.vjp(lw.eigh, A + A.T)
    (g,) = pullback((np.ones_like(w), None))
    assert np.allclose(g, np.eye(4))
    _, pullback = lw.vjp(lambda a: np.ones(3), A)
    assert (pullback(np.ones(3))[0] == 0).all()


def test_several_arguments():
    b = A @ A.T + np.eye(4)
    _, pullback = lw.vjp(lambda a, b: lw.eigvalsh(a, b).sum(), A + A.T, b)
    ga, gb = pullback(np.array(1.0))
    assert np.allclose(ga, np.linalg.inv(b))
    assert np.allclose(gb, -np.linalg.inv(b) @ (A + A.T) @ np.linalg.inv(b))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (np.cumsum, "cannot follow cumsum"),
        (np.linalg.svd, "lw.svd can"),
        (np.linalg.det, "cannot follow det"),
        (np.add.reduce, "cannot follow add"),
        (lambda a: np.arctan2(a, a), "cannot follow arctan2"),
    ],
)
def test_what_cannot_be_followed_raises(f, message):
    with pytest.raises(TypeError, match=message):
        lw.jvp(f, (A,), (E,))


def test_wrong_calls_raise():
    with pytest.raises(ValueError, match="tangent 0 has shape"):
        lw.jvp(lw.eigvalsh, (A,), (E[:2],))
    with pytest.raises(ValueError, match="1 primals but 2 tangents"):
        lw.jvp(lw.eigvalsh, (A,), (E, E))
    with pytest.raises(TypeError, match="no derivatives"):
        lw.vjp(lw.eigvalsh, np.eye(3, dtype=int))
    with pytest.raises(TypeError, match="tuple of arrays"):
        lw.jvp(lw.eigvalsh, A, E)  # pyright: ignore[reportArgumentType]
    _, pullback = lw.vjp(lw.eigvalsh, A)
    with pytest.raises(ValueError, match="cotangent has shape"):
        pullback(np.ones(3))


def test_frameworks_with_derivatives_are_sent_to_their_own():
    import jax.numpy as jnp
    import torch

    with pytest.raises(TypeError, match=r"jax\.jvp"):
        lw.jvp(lw.eigvalsh, (jnp.eye(2),), (jnp.eye(2),))
    with pytest.raises(TypeError, match=r"torch\.func\.vjp"):
        lw.vjp(lw.eigvalsh, torch.eye(2))


def test_array_api_strict_arrays_have_the_derivatives_of_numpy_arrays():
    a, e = strict.asarray(A + A.T), strict.asarray(E + E.T)

    def f(a):
        w, v = lw.eigh(a)
        p = v[:, :2] @ v[:, :2].mT
        return (p * p * p).sum() + (w * w).sum()

    def g(a):
        w, v = lw.eigh(a)
        p = v[:, :2] @ np.swapaxes(v[:, :2], 0, 1)
        return (p * p * p).sum() + (w * w).sum()

    _, tangent = lw.jvp(f, (a,), (e,))
    _, pullback = lw.vjp(f, a)
    assert abs(float(tangent) - lw.jvp(g, (A + A.T,), (E + E.T,))[1]) < 1e-12
    assert isinstance(pullback(strict.asarray(1.0))[0], type(a))


def test_second_derivatives_of_vectors_of_array_api_strict_arrays():
    a, e = strict.asarray(A), strict.asarray(E)

    def second(a, e):
        first = lambda a: lw.jvp(lambda a: lw.svd(a).U, (a,), (e,))[1]  # noqa: E731
        return lw.jvp(first, (a,), (e,))[1]

    assert np.abs(np.asarray(second(a, e)) - second(A, E)).max() < 1e-12

    def loss(a):
        u = lw.svd(a).U
        return (u[:, :2] @ u[:, :2].mT)[0, 1]

    gradient = lambda a: lw.vjp(loss, a)[1](strict.asarray(1.0))[0]  # noqa: E731
    moved = lw.jvp(gradient, (a,), (e,))[1]
    assert np.isfinite(np.asarray(moved)).all()


@pytest.mark.parametrize("name", ["svd", "svdvals", "eigh", "eigvalsh", "eig"])
def test_arrays_stay_on_their_device(name):
    device = strict.Device("device1")
    a = strict.asarray(A + A.T, device=device)

    def f(a):
        out = getattr(lw, name)(a)
        out = lw.fix_phase(out, rows=0) if isinstance(out, tuple) else out
        out = lw.fix_phase(out) if isinstance(out, tuple) else out
        x = out[1] if isinstance(out, tuple) else out
        return (x * x * x)[..., 0].sum()

    value, pullback = lw.vjp(f, a)
    (g,) = pullback(strict.ones((), dtype=value.dtype, device=device))
    assert g.device == device
    b = a @ a + strict.eye(4, device=device)
    w, pullback = lw.vjp(lw.eigvalsh, a, b)
    assert pullback(w)[1].device == device


@pytest.mark.parametrize(
    "f",
    [
        lambda a: math.sin(a[0, 0]),
        lambda a: float(a[0, 0]),
        lambda a: complex(a[0, 0]),
        lambda a: np.array([a[0, 0], a[1, 1]]),
        lambda a: np.array([a[0, 0], a[1, 1]], dtype=float),
        lambda a: np.asarray(a) * 1.0,
        lambda a: np.full((2,), a[0, 0]),
        lambda a: fill(np.zeros(2), a[0, 0]),
        lambda a: np.cumulative_sum(a, axis=0),
        lambda a: np.sum(a, initial=5.0),
        lambda a: np.sum(a, dtype=np.float32),
        lambda a: np.sign(a + 1j),
    ],
)
def test_no_derivative_is_lost_on_the_way_in_silence(f):
    # NumPy turns the TypeError of an assignment into a ValueError
    with pytest.raises((TypeError, ValueError)):
        lw.jvp(f, (A,), (E,))


def fill(x, value):
    x[0] = value
    return x


def test_what_is_constant_has_derivative_zero():
    for f in (lambda a: np.sign(a).sum(), lambda a: (a * 0 + a.astype(int)).sum()):
        assert lw.jvp(f, (A,), (E,))[1] == 0


def test_powers_are_differentiated_at_zero_to_every_order():
    def derivative(f):
        return lambda x: lw.jvp(f, (x,), (np.ones(()),))[1]

    for power, orders in ((1, (1, 0, 0)), (2, (0, 2, 0)), (3, (0, 0, 6))):
        f = functools.partial(lambda power, x: x**power, power)
        for expected in orders:
            f = derivative(f)
            assert f(np.zeros(())) == expected


def test_complex_directions_of_real_arrays_are_refused():
    with pytest.raises(TypeError, match="tangent 0 is complex"):
        lw.jvp(lw.svdvals, (A,), (1j * A,))
    with pytest.raises(TypeError, match="cotangent of a real output"):
        lw.vjp(lw.svdvals, A)[1](1j * np.ones(4))


def test_a_pullback_does_not_see_later_changes_of_its_arrays():
    a = A.copy()
    (w, v), pullback = lw.vjp(lw.eigh, a + a.T)
    value, cube = lw.vjp(lambda x: (x**3).sum(), a)
    before = pullback((None, v.copy() ** 3))[0], cube(np.array(1.0))[0]
    cotangent = v.copy() ** 3
    a += 1
    v[:] = 0
    assert np.array_equal(pullback((None, cotangent))[0], before[0])
    assert np.array_equal(cube(np.array(1.0))[0], before[1])


def test_a_library_without_eig_says_so():
    from loewner.frameworks.numpy import StandardSolvers

    class Library:
        __name__ = "library"
        linalg = None

    with pytest.raises(NotImplementedError, match=r"'library' has no linalg\.eig"):
        StandardSolvers(Library()).eig(A, left=False)


def test_single_precision_is_computed_in_double_as_numpy_does():
    a = np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32)
    h = a + a.T
    for method in ("auto", "compiled", "lapack"):
        w, v = lw.eigh(h, method=method)
        s = lw.svdvals(a, method=method)
        assert w.dtype == v.dtype == s.dtype == np.float32
        exact = np.linalg.eigvalsh(h.astype(np.float64)).astype(np.float32)
        np.testing.assert_allclose(w, exact, rtol=0, atol=float(np.spacing(np.abs(exact).max())))
        size = float(np.finfo(np.float32).eps)
        np.testing.assert_allclose(v.astype(float).T @ v, np.eye(32), rtol=0, atol=size)
        np.testing.assert_allclose(
            s, np.linalg.svd(a.astype(np.float64))[1], rtol=0, atol=float(np.spacing(s[0]))
        )
