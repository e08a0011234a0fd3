"""Traces, at a collector of OpenTelemetry's own format; and nothing of all that where nobody asked for it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from conftest import start_server
from postgres import Postgres
from routes.calls import bearer
from server.operating import config_with
from users import User, look_into
from wire import Wire

TRACE = "0af7651916cd43dd8448eb211c80319c"
ABOVE = "b7ad6b7169203331"


class Collector:
    """Takes what is sent to it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/traces"
        self.bodies: list[bytes] = []
        self.authorizations: set[str | None] = set()

    @property
    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            collector.authorizations.add(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield collector
    server.shutdown()
    server.server_close()
    thread.join()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_request_and_its_statements_are_a_part_of_the_caller_s_trace(postgres: Postgres, tmp_path: Path) -> None:
    dsn = postgres.create_database("traced")
    with collecting() as collector:
        tracing = {"endpoint": collector.url, "sample": 0, "headers": {"Authorization": "a key"}}
        process = start_server(tmp_path, {**config_with({"main": dsn}), "tracing": tracing})
        try:
            with closing(Wire(process.url)) as wire, look_into(dsn) as connection:
                user = User(wire.send, "main", connection, email="planted@example.com", password="planted-password")
                phone = user.device()
                phone.insert("todos", "planted-guid", {"text": "planted row"})
                token = bearer(phone)
                headers = {"Authorization": token, "X-Request-ID": "the-request"}
                for sampled in ("00", "01"):
                    above = {"traceparent": f"00-{TRACE}-{ABOVE}-{sampled}"}
                    answer = httpx.post(process.url + "/pull/main", json={"lastSync": 0}, headers={**headers, **above})
                    assert answer.status_code == 200
                phone.cancel()
        finally:
            assert process.stop() == 0
    [request] = [span for span in collector.spans if span.name == "POST /pull/{realm_name}"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, ABOVE)
    told = attributes(request)
    assert (told["http.route"], told["http.response.status_code"]) == ("/pull/{realm_name}", 200)
    assert (told["sync.request_id"], told["sync.realm"]) == ("the-request", "main")
    parts = [span for span in collector.spans if span.parent_span_id == request.span_id]
    assert {span.name for span in parts} <= {"statement", "transaction"}
    assert parts
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}, "others were not to be recorded"
    assert collector.authorizations == {"a key"}
    assert b"planted" not in b"".join(collector.bodies)


def test_a_collector_that_is_away_costs_no_call(postgres: Postgres, tmp_path: Path) -> None:
    dsn = postgres.create_database("traced_in_vain")
    tracing = {"endpoint": "http://127.0.0.1:1/v1/traces", "sample": 1}
    process = start_server(tmp_path, {**config_with({"main": dsn}), "tracing": tracing})
    with closing(Wire(process.url)) as wire, look_into(dsn) as connection:
        User(wire.send, "main", connection).device().login()
    assert process.stop() == 0
    assert "Traceback" not in process.log


def test_nothing_of_it_is_imported_otherwise() -> None:
    code = "import sys; import sync_server.commands.serve, sync_server.entrance; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = {name.partition(".")[0] for name in done.stdout.split()}
    assert "litestar" in names
    assert not names & {"opentelemetry", "prometheus_client", "google"}


def test_that_its_packages_are_missing_is_said(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("")  # hides the packages
    document = {**config_with({"default": database_url}), "tracing": {"endpoint": "http://localhost:4318/v1/traces"}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    done = subprocess.run(
        [sys.executable, "-m", "sync_server.cli", "serve", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'sync-server[tracing]'" in done.stderr
    assert "Traceback" not in done.stderr
