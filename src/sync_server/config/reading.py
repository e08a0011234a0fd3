"""Reading the configuration file: what cannot be right is refused, with the place of the key."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from sync_server import connection_url, documents
from sync_server.complaint import Complaint
from sync_server.config.tree import HIGHEST_PORT, Config, RealmSettings, Secret
from sync_server.connection_url import UnreadableUrl
from sync_server.documents import DocumentError
from sync_server.limits import Limits
from sync_server.retention.settings import Retention

_REALM_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_EMBEDDED_NAME = 57
"""Characters of an embedded realm's name: its database is called realm_<name>, and PostgreSQL takes 63."""
_OF_REALMS: dict[str, type[msgspec.Struct]] = {"limits": Limits, "retention": Retention}
"""Sections that hold for all realms, and of which a realm may have values of its own."""


class ConfigError(Complaint):
    """The configuration cannot be used; the text says where and why, in one line."""


def load(path: Path) -> Config:
    """Read the configuration file, with `${VARIABLE}` strings and PORT taken from the environment.

    Raises ConfigError, which names the file and the key.
    """
    port = _port_of_environment()
    try:
        return _build(documents.read(path), path.resolve().parent, port)
    except (ConfigError, DocumentError, msgspec.ValidationError) as exc:
        raise ConfigError(f"{path}: {exc}") from None


def _port_of_environment() -> int | None:
    text = os.environ.get("PORT", "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > HIGHEST_PORT:
        raise ConfigError(f"The environment variable PORT is no port number: {text!r}")
    return int(text)


def _build(document: Any, base: Path, port: int | None) -> Config:
    if not isinstance(document, dict):
        raise ConfigError("expected an object")
    for key in ("base", "rate_limits"):
        if key in document:
            raise ConfigError(f"Object contains unknown field `{key}`")
    database = document.get("db")
    if isinstance(database, dict):
        shared = {key: _section(document, key, kind) for key, kind in _OF_REALMS.items()}
        document = {**document, "db": {**database, "realms": _realms(database.get("realms"), shared)}}
    config = msgspec.convert(document, Config, strict=False, dec_hook=_convert)
    server = config.server if port is None else msgspec.structs.replace(config.server, port=port)
    unlimited = os.environ.get("RATE_LIMIT_DISABLE") == "1"
    config = msgspec.structs.replace(config, base=base, server=server, rate_limits=not unlimited)
    _check(config)
    return config


def _section(document: dict[str, Any], key: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    section = document.get(key, {})
    try:
        msgspec.convert(section, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise ConfigError(_within(exc, f"$.{key}")) from None
    return dict(section)


def _within(exc: msgspec.ValidationError, where: str) -> str:
    return str(exc).replace("`$", f"`{where}") if "`$" in str(exc) else f"{exc} - at `{where}`"


def _realms(realms: Any, shared: dict[str, dict[str, Any]]) -> dict[str, RealmSettings]:
    """Read realm by realm, so that an error can name the realm; a plain string is a URL."""
    if not isinstance(realms, dict) or not realms:
        raise ConfigError(
            'Expected an object with at least one realm, such as {"default": "embedded"} - at `$.db.realms`'
        )
    settings: dict[str, RealmSettings] = {}
    for name, value in realms.items():
        where = f"$.db.realms.{name}"
        if not _REALM_NAME.fullmatch(name.lower()):
            raise ConfigError(f"A realm's name is up to 63 letters, digits, '_', '.', '-' - at `{where}`")
        if name.lower() in settings:
            raise ConfigError(f"The realm stands twice (names differ only in case) - at `{where}`")
        settings[name.lower()] = _realm(name.lower(), value, where, shared)
    return settings


def _realm(name: str, value: Any, where: str, shared: dict[str, dict[str, Any]]) -> RealmSettings:
    try:
        document = {"url": value} if isinstance(value, str) else value
        for key, section in shared.items():
            if isinstance(document, dict) and isinstance(own := document.get(key, {}), dict):
                document = {**document, key: {**section, **own}}
        settings = msgspec.convert(document, RealmSettings, strict=False, dec_hook=_convert)
    except msgspec.ValidationError as exc:
        raise ConfigError(_within(exc, where)) from None
    if settings.embedded:
        if len(name) > _EMBEDDED_NAME:
            raise ConfigError(f"An embedded realm's name is up to {_EMBEDDED_NAME} characters long - at `{where}`")
        return settings
    try:
        return msgspec.structs.replace(settings, url=Secret(connection_url.readable(settings.url.reveal())))
    except UnreadableUrl as exc:
        raise ConfigError(f"{exc} - at `{where}`") from None


def _check(config: Config) -> None:
    unknown = config.db.unknown_realms
    if unknown is not None and unknown.lower() not in config.db.realms:
        raise ConfigError("There is no such realm - at `$.db.unknown_realms`")
    if config.owners_realm not in config.db.realms:
        raise ConfigError("There is no such realm - at `$.admin.realm`")
    for index, origin in enumerate(config.admin.origins):
        if not re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", origin):
            raise ConfigError(
                f'Expected an origin such as "https://console.example.com" - at `$.admin.origins[{index}]`'
            )
    _check_secrets(config)
    if config.email.username and not config.email.smtp:
        raise ConfigError("There is a user name but no server - at `$.email.smtp`")
    for index, proxy in enumerate(config.server.trusted_proxies):
        try:
            _ = proxy == "*" or ipaddress.ip_network(proxy)
        except ValueError as exc:
            raise ConfigError(
                f"Expected an address or a network: {exc} - at `$.server.trusted_proxies[{index}]`"
            ) from None


def _check_secrets(config: Config) -> None:
    for key, value, without in (
        ("server.secret_key", config.server.secret_key, "to have one generated"),
        ("server.secret_key_refresh", config.server.secret_key_refresh, "to have one generated"),
        ("metrics.token", config.metrics.token, "for none"),
    ):
        if value is not None and not value:
            raise ConfigError(f"The secret is empty; leave it out {without} - at `$.{key}`")


def _convert(kind: type, value: Any) -> Any:
    if kind is Secret:
        if not isinstance(value, str):
            raise TypeError(f"Expected `str`, got `{type(value).__name__}`")  # msgspec adds the path
        return Secret(value)
    raise NotImplementedError(kind)  # as msgspec asks for: it makes its own complaint of it
