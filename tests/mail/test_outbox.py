"""Without an SMTP server mails become files, so that a first try needs none."""

from __future__ import annotations

import asyncio
import stat
from email import policy
from email.parser import BytesParser
from pathlib import Path

from mail.conftest import House, Logged, Queue


def test_a_mail_becomes_a_file_for_its_owner_alone(house: House, queue: Queue, logged: Logged) -> None:
    queued = queue.add()

    async def work() -> None:
        async with house.mailer(house.config()) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    outbox = house.base / "data" / "outbox"
    [path] = outbox.iterdir()
    assert path.name.endswith(f"Z-{queued.id}.eml")
    assert stat.S_IMODE(outbox.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    message = BytesParser(policy=policy.default).parsebytes(path.read_bytes())
    assert message["to"].addresses[0].addr_spec == queued.email
    assert f"\r\n    {queued.pin}\r\n" in path.read_bytes().decode()  # readable as it is
    [entry] = logged.of("mail_written")
    assert entry["path"] == str(path)
    assert "email.smtp" in entry["hint"]


def test_an_outbox_that_cannot_be_written_keeps_the_mail(house: House, queue: Queue, logged: Logged) -> None:
    queued = queue.add()
    data = house.base / "data"
    data.write_text("in the way")

    async def work() -> None:
        async with house.mailer(house.config()) as running:
            await running.until(lambda: (queue.row(queued) or {})["last_error"])
            data.unlink()
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    assert len(list((data / "outbox").iterdir())) == 1
    [entry, *_] = logged.of("mail_postponed")
    assert entry["error"] == "NotADirectoryError, errno 20"
    assert str(data / "outbox") in entry["hint"]


def test_an_own_template_is_used(house: House, queue: Queue) -> None:
    queue.add(language="fr")
    directory = house.base / "mail templates" / "fr"
    directory.mkdir(parents=True)
    for part in ("subject.txt", "txt", "html"):
        (directory / f"pin.{part}").write_text("Bonjour {{ name }} {{ pin }}")

    async def work() -> None:
        async with house.mailer(house.config(templates="mail templates")) as running:
            await running.until(lambda: not queue.mails())

    asyncio.run(work())
    [path] = Path(house.base / "data" / "outbox").iterdir()
    assert "Bonjour Ann" in path.read_text()
