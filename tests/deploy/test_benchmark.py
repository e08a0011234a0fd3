"""The benchmark's answers are right, and wrong ones would not pass; its times are nobody's business here."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.conftest import TOP

BENCHMARKS = TOP / "benchmarks"


def test_the_quick_benchmark_gets_right_answers(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", "--quick", "--json", figures, "--directory", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    measurements = json.loads(figures.read_text())["measurements"]
    assert len(measurements) == 6
    for measurement in measurements:
        assert measurement["title"] in done.stdout
        assert all(seconds > 0 for seconds in measurement["seconds"] + measurement["seconds_of_postgres_alone"])
        assert math.isfinite(measurement["ratio"])


def test_an_answer_that_is_wrong_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    load, phone, samples = (importlib.import_module(name) for name in ("load", "phone", "samples"))
    pushed = samples.rows(3, "seed", 1)
    answer = [
        {
            "operation": "I",
            "tablename": samples.TABLE,
            "rowguid": row.guid,
            "clientdate": row.date,
            "rowData": json.loads(row.data),
        }
        for row in pushed
    ]
    load.check(encoded(answer), pushed)
    edited = [{**answer[0], "rowData": {}}, *answer[1:]]
    for wrong in (
        answer[:2],
        [*answer, answer[2]],
        answer[::-1],
        edited,
        [{**answer[0], "clientdate": 2}, *answer[1:]],
    ):
        with pytest.raises(phone.WrongAnswer, match="3 rows"):
            load.check(encoded(wrong), pushed)


def encoded(answer: list[dict[str, object]]) -> bytes:
    return json.dumps({"data": answer}, separators=(",", ":")).encode()
