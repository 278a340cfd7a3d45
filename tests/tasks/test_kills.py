"""Forty kills at random moments: what is killed ends bit for bit as what was not, and leaves nothing behind."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import new_process
from tests.tasks.conftest import SMALL
from tests.tasks.test_interruptions import end_group

KILLS = 8
"""Of each command."""

LONGER = ["trainer.max_epochs=6", "loso.checkpoint_seconds=0", "loso.workers=2"]
SEARCH = [
    "task=tune", "selection.inner_subjects=1", "tune.trials=2",
    "tune.space={model.optimizer.lr: {low: 1e-3, high: 1e-2, log: true}}",
]  # fmt: skip
COMMANDS = {
    "prepare": (["task=prepare", "data.workers=2"], "stores", lambda path: path.name != "prepare.json"),
    "loso": (LONGER, "runs", lambda path: path.name in ("predictions.csv", "metrics.json")),
    "fit": (["task=fit", *LONGER], "runs", lambda path: path.name == "model.safetensors"),
    "tune": (
        [*SEARCH, *LONGER],
        "runs",
        lambda path: path.name in ("predictions.csv", "metrics.json", "nested.csv", "trials.csv"),
    ),
    "sweep": (
        ["-m", "model.pooling=mean,arp", *LONGER],
        "runs",
        lambda path: path.name in ("predictions.csv", "metrics.json", "variants.csv"),
    ),
}
"""Name → arguments, the folder of the results, and which of its files are compared; the others hold times."""


def results(folder: Path, compared: Callable[[Path], bool]) -> dict[str, bytes]:
    """Name → content of the results; nothing half-written may lie beside them."""
    paths = [path for path in folder.rglob("*") if "superseded" not in path.parts]
    left = [path for path in paths if path.suffix in (".partial", ".tmp", ".building")]
    assert left == []
    files = {str(path.relative_to(folder)): path for path in paths if path.is_file() and compared(path)}
    return {name: path.read_bytes() for name, path in sorted(files.items())}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMMANDS))
def test_killed_at_random_moments_a_command_ends_bit_for_bit_as_one_that_was_not(
    name: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, place, compared = COMMANDS[name]
    for used in ("runs", place):
        shutil.rmtree(workplace / used, ignore_errors=True)
    began = time.monotonic()
    done = new_process(*SMALL, *arguments, cwd=workplace)
    longest = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    expected = results(workplace / place, compared)
    assert expected
    shutil.rmtree(workplace / place)
    moments, kills, whole = random.Random(name), 0, 0
    while kills < KILLS:
        command = [sys.executable, "-m", "fdp_lightning", *SMALL, *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, cwd=workplace, start_new_session=True, **quiet)
        try:
            assert process.wait(timeout=moments.uniform(0, longest)) == 0
        except subprocess.TimeoutExpired:
            # The parent alone, so that its workers have to notice; or all at once, as a scheduler does.
            (os.kill if kills % 2 else os.killpg)(process.pid, signal.SIGKILL)
            process.wait()
            end_group(process.pid)
            kills += 1
            continue
        whole += 1
        assert results(workplace / place, compared) == expected
        shutil.rmtree(workplace / place)
    done = new_process(*SMALL, *arguments, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert results(workplace / place, compared) == expected
    with capsys.disabled():
        print(f"\n{name}: {kills} kills within {longest:.0f} s; {whole + 1} whole results, all equal")
