"""The LightningModule: steps, logging and the optimizer. The network itself is pure torch, in models/."""

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from jaxtyping import Float
from torch import Tensor

from fdp_lightning.models.dynamic_image import dynamic_image
from fdp_lightning.models.fdp import FDP, FDPOutput
from fdp_lightning.models.objective import Clips, Losses, Objective
from fdp_lightning.models.rank.losses import pairwise_steps, ranked_pairs
from fdp_lightning.training.compute import PLAIN, Compute
from fdp_lightning.training.optimizer import OptimizerSettings

Batch = Mapping[str, Tensor]


def kendall_tau(
    scores: Float[Tensor, "b t"], relevance: Float[Tensor, "b t"], mask: Tensor | None = None
) -> Float[Tensor, " b"]:
    """Kendall's τ of each clip's scores with the wanted order: 1 the same, -1 reversed; equal scores count 0.

    Over the pairs of real frames that have an order. (torchmetrics' own fails on a batch of one clip, seen in 1.9.)
    """
    pairs = ranked_pairs(relevance, mask)
    return (pairwise_steps(scores.detach().float()).sign() * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp_min(1)


def clips_of(batch: Batch) -> Clips:
    """What the objective is to know of a batch."""
    return Clips(
        **{name: batch[name] for name in ("frames", "target", "frame_number", "apex", "mask") if name in batch}
    )


class FDPModule(L.LightningModule):
    """FDP in training.

    Args:
        model: the network.
        objective: the losses and their weights.
        optimizer: its settings.
        provenance: plain data written into every checkpoint (configuration, classes, statistics, subjects).
        max_steps: of the optimizer, where the budget is given in steps; else as many as the epochs have.
        compute: how it is carried out.
    """

    def __init__(
        self,
        model: FDP,
        objective: Objective,
        optimizer: OptimizerSettings,
        provenance: dict[str, Any] | None = None,
        max_steps: int | None = None,
        compute: Compute = PLAIN,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.optimizer_settings = optimizer
        self.provenance = provenance or {}
        self.max_steps = max_steps
        self.compute = compute
        compute.prepare(model)

    def forward(self, clips: Tensor) -> FDPOutput:
        """Clips (b, t, c, h, w) with values in 0..1."""
        return self.model(clips)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of logits (b, k), double precision: of each class, or that each action unit is shown."""
        return self.objective.labels.probabilities(logits)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step; logs every loss, the accuracy and the rank order's Kendall τ, averaged over the epoch."""
        clips = clips_of(batch)
        losses, values, _ = self.evaluate(clips)
        self.log_dict(
            {f"train/{name}": value for name, value in values.items()},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(clips.target),
        )
        return losses.total

    def evaluate(self, clips: Clips) -> tuple[Losses, dict[str, Tensor], FDPOutput]:
        """Losses, the values to record, and outputs of a batch, in training and of the held-out subject."""
        output = self._output(clips)
        losses = self.objective(output, clips)
        values = {
            "loss": losses.total.detach(),
            "emotion_loss": losses.emotion.detach(),
            "dynamic_image_loss": losses.dynamic_image.detach(),
            "rank_loss": losses.rank.detach(),
            "accuracy": self.objective.labels.right(output.logits.detach(), clips.target).mean(),
        }
        for order, scores in output.scores.items():
            name = "kendall_tau" if order == "chronological" else f"{order}_kendall_tau"
            values[name] = kendall_tau(scores, self.objective.relevance(order, clips), clips.mask).mean()
        return losses, values, output

    def _output(self, clips: Clips) -> FDPOutput:
        # Compiled in training alone: subjects have any number of clips, and each would be compiled for anew.
        run = self.model if self.training else self.model.forward
        return run(clips.frames, clips.mask)

    def predict_step(self, batch: Batch, batch_index: int = 0) -> dict[str, Tensor]:
        """What is kept of each held-out clip: `index`, probabilities, whether they are right, rank scores, both dynamic
        images (b, h, w).

        Without a scorer the rank scores are NaN. `arp_of_input` is the exact dynamic image of the frames themselves,
        (b, h, w), on the scale of the target: what needs no model, to stand beside the constructed one.
        """
        clips = clips_of(batch)
        output = self._output(clips)
        scores = output.rank_scores
        if scores is None:
            scores = clips.frames.new_full(clips.frames.shape[:2], torch.nan)
        arp = dynamic_image(clips.frames.mean(dim=2, keepdim=True), mask=clips.mask)
        return {
            "index": batch["index"],
            "probabilities": self.probabilities(output.logits),
            "accuracy": self.objective.labels.right(output.logits, clips.target),
            "rank_scores": scores.float(),
            "dynamic_image": output.dynamic_image[:, 0].float(),
            "true_dynamic_image": self.objective.true_dynamic_image(clips)[:, 0].float(),
            "arp_of_input": self.objective.scaled(arp)[:, 0].float(),
        }

    def configure_optimizers(self) -> Any:
        """From the settings, over all steps of the training."""
        steps = min(self.trainer.estimated_stepping_batches, self.max_steps or math.inf)
        # A fused step takes the scale off the gradients itself, and Lightning then has none to clip.
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        fused = self.compute.fused_optimizer and not scaled
        return self.optimizer_settings.build(self.model, int(steps), fused=fused)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Plain data alone, so that `torch.load(weights_only=True)` reads the checkpoint."""
        checkpoint["fdp_lightning"] = self.provenance
