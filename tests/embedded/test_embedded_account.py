"""The first start as root on a machine makes PostgreSQL's account: once, however many start at the same time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sync_server.embedded.account import ACCOUNT

FILES = ("passwd", "group", "shadow", "gshadow")


def may_unshare() -> bool:
    unshare = shutil.which("unshare")
    return (
        unshare is not None
        and os.geteuid() == 0
        and subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False).returncode == 0
    )


ON_A_NEW_MACHINE = f"""
set -e
mount --bind "$1/etc" /etc
for number in 1 2 3 4 5 6; do
    "$2" -c 'from pathlib import Path
from sync_server.embedded.account import account_for
import sys
sys.stdout.write("%d\\n" % account_for(Path("/nonexistent")).uid)' &
done
wait
grep ^{ACCOUNT}: /etc/passwd >&2
"""


@pytest.mark.skipif(not may_unshare(), reason="needs root and a mount namespace, to have an /etc of its own")
def test_processes_that_start_together_agree_on_one_account(tmp_path: Path) -> None:
    shutil.copytree("/etc", tmp_path / "etc", symlinks=True)
    for _ in range(3):
        for path in (tmp_path / "etc" / name for name in FILES if Path("/etc", name).exists()):
            lines = path.read_text().splitlines(keepends=True)
            path.write_text("".join(line for line in lines if not line.startswith(f"{ACCOUNT}:")))
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", ON_A_NEW_MACHINE, "sh", str(tmp_path), sys.executable],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        seen = done.stdout.split()
        assert len(seen) == 6
        made = [line.split(":")[2] for line in done.stderr.splitlines() if line.startswith(f"{ACCOUNT}:")]
        assert set(seen) == set(made)
