"""Trying a password: every call that takes one counts wrong ones together, and hashes each of them once."""

from __future__ import annotations

from sync_server.accounts.limits import Limits
from sync_server.accounts.passwords import Passwords
from sync_server.realms import Realm


async def is_right(
    realm: Realm, passwords: Passwords, limits: Limits, email: str, password: str, stored: str | None
) -> bool:
    """Whether `password` belongs to the `stored` hash; without one it does not, and that takes as long.

    A wrong one is counted. The same one again costs no hash as long as it counts: a phone that repeats an old password all
    day must not hold up the logins of others. Raises TooManyAttempts.
    """
    tried = (email, password, stored or "")
    if await realm.read(lambda tx: limits.has_counted(tx, *tried)):
        return False
    if not await passwords.verify(password, stored):
        await realm.transact(lambda tx: limits.record(tx, *tried))
        return False
    await realm.read(limits.check)  # again: guesses sent at the same time were tried meanwhile
    return True
