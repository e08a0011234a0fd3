"""What makes a figure worth something: that the answers are right."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import msgspec

import filling
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


def filled(answer: Answer, count: int) -> None:
    """That a pull's answer, too big to be read at once, is the rows that `filling.fill` has made. Raises WrongAnswer."""
    found = 0
    for rows in map(_ROWS.decode, _pieces(answer)):
        for number, row in enumerate(rows, found):
            if (row.rowguid, bytes(row.rowData)) != (f"row-{number}", filling.data(number).encode()):
                raise WrongAnswer(
                    f"row {number} of {count} is not what was stored: {row.rowguid} {bytes(row.rowData)!r}"
                )
        found += len(rows)
    if found != count:
        raise WrongAnswer(f"{found} rows came, not {count}")


_ROWS = msgspec.json.Decoder(list[_PulledRow])
_AT_ONCE = 1024 * 1024


def _pieces(answer: Answer) -> Iterator[bytes]:
    """The rows of a pull's answer as JSON arrays of about a megabyte. Rows must hold no objects."""
    inflated = zlib.decompressobj(wbits=31)
    left, _, rest = inflated.decompress(answer.body, _AT_ONCE).partition(b'"data":[')
    if not left.startswith(b"{"):
        raise WrongAnswer("no answer of a pull")
    while True:
        more = inflated.decompress(inflated.unconsumed_tail, _AT_ONCE)
        if not more:
            break
        rest += more
        end = rest.rfind(b"},{") + 1
        if end:
            yield b"[" + rest[:end] + b"]"
            rest = rest[end + 1 :]
    if not rest.endswith(b"]}"):
        raise WrongAnswer("the answer is cut off")
    yield b"[" + rest[:-1]
