"""`config.load`: what it takes, what it refuses, and how it says so."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from sync_server import config as configuration
from sync_server.config import Config, ConfigError, Secret

URL = "postgresql://user:password@localhost:5432/db"
OF_SYNC_SERVER_TS: dict[str, Any] = {
    "server": {
        "port": "8076",
        "authentication": "jwt|token",
        "secret_key": "FIRST_SECRET",
        "secret_key_refresh": "SECOND_SECRET",
    },
    "db": {
        "realms": {
            "default": "postgresql://",
            "Todo_Test": "postgres://me:M@y@db.example:26257/todo?sslmode=verify-full",
        }
    },
    "email": {
        "from": "Somebody",
        "fromEmail": "somebody@example.com",
        "smtp": "smtp.example.com",
        "port": "2587",
        "username": "somebody",
        "password": "pass",
        "apps": {"default": "The App", "Todo_Test": "ToDos"},
    },
}

Load = Callable[[Any], Config]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a document as a configuration file."""
    for name in ("PORT", "RATE_LIMIT_DISABLE"):
        monkeypatch.delenv(name, raising=False)

    def load(document: Any) -> Config:
        path = tmp_path / "config.json"
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        return configuration.load(path)

    return load


def realms(**urls: Any) -> dict[str, Any]:
    return {"db": {"realms": urls}}


def test_a_file_of_sync_server_ts(load: Load) -> None:
    config = load(OF_SYNC_SERVER_TS)
    assert config.server.port == 8076
    assert config.email.port == 2587
    assert config.email.from_email == "somebody@example.com"
    assert config.db.realms["default"].url == Secret("postgresql://")
    # an @ in a password, which libpq would take for the end of it
    assert config.db.realms["todo_test"].url == Secret("postgres://me:M%40y@db.example:26257/todo?sslmode=verify-full")
    assert config.app_name("todo_test") == "ToDos"
    assert config.app_name("default") == config.app_name("another") == "The App"


@pytest.mark.parametrize("kind", ["jwt", "token", "jwt|token"])
def test_every_authentication_of_sync_server_ts(load: Load, kind: str) -> None:
    assert load({**realms(default=URL), "server": {"authentication": kind}}).server.authentication == kind


def test_the_repositorys_file_runs_as_it_is() -> None:
    config = configuration.load(Path(__file__).parents[2] / "config.json")
    assert config.db.realms["default"].embedded
    assert config.server.port == 3000


def test_what_is_left_out(load: Load, tmp_path: Path) -> None:
    config = load(realms(default="embedded"))
    assert (config.server.port, config.server.grace, config.server.max_body) == (3000, 10.0, 50 * 1024 * 1024)
    assert config.data_dir == tmp_path / "data"
    assert config.app_name("default") == "Sync Server"
    assert config.rate_limits


def test_realms_with_settings_and_without_regard_to_case(load: Load) -> None:
    config = load(realms(Notes={"url": URL, "schema": "notes", "history": "full", "prepared_statements": False}))
    notes = config.db.realms["notes"]
    assert (notes.url, notes.schema, notes.history, notes.prepared_statements) == (Secret(URL), "notes", "full", False)


def test_variables_anywhere(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DB_URL": URL, "THE_PORT": "4000", "SCHEMA": "s", "KEY": "k" * 32, "PROXY": "10.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    server = {"port": "${THE_PORT}", "secret_key": "${KEY}", "trusted_proxies": ["${PROXY}"]}
    config = load({**realms(a="${DB_URL}", b={"url": "${DB_URL}", "schema": "${SCHEMA}"}), "server": server})
    assert config.db.realms["a"].url == config.db.realms["b"].url == Secret(URL)
    assert config.db.realms["b"].schema == "s"
    assert (config.server.port, config.server.secret_key) == (4000, Secret("k" * 32))
    assert config.server.trusted_proxies == ("10.0.0.1",)


def test_a_variable_is_not_looked_into_again(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "${OTHER}")
    config = load({**realms(a=URL), "email": {"smtp": "h", "username": "u", "password": "${PASSWORD}"}})
    assert config.email.password == Secret("${OTHER}")


def test_port_of_the_environment(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8080")
    assert load({**realms(a=URL), "server": {"port": 1}}).server.port == 8080
    monkeypatch.setenv("PORT", "")
    assert load({**realms(a=URL), "server": {"port": 1}}).server.port == 1


@pytest.mark.parametrize("text", ["abc", "-1", "65536", "3000 ", "0x10", "٣٠٠٠", "99999999999"])
def test_a_port_of_the_environment_that_is_none(load: Load, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PORT", text)
    with pytest.raises(ConfigError, match="The environment variable PORT is no port number"):
        load(realms(a=URL))


def test_a_file_with_a_byte_order_mark(load: Load) -> None:
    assert load(b"\xef\xbb\xbf" + json.dumps(realms(a=URL)).encode()).db.realms.keys() == {"a"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("postgresql://", "postgresql://"),
        ("postgresql:///db?host=/run/pg&port=5433", "postgresql:///db?host=/run/pg&port=5433"),
        ("postgresql://a:5432,b:5433/db?target_session_attrs=read-write", None),
        ("postgresql://u:a@b@c@host/db", "postgresql://u:a%40b%40c@host/db"),
        ("postgresql://u:p%40w@[::1]:5432/db", None),
        ("postgresql://u:with:colons@host/db", None),
        ("postgresql://u:what?#@now@host/db", "postgresql://u:what?#%40now@host/db"),
        ("postgresql://u@host/db?application_name=a@b", None),
    ],
)
def test_urls_as_people_write_them(load: Load, written: str, read: str | None) -> None:
    assert load(realms(a=written)).db.realms["a"].url == Secret(read or written)


def test_a_password_reaches_postgres_as_it_was_meant(load: Load) -> None:
    url = load(realms(a="postgresql://u:p@?#:w@host:1/db")).db.realms["a"].url.reveal()
    assert conninfo_to_dict(url) == {"user": "u", "password": "p@?#:w", "host": "host", "port": "1", "dbname": "db"}


def test_it_goes_to_the_workers_and_shows_no_secret(load: Load) -> None:
    config = load(OF_SYNC_SERVER_TS)
    assert pickle.loads(pickle.dumps(config)) == config
    shown = repr(config) + str(config) + f"{config.db.realms}"
    for secret in ("FIRST_SECRET", "SECOND_SECRET", "M%40y", "M@y", "password='pass'", "postgres"):
        assert secret not in shown


names = st.sampled_from(
    [
        "server",
        "db",
        "realms",
        "email",
        "port",
        "url",
        "schema",
        "default",
        "data_dir",
        "from",
        "apps",
        "base",
        "trusted_proxies",
    ]
) | st.text(max_size=8)
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [URL, "embedded", "${HOME}", "${NO_SUCH}", "postgresql://%zz", "postgresql://\ud800", "1", "\0", "::"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=20,
)
whole = st.fixed_dictionaries(
    {"db": st.fixed_dictionaries({"realms": st.dictionaries(names, documents, max_size=3) | documents}) | documents},
    optional={"server": st.dictionaries(names, documents, max_size=5) | documents, "email": documents},
)


@settings(max_examples=400)
@given(document=documents | whole)
def test_no_document_raises_anything_else(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    with suppress(ConfigError):
        config = configuration.load(path)
        assert config.db.realms
        os.fspath(config.data_dir)


@settings(max_examples=300)
@given(content=st.binary(max_size=60) | st.text(max_size=60, alphabet='{}[]":,\\u0123 \n\t\x00é').map(str.encode))
def test_no_bytes_raise_anything_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError):
        configuration.load(path)


ADMIN_REFUSED = [
    ({"realm": "nowhere"}, "There is no such realm - at `$.admin.realm`"),
    ({"origins": ["*"]}, "- at `$.admin.origins[0]`"),
    ({"origins": ["https://a.example.com", "https://a.example.com/path"]}, "- at `$.admin.origins[1]`"),
    ({"more": 1}, "unknown field `more`"),
]


@pytest.mark.parametrize(("admin", "reason"), ADMIN_REFUSED)
def test_what_cannot_be_of_the_admin_api_is_refused(load: Load, admin: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load({"db": {"realms": {"Todos": "embedded"}}, "admin": admin})
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("realms", "admin", "expected"),
    [
        (["todos", "default"], {}, "default"),
        (["Todos", "notes"], {}, "todos"),
        (["todos", "default"], {"realm": "TODOS"}, "todos"),
    ],
)
def test_owners_are_of_one_realm(load: Load, realms: list[str], admin: dict[str, Any], expected: str) -> None:
    config = load({"db": {"realms": dict.fromkeys(realms, "embedded")}, "admin": admin})
    assert config.owners_realm == expected
