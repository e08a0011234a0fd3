"""`sync-server realm`: the realms of a configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from sync_server import backup, checking, connection_url, keys, migrating, migrations, preparing, rewriting
from sync_server import config as configuration
from sync_server.admin import condition
from sync_server.checking import Problem
from sync_server.commands import realms, tables
from sync_server.commands.options import CONFIG, realms_named
from sync_server.complaint import Complaint
from sync_server.config import Config, RealmSettings
from sync_server.realms import Realms

_COLUMNS = ("realm", "database", "schema", "state", "users", "devices", "rows", "megabytes")
_HANG_UP = "a running server takes note at its next SIGHUP"


@click.group()
def realm() -> None:
    """The realms of the configuration: list them, add one, check one, drop one."""


@realm.command("list", short_help="List realms, and how they are.")
@CONFIG
@tables.JSON
def list_realms(path: Path, *, as_json: bool) -> None:
    """List realms: where their databases are, whether they answer, and what is in them ("-": it took too long to count)."""
    config = configuration.load(path)
    with preparing.databases(config, share=True) as (_, urls):
        lines = asyncio.run(_conditions(config, urls))
    tables.show(_COLUMNS, lines, as_json=as_json)


async def _conditions(config: Config, urls: dict[str, str]) -> list[dict[str, Any]]:
    opened = Realms(config, urls)
    try:
        found = await asyncio.gather(*(condition.of(opened.get(name)) for name in urls))
    finally:
        await opened.close()
    return [_line(config.db.realms[name], name, each) for name, each in zip(urls, found, strict=True)]


def _line(settings: RealmSettings, name: str, found: condition.Condition) -> dict[str, Any]:
    accounts, rows = found.accounts, found.rows
    return {
        "realm": name,
        "database": _database(settings),
        "schema": settings.schema,
        "state": "answers" if found.ms is not None else "down",
        "users": accounts.users if accounts else None,
        "devices": accounts.clients if accounts else None,
        "rows": rows.rows if rows else None,
        "overridden": rows.overridden if rows else None,
        "kept_aside": rows.kept_aside if rows else None,
        "megabytes": round(found.size / 1e6, 1) if found.size is not None else None,
        "history": settings.history,
        "registration": settings.registration,
    }


def _database(settings: RealmSettings) -> str:
    """Where it is, without user and password."""
    if settings.embedded:
        return "embedded"
    parts = conninfo_to_dict(settings.url.reveal())
    return f"{parts.get('host') or parts.get('hostaddr') or 'local'}/{parts.get('dbname', '')}"


@realm.command(short_help="Add a realm to the configuration.")
@CONFIG
@click.option(
    "--schema", help="The schema for the realm's tables, where the database has other realms.  [default: sync]"
)
@click.argument("name")
@click.argument("url", default="embedded")
def add(path: Path, name: str, url: str, schema: str | None) -> None:
    """Add the realm NAME to the configuration, with its database at URL (by default "embedded").

    "${VARIABLE}" as URL is written as it is. The database is brought up to date first; when that fails, the
    configuration stays as it was.
    """
    config = configuration.load(path)
    if name.lower() in config.db.realms:
        raise Complaint(f"{path}: there is a realm {name} already")
    settings = url if schema is None else {"url": url, "schema": schema}
    before = path.resolve().read_bytes()
    rewriting.add_realm(path, name, settings)
    try:
        _prepare(path, name.lower())
    except BaseException:
        path.resolve().write_bytes(before)
        raise
    click.echo(f"Realm {name.lower()} is in {path}: {_HANG_UP}")


def _prepare(path: Path, name: str) -> None:
    config = configuration.load(path)
    with preparing.databases(config, share=True) as (_, urls):
        if problem := migrating.migrate(name, config.db.realms[name], urls[name]):
            raise Complaint(f"realm {name}: {problem}")


@realm.command(short_help="See whether its database can be used.")
@CONFIG
@click.argument("name")
def check(path: Path, name: str) -> None:
    """See whether the realm's database can be used, and how to mend it if not. Changes nothing."""
    config = configuration.load(path)
    [name] = realms_named(config, path, name)
    made = keys.made(config)
    with preparing.databases(config, share=True) as (_, urls):
        try:
            said = checking.check_database(config.db.realms[name], urls[name], made.fingerprint if made else None)
        except Problem as exc:
            raise Complaint(f"realm {name}: {exc}") from exc
    click.echo(f"Realm {name}: {said}")


@realm.command("put-back", short_help="Say that its database was put back.")
@CONFIG
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("name")
def put_back(path: Path, name: str, *, yes: bool) -> None:
    """Say that the realm's database was put back to an earlier state, other than by `restore`: by a snapshot of a disk, say.

    Before it is served again. Devices then do what they do after a `restore`: they log in again by themselves, and are sent
    everything once (docs/backup.md).
    """
    config = configuration.load(path)
    [name] = realms_named(config, path, name)
    if not yes:
        click.confirm(f"Have all devices of realm {name} log in again and be sent everything?", abort=True, err=True)
    with preparing.databases(config, share=True) as (_, urls):
        if problem := migrating.migrate(name, config.db.realms[name], urls[name]):
            raise Complaint(f"realm {name}: {problem}")
        schema = config.db.realms[name].schema
        backup.put_back(schema, urls[name], end=lambda tx: realms.note(tx, name, "realm.put_back"))
    click.echo(f"Realm {name}: devices go on with what the database has now")


@realm.command(short_help="Remove a realm and its data.")
@CONFIG
@click.option("--keep-data", is_flag=True, help="Only take it out of the configuration.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("name")
def drop(path: Path, name: str, *, keep_data: bool, yes: bool) -> None:
    """Take the realm NAME out of the configuration, and remove everything that is stored in it.

    Take a backup first. A server that still serves the realm answers its calls with 503 until it is sent SIGHUP.
    """
    config = configuration.load(path)
    [name] = realms_named(config, path, name)
    if not keep_data:
        _refuse_shared(config, name)
        if not yes:
            click.confirm(f"Remove realm {name} with all its users and rows?", abort=True, err=True)
    with preparing.databases(config, share=True) as (_, urls):
        rewriting.remove_realm(path, name)
        if not keep_data:
            _remove(urls[name], config.db.realms[name].schema)
    click.echo(f"Realm {name} is no longer in {path}{'' if keep_data else ', and its data is gone'}: {_HANG_UP}")


def _refuse_shared(config: Config, name: str) -> None:
    others = [other for other in _of_one_database(config, name) if other != name]
    if others:
        raise Complaint(f"realm {', '.join(others)} has the same users and rows: drop {name} with --keep-data")


def _of_one_database(config: Config, name: str) -> Iterator[str]:
    dropped = config.db.realms[name]
    for other, settings in config.db.realms.items():
        if settings.embedded or dropped.embedded:
            continue
        meanings = [connection_url.meaning(each.url.reveal()) for each in (dropped, settings)]
        if meanings[0] == meanings[1] and settings.schema == dropped.schema:
            yield other


def _remove(url: str, schema: str) -> None:
    with migrations.connect(url) as connection:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
