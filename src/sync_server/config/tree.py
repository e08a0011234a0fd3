"""The keys of the configuration, what they may be, and what they are if nobody says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from sync_server.limits import Limits
from sync_server.retention.settings import Retention

_SCHEMA_NAME = r"^[a-z_][a-z0-9_]{0,62}$"


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


HIGHEST_PORT = 65535
Port = Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_PORT)]
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
