"""Several processes that do the same work: dead ones are replaced, and none outlives the one that started them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

import structlog

from sync_server import logs, signals

log = structlog.get_logger()
_LOOK = 0.2
"""Seconds between looks at what there is to do."""
_MARGIN = 10.0
"""Seconds beyond the grace after which a worker that was told to end is killed."""
_SHORT_LIFE = 5.0
"""Seconds. A worker that dies younger is replaced after a pause: one that cannot live must not keep the machine busy."""
_OF_THE_TERMINAL = [number for number in signals.ALL if number != signal.SIGTERM]
"""Signals that reach every process of a terminal; only the supervisor is to act on them, and tells the workers."""


class Workers:
    """Keeps `count` processes running `work(news, fresh, *arguments)`, which must end within `grace` seconds after SIGTERM.

    `fresh` is what `tell` was told last, and `news` a connection on which everything arrives that it is told later.
    """

    def __init__(self, count: int, grace: float, work: Callable[..., None], fresh: Any, *arguments: Any) -> None:
        self._count = count
        self._grace = grace
        self._work = work
        self._fresh = fresh
        self._arguments = arguments
        self._told_to_end = False
        self._started: dict[SpawnProcess, tuple[float, Connection]] = {}
        self._one_at_a_time = threading.Lock()

    def tell(self, fresh: Any) -> None:
        """Tell every worker, and those that will replace it. Any thread may call it."""
        with self._one_at_a_time:
            self._fresh = fresh
            for _, line in self._started.values():
                with suppress(OSError):  # it has died, and its successor will know
                    line.send(fresh)

    def keep_running(self) -> None:
        """Start the workers and replace those that die, until a signal. `end` must follow."""
        signals.handle(self._told)
        for _ in range(self._count):
            self._start()
        while not self._told_to_end:
            multiprocessing.connection.wait([process.sentinel for process in self._started], _LOOK)
            self._replace_dead()

    def end(self) -> None:
        """Tell the workers to end, and wait for it."""
        for process in self._started:
            process.terminate()
        deadline = time.monotonic() + self._grace + _MARGIN
        for process in self._started:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                log.error("worker_killed", pid=process.pid, reason="it did not end in time")
                process.kill()
                process.join()

    def _told(self, _: int, __: FrameType | None) -> None:
        self._told_to_end = True

    def _start(self) -> None:
        with self._one_at_a_time:
            self._start_with(self._fresh)

    def _start_with(self, fresh: Any) -> None:
        context = multiprocessing.get_context("spawn")
        news, line = context.Pipe(duplex=False)
        arguments = (self._grace, self._work, (news, fresh, *self._arguments))
        process = context.Process(target=_work, args=arguments, name="sync-server")
        resource_tracker.ensure_running()  # or its start, which is a part of the worker's, would undo the mask
        _mask(signal.SIG_BLOCK)  # which the worker inherits
        try:
            process.start()
        finally:
            _mask(signal.SIG_UNBLOCK)
        news.close()  # the worker has its own
        self._started[process] = (time.monotonic(), line)

    def _replace_dead(self) -> None:
        for process, (started, line) in list(self._started.items()):
            if process.exitcode is None or self._told_to_end:
                continue
            log.error("worker_died", pid=process.pid, exit_code=process.exitcode, action="starting another one")
            if time.monotonic() - started < _SHORT_LIFE:
                time.sleep(1.0)
            with self._one_at_a_time:
                del self._started[process]
                line.close()
            self._start()


def _mask(how: int) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(how, _OF_THE_TERMINAL)


def _work(grace: float, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """A worker process: works until it is told to end, or until the process that started it is gone."""
    logs.configure()
    threading.Thread(target=_end_with_parent, args=(grace,), daemon=True).start()
    work(*arguments)


def _end_with_parent(grace: float) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:  # as in every process of `Workers`
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace + _MARGIN)
        os._exit(1)  # there is nobody left to kill it
