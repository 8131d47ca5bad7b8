"""Derivatives of stacks of small matrices that follow a tape."""

import contextlib
import functools
import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from cases import CASES

import loewner as lw
from loewner import rules
from loewner.frameworks import framework_of
from loewner.kernels import choice, tape
from loewner.kernels.choice import has_numba, replays
from loewner.rules.polar import Polar
from loewner.rules.reports import Checks, DerivativeWarning

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not has_numba(), reason="the machine needs Numba")

CHECKS = Checks("warn", "test")
BATCH = 200
FUNCTIONS = {
    "eigh": lambda a: tuple(lw.eigh(a + a.mT)),
    "eigvalsh": lambda a: (lw.eigvalsh(a + a.mT),),
    "svd": lambda a: tuple(lw.svd(a, full_matrices=False)),
    "svdvals": lambda a: (lw.svdvals(a),),
    "nearest_orthogonal": lambda a: (lw.nearest_orthogonal(a),),
    "nearest_rotation": lambda a: (lw.nearest_rotation(a),),
}
SQUARE = "eigh", "eigvalsh", "nearest_rotation"


def pulled(function, a, cotangents, **options):
    a = a.detach().requires_grad_()
    outputs = function(a)
    given = [g.expand(x.shape) for g, x in zip(cotangents, outputs, strict=True)]
    return torch.autograd.grad(outputs, a, given, **options)[0]


def gaussian(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cotangents(function, a):
    return [gaussian(*x.shape, dtype=a.dtype, seed=i) for i, x in enumerate(function(a), 1)]


@contextlib.contextmanager
def word_by_word():
    """Without tapes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loewner.frameworks.base.evaluated", lambda *_: None)
        patch.setattr("loewner.frameworks.base.pulled_back", lambda *_: None)
        yield


@pytest.fixture
def replays_seen(monkeypatch):
    """How many times a tape was followed, and whether a matrix was in doubt."""
    from loewner.kernels.replay import Replay

    seen, follow = [], Replay.__call__

    def spy(*args):
        found = follow(*args)
        seen.append(found is None)
        return found

    monkeypatch.setattr(Replay, "__call__", spy)
    return seen


@pytest.mark.parametrize(("batch", "n"), [(BATCH, 5), (600, 3), (3, 5), (2, 17), (1, 40)])
def test_the_machines_compute_what_numpy_computes(batch, n):
    def words(xp, x, v):
        near = xp.abs(v[1:] - v[:-1]) <= 0.3
        label = xp.cumulative_sum(xp.astype(~near, xp.int32), axis=-1, include_initial=True)
        same = label[:, None] == label[None, :]
        rows = xp.sum(xp.where(same, x, -x) @ x.mT, axis=-1)
        size = xp.sqrt(xp.sum(x * x, axis=(-2, -1))) + xp.max(xp.abs(x), axis=-1)
        first = xp.where((v > 0) & (v < 1) | (v >= 2), v / size, xp.zeros_like(v))
        return xp.concat([rows, first, 1 - v], axis=-1), x @ x @ x.mT / 2

    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((batch, n, n)), rng.standard_normal((batch, n))
    recorder = tape.Recorder("float64")
    recorded = recorder.tape(words(recorder.xp, recorder.given((n, n)), recorder.given((n,))))
    arrays = torch.asarray(x), torch.asarray(v)
    framework = framework_of(arrays[0])
    assert framework
    found = framework.replayed(recorded, arrays)
    assert found is not None
    for i in range(batch):
        for got, right in zip(found, words(np, x[i], v[i]), strict=True):
            assert got is not None
            np.testing.assert_allclose(got[i], right, rtol=1e-12, atol=1e-12)


SHAPES = [*((n, n) for n in (2, 3, 4, 7, 16)), (5, 3), (3, 5)]
# Numba takes seconds for the kernels of a shape and a precision
EACH_RUN = [(torch.float64, x) for x in SHAPES if x not in ((5, 3), (7, 7))]
EACH_RUN += [(torch.float32, x) for x in ((3, 3), (5, 3), (16, 16))]
STACKED = [
    pytest.param(*x, marks=[] if x in EACH_RUN else pytest.mark.slow)
    for x in itertools.product((torch.float64, torch.float32), SHAPES)
]


@pytest.mark.parametrize(("dtype", "shape"), STACKED, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_a_stack_are_those_of_its_matrices(name, shape, dtype, replays_seen):
    if name in SQUARE and shape[0] != shape[1]:
        pytest.skip("of square matrices")
    function, a = FUNCTIONS[name], gaussian(2, 40, *shape, dtype=dtype)
    g = cotangents(function, a)
    replays_seen.clear()
    found = pulled(function, a, g)
    # nearest_* are evaluated by a tape as well, where their determinants are small
    whole = name == "nearest_orthogonal" or (name == "nearest_rotation" and shape[0] <= 4)
    assert replays_seen == [False] * (1 + whole)
    # word by word, of the frames of the same kernel
    with word_by_word():
        right = pulled(function, a, g)
    size = torch.linalg.matrix_norm(right).max()
    assert (found - right).abs().max() <= 20 * torch.finfo(dtype).eps * size
    assert len(replays_seen) == 1 + whole


@pytest.fixture
def impatient(monkeypatch):
    """Tapes are made for the first derivative of one matrix already."""
    monkeypatch.setattr(tape, "PATIENCE", 0.0)
    monkeypatch.setitem(choice.REPLAYED, "PyTorch", 512)
    tape._pull.cache_clear()
    yield
    tape._pull.cache_clear()


MIDDLING = [(3, 3), (17, 17), (40, 40), (33, 20), (20, 64), (129, 129), (300, 80)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("shape", MIDDLING, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_one_matrix_by_a_tape_are_those_word_by_word(
    name, shape, dtype, impatient, replays_seen
):
    if name in SQUARE and shape[0] != shape[1]:
        pytest.skip("of square matrices")
    function, a = FUNCTIONS[name], gaussian(*shape, dtype=dtype)
    g = cotangents(function, a)
    found = pulled(function, a, g)
    assert replays_seen == [False]
    with word_by_word():
        right = pulled(function, a, g)
    size = torch.linalg.matrix_norm(right)
    assert (found - right).abs().max() <= 20 * torch.finfo(dtype).eps * size


def test_threads_that_share_out_products_change_no_number(impatient):
    function, a = FUNCTIONS["eigh"], gaussian(150, 150)
    g = cotangents(function, a)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        right = pulled(function, a, g)
        torch.set_num_threads(max(2, threads))
        outputs = function(a := a.detach().requires_grad_())
        for _ in range(200):
            (found,) = torch.autograd.grad(outputs, a, g, retain_graph=True)
            assert (found == found.mT).all()
            np.testing.assert_allclose(found, right, rtol=0, atol=1e-10 * right.abs().max())
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("n", [20, 150])
def test_a_tape_without_memory_raises_and_keeps_no_thread_waiting(n, impatient, monkeypatch):
    from loewner.kernels import replay

    monkeypatch.setattr(replay, "_spare", lambda _: 2**45)
    replay.machine_for.cache_clear()
    tape.followed.cache_clear()
    function, a = FUNCTIONS["eigh"], gaussian(n, n)
    with pytest.raises(MemoryError):
        pulled(function, a, cotangents(function, a))
    replay.machine_for.cache_clear()
    tape.followed.cache_clear()


def test_a_small_stack_of_middling_matrices_follows_the_tape(impatient, replays_seen):
    function, a = FUNCTIONS["svd"], gaussian(2, 3, 30, 24)
    g = cotangents(function, a)
    found = pulled(function, a, g)
    assert replays_seen == [False]
    for i, j in itertools.product(range(2), range(3)):
        np.testing.assert_allclose(found[i, j], pulled(function, a[i, j], [x[i, j] for x in g]))


def test_a_tape_of_one_matrix_is_made_when_it_pays(monkeypatch, replays_seen):
    monkeypatch.setattr(tape, "PATIENCE", 2.5 * (20**3 + 2**18))
    tape._pull.cache_clear()
    function, a = FUNCTIONS["eigh"], gaussian(20, 20)
    g = cotangents(function, a)
    right = pulled(function, a, g)
    for count in (0, 0, 0, 1, 2):
        assert len(replays_seen) == count
        np.testing.assert_allclose(pulled(function, a, g), right, atol=1e-12)
    tape._pull.cache_clear()


@pytest.mark.parametrize("present", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_absent_cotangents_of_svd_are_absent_from_the_tape(present, replays_seen):
    def function(a):
        u, s, vh = lw.svd(a, full_matrices=False)
        return tuple((u * u, s, vh * vh)[i] for i in present)

    a = gaussian(BATCH, 3, 3)
    g = cotangents(function, a)
    found = pulled(function, a, g)
    alone = torch.stack([pulled(function, x, y) for x, *y in zip(a, *g, strict=True)])
    assert replays_seen == [False]
    np.testing.assert_allclose(found, alone, rtol=1e-9, atol=1e-9)


def test_cotangents_may_be_views_of_one_number(replays_seen):
    a = gaussian(BATCH, 3, 3)
    found = pulled(lambda a: (lw.eigvalsh(a + a.mT),), a, [torch.ones(())])
    assert replays_seen == [False]
    np.testing.assert_allclose(found, 2 * np.broadcast_to(np.eye(3), a.shape), atol=1e-14)


def test_a_matrix_in_doubt_is_reported_as_ever(replays_seen):
    a = gaussian(BATCH, 3, 3)
    a[7] = torch.eye(3)

    def one_of_a_pair(a):
        return (lw.eigvalsh(a + a.mT)[..., 0],)

    with pytest.warns(DerivativeWarning, match=rf"coincide.*\(1 of {BATCH} matrices\)"):
        pulled(one_of_a_pair, a, [torch.ones(())])
    assert replays_seen == [True]


def test_a_repeated_eigenvalue_in_a_stack_keeps_the_derivative_of_invariant_losses(replays_seen):
    a = gaussian(BATCH, 3, 3)
    a[::3] = torch.eye(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = pulled(lambda a: ((lw.eigvalsh(a + a.mT) ** 2).sum(),), a, [torch.ones(())])
    assert replays_seen == [True]
    np.testing.assert_allclose(found, 4 * (a + a.mT), atol=1e-12)  # of |A + A^T|^2


def test_a_singular_matrix_in_a_stack_is_no_doubt_of_its_polar_factor(replays_seen):
    # W of a real matrix is smooth where one singular value vanishes
    a = gaussian(BATCH, 3, 3)
    a[5] = torch.diag(torch.tensor([2.0, 1.0, 0.0]))
    g = gaussian(BATCH, 3, 3, seed=1)
    found = pulled(FUNCTIONS["nearest_rotation"], a, [g])
    assert replays_seen == [False, False]
    np.testing.assert_allclose(
        found[5], pulled(FUNCTIONS["nearest_rotation"], a[5], [g[5]]), atol=1e-12
    )


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_rotations_of_a_stack_are_those_of_its_matrices(n):
    a = gaussian(BATCH, n, n)
    found = lw.nearest_rotation(a)
    np.testing.assert_allclose(torch.linalg.det(found), np.ones(BATCH), rtol=1e-13)
    np.testing.assert_allclose(found, torch.stack([lw.nearest_rotation(x) for x in a]), atol=1e-9)


def test_nan_in_a_matrix_stays_in_its_gradient():
    a = gaussian(BATCH, 3, 3)
    a[3, 0, 0] = torch.nan
    found = pulled(FUNCTIONS["eigh"], a, cotangents(FUNCTIONS["eigh"], a))
    assert found[3].isnan().any()
    assert found[:3].isfinite().all()
    assert found[4:].isfinite().all()


def test_second_derivatives_do_not_follow_a_tape(replays_seen):
    a = gaussian(BATCH, 3, 3)

    def pull_cubes(a):
        w = lw.eigvalsh(a + a.mT)
        return torch.autograd.grad((w**3).sum(), a, create_graph=True)[0]

    x = a.clone().requires_grad_()
    first = pull_cubes(x)
    assert replays_seen == []
    (found,) = torch.autograd.grad((first * a).sum(), x)
    # the gradient is 6 (A + A^T)^2, homogeneous of degree two
    h = a + a.mT
    np.testing.assert_allclose(first.detach(), 6 * h @ h, atol=1e-11)
    np.testing.assert_allclose(found, 12 * h @ h, atol=1e-10)


def test_gradients_of_torch_func_and_forward_mode_are_those_of_a_stack():
    a = gaussian(BATCH, 3, 3)

    def loss(a):
        w, v = lw.eigh(a + a.mT)
        return (w**3).sum() + (v[..., 0, :] ** 2 * w).sum()

    x = a.clone().requires_grad_()
    (right,) = torch.autograd.grad(loss(x), x)
    np.testing.assert_allclose(torch.func.grad(loss)(a), right, atol=1e-12)
    np.testing.assert_allclose(torch.func.vmap(torch.func.grad(loss))(a), right, atol=1e-12)
    along = torch.func.jvp(loss, (a,), (a,))[1]
    np.testing.assert_allclose(along, (right * a).sum(), rtol=1e-12)


def test_numpy_and_autograd_follow_the_tape(replays_seen):
    a = gaussian(BATCH, 3, 3).numpy()
    right = pulled(lambda a: (lw.svdvals(a) ** 3,), torch.from_numpy(a), [torch.ones(())])
    _, pullback = lw.vjp(lambda a: (lw.svdvals(a) ** 3).sum(), a)
    np.testing.assert_allclose(pullback(np.array(1.0))[0], right, atol=1e-12)
    assert replays_seen == [False, False]
    autograd = pytest.importorskip("autograd")
    found = autograd.grad(lambda a: (lw.svdvals(a) ** 3).sum())(a)
    np.testing.assert_allclose(found, right, atol=1e-12)
    assert replays_seen == [False, False, False]


def shapes(m, n, full=False):
    values, frames = (n,), [(m, n), (n, n)]
    if m > n:
        return values, *frames, *([(m, m - n)] if full else []), (n, n), (m, n)
    return values, *frames, (n, n)


@pytest.mark.parametrize("n", [2, 3, 16])
@pytest.mark.parametrize(
    ("rule", "outputs", "given"),
    [
        (rules.Eigh(checks=CHECKS), lambda n: ((n,), (n, n), (n, n)), (0, 1)),
        (rules.Eigh(split=True), lambda n: ((n,), (n, n), (n, n)), (0, 1)),
        (rules.Svd(checks=CHECKS), lambda n: shapes(n, n), (0, 1, 2)),
        (rules.Svd(checks=CHECKS), lambda n: shapes(2 * n, n), (0, 1, 2)),
        (Polar(checks=CHECKS), lambda n: ((2 * n, n), (2 * n, n), *[(n, n)] * 3), (0, 1, 2, 4)),
        (Polar(True, checks=CHECKS), lambda n: ((n, n),) * 5, (0,)),
    ],
    ids=lambda x: type(x).__name__ if hasattr(x, "vjp") else "",
)
def test_rules_that_say_so_are_recorded(rule, outputs, given, n):
    outputs = outputs(n)
    seen = tuple(x if i in given else None for i, x in enumerate(outputs))
    found = tape.pullback(rule, "float64", (), outputs, seen, (True,))
    assert found is not None
    assert "vjp" in rule.recorded


def test_a_tape_reads_only_the_diagonal_of_a_core_that_is_diagonal():
    n = 5
    outputs = (n,), (n, n), (n, n)
    found = tape.pullback(rules.Eigh(), "float64", (), outputs, (*outputs[:2], None), (True,))
    assert found is not None
    core = [x for x in found.instructions if x[0] == tape.LOAD and x[6] == 2]
    assert [x[1:3] for x in core] == [(1, n)]


def test_cotangents_of_every_kind_of_memory_are_read_right():
    a = gaussian(BATCH, 3, 3)
    a = a + a.mT
    g = gaussian(BATCH, 3, 3, seed=1)
    right = pulled(lambda a: (lw.eigh(a).eigenvectors,), a, [g])
    nothing = torch._efficientzerotensor((BATCH, 3, 3), dtype=torch.float64)
    leaf = a.clone().requires_grad_()
    v = lw.eigh(leaf).eigenvectors
    assert (torch.autograd.grad(v, leaf, nothing, retain_graph=True)[0] == 0).all()
    twice = torch.stack([g, g], -1)
    for same in (torch.complex(g, -g).conj().imag, g.mT.contiguous().mT, twice[..., 1]):
        found = torch.autograd.grad(v, leaf, same, retain_graph=True)[0]
        np.testing.assert_allclose(found, right, atol=1e-14)
    packed = np.zeros((BATCH, 3, 3), [("flag", "i1"), ("g", "f8")])
    packed["g"] = g
    _, pullback = lw.vjp(lambda a: lw.eigh(a).eigenvectors, a.numpy())
    np.testing.assert_allclose(pullback(packed["g"])[0], right, atol=1e-12)


def test_results_are_where_the_matrices_are_whatever_the_default_device():
    a = gaussian(BATCH, 3, 3)
    with torch.device("meta"):
        found = lw.nearest_orthogonal(a)
    np.testing.assert_allclose(found, lw.nearest_orthogonal(a), atol=1e-14)


def test_numbers_in_unequal_steps_are_not_recorded():
    recorder = tape.Recorder("float64")
    x = recorder.given((4, 4))
    with pytest.raises(tape.NotRecorded, match="steps"):
        recorder.tape([-x[[0, 1, 3]]])


def test_strict_checks_and_complex_matrices_are_not_recorded():
    record = functools.partial(tape.pullback, dtype="float64", inputs=(), wanted=(True,))
    outputs = (3,), (3, 3), (3, 3)
    every = rules.Eigh(checks=Checks("record", "test"))
    assert record(every, outputs=outputs, cotangents=outputs) is None
    numpy = "cpu", "NumPy", True
    real = {"float64"}
    assert replays((3, 3), real, 64, *numpy)
    assert not replays((3, 3), {"complex128"}, 64, *numpy)
    assert not replays((3, 3), {"float64", "float32"}, 64, *numpy)
    assert not replays((3, 3), real, 63, *numpy)
    assert not replays((17, 17), real, 64, *numpy)
    assert not replays((3, 3), real, 64, "cuda", "NumPy", True)
    assert not replays((3, 3), real, 64, "cpu", "NumPy", False)
    assert replays((17, 17), real, 1, "cpu", "PyTorch", True)
    assert not replays((513, 513), real, 1, "cpu", "PyTorch", True)


DECOMPOSITIONS = {
    "eigh": lambda a: tuple(lw.eigh(a)),
    "svd-thin": lambda a: tuple(lw.svd(a, full_matrices=False)),
}
HARD = [c for c in CASES if c.field == "real" and c.function in DECOMPOSITIONS and c.kind != "zero"]


@pytest.mark.parametrize("count", [1, 80])
@pytest.mark.parametrize("case", HARD, ids=str)
def test_hard_matrices_have_the_gradients_and_reports_they_have_word_by_word(
    case, count, impatient
):
    (a,) = case.matrices()
    one = gaussian(*a.shape).numpy() * case.scale
    stack = torch.from_numpy(a if count == 1 else np.stack([a, one] * (count // 2)))
    functions = [DECOMPOSITIONS[case.function]]
    if case.function == "svd-thin":
        functions.append(FUNCTIONS["nearest_orthogonal"])
    given = [cotangents(f, stack) for f in functions]

    def found():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            gradients = [pulled(f, stack, g) for f, g in zip(functions, given, strict=True)]
        return gradients, sorted({str(w.message) for w in told})

    by_tape, told = found()
    with word_by_word():
        by_words, told_by_words = found()
    assert told == told_by_words
    for x, y in zip(by_tape, by_words, strict=True):
        size = y.abs().amax(dim=(-2, -1), keepdim=True)
        np.testing.assert_allclose(x / size, y / size, rtol=0, atol=case.tolerance)


def random_tape(rng: np.random.Generator, n: int) -> tape.Tape:
    """Products, sums, transposes and diagonals of two matrices and a vector."""
    recorder = tape.Recorder("float64")
    known = [recorder.given((n, n)), recorder.given((n,)), recorder.given((n, n))]
    matrices = [known[0], known[2]]
    vectors = [known[1]]
    xp = recorder.xp

    def some() -> Any:
        x = matrices[rng.integers(len(matrices))]
        return x.mT if rng.integers(2) else x

    for _ in range(12):
        kind = rng.integers(8)
        v = vectors[rng.integers(len(vectors))]
        if kind < 2:
            found = some() + some() * (0.5 if kind else v[:, None])
        elif kind == 2:
            found = (some() @ some()) / n
        elif kind == 3:
            found = xp.hermitian_product(x := some(), x) / n
        elif kind == 4:
            found = xp.with_diagonal(some(), v, None)
        elif kind == 5:
            found = xp.where(recorder.diagonal(v), v[None, :], v[:, None] - some())
        elif kind == 6:
            found = -some() if rng.integers(2) else xp.abs(some())
        else:
            vectors.append(xp.linalg.diagonal(some()) + v)
            continue
        matrices.append(found)
    return recorder.tape([matrices[-1], vectors[-1], some()])


def said(program: tape.Tape, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """What the instructions of a tape make of the arrays of one matrix, one after the other."""
    from loewner.kernels.replay import _operands

    x = np.zeros(program.rows)
    x[: len(program.constants)] = program.constants
    results = [np.zeros(shape) for shape in program.results if shape is not None]
    for what, m, n, d, d0, d1, a, a0, a1, b, b0, b1, c, c0, c1 in program.instructions:
        i, j = np.ogrid[:m, :n]
        if what == tape.LOAD:
            found = np.diagonal(arrays[a]) if a0 and arrays[a].ndim == 2 else arrays[a]
        elif what == tape.STORE:
            shape = results[d - len(arrays)].shape
            results[d - len(arrays)] = x[a + i * a0 + j * a1].reshape(shape)
            continue
        elif what == tape.MATMUL:
            k = np.arange(c)
            found = x[a + i * a0 + k * a1] @ x[b + k[:, None] * b0 + j * b1]
        else:
            places = (a, a0, a1), (b, b0, b1), (c, c0, c1)
            given = [x[p + i * p0 + j * p1] for p, p0, p1 in places[: _operands(what)]]
            found = given[0] if what == tape.COPY else tape._KNOWN[what](*given)
        x[d + i * d0 + j * d1] = found
    return results


def in_some_order(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same array by rows, by columns, or with gaps."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]))
    wide[..., ::2] = x
    return [x, np.asfortranarray(x), wide[..., ::2]][rng.integers(3)]


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("batch", [(), (70,)], ids=["one", "stack"])
def test_the_machines_do_what_a_tape_says_in_whatever_order_arrays_lie(batch, seed):
    from loewner.kernels.replay import Replay

    rng = np.random.default_rng(seed)
    program = random_tape(rng, int(rng.choice([2, 5, 9] if batch else [2, 5, 9, 40, 130])))
    arrays = [rng.standard_normal((*batch, *shape)) for shape in program.given]
    given = [in_some_order(x, rng) for x in arrays]
    kinds = [(x.shape, tuple(s // 8 for s in x.strides), x.dtype) for x in given]
    one_by_one = zip(*arrays, strict=True) if batch else [arrays]
    expected = [said(program, list(x)) for x in one_by_one]
    tensors = [torch.from_numpy(x) for x in given]
    for framework, own in ((framework_of(given[0]), given), (framework_of(tensors[0]), tensors)):
        assert framework is not None
        found = Replay(program, kinds)(framework, own)
        assert found is not None
        for x, *y in zip(found, *expected, strict=True):
            true = np.stack(y) if batch else y[0]
            np.testing.assert_allclose(x, true, rtol=0, atol=1e-12 * max(1.0, np.abs(true).max()))
