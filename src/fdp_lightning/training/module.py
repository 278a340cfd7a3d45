"""The LightningModule: steps, logging and the optimizer. The network is pure torch, in models/."""

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn

from fdp_lightning.models.recognizer import Clips, Losses, Objective, Output, with_logits
from fdp_lightning.training.compute import PLAIN, Compute
from fdp_lightning.training.optimizer import OptimizerSettings

Batch = Mapping[str, Tensor]


def clips_of(batch: Batch, device: torch.device | None = None) -> Clips:
    """Return the clips of a batch, moved to a device, in the form that networks and objectives take."""
    names = [name for name in ("frames", "target", "frame_number", "apex", "mask") if name in batch]
    return Clips(**{name: batch[name].to(device) for name in names})


class RecognitionModule(L.LightningModule):
    """A recogniser in training.

    Args:
        model: network of the recogniser.
        objective: objective of the recogniser.
        optimizer: settings of the optimizer.
        provenance: plain data for every checkpoint (configuration, classes, statistics, subjects).
        max_steps: largest number of optimizer steps; None for as many as the epochs have.
        compute: settings of how the network is computed.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective[Any],
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

    def forward(self, clips: Tensor) -> Output:
        return with_logits(self.model(clips))

    def run(self, clips: Clips) -> Output:
        # Compiled in training only: subjects differ in their number of clips, and each number would be recompiled.
        network = self.model if self.training else self.model.forward
        masks = () if clips.mask is None else (clips.mask,)
        return with_logits(network(clips.frames, *masks))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities of each class or action unit from logits (b, k), in double precision."""
        return self.objective.labels.probabilities(logits)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Run one step and log all losses, the accuracy and the objective's measures, averaged over the epoch."""
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

    def evaluate(self, clips: Clips) -> tuple[Losses, dict[str, Tensor], Output]:
        """Return losses, values to record and output of a batch, for training and held-out clips."""
        output = self.run(clips)
        losses = self.objective(output, clips)
        values = {
            "loss": losses.total.detach(),
            **{f"{name}_loss": part.detach() for name, part in losses.parts.items()},
            "accuracy": self.objective.labels.right(output.logits.detach(), clips.target).mean(),
            **self.objective.measures(output, clips),
        }
        return losses, values, output

    def predict_step(self, batch: Batch, batch_index: int = 0) -> dict[str, Tensor]:
        """Return what is kept for each held-out clip: `index`, probabilities, accuracy and extras."""
        clips = clips_of(batch)
        output = self.run(clips)
        return {
            "index": batch["index"],
            "probabilities": self.probabilities(output.logits),
            "accuracy": self.objective.labels.right(output.logits, clips.target),
            **self.objective.record(output, clips),
        }

    def configure_optimizers(self) -> Any:
        steps = min(self.trainer.estimated_stepping_batches, self.max_steps or math.inf)
        if steps == math.inf:  # only `trainer.max_time` ends the training; the schedule then needs no end
            steps = 1
        # A fused step can unscale gradients itself, so Lightning does not clip them for it in mixed precision, not even
        # in bfloat16, which has no scale.
        mixed = isinstance(self.trainer.precision_plugin, MixedPrecision)
        fused = self.compute.fused_optimizer and not (mixed and self.trainer.gradient_clip_val)
        return self.optimizer_settings.build(self.model, int(steps), fused=fused)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add only plain data, so that `torch.load(weights_only=True)` can read the checkpoint."""
        checkpoint["fdp_lightning"] = self.provenance
