"""STSTNet: three shallow streams over one flow image, 1,683 parameters at three classes.

Provenance: Liong, Gan, See, Khor and Huang, "Shallow triple stream three-dimensional CNN (STSTNet) for micro-expression
recognition", FG 2019; the authors' own PyTorch code (github.com/christy1206/STSTNet). The three streams (3, 5 and 8
filters) read the same maps and treat each filter separately. Here they are one layer of 16 filters, the same function
in half the time. `from_published` converts the 68 published weight files, which reproduce the published predictions on
the public maps.

Input: u, v and optical strain of TV-L1 flow onset→apex, 28×28, each channel of each clip scaled to 0..255 by its own
extremes, in OpenCV's channel order: strain, v, u.
Published, MEGC 2019: UF1 .7353 (Matlab), .7209 (PyTorch). The published Matlab UAR, .7605, is the mean precision; the
true UAR is .7186.
Recipe: batches are not shuffled; the Matlab original trains for 500 epochs.
Unknown: nothing in the network.
Deviations: clips come in the order of the clip table, and the last batch is filled up from the start of that order.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.staged_net import FlowNet

LAYERS = {
    "conv1": "conv",
    "conv2": "conv",
    "conv3": "conv",
    "bn1": "norm",
    "bn2": "norm",
    "bn3": "norm",
    "fc": "classify",
}
"""Published layers → ours."""


class STSTNet(FlowNet):
    """Map flow maps of 28×28 to logits."""

    image_size = 28

    def __init__(self, classes: int = 3, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv = nn.Conv2d(in_channels, 16, 3, padding=2)
        self.norm = nn.BatchNorm2d(16)
        self.classify = nn.Linear(16 * 5 * 5, classes)

    def forward_features(self, maps: Float[Tensor, "b c 28 28"]) -> Float[Tensor, "b 16 5 5"]:
        """Apply convolution, ReLU, batch norm, max-pooling by 3, dropout and average pooling by 2."""
        x = self.norm(F.relu(self.conv(maps), inplace=True))  # b 16 30 30
        x = F.max_pool2d(x, 3, stride=3, padding=1)  # b 16 10 10
        if self.training:  # dropout of 0.5; F.dropout takes four times as long to draw on a CPU
            x = x * torch.rand_like(x).round_().mul_(2)
        return F.avg_pool2d(x, 2)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert the content of a published weight file to our parameter names, for strict loading.

    Args:
        state: state dict of `STSTNet_Weights/<subject>.pth`, as `fdp_lightning.models.weights.read_weights` returns it.

    Raises:
        ValueError: a name is not that of a layer of the published network.
    """
    parts: dict[str, list[Tensor]] = {}
    for theirs in sorted(state):  # the three streams in their order
        layer, _, parameter = theirs.partition(".")
        if layer not in LAYERS:
            raise ValueError(f"'{theirs}' is not of the published STSTNet; expected layers {', '.join(LAYERS)}")
        parts.setdefault(f"{LAYERS[layer]}.{parameter}", []).append(state[theirs])
    return {name: torch.cat(part) if part[0].ndim else part[0] for name, part in parts.items()}
