"""What machines that watch the server are told, put together from the parts of a process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sync_server.accounts.passwords import Passwords
from sync_server.config import Config
from sync_server.health import Checks
from sync_server.mail.courier import Outcomes
from sync_server.observing.exposure import Exposure
from sync_server.observing.metrics import Metrics, Parts
from sync_server.observing.siblings import Siblings
from sync_server.observing.tally import Tally
from sync_server.realms import Realms


@dataclass(frozen=True)
class Watched:
    """What a process is watched by."""

    tally: Tally = field(default_factory=Tally)
    port: int | None = None
    """On which metrics are asked for, if it is one of its own."""
    shared: Path | None = None
    """A directory in which the processes of a server tell each other their numbers, if there are several."""


class Monitoring:
    """What there is to be asked."""

    def __init__(self, config: Config, realms: Realms, passwords: Passwords, mails: Outcomes, watched: Watched) -> None:
        siblings = Siblings(watched.shared) if watched.shared is not None else None
        self.checks = Checks(realms)
        self.metrics = Metrics(Parts(watched.tally, realms, passwords, mails), siblings)
        self.exposure = Exposure(config.metrics, watched.port)
