"""The training objective: emotion, dynamic image and rank order, weighted (R; the rank term is ours)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.dynamic_image import (
    DYNAMIC_IMAGES,
    MOTION_MEASURES,
    apex_index,
    dynamic_image,
    min_max,
    signed,
)
from fdp_lightning.models.fdp import FDPOutput
from fdp_lightning.models.frame_mask import Mask
from fdp_lightning.models.labels import MULTI_LABEL, SINGLE_LABEL
from fdp_lightning.models.rank.losses import RankLoss
from fdp_lightning.models.rank.targets import chronological, intensity

IMAGE_SCALES = ("min_max", "signed")


@dataclass(frozen=True)
class Losses:
    """The parts of the objective, unweighted, and their weighted sum."""

    total: Float[Tensor, ""]
    emotion: Float[Tensor, ""]
    dynamic_image: Float[Tensor, ""]
    rank: Float[Tensor, ""]


@dataclass(frozen=True)
class Clips:
    """What the objective is to know of a batch.

    Attributes:
        frames: values of 0..1.
        target: class numbers; multi-label: 1 for each action unit that a clip shows, else 0.
        frame_number: of each frame in the recording; None: they are counted.
        apex: frame number of the annotated apex, NaN where unknown.
        mask: of the real frames; None: all are.
    """

    frames: Float[Tensor, "b t c h w"]
    target: Int[Tensor, " b"] | Float[Tensor, "b k"]
    frame_number: Float[Tensor, "b t"] | None = None
    apex: Float[Tensor, " b"] | None = None
    mask: Mask | None = None


class Objective(nn.Module):
    """`emotion · cross-entropy + dynamic_image · MSE + rank · rank loss`.

    With multi-label targets the first is the binary cross-entropy of all action units, see labels.py.

    Args:
        emotion: weight of the cross-entropy.
        dynamic_image: weight of the mean squared error to the clip's dynamic image.
        rank: weight of the rank losses, one of each order that is scored, summed.
        rank_loss: of the chronological order, one of `rank.losses.RANK_LOSSES`.
        intensity_loss: of the intensity order, one of them.
        rank_temperature: of ranknet and soft_spearman.
        rank_margin: of hinge.
        rank_sharpness: of listnet.
        image_kind: of the dynamic image, one of `dynamic_image.DYNAMIC_IMAGES`.
        image_scale: 'min_max' per clip (R), or 'signed' by the training clips (O).
        motion_measure: that orders the frames of the kind 'intensity', 'difference' or 'flow'.
        class_weighting: 'none', 'inverse' or 'effective', see emotion_loss.py; of action units see unit_loss.py.
        effective_beta: of 'effective'.
        label_smoothing: of the cross-entropy.
        focal: exponent of focal weighting; 0 is none.
        class_counts: training clips of each class, for `class_weighting`; None: all classes weigh the same.
        train_clips: all training clips, of which multi-label `class_counts` count overlapping parts.
        multi_label: whether a clip may be of several classes. It follows from the protocol, which whoever builds the
            objective hands on; no configuration says it.
    """

    class_weights: Tensor
    image_rms: Tensor

    def __init__(
        self,
        emotion: float = 1.0,
        dynamic_image: float = 100.0,
        rank: float = 1.0,
        rank_loss: str = "ranknet",
        intensity_loss: str = "listnet",
        rank_temperature: float = 1.0,
        rank_margin: float = 1.0,
        rank_sharpness: float = 4.0,
        image_kind: str = "exact",
        image_scale: str = "min_max",
        motion_measure: str = "difference",
        class_weighting: str = "none",
        effective_beta: float = 0.99,
        label_smoothing: float = 0.0,
        focal: float = 0.0,
        class_counts: Sequence[int] | None = None,
        train_clips: int | None = None,
        multi_label: bool = False,
    ) -> None:
        super().__init__()
        _one_of("image_kind", image_kind, DYNAMIC_IMAGES)
        _one_of("image_scale", image_scale, IMAGE_SCALES)
        _one_of("motion_measure", motion_measure, MOTION_MEASURES)
        if min(emotion, dynamic_image, rank, focal) < 0 or not 0 <= label_smoothing < 1:
            raise ValueError("weights and focal must not be below 0, label_smoothing within 0 and 1 (1 not included)")
        self.weights = (emotion, dynamic_image, rank)
        self.rank_losses = nn.ModuleDict(
            {
                order: RankLoss(name, rank_temperature, rank_margin, rank_sharpness)
                for order, name in (("chronological", rank_loss), ("intensity", intensity_loss))
            }
        )
        self.label_smoothing, self.focal = label_smoothing, focal
        self.image_kind, self.image_scale, self.motion_measure = image_kind, image_scale, motion_measure
        self.labels = MULTI_LABEL if multi_label else SINGLE_LABEL
        if multi_label and class_counts is not None and train_clips is None:
            raise TypeError("multi-label class_counts overlap: train_clips has to be given with them")
        counts = class_counts or [1]
        n_clips = sum(counts) if train_clips is None else train_clips
        weights = self.labels.weights(counts, n_clips, class_weighting, effective_beta)
        self.weighted = class_counts is not None and class_weighting != "none"
        # Buffers: fitted on the training subjects of the fold, they travel with the checkpoint.
        self.register_buffer("class_weights", weights)
        self.register_buffer("image_rms", torch.tensor(1.0))

    @torch.no_grad()
    def fit(self, clips: Clips) -> None:
        """Read the scale of the dynamic images off the training clips, for `image_scale=signed`."""
        self.image_rms.copy_(self._dynamic_image(clips).square().mean().sqrt().clamp_min(1e-6))

    def true_dynamic_image(self, clips: Clips) -> Float[Tensor, "b 1 h w"]:
        """The DIC target of the frames the model sees, in [0, 1]; of coloured frames, their mean over colours."""
        return self.scaled(self._dynamic_image(clips))

    def scaled(self, images: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Dynamic images on the scale of the target, in [0, 1]."""
        return min_max(images) if self.image_scale == "min_max" else signed(images, self.image_rms)

    def relevance(self, order: str, clips: Clips) -> Float[Tensor, "b t"]:
        """What the scorer of an order is to find, see rank/targets.py."""
        position = chronological(clips.frames, clips.mask)
        if order == "chronological":
            return position
        number = position if clips.frame_number is None else clips.frame_number
        index = apex_index(clips.frames, clips.frame_number, clips.apex, clips.mask)
        return intensity(number, number.gather(1, index.unsqueeze(1)).squeeze(1), clips.mask)

    def forward(self, output: FDPOutput, clips: Clips) -> Losses:
        """All parts for one batch."""
        emotion = self.emotion_loss(output.logits, clips.target)
        image = F.mse_loss(output.dynamic_image, self.true_dynamic_image(clips))
        rank = emotion.new_zeros(())
        for order, scores in output.scores.items():
            loss = self.rank_losses[order]
            rank = rank + loss(scores.to(clips.frames.dtype), self.relevance(order, clips), clips.mask)
        parts = (emotion, image, rank)
        total = sum((weight * part for weight, part in zip(self.weights, parts, strict=True)), emotion * 0)
        return Losses(total, emotion, image, rank)

    def emotion_loss(self, logits: Float[Tensor, "b k"], target: Tensor) -> Float[Tensor, ""]:
        """The unweighted emotion part, with the weights of the classes."""
        weights = self.class_weights if self.weighted else None
        return self.labels.loss(logits, target, weights, self.label_smoothing, self.focal)

    def _dynamic_image(self, clips: Clips) -> Tensor:
        apex = None
        if self.image_kind in ("onset_apex", "apex_offset"):
            apex = apex_index(clips.frames, clips.frame_number, clips.apex, clips.mask)
        frames = clips.frames.mean(dim=2, keepdim=True)
        return dynamic_image(frames, self.image_kind, clips.mask, apex, self.motion_measure)


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"unknown {name} '{value}'; allowed are {', '.join(allowed)}")
