"""Messages: headers that say what was meant, whatever users call themselves."""

from __future__ import annotations

from email import policy
from email.headerregistry import Address, AddressHeader
from email.message import EmailMessage
from email.parser import Parser
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync_server.config import Email
from sync_server.mail.failures import Away, Undeliverable
from sync_server.mail.letters import Letter
from sync_server.mail.messages import Message, compose, presentable

ID = UUID("00000000-0000-4000-8000-000000000001")
SENDER = Email(from_="Sync, Inc.", from_email="noreply@example.org")
LETTER = Letter("en", "Your PIN", "The PIN is\n012345\n", "<p>012345</p>")


def parse(message: Message) -> EmailMessage:
    return Parser(policy=policy.default).parsestr(message.content.decode())


def addresses(message: EmailMessage, header: str) -> tuple[Address, ...]:
    found = message[header]
    assert isinstance(found, AddressHeader)
    return tuple(found.addresses)


def test_the_headers() -> None:
    message = parse(compose(ID, SENDER, "Ann Müller", "ann@example.com", LETTER))
    [sender], [recipient] = addresses(message, "from"), addresses(message, "to")
    assert (sender.display_name, sender.addr_spec) == ("Sync Inc.", "noreply@example.org")
    assert (recipient.display_name, recipient.addr_spec) == ("Ann Müller", "ann@example.com")
    assert message["subject"] == "Your PIN"
    assert message["message-id"] == f"<{ID}@example.org>"
    assert message["auto-submitted"] == "auto-generated"
    assert message["content-language"] == "en"
    assert message["date"].datetime.tzinfo is not None
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_the_wire_form_is_ascii_with_short_lines() -> None:
    letter = LETTER._replace(subject="è" * 150, text="naïve " * 400 + "\r\n.\r\n012345", html="<p>" + "è" * 3000)
    message = compose(ID, SENDER, "Ä" * 60, "ann@example.com", letter)
    assert message.content.isascii()
    lines = message.content.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    parsed = parse(message)
    assert parsed["subject"] == "è" * 150
    body = parsed.get_body(("plain",))
    assert body is not None
    assert "naïve naïve" in body.get_content()


NASTY = [
    "",
    "Ann\r\nBcc: eve@example.net",
    "Ann\nSubject: other",
    "Ann\x0b\x0c\x1c\x85\u2028Bcc: eve@example.net",
    '"Ann" <eve@example.net>, Bob',
    "eve@example.net",
    "Müller, Ann (Dr.) <x>; y:" + "é" * 80,
    "=?utf-8?q?eve=40example=2Enet?=",
    "a\\b",
    "." * 60,
    "ж." * 40,
    "👩‍👩‍👧 Ann",
    "आनंद कुमार",
    "\u202eexe.nnA",
]


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("local_part", ["ann", "a..b.", "ännchen", "a+b=c'd"])
def test_no_name_becomes_a_header_or_another_recipient(name: str, local_part: str) -> None:
    message = compose(ID, SENDER, name, f"{local_part}@example.com", LETTER._replace(subject=f"For {name}"))
    check_envelope(message, local_part)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
@example("é, " * 30, "x" * 300)
def test_no_text_at_all_does(name: str, subject: str) -> None:
    check_envelope(compose(ID, SENDER, name, "ann@example.com", LETTER._replace(subject=subject)), "ann")


def check_envelope(message: Message, local_part: str) -> None:
    parsed = parse(message)
    assert sorted(name.lower() for name in parsed) == sorted([
        "from", "to", "subject", "date", "message-id", "auto-submitted", "content-language", "mime-version",
        "content-type",
    ])  # fmt: skip
    [recipient] = addresses(parsed, "to")
    assert (recipient.username, recipient.domain) == (local_part, "example.com")
    assert message.utf8 == (not local_part.isascii())
    assert "eve@example.net" not in message.recipient


def test_a_name_survives_as_far_as_it_is_one() -> None:
    [recipient] = addresses(parse(compose(ID, SENDER, "  Ann-Marie\tO'Hara, आनंद 👩 ", "a@b.example", LETTER)), "to")
    assert recipient.display_name == "Ann-Marie O'Hara आनंद 👩"


@pytest.mark.parametrize(
    "name", ["Win at https://evil.example now", "visit evil.example", "www.evil", "ann@example.com", "EVIL。example"]
)
def test_a_name_that_would_be_a_link_is_left_out(name: str) -> None:
    """Anybody can register anybody's address, and choose the name that the mail will greet."""
    assert presentable(name) == ""


@pytest.mark.parametrize("name", ["Ann", "J. R. Smith", "Dr. No", "O'Hara", "Ann (work)", "李小龍", "N.N."])
def test_an_honest_name_is_kept(name: str) -> None:
    assert presentable(name) == name


def test_a_long_name_is_cut() -> None:
    assert presentable("Ann " * 100) == ("Ann " * 15).strip()


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("Example.COM", "example.com"),
        ("müller.example", "xn--mller-kva.example"),
        ("MÜLLER.example", "xn--mller-kva.example"),
        ("mu\u0308ller.example", "xn--mller-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # not strasse.example, which is somebody else's
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("xn--mller-kva.example", "xn--mller-kva.example"),
    ],
)
def test_domains_go_by_their_names_in_dns(domain: str, expected: str) -> None:
    message = compose(ID, SENDER, "Ann", f"ann@{domain}", LETTER)
    assert message.recipient == f"ann@{expected}"
    assert not message.utf8


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@example..com",
        "ann@.com",
        "ann@exam ple.com",
        "a nn@example.com",
        "ann@example.com>",
        "ann@example.com\r\nRCPT TO:<eve@example.net>",
        "<eve@example.net>ann@example.com",
        "ann@x,eve@example.net",
        "eve@example.net,ann@example.com",
        '"a b"@example.com',
        "ann(comment)@example.com",
        "ann@" + "x" * 64 + ".com",
        "ann@℀.example",
        "ann\ud800@example.com",
        "ann\x00@example.com",
    ],
)
def test_what_is_no_address_is_undeliverable(address: str) -> None:
    with pytest.raises(Undeliverable) as caught:
        compose(ID, SENDER, "Ann", address, LETTER)
    assert "ann" not in str(caught.value)


@given(st.text())
def test_no_address_breaks_anything(address: str) -> None:
    try:
        message = compose(ID, SENDER, "Ann", f"{address}@example.com", LETTER)
    except Undeliverable:
        return
    assert not set(message.recipient) & set('\r\n\0 <>,;:"') or message.recipient.startswith('"')
    assert len(addresses(parse(message), "to")) == 1


@pytest.mark.parametrize("address", ["", "nobody", "a b@example.org", "noreply@exa mple"])
def test_a_sender_that_is_no_address_is_the_configuration_s_fault(address: str) -> None:
    with pytest.raises(Away) as caught:
        compose(ID, Email(from_email=address), "Ann", "ann@example.com", LETTER)
    assert "email.fromEmail" in caught.value.reason


def test_a_sender_with_line_ends_in_its_name() -> None:
    config = Email(from_="Sync\r\nBcc: eve@example.net", from_email="noreply@example.org")
    assert parse(compose(ID, config, "Ann", "ann@example.com", LETTER))["bcc"] is None
