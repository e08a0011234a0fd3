"""What can be wrong with the embedded PostgreSQL, said in one line."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from sync_server.complaint import Complaint


class EmbeddedError(Complaint):
    """The embedded PostgreSQL cannot do what was asked; the message is one line that says why and what to do."""


def explain(exc: OSError, directory: Path) -> str:
    what = f"The embedded PostgreSQL cannot use {exc.filename or directory}: {exc.strerror or exc}."
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return what + " Free some disk space."
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return what + " Give `server.data_dir` a directory that this account may write to, or run as its owner."
    return what + " Look at `server.data_dir`."


def last_lines(path: Path, offset: int) -> str:
    """What matters in the end of what was logged after `offset`, in one line."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(offset, size - 4096))
        return gist(file.read()) or "it logged nothing"


def gist(output: bytes) -> str:
    """The last few lines, without those that only tell the course of things if some tell of a problem."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    problems = [line for line in lines if re.search(r"\b(ERROR|FATAL|PANIC|HINT|error|hint):", line)]
    return " | ".join((problems or lines)[-5:])
