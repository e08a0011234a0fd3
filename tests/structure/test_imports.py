"""What the commands import: whoever calls one waits for it each time."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"litestar", "uvicorn"}
LIGHT = ["adopt", "check", "migrate", "prune"]


def test_only_serve_imports_the_framework_for_calls() -> None:
    look = f"print(*sorted({HEAVY} & set(sys.modules)), flush=True)"
    imports = [f"import sync_server.commands.{command}; {look}" for command in LIGHT]
    program = "; ".join(["import sys", *imports, f"import sync_server.commands.serve; {look}"])
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert said.splitlines() == ["" for _ in LIGHT] + [" ".join(sorted(HEAVY))]
