"""What is fitted on the training clips of a fold, as one object."""

from collections.abc import Sequence
from dataclasses import dataclass

from fdp_lightning.data.inputs.flow import FlowScale
from fdp_lightning.data.loading.normalisation import Statistics


@dataclass(frozen=True)
class Fitted:
    """What a fold fits on its training clips, before anything is trained.

    Attributes:
        statistics: of their frames, for a network that normalises by them; 0 and 1 where it takes maps.
        scale: of their flow maps; None where the recogniser takes frames.
        class_counts: training clips of each class.
        clips: number of training clips, of which multi-label `class_counts` count overlapping parts.
    """

    statistics: Statistics
    scale: FlowScale | None
    class_counts: Sequence[int]
    clips: int
