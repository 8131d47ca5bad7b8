"""What every function does with input that it was not made for: the same in all frameworks."""

import subprocess
import sys
from typing import Any

import autograd
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import loewner as lw

FUNCTIONS = {
    "svd": lw.svd,
    "svdvals": lw.svdvals,
    "eigh": lw.eigh,
    "eigvalsh": lw.eigvalsh,
    "eig": lw.eig,
    "eigvals": lw.eigvals,
}
KINDS_OF_JUNK = ("none", "string", "dict", "object", "ragged")
SQUARE = ("eigh", "eigvalsh", "eig", "eigvals")
MAKE = {"numpy": np.asarray, "jax": jnp.asarray, "torch": torch.as_tensor}


def every(names=FUNCTIONS):
    return pytest.mark.parametrize("name", list(names))


in_every_framework = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


@every()
@in_every_framework
def test_a_vector_or_a_number_is_not_a_matrix(name, make):
    for x, shape in ((np.ones(3), r"\(3,\)"), (np.ones(()), r"\(\)")):
        with pytest.raises(np.linalg.LinAlgError, match=rf"{name}: a must be .* shape {shape}"):
            FUNCTIONS[name](make(x))


@every(SQUARE)
@in_every_framework
def test_a_rectangular_matrix_has_no_eigenvalues(name, make):
    with pytest.raises(ValueError, match=rf"{name}: a must be square .* shape \(2, 3, 4\)"):
        FUNCTIONS[name](make(np.ones((2, 3, 4))))


@every()
def test_lists_are_numpy_matrices(name):
    result = FUNCTIONS[name]([[2, 1], [1, 2]])
    for x in result if isinstance(result, tuple) else [result]:
        assert isinstance(x, np.ndarray)


@every()
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integers_and_booleans_are_promoted_as_the_framework_promotes_them(name, dtype):
    a = np.array([[2, 0], [0, 1]]).astype(dtype)

    def real_dtype(result):
        x = result[1] if isinstance(result, tuple) else result
        return str(x.real.dtype).removeprefix("torch.")

    assert real_dtype(FUNCTIONS[name](a)) == "float64"
    assert real_dtype(FUNCTIONS[name](jnp.asarray(a))) == str(jnp.result_type(float))
    with jax.enable_x64(False):
        assert real_dtype(FUNCTIONS[name](jnp.asarray(a))) == "float32"
    assert real_dtype(FUNCTIONS[name](torch.as_tensor(a))) == "float32"


@every()
def test_other_dtypes_are_named_and_refused(name):
    a = np.eye(2)
    refused = [
        (a.astype(np.float16), "float16"),
        (a.astype(object), "object"),
        (a.astype(str), "<U32"),
        (a.astype("datetime64[s]"), "datetime64"),
        (jnp.eye(2, dtype=jnp.float16), "float16"),
        (jnp.eye(2, dtype=jnp.bfloat16), "bfloat16"),
        (torch.eye(2, dtype=torch.float16), "float16"),
        (torch.eye(2, dtype=torch.bfloat16), "bfloat16"),
    ]
    if np.dtype(np.longdouble) != np.float64:
        refused.append((a.astype(np.longdouble), "float128|longdouble"))
    for x, dtype in refused:
        with pytest.raises(TypeError, match=rf"{name}: a has dtype .*({dtype})"):
            FUNCTIONS[name](x)


@every()
@pytest.mark.parametrize("x", [None, "matrix", {}, object(), [[1, 2], [3]]], ids=KINDS_OF_JUNK)
def test_what_is_not_an_array_is_named_and_refused(name, x):
    with pytest.raises(TypeError, match=f"{name}: a "):
        FUNCTIONS[name](x)


def test_big_endian_and_read_only_and_strided_arrays_are_taken():
    a = np.random.default_rng(0).standard_normal((3, 3))
    expected = lw.svdvals(a)
    frozen = a.copy()
    frozen.flags.writeable = False
    for x in (a.astype(">f8"), frozen, np.asfortranarray(a), np.repeat(a, 2, axis=0)[::2]):
        assert np.allclose(lw.svdvals(x), expected, atol=1e-14)
        g = lw.vjp(lw.svdvals, x)[1](np.ones(3))[0]
        assert np.allclose(g @ g.T, np.eye(3), atol=1e-13)


SHAPES = [(0, 0), (0, 3), (3, 0), (0, 2, 2), (2, 0, 0), (0, 3, 2)]


@every()
@in_every_framework
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_empty_matrices_and_stacks_have_the_shapes_of_numpy(name, make, shape):
    if name in SQUARE and shape[-1] != shape[-2]:
        with pytest.raises(np.linalg.LinAlgError, match="square"):
            FUNCTIONS[name](make(np.zeros(shape)))
        return
    result = FUNCTIONS[name](make(np.zeros(shape)))
    *batch, m, n = shape
    k = min(m, n)
    expected = {
        "svd": [(m, m), (k,), (n, n)],
        "eigh": [(n,), (n, n)],
        "eig": [(n,), (n, n)],
    }.get(name, [(k,)])
    found = result if isinstance(result, tuple) else [result]
    assert [tuple(x.shape) for x in found] == [(*batch, *x) for x in expected]
    if name == "svd":
        for q in (found[0], found[2]):
            assert np.allclose(np.asarray(q), np.eye(q.shape[-1]))


@every()
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_of_empty_matrices_are_empty(name, shape):
    if name in SQUARE and shape[-1] != shape[-2]:
        pytest.skip("not square")

    def f(a, xp: Any = np) -> Any:
        result = FUNCTIONS[name](a)
        found = result if isinstance(result, tuple) else [result]
        return sum((xp.abs(x) ** 2).sum() for x in found)

    a = np.zeros(shape)
    assert lw.vjp(f, a)[1](np.array(1.0))[0].shape == shape
    assert lw.jvp(f, (a,), (a,))[1] == 0
    assert jax.grad(lambda a: f(a, jnp))(jnp.asarray(a)).shape == shape
    t = torch.as_tensor(a).requires_grad_()
    f(t, torch).backward()
    assert t.grad is not None
    assert t.grad.shape == shape
    assert autograd.grad(lambda a: f(a, autograd.numpy))(a).shape == shape


@every()
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_nan_and_inf_give_what_the_framework_gives_and_never_a_finite_gradient(name, value):
    a = np.array([[1.0, value, 0.0], [value, 2.0, 0.0], [0.0, 0.0, 1.0]])
    f = FUNCTIONS[name]

    def values(result):
        return (
            result
            if name in ("svdvals", "eigvalsh", "eigvals")
            else result[0 if name != "svd" else 1]
        )

    g = jax.grad(lambda a: jnp.real(values(f(a))).sum())(jnp.asarray(a))
    assert not np.isfinite(g).all()
    for attempt in (
        lambda: lw.vjp(lambda a: np.real(values(f(a))).sum(), a)[1](np.array(1.0))[0],
        lambda: torch.func.grad(lambda a: values(f(a)).real.sum())(torch.as_tensor(a)),
    ):
        try:
            g = np.asarray(attempt())
        except (np.linalg.LinAlgError, RuntimeError, ValueError):
            continue
        assert not np.isfinite(g).all()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.eye(2), torch.eye(2)),
        (torch.eye(2), jnp.eye(2)),
        (jnp.eye(2), torch.eye(2)),
    ],
    ids=lambda x: type(x).__module__,
)
def test_frameworks_do_not_mix(x, y):
    with pytest.raises(TypeError, match=r"eigh: a is a .* array and b is a .* array"):
        lw.eigh(x, y)


def test_numpy_arrays_and_lists_join_jax_and_autograd_as_they_do_there():
    assert isinstance(lw.eigvalsh(jnp.eye(2), np.eye(2)), jax.Array)
    assert isinstance(lw.eigvalsh(np.eye(2), jnp.eye(2)), jax.Array)
    assert isinstance(lw.eigvalsh(torch.eye(2), [[1, 0], [0, 1]]), torch.Tensor)
    g = autograd.grad(lambda b: lw.eigvalsh(np.eye(2), b).sum())(np.eye(2))
    assert np.allclose(g, -np.eye(2))


@in_every_framework
def test_a_wrong_b_is_named(make):
    a = make(np.eye(3))
    with pytest.raises(np.linalg.LinAlgError, match=r"b must be square .* \(3, 2\)"):
        lw.eigh(a, make(np.ones((3, 2))))
    with pytest.raises(ValueError, match=r"a has shape \(3, 3\) and b has shape \(2, 2\)"):
        lw.eigh(a, make(np.eye(2)))
    with pytest.raises(ValueError, match="do not broadcast"):
        lw.eigh(make(np.zeros((2, 3, 3))), make(np.zeros((5, 3, 3))))
    with pytest.raises(TypeError, match="b has dtype"):
        lw.eigh(a, make(np.eye(3).astype(np.float16)))


def test_b_that_is_not_positive_definite_is_refused_or_nan():
    a, b = np.eye(2), np.diag([1.0, -1.0])
    with pytest.raises(np.linalg.LinAlgError):
        lw.eigh(a, b)
    with pytest.raises(RuntimeError):
        lw.eigh(torch.as_tensor(a), torch.as_tensor(b))
    assert np.isnan(lw.eigvalsh(jnp.asarray(a), jnp.asarray(b))).all()


def test_mixed_precision_and_field_of_a_and_b_are_promoted():
    w, v = lw.eigh(np.eye(2, dtype=np.float32), np.eye(2, dtype=complex))
    assert w.dtype == np.float64
    assert v.dtype == np.complex128
    w, v = lw.eigh(torch.eye(2), torch.eye(2, dtype=torch.complex128))
    assert v.dtype == torch.complex128


@pytest.mark.parametrize("uplo", ["l", "U", "L"])
def test_uplo_names_a_triangle_in_either_case(uplo):
    a = np.random.default_rng(0).standard_normal((3, 3))
    np.testing.assert_allclose(lw.eigvalsh(a, UPLO=uplo), np.linalg.eigvalsh(a, uplo), rtol=1e-13)


@pytest.mark.parametrize("uplo", ["X", "", None, 1])
def test_another_uplo_is_refused(uplo):
    with pytest.raises(ValueError, match="UPLO must be 'L' or 'U'"):
        lw.eigh(np.eye(2), UPLO=uplo)


@in_every_framework
@pytest.mark.parametrize("uplo", ["L", "U"])
def test_the_other_triangle_is_not_read(make, uplo):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    a, b = z + z.conj().T, z @ z.conj().T + np.eye(3)
    read = np.tril if uplo == "L" else np.triu
    junk = np.where(read(np.ones((3, 3))) > 0, 0, 1e3 + 7j)
    expected = np.asarray(lw.eigvalsh(make(a), UPLO=uplo))
    assert np.allclose(np.asarray(lw.eigvalsh(make(read(a) + junk), UPLO=uplo)), expected)
    expected = np.asarray(lw.eigvalsh(make(a), make(b), UPLO=uplo))
    found = lw.eigvalsh(make(read(a) + junk), make(read(b) + junk), UPLO=uplo)
    assert np.allclose(np.asarray(found), expected)


def test_importing_loewner_imports_no_framework():
    code = (
        "import sys, loewner; "
        "print([m for m in ('jax', 'torch', 'autograd', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_decompositions_of_numpy_arrays_need_no_framework_and_no_scipy():
    code = """
import sys
for name in ("jax", "torch", "autograd", "scipy"):
    sys.modules[name] = None
import numpy as np, loewner as lw
a = np.arange(9.0).reshape(3, 3) ** 2
b = a @ a.T + np.eye(3)
fixed = lambda a: lw.fix_phase(lw.eig(a, left=True))
for f in (lw.svd, lw.eigh, lw.eig, lambda a: lw.eigh(a, b), fixed):
    out, pullback = lw.vjp(f, a)
    g, = pullback(type(out)(*(np.ones_like(x) for x in out)))
    assert np.isfinite(g).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
