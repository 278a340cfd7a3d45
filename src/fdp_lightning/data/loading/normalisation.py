"""By what grey values are normalised, and where."""

from dataclasses import dataclass

import numpy as np

from fdp_lightning.errors import UserError

NORMALISATIONS = ("training", "each_set")
"""What `data.normalisation` may be; explained in `datamodule.FoldDataModule`."""


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of all values (of 0..1) of the training clips; the network normalises by them.

    Zero and one where the batches hold values that are normalised already (`each_set`).
    """

    mean: float
    std: float

    @classmethod
    def of(cls, frames: np.ndarray) -> "Statistics":
        """Of frames as they are stored, uint8; one mean for all colours."""
        # Counting grey values is exact and takes no memory; bincount widens what it counts, so clip by clip.
        counts = np.sum([np.bincount(clip.reshape(-1), minlength=256) for clip in frames], axis=0)
        values = np.arange(256) / 255
        mean = float(counts @ values / counts.sum())
        return cls(mean, float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())))


def check_normalisation(name: str) -> None:
    """Raise UserError unless it is one of `NORMALISATIONS`."""
    if name not in NORMALISATIONS:
        raise UserError(f"data.normalisation is '{name}'; expected one of {', '.join(NORMALISATIONS)}")
