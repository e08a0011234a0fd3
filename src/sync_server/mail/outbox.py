"""The outbox: where mails go as files while no SMTP server is configured."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sync_server.mail.failures import Away
from sync_server.mail.messages import Message


class Outbox:
    """A directory for its owner alone (mode 0700, files 0600): a mail in it holds an address and a PIN."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def send(self, message: Message) -> Path:
        """Write `<time>-<id>.eml`, whole or not at all. Raises Away when that cannot be done."""
        try:
            return await asyncio.to_thread(self._write, message)
        except OSError as exc:
            hint = f"the server must be able to write to {self._directory}"
            raise Away(f"{type(exc).__name__}, errno {exc.errno}", hint) from None

    async def close(self) -> None:
        """Nothing is open between two mails."""

    def _write(self, message: Message) -> Path:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{message.mail_id}.eml"
        descriptor, temporary = tempfile.mkstemp(dir=self._directory, prefix=".")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(message.content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
        return path


def clear(directory: Path, days: float | None, *, dry_run: bool = False) -> int:
    """Remove mails from an outbox that are older than `days`; how many there were. Another process may do the same."""
    if days is None:
        return 0
    oldest = time.time() - days * 86_400
    old = [path for path in directory.glob("*.eml") if _written(path) < oldest]
    if not dry_run:
        for path in old:
            path.unlink(missing_ok=True)
    return len(old)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process was faster
        return time.time()
