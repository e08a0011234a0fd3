"""Logs: one JSON object per line on standard error, or a readable line where that is a terminal."""

from __future__ import annotations

import logging
import sys
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
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
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
