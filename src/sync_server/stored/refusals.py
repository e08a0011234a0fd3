"""What an operator is told no to, about what is stored."""

from __future__ import annotations

from sync_server.errors import Refusal


class RowNotFound(Refusal):
    status = 404
    code = "row_not_found"
    message = "There is no such row"


class VersionNotFound(Refusal):
    status = 404
    code = "version_not_found"
    message = "The row has no such version, or it has been pruned"


class VersionNotKept(Refusal):
    status = 409
    code = "version_not_kept"
    message = 'The data of this version is not kept: the realm\'s history is not "full", or retention has removed it'


class RowChanged(Refusal):
    status = 412
    code = "row_changed"
    message = "The row has changed since it was looked at"


class UserNotFound(Refusal):
    status = 404
    code = "user_not_found"
    message = "There is no such user in this realm"


class DeviceNotFound(Refusal):
    status = 404
    code = "client_not_found"
    message = "There is no such device in this realm"


class ChangeNotFound(Refusal):
    status = 404
    code = "change_not_found"
    message = "There is no such change among those that are kept aside, or it has been pruned"


class ChangeNotKept(Refusal):
    status = 409
    code = "change_not_kept"
    message = "The change itself was not kept, for limits.kept_aside was used up; it is on the device"


class StillUnstorable(Refusal):
    """The message says what is wrong with it."""

    status = 409
    code = "still_unstorable"
    message = "The change still cannot be stored"


class TooLong(Refusal):
    """The message says how long it may be."""

    status = 422
    code = "range_too_long"
    message = "Ask for a shorter time"
