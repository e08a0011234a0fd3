"""`sync-server check` finds out what is wrong with the SMTP server, and says how to mend it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from mail.conftest import PASSWORD, House, Offices
from sync_server.mail.check import check_smtp


def test_without_a_server_there_is_nothing_to_check(house: House) -> None:
    assert asyncio.run(check_smtp(house.config())) is None


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("office", "email"),
    [
        ({}, {}),
        ({}, {"from_email": "noreply@müller.example"}),
        ({"smtputf8": True}, {"from_email": "grüße@müller.example"}),
        ({"starttls": True, "login": ("ann", PASSWORD)}, {"username": "ann"}),
        ({"tls": True, "login": ("ann", PASSWORD)}, {"username": "ann", "security": "tls"}),
    ],
)
def test_all_is_well(house: House, open_office: Offices, office: dict[str, Any], email: dict[str, Any]) -> None:
    post_office = open_office(**office)
    assert asyncio.run(check_smtp(house.config(post_office, **email))) is None
    assert "MAIL" in post_office.commands
    assert "RCPT" not in post_office.commands


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("office", "email", "said"),
    [
        ({"starttls": True, "login": ("ann", "x")}, {"username": "ann"}, "535: the server refuses email.username or"),
        ({"starttls": True}, {"username": "ann", "security": "plain"}, "login not offered"),
        ({}, {"security": "starttls"}, "STARTTLS not offered"),
        ({}, {"security": "tls"}, "does not speak TLS"),
        ({"tls": True}, {"security": "tls", "smtp": "127.0.0.1"}, "certificate is not trusted"),
        ({"silent": True}, {"timeout": 0.2}, "does not answer"),
        ({}, {"from_email": "nobody"}, "email.fromEmail is not an address"),
        ({}, {"port": 1}, "nothing listens there"),
        ({}, {"smtp": "no-such-host.invalid"}, "no such host"),
        ({}, {"smtp": "x" * 70 + ".invalid"}, "host"),
        ({}, {"smtp": "two\nlines"}, "check email.smtp"),
        ({"answers": {"MAIL": deque(["553 5.7.1 <{}> is not yours"])}}, {}, "553: the server does not let this login"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    house: House, open_office: Offices, office: dict[str, Any], email: dict[str, Any], said: str
) -> None:
    problem = asyncio.run(check_smtp(house.config(open_office(**office), **email)))
    assert problem is not None
    assert said in problem
    assert PASSWORD not in problem
    assert "\n" not in problem
