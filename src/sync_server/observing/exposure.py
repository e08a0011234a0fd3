"""Who may see the metrics and the names of realms: those who ask on the port for it, or bring the token, or both."""

from __future__ import annotations

import hmac

from litestar.types import HTTPScope

from sync_server.config import Metrics

_SCHEME = b"bearer "


class Exposure:
    """What `metrics` of the configuration says."""

    def __init__(self, settings: Metrics, port: int | None) -> None:
        """`port`: the one that is listened on for this alone, if any."""
        self._token = settings.token.reveal().encode() if settings.token else None
        self._port = port

    def is_own_port(self, scope: HTTPScope) -> bool:
        """Whether the request came in on the port for metrics, which is for nothing else."""
        server = scope.get("server")
        return self._port is not None and server is not None and server[1] == self._port

    @property
    def is_offered(self) -> bool:
        """Whether there is a way to see them."""
        return self._port is not None or self._token is not None

    def may_see(self, scope: HTTPScope) -> bool:
        if self._token is None:
            return self.is_own_port(scope)
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return given[: len(_SCHEME)].lower() == _SCHEME and hmac.compare_digest(given[len(_SCHEME) :], self._token)
