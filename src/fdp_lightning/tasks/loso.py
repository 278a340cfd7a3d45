"""`task=loso`: all folds, each subject in turn left out; `task=fold`: one of them. Complete runs are pooled."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fdp_lightning.data.splits import choose_fold
from fdp_lightning.tasks.build import build_loggers, close_loggers
from fdp_lightning.tasks.engine import Run, open_run, train
from fdp_lightning.tasks.progress import clock
from fdp_lightning.tasks.report import pool_run

log = logging.getLogger("fdp_lightning")


def loso(config: DictConfig) -> Path:
    """Run all folds that are not finished, then pool.

    Returns:
        The run folder.

    Raises:
        FoldsFailedError: naming the folds that crashed and their logs; the others are kept.
    """
    start = time.monotonic()
    run = open_run(config)
    complete(config, run)
    log.info("done in %s", clock(time.monotonic() - start))
    return run.folder


def complete(config: DictConfig, run: Run) -> None:
    """Run the folds of a run that are not finished, then pool.

    Raises:
        FoldsFailedError: naming the folds that crashed and their logs; the others are kept.
    """
    trained = train(config, run, run.plans)
    _pool(config, run.folder, log_scores=trained > 0)


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
    trained = train(config, run, [plan])
    print(f"fold {name}{'' if trained else ' is finished'}: {plan.folder}")
    if run.is_complete:
        _pool(config, run.folder, log_scores=trained > 0)
    return run.folder


def _pool(config: DictConfig, run: Path, log_scores: bool) -> None:
    metrics = pool_run(run, config)
    shutil.rmtree(run / "unfinished", ignore_errors=True)  # all folds are there: what is left are their locks
    if log_scores:
        _log_pooled(config, run, metrics)


def _log_pooled(config: DictConfig, run: Path, metrics: dict[str, Any]) -> None:
    """One more W&B run beside those of the folds holds the pooled scores; the other loggers have files enough."""
    if "wandb" not in config.logger:
        return
    scores = pooled_scalars(metrics)
    loggers = build_loggers(config, run, run / "log", name="pooled", job_type="aggregate")
    for logger in loggers:
        logger.log_metrics(scores)
        logger.finalize("success")
    close_loggers(loggers)


def pooled_scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """The scores of metrics.json by 'selection/score', those of single action units by 'selection/f1/unit'."""
    scores: dict[str, float] = {}
    for selection, row in metrics["selections"].items():
        of_unit = {f"f1/{unit}": f1 for unit, f1 in row.get("f1", {}).items()}
        numbers = {name: value for name, value in (row | of_unit).items() if isinstance(value, float)}
        scores |= {f"{selection}/{name}": value for name, value in numbers.items()}
    return scores
