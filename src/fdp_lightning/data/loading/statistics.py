"""Statistics that a fold fits on its training clips, and the normalisation of grey values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdp_lightning.data.inputs.flow import FlowScale


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation of all values (0..1) of the training clips; 0 and 1 if batches are already normalised."""

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


@dataclass(frozen=True)
class Fitted:
    """Statistics that a fold fits on its training clips before the training."""

    statistics: Statistics  # mean and standard deviation of their frames; 0 and 1 if the recogniser takes maps
    scale: FlowScale | None  # scale of their flow maps; None if the recogniser takes frames
    class_counts: Sequence[int]  # number of training clips of each class; multi-label counts overlap
    clips: int  # number of training clips
