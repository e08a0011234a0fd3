"""A broken configuration is one line that names the file and the key, exit code 1, and never a traceback."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.operating import Operator, config_with
from sync_server import config as configuration
from sync_server.config import ConfigError

URL = "postgresql://user:hidden-word@localhost/db"
UNREADABLE = "The URL cannot be read: it is postgresql://user:password@host:port/database?options"


def realms(value: Any) -> dict[str, Any]:
    return {"db": {"realms": value}}


def server(**settings: Any) -> dict[str, Any]:
    return config_with({"default": URL}, **settings)


BROKEN: dict[str, tuple[Any, str]] = {
    "empty file": (b"", "not valid JSON in line 1, column 1"),
    "not JSON": (b'{\n  "server": {"port": 3000},\n}', "not valid JSON in line 3, column 1"),
    "cut off": (b'{"db": {"realms": {"default": "emb', "not valid JSON in line 1"),
    "not UTF-8": (b'{"db": "\xff"}', "not UTF-8 at byte 9"),
    "UTF-16": ('{"db": {}}'.encode("utf-16"), "not UTF-8 at byte 1"),
    "nested without end": (b"[" * 100_000, "cannot be read"),
    "endless number": (b'{"server": {"port": ' + b"9" * 5000 + b"}}", "cannot be read"),
    "not a number": (b'{"server": {"grace": NaN}}', "NaN is no JSON"),
    "a list": ([], "expected an object"),
    "a key twice": (b'{"db": {"realms": {"a": "embedded", "a": "embedded"}}}', "The key `a` stands twice"),
    "nothing in it": ({}, "missing required field `db`"),
    "unknown section": ({**server(), "serber": {}}, "unknown field `serber`"),
    "unknown key": (server(prot=3000), "unknown field `prot` - at `$.server`"),
    "not a key of the file": ({**server(), "base": "/"}, "unknown field `base`"),
    "wrong type": (server(port=[]), "Expected `int`, got `array` - at `$.server.port`"),
    "text for a number": (server(grace="soon"), "Expected `float`, got `str` - at `$.server.grace`"),
    "port out of range": (server(port=65536), "at `$.server.port`"),
    "negative port": (server(port=-1), "at `$.server.port`"),
    "no workers": (server(workers=0), "at `$.server.workers`"),
    "no grace": (server(grace=0), "at `$.server.grace`"),
    "tiny bodies": (server(max_body=10), "at `$.server.max_body`"),
    "costly hashes": (server(bcrypt_rounds=31), "at `$.server.bcrypt_rounds`"),
    "no data directory": (server(data_dir=""), "at `$.server.data_dir`"),
    "a directory with NUL": (server(data_dir="a\0b"), "a character that cannot be used - at `$.server.data_dir`"),
    "unknown authentication": (server(authentication="basic"), "at `$.server.authentication`"),
    "secret of a wrong type": (server(secret_key=12345), "Expected `str`, got `int` - at `$.server.secret_key`"),
    "empty secret": (server(secret_key=""), "leave it out to have one generated - at `$.server.secret_key`"),
    "proxy that is no address": (server(trusted_proxies=["proxy"]), "at `$.server.trusted_proxies[0]`"),
    "proxy network with host bits": (server(trusted_proxies=["10.0.0.0/8", "10.1.2.3/8"]), "proxies[1]`"),
    "variable that is not set": (server(secret_key="${NO_SUCH_VARIABLE}"), "variable NO_SUCH_VARIABLE is not set - at"),
    "no realms": ({"db": {}}, "at `$.db.realms`"),
    "empty realms": (realms({}), "at least one realm"),
    "realms in a list": (realms(["embedded"]), "at `$.db.realms`"),
    "db is no object": ({"db": 1}, "at `$.db`"),
    "a realm twice": (realms({"a": URL, "A": URL}), "names differ only in case) - at `$.db.realms.A`"),
    "realm with a slash": (realms({"a/b": URL}), "A realm's name is up to 63"),
    "realm without a name": (realms({"": URL}), "A realm's name is up to 63"),
    "realm with a line break": (realms({"a\nb": URL}), "at `$.db.realms.a\\nb`"),
    "realm with a long embedded name": (realms({"a" * 58: "embedded"}), "up to 57 characters"),
    "realm is a number": (realms({"a": 1}), "at `$.db.realms.a`"),
    "realm without URL": (realms({"a": {"schema": "s"}}), "`url` - at `$.db.realms.a`"),
    "unknown key of a realm": (realms({"a": {"url": URL, "shema": "s"}}), "unknown field `shema` - at `$.db.realms.a`"),
    "wrong type in a realm": (realms({"a": {"url": URL, "schema": 5}}), "at `$.db.realms.a.schema`"),
    "schema that is no name": (realms({"a": {"url": URL, "schema": "A-b"}}), "at `$.db.realms.a.schema`"),
    "unknown history": (realms({"a": {"url": URL, "history": "all"}}), "at `$.db.realms.a.history`"),
    "unknown registration": (realms({"a": {"url": URL, "registration": "ask"}}), "at `$.db.realms.a.registration`"),
    "another database's URL": (realms({"a": "mysql://user:hidden-word@h/db"}), "begins with postgresql:// - at"),
    "no URL": (realms({"a": "localhost"}), "begins with postgresql:// - at `$.db.realms.a`"),
    "slash in the password": (realms({"a": "postgresql://u:hidden-word/x@h/db"}), UNREADABLE),
    "digits and slash in the password": (realms({"a": "postgresql://u:12/hidden-word@h/db"}), UNREADABLE),
    "percent in the password": (realms({"a": "postgresql://u:hidden-word%zz@h/db"}), UNREADABLE),
    "space in the password": (realms({"a": "postgresql://u:hidden-word x@h/db"}), UNREADABLE),
    "port that is none": (realms({"a": "postgresql://u:hidden-word@h:port/db"}), UNREADABLE),
    "unknown parameter": (realms({"a": "postgresql://u:hidden-word@h/db?hidden-word=1"}), UNREADABLE),
    "variable inside": (realms({"a": "postgresql://u:${HOME}@h/db"}), "A variable must stand for the whole URL"),
    "realm for unknown realms": ({"db": {"realms": {"a": URL}, "unknown_realms": "b"}}, "at `$.db.unknown_realms`"),
    "no connections": ({"db": {"realms": {"a": URL}, "max_connections": 0}}, "at `$.db.max_connections`"),
    "mail port": ({**server(), "email": {"port": "smtp"}}, "at `$.email.port`"),
    "mail security": ({**server(), "email": {"security": "ssl"}}, "at `$.email.security`"),
    "mail user without server": ({**server(), "email": {"username": "u"}}, "at `$.email.smtp`"),
}  # fmt: skip


def write(operator: Operator, name: str, content: Any) -> Path:
    path = operator.write(content if isinstance(content, dict | bytes) else b"[]", f"{name}.json")
    assert path.exists()
    return path


def test_each_is_one_line(operator: Operator) -> None:
    """A good part of them with real processes, which run side by side."""

    def say(case: str) -> tuple[str, str]:
        path = write(operator, case, BROKEN[case][0])
        return case, operator.run("serve", "--config", path.name, "--port", "0").complaint

    with ThreadPoolExecutor(3) as threads:
        said = dict(threads.map(say, ["realm with a line break", *list(BROKEN)[::4]]))
    for case, complaint in said.items():
        assert complaint.startswith(f"sync-server: {case}.json: "), complaint
        assert BROKEN[case][1] in complaint
        assert "hidden-word" not in complaint


@pytest.mark.parametrize("case", BROKEN)
def test_names_file_and_key(operator: Operator, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    monkeypatch.delenv("PORT", raising=False)
    path = write(operator, "broken", BROKEN[case][0])
    with pytest.raises(ConfigError) as raised:
        configuration.load(path)
    said = str(raised.value)
    assert said.startswith(f"{path}: ")
    assert BROKEN[case][1].replace("\\n", "\n") in said
    assert "hidden-word" not in said


@pytest.mark.parametrize("command", ["serve", "migrate", "check"])
def test_a_file_that_is_not_there(operator: Operator, command: str) -> None:
    complaint = operator.run(command, "--config", "no/such.json").complaint
    assert complaint == "sync-server: no/such.json: there is no such file; --config names another one"


def test_a_directory_instead_of_a_file(operator: Operator) -> None:
    assert operator.run("check", "--config", ".").complaint == "sync-server: .: cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(operator: Operator) -> None:
    operator.write(server()).chmod(0)
    assert operator.run("check").complaint == "sync-server: config.json: cannot be read: Permission denied"


def test_a_variable_of_the_environment(operator: Operator) -> None:
    operator.write(server())
    complaint = operator.run("serve", environment={"PORT": "abc"}).complaint
    assert complaint == "sync-server: The environment variable PORT is no port number: 'abc'"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--host", "256.1.1.1"], "Cannot listen on 256.1.1.1 port 0: "),
        (["--host", "no.such.host.invalid"], "Cannot listen on no.such.host.invalid port 0: "),
        (["--host", "ä" * 70 + ".example"], ": that is no host name; --host"),
        (["--host", "192.0.2.1"], "Cannot listen on 192.0.2.1 port 0: Cannot assign requested address; --host"),
    ],
    ids=["numbers", "name", "long name", "another machine's"],
)
def test_an_address_that_cannot_be_had(operator: Operator, arguments: list[str], part: str) -> None:
    operator.write(server())
    assert part in operator.run("serve", "--port", "0", *arguments).complaint


@pytest.mark.parametrize(
    "arguments", [["--port", "70000"], ["--port", "x"], ["--workers", "0"], ["--prot", "1"], ["now"]]
)
def test_a_wrong_command_line(operator: Operator, arguments: list[str]) -> None:
    operator.write(server())
    done = operator.run("serve", *arguments)
    assert done.code == 2
    assert done.err.startswith("Usage: ")
    assert arguments[0].removeprefix("--") in done.err
    assert "Traceback" not in done.err
