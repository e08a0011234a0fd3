"""Passwords that commands ask for: never an argument, which others on the machine can read, and shells keep."""

from __future__ import annotations

import sys

import click

from sync_server.complaint import Complaint

_SHORTEST = 8


def ask() -> str:
    """A new password, typed twice on a terminal, or the first line of standard input."""
    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < _SHORTEST:
        raise Complaint(f"the password must have {_SHORTEST} characters or more; it is read from standard input")
    return password
