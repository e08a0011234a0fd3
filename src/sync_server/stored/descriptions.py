"""What a device says of itself: `clientDescription`, which is most often JSON, and may be anything."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

_LONGEST = 100
_NAMES = {
    "name": ("name", "devicename", "device_name", "hostname"),
    "model": ("model", "device", "devicemodel", "product", "machine"),
    "system": ("systemname", "system", "platform", "os", "operatingsystem"),
    "system_version": ("systemversion", "osversion", "version.release", "release"),
    "app_version": ("appversion", "app_version", "applicationversion", "buildname", "version"),
}
_decoder = msgspec.json.Decoder()


class Description(NamedTuple):
    """What could be made out. Texts are cut at 100 characters."""

    name: str | None = None
    model: str | None = None
    system: str | None = None
    system_version: str | None = None
    app_version: str | None = None


def read(details: str | None) -> Description:
    """Never fails: what is no JSON object is taken for a name."""
    if not details:
        return Description()
    try:
        found = _decoder.decode(details.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Description(name=_text(details))
    if not isinstance(found, dict):
        return Description(name=_text(found))
    members = {str(key).lower(): value for key, value in found.items()}
    return Description(*(_first(members, names) for names in _NAMES.values()))


def _first(members: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := _text(members.get(name))) is not None), None)


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip()[:_LONGEST] or None
