"""Mails: a conflict or a lost connection at any statement of the queue sends a mail neither never nor twice."""

from __future__ import annotations

import pytest

from conflicts.injector import Fault, Kind
from conflicts.scenarios import Actor, World
from server.operating import wait_for

STEPS = ["drop_expired_mails", "claim_mail", "COMMIT of drop_expired_mails", "remove_mail", "COMMIT of remove_mail"]


@pytest.mark.parametrize("kind", ["conflict", "cut before", "cut after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_mail_is_sent_once(world: World, step: str, kind: Kind) -> None:
    world.injector.arm()
    actor = Actor(world, world.new_calls()).registered()
    fault = Fault(kind, step)
    world.injector.arm(fault)
    assert actor.calls.forgotten(actor.phone.email).status == 200
    if (step, kind) == ("COMMIT of drop_expired_mails", "cut after"):
        wait_for(lambda: fault.fired)
        claimed = wait_for(lambda: world.database.execute("SELECT tries FROM sync.mails WHERE tries > 0").fetchall())
        assert claimed == [{"tries": 1}]  # on lease: it is due again when that is over, and was sent by nobody yet
        assert not world.outbox.pins(actor.phone.email)
        world.database.execute("DELETE FROM sync.mails")
    else:
        wait_for(lambda: world.outbox.pins(actor.phone.email))
        wait_for(lambda: not world.database.execute("SELECT 1 FROM sync.mails").fetchall())
        assert len(world.outbox.pins(actor.phone.email)) == 1
    world.injector.arm()
    assert fault.fired == 1, step
