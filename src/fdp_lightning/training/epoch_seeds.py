"""Random numbers by epoch, so that a resumed training continues exactly as it would have without interruption."""

import lightning as L

from fdp_lightning.seeds import derived_seed


class EpochSeeds(L.Callback):
    """Seed all generators at the first batch of each epoch, from the fold's seed, the epoch and the process.

    The state of the generators is then a function of the epoch alone: a checkpoint needs none of it, and what a process
    drew before (for a figure, for another fold) has no effect.

    Args:
        seed: seed of the fold.
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
