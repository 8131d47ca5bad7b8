"""Right or loud, on the table of `loewner.census`."""

import argparse
import json

import pytest

from loewner import census

CASES = census.cases()


def silent(framework, cases):
    results = census.take(cases, [framework], ["loewner"])
    wrong = [r for r in results if r.verdict == "WRONG"]
    return [f"{r.case.name}, {r.mode}: {r.value}, {r.case.truth.get(r.mode)}" for r in wrong]


@pytest.mark.parametrize(
    ("framework", "every"), [("numpy", 9), ("torch", 20), ("autograd", 20), ("jax", 70)]
)
def test_no_result_is_silently_wrong(framework, every):
    assert silent(framework, CASES[::every]) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
@pytest.mark.parametrize("framework", census.FRAMEWORKS)
def test_no_result_is_silently_wrong_in_all_cases(framework, part):
    assert silent(framework, CASES[part::8]) == []


def test_every_kind_of_matrix_is_in_the_table():
    assert {c.matrix.kind for c in CASES} == {*census._KINDS, *census.STRUCTURED}
    assert {(c.ill, c.matrix.field) for c in CASES} == {
        (ill, field) for ill in (False, True) for field in ("real", "complex")
    }


@pytest.mark.parametrize("framework", ["torch", "autograd"])
def test_the_frameworks_alone_are_wrong_loud_and_right(framework):
    results = [*census.take(CASES[::40], [framework], ["own"])]
    assert {r.verdict for r in results} == {*census.VERDICTS}


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_not_a_number_is_loud(value):
    assert CASES[0].judged("reverse", value) == "loud"


def test_a_number_that_is_off_is_wrong():
    (truth, _) = CASES[0].truth["reverse"]
    assert CASES[0].judged("reverse", truth) == "right"
    assert CASES[0].judged("reverse", truth + 1e-6) == "WRONG"


def test_any_number_is_wrong_where_there_is_no_derivative():
    case = next(c for c in CASES if c.ill and not c.row.convex)
    assert case.judged("reverse", 0.0) == "WRONG"


def test_the_command_prints_the_table_and_writes_all_results(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(census, "cases", lambda: CASES[:9])
    parser = argparse.ArgumentParser()
    census.add_arguments(parser)
    file = tmp_path / "census.json"
    args = parser.parse_args(["--framework", "torch", "--output", str(file)])
    assert args.run(args) in (0, 1)
    shown = capsys.readouterr().out
    assert "silently wrong results of loewner" in shown
    assert max(map(len, shown.splitlines())) <= 100
    found = json.loads(file.read_text())
    assert len(found) == 2 * sum(len(c.modes) for c in CASES[:9])
    assert {x["verdict"] for x in found} <= {*census.VERDICTS}
