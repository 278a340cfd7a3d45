"""Statistics fitted on the training clips of a fold."""

from collections.abc import Sequence
from dataclasses import dataclass

from fdp_lightning.data.inputs.flow import FlowScale
from fdp_lightning.data.loading.normalisation import Statistics


@dataclass(frozen=True)
class Fitted:
    """Statistics that a fold fits on its training clips before the training.

    Attributes:
        statistics: mean and standard deviation of their frames; 0 and 1 if the recogniser takes maps.
        scale: scale of their flow maps; None if the recogniser takes frames.
        class_counts: number of training clips of each class; multi-label counts overlap.
        clips: number of training clips.
    """

    statistics: Statistics
    scale: FlowScale | None
    class_counts: Sequence[int]
    clips: int
