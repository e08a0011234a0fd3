"""The mails that a server without SMTP has written, as their readers see them."""

from __future__ import annotations

import email
import email.policy
import re
import time
from email.message import EmailMessage
from pathlib import Path

_PIN = re.compile(r"(?<![0-9])[0-9]{6}(?![0-9])")
_PATIENCE = 60.0
"""Seconds until a mail that has been demanded must be there."""


class Outbox:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def mails(self, address: str) -> list[EmailMessage]:
        """All mails to an address, the oldest first."""
        files = sorted(self._directory.glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
        contents = [content for file in files if _may_be_to(address, content := file.read_bytes())]
        messages = [email.message_from_bytes(content, policy=email.policy.default) for content in contents]
        return [message for message in messages if address in str(message["To"])]

    def pins(self, address: str) -> list[str]:
        return [pin_of(message) for message in self.mails(address)]

    def pin(self, address: str, number: int = 1) -> str:
        """The PIN of the mail that the `number`th demand has led to; waits for it."""
        end = time.monotonic() + _PATIENCE
        while len(found := self.pins(address)) < number:
            assert time.monotonic() < end, f"{len(found)} mails instead of {number}"
            time.sleep(0.02)
        assert len(found) == number
        return found[-1]


def _may_be_to(address: str, content: bytes) -> bool:
    """Whether it is worth the reading: the outbox has the mails of all tests. A long address may be written in pieces."""
    return not address.isascii() or address[:16].encode() in content


def pin_of(message: EmailMessage) -> str:
    """The one number of six digits that the text and the HTML of a mail show."""
    bodies = [message.get_body((kind,)) for kind in ("plain", "html")]
    shown = [set(_PIN.findall(body.get_content())) for body in bodies if body is not None]
    assert len(shown) == 2, message
    assert shown[0] == shown[1], shown
    (pin,) = shown[0]
    return str(pin)
