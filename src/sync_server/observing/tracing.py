"""Traces for OpenTelemetry: a span for each request, and one for each transaction in it. Imported only where configured."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import Any

from litestar.types import HTTPScope
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sync_server.config import Tracing
from sync_server.observing import spans
from sync_server.observing.calls import Call, present

_SECONDS = 3.0
"""That a collector gets, each time and at the end; spans that it does not take are lost."""
_OUR_FAULT = 500


class Tracer:
    """Of one process."""

    def __init__(self, settings: Tracing) -> None:
        _tell_without_tracebacks()
        headers = {name: value.reveal() for name, value in settings.headers.items()}
        exporter = OTLPSpanExporter(settings.endpoint, headers=headers, timeout=_SECONDS)
        self._provider = TracerProvider(
            # whoever is before us in the trace has decided whether it is recorded, so that none has holes
            sampler=ParentBased(TraceIdRatioBased(settings.sample)),
            resource=Resource.create({"service.name": "sync-server", "service.version": version("sync-server")}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sync_server")
        self._propagator = TraceContextTextMapPropagator()
        spans.record_with(self._part)

    def _part(self, name: str) -> AbstractContextManager[Any]:
        span = present().span
        if span is None or not span.is_recording():  # of nobody's request, or of one that has been answered
            return nullcontext()
        return self._tracer.start_as_current_span(name, kind=SpanKind.CLIENT, record_exception=False)

    def begin(self, scope: HTTPScope) -> Span:
        """A span for the request that this task answers, which is a part of the trace that its headers name."""
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _NAMES}
        parent = self._propagator.extract(sent) if sent else None
        found = self._tracer.start_span(scope["method"], context=parent, kind=SpanKind.SERVER)
        context.attach(trace.set_span_in_context(found))
        return found

    def end(self, span: Span, call: Call, route: str | None) -> None:
        """The request has been answered. What is told of it is what its line in the log tells, without who it was."""
        if span.is_recording():
            span.update_name(f"{call.method} {route}" if route else call.method)
            told: dict[str, Any] = {
                "http.request.method": call.method,
                "http.route": route,
                "http.response.status_code": call.status,
                "sync.request_id": call.request_id,
                "sync.realm": call.realm,
                "sync.rows_in": call.rows_in,
                "sync.rows_out": call.rows_out,
                "error.type": call.error,
            }
            span.set_attributes({name: value for name, value in told.items() if value is not None})
            if call.status >= _OUR_FAULT:
                span.set_status(Status(StatusCode.ERROR))
        span.end()

    async def close(self) -> None:
        """Send what is left, if the collector takes it in time."""
        spans.record_with(None)
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)  # which may be left behind
        sending.start()
        await asyncio.to_thread(sending.join, _SECONDS)


_NAMES = frozenset({b"traceparent", b"tracestate"})


def _tell_without_tracebacks() -> None:
    """A collector that is away is one line in the log, not fifty."""

    def shorten(record: logging.LogRecord) -> bool:
        record.exc_info = None
        return True

    for name in ("opentelemetry.sdk._shared_internal", "opentelemetry.exporter.otlp.proto.http.trace_exporter"):
        logging.getLogger(name).addFilter(shorten)
