"""The archive: a zip file that is made while it is read, so that memory stays flat however much there is."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from datetime import datetime

import msgspec

from sync_server.realms import Realm
from sync_server.takeout import files
from sync_server.takeout.files import FILES, Account


class _Written(io.RawIOBase):
    """What has been written and not yet taken. It cannot be gone back in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: object) -> int:
        self._pieces.append(bytes(piece))  # type: ignore[call-overload]
        return len(self._pieces[-1])

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


async def archive(realm: Realm, of: Account) -> AsyncIterator[bytes]:
    """The archive of everything that is stored about a user, piece by piece.

    Devices may sync meanwhile: what changes is there as it was before or after. Raises Unavailable.
    """
    written = _Written()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(_entry("README.txt", of.now), _about(realm, of))
        made.writestr(_entry("account.json", of.now), msgspec.json.format(msgspec.json.encode(of._asdict())))
        for file in FILES:
            with made.open(_entry(file.name, of.now), "w", force_zip64=True) as entry:
                async for page in files.pages(realm, of, file):
                    await asyncio.to_thread(entry.write, page)  # compressing takes long
                    yield written.take()
    yield written.take()


def _entry(name: str, now: datetime) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, now.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _about(realm: Realm, of: Account) -> str:
    """What is in the archive, for whoever opens it."""
    lines = [
        f"What {realm.app_name} (realm {realm.name}) has stored about {of.email}, on {of.now:%Y-%m-%d %H:%M} UTC.",
        "",
        "account.json      your account",
        *(f"{file.name:17} {file.about}" for file in FILES),
        "",
        "Files that end in .jsonl have one JSON object per line. Data is as your app sent it; what it encrypted stays so.",
        "Not in here: your password and what your devices sign in with. They are stored as digests only.",
        "",
    ]
    return "\n".join(lines)
