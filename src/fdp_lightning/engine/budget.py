"""Budgets of a training, of which the first one reached ends it, as in Lightning, and the time it takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fdp_lightning.evaluation.origin import span

if TYPE_CHECKING:
    from fdp_lightning.engine.plan import FoldPlan

LONG_S = 30 * 60.0
"""Seconds from which a run logs its estimated time once its first steps are measured."""


@dataclass(frozen=True)
class StepTime:
    """Message of a fold's process: the seconds of a step."""

    seconds: float


@dataclass(frozen=True)
class Budget:
    """The budgets of a training; None: no such limit.

    Attributes:
        steps: optimizer steps, `trainer.max_steps`; the groups of conf/trainer take it from `model.optimizer.steps`.
        epochs: epochs, `trainer.max_epochs`.
        time: `trainer.max_time` as configured.
    """

    steps: int | None
    epochs: int | None
    time: Any

    @classmethod
    def of(cls, trainer: Mapping[str, Any]) -> "Budget":
        """Return the budgets in the options of the Trainer, where null and -1 are none."""
        steps, epochs = (None if trainer.get(name) == -1 else trainer.get(name) for name in ("max_steps", "max_epochs"))
        return cls(steps, epochs, trainer.get("max_time"))

    def epochs_of(self, epoch_steps: int) -> int | None:
        """Return the epochs of so many steps each that the budgets allow; None: no limit."""
        for_steps = None if self.steps is None else math.ceil(self.steps / epoch_steps)
        return min((epochs for epochs in (self.epochs, for_steps) if epochs is not None), default=None)

    def __str__(self) -> str:
        limits = {" steps": self.steps, " epochs": self.epochs, "": self.time}
        return " or ".join(f"{limit}{unit}" for unit, limit in limits.items() if limit is not None)


def steps_of_epoch(clips: int, batch_size: int) -> int:
    """Return the batches of an epoch of so many training clips, see data/loading/batches.py."""
    return -(-clips // min(batch_size, clips))


def epoch_steps_of(plan: "FoldPlan") -> int:
    """Return the optimizer steps in an epoch of a fold."""
    trainer = plan.config["trainer"]
    batches = steps_of_epoch(len(plan.fold.train_rows), plan.config["data"]["batch_size"])
    limit = trainer.get("limit_train_batches")  # a number of batches, or a share of them
    if limit:
        batches = min(batches, limit) if isinstance(limit, int) else max(1, int(batches * limit))
    return math.ceil(batches / (trainer.get("accumulate_grad_batches") or 1))


def epochs_of(plan: "FoldPlan") -> int:
    """Return the epochs of a fold; 1 where only `trainer.max_time` ends it."""
    return Budget.of(plan.config["trainer"]).epochs_of(epoch_steps_of(plan)) or 1


def steps_of(plan: "FoldPlan") -> int:
    """Return the steps of a fold."""
    steps = epochs_of(plan) * epoch_steps_of(plan)
    return min(steps, Budget.of(plan.config["trainer"]).steps or steps)


def time_needed(seconds: float, plans: "Sequence[FoldPlan]", at_once: int) -> str:
    """Return the estimated time of a long run with, on the CPU, faster choices; '' for a run that is not long.

    `seconds` are those of a step, measured while `at_once` folds train.
    """
    steps = [steps_of(plan) for plan in plans]
    needed = seconds * max(sum(steps) / max(1, min(at_once, len(plans))), max(steps))
    if needed <= LONG_S:
        return ""
    on_cpu = plans[0].config["trainer"]["accelerator"] == "cpu"
    folds = f" × {len(plans)} folds" if len(plans) > 1 else ""
    side_by_side = f", {min(at_once, len(plans))} at a time" if min(at_once, len(plans)) > 1 else ""
    text = (
        f"this will take about {_about(needed)} on this {'CPU' if on_cpu else 'GPU'} "
        f"(measured: {_digits(seconds)} s a step × {span(steps)} steps{folds}{side_by_side})"
    )
    if not on_cpu:
        return text
    small = plans[0].config["loso"].get("quick_model")
    if not small or plans[0].model.split(" ")[0] == small:
        return f"{text}. A GPU is far quicker (trainer=auto takes it)"
    return (
        f"{text}. A GPU is far quicker (trainer=auto takes it); the small model is far quicker on a CPU: "
        f"model={small} trainer=cpu"
    )


def _about(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 1:
        return f"{round(seconds / 300) * 5} min"
    if hours < 10:
        return f"{hours:.1f} h"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


def _digits(value: float) -> str:
    """Format two significant digits without an exponent."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"
