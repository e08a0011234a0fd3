r"""Unpaired surrogates in JSON text, which phones send now and then (half an emoji) and which must come back (G9).

JSON allows the escape `\ud83d` without its second half; msgspec refuses the whole text. So such escapes are hidden behind a
marker that nobody can guess before the text is decoded, and put back into the raw parts that are stored.
"""

from __future__ import annotations

import re
import secrets

_SUSPECT = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


class Surrogates:
    """A JSON text with its unpaired surrogates hidden: `text` is what can be decoded."""

    def __init__(self, body: bytes) -> None:
        self._nonce = ""
        self.text = body
        if _SUSPECT.search(body):  # rare: clients write characters beyond the BMP as UTF-8
            self._nonce = secrets.token_hex(8)
            marker = rb"\ufdd0" + self._nonce.encode()
            self.text = _ESCAPE.sub(lambda found: marker + found[1] if found[1] else found[0], body)

    def hidden_in(self, decoded: str) -> bool:
        """Whether a decoded string has had an unpaired surrogate."""
        return bool(self._nonce) and f"\ufdd0{self._nonce}" in decoded

    @property
    def found(self) -> bool:
        """Whether there was something to hide, or what looked like it."""
        return bool(self._nonce)

    def restore(self, raw: bytes) -> bytes:
        """A raw part of the text as it was sent."""
        return raw.replace(rb"\ufdd0" + self._nonce.encode(), rb"\u") if self._nonce else raw
