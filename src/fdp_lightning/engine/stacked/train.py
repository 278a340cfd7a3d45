"""Training of several folds as one stack in one process (`loso.engine=stacked`): each ends as if trained alone."""

import logging
import secrets
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fdp_lightning.data.loading.stacked_batches import StackedBatches
from fdp_lightning.engine.budget import Budget
from fdp_lightning.engine.ddp_processes import Rank
from fdp_lightning.engine.fold import being_made
from fdp_lightning.engine.plan import FoldPlan
from fdp_lightning.engine.train_fold import FoldParts, made_on, parts_of, predict_and_write, quiet, set_up
from fdp_lightning.seeds import derived_seed
from fdp_lightning.training.recorder import DivergedError, check_finite
from fdp_lightning.training.resume import keep, newest
from fdp_lightning.training.stack import Clipping, Stack

log = logging.getLogger("fdp_lightning")

KEPT = "stacked"
"""Folder of a stacked fold's states beside its checkpoints; their format is not Lightning's."""


@dataclass
class _Fold:
    """A fold of the stack: its plan, its parts, and its folder while it is written."""

    plan: FoldPlan
    parts: FoldParts
    made: ExitStack
    folder: Path
    facts: dict[str, Any]
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Epochs done before this process started."""
        return int(self.state.get("epoch", 0))

    @property
    def states(self) -> Path:
        return self.plan.unfinished / KEPT


def train_stack(plans: Sequence[FoldPlan], device: int | None, on_epoch: Callable[[str, int], None]) -> dict[str, str]:
    """Train these folds together, resumed from saved states, and write the files of each.

    Folds that were interrupted after different epochs are trained in separate stacks.

    Args:
        plans: plans of folds whose batches are equally many and equally large.
        device: index of the accelerator on the machine; None on the CPU.
        on_epoch: called with (fold, epochs done).

    Returns:
        Tracebacks of the folds that failed by themselves; the others are finished.
    """
    config = OmegaConf.create(plans[0].config)
    rank = Rank(device=device)
    set_up(config, rank)
    failed: dict[str, str] = {}
    with warnings.catch_warnings(), ExitStack() as all_made:
        quiet()
        folds = []
        for plan in plans:
            made = all_made.enter_context(ExitStack())
            folder, facts = made.enter_context(being_made(plan))
            parts = parts_of(plan, config, folder, partial(on_epoch, plan.fold.name), rank)
            folds.append(_Fold(plan, parts, made, folder, facts))
            _read_state(folds[-1])
        for epoch in sorted({fold.epoch for fold in folds}):
            _Training(config, [fold for fold in folds if fold.epoch == epoch], failed).run()
    return failed


class _Training:
    """Training of folds that have done equally many epochs."""

    def __init__(self, config: DictConfig, folds: list[_Fold], failed: dict[str, str]) -> None:
        self._config, self._folds, self._failed = config, folds, failed
        trainers = [fold.parts.trainer for fold in folds]
        self._precision = trainers[0].precision_plugin
        self._device = torch.device(trainers[0].strategy.root_device)
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        for fold in folds:
            self._precision.convert_module(fold.parts.module).to(self._device)
        self._batches = StackedBatches(
            [fold.parts.data for fold in folds],
            [fold.plan.fold.train_rows for fold in folds],
            self._device,
            config.data.loader_workers,
            config.trainer.get("limit_train_batches"),
        )
        options = config.trainer
        budget = Budget.of(options)
        self._epochs, self._steps = budget.epochs, budget.steps
        clipping = Clipping(options.get("gradient_clip_val") or 0.0, options.get("gradient_clip_algorithm") or "norm")
        total = int(min(len(self._batches) * self._epochs, self._steps))
        self._stack = Stack([fold.parts.module for fold in folds], total, clipping, self._precision)
        self._step, self._done = 0, folds[0].epoch
        if self._done:
            self._resume()

    def run(self) -> None:
        """Train to the end and write all folds that reach it."""
        start = time.monotonic()
        together, saved_at = len(self._folds), start
        while self._folds and not self._ended:
            self._train_epoch()
            if not self._ended and time.monotonic() - saved_at >= self._config.loso.checkpoint_seconds:
                for index, fold in enumerate(self._folds):
                    self._save(index, fold)
                saved_at = time.monotonic()
        seconds = round(time.monotonic() - start, 2)
        for index, fold in enumerate(self._folds):
            facts = {"training_seconds": seconds, "epochs": self._done, "resumed_from_epoch": fold.epoch}
            facts |= {"steps": self._step, "parameters": fold.parts.module.provenance["parameters"]}
            fold.facts.update(facts, step=fold.parts.step, trained_together=together, **made_on(fold.parts.trainer))
            self._write(index, fold)

    @property
    def _ended(self) -> bool:
        return self._done >= self._epochs or self._step >= self._steps

    def _train_epoch(self) -> None:
        generators = [
            torch.Generator(self._device).manual_seed(derived_seed(fold.parts.seed, self._done, 0))
            for fold in self._folds
        ]
        totals: dict[str, Tensor] = {}
        steps = 0
        for batch in self._batches.epoch(self._done):
            values = self._stack.step(self._precision.convert_input(batch), generators)
            totals = {name: totals.get(name, 0) + value for name, value in values.items()}
            self._step, steps = self._step + 1, steps + 1
            if self._step >= self._steps:
                break
        self._done += 1
        means = {f"train/{name}": (total / steps).tolist() for name, total in totals.items()}
        well = [
            index
            for index, fold in enumerate(self._folds)
            if self._record(index, fold, {name: of_folds[index] for name, of_folds in means.items()})
        ]
        if len(well) < len(self._folds):
            self._folds = [self._folds[index] for index in well]
            self._stack.keep(well)
            self._batches.keep(well)

    def _record(self, index: int, fold: _Fold, train: dict[str, float]) -> bool:
        """Record an epoch of a fold; return False if its loss is not finite and it stops."""
        try:
            check_finite(train, self._done)
        except DivergedError as error:
            fold.made.__exit__(type(error), error, error.__traceback__)
            self._failed[fold.plan.fold.name] = traceback.format_exc()
            return False
        module, recorder = fold.parts.module, fold.parts.recorder
        module.load_state_dict(self._stack.weights(index))
        every = self._config.trainer.get("check_val_every_n_epoch") or 1
        evaluate = self._ended or self._done % every == 0
        row = recorder.record(module, self._done, self._step, train, self._precision, evaluate)
        for logger in fold.parts.trainer.loggers:
            logger.log_metrics(row, step=self._step)
            # As Lightning does: the means of an epoch at its last step, not after it.
            logger.log_metrics({**train, "epoch": self._done - 1}, step=self._step - 1)
            logger.save()
        recorder.announce(self._done)
        return True

    def _write(self, index: int, fold: _Fold) -> None:
        module, trainer = fold.parts.module, fold.parts.trainer
        module.load_state_dict(self._stack.weights(index))
        if fold.parts.statistics is not None:
            fold.parts.statistics.compute(module, self._precision)
        trainer.strategy.connect(module)  # as a training does, for the checkpoint
        loop: Any = trainer.fit_loop
        loop.epoch_progress.current.processed = loop.epoch_progress.current.completed = self._done
        loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = self._step
        fold.facts.update(predict_and_write(fold.plan, fold.folder, fold.parts))
        fold.made.close()

    def _save(self, index: int, fold: _Fold) -> None:
        place = fold.states / f"{secrets.token_hex(4)}.partial"
        place.parent.mkdir(parents=True, exist_ok=True)
        state = {"stack": self._stack.state(index), "recorder": fold.parts.recorder.state_dict()}
        torch.save({**state, "epoch": self._done, "step": self._step}, place)
        keep(place, f"{fold.plan.fingerprint}-epoch{self._done:06}")

    def _resume(self) -> None:
        self._stack.load([fold.state["stack"] for fold in self._folds])
        self._step = self._folds[0].state["step"]
        for fold in self._folds:
            fold.parts.recorder.load_state_dict(fold.state["recorder"])
            fold.parts.recorder.tell(fold.parts.trainer.loggers)


def _read_state(fold: _Fold) -> None:
    """Load the newest intact state of the fold, if there is one."""
    path, remarks = newest(fold.states, fold.plan.fingerprint)
    for remark in remarks:
        log.warning("fold %s: %s", fold.plan.fold.name, remark)
    if path is not None:
        fold.state = torch.load(path, "cpu", weights_only=True)
