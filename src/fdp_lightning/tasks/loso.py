"""`task=loso`: every fold of the protocol, each subject in turn left out; then they are pooled and reported."""

import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.progress import Progress, TaskID

from fdp_lightning.data.splits import owners
from fdp_lightning.files import write_atomic
from fdp_lightning.processes import cpu_count
from fdp_lightning.tasks.build import build_loggers, check_options
from fdp_lightning.tasks.dataset import ready_data
from fdp_lightning.tasks.environment import environment
from fdp_lightning.tasks.fold import FoldPlan, is_finished, plan_fold
from fdp_lightning.tasks.fold_pool import run_folds
from fdp_lightning.tasks.progress import clock, console, new_progress, time_left
from fdp_lightning.tasks.report import POOLED, headline, pool_run, write_expected
from fdp_lightning.tasks.run_folder import run_folder

log = logging.getLogger("fdp_lightning")


class FoldsFailedError(Exception):
    """Folds that crashed; there is no pooled score without them."""


def loso(config: DictConfig) -> None:
    """Run all folds that are not finished, then pool. The run folder is that of the command.

    Raises:
        FoldsFailedError: naming the folds that crashed and their logs; the others are kept.
    """
    start = time.monotonic()
    run = run_folder(config)
    headline(config)  # a misspelt one must not cost a training
    data = ready_data(config)
    splits = data.folds()
    plans = [plan_fold(config, data, split, run) for split in splits]
    todo = [plan for plan in plans if not is_finished(plan)]
    if todo:
        check_options(config)
    run.mkdir(parents=True, exist_ok=True)
    write_atomic(run / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_expected(run, data, splits)
    log.info(
        "%s: %d clips, %d subjects, %d of %d folds to run in %s",
        data.protocol.name, len(data.clips), owners(data.clips).nunique(), len(todo), len(plans), run,
    )  # fmt: skip
    if todo:
        for stale in POOLED:  # of fewer or of other folds; if one fails now, no old score must stand for the run
            (run / stale).unlink(missing_ok=True)
        began = datetime.now(UTC).isoformat(timespec="seconds")
        _run(todo, config, len(plans))
        facts = {**environment(), "started": began, "seconds": round(time.monotonic() - start, 1)}
        write_atomic(run / "environment.json", json.dumps(facts, indent=1) + "\n")
    metrics = pool_run(run, config)
    if todo:
        _log_pooled(config, run, metrics)
    log.info("done in %s", clock(time.monotonic() - start))


def _run(todo: list[FoldPlan], config: DictConfig, n_folds: int) -> None:
    workers = min(config.loso.workers or _default_workers(config), len(todo))
    with _display(len(todo), max(map(_epochs, todo))) as display:
        failed = run_folds(todo, workers, display.epoch, display.end)
    if failed:
        tails = [f"fold {name}: {_last_line(path)}  ({path})" for name, path in failed.items()]
        raise FoldsFailedError(
            f"{len(failed)} of {n_folds} folds failed; the others are kept, and there is no pooled score:\n  "
            + "\n  ".join(tails)
            + "\nThe same command runs the failed folds again."
        )


def _epochs(plan: FoldPlan) -> int:
    """The epochs a fold will take, for the time left; the budget may be given in steps (`trainer.max_steps`)."""
    trainer, batch_size = plan.config["trainer"], plan.config["data"]["batch_size"]
    epochs, steps = trainer.get("max_epochs") or -1, trainer.get("max_steps") or -1
    budgets = [epochs, math.ceil(steps / max(1, len(plan.fold.train_rows) // batch_size))]
    return min((budget for budget in budgets if budget > 0), default=1)


def _default_workers(config: DictConfig) -> int:
    if config.trainer.accelerator in ("gpu", "cuda"):
        import torch

        return max(1, torch.cuda.device_count())
    return max(1, cpu_count() // config.loso.cpu_threads)


def _last_line(path: Path) -> str:
    lines = path.read_text().strip().splitlines() if path.is_file() else []
    return lines[-1] if lines else "killed before it wrote anything"


def _log_pooled(config: DictConfig, run: Path, metrics: dict[str, Any]) -> None:
    """One more W&B run beside those of the folds holds the pooled scores; the other loggers have files enough."""
    if "wandb" not in config.logger:
        return
    scores = pooled_scalars(metrics)
    for logger in build_loggers(config, run, run / "log", name="pooled", job_type="aggregate"):
        logger.log_metrics(scores)
        logger.finalize("success")


def pooled_scalars(metrics: dict[str, Any]) -> dict[str, float]:
    """The scores of metrics.json by 'selection/score', those of single action units by 'selection/f1/unit'."""
    scores: dict[str, float] = {}
    for selection, row in metrics["selections"].items():
        of_unit = {f"f1/{unit}": f1 for unit, f1 in row.get("f1", {}).items()}
        numbers = {name: value for name, value in (row | of_unit).items() if isinstance(value, float)}
        scores |= {f"{selection}/{name}": value for name, value in numbers.items()}
    return scores


class _Lines:
    """Progress where there is no terminal: a line per finished fold, with the time left."""

    def __init__(self, folds: int, epochs: int) -> None:
        self._folds, self._epochs = folds, epochs
        self._done: dict[str, int] = {}
        self._ended = 0
        self._start = time.monotonic()

    def epoch(self, fold: str, done: int) -> None:
        """One fold has trained `done` epochs."""
        self._done[fold] = done

    def end(self, fold: str, success: bool) -> None:
        """One fold has ended."""
        self._ended += 1
        self._done[fold] = self._epochs
        left = time_left(time.monotonic() - self._start, sum(self._done.values()), self._folds * self._epochs)
        log.info("fold %s %s (%d/%d), %s", fold, "done" if success else "FAILED", self._ended, self._folds, left)


class _Bars:
    """Progress in a terminal: a bar over all epochs of all folds, and one per running fold."""

    def __init__(self, progress: Progress, folds: int, epochs: int) -> None:
        self._progress, self._folds, self._epochs = progress, folds, epochs
        self._all = progress.add_task(f"folds 0/{folds}", total=folds * epochs, unit="epochs")
        self._bars: dict[str, TaskID] = {}
        self._ended = 0

    def epoch(self, fold: str, done: int) -> None:
        """One fold has trained `done` epochs."""
        if fold not in self._bars:
            self._bars[fold] = self._progress.add_task(f"  {fold}", total=self._epochs, unit="epochs")
        self._progress.advance(self._all)
        self._progress.update(self._bars[fold], completed=done)

    def end(self, fold: str, success: bool) -> None:
        """One fold has ended."""
        self._ended += 1
        self._progress.update(self._all, description=f"folds {self._ended}/{self._folds}")
        if fold in self._bars:
            self._progress.remove_task(self._bars.pop(fold))
        if not success:
            self._progress.console.print(f"fold {fold} FAILED")


@contextmanager
def _display(folds: int, epochs: int) -> Iterator[_Lines | _Bars]:
    screen = console()
    if not screen.is_terminal:
        yield _Lines(folds, epochs)
        return
    with new_progress(screen) as progress:
        yield _Bars(progress, folds, epochs)
