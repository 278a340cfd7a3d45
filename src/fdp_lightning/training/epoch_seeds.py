"""Random numbers by epoch, so that a training that was cut off goes on exactly as it would have gone on."""

import lightning as L

from fdp_lightning.seeds import derived_seed


class EpochSeeds(L.Callback):
    """Seed all generators anew at the first batch of each epoch, from the fold's seed, the epoch and the process.

    The state of the generators is then a function of the epoch alone: a checkpoint needs none of it, and what a process
    drew before (for a figure, for another fold) changes nothing.

    Args:
        seed: of the fold.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """At the batch, not at the epoch's start, which Lightning does not announce when it resumes."""
        if batch_idx == 0:
            seed = derived_seed(self._seed, trainer.current_epoch, trainer.global_rank)
            L.seed_everything(seed, verbose=False)
