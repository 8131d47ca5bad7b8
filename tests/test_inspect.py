"""What `inspect` reports, against closed forms and 50 digits, and what the command line does."""

import subprocess
import sys

import array_api_strict
import jax.numpy as jnp
import matplotlib as mpl
import mpmath as mp
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from reference import matrix

import loewner as lw
from loewner import inspect
from loewner.cli import main

mpl.use("Agg")
EPS = float(np.finfo(np.float64).eps)


def unitary(rng, n, field=float):
    x = rng.standard_normal((n, n))
    return np.linalg.qr(x if field is float else x + 1j * rng.standard_normal((n, n)))[0]


def hermitian(rng, w, field=float):
    q = unitary(rng, len(w), field)
    a = q @ np.diag(w) @ q.conj().T
    return (a + a.conj().T) / 2


def digits(error):
    return -np.log10(max(float(error), 1e-17))


# --- clusters, gaps, condition numbers ---


def test_the_kind_is_that_of_the_matrix_unless_it_is_given():
    rounded = np.array([[1.0, 1 / 3], [1 / 3 * (1 + EPS), 2.0]])
    assert inspect(rounded).kind == "eigh"
    assert inspect(np.array([[1.0, 1j], [-1j, 2.0]])).kind == "eigh"
    assert inspect(np.array([[1.0, 1j], [1j, 2.0]])).kind == "eig"
    assert inspect(np.ones((2, 3))).kind == "svd"
    for kind in ("eigh", "svd", "eig"):
        assert inspect(rounded, kind=kind).kind == kind


def test_values_are_those_of_the_decompositions_in_their_order():
    a = np.random.default_rng(0).standard_normal((5, 5))
    np.testing.assert_array_equal(inspect(a, "svd").values, lw.svdvals(a))
    np.testing.assert_array_equal(inspect(a, "eigh").values, lw.eigvalsh(a))
    np.testing.assert_array_equal(inspect(a, "eig").values, lw.eig(a).eigenvalues)


@pytest.mark.parametrize("kind", ["eigh", "svd", "eig"])
def test_clusters_end_at_the_backward_error_of_the_solver(kind):
    tau = (3 + 16) * EPS * (1 if kind != "eig" else np.linalg.norm([1, 1, 0.5]))
    near, far = (np.diag([1.0, 1.0 - x * tau, 0.5]) for x in (0.9, 1.1))
    sizes = [sorted(map(len, inspect(a, kind).clusters)) for a in (near, far)]
    assert sizes == [[1, 2], [1, 1, 1]]


def test_a_cluster_is_a_chain_and_lists_its_indices():
    report = inspect(np.diag([3.0, 1.0, 1.0, 2.0, 3.0]))
    assert report.clusters == ((0, 1), (2,), (3, 4))
    np.testing.assert_allclose(report.gaps, 1.0)


def test_condition_numbers_are_the_norms_of_the_spectral_projectors():
    c = 50.0
    report = inspect(np.array([[1.0, c], [0.0, 2.0]]))
    np.testing.assert_allclose(report.condition, np.sqrt(1 + c * c))
    np.testing.assert_array_equal(inspect(np.diag([1.0, 2.0])).condition, 1.0)


@pytest.mark.parametrize("n", [2, 3])
def test_a_jordan_block_is_one_defective_cluster_with_a_good_mean(n):
    rng = np.random.default_rng(n)
    block = np.zeros((5, 5))
    block[:n, :n] = np.eye(n) + np.eye(n, k=1)
    block[n:, n:] = np.diag(np.arange(3.0, 8 - n))
    q = unitary(rng, 5)
    for a in (block, q @ block @ q.T):
        report = inspect(a)
        sizes = [len(c) for c in report.clusters]
        assert sorted(sizes) == [1] * (5 - n) + [n]
        i = sizes.index(n)
        assert np.isinf(report.condition[list(report.clusters[i])]).all()
        assert np.isnan(report.digits_vectors[i])
        assert report.digits_values[i] > 13
        assert report.digits_projectors[i] > 13
        assert any("defective" in note for note in report.notes)


def test_a_semisimple_repeat_of_a_general_matrix_is_not_called_defective():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((4, 4))
    report = inspect(x @ np.diag([2.0, 2.0, 1.0, -1.0]) @ np.linalg.inv(x), "eig")
    assert sorted(map(len, report.clusters)) == [1, 1, 2]
    assert np.isfinite(report.condition).all()
    assert not any("defective" in note for note in report.notes)


def test_the_amplification_is_the_reciprocal_gap_in_units_of_the_norm():
    found = inspect(np.diag([1.0, 1.0, 3.0])).amplification
    expected = [[np.nan, np.inf, 1.5], [np.inf, np.nan, 1.5], [1.5, 1.5, np.nan]]
    np.testing.assert_allclose(found, expected)
    with_condition = inspect(np.array([[1.0, 1.0], [0.0, 2.0]])).amplification
    np.testing.assert_allclose(with_condition[0, 1], np.sqrt(6) * np.sqrt(2))


def test_the_amplification_of_singular_values_has_differences_below_and_sums_above():
    square = inspect(np.diag([4.0, 2.0, 1.0]), "svd").amplification
    np.testing.assert_allclose(square, [[1 / 2, 2 / 3, 4 / 5], [2, 1, 4 / 3], [4 / 3, 4, 2]])
    tall = inspect(np.diag([4.0, 2.0, 0.0])[:, :2]).amplification
    np.testing.assert_allclose(tall, [[1, 2 / 3], [2, 2]])


def test_gaps_of_singular_values_reach_to_zero_where_the_frames_turn_that_way():
    small = np.diag([1.0, 1e-3])
    assert inspect(small, "svd").gaps[1] == pytest.approx(1 - 1e-3)
    assert inspect(small + 0j, "svd").gaps[1] == pytest.approx(2e-3)
    assert inspect(np.vstack([small, [0, 0]])).gaps[1] == pytest.approx(1e-3)


@pytest.mark.parametrize("shape", [(4, 4), (5, 4), (4, 5)])
def test_at_vanishing_singular_values_the_values_have_a_kink(shape):
    a = np.zeros(shape)
    a[0, 0], a[1, 1] = 2.0, 1.0
    report = inspect(a, "svd")
    assert report.clusters == ((0,), (1,), (2, 3))
    np.testing.assert_array_equal(np.isnan(report.digits_values), [False, False, True])
    np.testing.assert_array_equal(np.isnan(report.digits_vectors), [False, False, True])
    assert np.isfinite(report.digits_projectors).all()
    assert any("Singular values 2-3: zero" in note for note in report.notes)


def test_the_upper_triangle_is_not_read_and_this_is_said():
    report = inspect(np.array([[1.0, 7.0], [0.0, 2.0]]), kind="eigh")
    np.testing.assert_allclose(report.values, [1, 2])
    assert "upper triangle" in report.notes[0]


# --- the digits, against 50 ---


def eigh_derivatives(a, e):
    """The derivatives of eigenvalues and of unit vectors, and the vectors."""
    w, v = (mp.eighe if np.iscomplexobj(a) else mp.eigsy)(matrix(a))
    n = len(w)
    p = v.H * matrix(e) * v
    turn = mp.matrix(n, n)
    for i in range(n):
        for j in range(n):
            turn[i, j] = p[i, j] / (w[j] - w[i]) if i != j else 0
    return [mp.re(p[j, j]) for j in range(n)], v * turn, v


def plain(x):
    return np.array([[complex(x[i, j]) for j in range(x.cols)] for i in range(x.rows)])


# A generic direction is kinder than the worst: values may be some digits better. Nothing is to be
# worse by more than one digit.
@pytest.mark.parametrize("field", [float, complex])
@pytest.mark.parametrize("gap", [1e-1, 1e-4, 1e-7, 1e-10])
def test_the_digits_of_hermitian_matrices_are_those_that_are_right(field, gap):
    rng = np.random.default_rng(5)
    found = []
    for _ in range(6):
        a = hermitian(rng, np.array([1.0, 1.0 + gap, 2.0, 3.0, 5.0]), field)
        e = hermitian(rng, rng.standard_normal(5), field)
        report = inspect(a)
        with mp.workdps(50):
            dw, dv, v = eigh_derivatives(a, e)
        dv, v = plain(dv), plain(v)
        (_, w_v), (t_w, t_v) = lw.jvp(lambda x: tuple(lw.eigh(x)), (a,), (e,))
        for j in range(2):
            phase = np.vdot(v[:, j], w_v[:, j])
            value = digits(abs(t_w[j] - dw[j]) / np.linalg.norm(e, 2))
            vector = np.linalg.norm(t_v[:, j] - dv[:, j] * phase) / np.linalg.norm(dv[:, j])
            assert value - report.digits_values[j] > -1
            found.append(digits(vector) - report.digits_vectors[j])
    assert min(found) > -1
    assert 0 < np.median(found) < 1.5


@pytest.mark.parametrize("n", [4, 60, 200])
@pytest.mark.parametrize("kind", ["eigh", "svd", "eig"])
def test_the_digits_of_single_precision_are_right_at_every_size(kind, n):
    """Double precision is the truth for single precision."""
    rng = np.random.default_rng(n)
    a, e = rng.standard_normal((2, n, n)).astype(np.float32)
    if kind == "eigh":
        a, e = (x + x.T for x in (a, e))

    def vectors(x):
        return {"eigh": lw.eigh, "eig": lw.eig}[kind](x)[1] if kind != "svd" else lw.svd(x)[0]

    v, dv = lw.jvp(vectors, (a,), (e,))
    u, du = lw.jvp(vectors, (a.astype(np.float64),), (e.astype(np.float64),))
    match = np.argmax(abs(u.conj().T @ v), axis=0)
    u, du = u[:, match], du[:, match]
    error = np.linalg.norm(dv - du * np.sum(u.conj() * v, axis=0), axis=0)
    true = -np.log10(error / np.linalg.norm(du, axis=0))
    report = inspect(a, kind)
    found = true - report.digits_vectors
    assert np.min(found) > -1
    assert np.median(found) < (2.5 if kind == "eig" else 1.5)


@pytest.mark.parametrize("perturbation", [1e-4, 1e-8])
def test_the_digits_beside_a_nearly_defective_pair_are_those_that_are_right(perturbation):
    rng = np.random.default_rng(11)
    block = np.diag([1.0, 1.0, 3.0, 4.0, 6.0])
    block[0, 1], block[1, 0] = 1.0, perturbation
    q = unitary(rng, 5)
    a, e = q @ block @ q.T, rng.standard_normal((5, 5))
    report = inspect(a)
    with mp.workdps(50):
        w, v = mp.eig(matrix(a))
        inverse = mp.inverse(v)
        p = inverse * matrix(e) * v
        dw = [complex(p[j, j]) for j in range(5)]
        w = [complex(x) for x in w]
    (values, _), (found, _) = lw.jvp(lambda x: tuple(lw.eig(x)), (a,), (e,))
    pair = abs(values - 1) < 0.5
    for j in range(5):
        k = int(np.argmin([abs(x - values[j]) for x in w]))
        error = abs(found[j] - dw[k]) / np.linalg.norm(e, 2) / report.condition[j]
        assert -1 < digits(error) - report.digits_values[j] < 4
    # the vectors of the others suffer from the pair, the projectors do not
    assert report.digits_values[pair].max() < -np.log10(EPS / perturbation) + 1
    assert report.digits_projectors[~pair].min() > 13
    assert report.digits_vectors[~pair].max() < 13
    assert report.digits_functions > 13
    assert any(": close." in note for note in report.notes)


def test_a_projector_on_a_close_pair_keeps_the_digits_that_the_note_promises():
    rng = np.random.default_rng(2)
    a = hermitian(rng, np.array([1.0, 1.0 + 1e-9, 2.0, 3.0]))
    e = hermitian(rng, rng.standard_normal(4))
    (note,) = inspect(a).notes
    assert "Eigenvalues 0-1: close. 5 digits for each alone, 14 for their mean and" in note
    with mp.workdps(50):
        _, dv, v = eigh_derivatives(a, e)
        half = dv[:, :2] * v[:, :2].T
        exact = plain(half + half.T)
    _, found = lw.jvp(lambda x: lw.spectral_projector(x, 2), (a,), (e,))
    assert digits(np.linalg.norm(found - exact) / np.linalg.norm(found)) > 14


def test_the_pseudoinverse_has_the_digits_that_the_note_promises():
    rng = np.random.default_rng(4)
    a = unitary(rng, 4) @ np.diag([1.0, 0.5, 0.3, 1e-7]) @ unitary(rng, 4)
    e = rng.standard_normal((4, 4))
    assert any("lw.pinv(a) 8 digits" in note for note in inspect(a, "svd").notes)
    with mp.workdps(50):
        inverse = mp.inverse(matrix(a))
        exact = plain(-inverse * matrix(e) * inverse)
    _, found = lw.jvp(lw.pinv, (a,), (e,))
    assert 8 <= digits(np.linalg.norm(found - exact) / np.linalg.norm(exact)) < 11


def test_the_scale_of_a_matrix_changes_nothing():
    rng = np.random.default_rng(6)
    for a in (rng.standard_normal((4, 4)), rng.standard_normal((5, 3)), np.diag([1.0, 1.0, 2.0])):
        report = inspect(a)
        for scale in (2.0**-900, 2.0**900):
            other = inspect(a * scale)
            assert other.clusters == report.clusters
            for name in ("digits_values", "digits_vectors", "digits_projectors", "amplification"):
                np.testing.assert_allclose(getattr(other, name), getattr(report, name), rtol=1e-6)
            np.testing.assert_allclose(other.gaps / scale, report.gaps)


def test_the_digits_are_those_of_the_precision():
    a = np.diag([1.0, 2.0, 3.0])
    for dtype, most in ((np.float32, 7), (np.complex64, 7), (np.float64, 16)):
        report = inspect(a.astype(dtype))
        assert report.dtype == dtype
        assert most - 2 < report.digits_values[0] < most


# --- what is accepted ---


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.tolist(),
        np.asarray,
        jnp.asarray,
        lambda x: torch.tensor(x, requires_grad=True),
        lambda x: torch.tensor(x + 0j).conj(),
        array_api_strict.asarray,
    ],
    ids=["list", "numpy", "jax", "torch", "conjugated", "strict"],
)
def test_arrays_of_every_framework_are_accepted(make):
    report = inspect(make(np.diag([1.0, 1.0, 3.0])))
    assert type(report.values) is np.ndarray
    assert report.clusters == ((0, 1), (2,))


def test_integers_are_promoted_and_zero_is_a_matrix_too():
    assert inspect(np.eye(2, dtype=int)).dtype == np.float64
    for kind in ("eigh", "svd", "eig"):
        report = inspect(np.zeros((3, 3)), kind)
        assert report.clusters == ((0, 1, 2),)
        assert "0 (3x)" in str(report)


@pytest.mark.parametrize(
    ("a", "kind", "error", "message"),
    [
        (np.eye(2), "schur", ValueError, "kind must be .* not 'schur'"),
        (np.ones((3, 2, 2)), "auto", ValueError, r"one matrix, but has shape \(3, 2, 2\)"),
        (np.ones((0, 2)), "auto", ValueError, "empty"),
        (np.full((2, 2), np.nan), "auto", ValueError, "NaN or infinite"),
        (np.full((2, 3), np.inf), "auto", ValueError, "NaN or infinite"),
        (np.ones(3), "auto", np.linalg.LinAlgError, "must be a matrix"),
        (np.ones((2, 3)), "eigh", np.linalg.LinAlgError, "must be square"),
        (np.ones((2, 3)), "eig", np.linalg.LinAlgError, "must be square"),
        (np.array([["a"]]), "auto", TypeError, "dtype <U1"),
        (np.eye(2, dtype=np.float16), "auto", TypeError, "float16"),
    ],
)
def test_bad_input_is_refused_with_the_reason(a, kind, error, message):
    with pytest.raises(error, match=message):
        inspect(a, kind)


def test_an_array_that_is_being_differentiated_is_refused():
    a = np.eye(2)
    with pytest.raises(TypeError):
        lw.jvp(lambda x: inspect(x).values, (a,), (a,))


def test_without_scipy_general_matrices_are_refused_by_name(monkeypatch):
    monkeypatch.setattr("loewner._inspect.has_scipy", lambda: False)
    with pytest.raises(ImportError, match="SciPy"):
        inspect(np.array([[1.0, 2.0], [0.0, 3.0]]))


# --- how it looks ---


@pytest.fixture(scope="module")
def reports():
    rng = np.random.default_rng(8)
    ring = -np.roll(np.eye(12), 1, axis=0)
    wide = rng.standard_normal((3, 5))
    general = rng.standard_normal((6, 6)) * 1e5
    return [inspect(x) for x in (ring + ring.T, wide, wide[:1].T @ wide[:1, :4], general)]


def test_the_table_fits_eighty_columns_and_names_every_cluster(reports):
    for report in reports:
        lines = str(report).splitlines()
        assert max(map(len, lines)) < 80
        assert repr(report) == str(report)
        rule = next(i for i, line in enumerate(lines) if set(line) == {"-"})
        indices = [line.split()[0] for line in lines[rule + 1 : rule + 1 + len(report.clusters)]]
        assert indices == [f"{c[0]}-{c[-1]}" if len(c) > 1 else str(c[0]) for c in report.clusters]


def test_many_rows_and_notes_are_cut_to_the_worst():
    report = inspect(np.diag(np.repeat(np.arange(60.0) ** 2, 2)))
    text = str(report)
    assert len(text.splitlines()) < 80
    assert "20 more, which lose less, are not shown." in text
    assert "52 more such notes are in .notes." in text
    assert len(report.notes) == 60


def test_notebooks_get_the_same_rows_as_html(reports):
    for report in reports:
        page = report._repr_html_()
        assert page.count("<tr>") == 1 + len(report.clusters)
        assert page.count("<li>") == len(report.notes)
        assert "digits of vectors" in page


@pytest.mark.parametrize("n", [1, 4, 40])
@pytest.mark.parametrize("kind", ["eigh", "svd", "eig"])
def test_the_plot_has_the_spectrum_and_the_amplification(kind, n):
    from matplotlib.figure import Figure

    a = np.diag(np.arange(n) // 2 + 1.0) + np.eye(n, k=5)
    figure = Figure(layout="constrained")
    assert inspect(a, kind).plot(figure) is figure
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["spectrum", "amplification"]
    figure.canvas.draw()


def test_the_plot_makes_a_figure_of_its_own_if_none_is_given():
    import matplotlib.pyplot as plt

    figure = inspect(np.diag([1.0, 1.0, 0.0])).plot()
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


def test_without_matplotlib_the_plot_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        inspect(np.eye(2)).plot()


# --- the command line ---


@pytest.fixture(params=["rich", "plain"])
def output(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr("loewner.cli._has_rich", lambda: False)


@pytest.mark.usefixtures("output")
@pytest.mark.parametrize("suffix", ["npy", "npz", "mtx", "csv", "tsv.csv"])
def test_files_of_every_kind_are_read(tmp_path, capsys, suffix):
    a, path = np.diag([1.0, 1.0, 3.0]), tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, a)
    elif suffix == "npz":
        np.savez(path, a=a)
    elif suffix == "mtx":
        scipy.io.mmwrite(path, scipy.sparse.coo_array(a))
    else:
        np.savetxt(path, a, delimiter="," if suffix == "csv" else "\t", header="a matrix")
    assert main(["inspect", str(path)]) == 0
    out, err = capsys.readouterr()
    assert "eigh of a 3 x 3 matrix, float64, |A| = 3" in out
    assert "1 (2x)" in out
    assert "equal within rounding" in out
    assert max(map(len, out.splitlines())) <= 80
    assert err == ""


def test_complex_csv_files_are_read(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("1, 2j\n-2j, 4\n")
    assert main(["inspect", str(path)]) == 0
    assert "eigh of a 2 x 2 matrix, complex128, |A| = 5" in capsys.readouterr().out


def test_one_of_several_arrays_is_chosen_by_name(tmp_path, capsys):
    path = tmp_path / "a.npz"
    np.savez(path, small=np.eye(2), wide=np.ones((2, 3)))
    assert main(["inspect", str(path), "--name", "wide"]) == 0
    assert "svd of a 2 x 3 matrix" in capsys.readouterr().out
    for arguments in ([], ["--name", "large"]):
        assert main(["inspect", str(path), *arguments]) == 2
        assert "small, wide" in capsys.readouterr().err


def test_the_kind_can_be_given(tmp_path, capsys):
    path = tmp_path / "a.npy"
    np.save(path, np.eye(2))
    assert main(["inspect", str(path), "--kind", "svd"]) == 0
    assert "svd of a 2 x 2 matrix" in capsys.readouterr().out


@pytest.mark.usefixtures("output")
def test_a_stack_is_summed_up_worst_first(tmp_path, capsys):
    stack = np.broadcast_to(np.diag([1.0, 2.0, 3.0]), (2, 10, 3, 3)).copy()
    stack[1, 4] = np.diag([1.0, 1.0, 3.0])
    stack[0, 7] = np.diag([1.0, 1.0 + 1e-8, 3.0])
    path = tmp_path / "a.npy"
    np.save(path, stack)
    assert main(["inspect", str(path), "--plot", str(tmp_path / "a.png")]) == 0
    out = capsys.readouterr().out
    assert "the worst 10 of 20 matrices, 3 x 3, float64" in out
    assert out.index("1, 4") < out.index("0, 7") < out.index("0, 0")
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"x,y\n1,2\n", "could not convert"),
        ("a.csv", b"1,2\n3\n", "columns"),
        ("a.csv", b"# nothing\n", "no numbers"),
        ("a.csv", b"\xff\xfe\x00", "utf-8"),
        ("a.csv", b"1,nan\n2,3\n", "NaN or infinite"),
        ("a.npy", b"junk", "no arrays of numbers"),
        ("a.npy", b"", "no arrays of numbers"),
        ("a.npz", b"PK\x03\x04junk", "no arrays of numbers"),
        ("a.mtx", b"junk", "a.mtx"),
        ("a.txt", b"1 2", "only .npy, .npz, .mtx and .csv"),
        ("a.npy", np.ones(3), r"not an array of shape (3,)"),
        ("a.npy", np.ones((0, 2, 2)), "empty"),
        ("a.npy", np.array([["a"]]), "dtype <U1"),
        ("a.npy", np.array([[None]]), "no arrays of numbers"),
    ],
)
def test_what_cannot_be_used_ends_with_code_2_and_the_reason(
    tmp_path, capsys, name, content, message
):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)
    assert main(["inspect", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("loewner: error: ")
    assert message in err
    assert "Traceback" not in err


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "nowhere.npy")]) == 2
    assert "nowhere.npy: No such file" in capsys.readouterr().err


def test_the_module_is_the_command(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(2))
    command = [sys.executable, "-m", "loewner", "inspect", str(tmp_path / "a.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "eigh of a 2 x 2 matrix" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["inspect", "a.npy", "--kind", "schur"]])
def test_unknown_arguments_end_with_code_2(arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
