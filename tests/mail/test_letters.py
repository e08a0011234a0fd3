"""Letters: the user's language, and templates of the operator's own, broken ones included."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.conftest import House, Logged
from sync_server.mail.check import problems
from sync_server.mail.letters import BUILT_IN, Letters, tags

VALUES: dict[str, str | int] = {"app": "ToDos", "name": "Ann", "pin": "012345", "minutes": 15}
FRENCH = {"pin.subject.txt": "Votre PIN", "pin.txt": "Le PIN : {{ pin }}", "pin.html": "<p>{{ name }} {{ pin }}</p>"}


def write(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("it", "it"),
        ("IT", "it"),
        (" it ", "it"),
        ("it-IT", "it"),
        ("it_CH", "it"),
        ("it-Latn-CH", "it"),
        ("en-GB", "en"),
        ("fr", "en"),
        (None, "en"),
        ("", "en"),
        ("_", "en"),
        ("it.", "en"),
        ("../it", "en"),
        ("it/../it", "en"),
        ("/etc", "en"),
        ("it\0", "en"),
        ("i" * 10_000, "en"),
    ],
)
def test_the_nearest_language_is_used(language: str | None, expected: str) -> None:
    assert Letters(None).write("pin", language, VALUES).language == expected


@given(st.text())
def test_whatever_a_client_calls_its_language_there_is_a_letter(language: str) -> None:
    assert "012345" in Letters(None).write("pin", language, VALUES).text
    assert all(tag.replace("-", "").isalnum() and tag.isascii() for tag in tags(language))


@pytest.mark.parametrize("language", sorted(path.name for path in BUILT_IN.iterdir()))
@pytest.mark.parametrize("name", ["", "Ann"])
@pytest.mark.parametrize("minutes", [1, 2])
def test_the_built_in_letters_say_what_they_have_to(language: str, name: str, minutes: int) -> None:
    letter = Letters(None).write("pin", language, VALUES | {"name": name, "minutes": minutes})
    assert letter.language == language
    assert "ToDos" in letter.subject
    assert "012345" not in letter.subject  # subjects are shown on locked screens
    for body in (letter.text, letter.html):
        assert all(word in body for word in ("012345", "ToDos", f"{minutes} minut", name))
        assert " ," not in body


def test_only_html_is_escaped() -> None:
    letter = Letters(None).write("pin", "en", VALUES | {"name": "<b>A & B</b>", "app": "<i>"})
    assert "<b>A & B</b>" in letter.text
    assert "&lt;b&gt;A &amp; B&lt;/b&gt;" in letter.html
    assert "<i>" not in letter.html


def test_an_operator_replaces_single_files(tmp_path: Path) -> None:
    write(tmp_path / "en", {"pin.subject.txt": "{{ app }} says hello"})
    letter = Letters(tmp_path).write("pin", "en", VALUES)
    assert letter.subject == "ToDos says hello"
    assert letter.text == Letters(None).write("pin", "en", VALUES).text


def test_an_operator_adds_languages(tmp_path: Path) -> None:
    write(tmp_path / "fr", FRENCH)
    write(tmp_path / "pt_BR", FRENCH | {"pin.subject.txt": "Seu PIN"})
    letters = Letters(tmp_path)
    assert letters.write("pin", "fr-CA", VALUES | {"name": "<>"}).html == "<p>&lt;&gt; 012345</p>"
    assert letters.write("pin", "pt-br", VALUES).subject == "Seu PIN"
    assert letters.write("pin", "pt", VALUES).language == "en"
    assert letters.write("pin", "it", VALUES).language == "it"


def test_a_changed_template_counts_from_the_next_letter_on(tmp_path: Path) -> None:
    letters = Letters(tmp_path)
    write(tmp_path / "en", {"pin.subject.txt": "one"})
    assert letters.write("pin", "en", VALUES).subject == "one"
    write(tmp_path / "en", {"pin.subject.txt": "one and two"})
    assert letters.write("pin", "en", VALUES).subject == "one and two"


def test_a_language_without_all_files_is_left_out_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path / "fr", {"pin.subject.txt": "Votre PIN", "pin.txt": "{{ pin }}"})
    assert Letters(tmp_path).write("pin", "fr", VALUES).language == "en"


def test_templates_may_share_a_layout(tmp_path: Path) -> None:
    write(tmp_path, {"layout.html": "<main>{% block body %}{% endblock %}</main>"})
    own = '{% extends "layout.html" %}{% block body %}{{ pin }}{% endblock %}'
    write(tmp_path / "en", {"pin.html": own})
    assert Letters(tmp_path).write("pin", "en", VALUES).html == "<main>012345</main>"


BROKEN = {
    "syntax": "Le PIN :\n{{ pin",
    "unknown variable": "Le PIN :\n{{ pinn }}",
    "fault": "Le PIN :\n{{ pin // 0 }}",
    "missing include": 'Le PIN :\n{% include "nothing.txt" %}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_template_costs_the_operator_s_letter_but_not_the_mail(
    tmp_path: Path, logged: Logged, house: House, text: str
) -> None:
    write(tmp_path / "templates" / "it", {"pin.txt": text})
    write(tmp_path / "templates" / "fr", FRENCH | {"pin.txt": text})
    letters = Letters(tmp_path / "templates")
    assert letters.write("pin", "it", VALUES).text == Letters(None).write("pin", "it", VALUES).text
    assert letters.write("pin", "fr", VALUES).language == "en"
    warnings = logged.of("mail_template_broken")
    assert [entry["file"].replace(str(tmp_path), "") for entry in warnings] == [
        "/templates/it/pin.txt, line 2",
        "/templates/fr/pin.txt, line 2",
    ]
    found = problems(house.config(templates="templates"))
    assert len(found) == 2
    assert f"{tmp_path}/templates/fr/pin.txt, line 2: " in found[0]


def test_a_template_that_is_not_text(tmp_path: Path, logged: Logged, house: House) -> None:
    write(tmp_path / "templates" / "en", {})
    (tmp_path / "templates" / "en" / "pin.html").write_bytes(b"\xff\xfe")
    assert "012345" in Letters(tmp_path / "templates").write("pin", "en", VALUES).html
    assert logged.of("mail_template_broken")[0]["error"] == "UnicodeDecodeError"
    assert "pin.html" in problems(house.config(templates="templates"))[0]


def test_there_is_nothing_wrong_with_good_templates(tmp_path: Path, house: House) -> None:
    assert problems(house.config()) == []
    write(tmp_path / "templates" / "fr", FRENCH)
    write(tmp_path / "templates" / "en", {"pin.subject.txt": "Hello"})
    assert problems(house.config(templates="templates")) == []


@pytest.mark.parametrize(
    ("folder", "files", "said"),
    [
        ("fr", {"pin.txt": "{{ pin }}"}, "pin.subject.txt, pin.html is missing"),
        ("fr", FRENCH | {"pin.html": "<p>no such thing</p>"}, "fr/pin.html: does not show {{ pin }}"),
        ("français", FRENCH, "no language"),
        ("en", {"pin.txt": '{{ pin }}{{ "\\ud800" }}'}, "cannot be made a mail"),
        ("en", {"pin.htm": "{{ pin }}"}, "en/pin.htm: is not used"),
    ],
)
def test_what_is_wrong_with_templates_is_said(
    tmp_path: Path, house: House, folder: str, files: dict[str, str], said: str
) -> None:
    write(tmp_path / "templates" / folder, files)
    [problem] = problems(house.config(templates="templates"))
    assert said in problem


def test_a_missing_directory_is_said(house: House) -> None:
    [problem] = problems(house.config(templates="templates"))
    assert "no such directory" in problem


def test_a_sender_that_is_no_address_is_said(house: House) -> None:
    [problem] = problems(house.config(from_email="nobody"))
    assert "email.fromEmail is not an address" in problem


def test_a_template_that_there_is_not(tmp_path: Path) -> None:
    for letters in (Letters(None), Letters(tmp_path)):
        with pytest.raises(LookupError):
            letters.write("../en/pin", "en", VALUES)
