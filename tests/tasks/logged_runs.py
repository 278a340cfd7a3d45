"""A run with several loggers at once, W&B among them, that is killed and goes on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.tasks.conftest import SMALL
from tests.tasks.test_interruptions import end_group, wait_for
from tests.tasks.wandb_files import offline_runs

ARGUMENTS = [*SMALL, "trainer.max_epochs=4", "loso.checkpoint_seconds=0", "loso.workers=2"]
LOGGERS = ["logger=[csv,wandb,tensorboard]", "logger.wandb.tags=[mine]"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fdp_lightning", *ARGUMENTS, *arguments]


def environment(folder: Path) -> dict[str, str]:
    """No account, variables that would have W&B go online, and a cluster that counts its own processes."""
    wandb = {"HOME": str(folder / "home"), "WANDB_API_KEY": "", "WANDB_MODE": "online"}
    return {**os.environ, **wandb, "SLURM_PROCID": "1"}


def go_on(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    pipes = {"capture_output": True, "text": True, "timeout": 240}
    done = subprocess.run(command(*arguments), cwd=folder, env=environment(folder), **pipes)
    assert done.returncode == code, done.stderr
    return done


def run_in(folder: Path) -> Path:
    (run,) = folder.glob("runs/synthetic_loso/*/seed-0")
    return run


def kill_and_go_on(folder: Path) -> None:
    """Make a run with three loggers here that is killed while two folds are trained, and ended by the same command.

    The W&B ids of what was cut off are left in cut.json.
    """
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    process = subprocess.Popen(command(*LOGGERS), cwd=folder, env=environment(folder), **pipes)
    wait_for(folder, "unfinished/*/*.ckpt", process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    end_group(process.pid)  # W&B's helper processes too
    (folder / "cut.json").write_text(json.dumps(sorted(of.id for of in offline_runs(run_in(folder)))))
    go_on(folder, *LOGGERS)
