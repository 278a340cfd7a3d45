"""`task=loso`: all folds, each leaving one subject out; `task=fold`: one of them. Complete runs are pooled."""

import logging
import time
from pathlib import Path

from omegaconf import DictConfig

from fdp_lightning.console.progress import clock
from fdp_lightning.data.protocols.splits import choose_fold
from fdp_lightning.engine.run import complete, open_run, pool_in_turn, train

log = logging.getLogger("fdp_lightning")


def loso(config: DictConfig) -> Path:
    """Run all unfinished folds, then pool, and return the run folder; FoldsFailedError names folds that crashed."""
    start = time.monotonic()
    run = open_run(config)
    complete(run)
    log.info("done in %s", clock(time.monotonic() - start))
    return run.folder


def fold(config: DictConfig) -> Path:
    """Run one fold, unless it is finished, and return the run folder; the fold that completes the run pools it.

    A sweep over `fold` therefore leaves the same files as `task=loso`, in any order. FoldsFailedError as in `loso`.
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
