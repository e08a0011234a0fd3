"""Letters: what a mail says, from jinja2 templates, in the user's language.

A letter is three files, `<directory>/<language>/<template>.subject.txt`, `.txt` and `.html`. An operator's directory lies
over the built-in one: a file there replaces the built-in file of the same language and name, and further languages can be
added. Variables: `app` (the app's name), `name` (the user's, may be empty), `minutes` (how long the letter's matter stays
valid), and for the template "pin" `pin`.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jinja2
import structlog

from sync_server.config import Config

log = structlog.get_logger()

BUILT_IN = Path(__file__).parent / "templates"
PARTS = ("subject.txt", "txt", "html")
FALLBACK = "en"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_TAG = re.compile(r"[a-z]{2,8}(-[a-z0-9]{1,8}){0,4}")
Values = Mapping[str, str | int]


class Letter(NamedTuple):
    language: str
    subject: str
    text: str
    html: str


class BrokenTemplate(Exception):
    """A template that cannot be rendered. `where` and `kind` may be logged; the text may hold what was to be rendered."""

    def __init__(self, path: Path, exc: Exception) -> None:
        super().__init__(f"{path}, line {_line(exc)}: {exc}")
        self.where = f"{path}, line {_line(exc)}"
        self.kind = type(exc).__name__


class File(NamedTuple):
    path: Path
    name: str
    environment: jinja2.Environment

    def render(self, values: Values) -> str:
        """Raises BrokenTemplate."""
        try:
            return self.environment.get_template(self.name).render(values)
        except Exception as exc:  # a template may raise anything
            raise BrokenTemplate(self.path, exc) from exc


class Shelf:
    """Directories of templates, the first one first."""

    def __init__(self, *directories: Path) -> None:
        # a directory's templates may include and extend those of the directories below it
        self._levels = [(each, _environment(directories[level:])) for level, each in enumerate(directories)]

    def find(self, template: str, tag: str) -> list[File | None]:
        """The files of a letter in a language, in the order of PARTS; None for one that is missing."""
        found: list[File | None] = [None] * len(PARTS)
        for directory, environment in self._levels:
            for folder in _folders(directory).get(tag, ()):
                for index, part in enumerate(PARTS):
                    path = directory / folder / f"{template}.{part}"
                    if found[index] is None and path.is_file():
                        found[index] = File(path, f"{folder}/{path.name}", environment)
        return found


class Letters:
    """Writes letters. Templates that are changed while the server runs count from the next letter on."""

    def __init__(self, own: Path | None) -> None:
        built_in = Shelf(BUILT_IN)
        self._shelves = [Shelf(own, BUILT_IN), built_in] if own else [built_in]

    def write(self, template: str, language: str | None, values: Values) -> Letter:
        """The letter in `language`, whatever a client may have sent as such, or in the nearest one that there is.

        All three parts are of one language. In place of an operator's template that is broken comes the built-in one.
        Raises LookupError when there is no such template.
        """
        for shelf in self._shelves if _NAME.fullmatch(template) else []:
            for tag in tags(language):
                files = [file for file in shelf.find(template, tag) if file]
                if len(files) < len(PARTS):
                    continue
                try:
                    subject, text, html = (file.render(values) for file in files)
                    return Letter(tag, subject, text, html)
                except BrokenTemplate as exc:
                    log.warning(
                        "mail_template_broken",
                        file=exc.where,
                        error=exc.kind,
                        hint="the built-in template is sent instead; `sync-server check` tells more",
                    )
                    break
        raise LookupError(f"There is no mail template {template}")


def directory(config: Config) -> Path | None:
    """Where the operator's templates are, if there are any."""
    return config.base / config.email.templates if config.email.templates else None


def tag_of(language: str) -> str | None:
    """A language tag as tags are compared: "pt_BR" is "pt-br". None when it is no language tag."""
    tag = language.strip().lower().replace("_", "-")
    return tag if _TAG.fullmatch(tag) else None


def tags(language: str | None) -> Iterator[str]:
    """The languages to look for, the best one first: "pt-br", "pt", "en" (RFC 4647, section 3.4)."""
    tag = tag_of(language) if language else None
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]
    yield FALLBACK


def _folders(directory: Path) -> dict[str, list[str]]:
    """The languages of a directory, as written there. A client's language is looked up here, never used as a path."""
    found: dict[str, list[str]] = {}
    try:
        entries = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    except OSError:
        return {}
    for name in entries:
        if tag := tag_of(name):
            found.setdefault(tag, []).append(name)
    return found


def _environment(directories: tuple[Path, ...]) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(directories),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _line(exc: Exception) -> int:
    if isinstance(exc, jinja2.TemplateSyntaxError):
        return exc.lineno
    # jinja2 makes frames of templates look as if the template were the source
    lines = [frame.lineno for frame in traceback.extract_tb(exc.__traceback__) if not frame.filename.endswith(".py")]
    return (lines[-1] if lines else None) or 1
