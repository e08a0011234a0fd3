"""The benchmark's answers are right, and wrong ones would not pass; its times are nobody's business here."""

from __future__ import annotations

import gzip
import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
BENCHMARKS = TOP / "benchmarks"

MAY_BE_NONE = {"calls that failed", "pull of the row of 1 MB: memory / body"}
"""What the short run may find nothing of: a megabyte fits in memory that the server has already."""


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.timeout(600)
@pytest.mark.parametrize("only", [["push", "pull", "refresh"], pytest.param([], marks=pytest.mark.long)])
def test_every_case_gets_right_answers(tmp_path: Path, modules: Any, only: list[str]) -> None:
    figures = tmp_path / "figures.json"
    done = bench("--short", "--json", figures, "--directory", tmp_path, *(["--only", *only] if only else []))
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(figures.read_text())
    assert document["postgres"]["fsync"] == "on"
    assert {figure["case"] for figure in document["figures"]} == set(only or modules("cases").CASES)
    for figure in document["figures"]:
        assert figure["what"] in done.stdout
        assert math.isfinite(figure["median"])
        assert figure["median"] > 0 or figure["what"] in MAY_BE_NONE


def test_two_runs_are_compared(tmp_path: Path) -> None:
    for name, values in (("before", [40, 50, 60]), ("after", [70, 75, 80])):
        figure = {"case": "push", "what": "rate", "unit": "%", "median": values[1], "values": values}
        figure["verdict"] = "MISSED" if name == "before" else "met"
        machine = {"load_average": [0.5], "versions": {"sync-server": "0.1.0"}}
        (tmp_path / name).write_text(json.dumps({"machine": machine, "workers": 1, "figures": [figure]}))
    done = bench("compare", tmp_path / "before", tmp_path / "after")
    assert done.stdout.splitlines()[-1].split() == [
        "push",
        "rate",
        "50",
        "%",
        "75",
        "%",
        "+50",
        "%",
        "MISSED",
        "->",
        "met",
    ]


@pytest.mark.parametrize(
    ("value", "verdict"), [(49.9, "MISSED"), (50, "met"), (60, "met"), (60.1, "MISSED"), (math.nan, "MISSED")]
)
def test_a_figure_is_held_to_its_target(modules: Any, value: float, verdict: str) -> None:
    figures = modules("figures")
    assert figures.Figure("push", "rate", " %", [value], figures.Target(50, 60)).verdict() == verdict


def test_an_answer_that_is_wrong_ends_the_benchmark(modules: Any) -> None:
    checking, connection, samples = (modules(name) for name in ("checking", "connection", "samples"))

    def check(rows: list[dict[str, object]]) -> None:
        body = json.dumps({"lastSync": 5, "data": rows}, separators=(",", ":")).encode()
        checking.pulled(connection.Answer(body, gzipped=False, seconds=0.1, first_byte=0.1), pushed)

    pushed = samples.rows(3, "seed", 1)
    answer: list[dict[str, object]] = [
        {
            "operation": "I",
            "tablename": samples.TABLE,
            "rowguid": row.guid,
            "clientdate": row.date,
            "rowData": json.loads(row.data),
        }
        for row in pushed
    ]
    check(answer)
    edited = [{**answer[0], "rowData": {}}, *answer[1:]]
    late = [{**answer[0], "clientdate": 2}, *answer[1:]]
    for wrong in (answer[:2], [*answer, answer[2]], answer[::-1], edited, late):
        with pytest.raises(connection.WrongAnswer, match="3 rows"):
            check(wrong)


def test_a_big_pull_that_is_wrong_ends_the_benchmark(modules: Any) -> None:
    checking, connection, filling = (modules(name) for name in ("checking", "connection", "filling"))
    count = 9000  # several pieces

    def answer(numbers: list[int], end: str = "]}") -> Any:
        rows = ",".join(
            f'{{"operation":"I","rowguid":"row-{number}","tablename":"todos","clientdate":1,"rowData":{filling.data(number)}}}'
            for number in numbers
        )
        body = gzip.compress(f'{{"clientId":"x","lastSync":1,"data":[{rows}{end}'.encode(), 1)
        return connection.Answer(body, gzipped=True, seconds=1.0, first_byte=1.0)

    numbers = list(range(count))
    checking.filled(answer(numbers), count)
    for wrong in (answer(numbers[:-1]), answer([*numbers[:5000], *numbers[5001:]]), answer([1, 0, *numbers[2:]])):
        with pytest.raises(connection.WrongAnswer, match="row"):
            checking.filled(wrong, count)
    with pytest.raises(connection.WrongAnswer, match="cut off"):
        checking.filled(answer(numbers, end=""), count)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_every_curve_can_be_measured(tmp_path: Path) -> None:
    figures = tmp_path / "curves.json"
    done = bench("plots", "--short", "--json", figures, "--directory", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    curves = json.loads(figures.read_text())["curves"]
    assert {curve["name"] for curve in curves} == {"rows", "versions", "push", "users", "rate", "realms", "memory"}
    values = [
        value for curve in curves for line in curve["lines"].values() for point in line.values() for value in point
    ]
    assert all(map(math.isfinite, values))


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="it reads processor time from /proc")
def test_what_the_statement_of_a_pull_costs_can_still_be_measured() -> None:
    """It names statements and parameters of the server, and checks what comes back."""
    done = subprocess.run([sys.executable, BENCHMARKS / "floor.py", "200"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = [line for line in done.stdout.splitlines() if line.endswith(" µs")]
    assert [line[:30].strip() for line in measured][-3:] == ["pull", "pull, with something pending", "pull, durably"]
