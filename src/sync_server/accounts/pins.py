"""PINs for resetting a password: six digits, mailed to the user, good for 15 minutes and five tries.

A PIN follows from a random nonce and the server's keys. The database holds the nonce only, so neither a copy of the database
nor a mail that waits in its queue gives a PIN away.
"""

from __future__ import annotations

import secrets

from sync_server.keys import Keys

LIFETIME = 15 * 60 * 1000
"""Milliseconds that a PIN is good for."""
TRIES = 5
REPEAT = 60_000
"""Milliseconds within which a second demand gets no second PIN: it is the same call again, after a lost answer."""


def new_nonce() -> str:
    return secrets.token_urlsafe(24)


def pin(keys: Keys, nonce: str) -> str:
    """The PIN of a nonce: six digits, leading zeros included."""
    return f"{int.from_bytes(keys.digest('pin', nonce)) % 1_000_000:06}"
