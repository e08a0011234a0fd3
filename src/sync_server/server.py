"""What all calls share: the parts that are made once, when the application is."""

from __future__ import annotations

from dataclasses import dataclass

from sync_server.accounts.passwords import Passwords
from sync_server.accounts.tokens import Tokens
from sync_server.config import Config
from sync_server.keys import Keys
from sync_server.mail.mailer import Mailer


@dataclass(frozen=True)
class Server:
    """The parts that do not depend on the call."""

    config: Config
    keys: Keys
    mailer: Mailer
    passwords: Passwords
    tokens: Tokens
