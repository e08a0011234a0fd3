"""What every refusal on the wire must look like (G11)."""

from __future__ import annotations

import re

import httpx

INSIDE = re.compile(
    r"traceback|exception|psycopg|litestar|msgspec|uvicorn|postgres|\.py\b|\bline \d|0x[0-9a-f]{4}"
    r"|\bselect\b|\binsert into\b|\bdelete from\b|\bsync\.\w|\brelation\b|\bcolumn\b"
    r"|(?<![\w/])/(?:[\w.-]+/)+|\b127\.0\.0\.1\b",
    re.IGNORECASE,
)
"""What tells of the server's inside: its code, its SQL, its paths and addresses."""


def refusal(answer: httpx.Response, status: int, error: str | None = None) -> str:
    """Check that `answer` is a refusal in the agreed form that shows nothing of the inside; its message."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    body = answer.json()
    assert body.keys() - {"limit"} == {"code", "error", "message"}, body
    assert body["code"] == status
    assert re.fullmatch(r"[a-z_]+", body["error"]), body
    assert error is None or body["error"] == error, body
    message = body["message"]
    assert isinstance(message, str)
    assert message
    assert not INSIDE.search(answer.text), answer.text
    return message
