"""The configuration: one frozen tree, read once, which refuses what it does not know."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from sync_server import connection_url, documents
from sync_server.complaint import Complaint
from sync_server.connection_url import UnreadableUrl
from sync_server.documents import DocumentError
from sync_server.limits import Limits
from sync_server.retention.settings import Retention

REALM_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_SCHEMA_NAME = r"^[a-z_][a-z0-9_]{0,62}$"
_EMBEDDED_NAME = 57
"""Characters of an embedded realm's name: its database is called realm_<name>, and PostgreSQL takes 63."""


class ConfigError(Complaint):
    """The configuration cannot be used; the text says where and why, in one line."""


class Secret:
    """A string that is never shown: not by `repr`, not in a log, not in a traceback's locals."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


_HIGHEST_PORT = 65535
Port = Annotated[int, msgspec.Meta(ge=0, le=_HIGHEST_PORT)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "0.0.0.0"  # noqa: S104 - phones must reach it; --host narrows it
    port: Port = 3000
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    data_dir: Annotated[str, msgspec.Meta(min_length=1)] = "data"
    """Where the embedded database, the secrets and the outbox live; relative to the configuration file."""
    authentication: Literal["jwt", "token", "jwt|token"] = "jwt"
    """Accepted from sync_server_ts files ("jwt", "token", "jwt|token"); this server always issues JWTs."""
    secret_key: Secret | None = None
    secret_key_refresh: Secret | None = None
    grace: Seconds = 10.0
    """Seconds that running requests get to end after SIGTERM."""
    max_body: Annotated[int, msgspec.Meta(ge=1024, le=1 << 30)] = 50 * 1024 * 1024
    """Bytes of a request's body, inflated."""
    body_timeout: Seconds = 60.0
    """Seconds without a byte of a begun body, after which the request is given up."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies whose X-Forwarded-For is believed."""
    bcrypt_rounds: Annotated[int, msgspec.Meta(ge=4, le=16)] = 12


class RealmSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One realm's database. `url` is a PostgreSQL URL, or "embedded"."""

    url: Secret
    schema: Annotated[str, msgspec.Meta(pattern=_SCHEMA_NAME)] = "sync"
    history: Literal["changes", "full"] = "changes"
    """What the history keeps of an applied change: who, what and when; with "full" the data too."""
    registration: Literal["open", "invite", "closed"] = "open"
    """Whether phones make accounts; else admins do (invite), or nobody (closed). Who has one adds devices in any case."""
    prepared_statements: bool = True
    """False behind a connection pooler that does not know prepared statements."""
    adopt: bool | None = None
    """Whether the first start takes over sync_server_ts's tables; by default where the schema is "sync"."""
    limits: Limits = Limits()
    """The section `limits` of the file, with what the realm has of its own."""
    retention: Retention = Retention()

    @property
    def adopts(self) -> bool:
        return self.schema == "sync" if self.adopt is None else self.adopt

    @property
    def embedded(self) -> bool:
        return self.url.reveal() == "embedded"


class Database(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    realms: dict[str, RealmSettings]
    unknown_realms: str | None = None
    """The realm that takes calls for realms that are not configured; without it they are answered with 404."""
    max_connections: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """Connections that the server has open at the same time, to all databases together; its workers share them evenly."""
    timeout: Seconds = 60.0
    """Seconds after which a transaction is given up and answered with 503."""


class Email(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    from_: str = msgspec.field(name="from", default="Sync Server")
    from_email: str = msgspec.field(name="fromEmail", default="sync-server@localhost")
    smtp: str = ""
    """The SMTP server's host name; empty: mails are written to `<data_dir>/outbox`."""
    port: Port = 587
    username: str = ""
    password: Secret = Secret("")
    security: Literal["auto", "starttls", "tls", "plain"] = "auto"
    """auto: TLS on port 465; else STARTTLS, demanded where a user name is set, taken where offered without one."""
    timeout: Seconds = 30.0
    outbox_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] | None = 30
    """Days after which a mail that was written to the outbox is removed; null: never."""
    templates: str | None = None
    """A directory whose templates come before the server's own; relative to the configuration file."""
    apps: dict[str, str] = msgspec.field(default_factory=dict)
    """The app's name in mails, by realm; "default" for the others."""


class Logs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    requests: Literal["all", "refused", "none"] = "all"
    """Of which requests a line is logged; "refused": those that were answered with 400 and more."""


class Admin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The API for operators."""

    realm: str | None = None
    """Whose users with the role `owner` may do everything in all realms; by default `default`, else the first realm."""
    origins: tuple[str, ...] = ()
    """Origins of web consoles that may call the API from a browser, such as "https://console.example.com"."""


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Without a port or a token there are none to be seen."""

    port: Port | None = None
    """Listened on for /metrics and /health alone."""
    host: str = "127.0.0.1"
    token: Secret | None = None
    """What has to be brought to see metrics and realms' names, on either port; without it they are on `port` only."""

    @property
    def on(self) -> bool:
        return self.port is not None or self.token is not None


class Tracing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Traces for OpenTelemetry; none without an endpoint."""

    endpoint: str | None = None
    """A collector's address for OTLP over HTTP, such as "http://localhost:4318/v1/traces"."""
    sample: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    """The part of requests that are recorded, where nobody before us in a trace has decided that."""
    headers: dict[str, Secret] = msgspec.field(default_factory=dict)
    """What the collector wants to be brought, such as an Authorization."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    db: Database
    server: Server = Server()
    admin: Admin = Admin()
    email: Email = Email()
    limits: Limits = Limits()
    retention: Retention = Retention()
    logs: Logs = Logs()
    metrics: Metrics = Metrics()
    tracing: Tracing = Tracing()
    base: Path = Path()
    """The configuration file's directory. Not a key of the file."""
    rate_limits: bool = True
    """False when RATE_LIMIT_DISABLE=1. Not a key of the file."""

    @property
    def data_dir(self) -> Path:
        return self.base / self.server.data_dir

    @property
    def owners_realm(self) -> str:
        """The realm whose owners may do everything in all realms. Who may write another one's database is no such owner."""
        realms = self.db.realms
        return (self.admin.realm or ("default" if "default" in realms else next(iter(realms), ""))).lower()

    def app_name(self, realm: str) -> str:
        names = {name.lower(): app for name, app in self.email.apps.items()}
        return names.get(realm) or names.get("default") or "Sync Server"


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
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > _HIGHEST_PORT:
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


_OF_REALMS: dict[str, type[msgspec.Struct]] = {"limits": Limits, "retention": Retention}
"""Sections that hold for all realms, and of which a realm may have values of its own."""


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
        if not REALM_NAME.fullmatch(name.lower()):
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
    raise NotImplementedError(kind)
