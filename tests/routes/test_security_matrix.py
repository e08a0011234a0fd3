"""G8: what is not this client's own access token opens none of its calls, changes nothing and learns nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from routes.calls import TOKEN_CALLS, Http, basic, bearer
from routes.forgery import claims, sign, unsigned, with_claims, with_signature_flipped
from routes.refusals import refusal
from routes.world import World

REJECTED = {"code": 403, "error": "token_rejected", "message": "Wrong or expired token"}
MISMATCH = {
    "code": 400,
    "error": "client_mismatch",
    "message": "The clientId of the body or path is not that of the token",
}

Forgery = Callable[[World], str | None]


def _claims(world: World) -> dict[str, Any]:
    return claims(world.phone.state.access)


def _signed(world: World, **changed: object) -> str:
    """Such a token as the server would make itself."""
    return sign({**_claims(world), **changed}, world.keys.access)


def _without(world: World, name: str) -> str:
    return sign({key: value for key, value in _claims(world).items() if key != name}, world.keys.access)


ACCESS: dict[str, tuple[int, Forgery]] = {
    "no token": (403, lambda _: None),
    "an empty header": (403, lambda _: ""),
    "the scheme alone": (403, lambda _: "Bearer"),
    "garbage": (403, lambda _: "Bearer garbage"),
    "garbage of three parts": (403, lambda _: "Bearer e30.e30.e30"),
    "the token without a scheme": (403, lambda w: str(w.phone.state.access)),
    "Basic with the right password": (403, lambda w: basic(w.phone)),
    "Basic with the token": (403, lambda w: f"Basic {w.phone.state.access}"),
    "another user's token": (400, lambda w: bearer(w.stranger)),
    "the token of the user's other client": (400, lambda w: bearer(w.tablet)),
    "the other realm's token of the same user and client": (403, lambda w: bearer(w.abroad)),
    "expired": (403, lambda w: "Bearer " + _signed(w, exp=int(time.time()) - 1)),
    "without an end": (403, lambda w: "Bearer " + _without(w, "exp")),
    "without a realm": (403, lambda w: "Bearer " + _without(w, "realm")),
    "without a session": (403, lambda w: "Bearer " + _without(w, "ses")),
    "tampered payload": (403, lambda w: "Bearer " + with_claims(w.tablet.state.access, cid=w.phone.client_id)),
    "tampered end": (403, lambda w: "Bearer " + with_claims(w.phone.state.access, exp=9**12)),
    "tampered signature": (403, lambda w: "Bearer " + with_signature_flipped(w.phone.state.access)),
    "signature of another token": (
        403,
        lambda w: "Bearer " + ".".join(bearer(w.phone)[7:].split(".")[:2] + bearer(w.tablet).split(".")[2:]),
    ),
    "no signature": (403, lambda w: bearer(w.phone).rpartition(".")[0] + "."),
    "alg none": (403, lambda w: "Bearer " + unsigned(_claims(w))),
    "alg nOnE": (403, lambda w: "Bearer " + unsigned(_claims(w), "nOnE")),
    "alg none with a signature": (403, lambda w: "Bearer " + sign(_claims(w), w.keys.access, "none")),
    "HS512": (403, lambda w: "Bearer " + sign(_claims(w), w.keys.access, "HS512", "sha512")),
    "HS384": (403, lambda w: "Bearer " + sign(_claims(w), w.keys.access, "HS384", "sha384")),
    "RS256 with the key as a secret": (403, lambda w: "Bearer " + sign(_claims(w), w.keys.access, "RS256")),
    "signed with the refresh secret": (403, lambda w: "Bearer " + sign(_claims(w), w.keys.refresh)),
    "signed with nothing": (403, lambda w: "Bearer " + sign(_claims(w), b"")),
    "the refresh token": (403, lambda w: f"Bearer {w.phone.state.refresh}"),
    "the refresh token's claims, signed as access": (
        403,
        lambda w: "Bearer " + sign(claims(w.phone.state.refresh), w.keys.access),
    ),
    "of a user who does not own the client": (
        403,
        lambda w: "Bearer " + _signed(w, sub=claims(w.stranger.state.access)["sub"]),
    ),
    "of an earlier session": (403, lambda w: "Bearer " + _signed(w, ses=_claims(w)["ses"] - 1)),
    "of a later session": (403, lambda w: "Bearer " + _signed(w, ses=_claims(w)["ses"] + 1)),
    "of another epoch": (403, lambda w: "Bearer " + _signed(w, epoch=_claims(w)["epoch"] + 1)),
    "claims that are a list": (403, lambda w: "Bearer " + sign(["cid", w.phone.client_id], w.keys.access)),
    "claims of wrong types": (403, lambda w: "Bearer " + _signed(w, sub=None, ses="x")),
    "an epoch beyond all numbers": (403, lambda w: "Bearer " + _signed(w, epoch=10**30)),
    "a session beyond all numbers": (403, lambda w: "Bearer " + _signed(w, ses=2**63)),
}

REFRESH: dict[str, Forgery] = {
    "nothing": lambda _: "",
    "garbage": lambda _: "garbage",
    "the access token": lambda w: w.phone.state.access,
    "the access token's claims, signed as refresh": lambda w: sign(_claims(w), w.keys.refresh),
    "the other realm's": lambda w: w.abroad.state.refresh,
    "expired": lambda w: sign({**claims(w.phone.state.refresh), "exp": int(time.time()) - 1}, w.keys.refresh),
    "tampered payload": lambda w: with_claims(w.tablet.state.refresh, cid=w.phone.client_id),
    "tampered signature": lambda w: with_signature_flipped(w.phone.state.refresh),
    "alg none": lambda w: unsigned(claims(w.phone.state.refresh)),
    "HS512": lambda w: sign(claims(w.phone.state.refresh), w.keys.refresh, "HS512", "sha512"),
    "signed with the access secret": lambda w: sign(claims(w.phone.state.refresh), w.keys.access),
    "of a user who does not own the client": lambda w: sign(
        {**claims(w.phone.state.refresh), "sub": claims(w.stranger.state.refresh)["sub"]}, w.keys.refresh
    ),
    "of another session": lambda w: sign({**claims(w.phone.state.refresh), "ses": 7}, w.keys.refresh),
    "of another epoch": lambda w: sign({**claims(w.phone.state.refresh), "epoch": 7}, w.keys.refresh),
}


@pytest.fixture(scope="module")
def target(new_world: Callable[[], World]) -> World:
    """One world for the whole table: nothing in it ever changes it."""
    return new_world()


@pytest.mark.parametrize("call", TOKEN_CALLS)
def test_g8_no_other_token_will_do(http: Http, target: World, call: str) -> None:
    made = TOKEN_CALLS[call](target.phone)
    before = target.snapshot()
    for token, (status, forge) in ACCESS.items():
        answer = http.post(made.path, made.body, forge(target))
        assert answer.status_code == status, token
        refusal(answer, status)
        # one answer whatever is wrong: nothing can be learned from the difference
        assert answer.json() == (REJECTED if status == 403 else MISMATCH), token
        told = [secret for secret in target.secrets if secret in answer.text + str(answer.headers)]
        assert not told, token
    assert target.snapshot() == before, "by one of them"


def test_g8_no_other_refresh_token_will_do(http: Http, target: World) -> None:
    before = target.snapshot()
    for token, forge in REFRESH.items():
        answer = http.post(f"/login/{target.phone.realm}/refreshToken", {"refreshToken": forge(target)})
        assert answer.status_code == 403, token
        refusal(answer, 403)
        assert answer.json() == REJECTED, token
    assert target.snapshot() == before, "by one of them"


@pytest.mark.parametrize("whose", ["stranger", "tablet"])
@pytest.mark.parametrize("call", ["pull", "push"])
@pytest.mark.parametrize("body", ["its own", "nobody"])
def test_g8_a_client_that_only_the_path_names_is_not_acted_for(
    http: Http, target: World, call: str, whose: str, body: str
) -> None:
    intruder = getattr(target, whose)
    sent = intruder.body([], 0, 0)
    if body == "nobody":
        del sent["clientId"]
    before = target.snapshot()
    answer = http.post(f"/{call}/{intruder.realm}/{target.phone.client_id}", sent, bearer(intruder))
    refusal(answer, 400)
    assert answer.json() == MISMATCH
    assert target.snapshot() == before


@pytest.mark.parametrize("call", TOKEN_CALLS)
def test_the_same_calls_succeed_with_the_clients_own_token(http: Http, world: World, call: str) -> None:
    """So the table above refuses for the token's sake."""
    made = TOKEN_CALLS[call](world.phone)
    before = world.snapshot()
    answer = http.post(made.path, made.body, f"Bearer {_signed(world)}")  # forged as the others are, but right
    assert answer.status_code == (206 if "part" in call else 200), answer.text
    if not call.startswith("pull") or "part" in call:
        assert world.snapshot() != before


def test_a_refresh_token_forged_right_is_taken(http: Http, world: World) -> None:
    token = sign(claims(world.phone.state.refresh), world.keys.refresh)
    assert http.post(f"/login/{world.phone.realm}/refreshToken", {"refreshToken": token}).status_code == 200
