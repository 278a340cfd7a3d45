"""Dual-Inception: two streams of two inception blocks, one for u and one for v; 6,449,867 parameters at three classes.

Provenance: Zhou, Mao and Xue, "Dual-inception network for cross-database micro-expression recognition", FG 2019; widths
and layers follow the description of a third-party port.

Input: u and v of TV-L1 flow, 28×28. Their range is unknown; 0..1 is ours.
Published, MEGC 2019: UF1 .7322, UAR .7278.
Unknown: the original optimiser, batch size and number of epochs; the recipe is the port's.
Deviations: the flow ends at the apex, as for the other networks; the paper's ends at the middle frame of the clip.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.staged_net import FlowNet


class Inception(nn.Module):
    """Four parallel paths of `width` channels each, concatenated, then max-pooling by 2."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.wide, self.narrow = (
            nn.Sequential(
                nn.Conv2d(in_channels, width, 1), nn.ReLU(), nn.Conv2d(width, width, k, padding=k // 2), nn.ReLU()
            )
            for k in (5, 3)
        )
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(in_channels, width, 1), nn.ReLU())
        self.single = nn.Conv2d(in_channels, width, 1)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Return maps of half the side; d = 4 width."""
        paths = (self.wide, self.narrow, self.pooled, self.single)
        return F.max_pool2d(torch.cat([path(maps) for path in paths], dim=1), 2)


class DualInception(FlowNet):
    """Map flow maps of 28×28, u and v, to logits."""

    in_channels = 2
    image_size = 28

    def __init__(self, classes: int = 3, hidden: int = 1024) -> None:
        super().__init__()
        self.streams = nn.ModuleList(nn.Sequential(Inception(1, 6), Inception(24, 16)) for _ in range(self.in_channels))
        self.hidden = nn.Linear(2 * 64 * 7 * 7, hidden)
        self.classify = nn.Linear(hidden, classes)

    def forward_features(self, maps: Float[Tensor, "b 2 28 28"]) -> Float[Tensor, "b 128 7 7"]:
        """Concatenate the features that each stream computes from its channel."""
        maps = maps.contiguous(memory_format=torch.channels_last)  # takes 25 % less time on a CPU
        return torch.cat([stream(maps[:, i : i + 1]) for i, stream in enumerate(self.streams)], dim=1)

    def forward_head(self, features: Float[Tensor, "b 128 7 7"]) -> Float[Tensor, "b k"]:
        """Apply one hidden layer, then the classifier."""
        return self.classify(F.relu(self.hidden(features.flatten(1))))
