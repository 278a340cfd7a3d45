"""The processes that torchrun or srun started hear of each other, and notice when one is gone."""

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection

import pytest

from fdp_lightning.engine.ddp_processes import free_port
from fdp_lightning.engine.multinode import rendezvous
from fdp_lightning.engine.multinode.launch import Launch
from fdp_lightning.processes import forkserver

pytestmark = pytest.mark.costly


def launch(number: int, port: int) -> Launch:
    return Launch("srun", number, 2, 0, "127.0.0.1", port)


def _follower(port: int, told: Connection) -> None:
    mine = rendezvous.Rendezvous(launch(1, port))
    told.send(mine.receive(0))
    mine.report(0, 3)
    try:
        mine.receive(1)
    except rendezvous.LeaderGoneError:
        told.send("the leader is gone")


def _leader(port: int, told: Connection) -> None:
    mine = rendezvous.Rendezvous(launch(0, port))
    number = mine.announce({"fold": "01"})
    while mine.ended(number, 1) is None:
        time.sleep(0.05)
    told.send((number, mine.ended(number, 1)))
    time.sleep(60)


def begin(role: object, port: int) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    context = forkserver()
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=role, args=(port, tell), daemon=True)  # type: ignore[arg-type]
    process.start()
    tell.close()
    return process, told


def test_a_follower_notices_that_its_leader_is_gone() -> None:
    port = free_port()
    leader, of_leader = begin(_leader, port)
    follower, of_follower = begin(_follower, port)
    assert of_follower.recv() == {"fold": "01"}
    assert of_leader.recv() == (0, 3)
    os.kill(leader.pid or 0, signal.SIGKILL)
    assert of_follower.poll(30) and of_follower.recv() == "the leader is gone"
    follower.join(30)


def test_a_leader_notices_that_a_follower_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "_SILENT_S", 4.0)
    port = free_port()
    follower, of_follower = begin(_follower, port)
    mine = rendezvous.Rendezvous(launch(0, port))
    mine.announce("go on")
    assert of_follower.recv() == "go on"
    watched = time.monotonic() + 6
    while time.monotonic() < watched:
        assert not mine.silent(1)  # it waits for the next word, and says that it lives
        time.sleep(0.2)
    os.kill(follower.pid or 0, signal.SIGKILL)
    died = time.monotonic()
    while not mine.silent(1):
        assert time.monotonic() - died < 30
        time.sleep(0.2)
    assert time.monotonic() - died > 1
