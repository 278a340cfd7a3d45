"""The training objective: emotion, dynamic image and rank order, weighted (R; the rank term is ours)."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from fdp_lightning.models.dynamic_image import DYNAMIC_IMAGES, dynamic_image, min_max
from fdp_lightning.models.fdp import FDPOutput
from fdp_lightning.models.rank.losses import RANK_LOSSES, rank_loss


@dataclass(frozen=True)
class Losses:
    """The parts of the objective, unweighted, and their weighted sum."""

    total: Float[Tensor, ""]
    emotion: Float[Tensor, ""]
    dynamic_image: Float[Tensor, ""]
    rank: Float[Tensor, ""]


class Objective:
    """`emotion · cross-entropy + dynamic_image · MSE + rank · rank loss`.

    Args:
        emotion: weight of the cross-entropy.
        dynamic_image: weight of the mean squared error to the clip's min-max scaled dynamic image.
        rank: weight of the rank loss.
        rank_loss: one of `rank.losses.RANK_LOSSES`.
        target: kind of dynamic image, one of `dynamic_image.DYNAMIC_IMAGES`.
        label_smoothing: of the cross-entropy.
    """

    def __init__(
        self,
        emotion: float = 1.0,
        dynamic_image: float = 100.0,
        rank: float = 1.0,
        rank_loss: str = "ranknet",
        target: str = "exact",
        label_smoothing: float = 0.0,
    ) -> None:
        if rank_loss not in RANK_LOSSES:
            raise ValueError(f"unknown rank_loss '{rank_loss}'; allowed are {', '.join(RANK_LOSSES)}")
        if target not in DYNAMIC_IMAGES:
            raise ValueError(f"unknown target '{target}'; allowed are {', '.join(DYNAMIC_IMAGES)}")
        self.weights = (emotion, dynamic_image, rank)
        self.rank_loss, self.target, self.label_smoothing = rank_loss, target, label_smoothing

    def true_dynamic_image(self, clips: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b c h w"]:
        """The DIC target of the frames the model sees, in [0, 1]."""
        return min_max(dynamic_image(clips, self.target))

    def __call__(self, output: FDPOutput, clips: Float[Tensor, "b t c h w"], target: Int[Tensor, " b"]) -> Losses:
        """All parts for one batch."""
        emotion = F.cross_entropy(output.logits, target, label_smoothing=self.label_smoothing)
        image = F.mse_loss(output.dynamic_image, self.true_dynamic_image(clips))
        rank = rank_loss(self.rank_loss, output.scores)
        parts = (emotion, image, rank)
        total = sum((weight * part for weight, part in zip(self.weights, parts, strict=True)), emotion * 0)
        return Losses(total, emotion, image, rank)
