"""A budget in steps beside Lightning's `max_steps`, with which Lightning 2.6.6 repeats epochs on resuming."""

import lightning as L


class StepBudget(L.Callback):
    """Stop after `steps` optimizer steps, in the middle of an epoch too; with max_steps=-1 Lightning counts epochs."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        """Stop the training when its steps are done."""
        if trainer.global_step >= self._steps:
            trainer.should_stop = True
