"""Logs: one JSON object per line on standard error, or a readable line where that is a terminal."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

import structlog


def configure() -> None:
    """Set up structlog, and the standard library's logging for the libraries."""
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[structlog.typing.Processor] = (
        # plain tracebacks: others show the values of variables, and so passwords and tokens
        [structlog.dev.ConsoleRenderer(exception_formatter=_write_traceback)]
        if sys.stderr.isatty()
        else [structlog.processors.ExceptionRenderer(traceback_of), structlog.processors.JSONRenderer()]
    )
    stream = _Steady(sys.stderr)
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=lambda *_: structlog.PrintLogger(stream),  # type: ignore[arg-type] # all that it needs is there
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # its warnings repeat, with the database's address, what database_unavailable says
    # answer_broken_off says it better
    logging.getLogger("uvicorn.error").addFilter(
        lambda record: "without completing response" not in record.getMessage()
    )
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)


def traceback_of(exc_info: structlog.typing.ExcInfo) -> str:
    """What happened and where, without what a database says of it: that quotes rows, addresses and whatever was sent."""
    text = "".join(traceback.format_exception(*exc_info)).rstrip()
    for exc in _all(exc_info[1], set()):
        diagnosis = getattr(exc, "diag", None)
        if diagnosis is None:
            continue
        names = [diagnosis.sqlstate, diagnosis.table_name, diagnosis.column_name, diagnosis.constraint_name]
        said = [line for line in str(exc).splitlines() if line.strip()]
        for number, line in enumerate(said):
            text = text.replace(line, " ".join(filter(None, names)) if number == 0 else "…")
    return text


def _all(exc: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    """An exception and what it came from."""
    if exc is None or id(exc) in seen:
        return
    seen.add(id(exc))
    yield exc
    further = exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()
    for each in (exc.__cause__, exc.__context__, *further):
        yield from _all(each, seen)


def _write_traceback(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    stream.write("\n" + traceback_of(exc_info))


class _Steady:
    """A stream for logs. When whatever reads the logs is gone, lines are lost, and calls are answered as before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()
