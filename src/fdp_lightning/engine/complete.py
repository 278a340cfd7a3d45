"""From finished folds to the pooled scores of their run."""

import shutil
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig

from fdp_lightning.engine.run import Run, train
from fdp_lightning.runs.pooling import pool_run
from fdp_lightning.tracking.aggregate import log_pooled

POOLING_LOCK = ".pooling.lock"


def complete(run: Run) -> None:
    """Run the unfinished folds of a run, then pool.

    Raises:
        FoldsFailedError: folds crashed, with their logs; the others are kept.
    """
    with run.claim():
        trained = train(run, run.plans)
        pool_in_turn(run.config, run.folder, trained=trained > 0)


def pool_in_turn(config: DictConfig, run: Path, trained: bool) -> None:
    """Pool a complete run, under a lock: parallel jobs that finish their folds at once all find the run complete.

    `trained` is True if this command trained any of its folds.
    """
    with FileLock(run / POOLING_LOCK, mode=0o666):
        metrics = pool_run(run, config)
        shutil.rmtree(run / "unfinished", ignore_errors=True)  # all folds are there: what is left are their locks
        log_pooled(config, run, metrics, anew=trained)
