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
    message = 'The data of this version was not kept: the realm\'s history is not "full"'


class RowChanged(Refusal):
    status = 412
    code = "row_changed"
    message = "The row has changed since it was looked at"
