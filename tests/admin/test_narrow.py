"""Large queries and cookies, of which the framework would keep a thousand each for good."""

from __future__ import annotations

from typing import Any

import pytest

from admin.people import NewPerson, refused
from admin.test_browsers import Browser
from sync_server.admin import narrow

QUOTED = 'a="' + "\\" * 30_000 + '"'


@pytest.mark.parametrize("query", ["&".join(f"a{number}=b" for number in range(33)), "a=" + "b" * 16 * 1024])
def test_a_query_that_is_too_large_is_refused(new_person: NewPerson, query: str) -> None:
    refused(new_person("viewer").http.get(f"/api-docs/openapi.json?{query}"), 422, "invalid")


def test_a_session_works_beside_the_cookies_of_others(new_person: NewPerson) -> None:
    browser = Browser(new_person("viewer"))
    browser.cookies = {"before": "x", **browser.cookies, "after": "y"}
    own = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    answer = browser.http.get("/api/v1/auth/me", headers={"Cookie": f"{QUOTED}; {own}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"sync_access=a.b-c_d; x=y;sync_csrf=z", b"sync_access=a.b-c_d; sync_csrf=z"),
        (b'sync_access="a"; sync_refresh=\\101', b""),
        (b"sync_access=" + b"a" * 4097, b""),
        (b"sync_access", b"sync_access"),
    ],
)
def test_only_our_cookies_get_through(sent: bytes, kept: bytes) -> None:
    """Above all none with quotes: taking them off is quadratic in some versions of Python."""
    scope: Any = {"headers": [(b"accept", b"*/*"), (b"cookie", sent)]}
    assert narrow.with_own_cookies(scope)["headers"] == [(b"accept", b"*/*"), (b"cookie", kept)]
