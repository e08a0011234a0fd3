"""Who calls, and which realm: found out in the same way for every call."""

from __future__ import annotations

from sync_server import observing
from sync_server.accounts.limits import Limits
from sync_server.accounts.routes import LimitsOf
from sync_server.accounts.tokens import Device
from sync_server.bodies import client_id
from sync_server.errors import ClientMismatch, TokenRejected
from sync_server.realms import Realm, Realms
from sync_server.retention.caretaker import Caretaker
from sync_server.server import Server


class Callers:
    """Of one server."""

    def __init__(self, server: Server, realms: Realms, caretaker: Caretaker) -> None:
        self.server = server
        self._realms = realms
        self._caretaker = caretaker

    def realm(self, name: str) -> Realm:
        """The realm that a path names. Raises UnknownRealm, Unavailable."""
        found = self._realms.get(name)
        observing.present().realm = found.name
        self._caretaker.note_use(found)
        return found

    def device(self, realm: Realm, authorization: str, in_path: str | None) -> Device:
        """The client that the bearer token names, which the path, where it names one, must agree with.

        Raises TokenRejected, InvalidBody, ClientMismatch.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise TokenRejected
        found = self.server.tokens.read("access", realm.name, token.strip())
        if in_path is not None and client_id(in_path, "path") != found.client_id:
            raise ClientMismatch
        observing.present().device = found
        return found

    def limits_of(self, address: str) -> LimitsOf:
        """The limits of whoever calls from this address."""
        return lambda action, account: Limits(
            self.server.keys, action, address=address, account=account, enabled=self.server.config.rate_limits
        )
