"""A client that openapi-python-client makes of the document works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from admin.people import NewPerson

_PROGRAM = """
import sys
from client import AuthenticatedClient
from client.api.users import get_user, list_users
from client.models import Failure, PageUser

url, token, search = sys.argv[1:]
with AuthenticatedClient(base_url=url, token=token) as client:
    page = list_users.sync("main", client=client, search=search, limit=1)
    assert isinstance(page, PageUser), page
    [user] = page.data
    assert page.meta.pagination.total == 1
    print(user.email, user.role.value, user.created_at.tzinfo)
    answer = get_user.sync_detailed("main", "00000000-0000-4000-8000-000000000000", client=client)
    assert isinstance(answer.parsed, Failure), answer
    print(answer.status_code.value, answer.parsed.error.code)
"""


@pytest.fixture(scope="module")
def directory(http: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package `client` is."""
    directory = tmp_path_factory.mktemp("generated")
    (directory / "openapi.json").write_bytes(http.get("/api-docs/openapi.json").content)
    # it knows JSON, text and octets
    (directory / "config.yaml").write_text(
        "post_hooks: []\ncontent_type_overrides: {application/zip: application/octet-stream}\n"
    )
    command = [
        "generate",
        "--path",
        "openapi.json",
        "--config",
        "config.yaml",
        "--meta",
        "none",
        "--output-path",
        "client",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *command],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stdout + done.stderr, "every part of the document is understood"
    return directory


def test_it_lists_users(directory: Path, http: httpx.Client, new_person: NewPerson) -> None:
    viewer = new_person("viewer")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(http.base_url), viewer.token, viewer.email],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{viewer.email} viewer UTC", "404 user_not_found"]
