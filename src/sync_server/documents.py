"""JSON files that people write: mistakes are named by their place, nothing is dropped silently, secrets may stay outside."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NoReturn

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class DocumentError(Exception):
    """The file cannot be used; the text says where and why, in one line."""


def read(path: Path) -> Any:
    """The document in the file, with every string of the form "${NAME}" replaced by that environment variable.

    Raises DocumentError. A UTF-8 byte order mark, as Windows editors write it, does no harm.
    """
    try:
        document = json.loads(
            path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_constant
        )
    except FileNotFoundError:
        raise DocumentError("there is no such file; --config names another one") from None
    except OSError as exc:
        raise DocumentError(f"cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError as exc:
        raise DocumentError(f"not UTF-8 at byte {exc.start + 1}") from None
    except json.JSONDecodeError as exc:
        raise DocumentError(f"not valid JSON in line {exc.lineno}, column {exc.colno}: {exc.msg}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, thousands of brackets, a path with a NUL
        raise DocumentError("cannot be read: it is no configuration") from None
    return _resolve(document, "$")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that says each key once: of two values for a key, JSON readers silently take the last."""
    read = dict(pairs)
    if len(read) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DocumentError(f"The key `{twice}` stands twice in the same object")
    return read


def _no_constant(name: str) -> NoReturn:
    raise DocumentError(f"{name} is no JSON")


def _resolve(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return {_text(key, path): _resolve(member, f"{path}.{key}") for key, member in value.items()}
    if isinstance(value, list):
        return [_resolve(member, f"{path}[{index}]") for index, member in enumerate(value)]
    if not isinstance(value, str):
        return value
    if not (variable := _VARIABLE.fullmatch(value)):
        return _text(value, path)
    if variable[1] not in os.environ:
        raise DocumentError(f"The environment variable {variable[1]} is not set - at `{path}`")
    return _text(os.environ[variable[1]], path)


def _text(value: str, path: str) -> str:
    """`value`, which files, databases and mails can take: no NUL, and nothing that has no UTF-8."""
    if "\0" in value or (not value.isascii() and re.search("[\ud800-\udfff]", value)):
        raise DocumentError(f"The text has a character that cannot be used - at `{path}`")
    return value
