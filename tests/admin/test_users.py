"""Handling users: who is made, changed, locked and removed, and what their phones notice of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from accounts.outbox import Outbox, pin_of
from admin.people import PASSWORD, NewPerson, Person, data, refused
from conftest import Server
from device import Device, Unauthorized
from users import NewUser, User
from wire import Answer, Request, encode


@pytest.fixture(scope="session")
def outbox(server: Server) -> Outbox:
    return Outbox(server.data_dir / "outbox")


def email() -> str:
    return f"{uuid4().hex}@example.com"


def create(admin: Person, **body: Any) -> Any:
    return admin.call("POST", admin.users(), json=body)


def id_of(admin: Person, address: str) -> str:
    [found] = admin.get(admin.users(), search=address)
    return str(found["id"])


def etag(admin: Person, path: str) -> str:
    return str(admin.call("GET", path).headers["ETag"])


def patch(admin: Person, path: str, if_match: str | None = None, **body: Any) -> Any:
    headers = {"If-Match": etag(admin, path) if if_match is None else if_match}
    return admin.call("PATCH", path, json=body, headers=headers)


def audited(admin: Person, entity_id: str) -> list[str]:
    found = admin.connection.execute(
        "SELECT action FROM sync.audit_lines WHERE entity_id = %s ORDER BY number", [entity_id]
    ).fetchall()
    return [row["action"] for row in found]


def test_a_user_who_is_made_can_sign_in_and_sync(admin: Person, user: User) -> None:
    address = email()
    answer = create(admin, email=address, name="Bob", language="it", password=PASSWORD, role="technician")
    bob = data(answer)
    assert answer.status_code == 201
    assert (bob["email"], bob["name"], bob["language"], bob["role"]) == (address, "Bob", "it", "technician")
    assert answer.headers["Location"] == f"/api/v1{admin.users()}/{bob['id']}"
    found = admin.call("GET", admin.users(f"/{bob['id']}"))
    assert data(found) == bob
    assert found.headers["ETag"] == answer.headers["ETag"]
    user.email, user.password = address, PASSWORD
    phone = Device(user.send, user.realm)
    phone.register(address, PASSWORD, new=False)
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    assert audited(admin, bob["id"]) == ["user.create"]


def test_an_address_is_taken_once(admin: Person, user: User) -> None:
    user.device()
    refused(create(admin, email=user.email.upper(), password=PASSWORD), 409, "email_taken")
    address = email()
    data(create(admin, email=f" {address} ", password=PASSWORD))
    refused(create(admin, email=address.title(), password=PASSWORD), 409, "email_taken")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["email"]),
        ({"email": "x", "password": PASSWORD}, ["email"]),
        ({"email": "no address", "password": PASSWORD}, ["email"]),
        ({"email": "a:b@example.com", "password": PASSWORD}, ["email"]),
        ({"email": "nobody.yet@example.com"}, ["password"]),
        ({"email": "nobody.yet@example.com", "password": PASSWORD, "invite": True}, ["password"]),
        ({"email": "nobody.yet@example.com", "password": "short"}, ["password"]),
        ({"email": "nobody.yet@example.com", "password": PASSWORD, "name": "x" * 256}, ["name"]),
        ({"email": "nobody.yet@example.com", "password": PASSWORD, "name": "a\0"}, ["name"]),
        ({"email": "nobody.yet@example.com", "password": PASSWORD, "role": "king"}, ["role"]),
        ({"email": "nobody.yet@example.com", "password": PASSWORD, "role": "owner"}, None),
        ({"email": "nobody.yet@example.com", "password": PASSWORD, "password_hash": "x"}, ["password_hash"]),
    ],
)
def test_who_cannot_be_made_is_refused(admin: Person, body: dict[str, Any], fields: list[str] | None) -> None:
    if fields is None:
        refused(create(admin, **body), 403, "forbidden")
    else:
        assert list(refused(create(admin, **body), 422, "invalid")["fields"]) == fields
    assert admin.get(admin.users(), search="nobody.yet@example.com") == []


def test_the_same_creating_call_again_makes_nobody_twice(admin: Person, new_person: NewPerson) -> None:
    body, key = {"email": email(), "password": PASSWORD}, {"Idempotency-Key": str(uuid4())}
    first = admin.call("POST", admin.users(), json=body, headers=key)
    again = admin.call("POST", admin.users(), json=body, headers=key)
    assert data(again) == data(first)
    assert (again.status_code, again.headers["Location"]) == (201, first.headers["Location"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert audited(admin, data(first)["id"]) == ["user.create"]
    other = {**body, "name": "Bob"}
    refused(admin.call("POST", admin.users(), json=other, headers=key), 422, "idempotency_key_reused")
    refused(new_person().call("POST", admin.users(), json=body, headers=key), 409, "email_taken")
    admin.connection.execute("UPDATE sync.idempotency_keys SET expires = 0 WHERE user_id = %s", [admin.id])
    refused(admin.call("POST", admin.users(), json=body, headers=key), 409, "email_taken")


def test_a_refused_creating_call_leaves_its_key_free(admin: Person, user: User) -> None:
    user.device()
    key = {"Idempotency-Key": "1"}
    body = {"email": user.email, "password": PASSWORD}
    refused(admin.call("POST", admin.users(), json=body, headers=key), 409, "email_taken")
    assert admin.call("POST", admin.users(), json={**body, "email": email()}, headers=key).is_success


def test_who_is_invited_sets_a_password_with_a_pin(admin: Person, user: User, outbox: Outbox) -> None:
    address = email()
    bob = data(create(admin, email=address, name="Bob", language="it", invite=True))
    mail = waited(outbox, address)
    assert mail["Subject"] == "Il tuo account per Test App"
    assert address in str(mail.get_body(("plain",)).get_content())
    assert address in str(mail.get_body(("html",)).get_content())
    device = Device(user.send, user.realm)
    assert post(device, f"/password/{user.realm}/forgotten", {"email": address}).status == 200
    body = {"email": address, "pin": pin_in(outbox, address), "password": "a new password"}
    assert post(device, f"/password/{user.realm}/change", body).status == 200
    device.register(address, "a new password", new=False)
    device.sync()
    assert admin.get(admin.users(f"/{bob['id']}"))["devices"] == 1


def waited(outbox: Outbox, address: str, number: int = 1) -> Any:
    """The `number`th mail to the address."""
    end = time.monotonic() + 60
    while len(found := outbox.mails(address)) < number:
        assert time.monotonic() < end
        time.sleep(0.02)
    return found[-1]


def pin_in(outbox: Outbox, address: str) -> str:
    return pin_of(waited(outbox, address, 2))


def post(device: Device, path: str, body: dict[str, Any]) -> Answer:
    return device.send(Request(path, encode(body)))


def test_an_update_changes_what_it_says(admin: Person, user: User) -> None:
    user.device()
    path = admin.users(f"/{id_of(admin, user.email)}")
    before = admin.get(path)
    answer = patch(admin, path, name="Bob", language=None, role="technician")
    after = data(answer)
    changed = {name for name in before if before[name] != after[name]}
    assert changed - {"language"} == {"name", "role", "changed_at"}
    assert (after["name"], after["language"], after["role"]) == ("Bob", None, "technician")
    assert answer.headers["ETag"] == etag(admin, path)
    assert audited(admin, after["id"]) == ["user.update"]


def test_an_update_of_what_has_changed_meanwhile_is_refused(admin: Person, user: User) -> None:
    user.device()
    path = admin.users(f"/{id_of(admin, user.email)}")
    old = etag(admin, path)
    assert patch(admin, path, old, name="Bob").is_success
    refused(patch(admin, path, old, name="Cid"), 412, "changed_meanwhile")
    assert patch(admin, path, old, name="Bob").is_success, "as after a lost answer: it is so already"
    refused(admin.call("PATCH", path, json={"name": "Cid"}), 428, "precondition_required")
    assert admin.get(path)["name"] == "Bob"
    assert patch(admin, path, f'"x", {etag(admin, path)}', name="Cid").is_success
    assert patch(admin, path, "*", name="Dan").is_success
    assert len(audited(admin, admin.get(path)["id"])) == 3


def test_a_sync_does_not_count_as_a_change(admin: Person, user: User) -> None:
    phone = user.device()
    path = admin.users(f"/{id_of(admin, user.email)}")
    before = etag(admin, path)
    phone.sync()
    assert etag(admin, path) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "a\0"}, "name"),
        ({"active": "no"}, "active"),
        ({"active": None}, "active"),
        ({"language": "x" * 36}, "language"),
        ({"email": "new@example.com"}, "email"),
    ],
)
def test_what_cannot_be_set_is_refused(admin: Person, user: User, body: dict[str, Any], field: str) -> None:
    user.device()
    path = admin.users(f"/{id_of(admin, user.email)}")
    before = admin.get(path)
    assert list(refused(patch(admin, path, **body), 422, "invalid")["fields"]) == [field]
    assert admin.get(path) == before


def calls(phone: Device) -> list[int]:
    """The statuses of what a phone calls, with the tokens that it has."""
    state, realm = phone.state, phone.realm
    body, bearer = encode({"clientId": phone.client_id}), f"Bearer {state.access}"
    made = [Request(f"/{call}/{realm}", body, bearer) for call in ("pull", "push", "cancelSync")]
    made.append(Request(f"/login/{realm}/refreshToken", encode({"refreshToken": state.refresh})))
    return [phone.send(request).status for request in made]


def test_the_phone_of_somebody_who_is_locked_stops_within_one_call(admin: Person, user: User) -> None:
    phone = user.device()
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()
    phone.fetch_token()
    path = admin.users(f"/{id_of(admin, user.email)}")
    assert patch(admin, path, active=False).is_success
    assert calls(phone) == [403, 403, 403, 403]
    with pytest.raises(Unauthorized):
        phone.login()
    assert patch(admin, path, active=True).is_success
    assert calls(phone) == [403, 403, 403, 403], "tokens from before stay void"
    phone.insert("todos", "2", {"title": "bread"})
    phone.login()
    phone.sync()
    assert len(user.rows()) == 2, "what was entered meanwhile is not lost"


def test_signing_out_everywhere_voids_the_tokens_of_all_devices(admin: Person, user: User) -> None:
    phone, tablet = user.device(), user.device()
    for device in (phone, tablet):
        device.login()
    identity = id_of(admin, user.email)
    assert admin.call("POST", admin.users(f"/{identity}/sign-out")).is_success
    assert calls(phone) == calls(tablet) == [403, 403, 403, 403]
    phone.insert("todos", "1", {"title": "milk"})
    phone.sync()  # logs in again with the password that it stores
    assert audited(admin, identity) == ["user.sign_out"]


def test_an_admin_who_is_signed_out_everywhere_is_out_of_the_api_too(admin: Person, new_person: NewPerson) -> None:
    other = new_person()
    assert admin.call("POST", admin.users(f"/{other.id}/sign-out")).is_success
    refused(other.call("GET", "/auth/me"), 401, "unauthenticated")


def test_resetting_a_password_mails_a_pin(admin: Person, user: User, outbox: Outbox) -> None:
    phone = user.device()
    identity = id_of(admin, user.email)
    assert admin.call("POST", admin.users(f"/{identity}/reset-password")).is_success
    pin = outbox.pin(user.email)
    phone.sync()  # the password is good until then
    body = {"email": user.email, "pin": pin, "password": "another one"}
    assert post(phone, f"/password/{user.realm}/change", body).status == 200
    assert admin.call("POST", admin.users(f"/{identity}/reset-password")).is_success
    assert audited(admin, identity) == ["user.reset_password"] * 2
    assert patch(admin, admin.users(f"/{identity}"), active=False).is_success
    refused(admin.call("POST", admin.users(f"/{identity}/reset-password")), 409, "user_inactive")


def test_a_user_who_is_deleted_leaves_nothing(admin: Person, user: User, new_user: NewUser) -> None:
    other = new_user()
    for each in (user, other):
        phone = each.device()
        phone.insert("todos", "1", {"title": "milk"})
        phone.sync()
    user.devices[0].fetch_token()
    space, path = user.space_id, admin.users(f"/{id_of(admin, user.email)}")
    assert admin.call("DELETE", path).is_success
    for table in ("rows", "history", "overridden"):
        count = f"SELECT count(*) FROM sync.{table} WHERE space_id = %s".encode()
        assert user.connection.execute(count, [space]).fetchall()[0]["count"] == 0
    assert calls(user.devices[0]) == [403, 403, 403, 403]
    for method, again in [
        ("DELETE", path),
        ("GET", path),
        ("POST", f"{path}/sign-out"),
        ("POST", f"{path}/reset-password"),
    ]:
        refused(admin.call(method, again), 404, "user_not_found")
    refused(patch(admin, path, "*", name="x"), 404, "user_not_found")
    assert len(other.rows()) == 1
    other.devices[0].sync()


def test_nobody_handles_who_stands_above_them(admin: Person, new_person: NewPerson) -> None:
    owner = new_person("owner")
    path = admin.users(f"/{owner.id}")
    for answer in [
        patch(admin, path, active=False),
        patch(admin, path, role="user"),
        admin.call("POST", f"{path}/sign-out"),
        admin.call("POST", f"{path}/reset-password"),
        admin.call("DELETE", path),
        patch(admin, admin.users(f"/{new_person('user').id}"), role="owner"),
    ]:
        refused(answer, 403, "forbidden")
    assert owner.get("/auth/me")["role"] == "owner"
    assert patch(owner, admin.users(f"/{new_person('user').id}"), role="owner").is_success


def test_there_are_no_owners_but_in_their_realm(new_person: NewPerson) -> None:
    owner = new_person("owner")
    somebody = new_person("user", realm="other")
    details = refused(patch(owner, f"/realms/other/users/{somebody.id}", role="owner"), 422, "invalid")
    assert list(details["fields"]) == ["role"]


def test_nobody_locks_demotes_or_removes_themselves(new_person: NewPerson) -> None:
    owner = new_person("owner")
    path = owner.users(f"/{owner.id}")
    for answer in [patch(owner, path, active=False), patch(owner, path, role="admin"), owner.call("DELETE", path)]:
        refused(answer, 409, "own_account")
    assert patch(owner, path, name="Zoe").is_success


def test_users_of_another_realm_are_not_there(new_person: NewPerson, admin: Person) -> None:
    somebody = new_person("user", realm="other")
    for method, suffix in [("GET", ""), ("DELETE", ""), ("POST", "/sign-out"), ("POST", "/reset-password")]:
        refused(admin.call(method, admin.users(f"/{somebody.id}{suffix}")), 404, "user_not_found")


def test_passwords_are_in_no_answer_and_no_log(admin: Person, server: Server) -> None:
    secret = f"secret-{uuid4().hex}"
    answer = create(admin, email=email(), password=secret)
    assert secret not in answer.text
    assert secret not in (Path(server.data_dir).parent / "server.log").read_text()
    content = admin.connection.execute("SELECT content FROM sync.audit_details").fetchall()
    assert secret not in str(content)
