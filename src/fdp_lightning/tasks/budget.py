"""What a training will take: its epochs, its steps, and, from the first steps of it, its time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdp_lightning.evaluation.trained import span

if TYPE_CHECKING:
    from fdp_lightning.tasks.fold import FoldPlan

LONG_S = 30 * 60.0
"""A run that will take longer says so as soon as its first steps are measured."""


@dataclass(frozen=True)
class StepTime:
    """What the process of a fold tells once: the seconds of a step."""

    seconds: float


def batches_of(plan: "FoldPlan") -> int:
    """Batches of an epoch."""
    batches = max(1, len(plan.fold.train_rows) // plan.config["data"]["batch_size"])
    limit = plan.config["trainer"].get("limit_train_batches")
    return min(batches, limit) if isinstance(limit, int) and limit > 0 else batches


def epochs_of(plan: "FoldPlan") -> int:
    """The epochs a fold will take; the budget may be given in steps (`trainer.max_steps`)."""
    trainer = plan.config["trainer"]
    epochs, steps = trainer.get("max_epochs") or -1, trainer.get("max_steps") or -1
    budgets = [epochs, math.ceil(steps / steps_of_epoch(plan))]
    return min((budget for budget in budgets if budget > 0), default=1)


def steps_of_epoch(plan: "FoldPlan") -> int:
    """Steps of the optimizer in an epoch."""
    return math.ceil(batches_of(plan) / (plan.config["trainer"].get("accumulate_grad_batches") or 1))


def steps_of(plan: "FoldPlan") -> int:
    """The steps a fold will take."""
    steps = plan.config["trainer"].get("max_steps") or -1
    whole = epochs_of(plan) * steps_of_epoch(plan)
    return min(whole, steps) if steps > 0 else whole


def time_needed(seconds: float, plans: "Sequence[FoldPlan]", at_once: int) -> str:
    """What a long run will take and, on the CPU, what is quicker; '' for a run that is not long.

    Args:
        seconds: of a step, measured while as many folds train as will.
        plans: of all folds.
        at_once: folds that train side by side.
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
    small = "" if plans[0].model.split(" ")[0] == "fdp_tiny" else "; the small model is far quicker on a CPU: "
    return f"{text}. A GPU is far quicker (trainer=auto takes it){small}{'model=fdp_tiny trainer=cpu' if small else ''}"


def _about(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 1:
        return f"{round(seconds / 300) * 5} min"
    if hours < 10:
        return f"{hours:.1f} h"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"


def _digits(value: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:.0f}"
