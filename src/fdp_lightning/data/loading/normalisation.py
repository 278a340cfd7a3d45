"""Normalisation of grey values."""

from dataclasses import dataclass

import numpy as np

from fdp_lightning.errors import UserError

NORMALISATIONS = ("training", "each_set")
"""Values of `data.normalisation`, see `datamodule.FoldDataModule`."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of all values (in 0..1) of the training clips, by which the network normalises.

    They are zero and one if the batches are already normalised (`each_set`).
    """

    mean: float
    std: float

    @classmethod
    def of(cls, frames: np.ndarray) -> "Statistics":
        """Compute the statistics of stored frames, uint8, with one mean for all colours."""
        # Counting grey values is exact and takes no memory; clip by clip, because bincount converts its input to int64.
        counts = np.sum([np.bincount(clip.reshape(-1), minlength=256) for clip in frames], axis=0)
        values = np.arange(256) / 255
        mean = float(counts @ values / counts.sum())
        return cls(mean, float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())))


def check_normalisation(name: str) -> None:
    """Raise UserError unless `name` is one of `NORMALISATIONS`."""
    if name not in NORMALISATIONS:
        raise UserError(f"data.normalisation is '{name}'; expected one of {', '.join(NORMALISATIONS)}")
