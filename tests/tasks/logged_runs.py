"""A run with several loggers at once, W&B among them, that is killed and goes on."""

import json
import os
import signal
from pathlib import Path

from tests.command import new_process
from tests.tasks.conftest import SMALL, begin, end_group, run_of, wait_for
from tests.tasks.wandb_files import offline_runs

ARGUMENTS = ["trainer.max_epochs=4", "loso.checkpoint_seconds=0", "loso.workers=2"]
LOGGERS = ["logger=[csv,wandb,tensorboard]", "logger.wandb.tags=[mine]"]


def environment(folder: Path) -> dict[str, str]:
    """No account, variables that would have W&B go online, and a cluster that counts its own processes."""
    wandb = {"HOME": str(folder / "home"), "WANDB_API_KEY": "", "WANDB_MODE": "online"}
    return {**os.environ, **wandb, "SLURM_PROCID": "1"}


def go_on(folder: Path, *arguments: str) -> None:
    new_process(*SMALL, *ARGUMENTS, *arguments, cwd=folder, env=environment(folder), code=0)


def kill_and_go_on(folder: Path) -> None:
    """Make a run with three loggers here that is killed while two folds are trained, and ended by the same command.

    The W&B ids of what was cut off are left in cut.json.
    """
    process = begin(folder, *ARGUMENTS, *LOGGERS, env=environment(folder))
    wait_for(lambda: list(folder.glob("runs/*/*/seed-0/unfinished/*/*.ckpt")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end_group(process.pid)  # W&B's helper processes too
    (folder / "cut.json").write_text(json.dumps(sorted(of.id for of in offline_runs(run_of(folder)))))
    go_on(folder, *LOGGERS)
