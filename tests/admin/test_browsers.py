"""Sessions in cookies: what browsers keep, and what other pages cannot do with it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from admin.people import NewPerson, Person, data, refused

JSON = {"Content-Type": "application/json"}


class Browser:
    """Keeps cookies as a browser does that came by HTTPS, and the token for `X-CSRF-Token`."""

    def __init__(self, person: Person) -> None:
        self.http = person.http
        answer = person.login(cookies=True)
        tokens = data(answer)
        assert (tokens["access_token"], tokens["refresh_token"]) == (None, None), "no script can read them"
        self.csrf = tokens["csrf_token"]
        self.cookies: dict[str, str] = {}
        self.keep(answer)

    def keep(self, answer: httpx.Response) -> None:
        for cookie in answer.headers.get_list("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
            if "Max-Age=0" in cookie:
                del self.cookies[name]

    def call(self, method: str, path: str, csrf: str | None = "", **options: Any) -> httpx.Response:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if csrf is not None:
            headers["X-CSRF-Token"] = csrf or self.csrf
        answer = self.http.request(
            method, f"/api/v1{path}", headers={**headers, **options.pop("headers", {})}, **options
        )
        self.keep(answer)
        return answer


@pytest.fixture
def browser(new_person: NewPerson) -> Browser:
    return Browser(new_person())


def test_cookies_are_for_this_server_and_no_script(new_person: NewPerson) -> None:
    answer = new_person().login(cookies=True)
    found = {cookie.partition("=")[0]: cookie.lower() for cookie in answer.headers.get_list("Set-Cookie")}
    assert set(found) == {"sync_access", "sync_refresh", "sync_csrf"}
    for name, cookie in found.items():
        parts = {part.strip() for part in cookie.split(";")}
        assert {"secure", "samesite=strict"} <= parts
        assert ("httponly" in parts) is (name != "sync_csrf")
    assert "path=/api/v1;" in found["sync_access"]
    assert "path=/api/v1/auth;" in found["sync_refresh"]
    assert "set-cookie" not in new_person().login().headers


def test_a_page_reads_with_cookies_alone_and_changes_with_the_header(browser: Browser) -> None:
    me = data(browser.call("GET", "/auth/me", csrf=None))
    path = f"/realms/main/users/{me['id']}"
    tag = browser.call("GET", path, csrf=None).headers["ETag"]
    for wrong in (None, "x", browser.csrf[:-1], browser.csrf + "0", "ä"):
        headers = {"If-Match": tag} if wrong != "ä" else {"If-Match": tag, "X-CSRF-Token": "ä".encode()}
        answer = browser.call(
            "PATCH", path, csrf=None if wrong == "ä" else wrong, json={"name": "Zoe"}, headers=headers
        )
        refused(answer, 403, "csrf_rejected")
    assert data(browser.call("GET", "/auth/me", csrf=None))["name"] == "Ann"
    assert data(browser.call("PATCH", path, json={"name": "Zoe"}, headers={"If-Match": tag}))["name"] == "Zoe"


def test_the_header_belongs_to_the_session(browser: Browser, new_person: NewPerson) -> None:
    other = Browser(new_person())
    refused(browser.call("POST", "/auth/logout", csrf=other.csrf), 403, "csrf_rejected")


def test_a_session_in_cookies_is_renewed_and_ended(browser: Browser) -> None:
    refused(browser.call("POST", "/auth/refresh", csrf=None, json={}), 403, "csrf_rejected")
    before = dict(browser.cookies)
    tokens = data(browser.call("POST", "/auth/refresh", json={}))
    assert (tokens["access_token"], tokens["refresh_token"]) == (None, None)
    assert tokens["csrf_token"] == browser.csrf == browser.cookies["sync_csrf"]
    assert browser.cookies["sync_refresh"] != before["sync_refresh"]
    assert data(browser.call("POST", "/auth/logout")) is None
    assert browser.cookies == {}
    browser.cookies = before
    refused(browser.call("GET", "/auth/me"), 401, "unauthenticated")
    refused(browser.call("POST", "/auth/refresh", json={}), 401, "unauthenticated")


def test_a_page_of_another_name_gets_the_header_of_its_session(browser: Browser) -> None:
    """It cannot read the server's cookies; loaded anew after a while it has neither header nor access token."""
    del browser.cookies["sync_access"]
    browser.csrf = data(browser.call("GET", "/auth/csrf", csrf=None))["csrf_token"]
    assert data(browser.call("POST", "/auth/refresh", json={}))["csrf_token"] == browser.csrf
    assert data(browser.call("GET", "/auth/me"))["name"] == "Ann"
    for value in ("", "x", browser.cookies["sync_access"]):
        browser.cookies["sync_refresh"] = value
        refused(browser.call("GET", "/auth/csrf", csrf=None), 401, "unauthenticated")


def test_a_bearer_token_needs_no_header_and_comes_first(browser: Browser, new_person: NewPerson) -> None:
    ann = new_person()
    bearer = {"Authorization": f"Bearer {ann.token}"}
    assert data(browser.call("GET", "/auth/me", headers=bearer))["id"] == ann.id
    wrong = {"Authorization": "Bearer x"}
    refused(browser.call("GET", "/auth/me", headers=wrong), 401, "unauthenticated")
    assert data(ann.call("POST", "/auth/logout")) is None


def test_cookies_of_the_other_kind_open_nothing(browser: Browser) -> None:
    browser.cookies["sync_access"] = browser.cookies["sync_refresh"]
    refused(browser.call("GET", "/auth/me"), 401, "unauthenticated")
    for value in ("", "x", "a.b.c", '"'):
        browser.cookies["sync_access"] = value
        refused(browser.call("GET", "/auth/me"), 401, "unauthenticated")
