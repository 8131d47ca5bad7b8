"""The kernels behind the decompositions: as accurate as LAPACK, and met under every transform."""

import contextlib
import functools
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import array_api_strict
import bench
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from bench import on_four_devices

import loewner as lw
from loewner.frameworks import foreign
from loewner.frameworks.numpy import HOST as NUMPY
from loewner.frameworks.torch import TEAM, OpenMP
from loewner.kernels import (
    Decomposition,
    Threads,
    choice,
    choose,
    compiled,
    decomposition,
    householder,
)
from loewner.kernels.householder import eigh_of_one, svd_of_one

PRECISIONS = ["float32", "float64", "complex64", "complex128"]
COUNT = 300


def _random(rng, dtype, *shape):
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if "complex" in dtype else x


def _spectrum(kind, k):
    return {
        "repeated": np.resize([1.0, 1.0, 2.0], k),
        "graded": np.logspace(0, -12, k),
        "rank one": np.eye(k)[0],
        "zero": np.zeros(k),
        "one": np.ones(k),
        "all short but one": np.where(np.arange(k) == 0, 1e-2, 1e-8),
    }.get(kind, np.linspace(1.0, 2.0, k))


KINDS = ["random", "repeated", "graded", "nearly diagonal", "rank one", "zero", "one", "identity"]
KINDS += ["huge", "tiny", "denormal", "all short but one"]
NORMAL = [kind for kind in KINDS if kind != "denormal"]  # XLA takes subnormal numbers for zero


def stack(kind, dtype, m, n, hermitian, count=COUNT):
    rng = np.random.default_rng(KINDS.index(kind))
    if kind == "identity":
        a = np.broadcast_to(np.eye(m, n), (count, m, n))
    elif kind == "nearly diagonal":
        a = np.eye(m, n) * np.arange(1, n + 1) + 1e-8 * _random(rng, dtype, count, m, n)
    elif kind in ("random", "huge", "tiny", "denormal"):
        a = _random(rng, dtype, count, m, n)
    else:
        k = min(m, n)
        u = np.linalg.qr(_random(rng, dtype, count, m, m))[0][..., :k]
        v = u if hermitian else np.linalg.qr(_random(rng, dtype, count, n, n))[0][..., :k]
        a = (u * _spectrum(kind, k)) @ v.conj().swapaxes(-1, -2)
    if hermitian:
        a = (a + a.conj().swapaxes(-1, -2)) / 2
    info = np.finfo(dtype)
    scale = {"huge": info.max / 64, "tiny": 100 * info.smallest_normal}
    scale["denormal"] = 1000 * info.smallest_subnormal
    return (a * float(scale.get(kind, 1.0))).astype(dtype)


def errors(a, u, s, vh):
    """The largest residual relative to |A|, and loss of orthogonality, in units of eps."""
    wide = np.clongdouble if np.iscomplexobj(a) else np.longdouble
    a, u, vh = (x.astype(wide) for x in (a, u, vh))
    s = s.astype(np.longdouble)
    k = s.shape[-1]
    size = np.abs(s).max(axis=-1)[..., None, None]
    residual = np.abs((u[..., :k] * s[..., None, :]) @ vh[..., :k, :] - a)
    residual = (residual / np.where(size > 0, size, 1)).max()
    frames = (u.conj().swapaxes(-1, -2) @ u, vh @ vh.conj().swapaxes(-1, -2))
    orthogonality = max(np.abs(g - np.eye(g.shape[-1])).max() for g in frames)
    return residual, orthogonality


def judged(a, by_jacobi, by_lapack):
    """Whether both errors are at most twice LAPACK's, which may be exactly zero."""
    eps = np.finfo(a.dtype).eps
    for mine, lapack in zip(errors(a, *by_jacobi), errors(a, *by_lapack), strict=True):
        assert mine <= max(2 * lapack, eps)


def kernels(jacobi: list[Any], compiled: list[Any], rare: list[Any]) -> list[Any]:
    """Each kernel and precision, with orders or shapes. Numba takes seconds for each of the
    compiled ones: in single precision those of the last list are nightly."""
    found = [pytest.param("jacobi", dtype, jacobi, id=f"jacobi-{dtype}") for dtype in PRECISIONS]
    common = [x for x in compiled if x not in rare]
    for dtype, sizes in (("float32", common), ("float64", compiled)):
        found.append(pytest.param("compiled", dtype, sizes, id=f"compiled-{dtype}"))
    nightly = {"id": "compiled-float32-rare", "marks": pytest.mark.slow}
    return [*found, pytest.param("compiled", "float32", rare, **nightly)]


ORDERS = kernels([2, 3, 4, 6], [2, 3, 4, 6, 16, 17, 40, 65], [2, 4, 6, 40])


@pytest.mark.parametrize(("kernel", "dtype", "orders"), ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_eigh_by_our_kernels_is_as_accurate_as_lapack(kind, kernel, dtype, orders):
    for n in orders:
        a = stack(kind, dtype, n, n, hermitian=True, count=COUNT if n <= 16 else 10)
        found = []
        for method in (kernel, "lapack"):
            w, v = (x.numpy() for x in lw.eigh(torch.asarray(a), method=method))
            found.append((v, w, v.conj().swapaxes(-1, -2)))
        judged(a, *found)
        w = found[0][1]
        assert (np.diff(w, axis=-1) >= 0).all()
        values = lw.eigvalsh(torch.asarray(a), method=kernel).numpy()
        size = np.abs(w).max(axis=-1, keepdims=True)
        assert (np.abs(values - w) <= 4 * np.finfo(dtype).eps * size).all()


SMALL = [(2, 2, False), (3, 3, False), (4, 4, False), (5, 3, True), (3, 6, False)]
LARGER = [(16, 16, False), (32, 8, False), (17, 17, False), (65, 65, False)]
LARGER += [(60, 20, True), (24, 41, False)]
RARE = [(2, 2, False), (4, 4, False), (3, 6, False), (32, 8, False), (24, 41, False)]


@pytest.mark.parametrize(("kernel", "dtype", "shapes"), kernels(SMALL, [*SMALL, *LARGER], RARE))
@pytest.mark.parametrize("kind", KINDS)
def test_svd_by_our_kernels_is_as_accurate_as_lapack(kind, kernel, dtype, shapes):
    for m, n, full in shapes:
        a = stack(kind, dtype, m, n, hermitian=False, count=COUNT if m < 16 else 10)
        found = [
            [x.numpy() for x in lw.svd(torch.asarray(a), full_matrices=full, method=method)]
            for method in (kernel, "lapack")
        ]
        assert [x.shape for x in found[0]] == [x.shape for x in found[1]]
        judged(a, *found)
        s = found[0][1]
        assert (np.diff(s, axis=-1) <= 0).all()
        values = lw.svdvals(torch.asarray(a), method=kernel).numpy()
        info = np.finfo(dtype)
        unit = np.maximum(info.eps * s[:, :1], info.smallest_subnormal)
        assert (np.abs(values - s) <= 8 * unit).all()


@pytest.mark.parametrize("function", [lw.eigvalsh, lw.svdvals])
@pytest.mark.parametrize("kind", ["random", "graded", "repeated"])
def test_values_by_the_qr_algorithm_agree_with_fifty_digits(kind, function):
    (a,) = stack(kind, "float64", 20, 20, hermitian=function is lw.eigvalsh, count=1)
    with mpmath.workdps(50):
        exact = mpmath.matrix(a.tolist())
        values = mpmath.eigsy(exact, eigvals_only=True) if function is lw.eigvalsh else None
        values = values or mpmath.svd_r(exact, compute_uv=False)
    expected = np.array([float(x) for x in values])
    values = function(a, method="compiled")
    both = (lw.eigh if function is lw.eigvalsh else lw.svd)(a, method="compiled")
    size = np.abs(expected).max()
    for found in (values, *(x for x in both if x.ndim == 1)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=8 * np.finfo(float).eps * size)


@pytest.mark.parametrize("n", [17, 64, 200])
def test_eigenvalues_of_the_matrices_of_kac_and_of_springs_are_known(n):
    k = np.arange(1, n)
    kac = np.diag(np.sqrt(k * (n - k)), 1)
    springs = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    angles = np.arange(1, n + 1) * np.pi / (n + 1)
    known = [(kac + kac.T, 2.0 * np.arange(n) - n + 1), (springs, 2 - 2 * np.cos(angles))]
    for a, expected in known:
        for b in (a, a[::-1, ::-1], -a[::-1, ::-1]):
            signed = expected if (b == a).all() or (b == a[::-1, ::-1]).all() else -expected[::-1]
            w, v = lw.eigh(b, method="compiled")
            unit = np.finfo(float).eps * expected.max()
            np.testing.assert_allclose(w, signed, rtol=0, atol=16 * unit)
            np.testing.assert_array_equal(w, lw.eigvalsh(b, method="compiled"))
            np.testing.assert_allclose(b @ v, v * w, rtol=0, atol=16 * unit)


@pytest.mark.parametrize("n", [17, 64, 200])
@pytest.mark.parametrize("turned", [False, True], ids=["upper", "lower"])
def test_singular_values_of_a_bidiagonal_matrix_of_ones_are_sines(n, turned):
    a = np.eye(n) + np.eye(n, k=-1 if turned else 1)
    sines = 2 * np.sin((2 * np.arange(n, 0, -1) - 1) * np.pi / (4 * n + 2))
    for found in (lw.svdvals(a, method="compiled"), lw.svd(a, method="compiled")[1]):
        np.testing.assert_allclose(found, sines, rtol=0, atol=16 * np.finfo(float).eps)


def test_matrices_that_fall_into_blocks_have_the_singular_values_of_the_blocks():
    rng = np.random.default_rng(0)
    blocks = [np.diag(x) + np.diag(y[1:], 1) for x, y in rng.standard_normal((4, 2, 12))]
    blocks += [1e-9 * blocks[0], np.eye(5, k=1), np.zeros((3, 3)), blocks[1][::-1, ::-1].T]
    size = sum(map(len, blocks))
    whole = np.zeros((size, size))
    i = 0
    for block in blocks:
        whole[i : i + len(block), i : i + len(block)] = block
        i += len(block)
    expected = np.concatenate([np.linalg.svd(x)[1] for x in blocks])
    for a in (whole, whole[::-1, ::-1].T):
        for found in (lw.svdvals(a, method="compiled"), lw.svd(a, method="compiled")[1]):
            np.testing.assert_allclose(found, np.sort(expected)[::-1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [17, pytest.param(40, marks=pytest.mark.slow)])
def test_zeros_within_a_bidiagonal_matrix_do_not_keep_it_from_convergence(n, dtype):
    rng, i = np.random.default_rng(0), np.arange(n)
    a = np.zeros((200, n, n))
    a[:, i, i] = rng.standard_normal((200, n)) * (rng.random((200, n)) < 0.7)
    a[:, i[:-1], i[1:]] = 10 ** rng.uniform(-6, 0, (200, n - 1))
    a[::2] += 1e-3 * np.eye(n)  # and with what is nearly singular
    a[::4, i[:-1], i[1:]] = 1
    a = a.astype(dtype)
    for stack in (a, a.swapaxes(1, 2), a[:, ::-1, ::-1]):
        x = torch.asarray(np.ascontiguousarray(stack))
        found = [[y.numpy() for y in lw.svd(x, method=m)] for m in ("compiled", "lapack")]
        judged(stack, *found)
        values = lw.svdvals(x, method="compiled").numpy()
        unit = np.finfo(dtype).eps * values.max(axis=-1, keepdims=True)
        assert (np.abs(values - found[0][1]) <= 16 * unit).all()


@pytest.mark.parametrize("n", [2, 30])
def test_singular_values_are_found_by_rotations_if_not_by_quotients(n):
    rng = np.random.default_rng(0)
    x = np.zeros(20 * n)
    for zero in (None, 0, n // 2, n - 1):
        d, e = rng.standard_normal((2, n))
        d[zero if zero is not None else []] = 0
        expected = np.linalg.svd(np.diag(d) + np.diag(e[1:], 1))[1]
        x[:n], x[n : 2 * n - 1] = d, e[1:]
        how = 2.0**-53, 2.0**-900, False
        householder.diagonalized_bidiagonal(x, 0, n, n, 0, 0, 0, 0, 0, 2 * n, *how)
        np.testing.assert_allclose(np.sort(np.abs(x[:n]))[::-1], expected, atol=1e-14)


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", pytest.param("complex128", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("n", [2, 3, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kernel", ["jacobi", "compiled"])
def test_kernels_that_xla_runs_are_as_accurate_as_lapack(kernel, n, dtype):
    if kernel == "compiled" and dtype == "complex128":
        pytest.skip("the compiled kernel is for real matrices")
    for kind in NORMAL:
        grown = 1 / np.finfo(dtype).eps if kind == "tiny" else 1.0
        for function in (lw.eigh, lw.svd):
            a = stack(kind, dtype, n, n, function is lw.eigh) * grown
            found = []
            for method in (kernel, "lapack"):
                *u, s, v = (np.asarray(x) for x in function(jnp.asarray(a), method=method))
                found.append((*u, s, v) if u else (v, s, v.conj().swapaxes(-1, -2)))
            judged(a, *found)
            order = np.diff(found[0][1], axis=-1)
            assert (order >= 0).all() if function is lw.eigh else (order <= 0).all()


TALL = [(lw.svd, torch.asarray, 130, dtype) for dtype in ("float32", "float64", "complex64")]
TALL += [(lw.svd, jnp.asarray, 192, "float32"), (lw.svd, jnp.asarray, 64, "complex128")]


@pytest.mark.parametrize("wide", [False, True], ids=["tall", "wide"])
@pytest.mark.parametrize(("function", "array", "n", "dtype"), TALL)
def test_svd_by_the_triangular_factor_is_as_accurate_as_lapack(
    function, array, n, dtype, wide, monkeypatch
):
    monkeypatch.setitem(choice._REDUCED, ("PyTorch", "svd"), 128)
    monkeypatch.setattr(decomposition, "_remembered", decomposition._plan)
    name = "JAX" if array is jnp.asarray else "PyTorch"
    assert choose("svd", (3 * n, n), dtype, 1, "cpu", name, True).reduced
    for kind in NORMAL if n == 64 and not wide else ["graded", "huge", "tiny"]:
        a = stack(kind, dtype, 3 * n, n, hermitian=False, count=1)[0]
        a = a.T if wide else a
        auto, lapack = (
            [np.asarray(x) for x in function(array(a), full_matrices=False, method=method)]
            for method in ("auto", "lapack")
        )
        judged(a, auto, lapack)
        assert (np.diff(auto[1]) <= 0).all()
        values = np.asarray(lw.svdvals(array(a)))
        assert (np.abs(values - auto[1]) <= 8 * np.finfo(dtype).eps * auto[1][0]).all()


METHODS = [(fw, "jacobi") for fw in bench.FRAMEWORKS]
METHODS += [(fw, "compiled") for fw in bench.FRAMEWORKS]


@pytest.mark.parametrize("n", [3, 17])
@pytest.mark.parametrize("function", [lw.eigh, lw.svd, lw.eigvalsh, lw.svdvals])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("fw", "method"), METHODS, ids=lambda x: getattr(x, "name", x))
def test_what_is_not_finite_stays_in_its_matrix(fw, method, bad, function, n):
    if n > 3 and (method == "jacobi" or bad < 0):
        pytest.skip("which is no other case than those of order 3")

    def factors(a):
        found = function(fw.array(a), method=method)
        return [np.asarray(x) for x in (found if isinstance(found, tuple) else (found,))]

    for kind in ("random", "identity"):
        clean = stack(kind, "float64", n, n, hermitian=True, count=5)
        a = clean.copy()
        a[2, 0, 0] = bad
        for x, y in zip(factors(a), factors(clean), strict=True):
            assert np.isnan(x[2]).all()
            assert (np.delete(x, 2, axis=0) == np.delete(y, 2, axis=0)).all()


def loss(fw, a, method):
    w, v = lw.eigh(a, method=method)
    u, s, vh = lw.svd(a, full_matrices=False, method=method)
    first = fw.real(v[..., :, :1] @ fw.adjoint(v[..., :, :1]))
    return (w**3).sum() + (first[..., 0, 1] * w[..., 0]).sum() + (fw.real(u @ vh)[..., 1, 0]).sum()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize(("fw", "method"), METHODS, ids=lambda x: getattr(x, "name", x))
def test_gradients_do_not_depend_on_the_method(fw, method, dtype):
    if method == "compiled" and dtype == "complex128":
        pytest.skip("the compiled kernel is for real matrices")
    for n in (3, 24) if method == "compiled" else (3,):
        a = stack("random", dtype, n, n, hermitian=True, count=4)
        losses = (functools.partial(loss, fw, method=method) for method in (method, "lapack"))
        found = [fw.grad(f, (a,))[0] for f in losses]
        np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-10 * np.abs(found[1]).max())


def test_array_api_libraries_have_the_kernel():
    a = stack("random", "float64", 3, 3, hermitian=True)[:4]
    w, v = (np.asarray(x) for x in lw.eigh(array_api_strict.asarray(a), method="jacobi"))
    np.testing.assert_allclose((v * w[:, None]) @ v.swapaxes(-1, -2), a, atol=1e-14)
    u, s, vh = (np.asarray(x) for x in lw.svd(array_api_strict.asarray(a), method="jacobi"))
    np.testing.assert_allclose((u * s[:, None]) @ vh, a, atol=1e-14)


@pytest.mark.parametrize("method", ["auto", "jacobi", "compiled"])
@pytest.mark.parametrize(
    "shape", [(0, 3, 3), (2, 0, 0), (2, 1, 1), (2, 0, 3, 3), (2, 0, 3), (3, 3)]
)
def test_stacks_and_matrices_may_be_empty_or_single(shape, method):
    a = np.ones(shape)
    u, s, vh = lw.svd(a, method=method)
    assert s.shape == (*shape[:-2], min(shape[-2:]))
    np.testing.assert_allclose(
        (u[..., : s.shape[-1]] * s[..., None, :]) @ vh[..., : s.shape[-1], :], a, atol=1e-14
    )
    if shape[-1] == shape[-2]:
        w, v = lw.eigh(a, method=method)
        np.testing.assert_allclose((v * w[..., None, :]) @ v.swapaxes(-1, -2), a, atol=1e-14)


@pytest.mark.parametrize("installed", [False, True])
def test_a_large_stack_of_small_matrices_is_not_left_to_lapack(monkeypatch, installed):
    monkeypatch.setattr(choice, "has_numba", lambda: installed)
    assert choose("eigh", (3, 3), "float64", 10**5, "cpu", "JAX", False).method == "jacobi"
    for framework in ("JAX", "PyTorch", "NumPy"):
        ours = "compiled" if installed else "jacobi"
        for operation in ("eigh", "svd"):
            stack = choose(operation, (3, 3), "float64", 10**5, "cpu", framework, True)
            single = choose(operation, (3, 3), "float64", 1, "cpu", framework, True)
            large = choose(operation, (64, 64), "float64", 1, "cpu", framework, True)
            larger = choose(operation, (300, 300), "float64", 10**5, "cpu", framework, True)
            assert (stack.method, single.method, larger.method) == (ours, "lapack", "lapack")
            assert large.method == ("compiled" if installed else "lapack")
    assert choose("eigh", (17, 17), "complex128", 10**5, "cpu", "JAX", True).method == "lapack"
    assert choose("eigh", (3, 3), "float64", 10**5, "tpu", "JAX", True).method == "lapack"
    assert choose("eigh", (3, 3), "float64", 10**5, "cpu", "JAX", True, "lapack").method == "lapack"
    assert choose("eigh", (64, 64), "float64", 1, "tpu", "JAX", True, "jacobi").method == "jacobi"


def test_a_compiled_kernel_is_refused_where_there_is_none(monkeypatch):
    a = stack("random", "complex128", 3, 3, hermitian=True)
    real = stack("random", "float64", 3, 3, hermitian=True)
    for refused in (a, jnp.asarray(a), array_api_strict.asarray(real)):
        for function in (lw.eigh, lw.eigvalsh, lw.svd, lw.svdvals):
            with pytest.raises(ValueError, match="method='compiled' is for real matrices"):
                function(refused, method="compiled")
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match="method='compiled' needs numba: pip install numba"):
        lw.eigh(real, method="compiled")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("many", [Threads(lambda: 3), TEAM], ids=["threads", "OpenMP"])
def test_threads_share_out_a_stack_without_a_trace(dtype, many, monkeypatch):
    monkeypatch.setattr(many, "least", 1.0)
    how = Decomposition("svd")
    for shape in ((1003, 3, 3), (1003, 6, 4), (1003, 4, 6), (30, 16, 16), (30, 20, 18)):
        a = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        monkeypatch.setattr(NUMPY, "team", Threads(lambda: 1))
        whole = compiled.decomposed(how, a, NUMPY)
        monkeypatch.setattr(NUMPY, "team", many)
        parts = compiled.decomposed(how, a, NUMPY)
        assert parts is not None
        assert whole is not None
        for x, y in zip(parts, whole, strict=True):
            assert (x == y).all()


def test_the_team_of_openmp_returns_all_parts_in_order_and_raises_what_one_raised():
    if not isinstance(TEAM, OpenMP):
        pytest.skip("PyTorch is built without this OpenMP")
    parts = list(range(23))
    for _ in range(20):
        assert TEAM.map(lambda x: x * x, parts) == [x * x for x in parts]

    def fails(x):
        if x == 7:
            raise IndexError("seven")
        return x

    with pytest.raises(IndexError, match="seven"):
        TEAM.map(fails, parts)
    assert TEAM.map(abs, parts) == parts


@pytest.mark.parametrize("batch", [3, 100])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_only_the_triangle_that_is_read_makes_a_function_nan(batch, bad):
    a = _random(np.random.default_rng(0), "float64", batch, 3, 3)
    a = a + a.swapaxes(1, 2)
    upper, lower = a.copy(), a.copy()
    upper[1, 0, 2] = lower[1, 2, 0] = bad
    for array in (np.asarray, jnp.asarray, torch.asarray):
        right = np.asarray(lw.expm(array(a), hermitian=True))
        np.testing.assert_allclose(lw.expm(array(upper), hermitian=True), right, rtol=1e-9)
    found = np.asarray(lw.expm(jnp.asarray(lower), hermitian=True))  # LAPACK of others may raise
    assert np.isnan(found[1]).all()
    right = np.asarray(lw.expm(jnp.asarray(a), hermitian=True))
    np.testing.assert_allclose(np.delete(found, 1, 0), np.delete(right, 1, 0), rtol=1e-9)


def test_a_stack_is_not_shared_out_where_its_operations_are_traced():
    a = torch.asarray(_random(np.random.default_rng(0), "float64", 2, 100, 20, 20))
    a = a + a.mT
    traced: Any = torch.jit.trace(lw.eigvalsh, (a[0],))
    torch.testing.assert_close(traced(a[1]), torch.linalg.eigvalsh(a[1]))


def test_a_program_that_jax_exports_has_no_foreign_functions():
    a = jnp.asarray(stack("random", "float64", 3, 3, hermitian=True))
    function = jax.jit(lw.eigvalsh)
    assert "loewner_eigvalsh" in function.lower(a).as_text()
    exported = jax.export.export(function)(a)
    assert "loewner_eigvalsh" not in exported.mlir_module()
    np.testing.assert_allclose(exported.call(a), function(a), atol=1e-14)


@pytest.mark.parametrize("name", ["eigvalsh", "svdvals"])
def test_a_program_is_exported_for_matrices_of_any_order(name):
    order = jax.export.symbolic_shape("n, n")
    function = jax.jit(getattr(lw, name))
    exported = jax.export.export(function)(jax.ShapeDtypeStruct(order, jnp.float64))
    for n in (3, 60):
        a = stack("random", "float64", n, n, hermitian=True, count=1)[0]
        np.testing.assert_allclose(exported.call(a), function(a), atol=1e-12)


def test_another_version_of_the_interface_of_xla_is_left_alone(monkeypatch):
    a = jnp.asarray(stack("random", "float64", 3, 3, hermitian=True))
    monkeypatch.setattr(foreign, "known", lambda: False)
    assert "loewner_svd" not in jax.jit(lw.svd).lower(a).as_text()
    with pytest.raises(ValueError, match="JAX on one device"):
        jax.jit(lambda a: lw.svd(a, method="compiled")).lower(a)


@pytest.mark.parametrize("function", [lw.eigh, lw.svd, lw.svdvals])
def test_one_matrix_that_is_not_finite_is_refused_as_lapack_does(function):
    a = np.full((32, 32), np.nan)
    if function is lw.eigh:
        a = np.eye(32) + np.diag([np.inf], 31) + np.diag([np.inf], -31)
    outcomes = []
    for method in ("auto", "lapack"):
        for x, error in ((a, np.linalg.LinAlgError), (torch.asarray(a), RuntimeError)):
            try:
                found = function(x, method=method)
                outcomes.append(np.isnan(np.asarray(found[0])).any())
            except error:
                outcomes.append("refused")
    assert outcomes[:2] == outcomes[2:]


def test_the_compiled_kernel_reads_tensors_that_are_views():
    a = torch.asarray(stack("random", "complex128", 3, 3, hermitian=False))
    for view in (a.conj().imag, a.real.mT, a[::2].real, a[:1].real.expand(70, 3, 3)):
        ours, theirs = (lw.svdvals(view, method=method) for method in ("compiled", "lapack"))
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-14)
    frozen = a.real.numpy().copy()
    frozen.flags.writeable = False
    np.testing.assert_allclose(
        lw.svdvals(frozen, method="compiled"), lw.svdvals(a.real), atol=1e-14
    )


def test_numba_that_does_not_start_is_left_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not choice.has_numba.__wrapped__()


def test_no_two_kernels_share_files_on_disk():
    kernels = [
        compiled.eigh_kernel(n, lower, v, "float64")
        for n in (2, 3)
        for lower in (False, True)
        for v in (False, True)
    ]
    kernels += [compiled.svd_kernel(m, 2, k, True, "float64") for m, k in ((2, 2), (3, 2), (3, 3))]
    kernels += [compiled.eigh_kernel(3, True, True, "float32")]
    kernels += [of_one(x) for of_one in (eigh_of_one, svd_of_one) for x in ("float32", "float64")]
    caches = [kernel.compiled._cache for kernel in kernels]
    assert len({cache._name for cache in caches}) == len(kernels)
    assert len({cache._cache_file._index_path for cache in caches}) == len(kernels)


def test_torch_func_meets_the_compiled_kernel():
    a = torch.asarray(stack("random", "float64", 3, 3, hermitian=True))

    def single(a, method):
        w, v = lw.eigh(a, method=method)
        return w[0] + (v @ (w[:, None] ** 2 * v.mT))[0, 0]

    for transform in (torch.func.grad, torch.func.jacfwd, torch.func.hessian):
        ours, theirs = (
            torch.func.vmap(transform(functools.partial(single, method=method)))(a)
            for method in ("compiled", "lapack")
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * float(theirs.abs().max()))


def test_a_method_that_is_not_known_is_refused():
    for function in (lw.eigh, lw.eigvalsh, lw.svd, lw.svdvals):
        with pytest.raises(ValueError, match="method must be one of"):
            function(np.eye(2), method="power")


def test_vmap_of_a_single_matrix_function_meets_the_kernel_of_the_stack():
    a = jnp.asarray(stack("random", "float64", 3, 3, hermitian=True))

    def single(a):
        w, v = lw.eigh(a)
        return w[0] + (v @ v.T)[0, 0]

    for function in (jax.vmap(single), jax.vmap(jax.grad(single))):
        assert "lapack" not in jax.jit(function).lower(a).as_text()
    twice = jax.vmap(jax.vmap(lambda a: lw.svd(a).S))
    assert "lapack" not in jax.jit(twice).lower(a.reshape(10, -1, 3, 3)).as_text()
    np.testing.assert_allclose(twice(a.reshape(10, -1, 3, 3)).reshape(-1, 3), lw.svdvals(a))


@pytest.mark.parametrize("n", [2, 3])
def test_blocks_that_do_not_divide_the_stack_lose_nothing(n):
    a = np.random.default_rng(0).standard_normal((20011, n, n))
    a = a + a.swapaxes(-1, -2)
    for array in (np.asarray, jnp.asarray, torch.asarray):
        w = np.asarray(lw.eigvalsh(array(a), method="jacobi"))
        trace, det = np.trace(a, axis1=1, axis2=2), np.linalg.det(a)
        np.testing.assert_allclose(w.sum(axis=1), trace, atol=1e-13)
        np.testing.assert_allclose(w.prod(axis=1), det, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3)], ids=str)
def test_torch_compile_meets_the_compiled_kernel_in_one_graph(shape):
    def function(a):
        u, s, vh = lw.svd(a, full_matrices=False)
        return (s**2).sum() + (u @ vh)[..., 0, 1].sum()

    torch.compiler.reset()
    whole = torch.compile(function, fullgraph=True, backend="aot_eager")
    for batch in (100, 130):  # the second batch is a symbol
        a = torch.asarray(_random(np.random.default_rng(0), "float64", batch, *shape))
        a.requires_grad_()
        (eager,) = torch.autograd.grad(function(a), a)
        torch.testing.assert_close(torch.autograd.grad(whole(a), a)[0], eager)


@pytest.mark.slow
def test_torch_compile_meets_the_kernel():
    a = torch.asarray(stack("random", "float64", 3, 3, hermitian=True)).requires_grad_()

    def function(a):
        w, v = lw.eigh(a, method="jacobi")
        return (w**2).sum() + ((v * w[..., None, :] ** 2) @ v.mT)[..., 0, 1].sum()

    (eager,) = torch.autograd.grad(function(a), a)
    (found,) = torch.autograd.grad(torch.compile(function, fullgraph=True)(a), a)
    torch.testing.assert_close(found, eager)


def test_a_stack_that_is_sharded_stays_where_it_is():
    program = """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
        import loewner as lw

        jax.config.update("jax_enable_x64", True)
        mesh = Mesh(np.array(jax.devices()), ("x",))
        a = np.random.default_rng(0).standard_normal((4000, 3, 3))
        a = jax.device_put(a + a.swapaxes(1, 2), NamedSharding(mesh, P("x")))
        function = jax.jit(lw.eigh)
        text = function.lower(a).compile().as_text()
        assert not any(x in text for x in ("all-gather", "lapack", "loewner_eigh")), text
        w, v = function(a)
        assert len(v.addressable_shards) == 4 and v.addressable_shards[0].data.shape[0] == 1000
        assert abs((v * w[:, None]) @ v.swapaxes(1, 2) - a).max() < 1e-14
    """
    on_four_devices(program)


@pytest.mark.parametrize("operation", ["eigh", "eigvalsh", "svd", "svdvals"])
def test_a_stack_that_the_cores_share_out_is_the_frameworks_own_result(operation):
    a = torch.asarray(_random(np.random.default_rng(0), "float64", 5, 820, 16, 16))
    a = a + a.mT
    assert choose(operation, (16, 16), "float64", 4100, "cpu", "PyTorch", True, "lapack").shared
    theirs = getattr(torch.linalg, operation)(a)
    ours = getattr(lw, operation)(a, method="lapack")
    for x, y in zip(*((r,) if torch.is_tensor(r) else r for r in (ours, theirs)), strict=True):
        assert torch.equal(x, y)


def test_a_stack_that_the_cores_share_out_is_differentiated_and_reported_as_ever():
    a = torch.asarray(_random(np.random.default_rng(0), "float64", 4100, 16, 16))
    a = (a + a.mT).requires_grad_()
    values = lw.eigvalsh(a, method="lapack")
    assert values.requires_grad
    (g,) = torch.autograd.grad((values**2).sum(), a)
    torch.testing.assert_close(g, 2 * a)
    per_matrix = torch.vmap(
        torch.func.grad(lambda a: (lw.eigvalsh(a, method="lapack") ** 2).sum())
    )(a.detach())
    torch.testing.assert_close(per_matrix, 2 * a.detach())
    bad = a.detach().clone()
    bad[400, 0, 0] = torch.nan
    with pytest.raises(RuntimeError, match="Batch element 400"):
        lw.eigh(bad, method="lapack")


def test_sharing_out_a_stack_leaves_the_number_of_threads_as_it_is():
    before = torch.get_num_threads()
    a = torch.asarray(_random(np.random.default_rng(0), "float64", 4100, 16, 16))
    for x in (a + a.mT, torch.full_like(a, torch.nan)):
        with contextlib.suppress(RuntimeError):
            lw.eigh(x, method="lapack")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == before
        assert torch.get_num_threads() == before
