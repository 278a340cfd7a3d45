"""Statistics that a fold fits on its training clips, and the normalisation of grey values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdp_lightning.data.inputs.flow import FlowScale


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the training clips' values (0..1); 0 and 1 if batches are already normalised."""

    mean: float
    std: float

    @classmethod
    def of(cls, frames: np.ndarray) -> "Statistics":
        """Compute the statistics of stored frames, uint8, jointly over all colours."""
        # Counting grey values is exact; clip by clip it needs little memory, as bincount converts its input to int64.
        counts = np.sum([np.bincount(clip.reshape(-1), minlength=256) for clip in frames], axis=0)
        values = np.arange(256) / 255
        mean = float(counts @ values / counts.sum())
        return cls(mean, float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())))


@dataclass(frozen=True)
class Fitted:
    """Everything that a fold fits on its training clips before training."""

    statistics: Statistics  # mean and standard deviation of their frames; 0 and 1 if the recogniser takes maps
    scale: FlowScale | None  # scale of their flow maps; None if the recogniser takes frames
    class_counts: Sequence[int]  # number of training clips of each class; multi-label clips count in several
    clips: int  # number of training clips
