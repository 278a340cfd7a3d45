"""Workers end with the process that started them, no matter how it ends."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing.forkserver import _forkserver  # type: ignore[attr-defined]
from pathlib import Path

import pytest

from fdp_lightning.errors import UserError
from fdp_lightning.processes import forkserver, in_pool, in_worker

pytestmark = pytest.mark.costly

KILLED = """
import os, signal
from fdp_lightning.processes import in_pool
from tests.test_processes import ids

if __name__ == "__main__":
    print(*{pid for of_worker in in_pool(ids, range(4), 2) for pid in of_worker}, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
ABANDONED = """
import os, signal, time
from multiprocessing.forkserver import _forkserver
from fdp_lightning.processes import forkserver

if __name__ == "__main__":
    forkserver()
    print(_forkserver._forkserver_pid, flush=True)
    time.sleep(AFTER_S)  # the server imports for seconds
    os.kill(os.getpid(), signal.SIGKILL)
"""


def ids(_: int) -> tuple[int, int]:
    """Return the process ids of a worker and of the server that forked it."""
    return os.getpid(), os.getppid()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def processes_left(script: str, folder: Path, within_s: float) -> list[int]:
    """Run a script that prints process ids, and return those that are still running some time after its end."""
    (folder / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (folder / "pids.txt").open("w") as pids:  # a pipe would stay open as long as a worker has it
        command = [sys.executable, str(folder / "script.py")]
        subprocess.run(command, stdout=pids, env=environment, timeout=300, check=False)
    started = [int(pid) for pid in (folder / "pids.txt").read_text().split()]
    assert started
    deadline = time.monotonic() + within_s
    while (left := [pid for pid in started if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_workers_of_a_killed_parent_end(tmp_path: Path) -> None:
    assert processes_left(KILLED, tmp_path, within_s=20) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="relies on a signal of Linux")
@pytest.mark.parametrize("after_s", [0, 1])  # at 0 it has not yet asked for that signal
def test_the_forkserver_of_a_killed_command_ends_while_still_importing(after_s: int, tmp_path: Path) -> None:
    assert processes_left(ABANDONED.replace("AFTER_S", str(after_s)), tmp_path, within_s=2) == []


def _fail(error: BaseException | None) -> None:
    if error is None:
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        raise error


def test_a_call_in_a_worker_returns_its_result_or_raises_its_error() -> None:
    _forkserver._stop()  # type: ignore[attr-defined]
    forkserver()
    os.kill(_forkserver._forkserver_pid, signal.SIGINT)  # type: ignore[attr-defined]  # Ctrl-C while it starts
    assert in_worker(divmod, 21, 4) == (5, 1)
    with pytest.raises(UserError, match="nowhere"):
        in_worker(_fail, UserError("data.root is nowhere"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        in_worker(_fail, ZeroDivisionError("a bug"))
    with pytest.raises(RuntimeError, match=r"test_processes\._fail"):
        in_worker(_fail, None)


def _mark(folder: Path, number: int) -> None:
    if number == 0:
        raise ValueError(number)
    time.sleep(0.02)
    (folder / str(number)).touch()


@pytest.mark.parametrize("first", [0, 1])
def test_an_error_in_a_worker_or_the_caller_cancels_tasks_not_yet_begun(first: int, tmp_path: Path) -> None:
    with pytest.raises((ValueError, KeyboardInterrupt)):
        for _ in in_pool(partial(_mark, tmp_path), range(first, 300), 2):
            raise KeyboardInterrupt
    assert len([*tmp_path.iterdir()]) < 100
