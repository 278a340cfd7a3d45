"""Small callbacks of a training: random numbers by epoch, a budget in steps, the duration of a step."""

import time
from collections.abc import Callable

import lightning as L

from fdp_lightning.seeds import derived_seed


class EpochSeeds(L.Callback):
    """Seed all generators at the first batch of each epoch, from the fold's `seed`, the epoch and the process.

    A resumed training then continues exactly as it would have without interruption: the state of the generators is a
    function of the epoch alone. A checkpoint needs none of it, and what a process drew before (for a figure, for
    another fold) has no effect.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed at the first batch, not at the epoch's start, whose hook Lightning does not call when it resumes."""
        if batch_idx == 0:
            seed = derived_seed(self._seed, trainer.current_epoch, trainer.global_rank)
            L.seed_everything(seed, verbose=False)


class StepBudget(L.Callback):
    """Stop after `steps` optimizer steps, in the middle of an epoch too.

    With Lightning's own `max_steps` Lightning 2.6.6 repeats epochs on resuming; with max_steps=-1 it counts epochs.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        """Stop the training when its steps are done."""
        if trainer.global_step >= self._steps:
            trainer.should_stop = True


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
