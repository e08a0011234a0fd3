"""Messages: a letter with its headers and envelope, as it goes over the wire (RFC 5322, RFC 6531)."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import NamedTuple
from uuid import UUID

import msgspec

from sync_server.accounts import pins
from sync_server.config import Config, Email
from sync_server.keys import Keys
from sync_server.mail.failures import Away, Undeliverable
from sync_server.mail.letters import Letter, Letters, directory
from sync_server.mail.queue import Mail
from sync_server.realms import Realm

TEMPLATES = ("pin", "invitation")
"""Of all mails that there are."""
NAME_LENGTH = 60
SUBJECT_LENGTH = 200
_LOCAL_PART = re.compile(r'[^\s\x00-\x20\x7f\ud800-\udfff"(),:;<>@\[\\\]]+')
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_LINK = re.compile(r"://|\w[.。．｡]\w{2}")  # noqa: RUF001 - full stops that mail programs take for one
# commas, brackets and the like would need quotes, which Python loses when it folds a long header
_NOT_IN_NAMES = re.compile(r'["(),:;<>@\[\\\]=?]+')


class Message(NamedTuple):
    """`utf8`: whether it takes a server with SMTPUTF8, because a mailbox's name is not ASCII."""

    mail_id: UUID
    sender: str
    recipient: str
    utf8: bool
    content: bytes


class Details(msgspec.Struct):
    """What a queued mail brings for its template: never a PIN, but the nonce that it follows from.

    `realm`: the one that the mail is from, where realms share a database and so a queue.
    """

    nonce: str | None = None
    realm: str | None = None


class Writer:
    """Makes messages of queued mails."""

    def __init__(self, config: Config, keys: Keys) -> None:
        self._config = config
        self._keys = keys
        self._letters = Letters(directory(config))

    def write(self, realm: Realm, mail: Mail) -> Message:
        """The message as it is to be sent now. Reads files. Raises as `compose` does, and LookupError without a template."""
        details = msgspec.json.decode(mail.details, type=Details)
        values: dict[str, str | int] = {
            "app": self._config.app_name(details.realm) if details.realm else realm.app_name,
            "name": presentable(mail.name),
            "email": mail.email,
            "minutes": max(1, round(mail.good_for / 60_000)),
        }
        if details.nonce is not None:
            values["pin"] = pins.pin(self._keys, details.nonce)
        letter = self._letters.write(mail.template, mail.language, values)
        return compose(mail.id, self._config.email, mail.name, mail.email, letter)


def compose(mail_id: UUID, config: Email, name: str, email: str, letter: Letter) -> Message:
    """The message for a user. A mail that is sent again keeps its Message-ID, so that a second copy can be known for one.

    Raises Undeliverable for an address that no mail can go to, and Away when the sender's is such.
    """
    sender, recipient = sender_of(config), _address(presentable(name), email)
    if recipient is None:
        raise Undeliverable("the user's address is none that mail can be sent to")
    utf8 = not (sender.addr_spec + recipient.addr_spec).isascii()
    # quoted-printable needs no 8BITMIME, and leaves a PIN readable for whoever opens the file of an outbox
    message = EmailMessage((policy.SMTPUTF8 if utf8 else policy.SMTP).clone(cte_type="7bit"))
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = one_line(letter.subject)[:SUBJECT_LENGTH]
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = f"<{mail_id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notices, please
    message.set_content(letter.text, cte="quoted-printable")
    message.add_alternative(letter.html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = letter.language
    return Message(mail_id, sender.addr_spec, recipient.addr_spec, utf8, message.as_bytes())


def one_line(text: str) -> str:
    """`text` without line ends and control characters, so that it cannot end a header or begin another one."""
    return " ".join("".join(" " if unicodedata.category(each) in {"Cc", "Cs"} else each for each in text).split())


def presentable(name: str) -> str:
    """A user's name as it may stand in a mail: one line, not too long; empty when a mail program might make a link of it.

    Whoever registers somebody else's address also chooses the name, and must not be able to mail them an advertisement.
    """
    line = one_line(name)
    return "" if _LINK.search(line) else line[:NAME_LENGTH].strip()


def sender_of(config: Email) -> Address:
    """Whom mails are from. Raises Away when the configuration has no usable address."""
    sender = _address(one_line(config.from_), config.from_email)
    if sender is None:
        raise Away("email.fromEmail is not an address", "it is to be one that the SMTP server may send from")
    return sender


def _address(name: str, email: str) -> Address | None:
    local_part, _, domain = email.strip().rpartition("@")
    ascii_domain = _ascii(domain)
    if ascii_domain is None or not _LOCAL_PART.fullmatch(local_part):
        return None
    return Address(" ".join(_NOT_IN_NAMES.sub(" ", name).split()), local_part, ascii_domain)


def _ascii(domain: str) -> str | None:
    """The domain as DNS knows it, or None when it is none.

    Python's own codec is IDNA 2003, which makes straße.de strasse.de: other people's domain. The name is looked up as it is.
    """
    labels = unicodedata.normalize("NFKC", domain.lower()).split(".")
    try:
        encoded = [label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels]
    except UnicodeError:
        return None
    return ".".join(encoded) if all(_LABEL.fullmatch(label) for label in encoded) else None
