"""Ctrl-C ends the command at any moment, even if the KeyboardInterrupt is swallowed, and leaves no process."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.tasks.conftest import begin, end_group

pytestmark = pytest.mark.costly

DROPPED = """
import time
from fdp_lightning import interrupts

class Dropping:
    def __del__(self):
        time.sleep(30)  # a KeyboardInterrupt in a finaliser is printed, and the program goes on

interrupts.end_at_once()
interrupts.tidy_up_first()
print("ready", flush=True)
{what}
for _ in range(600):
    time.sleep(0.1)
"""
SWALLOWED = """
try:
    time.sleep(30)
except BaseException:  # as the import of some compiled modules does
    pass
"""
TIDYING = """
try:
    time.sleep(30)
finally:
    time.sleep(2.5)  # longer than it takes to see that an interrupt was dropped
    print("tidied", flush=True)
"""


def interrupted(what: str) -> tuple[int, str, str]:
    """Return exit code, output and errors of a program that gets SIGINT while it does `what`."""
    command = [sys.executable, "-c", DROPPED.format(what=what)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None and program.stdout.readline() == "ready\n"
    time.sleep(0.2)
    program.send_signal(signal.SIGINT)
    output, errors = program.communicate(timeout=20)  # less than the program would sleep
    return program.returncode, output, errors


@pytest.mark.parametrize(
    "what",
    [pytest.param(SWALLOWED, marks=pytest.mark.slow, id="bare except"), pytest.param("Dropping()", id="finaliser")],
)
def test_a_swallowed_interrupt_still_ends_the_program(what: str) -> None:
    code, _, errors = interrupted(what)
    assert code == 130 and "interrupted" in errors


def test_cleanup_may_finish() -> None:
    code, output, _ = interrupted(TIDYING)
    assert output == "tidied\n"
    assert code in (130, -signal.SIGINT)  # the latter is Python's own for an uncaught KeyboardInterrupt


def test_an_ignored_signal_stays_ignored() -> None:
    script = (
        "import signal; from fdp_lightning import interrupts as i; i.end_at_once(); print(int(signal.getsignal(2)))"
    )
    command = ["sh", "-c", f"{sys.executable} -c '{script}' & wait"]  # a shell ignores SIGINT in the background
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


SLOWLY = pytest.param((8 * np.random.default_rng(0).random(40)).tolist(), marks=pytest.mark.slow)


@pytest.mark.parametrize("moments", [[0.5], [4.0], SLOWLY], ids=["0.5 s", "4 s", "random"])
def test_an_interrupted_run_ends_soon_and_leaves_no_process(tmp_path: Path, moments: list[float]) -> None:
    for number, after_s in enumerate(moments):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = begin(folder)
        time.sleep(after_s)
        (os.killpg if number % 2 or after_s == 4 else os.kill)(run.pid, signal.SIGINT)
        try:
            code = run.wait(timeout=20)
            end_group(run.pid, within_s=10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
        said = (folder / "err.txt").read_text()
        # In the first moments Python itself is starting, and prints a traceback.
        assert after_s < 0.5 or (code == 130 and "Traceback" not in said), said
