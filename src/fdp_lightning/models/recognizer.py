"""The interface of every recogniser: a network that returns logits, and its objective.

The network is an `nn.Module` that takes a batch of clips and returns an object with `logits`, (b, k). The objective
names its losses, the measures to plot over the epochs, and the extras to keep for each clip. Everything else (training,
a fold's files, report, predictions, demo) uses only this interface and knows no recogniser by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fdp_lightning.extras import Extra
from fdp_lightning.labels import LabelKind
from fdp_lightning.models.classification_loss import CLASS_WEIGHTINGS
from fdp_lightning.models.frame_mask import Mask
from fdp_lightning.models.labels import LABELS

__all__ = (
    "AnyNumberOfClips", "Clips", "Extra", "Logits", "Losses", "Objective", "Output", "Representing", "with_logits",
)  # fmt: skip


@dataclass(frozen=True)
class Clips:
    """A batch of clips, the input of networks and objectives.

    Attributes:
        frames: output of the input stage: frames with values in 0..1, (b, t, c, h, w), or maps of their motion.
        target: class numbers; multi-label: 1 for each action unit that a clip shows, else 0.
        frame_number: number of each frame in the recording; None if frames are counted from 1.
        apex: frame number of the annotated apex, NaN where unknown.
        mask: real frames; None if all are.
    """

    frames: Float[Tensor, "b *input"]
    target: Int[Tensor, " b"] | Float[Tensor, "b k"]
    frame_number: Float[Tensor, "b t"] | None = None
    apex: Float[Tensor, " b"] | None = None
    mask: Mask | None = None


@runtime_checkable
class Output(Protocol):
    """Output of a network for a batch; only its objective knows the other fields."""

    @property
    def logits(self) -> Float[Tensor, "b k"]:
        """Logits of the classes or action units."""


@dataclass(frozen=True)
class Logits:
    """Output of a network that returns only logits."""

    logits: Float[Tensor, "b k"]


def with_logits(output: Output | Tensor) -> Output:
    """Wrap bare logits as an `Output`; return any other output unchanged."""
    return Logits(output) if isinstance(output, Tensor) else output


@runtime_checkable
class AnyNumberOfClips(Protocol):
    """A network that needs preparation before its ONNX file accepts any number of clips."""

    def take_any_number_of_clips(self) -> None:
        """Switch to a computation that does not fix the number of clips in a batch."""


@runtime_checkable
class Representing(Protocol):
    """A network that returns what its head reads, for the report's map of clips.

    Attributes:
        representation: name of this representation, in lower case.
    """

    representation: str

    def represent(self, clips: Float[Tensor, "b *input"]) -> Float[Tensor, "b d"]:
        """Map each clip to one vector."""


@dataclass(frozen=True)
class Losses:
    """The unweighted parts of an objective by name, and their weighted sum."""

    total: Float[Tensor, ""]
    parts: Mapping[str, Float[Tensor, ""]]


AnyOutput = TypeVar("AnyOutput", bound=Output)


class Objective(nn.Module, Generic[AnyOutput]):
    """Cross-entropy of the classes, or of each action unit (see labels.py): the minimum that a recogniser needs.

    Args:
        class_weighting: 'none', 'inverse' or 'effective', see classification_loss.py.
        effective_beta: β of the weighting 'effective'.
        label_smoothing: share of the target spread over all classes.
        focal: exponent of focal weighting; 0 is none.
        class_counts: training clips of each class, for `class_weighting`; None for equal weights.
        train_clips: number of training clips; to be given with multi-label `class_counts`, which overlap.
        label_kind: kind of the labels. It follows from the protocol and is not a configuration key.

    Attributes:
        extras: arrays that `record` returns for each clip, and `of_training` for a fold.
        labels: loss, probabilities and correct decisions for this kind of labels.
    """

    extras: Sequence[Extra] = ()
    class_weights: Tensor

    def __init__(
        self,
        class_weighting: str = "none",
        effective_beta: float = 0.99,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
        class_counts: Sequence[int] | None = None,
        train_clips: int | None = None,
        label_kind: LabelKind = LabelKind.SINGLE,
    ) -> None:
        super().__init__()
        if class_weighting not in CLASS_WEIGHTINGS:
            raise ValueError(f"unknown class_weighting '{class_weighting}'; allowed are {', '.join(CLASS_WEIGHTINGS)}")
        if focal < 0 or not 0 <= label_smoothing < 1 or not 0 <= effective_beta < 1:
            raise ValueError(
                f"focal={focal}, label_smoothing={label_smoothing}, effective_beta={effective_beta}; expected focal of "
                "at least 0, and the others of at least 0 and below 1"
            )
        self.label_smoothing, self.focal = label_smoothing, focal
        self.labels = LABELS[label_kind]
        counts = class_counts or [1]
        n_clips = sum(counts) if train_clips is None else train_clips
        self.weighted = class_counts is not None and class_weighting != "none"
        # A buffer, because it is fitted on the fold's training subjects and has to be in the checkpoint.
        self.register_buffer("class_weights", self.labels.weights(counts, n_clips, class_weighting, effective_beta))

    def fit(self, clips: Clips) -> None:
        """Fit the objective on all training clips; the base class fits nothing."""

    def forward(self, output: AnyOutput, clips: Clips) -> Losses:
        """Return the losses of one batch."""
        emotion = self.emotion_loss(output.logits, clips.target)
        return Losses(emotion, {"emotion": emotion})

    def emotion_loss(self, logits: Float[Tensor, "b k"], target: Tensor) -> Float[Tensor, ""]:
        """Return the emotion loss with class weights, not yet weighted against other losses."""
        weights = self.class_weights if self.weighted else None
        return self.labels.loss(logits, target, weights, self.label_smoothing, self.focal)

    def measures(self, output: AnyOutput, clips: Clips) -> dict[str, Float[Tensor, ""]]:
        """Return means over a batch to record along with losses and accuracy; none in the base class."""
        return {}

    def of_output(self, output: AnyOutput) -> dict[str, Tensor]:
        """Return those arrays of `extras` that depend only on the network's output; the ONNX file has them too."""
        return {}

    def record(self, output: AnyOutput, clips: Clips) -> dict[str, Tensor]:
        """Return the arrays of `extras`, one row per clip; NaN where a clip or network has no value."""
        return {name: values.float() for name, values in self.of_output(output).items()}

    @torch.no_grad()
    def of_training(self, clips: Clips) -> dict[str, Tensor]:
        """Return arrays of a fold's training clips to compare its extras with, by name; none in the base class."""
        return {}

    def restore(self, fitted: Mapping[str, float]) -> None:
        """Set the values that `fit` keeps as buffers, by name, from a model file.

        Raises:
            ValueError: the values are not those that this objective fits.
        """
        if fitted:
            raise ValueError(f"{type(self).__name__} fits nothing, but got {', '.join(fitted)}")
