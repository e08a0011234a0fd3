"""Runs the suite on the databases of engines.py, one after the other, and says how each run ended.

usage: .ci/databases [--short] [NAME…] [-- PYTEST_OPTION…]; a path among the options takes the place of the whole suite
"""

import os
import signal
import subprocess
import sys
import time

from engines import ENGINES, running
from fetching import TOP, Unobtainable

WHOLE = [
    "tests",
    "--ignore=tests/embedded",
    "--ignore=tests/crashes",
    "--ignore=tests/deploy",
    "--ignore=tests/benchmarks",
]
"""What is left out is about the embedded PostgreSQL, or starts it, and about the images."""
SHORT = [
    "tests/structure/test_statements.py",
    "tests/sync/test_conflicts.py",
    "tests/sync/test_delivery.py",
    "tests/sync/test_retries.py",
    "tests/accounts/test_register_races.py",
    "tests/server/test_migrations.py",
]
SECONDS = 3600.0


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # databases are stopped and removed then, too
    arguments, options = sys.argv[1:], []
    if "--" in arguments:
        mark = arguments.index("--")
        arguments, options = arguments[:mark], arguments[mark + 1 :]
    short = "--short" in arguments
    names = [name for name in arguments if name != "--short"] or list(ENGINES)
    if unknown := [name for name in names if name not in ENGINES]:
        sys.exit(f"databases: {', '.join(unknown)}: known are {', '.join(ENGINES)}")
    chosen = [] if any(option.startswith("tests") for option in options) else SHORT if short else WHOLE
    outcomes = {name: run(name, [*chosen, *options]) for name in names}
    for name, (outcome, _) in outcomes.items():
        say(f"PostgreSQL {name:16} {outcome}")
    return int(any(failed for _, failed in outcomes.values()))


def run(name: str, selection: list[str]) -> tuple[str, bool]:
    """Run the tests on this database; a line that says how it went, and whether something failed."""
    try:
        with running(ENGINES[name]) as database:
            say(f"PostgreSQL {database.version}")
            started = time.monotonic()
            code = suite(selection, database.environment)
            outcome = "passed" if code == 0 else f"FAILED, exit code {code}"
            return f"{outcome} on {database.version}, {time.monotonic() - started:.0f} s", code != 0
    except Unobtainable as exc:
        return f"NOT RUN, cannot be had here: {exc}", False


def suite(selection: list[str], environment: dict[str, str]) -> int:
    pytest = [TOP / ".venv" / "bin" / "pytest", "-n", "2", "--dist", "worksteal", "-q", *selection]
    try:
        return subprocess.run(
            pytest, cwd=TOP, env={**os.environ, **environment}, check=False, timeout=SECONDS
        ).returncode
    except subprocess.TimeoutExpired:
        say(f"not done after {SECONDS:.0f} s")
        return 124


def say(text: str) -> None:
    sys.stdout.write(f"== {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
