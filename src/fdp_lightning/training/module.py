"""The LightningModule: steps, logging and the optimizer. The network itself is pure torch, in models/."""

from collections.abc import Mapping
from typing import Any

import lightning as L
from jaxtyping import Float
from torch import Tensor

from fdp_lightning.models.fdp import FDP, FDPOutput
from fdp_lightning.models.objective import Losses, Objective
from fdp_lightning.models.rank.losses import pairwise_steps
from fdp_lightning.training.optimizer import OptimizerSettings

Batch = Mapping[str, Tensor]


def kendall_tau(scores: Float[Tensor, "b t"]) -> Float[Tensor, " b"]:
    """Kendall's τ of each clip's scores with time: 1 chronological, -1 reversed; equal scores count 0 (τ-a).

    (torchmetrics' own fails on a batch of one clip, seen in 1.9.)
    """
    return pairwise_steps(scores.detach().float()).sign().mean(dim=1)


class FDPModule(L.LightningModule):
    """FDP in training.

    Args:
        model: the network.
        objective: the losses and their weights.
        optimizer: its settings.
        provenance: plain data written into every checkpoint (configuration, classes, statistics, subjects).
    """

    def __init__(
        self,
        model: FDP,
        objective: Objective,
        optimizer: OptimizerSettings,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.optimizer_settings = optimizer
        self.provenance = provenance or {}

    def forward(self, clips: Tensor) -> FDPOutput:
        """Clips (b, t, c, h, w) with values in 0..1."""
        return self.model(clips)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step; logs every loss, the accuracy and the rank order's Kendall τ, averaged over the epoch."""
        output = self(batch["frames"])
        losses = self.objective(output, batch["frames"], batch["target"])
        self._log("train", output, losses, batch)
        return losses.total

    def evaluate(self, batch: Batch) -> tuple[FDPOutput, Losses]:
        """Outputs and losses of a batch, for the recorder of the held-out subject."""
        output = self(batch["frames"])
        return output, self.objective(output, batch["frames"], batch["target"])

    def predict_step(self, batch: Batch, batch_index: int = 0) -> dict[str, Tensor]:
        """What is kept of each held-out clip: `index`, probabilities, rank scores, both dynamic images (b, h, w)."""
        output = self(batch["frames"])
        return {
            "index": batch["index"],
            "probabilities": output.logits.double().softmax(dim=1),
            "rank_scores": output.scores.float(),
            "dynamic_image": output.dynamic_image[:, 0].float(),
            "true_dynamic_image": self.objective.true_dynamic_image(batch["frames"])[:, 0].float(),
        }

    def configure_optimizers(self) -> Any:
        """From the settings, over all steps of the training."""
        return self.optimizer_settings.build(self.model, int(self.trainer.estimated_stepping_batches))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Plain data alone, so that `torch.load(weights_only=True)` reads the checkpoint."""
        checkpoint["fdp_lightning"] = self.provenance

    def _log(self, stage: str, output: FDPOutput, losses: Losses, batch: Batch) -> None:
        right = output.logits.detach().argmax(dim=1) == batch["target"]
        self.log_dict(
            {
                f"{stage}/loss": losses.total.detach(),
                f"{stage}/emotion_loss": losses.emotion.detach(),
                f"{stage}/dynamic_image_loss": losses.dynamic_image.detach(),
                f"{stage}/rank_loss": losses.rank.detach(),
                f"{stage}/accuracy": right.float().mean(),
                f"{stage}/kendall_tau": kendall_tau(output.scores).mean(),
            },
            on_step=False,
            on_epoch=True,
            batch_size=len(right),
        )
