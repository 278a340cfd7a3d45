"""Weights & Biases for real, offline: no account and no network."""

import os
import subprocess
import sys
from pathlib import Path

from tests.tasks.conftest import SMALL


def test_a_fold_is_logged_offline(workplace: Path) -> None:
    environment = {**os.environ, "HOME": str(workplace), "WANDB_API_KEY": ""}
    command = [sys.executable, "-m", "fdp_lightning", *SMALL, "logger=wandb", "task=fold", "fold=01", "run=runs/logged"]
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (log,) = (workplace / "runs/logged/wandb").glob("offline-run-*/run-*.wandb")
    content = log.read_bytes()
    for name in (b"train/rank_loss", b"test/accuracy", b"train/kendall_tau"):
        assert name in content
    # Numbers only: nobody's face leaves for a remote service by default.
    assert not list(log.parent.rglob("*.png"))
