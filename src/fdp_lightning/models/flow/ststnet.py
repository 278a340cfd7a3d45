"""STSTNet: three shallow streams on one flow image, 1,683 parameters at three classes.

Provenance: Liong, Gan, See, Khor and Huang, "Shallow triple stream three-dimensional CNN (STSTNet) for micro-expression
recognition", FG 2019; the authors' own PyTorch code (github.com/christy1206/STSTNet). All three streams read all three
channels. `from_published` loads the 68 published weights; on the published maps they give the published predictions.

Input: u, v and optical strain of TV-L1 flow onset→apex, each channel of each clip scaled to 0..255 by its own extremes,
in OpenCV's channel order: strain, v, u.
Published, MEGC 2019: UF1 .7353 (Matlab), .7209 (PyTorch). The Matlab UAR .7605 is the mean precision; its UAR is .7186.
Recipe: batches are not shuffled; the Matlab original has 500 epochs.
Deviations: in which order the clips come is ours, that of the clip table; and the last batch is filled from its head.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.flow.flow_net import FlowNet
from fdp_lightning.models.recipe import Recipe

RECIPE = Recipe(
    channels=("strain", "v", "u"),
    image_size=28,
    value_range=(0.0, 255.0),
    optimizer="adam",
    lr=5e-5,
    batch_size=256,
    epochs=800,
    shuffle=False,
)


class Stream(nn.Module):
    """Convolution, ReLU, batch norm, max-pooling by 3, dropout.

    Args:
        in_channels: of the maps.
        filters: channels of the stream.
    """

    def __init__(self, in_channels: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, filters, 3, padding=2)
        self.norm = nn.BatchNorm2d(filters)

    def forward(self, maps: Float[Tensor, "b c 28 28"]) -> Float[Tensor, "b d 10 10"]:
        """Maps to features."""
        x = self.norm(F.relu(self.conv(maps)))  # b d 30 30
        return F.dropout(F.max_pool2d(x, 3, stride=3, padding=1), 0.5, self.training)


class STSTNet(FlowNet):
    """Maps of 28×28 to logits.

    Args:
        classes: k.
        in_channels: of the maps.
    """

    image_size = 28

    def __init__(self, classes: int = 3, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.streams = nn.ModuleList(Stream(in_channels, filters) for filters in (3, 5, 8))
        self.classify = nn.Linear(16 * 5 * 5, classes)

    def forward_features(self, maps: Float[Tensor, "b c 28 28"]) -> Float[Tensor, "b 16 5 5"]:
        """The three streams side by side, averaged over 2×2 places."""
        return F.avg_pool2d(torch.cat([stream(maps) for stream in self.streams], dim=1), 2)

    def forward_head(self, features: Float[Tensor, "b 16 5 5"]) -> Float[Tensor, "b k"]:
        """Features to logits."""
        return self.classify(features.flatten(1))


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return one of the published weight files in our names, to be loaded strictly.

    Args:
        state: of `STSTNet_Weights/<subject>.pth`, read by `fdp_lightning.models.weights.read_weights`: conv1..3, bn1..3
            and fc.

    Raises:
        ValueError: a name that the published network does not have.
    """
    return {_renamed(name): value for name, value in state.items()}


def _renamed(name: str) -> str:
    layer, _, parameter = name.partition(".")
    if layer == "fc":
        return f"classify.{parameter}"
    for theirs, ours in (("conv", "conv"), ("bn", "norm")):
        if layer in (f"{theirs}1", f"{theirs}2", f"{theirs}3"):
            return f"streams.{int(layer[-1]) - 1}.{ours}.{parameter}"
    raise ValueError(f"'{name}' is no parameter of the published STSTNet; expected conv1..3, bn1..3 and fc")
