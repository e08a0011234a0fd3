"""`.ci/audit` says that there are no known holes only when somebody who knows was asked about every package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

CI = Path(__file__).parents[2] / ".ci"


@pytest.fixture(scope="module")
def auditing() -> Any:
    spec = spec_from_file_location("auditing", CI / "auditing.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["auditing"] = module
    spec.loader.exec_module(module)
    return module


HOLE = {"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": ["CVE-2019-10906"], "description": "…"}
PRINTED = {
    "dependencies": [
        {"name": "jinja2", "version": "2.4.1", "vulns": [HOLE]},
        {"name": "ast-serialize", "version": "0.13.1", "vulns": []},
        {"name": "bcrypt", "skip_reason": "Dependency not found on PyPI and could not be audited: bcrypt (5.0.0)"},
    ],
    "fixes": [],
}


def test_what_pip_audit_prints_is_understood(auditing: Any) -> None:
    answer = auditing.judged(json.dumps(PRINTED))
    assert answer.holes == [("jinja2 2.4.1", "PYSEC-2019-217", "2.10.1")]
    pins = ("Jinja2==2.4.1", "ast_serialize==0.13.1", "bcrypt==5.0.0", "never.named==1")
    assert [auditing.normal(pin) in answer.known for pin in pins] == [True, True, False, False]


@pytest.mark.parametrize("printed", ["", "Traceback", "{}", "[]", "null"])
def test_no_answer_is_no_good_news(auditing: Any, printed: str) -> None:
    with pytest.raises(auditing.Unanswered):
        auditing.judged(printed)


def test_the_verdict(auditing: Any) -> None:
    hole = auditing.Hole("jinja2 2.4.1", "PYSEC-2019-217", "2.10.1")
    assert auditing.verdict([], [], 3) == (0, ["audit: no known holes in 3 packages"])
    assert auditing.verdict([hole], [], 3)[0] == auditing.verdict([hole], ["x==1"], 3)[0] == 1
    code, said = auditing.verdict([], ["x==1"], 3)
    assert code == 2
    assert "NOT DONE for 1 of 3" in said[0]


@pytest.mark.long  # it makes an environment
def test_without_a_network_it_says_so_and_ends() -> None:
    run = subprocess.run(
        [CI / "audit"],
        env={**os.environ, "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 2, run.stdout + run.stderr
    assert "pip-audit cannot be installed" in run.stdout
    assert "NOT DONE" in run.stdout
    assert "no known holes" not in run.stdout
