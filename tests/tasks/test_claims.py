"""Processes that share a machine, a run or a fold: claims hold until their process ends, and losses are noticed."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from fdp_lightning.config import configuration
from fdp_lightning.engine import multinode
from fdp_lightning.engine.devices import check_devices, free_port
from fdp_lightning.engine.launch import Launch
from fdp_lightning.engine.preflight import check_options
from fdp_lightning.errors import UserError
from fdp_lightning.processes import forkserver
from fdp_lightning.runs.claims import Gpus, run_claim


def begin(role: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """Start a process and return it with the connection on which `role` sends."""
    context = forkserver()
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=role, args=(*arguments, tell), daemon=True)
    process.start()
    tell.close()
    return process, told


def kill(process: BaseProcess) -> None:
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()


GPUS = ["GPU-a", "GPU-b", "GPU-c"]


def _hold(folder: Path, tell: Connection) -> None:
    held = Gpus(GPUS, 1, folder).claim(2)
    tell.send(held and held[0])
    time.sleep(60)


def test_a_gpu_has_one_holder_and_is_free_once_it_is_killed(tmp_path: Path) -> None:
    other, told = begin(_hold, tmp_path)
    assert told.recv() == (0, 1)
    gpus = Gpus(GPUS, 1, tmp_path)
    assert gpus.claim(2) is None  # the third GPU is then not held either
    third = gpus.claim(1)
    assert third is not None and third[0] == (2,)
    assert gpus.claim(1) is None
    kill(other)
    again = gpus.claim(2)
    third[1].close()
    last = gpus.claim(1)
    assert [given and given[0] for given in (again, last)] == [(0, 1), (2,)]


def test_several_folds_on_one_gpu_fill_the_emptiest_first(tmp_path: Path) -> None:
    gpus = Gpus(["0", "1"], per_gpu=2, folder=tmp_path)
    taken = [gpus.claim(1) for _ in range(5)]
    assert [claimed and claimed[0] for claimed in taken] == [(0,), (1,), (0,), (1,), None]
    assert Gpus(["0", "1"], 2, tmp_path / "elsewhere").claim(3) is None  # at most one process of a fold per GPU


def _work(run: Path, fingerprint: str, tell: Connection) -> None:
    with run_claim(run, fingerprint):
        tell.send("in")
        time.sleep(60)


def test_a_run_folder_in_use_is_refused_to_other_settings_until_released(tmp_path: Path) -> None:
    one, other = "0" * 12, "f" * 12
    with run_claim(tmp_path, one), run_claim(tmp_path, one), pytest.raises(UserError), run_claim(tmp_path, other):
        pass
    killed, told = begin(_work, tmp_path, one)
    assert told.recv() == "in"
    with pytest.raises(UserError, match=one), run_claim(tmp_path, other):
        pass
    kill(killed)
    with run_claim(tmp_path, other):
        assert [path.name[:12] for path in (tmp_path / ".working").glob("*.lock")] == [other]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["trainer.devices=2"], "trainer.strategy=ddp"),
        (["trainer=ddp_cpu", "trainer.devices=4096"], "4096"),
        (["trainer=gpu_fp16", "trainer.accelerator=cpu"], "16-mixed"),
        (["trainer=ddp_cpu", "data.batch_size=7"], "multiple of 2"),
    ],
)
def test_impossible_devices_are_refused(options: list[str], said: str) -> None:
    config = configuration("trainer=cpu", *options)
    with pytest.raises(UserError, match=said):
        check_devices(config.trainer)
        check_options(config)


def launch(number: int, port: int) -> Launch:
    return Launch("srun", number, 2, 0, "127.0.0.1", port)


def _follower(port: int, told: Connection) -> None:
    mine = multinode.Rendezvous(launch(1, port))
    told.send(mine.receive(0))
    mine.put("ended/0/1", "3")
    try:
        mine.receive(1)
    except multinode.LeaderGoneError:
        told.send("the leader is gone")


def _leader(port: int, told: Connection) -> None:
    mine = multinode.Rendezvous(launch(0, port))
    number = mine.announce({"fold": "01"})
    while (code := mine.get(f"ended/{number}/1")) is None:
        time.sleep(0.05)
    told.send((number, int(code)))
    time.sleep(60)


def test_a_follower_notices_that_its_leader_is_gone() -> None:
    port = free_port()
    leader, of_leader = begin(_leader, port)
    follower, of_follower = begin(_follower, port)
    assert of_follower.recv() == {"fold": "01"}
    assert of_leader.recv() == (0, 3)
    kill(leader)
    assert of_follower.poll(30) and of_follower.recv() == "the leader is gone"
    follower.join(30)


def test_a_leader_notices_that_a_follower_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multinode, "_SILENT_S", 4.0)
    port = free_port()
    follower, of_follower = begin(_follower, port)
    mine = multinode.Rendezvous(launch(0, port))
    mine.announce("go on")
    assert of_follower.recv() == "go on"
    for _ in range(30):
        assert not mine.silent(1)  # while waiting for the next message it sends heartbeats
        time.sleep(0.2)
    kill(follower)
    died = time.monotonic()
    while not mine.silent(1):
        assert time.monotonic() - died < 30
        time.sleep(0.2)
    assert time.monotonic() - died > 1
