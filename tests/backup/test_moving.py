"""A realm moves to another server, with secrets of its own: docs/backup.md."""

from __future__ import annotations

from pathlib import Path

from backup.conftest import Realm
from backup.content import restored
from conftest import start_server
from postgres import Postgres
from sync_server import migrations
from users import sync_all
from wire import Wire


def test_devices_go_on_at_another_server_and_nothing_is_lost(realm: Realm, postgres: Postgres, tmp_path: Path) -> None:
    user = realm.new_user()
    phone, tablet = user.device(), user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.insert("todos", "2", {"title": "bread"})
    sync_all(phone, tablet)
    tablet.delete("todos", "2")
    phone.save("todos", "1", {"title": "oat milk"})
    sync_all(phone, tablet)
    phone.save("todos", "1", {"title": "two oat milks"})
    data = realm.back_up()
    new = postgres.create_database("moved_realm")
    migrations.migrate(new)
    restored(data, new)
    secrets = {"secret_key": "x" * 32, "secret_key_refresh": "y" * 32}
    config = {"server": {"bcrypt_rounds": 4, **secrets}, "db": {"realms": {"elsewhere": new}}}
    process = start_server(tmp_path / "new", config)
    wire = Wire(process.url)
    for device in (phone, tablet):
        device.send, device.realm = wire.send, "elsewhere"
    sync_all(tablet, phone)
    late = user.device(send=wire.send, realm="elsewhere")
    late.sync()
    wire.close()
    assert process.stop() == 0
    assert phone.state.rows == tablet.state.rows == late.state.rows == {("todos", "1"): {"title": "two oat milks"}}
