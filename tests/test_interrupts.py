"""Ctrl-C ends the command at any moment, also where the KeyboardInterrupt is dropped, and leaves no process behind."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def interrupted(what: str) -> tuple[int, str, str, float]:
    """Exit code, output, errors, and seconds from SIGINT to the end of a program that does `what`."""
    command = [sys.executable, "-c", DROPPED.format(what=what)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    time.sleep(0.2)
    program.send_signal(signal.SIGINT)
    start = time.monotonic()
    output, errors = program.communicate(timeout=50)
    return program.returncode, output, errors, time.monotonic() - start


@pytest.mark.parametrize(
    "what",
    [pytest.param(SWALLOWED, marks=pytest.mark.slow, id="bare except"), pytest.param("Dropping()", id="finaliser")],
)
def test_an_interrupt_that_is_dropped_ends_the_program_all_the_same(what: str) -> None:
    code, _, errors, seconds = interrupted(what)
    assert code == 130
    assert "interrupted" in errors
    assert seconds < 20


def test_what_is_being_tidied_up_is_waited_for() -> None:
    code, output, *_ = interrupted(TIDYING)
    assert output == "tidied\n"
    assert code in (130, -signal.SIGINT)  # of a KeyboardInterrupt that nobody catches Python makes the latter


def test_where_the_signal_is_ignored_it_stays_ignored() -> None:
    script = (
        "import signal; from fdp_lightning import interrupts as i; i.end_at_once(); print(int(signal.getsignal(2)))"
    )
    command = ["sh", "-c", f"{sys.executable} -c '{script}' & wait"]  # so shells start what stands before an &
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


def check_stops(folder: Path, after_s: float, to_group: bool) -> None:
    """Start a run, interrupt it, and see it and its processes end soon, and say so without a traceback."""
    run = begin(folder)
    time.sleep(after_s)
    (os.killpg if to_group else os.kill)(run.pid, signal.SIGINT)
    try:
        code = run.wait(timeout=20)
        end_group(run.pid, within_s=10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    said = (folder / "err.txt").read_text()
    # Python itself is being started in the first moments, and makes a traceback of it.
    assert after_s < 0.5 or (code == 130 and "Traceback" not in said), said


@pytest.mark.parametrize("after_s", [0.5, 4.0])
def test_a_run_stops_in_its_first_seconds_and_leaves_no_process(tmp_path: Path, after_s: float) -> None:
    check_stops(tmp_path, after_s, to_group=after_s == 4.0)


@pytest.mark.slow
def test_a_run_stops_at_every_moment_of_its_beginning(tmp_path: Path) -> None:
    moments = random.Random(0)
    for number in range(40):
        (tmp_path / str(number)).mkdir()
        check_stops(tmp_path / str(number), moments.uniform(0, 8), to_group=number % 2 == 1)
