"""What makes a figure worth something: that the answers are right."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from connection import Answer, WrongAnswer
from samples import TABLE, Row


class _PulledRow(msgspec.Struct):
    operation: str
    tablename: str
    rowguid: str
    clientdate: int
    rowData: msgspec.Raw  # noqa: N815 - the wire's name


class _Pulled(msgspec.Struct):
    lastSync: int  # noqa: N815
    data: list[_PulledRow]


def pulled(answer: Answer, wanted: Sequence[Row]) -> None:
    """That a pull's answer is these rows, in this order, as they were pushed. Raises WrongAnswer."""
    try:
        document = msgspec.json.decode(answer.text(), type=_Pulled)
    except msgspec.MsgspecError as exc:
        raise WrongAnswer(f"no answer of a pull: {exc}") from exc
    found = [(row.operation, row.tablename, row.rowguid, row.clientdate, bytes(row.rowData)) for row in document.data]
    if found != [(row.operation, TABLE, row.guid, row.date, row.data.encode()) for row in wanted]:
        raise WrongAnswer(f"of {len(wanted)} rows {len(found)} came, or in another order, or not as they were pushed")
