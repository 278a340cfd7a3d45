"""How long a fold is trained: until the first of its budgets is used up, as Lightning has it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Budget:
    """The budgets of a training; `math.inf` and None: no such limit.

    Attributes:
        steps: of the optimizer, `trainer.max_steps`; the groups of conf/trainer take it from `model.optimizer.steps`.
        epochs: `trainer.max_epochs`.
        time: `trainer.max_time`, as it is written.
    """

    steps: float
    epochs: float
    time: Any = None

    @classmethod
    def of(cls, trainer: Mapping[str, Any]) -> "Budget":
        """The budgets in the options of the Trainer, where null and -1 are none."""
        steps, epochs = ((trainer.get(name) or -1) for name in ("max_steps", "max_epochs"))
        return cls(
            steps=math.inf if steps == -1 else steps,
            epochs=math.inf if epochs == -1 else epochs,
            time=trainer.get("max_time"),
        )

    @property
    def max_steps(self) -> int | None:
        """The steps, if they are limited."""
        return None if self.steps == math.inf else int(self.steps)

    def epochs_of(self, epoch_steps: int) -> int | None:
        """The epochs that steps and epochs allow, of so many steps each; None: no end."""
        epochs = min(self.epochs, self.steps / epoch_steps)
        return None if epochs == math.inf else math.ceil(epochs)

    def __str__(self) -> str:
        limits = {"steps": self.steps, "epochs": self.epochs}
        said = [f"{limit} {name}" for name, limit in limits.items() if limit != math.inf]
        return " or ".join([*said, *([f"{self.time}"] if self.time is not None else [])])


def steps_of_epoch(clips: int, batch_size: int) -> int:
    """Batches of an epoch of so many training clips, see data/batches.py."""
    return -(-clips // min(batch_size, clips))
