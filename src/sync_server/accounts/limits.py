"""Limits on guessing and on making accounts and mails, shared by all workers through the database.

What counts are distinct attempts: a phone that repeats the same wrong password all day, each call twice, counts once, and
successful calls do not count at all. So an honest device never meets a limit.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple

from sync_server.database import Tx
from sync_server.errors import TooManyAttempts
from sync_server.keys import Keys

Action = Literal["login", "register", "refresh", "forgotten", "change", "code"]
_QUARTER = 15 * 60_000
_HOUR = 60 * 60_000
_DAY = 24 * _HOUR
_ITEM_BYTES = 16
"""Of an attempt's digest: two attempts never share one, as that would refuse a right password."""


class _Limit(NamedTuple):
    most: int
    window: int
    """Milliseconds."""


# failed attempts, but for register (accounts made) and forgotten (mails demanded)
_PER_ADDRESS: dict[Action, _Limit] = {
    "login": _Limit(300, _QUARTER),
    "register": _Limit(300, _HOUR),
    "refresh": _Limit(300, _QUARTER),
    "forgotten": _Limit(60, _HOUR),
    "change": _Limit(60, _QUARTER),
}
_PER_ACCOUNT: dict[Action, _Limit] = {
    "login": _Limit(100, _QUARTER),
    "forgotten": _Limit(6, _HOUR),
    "change": _Limit(50, _DAY),  # PINs: a year of guessing finds one of a million with 2 %
    "code": _Limit(
        50, _DAY
    ),  # of a second factor, by somebody who has the password: 5 %, as three of a million are right
}
_PER_BOTH: dict[Action, _Limit] = {"login": _Limit(20, _QUARTER), "code": _Limit(10, _QUARTER)}


class _Count(NamedTuple):
    key: str
    attempts: int


class Limits:
    """The limits of one action for one caller."""

    def __init__(self, keys: Keys, action: Action, *, address: str, account: str | None, enabled: bool) -> None:
        """`address`: the caller's; `account`: the email's key where the call names one. Both are stored as digests."""
        self._digest = keys.digest
        self._limits: dict[str, _Limit] = {}
        self._of_account: list[str] = []
        if not enabled:
            return
        for limits, parts in (
            (_PER_ADDRESS, (network(address), "")),
            (_PER_ACCOUNT, ("", account)),
            (_PER_BOTH, (network(address), account)),
        ):
            if action in limits and None not in parts:
                key = _key(keys, action, *(part or "" for part in parts))
                self._limits[key] = limits[action]
                if parts[1]:
                    self._of_account.append(key)

    async def check(self, tx: Tx) -> None:
        """Raises TooManyAttempts when a limit has been reached."""
        await self._count(tx, room=1)

    async def _count(self, tx: Tx, room: int) -> None:
        if not self._limits:
            return
        counts = await tx.all(_Count, "count_attempts", {"keys": list(self._limits)})
        exceeded = [self._limits[count.key] for count in counts if count.attempts + room > self._limits[count.key].most]
        if exceeded:
            limit = max(exceeded, key=lambda limit: limit.window)
            within = f"{limit.window // 60_000} minutes" if limit.window < _DAY else "a day"
            raise TooManyAttempts(
                f"Too many attempts, at most {limit.most} are allowed in {within}", retry_after=limit.window // 1000
            )

    async def has_counted(self, tx: Tx, *tried: str) -> bool:
        """Whether just this attempt has been counted."""
        return bool(await tx.value("attempt_is_counted", self._attempt(tried)))

    async def forget(self, tx: Tx) -> None:
        """Drop what was counted for the account. The address's count stays, or whoever guesses could begin it anew."""
        if self._of_account:
            await tx.execute("drop_attempts", {"keys": self._of_account})

    async def record(self, tx: Tx, *tried: str) -> None:
        """Count an attempt; the same one again (`tried`, kept as a short digest) is not counted twice.

        Raises TooManyAttempts when it is one too many: of guesses sent at the same time all may have passed `check`.
        """
        if self._limits:
            windows = [limit.window for limit in self._limits.values()]
            await tx.execute("record_attempt", {**self._attempt(tried), "windows": windows})
            await self._count(tx, room=0)

    def _attempt(self, tried: tuple[str, ...]) -> dict[str, object]:
        return {"keys": list(self._limits), "item": self._digest("attempt", *tried)[:_ITEM_BYTES].hex()}


def network(address: str) -> str:
    """Who counts as one caller: an IPv4 address, or the /64 of an IPv6 one, which is what a customer has at least."""
    try:
        found = ip_address(address)
    except ValueError:  # no address at all, as on a Unix socket
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    return str(found.ipv4_mapped or ip_network((int(found), 64), strict=False))


def _key(keys: Keys, action: Action, address: str, account: str) -> str:
    return f"{action}:{keys.digest('limit', action, address, account).hex()[:32]}"
