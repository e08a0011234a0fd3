"""What `sync-server check` has to say about mail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import aiosmtplib

from sync_server.config import Config, Email
from sync_server.mail import smtp
from sync_server.mail.failures import Away, MailFailure, reason
from sync_server.mail.letters import (
    BUILT_IN,
    FALLBACK,
    PARTS,
    BrokenTemplate,
    Letter,
    Shelf,
    Values,
    directory,
    tag_of,
)
from sync_server.mail.messages import TEMPLATES, compose, one_line, sender_of

_SAMPLE: Values = {"app": "Sync Server", "name": "Ann", "email": "ann@example.com", "pin": "012345", "minutes": 15}


def problems(config: Config) -> list[str]:
    """What is wrong with the sender's address and the operator's templates, one line each; renders every template."""
    found = [f"email: {problem}" for problem in _try(config, Letter(FALLBACK, "Subject", "Text", "<p>Text</p>"))]
    own = directory(config)
    if own is None:
        return found
    if not own.is_dir():
        return [*found, f"email.templates: {own}: there is no such directory"]
    for folder in sorted(path for path in own.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found += [f"email.templates: {problem}" for problem in _in_folder(config, own, folder)]
    return found


async def check_smtp(config: Config) -> str | None:
    """Connect, log in and ask whether email.fromEmail may send; sends nothing.

    None if all is well or no SMTP server is configured; else one line of what is wrong and how to mend it.
    """
    email = config.email
    if not email.smtp:
        return None
    try:
        client = await smtp.connect(email)
        try:
            await _ask_sender(client, email)
        finally:
            await smtp.leave(client)
    except Away as exc:
        return f"email: {one_line(email.smtp)}, port {email.port}: {exc.reason}: {exc.hint}"
    return None


async def _ask_sender(client: aiosmtplib.SMTP, email: Email) -> None:
    sender = sender_of(email).addr_spec
    options = [] if sender.isascii() else ["SMTPUTF8"]
    try:
        async with asyncio.timeout(email.timeout):
            await client.mail(sender, options=options, encoding="utf-8")
            await client.rset()
    except aiosmtplib.SMTPSenderRefused as exc:
        raise smtp.sender_refused(exc) from None
    except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
        raise Away(reason(exc), "the server does not take mail") from None


def _in_folder(config: Config, own: Path, folder: Path) -> list[str]:
    found = []
    tag = tag_of(folder.name)
    if tag is None:
        return [f"{folder}: the name is no language, such as fr or pt-BR"]
    shelf = Shelf(own, BUILT_IN)
    for template in TEMPLATES:
        files = shelf.find(template, tag)
        names = [f"{template}.{part}" for part in PARTS]
        strangers = sorted(path.name for path in folder.glob(f"{template}.*") if path.name not in names)
        found += [f"{folder / stranger}: is not used; a letter is {', '.join(names)}" for stranger in strangers]
        if template != "pin" and not any(files):
            continue  # that language has none: mails of this kind go out in another one
        if missing := [name for name, file in zip(names, files, strict=True) if file is None]:
            found.append(f"{folder}: {', '.join(missing)} is missing, so mails go out in another language")
            continue
        try:
            subject, text, html = (file.render(_SAMPLE) for file in files if file)
        except BrokenTemplate as exc:
            found.append(one_line(str(exc)))
            continue
        for name, content in ((names[1], text), (names[2], html)) if template == "pin" else ():
            if str(_SAMPLE["pin"]) not in content:
                found.append(f"{folder / name}: does not show {{{{ pin }}}}")
        found += [f"{folder}: {problem}" for problem in _try(config, Letter(tag, subject, text, html))]
    return found


def _try(config: Config, letter: Letter) -> list[str]:
    try:
        compose(UUID(int=0), config.email, "Ann", "ann@example.com", letter)
    except MailFailure as failure:
        return [failure.reason]
    except ValueError as exc:
        return [f"cannot be made a mail: {exc}"]
    return []
