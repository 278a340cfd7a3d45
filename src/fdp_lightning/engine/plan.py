"""Plan of each fold of a run (train on all subjects but one, predict that one), its budgets and the time it takes.

If there are several budgets, the first one reached ends the training, as in Lightning.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.data.protocols.leak_guard import check_fold
from fdp_lightning.data.protocols.splits import Fold, everybody, with_inner_subjects
from fdp_lightning.engine.dataset import ReadyData
from fdp_lightning.evaluation.origin import span
from fdp_lightning.runs.fingerprint import fingerprint
from fdp_lightning.runs.folder import model_name
from fdp_lightning.runs.seal import finished, move_aside
from fdp_lightning.seeds import derived_seed

log = logging.getLogger("fdp_lightning")


class Checked(NamedTuple):
    """Facts that require the network and the optimizer to be built."""

    parameters: int
    """Number of parameters of the network."""
    step: str
    """Clips and devices of a step, and the end of the training, in words."""


@dataclass(frozen=True)
class FoldPlan:
    """Everything a process needs to run one fold, as plain data.

    `config` is resolved. `run` is the run folder, or for a fit its own folder inside it. `fold` is the split, including
    the inner validation subjects. `fingerprint` covers everything that determines the predictions.
    """

    config: dict[str, Any]
    run: Path
    store: Path
    clips: pd.DataFrame
    fold: Fold
    fingerprint: str
    model: str

    @property
    def is_fit(self) -> bool:
        """True if it trains on all subjects and tests none (`task=fit`)."""
        return not self.fold.test_rows

    @property
    def folder(self) -> Path:
        return self.run / "folds" / self.fold.name

    @property
    def unfinished(self) -> Path:
        """Folder of the checkpoints to resume from until the fold is finished."""
        return self.run / "unfinished" / self.fold.name

    @property
    def is_done(self) -> bool:
        """True if the fold is finished, intact, and from these settings, clips and source code."""
        return finished(self.folder, self.fingerprint, checkpoints=self.is_fit)[0]


def plan_fold(config: DictConfig, data: ReadyData, split: Fold | None, run: Path) -> FoldPlan:
    """Plan one fold of a run, or, if `split` is None, the training of a model on all subjects.

    Such a fit has the fingerprint of the folds of the same configuration, whose score estimates its own. LeakError if
    sides of a fold share a subject or a clip, UserError for too few training subjects.
    """
    if split is None:
        fold = everybody(data.clips)
    else:
        seed = derived_seed(config.seed, split.name)
        fold = with_inner_subjects(split, data.clips, config.selection.inner_subjects, seed)
        check_fold(fold, data.clips)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    mark = fingerprint(config, data.content)
    return FoldPlan(plain, run, data.store, data.clips, fold, mark, model_name(config))


def clear_the_way(plan: FoldPlan) -> bool:
    """Return True if the fold is finished; move one that cannot be used aside, with a warning."""
    done, reason = finished(plan.folder, plan.fingerprint, checkpoints=plan.is_fit)
    if reason:
        kept = move_aside(plan.run, plan.folder)
        what = "the fit" if plan.is_fit else f"fold {plan.fold.name}"
        log.warning("%s is run again: %s. The old one is kept in %s", what, reason, kept)
    return done


LONG_S = 30 * 60.0  # a run that will take longer logs the estimate once its first steps are measured


@dataclass(frozen=True)
class Budget:
    """Budgets of a training; None: no such limit.

    `steps` are optimizer steps: `trainer.max_steps`, which conf/trainer takes from `model.optimizer.steps`.
    """

    steps: int | None
    epochs: int | None
    time: Any

    @classmethod
    def of(cls, trainer: Mapping[str, Any]) -> "Budget":
        """Return the budgets in the options of the Trainer, in which null and -1 mean no limit."""
        steps, epochs = (None if trainer.get(name) == -1 else trainer.get(name) for name in ("max_steps", "max_epochs"))
        return cls(steps, epochs, trainer.get("max_time"))

    def epochs_of(self, epoch_steps: int) -> int | None:
        """Return the number of epochs, of `epoch_steps` steps each, that the budgets allow; None: no limit."""
        for_steps = None if self.steps is None else math.ceil(self.steps / epoch_steps)
        return min((epochs for epochs in (self.epochs, for_steps) if epochs is not None), default=None)

    def __str__(self) -> str:
        limits = {" steps": self.steps, " epochs": self.epochs, "": self.time}
        return " or ".join(f"{limit}{unit}" for unit, limit in limits.items() if limit is not None)


def steps_of_epoch(clips: int, batch_size: int) -> int:
    """Return the number of batches in an epoch of `clips` training clips, see data/loading/batches.py."""
    return -(-clips // min(batch_size, clips))


def epoch_steps_of(plan: "FoldPlan") -> int:
    trainer = plan.config["trainer"]
    batches = steps_of_epoch(len(plan.fold.train_rows), plan.config["data"]["batch_size"])
    limit = trainer.get("limit_train_batches")  # a number of batches, or a share of them
    if limit:
        batches = min(batches, limit) if isinstance(limit, int) else max(1, int(batches * limit))
    return math.ceil(batches / (trainer.get("accumulate_grad_batches") or 1))


def epochs_of(plan: "FoldPlan") -> int:
    """Return the number of epochs of a fold; 1 if only `trainer.max_time` ends it."""
    return Budget.of(plan.config["trainer"]).epochs_of(epoch_steps_of(plan)) or 1


def steps_of(plan: "FoldPlan") -> int:
    steps = epochs_of(plan) * epoch_steps_of(plan)
    return min(steps, Budget.of(plan.config["trainer"]).steps or steps)


def time_needed(seconds: float, plans: "Sequence[FoldPlan]", at_once: int) -> str:
    """Return the estimated time of a long run and, on a CPU, faster choices, in words; '' for a run that is not long.

    `seconds` is the duration of a step, measured while `at_once` folds train.
    """
    steps = [steps_of(plan) for plan in plans]
    needed = seconds * max(sum(steps) / max(1, min(at_once, len(plans))), max(steps))
    if needed <= LONG_S:
        return ""
    on_cpu = plans[0].config["trainer"]["accelerator"] == "cpu"
    folds = f" × {len(plans)} folds" if len(plans) > 1 else ""
    side_by_side = f", {min(at_once, len(plans))} at a time" if min(at_once, len(plans)) > 1 else ""
    step = f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"
    text = (
        f"this will take about {_about(needed)} on this {'CPU' if on_cpu else 'GPU'} "
        f"(measured: {step} s a step × {span(steps)} steps{folds}{side_by_side})"
    )
    if on_cpu:
        text += ". A GPU is much faster (trainer=auto uses one)"
        small = plans[0].config["loso"].get("quick_model")
        # Not to those who train it already, or the same network for fewer steps.
        if small and plans[0].model.split(" ")[0] not in (small, small.removesuffix("_long")):
            text += f"; on a CPU the small model is much faster: model={small} trainer=cpu"
    return text


def _about(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 1:
        return f"{round(seconds / 300) * 5} min"
    if hours < 10:
        return f"{hours:.1f} h"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"
