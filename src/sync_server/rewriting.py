"""Changes to the configuration file: a realm is added or taken out, and every other character stays as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from sync_server import config as configuration
from sync_server.config import ConfigError

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class _Member(NamedTuple):
    """A member of an object: its name, and where it and its value are in the text."""

    name: str
    start: int
    value: int
    end: int


def add_realm(path: Path, name: str, settings: str | dict[str, Any]) -> None:
    """Write a realm into the file. Raises ConfigError, and leaves the file as it is, where it could not be used then."""
    _rewrite(path, lambda text: _added(text, _realms(text), json.dumps(name), json.dumps(settings, ensure_ascii=False)))


def remove_realm(path: Path, name: str) -> None:
    """Take a realm out of the file. Raises ConfigError as `add_realm`."""
    _rewrite(path, lambda text: _removed(text, _realms(text), name))


def _rewrite(path: Path, change: Callable[[str], str]) -> None:
    target = path.resolve()  # behind a symbolic link
    configuration.load(path)
    try:
        text = change(target.read_bytes().decode("utf-8-sig"))
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
        new = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _check(new, path)
            _as_before(target, new)
            new.replace(target)
        finally:
            with suppress(FileNotFoundError):
                new.unlink()
    except OSError as exc:
        raise ConfigError(f"{path} cannot be written: {exc.strerror}") from exc


def _check(new: Path, path: Path) -> None:
    try:
        configuration.load(new)
    except ConfigError as exc:
        raise ConfigError(str(exc).replace(str(new), str(path))) from None


def _as_before(old: Path, new: Path) -> None:
    """With the owner and the mode of the file that it replaces."""
    shutil.copymode(old, new)
    found = old.stat()
    if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(new, found.st_uid, found.st_gid)


def _realms(text: str) -> int:
    """Where the object of the realms begins."""
    place = _after_space(text, 0)
    for name in ("db", "realms"):
        place = next(member.value for member in _members(text, place) if member.name == name)
    return place


def _members(text: str, place: int) -> Iterator[_Member]:
    """Those of the object that begins at `place`. The text is a valid configuration."""
    place = _after_space(text, place + 1)
    while text[place] != "}":
        if text[place] == ",":
            place = _after_space(text, place + 1)
        name, end = _DECODER.raw_decode(text, place)
        value = _after_space(text, _after_space(text, end) + 1)  # behind the colon
        _, end = _DECODER.raw_decode(text, value)
        yield _Member(name, place, value, end)
        place = _after_space(text, end)


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return place if found is None else found.end()


def _added(text: str, realms: int, name: str, settings: str) -> str:
    """Behind the last one, as far in and away as that is."""
    members = list(_members(text, realms))
    between = text[realms + 1 : members[0].start]
    if len(members) > 1:
        between = text[members[-2].end : members[-1].start].partition(",")[2]
    end = members[-1].end
    return f"{text[:end]},{between or ' '}{name}: {settings}{text[end:]}"


def _removed(text: str, realms: int, name: str) -> str:
    """With the comma that belongs to it."""
    members = list(_members(text, realms))
    number = next(number for number, member in enumerate(members) if member.name.lower() == name)
    if number + 1 < len(members):
        return text[: members[number].start] + text[members[number + 1].start :]
    if number == 0:
        raise ConfigError("it is the only realm: a server needs one")
    return text[: members[number - 1].end] + text[members[number].end :]
