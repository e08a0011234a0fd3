"""What becomes of a deleted row's data, by the realm's settings."""

from __future__ import annotations

import pytest

from audit.conftest import Database, in_realm
from audit.test_verifying import verified
from operators import restore
from retention.conftest import NEVER
from sync_server.realms import Realm
from sync_server.retention import pruning
from sync_server.stored import versions
from sync_server.stored.refusals import VersionNotKept
from sync_server.stored.versions import RowKey
from users import NewUser, User

NOTE = ("notes", "1")


def deleted(user: User) -> tuple[RowKey, str]:
    """A note that a phone has deleted, and the name of what it said."""
    phone = user.device()
    phone.insert(*NOTE, {"title": "milk"})
    phone.sync()
    phone.delete(*NOTE)
    phone.sync()
    line = user.history()[-1]
    assert line["operation"] == "D"
    return RowKey(user.space_id, *NOTE), versions.deleted_name(line["stamp"], line["ordinal"])


def test_where_nothing_is_to_be_kept_nothing_is(new_user: NewUser) -> None:
    user = new_user("forgetful")
    row, name = deleted(user)
    assert "milk" not in str([user.rows(), user.history(), user.overridden()])
    with pytest.raises(VersionNotKept):
        restore(user.connection, row, name)


def test_with_a_full_history_it_stands_there_once_and_stays(new_user: NewUser, databases: dict[str, Database]) -> None:
    user, database = new_user("full"), databases["full"]
    row, name = deleted(user)
    assert str(user.history()).count("milk") == 1
    _prune_deleted(database)
    assert restore(user.connection, row, name).changed
    assert "milk" in user.rows()[NOTE]["row_data"]


def test_what_the_audit_log_covers_is_not_pruned(new_user: NewUser, databases: dict[str, Database]) -> None:
    """A row from before the history was full: its delete has what it replaced, and the log has a digest of it."""
    user, database = new_user("full"), databases["full"]
    phone = user.device()
    phone.insert(*NOTE, {"title": "milk"})
    phone.sync()
    user.connection.execute("UPDATE sync.history SET row_data = NULL WHERE space_id = %s", [user.space_id])
    phone.delete(*NOTE)
    phone.sync()
    line = user.history()[-1]
    assert line["old_data"] is not None
    _prune_deleted(database)
    assert user.history()[-1] == line
    assert [finding.number for finding in verified(database, user.space_id).findings] == [1], "that of the test's own"
    row, name = RowKey(user.space_id, *NOTE), versions.deleted_name(line["stamp"], line["ordinal"])
    assert restore(user.connection, row, name).changed


def _prune_deleted(database: Database) -> None:
    async def prune(realm: Realm) -> None:
        ages = dict.fromkeys(pruning.ages(realm.settings.retention))
        await pruning.prune(realm, {**ages, "deleted": 0}, NEVER)

    in_realm(database.url, prune)
