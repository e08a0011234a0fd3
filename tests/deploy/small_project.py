"""A project that ./start and ./test install in a moment and without a network, in place of ours."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

from deploy.conftest import TOP

_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "sync-server"
version = "1"
optional-dependencies = {test = []}
"""

_BACKEND = """
import pathlib, time, zipfile

FILES = {
    "METADATA": "Metadata-Version: 2.1\\nName: sync-server\\nVersion: 1\\nProvides-Extra: test\\n",
    "WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "entry_points.txt": "[console_scripts]\\nsync-server = program:main\\npytest = program:main\\n",
    "RECORD": "",
}
PROGRAM = "import json, os, sys\\n" \\
    "def main():\\n    print(json.dumps([sys.argv, os.getcwd(), os.environ.get('SYNC_SERVER_CONFIG')]))\\n"

def build_editable(directory, config_settings=None, metadata_directory=None):
    with open("builds", "a") as file:
        file.write("begun ")
    while pathlib.Path("hang").exists():
        time.sleep(0.05)
    with zipfile.ZipFile(pathlib.Path(directory, "sync_server-1-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("program.py", PROGRAM)
        for name, text in FILES.items():
            wheel.writestr(f"sync_server-1.dist-info/{name}", text)
    return "sync_server-1-py3-none-any.whl"
"""


def make(directory: Path) -> Path:
    """Our commands, with a package that prints its arguments, working directory and configuration file.

    The file `builds` has a word for every installation; one does not end while there is a file `hang`.
    """
    directory.mkdir()
    for name in ("start", "test"):
        shutil.copy2(TOP / name, directory)
    (directory / ".ci").mkdir()
    for name in ("environment", "environment.py"):
        shutil.copy2(TOP / ".ci" / name, directory / ".ci")
    (directory / "pyproject.toml").write_text(_PYPROJECT)
    (directory / "backend.py").write_text(textwrap.dedent(_BACKEND))
    (directory / "constraints.txt").touch()
    return directory
