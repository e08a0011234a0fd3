"""Several servers of one realm, as on several machines: a directory and a clock each, one database, a proxy in front."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import Process, start_server
from proxies import Proxy
from wire import Wire

HOUR = 3600
CLOCKS = (HOUR, 0, -HOUR)
"""Seconds by which the servers' clocks are wrong."""
LIBFAKETIME = "libfaketime==3.0.1"
_FETCH = Path(__file__).parents[2] / ".ci" / "fetch"
_PLACE = "libfaketime/vendor/libfaketime/src/libfaketime.so.1"


@dataclass
class Fleet:
    """The servers, and the proxy's ways to them."""

    servers: list[Process]
    proxy: Proxy
    wire: Wire
    """By way of the proxy, each call to another server."""
    wires: list[Wire]
    """Straight to the servers, in the order of `servers`."""


@contextmanager
def fleet(
    directory: Path,
    database_url: str,
    clocks: Sequence[int] = CLOCKS,
    config: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Fleet]:
    """Servers with these clocks, all started at once. They make no mistakes, or the block ends with an AssertionError."""
    config = config or configuration(database_url)

    def start(number: int) -> Process:
        clock = faked(clocks[number])
        return start_server(directory / f"{number}", config, environment={**clock, **(environment or {})})

    with ThreadPoolExecutor(len(clocks)) as pool:
        servers = list(pool.map(start, range(len(clocks))))
    try:
        with Proxy(*(("127.0.0.1", server.port) for server in servers)) as proxy:
            wires = [Wire(server.url) for server in servers]
            made = Fleet(servers, proxy, Wire(proxy.url, keep_alive=0), wires)
            yield made
            for wire in (made.wire, *wires):
                wire.close()
    finally:
        codes = [server.stop() for server in servers]
    assert codes == [0] * len(servers)
    assert not mistakes(servers)


def configuration(database_url: str, **server: Any) -> dict[str, Any]:
    """One for all: what tokens are signed with must be the same."""
    secrets = {"secret_key": "access " * 5, "secret_key_refresh": "refresh " * 5}
    return {
        "server": {"bcrypt_rounds": 4, **secrets, **server},
        "db": {"realms": {"main": database_url}},
        "email": {"apps": {"default": "Test App"}},
    }


def mistakes(servers: Sequence[Process]) -> list[str]:
    lines = [line for server in servers for line in server.log.splitlines()]
    return [line for line in lines if '"fault"' in line or "Traceback" in line]


def faked(seconds: int) -> dict[str, str]:
    """The environment in which a process takes it to be so much later. Skips the test where that cannot be done."""
    if seconds == 0:
        return {}
    library = _library()
    if isinstance(library, str):
        pytest.skip(f"no libfaketime: {library}")
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+d}", "DONT_FAKE_MONOTONIC": "1"}


@functools.cache
def _library() -> Path | str:
    """libfaketime, from PyPI (Debian's breaks sleeping); or why there is none."""
    fetch = ["sh", str(_FETCH), "wheel", LIBFAKETIME]
    done = subprocess.run(fetch, capture_output=True, text=True, timeout=600, check=False)
    library = Path(done.stdout.strip(), _PLACE)
    if done.returncode == 0 and library.exists() and _works(library):
        return library
    return done.stderr.strip() or "the library does not run here"


def _works(library: Path) -> bool:
    fake = {"LD_PRELOAD": str(library), "FAKETIME": f"+{50 * 365 * 86400}"}
    done = subprocess.run(["date", "+%Y"], env=fake, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode == 0 and done.stdout.strip() > "2070"
