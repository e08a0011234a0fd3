"""Makes the environment (.venv) of ./start and ./test, or brings it up to date.

Run by a Python that may know nothing but its standard library, as `environment.py NAME [EXTRA]`: NAME is the command that
messages speak of, EXTRA one of pyproject.toml's. A run that is cut off is made good by the next one.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
VENV = TOP / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.json"
"""What is installed. It is there only while the environment is whole."""
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def main() -> None:
    """Leave the environment ready, or end with one line that says why it is not."""
    name, *extras = sys.argv[1:]
    try:
        with Path(__file__).open() as lock:  # of two commands at once, one installs and the other waits
            fcntl.flock(lock, fcntl.LOCK_EX)
            prepare(name, extras)
    except OSError as exc:
        sys.exit(f"{name}: cannot make {VENV}: {exc.strerror or exc} ({exc.filename})")
    except subprocess.CalledProcessError:
        sys.exit(f"{name}: installing failed, see above; once that is mended, run ./{name} again")
    except KeyboardInterrupt:
        sys.exit(130)


def prepare(name: str, extras: list[str]) -> None:
    """Install what is missing; nothing is run when nothing is."""
    files = [(TOP / file).read_bytes() for file in ("pyproject.toml", "constraints.txt")]
    wanted: dict[str, Any] = {
        "place": [str(VENV), VERSION],
        "digest": hashlib.sha256(b"\0".join(files)).hexdigest(),
        "extras": extras,
    }
    found = installed()
    usable = found.get("place") == wanted["place"] and PYTHON.exists()
    if usable:
        if found["digest"] == wanted["digest"] and set(extras) <= set(found["extras"]):
            return
        wanted["extras"] = sorted({*extras, *found["extras"]})
    if not (find_spec("venv") and find_spec("ensurepip")):
        sys.exit(
            f"{name}: {sys.executable} cannot make virtual environments (on Debian and Ubuntu: apt install python3-venv)"
        )
    say(f"{name}: installing into {VENV} with Python {VERSION}; this takes a minute, and only now")
    if usable:
        STAMP.unlink()
    else:
        make_venv()
    install(wanted["extras"])
    temporary = STAMP.with_suffix(".new")
    temporary.write_text(json.dumps(wanted))
    temporary.replace(STAMP)


def installed() -> dict[str, Any]:
    """What the stamp says; nothing when there is none, or none that can be read."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def make_venv() -> None:
    """An empty environment, in place of whatever a run that was cut off, a move or another Python has left."""
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    run(sys.executable, "-I", "-m", "venv", VENV)


def install(extras: list[str]) -> None:
    """The package from this tree with the versions of constraints.txt; the tools that build it, too."""
    target = f".[{','.join(extras)}]" if extras else "."
    pip = (PYTHON, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
    constraints = {"PIP_CONSTRAINT": "constraints.txt", "PIP_BUILD_CONSTRAINT": "constraints.txt"}
    run(*pip, "install", "--editable", target, environment=constraints)


def run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    variables = {**os.environ, **(environment or {})}
    subprocess.run(command, cwd=TOP, env=variables, stdin=subprocess.DEVNULL, check=True)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
