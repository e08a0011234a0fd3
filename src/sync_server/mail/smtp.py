"""Sending over SMTP."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

import aiosmtplib

from sync_server.config import Email
from sync_server.mail.failures import Away, Refused, Undeliverable, reason
from sync_server.mail.messages import Message

_TLS_PORT = 465
_CLOSING = 421
_PERMANENT = range(500, 600)
_CLOSING_ROUNDS = 4
"""One to close it, one more to notice what has come, and two where something is still to be sent."""
_CLOSING_PAUSE = 0.005
"""Seconds: the end of TLS is an exchange with the server, which needs time and not only rounds."""
_QUIT_TIMEOUT = 2.0
_ERRORS = (aiosmtplib.SMTPException, OSError, ValueError)
"""What a server or network can cause; ValueError: a host name that is none, a login that cannot be encoded."""


_HINTS: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLError, "the server does not speak TLS on this port; set email.security to starttls, or email.port to 465"),
    (
        TimeoutError,
        "the server does not answer; check email.smtp, email.port, firewalls, and on port 465 email.security",
    ),
    (socket.gaierror, "there is no such host; check email.smtp"),
    (UnicodeError, "there cannot be such a host; check email.smtp"),
    (ConnectionRefusedError, "nothing listens there; check email.smtp and email.port"),
)


class Session:
    """A connection to the SMTP server: opened with the first mail, used for the following ones, opened anew when lost."""

    def __init__(self, email: Email) -> None:
        self._email = email
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, message: Message) -> None:
        """Hand over the message. Connecting and sending may take `email.timeout` seconds each.

        Raises Away when no mail would go out, Refused or Undeliverable when this one does not.
        """
        used = self._client is not None and self._client.is_connected
        if self._client is None or not used:
            self._client = await connect(self._email)
        options = ["SMTPUTF8"] if message.utf8 else []
        try:
            async with asyncio.timeout(self._email.timeout):
                await self._client.sendmail(message.sender, message.recipient, message.content, mail_options=options)
        except aiosmtplib.SMTPNotSupported:
            raise Undeliverable("the SMTP server does not take addresses beyond ASCII (SMTPUTF8)") from None
        except aiosmtplib.SMTPSenderRefused as exc:
            if not (used and exc.code == _CLOSING):
                raise sender_refused(exc) from None
            self._client.close()
            await self.send(message)  # some servers take only so many mails on a connection
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPResponseException) as exc:
            raise Refused(reason(exc), permanent=_is_permanent(exc)) from None
        except _ERRORS as exc:
            self._client.close()  # whatever the server still says belongs to this mail
            raise Refused(reason(exc)) from None

    async def close(self) -> None:
        """Take leave of the server, if it listens."""
        if self._client is not None:
            await leave(self._client)
            self._client = None


async def connect(email: Email) -> aiosmtplib.SMTP:
    """A connection on which mails can be sent, encrypted and logged in as configured.

    Certificates are checked against the system's authorities, or those of SSL_CERT_FILE. Raises Away.
    """
    client = _client(email)
    try:
        async with asyncio.timeout(email.timeout):
            await client.connect()
            await _log_in(client, email)
    except BaseException as exc:
        await _hang_up(client)
        if isinstance(exc, _ERRORS):
            raise _away(exc) from None
        raise
    return client


def _client(email: Email) -> aiosmtplib.SMTP:
    try:
        return aiosmtplib.SMTP(
            hostname=email.smtp,
            port=email.port,
            use_tls=_uses_tls(email),
            start_tls=_starts_tls(email),
            timeout=None,  # one limit for all of it, in connect(): a server that answers slowly every time hangs too
        )
    except ValueError as exc:  # a host name that cannot be one
        raise _away(exc) from None


async def leave(client: aiosmtplib.SMTP) -> None:
    with suppress(*_ERRORS):
        async with asyncio.timeout(_QUIT_TIMEOUT):
            await client.quit()
    await _hang_up(client)


async def _hang_up(client: aiosmtplib.SMTP) -> None:
    """Close the connection, and give the event loop the rounds in which it closes the socket: they may be its last ones."""
    client.close()
    for _ in range(_CLOSING_ROUNDS):
        await asyncio.sleep(_CLOSING_PAUSE)


def sender_refused(exc: aiosmtplib.SMTPSenderRefused) -> Away:
    return Away(reason(exc), "the server does not let this login send from email.fromEmail")


async def _log_in(client: aiosmtplib.SMTP, email: Email) -> None:
    try:
        if email.username:
            await client.login(email.username, email.password.reveal())
    except aiosmtplib.SMTPAuthenticationError as exc:
        hint = "the server refuses email.username or email.password; some providers want a password made for apps"
        raise Away(reason(exc), hint) from None
    except aiosmtplib.SMTPException as exc:
        if type(exc) is not aiosmtplib.SMTPException:  # what the library says when there is no way to log in
            raise
        hint = "the server offers no login; leave email.username empty, or set email.security to starttls or tls"
        raise Away("login not offered", hint) from None


def _uses_tls(email: Email) -> bool:
    return email.security == "tls" or (email.security == "auto" and email.port == _TLS_PORT)


def _starts_tls(email: Email) -> bool | None:
    """True: demanded; None: taken where offered; False: not used."""
    if email.security == "starttls":
        return True
    if email.security == "auto" and not _uses_tls(email):
        return True if email.username else None
    return False


def _is_permanent(exc: aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPResponseException) -> bool:
    refusals = exc.recipients if isinstance(exc, aiosmtplib.SMTPRecipientsRefused) else [exc]
    return all(refusal.code in _PERMANENT for refusal in refusals)


def _away(exc: BaseException) -> Away:
    if type(exc) is aiosmtplib.SMTPException:  # what the library says when STARTTLS is demanded but not offered
        return Away("STARTTLS not offered", "check email.port, or set email.security to tls or plain")
    cause = exc.__cause__ if isinstance(exc, aiosmtplib.SMTPConnectError) and exc.__cause__ else exc
    if isinstance(cause, ssl.SSLCertVerificationError):
        hint = (
            f"the server's certificate is not trusted ({cause.verify_message}); email.smtp must be the name in it, and a "
            "certificate authority of one's own is made known by the environment variable SSL_CERT_FILE"
        )
        return Away(reason(exc), hint)
    hints = (hint for kind, hint in _HINTS if isinstance(cause, kind))
    return Away(reason(exc), next(hints, "check email.smtp, email.port and email.security"))
