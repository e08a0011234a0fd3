"""What public services know of holes in the pinned packages, asked by pip-audit in an environment of its own.

Each service is asked about the packages that those before it knew nothing of. Knows nothing but the standard library.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PINS = Path(__file__).resolve().parent.parent / "constraints.txt"
_PIP_AUDIT = "pip-audit==2.10.1"
_SERVICES = {"pypi": "the advisories of the Python package index", "osv": "the advisories of OSV"}
_SECONDS = 300.0
"""For everything."""
_PATIENCE = 15
"""Seconds for one answer of the network."""
_SOUND, _HOLES, _UNKNOWN = 0, 1, 2


class Unanswered(Exception):
    """Nobody could be asked; one line says why."""


class Hole(NamedTuple):
    package: str
    name: str
    mended_in: str


class Answer(NamedTuple):
    """What a service says."""

    holes: list[Hole]
    known: set[str]
    """Packages that it was asked about and knows, by their normal names."""


class _Asking:
    """Within `_SECONDS`, in a directory."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._end = time.monotonic() + _SECONDS

    def install(self) -> None:
        """Raises Unanswered."""
        venv.create(self._place / "venv", with_pip=True)
        options = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", str(_PATIENCE)]
        if self._run("pip", "install", *options, _PIP_AUDIT).returncode:
            raise Unanswered("pip-audit cannot be installed: pip reaches no package index")

    def ask(self, service: str, pins: Sequence[str]) -> Answer:
        """Raises Unanswered."""
        asked = self._place / "asked.txt"
        asked.write_text("\n".join(pins))
        options = ["--requirement", str(asked), "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        options += ["--format", "json", "--timeout", str(_PATIENCE), "--vulnerability-service", service]
        return judged(self._run("pip-audit", *options).stdout)

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(self._place / "venv" / "bin" / program), *arguments]
        try:
            left = max(1.0, self._end - time.monotonic())
            return subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired:
            raise Unanswered(f"there was no answer within {_SECONDS:.0f} seconds") from None


def judged(printed: str) -> Answer:
    """What pip-audit printed as JSON. Raises Unanswered: it prints none when the service cannot be reached."""
    try:
        found = json.loads(printed)["dependencies"]
    except (ValueError, KeyError, TypeError):
        raise Unanswered("they cannot be reached") from None
    holes = [
        Hole(f"{each['name']} {each['version']}", hole["id"], ", ".join(hole["fix_versions"]) or "no version yet")
        for each in found
        for hole in each.get("vulns", ())
    ]
    return Answer(holes, {normal(each["name"]) for each in found if "skip_reason" not in each})


def normal(pin: str) -> str:
    """The package of a pin, as indexes compare names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower()


def verdict(holes: Sequence[Hole], unknown: Sequence[str], asked: int) -> tuple[int, list[str]]:
    """The exit code, and what is said."""
    said = [f"{hole.package}: {hole.name}, mended in {hole.mended_in}" for hole in holes]
    if unknown:
        said.append(f"audit: NOT DONE for {len(unknown)} of {asked} packages, of which nobody could tell anything:")
        said.append("  " + ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else ""))  # noqa: PLR2004
    if holes:
        return _HOLES, [*said, f"audit: {len(holes)} known holes"]
    return (_UNKNOWN, said) if unknown else (_SOUND, [f"audit: no known holes in {asked} packages"])


def main() -> int:
    pins = [line for line in PINS.read_text().splitlines() if "==" in line and not line.startswith("#")]
    holes: list[Hole] = []
    unknown = pins
    with tempfile.TemporaryDirectory() as directory:
        asking = _Asking(Path(directory))
        try:
            asking.install()
            for service in _SERVICES:
                answer = _answer(asking, service, unknown)
                holes += answer.holes
                unknown = [pin for pin in unknown if normal(pin) not in answer.known]
                if not unknown:
                    break
        except Unanswered as exc:
            sys.stdout.write(f"audit: {exc}\n")
    code, said = verdict(holes, unknown, len(pins))
    sys.stdout.write("\n".join([*said, ""]))
    return code


def _answer(asking: _Asking, service: str, pins: Sequence[str]) -> Answer:
    try:
        return asking.ask(service, pins)
    except Unanswered as exc:
        sys.stdout.write(f"audit: {_SERVICES[service]}: {exc}\n")
        return Answer([], set())


if __name__ == "__main__":
    sys.exit(main())
