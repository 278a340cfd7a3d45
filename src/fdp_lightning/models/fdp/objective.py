"""The objective of FDP: a weighted sum of emotion, dynamic-image and rank losses (R; the rank term is O)."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
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
from fdp_lightning.models.fdp.network import FDPOutput
from fdp_lightning.models.fdp.rank_losses import RankLoss, chronological, intensity, kendall_tau
from fdp_lightning.models.recognizer import Clips, Extra, Losses
from fdp_lightning.models.recognizer import Objective as RecognizerObjective

IMAGE_SCALES = ("min_max", "signed")
DYNAMIC_IMAGES_HEADING = "dynamic images"


def extras_of(image_kind: str, image_scale: str) -> tuple[Extra, ...]:
    """Declare the rank scores, and the dynamic images along with references that need no model."""
    signed_scale = image_scale == "signed"
    image: dict[str, Any] = {"heading": DYNAMIC_IMAGES_HEADING}
    if signed_scale:
        image |= {"neutral": 0.5, "scale": "image_rms"}
    compared = {**image, "reference": "true_dynamic_image"}
    return (
        Extra(
            "rank_scores", "curve", "rank score", heading="rank scores against time", standardised=True, rises=True,
            note="The scorer is trained to put the frames in order: a higher score means a later frame.",
        ),
        Extra(
            "true_dynamic_image", "image", "true", **image,
            note="A dynamic image summarises the motion of a clip in one image. The true one is computed from the "
            "frames; the model constructs the other one from its features and is trained to make it resemble the true "
            "one. "
            + (
                "On the signed scale, mid grey means that nothing moved; black and white are −4 and +4 times the root "
                "mean square of the training clips’ dynamic images."
                if signed_scale
                else "Each image is scaled by its own darkest and brightest point (image_scale=min_max), so the grey "
                "of “nothing moved” differs between clips, and motions that look equally strong may not be."
            ),
        ),
        Extra("dynamic_image", "image", "constructed", **compared),
        Extra("mean_training_image", "image", "mean of training", of="training", **compared),
        Extra(
            "arp_of_input", "image", "ARP of the input", **compared,
            note="ARP is the exact approximate rank pooling of the clip’s frames, which needs no model."
            + (
                " Here (image_kind=exact) it is identical to the true image, a weighted sum of the model’s input "
                "frames. Constructing it is additional supervision for the features rather than an achievement, so its "
                "row is the best possible value and not a baseline to beat."
                if image_kind == "exact"
                else ""
            ),
        ),
    )  # fmt: skip


class Objective(RecognizerObjective[FDPOutput]):
    """`emotion · cross-entropy + dynamic_image · MSE + rank · rank loss`.

    With multi-label targets, the first term is the binary cross-entropy of all action units, see labels.py.

    Args:
        emotion: weight of the cross-entropy.
        dynamic_image: weight of the mean squared error of the constructed dynamic image.
        rank: weight of the sum of the rank losses, one for each order that is scored.
        rank_loss: loss of the chronological order, one of `rank_losses.RANK_LOSSES`.
        intensity_loss: loss of the intensity order, one of `rank_losses.RANK_LOSSES`.
        rank_temperature: temperature of ranknet and soft_spearman.
        rank_margin: margin of hinge.
        rank_sharpness: sharpness of listnet.
        image_kind: kind of the dynamic image, one of `dynamic_image.DYNAMIC_IMAGES`.
        image_scale: 'min_max' for scaling per clip (R), 'signed' for a scale from the training clips (O).
        motion_measure: measure that sorts the frames for the kind 'intensity': 'difference' or 'flow'.
        options: arguments of `recognizer.Objective`.

    Raises:
        ValueError: a value is unknown, or a weight negative.
    """

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
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, value, allowed in (
            ("image_kind", image_kind, DYNAMIC_IMAGES),
            ("image_scale", image_scale, IMAGE_SCALES),
            ("motion_measure", motion_measure, MOTION_MEASURES),
        ):
            if value not in allowed:
                raise ValueError(f"unknown {name} '{value}'; allowed are {', '.join(allowed)}")
        if min(emotion, dynamic_image, rank) < 0:
            raise ValueError(f"emotion={emotion}, dynamic_image={dynamic_image}, rank={rank}; expected at least 0")
        self.weights = (emotion, dynamic_image, rank)
        self.rank_losses = nn.ModuleDict(
            {
                order: RankLoss(name, rank_temperature, rank_margin, rank_sharpness)
                for order, name in (("chronological", rank_loss), ("intensity", intensity_loss))
            }
        )
        self.image_kind, self.image_scale, self.motion_measure = image_kind, image_scale, motion_measure
        self.extras = extras_of(image_kind, image_scale)
        # A buffer, because it is fitted on the fold's training subjects and has to be in the checkpoint.
        self.register_buffer("image_rms", torch.tensor(1.0))

    @torch.no_grad()
    def fit(self, clips: Clips) -> None:
        """Fit the scale of the dynamic images on the training clips, for `image_scale=signed`."""
        self.image_rms.copy_(self._dynamic_image(clips).square().mean().sqrt().clamp_min(1e-6))

    def true_dynamic_image(self, clips: Clips) -> Float[Tensor, "b 1 h w"]:
        """Return the DIC target in [0, 1]; the channels of colour or flow are averaged."""
        return self.scaled(self._dynamic_image(clips))

    def scaled(self, images: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        """Scale dynamic images to [0, 1], as the target is."""
        return min_max(images) if self.image_scale == "min_max" else signed(images, self.image_rms)

    def relevance(self, order: str, clips: Clips) -> Float[Tensor, "b t"]:
        """Return the relevance of the frames in an order, the target of its scorer, see rank_losses.py."""
        position = chronological(clips.frames, clips.mask)
        if order == "chronological":
            return position
        number = position if clips.frame_number is None else clips.frame_number
        index = apex_index(clips.frames, clips.frame_number, clips.apex, clips.mask)
        return intensity(number, number.gather(1, index.unsqueeze(1)).squeeze(1), clips.mask)

    def forward(self, output: FDPOutput, clips: Clips) -> Losses:
        """Return the losses of one batch."""
        emotion = self.emotion_loss(output.logits, clips.target)
        image = F.mse_loss(output.dynamic_image, self.true_dynamic_image(clips))
        rank = emotion.new_zeros(())
        for order, scores in output.scores.items():
            loss = self.rank_losses[order]
            rank = rank + loss(scores.to(clips.frames.dtype), self.relevance(order, clips), clips.mask)
        parts = (emotion, image, rank)
        total = sum((weight * part for weight, part in zip(self.weights, parts, strict=True)), emotion * 0)
        return Losses(total, {"emotion": emotion, "dynamic_image": image, "rank": rank})

    def measures(self, output: FDPOutput, clips: Clips) -> dict[str, Float[Tensor, ""]]:
        """Return Kendall's τ between the scores and the target of each order."""
        return {
            "kendall_tau" if order == "chronological" else f"{order}_kendall_tau": kendall_tau(
                scores, self.relevance(order, clips), clips.mask
            ).mean()
            for order, scores in output.scores.items()
        }

    def of_output(self, output: FDPOutput) -> dict[str, Tensor]:
        """Return the rank scores, if they are computed, and the constructed dynamic image, (b, h, w)."""
        scores = {} if output.rank_scores is None else {"rank_scores": output.rank_scores}
        return {**scores, "dynamic_image": output.dynamic_image[:, 0]}

    def record(self, output: FDPOutput, clips: Clips) -> dict[str, Tensor]:
        """Return rank scores (NaN if there are none) and three dynamic images on the scale of the target, (b, h, w).

        `arp_of_input` is the exact ARP image of the input frames, a baseline that needs no model.
        """
        none = {"rank_scores": clips.frames.new_full(clips.frames.shape[:2], torch.nan).float()}
        arp = dynamic_image(clips.frames.mean(dim=2, keepdim=True), mask=clips.mask)
        images = {"true_dynamic_image": self.true_dynamic_image(clips), "arp_of_input": self.scaled(arp)}
        return none | super().record(output, clips) | {name: image[:, 0].float() for name, image in images.items()}

    @torch.no_grad()
    def of_training(self, clips: Clips) -> dict[str, Tensor]:
        """Return the mean true dynamic image of the training clips, (h, w), and the scale of their dynamic images.

        The scale is their root mean square, ±4 of which span 0..1; NaN unless `image_scale=signed`.
        """
        rms = self.image_rms.double() if self.image_scale == "signed" else torch.tensor(torch.nan, dtype=torch.float64)
        return {"mean_training_image": self.true_dynamic_image(clips).mean(dim=0)[0].float(), "image_rms": rms}

    def restore(self, fitted: Mapping[str, float]) -> None:
        """Set the scale of the dynamic images from a model file."""
        if set(fitted) != {"image_rms"} or not fitted["image_rms"] > 0:
            raise ValueError(f"the scale of the dynamic images is {dict(fitted)}; expected image_rms above 0")
        self.image_rms.fill_(fitted["image_rms"])

    def _dynamic_image(self, clips: Clips) -> Tensor:
        apex = None
        if self.image_kind in ("onset_apex", "apex_offset"):
            apex = apex_index(clips.frames, clips.frame_number, clips.apex, clips.mask)
        frames = clips.frames.mean(dim=2, keepdim=True)
        return dynamic_image(frames, self.image_kind, clips.mask, apex, self.motion_measure)
