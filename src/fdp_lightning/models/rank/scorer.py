"""The rank scorer: one number per frame (P in words: arXiv 2509.06015; the form is ours)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fdp_lightning.models.frame_mask import Mask, masked, mean_over_time, onset_frames, running_means

ORDERS = ("chronological", "intensity")


class RankScorer(nn.Module):
    """`s_t = g(X_t)`: 1×1 convolution to few channels, ReLU, one linear layer over all places.

    `X_t` is the frame relative to its clip, so that the scorer never sees the identity and a still clip has flat
    scores, trained or not:
        chronological   `V_t - mean_t V_t` with V the running means, or `F_t - mean_t F_t` (of which a reversed clip has
                        reversed scores, trained or not)
        intensity       `F_t - F_1`, the change since the onset frame

    On running means a score also tells, in part, how many frames were averaged, for their noise falls with t: the τ of
    reversed clips is lower than that of clips forth, and not its negative. `running_means=False` has no such help.

    Place matters here as in the MER head: averaged over the face, the rise of a brow drowns in everything that stays.
    (Measured on the synthetic set: with an average over places Kendall's τ stayed at 0, see experiments/LOG.md.)

    Args:
        in_channels: c of the frame features.
        places: h·w of the frame features.
        hidden: channels kept per place.
        order: 'chronological' or 'intensity'.
        running_means: the chronological order is scored on running means.
        centred: False: the chronological order is scored on the features as they are, identity included (ablation).
    """

    def __init__(
        self,
        in_channels: int,
        places: int,
        hidden: int = 8,
        order: str = "chronological",
        running_means: bool = True,
        centred: bool = True,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden={hidden} of the scorer must be at least 1")
        if order not in ORDERS:
            raise ValueError(f"unknown order '{order}'; allowed are {', '.join(ORDERS)}")
        self.order, self.running_means, self.centred = order, running_means, centred
        self.mix = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True), nn.Flatten()
        )
        # No bias: adding a constant to all scores changes neither the loss nor the pooling.
        self.score = nn.Linear(hidden * places, 1, bias=False)

    def forward(self, features: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> Float[Tensor, "b t"]:
        """A score for each frame, 0 for those that are not real."""
        # In the precision of the weights, not in that of mixed precision: scores of a clip's frames are close together.
        features = features.to(torch.promote_types(features.dtype, self.score.weight.dtype))
        with torch.autocast(features.device.type, enabled=False):
            return self._scores(self._relative(features, mask), mask)

    def _relative(self, features: Tensor, mask: Mask | None) -> Tensor:
        if self.order == "intensity":
            return features - onset_frames(features, mask)
        if self.running_means:
            features = running_means(features, mask)
        return features - mean_over_time(features, mask) if self.centred else features

    def _scores(self, features: Tensor, mask: Mask | None) -> Tensor:
        b, t = features.shape[:2]
        if mask is None:
            return self.score(self.mix(features.flatten(0, 1))).reshape(b, t)
        # Real frames alone, so that the others have no part in batch norm's statistics.
        scores = features.new_zeros(b, t)
        scored = self.score(self.mix(features[mask])).squeeze(1)
        return masked(scores.masked_scatter(mask, scored), mask)
