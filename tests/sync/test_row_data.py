"""G9: rowData comes back as the same JSON value. Compared as JSON text, so that no parser of ours hides a change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from device import Device
from users import User, post_raw
from wire import Answer, Request, compress

VALUES = {
    "U+0000": r'"a\u0000b"',
    "a high surrogate alone": r'"\ud83d"',
    "a low surrogate alone": r'"\ude00 and text"',
    "surrogates in the wrong order": r'"\ude00\ud83d"',
    "an escaped pair": r'"\ud83d\ude00"',
    "a pair beside a lone one": r'"\ud83d\ud83d\ude00"',
    "a backslash before the letters of a surrogate": r'"\\ud83d"',
    "an emoji in UTF-8": '"😀"',
    "a noncharacter": r'"\ufdd0\ufffe\uffff"',
    "a noncharacter in UTF-8 beside a lone surrogate": '"\ufdd0\\ud83d"',
    "controls": r'"\b\f\n\r\t\u001f\u007f\u0080\u2028\u2029"',
    "escapes that need none": r'"\/\u0041"',
    "combining marks, both forms": '"e\u0301 \u00e9"',
    "right to left": '"שלום \u202e"',
    "beyond 2^53": "9007199254740993",
    "beyond 2^64": "18446744073709551617",
    "a hundred digits": "1" * 100,
    "negative beyond 2^63": "-9223372036854775809",
    "1.0": "1.0",
    "1e5": "1e5",
    "-0.0": "-0.0",
    "-0": "-0",
    "0.1": "0.1",
    "seventeen digits": "0.30000000000000004",
    "many digits": "3.141592653589793238462643383279",
    "beyond a double": "1e400",
    "below a double": "1e-400",
    "true": "true",
    "false": "false",
    "an empty string": '""',
    "an empty object": "{}",
    "an empty list": "[]",
    "nested": '{"a":[{"b":[[],{}]},null,{"c":{"d":{}}}]}',
    "base64": '"AAECAwQFBgcICQ=="',
    "SQL": '"\'; DROP TABLE sync.rows; --"',
    "a percent sign": '"%s %(a)s %%"',
    "braces": '"{}{0}$1$$"',
    "a newline that is no escape, within the JSON": "[ 1 ,\n\t2 ]",
}


def push(device: Device, row_data: str, *, guid: str = '"1"', gzipped: bool = False) -> Answer:
    """A sync that pushes one row whose JSON text is this very text."""
    device.pull([])
    change = f'{{"operation":"U","rowguid":{guid},"tablename":"todos","clientdate":5,"rowData":{row_data}}}'
    body = f'{{"clientId":"{device.client_id}","lastSync":0,"isPartial":0,"changes":[{change}]}}'.encode()
    path = f"/push/{device.realm}/{device.client_id}"
    if not gzipped:
        return post_raw(device, path, body)
    device.fetch_token()
    return device.send(Request(path, compress(body), f"Bearer {device.state.access}", gzipped=True))


def pulled(device: Device) -> Any:
    """The rowData of the only row of a pull, with numbers as they are written."""
    device.fetch_token()
    body = json.dumps({"clientId": device.client_id, "lastSync": 0, "changes": []}).encode()
    answer = post_raw(device, f"/pull/{device.realm}/{device.client_id}", body)
    assert answer.status == 200, answer
    [row] = parse(answer.body.decode())["data"]
    return row["rowData"]


def parse(text: str) -> Any:
    """JSON whose numbers stay the text that they are."""
    return json.loads(text, parse_int=lambda digits: ("number", digits), parse_float=lambda digits: ("number", digits))


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("name", VALUES)
def test_g9_row_data_comes_back_as_the_same_value(user: User, name: str, gzipped: bool) -> None:
    row_data = f'{{"rowguid":"1","value":{VALUES[name]},"null":null}}'
    assert push(user.device(), row_data, gzipped=gzipped).status == 200
    assert user.rows()["todos", "1"]["row_data"] == row_data
    assert pulled(user.device()) == parse(row_data)


@pytest.mark.parametrize("name", [name for name, value in VALUES.items() if value.startswith('"')])
def test_g9_names_of_columns_come_back_as_they_are(user: User, name: str) -> None:
    row_data = f"{{{VALUES[name]}:1}}"
    assert push(user.device(), row_data).status == 200
    assert pulled(user.device()) == parse(row_data)


def test_g9_all_values_of_one_row_come_back(user: User) -> None:
    members = ",".join(f'"{number}":{value}' for number, value in enumerate(VALUES.values()))
    assert push(user.device(), f"{{{members}}}").status == 200
    assert pulled(user.device()) == parse(f"{{{members}}}")


def test_g9_huge_strings_come_back(user: User) -> None:
    row_data = json.dumps({"small": "x", "huge": "äöü€😀" * 400_000}, ensure_ascii=False)
    assert push(user.device(), row_data, gzipped=True).status == 200
    assert pulled(user.device()) == json.loads(row_data)


def test_g9_many_columns_and_deep_nesting_come_back(user: User) -> None:
    deep = "[" * 200 + "]" * 200
    row_data = f'{{"deep":{deep},' + ",".join(f'"column {number}":{number}.0' for number in range(5000)) + "}"
    assert push(user.device(), row_data).status == 200
    assert pulled(user.device()) == parse(row_data)


@pytest.mark.parametrize(
    "guid",
    [
        "0F8FAD5B-D9CB-469F-A165-70867728950E",  # upper case
        "0f8fad5b-D9CB-469f-a165-70867728950e",
        "not a uuid at all",
        "g" * 255,
        "é" * 255,
        "😀" * 255,
        " spaces ",
        "",
        "'\"\\%_;",
        'a,b}{"c"',
        "NULL",
        "\x01\x7f",
    ],
)
def test_g9_a_rowguid_comes_back_exactly_as_it_was_sent(user: User, guid: str) -> None:
    phone, tablet = user.device(), user.device()
    phone.insert("todos", guid, {"title": "milk"})
    phone.sync()
    tablet.sync()
    assert tablet.state.rows == {("todos", guid): {"title": "milk"}}
    phone.delete("todos", guid)
    phone.sync()
    tablet.sync()
    assert not tablet.state.rows


def test_g9_rowguids_that_differ_in_case_name_different_rows(user: User) -> None:
    phone, tablet = user.device(), user.device()
    for guid in ("abc", "ABC", "Abc"):
        phone.insert("todos", guid, {"title": guid})
    phone.sync()
    tablet.sync()
    assert tablet.state.rows == phone.state.rows
    assert len(tablet.state.rows) == 3


def test_g9_a_tablename_may_have_255_characters_too(user: User) -> None:
    name = "Tâble" * 51
    phone, tablet = user.device(tables=[name]), user.device(tables=[name])
    phone.insert(name, "1", {"title": "milk"})
    phone.sync()
    tablet.sync()
    assert tablet.state.rows == {(name, "1"): {"title": "milk"}}


@pytest.mark.parametrize("name", ["a high surrogate alone", "U+0000", "1.0", "beyond 2^53"])
def test_g9_a_version_that_lost_is_kept_as_it_was(user: User, name: str) -> None:
    row_data = f'{{"value":{VALUES[name]}}}'
    winner = user.device(clock=lambda: 10)
    winner.insert("todos", "1", {"title": "milk"})
    winner.sync()
    assert push(user.device(), row_data).status == 200
    assert [line["row_data"] for line in user.overridden()] == [row_data]
