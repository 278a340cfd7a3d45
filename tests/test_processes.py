"""Workers end with the process that started them, however that ends."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from fdp_lightning.errors import UserError
from fdp_lightning.processes import cpu_count, in_fresh_process, in_pool, in_worker

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
import os, signal, sys, time
from multiprocessing.forkserver import _forkserver
from fdp_lightning.processes import warm_up

if __name__ == "__main__":
    warm_up()
    print(_forkserver._forkserver_pid, flush=True)
    time.sleep(float(sys.argv[1]))  # of the seconds that it imports for
    os.kill(os.getpid(), signal.SIGKILL)
"""


def ids(_: int) -> tuple[int, int]:
    """Process ids of a worker and of the server that forked it."""
    return os.getpid(), os.getppid()


def mark(folder: Path, number: int) -> None:
    if number == 0:
        raise ValueError(number)
    time.sleep(0.02)
    (folder / str(number)).touch()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_of_a_killed_parent_end_too(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    with (tmp_path / "pids.txt").open("w") as pids:  # a pipe would stay open as long as a worker has it
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, str(script)], stdout=pids, env=environment, timeout=60, check=False)
    workers = [int(pid) for pid in (tmp_path / "pids.txt").read_text().split()]
    assert len(workers) >= 2
    deadline = time.monotonic() + 20
    while (left := [pid for pid in workers if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="by a service of Linux")
@pytest.mark.parametrize("after_s", [0, 1])  # at 0 it is not yet as far as to ask for the end of its parent
def test_the_forkserver_of_a_killed_command_ends_while_it_still_imports(after_s: int, tmp_path: Path) -> None:
    script = tmp_path / "abandoned.py"
    script.write_text(ABANDONED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(after_s)]
    with (tmp_path / "pid.txt").open("w") as output:  # a pipe would stay open as long as the server has it
        subprocess.run(command, stdout=output, env=environment, timeout=60, check=False)
    pid = int((tmp_path / "pid.txt").read_text())
    deadline = time.monotonic() + 2
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def _twice(value: int) -> int:
    return 2 * value


def _mistaken() -> None:
    raise UserError("data.root is nowhere")


def _buggy() -> None:
    raise ZeroDivisionError("a bug")


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_call_in_a_worker_gives_its_result_or_its_error() -> None:
    assert in_fresh_process(cpu_count) == cpu_count()
    assert in_worker(_twice, 21) == 42
    with pytest.raises(UserError, match="is nowhere"):
        in_worker(_mistaken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        in_worker(_buggy)
    with pytest.raises(RuntimeError, match="_killed ended with exit code -9"):
        in_worker(_killed)


@pytest.mark.slow
def test_a_worker_whose_parent_left_before_its_work_came_prints_nothing(tmp_path: Path) -> None:
    """As where Ctrl-C comes while a process is being started."""
    (tmp_path / "left.py").write_text(
        "import os, time\n"
        "from multiprocessing.forkserver import connect_to_new_process\n"
        "from fdp_lightning.processes import forkserver\n"
        "if __name__ == '__main__':\n"
        "    context = forkserver()\n"
        "    context.set_forkserver_preload(['fdp_lightning.with_parent'])\n"
        "    status, data = connect_to_new_process([])\n"
        "    os.close(data)\n"
        "    os.read(status, 8)  # the process of the worker\n"
        "    os.read(status, 8)  # its end\n"
    )
    done = subprocess.run([sys.executable, "left.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("first", [0, 1])
def test_an_error_of_a_task_or_of_the_caller_drops_what_has_not_begun(first: int, tmp_path: Path) -> None:
    with pytest.raises((ValueError, KeyboardInterrupt)):
        for _ in in_pool(partial(mark, tmp_path), range(first, 300), 2):
            raise KeyboardInterrupt
    assert len([*tmp_path.iterdir()]) < 100
