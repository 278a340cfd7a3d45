"""`task=loso`: all folds, each subject in turn left out; `task=fold`: one of them. Complete runs are pooled."""

import logging
import shutil
import time
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig

from fdp_lightning.data.splits import choose_fold
from fdp_lightning.tasks.engine import Run, open_run, train
from fdp_lightning.tasks.pooled_log import log_pooled
from fdp_lightning.tasks.progress import clock
from fdp_lightning.tasks.report import pool_run

log = logging.getLogger("fdp_lightning")

POOLING_LOCK = ".pooling.lock"


def loso(config: DictConfig) -> Path:
    """Run all folds that are not finished, then pool.

    Returns:
        The run folder.

    Raises:
        FoldsFailedError: naming the folds that crashed and their logs; the others are kept.
    """
    start = time.monotonic()
    run = open_run(config)
    complete(run)
    log.info("done in %s", clock(time.monotonic() - start))
    return run.folder


def complete(run: Run) -> None:
    """Run the folds of a run that are not finished, then pool.

    Raises:
        FoldsFailedError: naming the folds that crashed and their logs; the others are kept.
    """
    with run.claim():
        trained = train(run, run.plans)
        pool_in_turn(run.config, run.folder, trained=trained > 0)


def fold(config: DictConfig) -> Path:
    """Run one fold, unless it is finished; the one that completes the run pools it.

    A sweep over `fold` therefore leaves the files that `task=loso` leaves, whatever the order.

    Returns:
        The run folder.

    Raises:
        FoldsFailedError: with the log of the fold.
    """
    run = open_run(config)
    name = choose_fold([plan.fold for plan in run.plans], config.fold).name
    (plan,) = (plan for plan in run.plans if plan.fold.name == name)
    with run.claim():
        trained = train(run, [plan])
        print(f"fold {name}{'' if trained else ' is finished'}: {plan.folder}")
        if run.is_complete:
            pool_in_turn(run.config, run.folder, trained=trained > 0)
    return run.folder


def pool_in_turn(config: DictConfig, run: Path, trained: bool) -> None:
    """Pool a complete run. Of folds that jobs side by side finish at one moment, each finds the run complete.

    Args:
        config: of the run.
        run: its folder.
        trained: whether this command has trained any of its folds.
    """
    with FileLock(run / POOLING_LOCK, mode=0o666):
        metrics = pool_run(run, config)
        shutil.rmtree(run / "unfinished", ignore_errors=True)  # all folds are there: what is left are their locks
        log_pooled(config, run, metrics, anew=trained)
