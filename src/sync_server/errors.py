"""Every refusal of the server; answers.py makes answers of them.

An error answer is `{"code": <status>, "error": "<name>", "message": "…"}` (G11). `message` is shown by the apps and must
help a person; `error` is for programs and never changes. Some clients match parts of `message`: those are marked. Where a
limit of the configuration was met, `"limit": {"name": "<its key>", "most": <its value>}` says which.
"""

from __future__ import annotations

from typing import ClassVar

from sync_server.complaint import Complaint
from sync_server.limits import Limit


class Refusal(Exception):
    """What the server says no to. `message` may be given where the class's own says too little."""

    status: ClassVar[int]
    code: ClassVar[str]
    message: str

    def __init__(
        self, message: str | None = None, *, retry_after: int | None = None, limit: Limit | None = None
    ) -> None:
        self.message = message if message is not None else type(self).message
        self.limit = limit
        """The limit that was met, where an operator can raise it."""
        self.retry_after = retry_after
        """Seconds after which the same call may succeed, for the `Retry-After` header."""
        super().__init__(self.message)


class MalformedBody(Refusal):
    status = 400
    code = "malformed_body"
    message = "The body is not valid JSON"


class InvalidBody(Refusal):
    """JSON, but not of the shape that the call takes; the message names the field's path."""

    status = 400
    code = "invalid_body"
    message = "The body does not have the expected form"


class MalformedEncoding(Refusal):
    """sync_client repeats the call uncompressed after this one."""

    status = 400
    code = "malformed_encoding"
    message = "The body is not valid gzip"


class ClientMismatch(Refusal):
    status = 400
    code = "client_mismatch"
    message = "The clientId of the body or path is not that of the token"


class TokenRejected(Refusal):
    status = 403  # not 401: 403 is what makes sync_client refresh its token
    code = "token_rejected"
    message = "Wrong or expired token"


class ScrapeRejected(Refusal):
    status = 401
    code = "scrape_rejected"
    message = "The token of metrics is needed (Authorization: Bearer …)"


class LoginRejected(Refusal):
    """One message for an unknown address, a wrong password and a foreign client: none of them can be told apart."""

    status = 403
    code = "login_rejected"
    message = "Wrong username or password, or unknown client"


class PasswordRejected(Refusal):
    status = 403
    code = "password_rejected"
    message = "Wrong username or password"


class PinRejected(Refusal):
    status = 403
    code = "pin_rejected"
    message = "The PIN is wrong or has expired"


class UnknownRealm(Refusal):
    status = 404
    code = "unknown_realm"
    message = "There is no such realm on this server"


class UserNotFound(Refusal):
    status = 404
    code = "user_not_found"
    message = "There is no such user in this realm"


class UserInactive(Refusal):
    status = 409
    code = "user_inactive"
    message = "The account is locked; unlock it first"


class EmailTaken(Refusal):
    status = 409
    code = "email_taken"
    message = "The email is already registered"  # matched by clients


class EmailUnknown(Refusal):
    status = 409  # neither 403 nor 404: clients give these a meaning of their own
    code = "email_unknown"
    message = "The email is not registered"  # "email is not registered" is matched by clients


class AccountsNotMade(Refusal):
    """The realm takes no new accounts from devices; none of the parts that clients match stands in the message."""

    status = 422  # neither 403 nor 404: clients give these a meaning of their own


class InvitationOnly(AccountsNotMade):
    code = "invitation_only"
    message = "Accounts are by invitation here: ask whoever runs this server for one"


class RegistrationClosed(AccountsNotMade):
    code = "registration_closed"
    message = "This server takes no new accounts"


class RegistrationRejected(Refusal):
    status = 409
    code = "registration_rejected"
    message = "Wrong username or password"  # matched by clients


class ClientTaken(Refusal):
    status = 409
    code = "client_taken"
    message = "The clientId is in use by another account"


class AlreadySyncing(Refusal):
    status = 409
    code = "already_syncing"
    message = "The client is already syncing, try again later"  # "already syncing" is matched by clients


class PullFirst(Refusal):
    status = 409
    code = "pull_first"
    message = "You should pull before pushing: there is no sync under way that this push belongs to"


class ReadOnly(Refusal):
    """The device keeps its changes, and goes on pulling."""

    status = 422  # neither 403, which has clients log in again, nor 404
    code = "read_only"
    message = "Your account may read but not change anything here; your changes are kept on this device"


class BodyTooLarge(Refusal):
    status = 413
    code = "body_too_large"
    message = "The body is too large"


class TooManyRows(Refusal):
    """The client cannot send less at once, so raising the limit is what helps."""

    status = 413
    code = "too_many_rows"
    message = "There are too many changes in one call"


class TooManyClients(Refusal):
    status = 422  # neither 403 nor 404: clients give these a meaning of their own
    code = "too_many_clients"
    message = "The account has as many devices as it may have; remove one first"


class TooManySyncs(Refusal):
    status = 503
    code = "too_many_syncs"
    message = "Too many devices are syncing at the moment, try again in a minute"


class UnsupportedMediaType(Refusal):
    status = 415
    code = "unsupported_media_type"
    message = "The body must be JSON (Content-Type: application/json), plain or with Content-Encoding: gzip"


class TooManyAttempts(Refusal):
    status = 429
    code = "too_many_attempts"
    message = "Too many attempts, try again later"


class BodyStalled(Refusal):
    status = 408
    code = "body_stalled"
    message = "The body of the request did not arrive in time"


class Unavailable(Refusal, Complaint):
    """The realm's database does not answer, or the server has more to do than it can take on."""

    status = 503
    code = "unavailable"
    message = "The server cannot answer at the moment, try again later"
