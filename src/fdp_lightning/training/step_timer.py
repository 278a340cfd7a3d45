"""Duration of a step, measured on the first ones."""

import time
from collections.abc import Callable

import lightning as L


class StepTimer(L.Callback):
    """Report once how many seconds a step takes.

    The first step is not counted: memory is allocated, and perhaps code compiled. An evaluation between epochs is.

    Args:
        tell: called with the seconds.
        steps: number of optimizer steps to measure.
    """

    def __init__(self, tell: Callable[[float], None], steps: int = 3) -> None:
        self._tell, self._steps = tell, steps
        self._first: tuple[int, float] | None = None
        self._told = False

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        """Measure after a batch, which may have ended a step."""
        if self._told:
            return
        step, now = trainer.global_step, time.monotonic()
        if self._first is None:
            self._first = (step, now)
        elif step - self._first[0] >= self._steps:
            self._told = True
            self._tell((now - self._first[1]) / (step - self._first[0]))
