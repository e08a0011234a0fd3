"""What the account calls take and give."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any
from uuid import UUID

import msgspec

from sync_server.bodies import client_id, decode, storable
from sync_server.errors import InvalidBody

# no colon: it would end the user name of a Basic login (RFC 7617)
_EMAIL = re.compile(r"[^@:\s\x00-\x1f]+@[^@:\s\x00-\x1f]+")
_DETAILS_LENGTH = 10_000
Text = Annotated[str, msgspec.Meta(max_length=255)]
Password = Annotated[str, msgspec.Meta(max_length=1024)]
Language = Annotated[str, msgspec.Meta(max_length=35)]


class Registration(msgspec.Struct, rename="camel"):
    email: Text
    password: Password
    client_id: str
    name: Text | None = None
    client_description: Any = None
    new_registration: bool | None = None
    language: Language | None = None


class RegisteredUser(msgspec.Struct, rename="camel"):
    name: str
    email: str
    client_id: str
    client_description: Any
    new_registration: bool | None
    language: str | None


class Registered(msgspec.Struct):
    user: RegisteredUser
    message: str = "User and Client registered successfully!"


class Login(msgspec.Struct):
    """sync_client up to 1.1 writes `clientid` here."""

    client_id: str | None = msgspec.field(name="clientId", default=None)
    clientid: str | None = None


class Refresh(msgspec.Struct, rename="camel"):
    refresh_token: str


class LoggedIn(msgspec.Struct):
    """Both spellings of every token: clients up to 1.3 read the first, later ones the second."""

    access_token: str
    refresh_token: str
    expires_in: int
    expires_on: int
    """Milliseconds since the epoch."""
    accessToken: str  # noqa: N815 - as on the wire
    refreshToken: str  # noqa: N815 - as on the wire
    token_type: str = "Bearer"  # noqa: S105 - no secret


class Unregistration(msgspec.Struct, rename="camel"):
    email: Text
    password: Password
    client_id: str
    delete_remote_data: bool | None = None


class Forgotten(msgspec.Struct):
    email: Text


class PasswordChange(msgspec.Struct, rename="camel"):
    """The new password is `password` (sync_client) or `newPassword` (the README of sync_server_ts)."""

    email: Text
    pin: str | int
    password: Password | None = None
    new_password: Password | None = None


class Done(msgspec.Struct):
    message: str
    code: int = 200


REGISTRATION = msgspec.json.Decoder(Registration)
LOGIN = msgspec.json.Decoder(Login)
REFRESH = msgspec.json.Decoder(Refresh)
UNREGISTRATION = msgspec.json.Decoder(Unregistration)
FORGOTTEN = msgspec.json.Decoder(Forgotten)
PASSWORD_CHANGE = msgspec.json.Decoder(PasswordChange)


def login_client(body: bytes) -> UUID:
    """The client that wants to log in. Raises InvalidBody."""
    sent = decode(LOGIN, body)
    found = sent.client_id if sent.client_id is not None else sent.clientid
    if found is None:
        raise InvalidBody("Object missing required field `clientId`")
    return client_id(found, "$.clientId")


def email_key(email: str) -> str:
    """An address as addresses are compared: without regard to case, outer space and Unicode composition.

    casefold() would also make ß ss and ﬁ fi, which are mailboxes of two people.
    """
    lower = unicodedata.normalize("NFC", email.strip()).lower().replace("ς", "\N{GREEK SMALL LETTER SIGMA}")
    return unicodedata.normalize("NFC", lower)


def new_email(email: str) -> str:
    """An address that an account is to be made for. Raises InvalidBody when it cannot be one."""
    if not _EMAIL.fullmatch(email.strip()):
        raise InvalidBody("Expected an email address - at `$.email`")
    return email.strip()


def new_password(password: str | None, path: str) -> str:
    """A password that is to be set. Raises InvalidBody when there is none."""
    if not password:
        raise InvalidBody(f"Expected a password of 1 to 1024 characters - at `{path}`")
    return password


def details(description: Any) -> str:
    """ClientDescription as text: usually JSON in a string, but it may be missing, or anything else."""
    text = (
        description
        if isinstance(description, str)
        else ""
        if description is None
        else msgspec.json.encode(description).decode()
    )
    if len(text) > _DETAILS_LENGTH:
        raise InvalidBody(f"Expected `str` of length <= {_DETAILS_LENGTH} - at `$.clientDescription`")
    return storable(text, "$.clientDescription")
