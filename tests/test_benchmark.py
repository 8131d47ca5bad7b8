"""The command `loewner bench`: what it compares, and how it counts."""

import dataclasses
import json

import numpy as np
import pytest

from loewner import benchmark
from loewner.benchmark import GROUPS, Row
from loewner.cli import main

ROWS = benchmark.rows()
KINDS = [
    (operation, competitor, derivative)
    for operation, competitor, derivative in dict.fromkeys(
        (r.operation, r.competitor, r.derivative) for r in ROWS
    )
    # JAX compiles each of them
    if not competitor.startswith("j") or derivative == "value" or operation in ("eigh", "svd")
]


def fakes(*lists):
    """Samplers that return what is in the lists, and the order in which they are asked."""
    order = []

    def sampler(name, values):
        rest = iter(values)

        def sample():
            order.append(name)
            return next(rest)

        return sample

    return *(sampler(name, values) for name, values in zip("AB", lists, strict=True)), order


def numbers(found):
    """The arrays of NumPy in what a program returns."""
    parts = found if isinstance(found, (tuple, list)) else [found]
    return [np.asarray(x) for x in parts]


def symmetric(x):
    return x + x.mT if x.ndim > 1 else x


def test_loewner_and_the_competitor_take_turns():
    a, b, order = fakes([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert benchmark.alternate(a, b, 3) == ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert order == list("ABABAB")


def test_the_ratio_is_the_median_of_the_ratios_of_the_rounds():
    row = Row("dense", "eigh", "numpy.linalg", (8, 8))
    result = benchmark.Result(row, ([1.0, 2.0, 4.0], [10.0, 2.0, 8.0]))
    assert result.ratio == benchmark.Summary(2.0, 1.5, 6.0)  # of 10, 1 and 2
    assert result.ours == benchmark.Summary(2000.0, 1500.0, 3000.0)
    assert result.theirs.median == 8000.0


def test_stacks_are_counted_in_nanoseconds_per_matrix():
    row = Row("stacks", "eigh", "numpy.linalg", (1000, 3, 3))
    assert benchmark.Result(row, ([1e-3], [1e-2])).ours.median == pytest.approx(1000.0)
    other = dataclasses.replace(row, group="compile")
    assert benchmark.Result(other, ([1e-3], [1e-2])).ours.median == pytest.approx(1.0)


@pytest.mark.parametrize("cost", [1e-5, 1e-3, 1.0])
def test_a_turn_of_a_short_call_is_long_enough(cost, monkeypatch):
    clock = [0.0]

    def call():
        clock[0] += cost

    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: clock[0])
    sample = benchmark.seconds(call)
    start = clock[0]
    assert sample() == pytest.approx(cost)
    assert benchmark.LEAST <= clock[0] - start <= max(2 * benchmark.LEAST, cost)


@pytest.mark.parametrize("quick", [False, True])
def test_no_row_occurs_twice_and_all_can_be_built(quick):
    rows = benchmark.rows(quick)
    assert len(set(rows)) == len(rows)
    assert {r.group for r in rows} == {*GROUPS}
    small = {
        dataclasses.replace(r, shape=(2,) * (len(r.shape) - 2) + (4 if m > n else 3, 3))
        for r in rows
        for m, n in [r.shape[-2:]]
    }
    for row in small:
        for provider in ("loewner", "competitor"):
            f, args = benchmark.program(row, provider)
            assert callable(f)
            assert {tuple(x.shape) for x in args} == {row.shape}


@pytest.mark.parametrize(
    ("operation", "competitor", "derivative"), KINDS, ids=[" ".join(kind) for kind in KINDS]
)
def test_the_same_is_compared(operation, competitor, derivative):
    row = Row("dense", operation, competitor, (3, 3), derivative=derivative)
    loss = benchmark.OPERATIONS[operation].loss
    found = []
    with benchmark._framework(competitor).settings():
        for provider in ("loewner", "competitor"):
            value = benchmark._call(row, provider)()
            if derivative == "value":  # less the signs of vectors
                c, m = np.arange(3.0), np.arange(9.0).reshape(3, 3)
                parts = numbers(value)
                value = loss(parts if len(parts) > 1 else parts[0], c, m)
            # a gradient is read in the lower triangle, or in both
            found.append([symmetric(x) for x in numbers(value)])
    for x, y in zip(*found, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9, equal_nan=False)


def test_each_processor_has_a_folder():
    assert benchmark._slug("Intel(R) Xeon(R) Processor") == "intel-xeon-processor"
    assert benchmark._slug("AMD EPYC") == "amd-epyc"


def test_jax_has_its_settings_back():
    framework = benchmark.Jax()
    config = framework.jax.config
    cached = config.jax_enable_compilation_cache
    config.update("jax_enable_x64", False)
    try:
        with framework.settings():
            assert framework.array(np.zeros(1)).dtype == np.float64
        assert framework.array(np.zeros(1)).dtype == np.float32
    finally:
        config.update("jax_enable_x64", True)
    with framework.nothing_kept():
        assert not config.jax_enable_compilation_cache
    assert config.jax_enable_compilation_cache == cached


def test_compiling_is_measured_anew_in_each_round():
    row = Row("compile", "eigvalsh", "jnp.linalg", (3, 3), derivative="gradient")
    result = benchmark.measure(row, 1)
    assert all(x > 0 for x in (*result.samples[0], *result.samples[1]))


def test_memory_is_measured_in_a_process_of_its_own():
    row = Row("memory", "svd", "numpy.linalg", (4096, 64))
    assert benchmark._remembering(row, "loewner")() >= 4096 * 64 * 8  # U is that large


def test_the_command_prints_a_table_and_writes_numbers_and_a_picture(tmp_path, capsys, monkeypatch):
    for name, competitor in (("dense", "numpy.linalg"), ("dispatch", "torch.linalg")):
        row = Row(name, "svd", competitor, (3, 2))
        group = dataclasses.replace(GROUPS[name], rows=lambda quick, row=row: [row])
        monkeypatch.setitem(GROUPS, name, group)
        assert main(["bench", "--quick", "--group", name, "--output", str(tmp_path)]) == 0
        assert (tmp_path / f"{name}.png").read_bytes()[1:4] == b"PNG"
        shown = capsys.readouterr().out
        assert competitor in shown
        assert max(map(len, shown.splitlines()[5:])) <= 80
    found = json.loads((tmp_path / benchmark.FILE).read_text())
    assert {*found} == {"dense", "dispatch"}
    (row,) = found["dense"]["rows"]
    assert row["shape"] == [3, 2]
    assert row["rounds"] == benchmark.QUICK
    assert row["ratio"]["lower"] <= row["ratio"]["median"] <= row["ratio"]["upper"]
    assert "processor" in found["dense"]


def test_a_quick_run_writes_nothing_unless_told_to(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = Row("dense", "svd", "numpy.linalg", (3, 2))
    group = dataclasses.replace(GROUPS["dense"], rows=lambda quick: [row])
    monkeypatch.setitem(GROUPS, "dense", group)
    assert main(["bench", "--quick", "--group", "dense"]) == 0
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("arguments", [["--rounds", "6"], ["--quick", "--rounds", "2"]])
def test_few_rounds_are_refused(arguments, capsys):
    assert main(["bench", *arguments]) == 2
    assert "--rounds" in capsys.readouterr().err
