"""`--workers`: dead workers are replaced, and none outlives its server."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from server.calls import register
from server.operating import AT_ONCE, Operator, Running, config_with, refused, wait_for

COLUMNS = ("-ww", "-o", "pid=", "-o", "ppid=", "-o", "command=")


def workers_of(running: Running) -> set[int]:
    """The processes that serve; another child of the server watches over its semaphores."""
    listed = subprocess.run(["ps", "-A", *COLUMNS], capture_output=True, text=True, check=True)
    lines = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    children = [line for line in lines if line[1] == str(running.pid) and "<defunct>" not in line[2]]
    return {int(pid) for pid, _, command in children if "spawn_main" in command}


def both_workers_of(running: Running) -> set[int]:
    return wait_for(lambda: found if len(found := workers_of(running)) == 2 else None)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_worker_is_replaced_while_the_other_serves(operator: Operator, empty_url: str) -> None:
    running = operator.serve(config_with({"default": empty_url}), "--workers", "2")
    first = both_workers_of(running)
    operator.write("{ this is being edited")  # a worker takes the configuration that its server was started with
    killed = min(first)
    os.kill(killed, signal.SIGKILL)
    wait_for(running.greets)
    second = wait_for(lambda: found if len(found := workers_of(running) - {killed}) == 2 else None)
    assert second > first - {killed}
    assert '"worker_died"' in running.log
    assert register(running.url).status_code == 200
    other = (first - {killed}).pop()
    os.kill(other, signal.SIGSTOP)
    wait_for(running.greets)  # the new one, which is all that is left
    os.kill(other, signal.SIGKILL)
    wait_for(lambda: register(running.url).status_code == 200)
    assert running.end() == 0
    assert running.faults() == []


def test_service_comes_back_when_all_workers_are_killed(operator: Operator, empty_url: str) -> None:
    running = operator.serve(config_with({"default": empty_url}), "--workers", "2")
    pids = both_workers_of(running)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(running.greets)
    assert register(running.url).status_code == 200
    assert running.end() == 0


def test_workers_end_when_their_server_is_killed(operator: Operator, empty_url: str) -> None:
    running = operator.serve(config_with({"default": empty_url}), "--workers", "2")
    pids = both_workers_of(running)
    running.kill()
    wait_for(lambda: not any(exists(pid) for pid in pids))
    assert refused(running.port)
    again = operator.launch("--host", "127.0.0.1", "--port", str(running.port)).until_it_listens()
    assert register(again.url).status_code == 200


@pytest.mark.long
def test_a_worker_that_hangs_is_killed_when_the_time_is_over(operator: Operator, empty_url: str) -> None:
    running = operator.serve(config_with({"default": empty_url}, grace=1), "--workers", "2")
    hanging = min(both_workers_of(running))
    os.kill(hanging, signal.SIGSTOP)
    assert running.end(timeout=1 + 10 + AT_ONCE) == 0
    assert not exists(hanging)
    assert '"worker_killed"' in running.log
