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
        values = frames.astype(np.float32) / 255
        return cls(float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)))


def check_normalisation(name: str) -> None:
    """Raise UserError unless it is one of `NORMALISATIONS`."""
    if name not in NORMALISATIONS:
        raise UserError(f"data.normalisation is '{name}'; expected one of {', '.join(NORMALISATIONS)}")
