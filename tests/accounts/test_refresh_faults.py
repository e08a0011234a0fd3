"""Whatever gets lost or comes twice: a device that keeps the tokens of the last answer that arrived is never stranded."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.calls import Calls
from accounts.test_refresh import id_of, pass_minutes
from users import Connection

STEPS = st.lists(st.sampled_from(["refresh", "lost", "twice", "call", "time passes"]), max_size=14)


@settings(max_examples=30)
@given(STEPS)
def test_a_device_that_loses_answers_is_never_refused(calls: Calls, database: Connection, steps: list[str]) -> None:
    phone = calls.registered()
    held = calls.login(phone)
    for step in steps:
        if step == "time passes":
            pass_minutes(database, phone)
        elif step == "call":
            assert calls.cancel(phone, held.access).error == "ok"
        else:
            answers = [calls.refresh(held.refresh) for _ in range(2 if step == "twice" else 1)]
            assert {answer.error for answer in answers} == {"ok"}
            held = held if step == "lost" else answers[-1]


@settings(max_examples=30)
@given(STEPS)
def test_of_all_tokens_ever_issued_the_last_two_are_valid_and_any_other_ends_the_session(
    calls: Calls, database: Connection, steps: list[str]
) -> None:
    phone = calls.registered()
    held = calls.login(phone)
    issued = [held.refresh]
    for step in steps:
        if step == "time passes":
            pass_minutes(database, phone)
        elif step != "call":
            answer = calls.refresh(held.refresh)
            held = held if step == "lost" else answer
            if id_of(answer.refresh) != id_of(issued[-1]):
                issued.append(answer.refresh)
    for old in issued[:-2]:
        assert calls.refresh(old).error == "token_rejected"
        assert calls.refresh(held.refresh).error == "token_rejected"
        assert calls.cancel(phone, held.access).error == "token_rejected"
    assert calls.refresh(calls.login(phone).refresh).error == "ok"
