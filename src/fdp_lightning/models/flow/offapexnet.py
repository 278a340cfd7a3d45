"""OffApexNet: u and v of the onset→apex flow, in two streams (2,664,475 parameters at three classes) or one (807,909).

Provenance: Gan, Liong, Yau, Huang and Tan, "OFF-ApexNet on micro-expression recognition system", Signal Processing:
Image Communication 74, 2019. `OffApexNet` is the paper's network as two third-party ports describe it: one stream for u
and one for v, without an activation between convolution and pooling. `OffApexNetOneStream` is the smaller network that
the MEB suite (github.com/tvaranka/meb, Apache-2.0) trains under this name.

Input: u and v, 28×28, each channel of each clip scaled by its own extremes; to 0..1 in MEB, unknown in the paper.
Published, MEGC 2019: UF1 .7196, UAR .7096. MEB's port, last epoch: UF1 .7032.
Unknown: the paper's batch size (ours is the port's) and weight decay (ours is zero); the port's number of epochs on
this set (ours is that of its STSTNet).
Deviations: none known.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.staged_net import FlowNet


class OffApexNet(FlowNet):
    """One stream for u and one for v, joined by two hidden layers."""

    in_channels = 2
    image_size = 28

    def __init__(self, classes: int = 3, hidden: int = 1024) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5, padding=2), nn.MaxPool2d(2)
            )
            for _ in range(self.in_channels)
        )
        self.hidden = nn.ModuleList([nn.Linear(2 * 16 * 7 * 7, hidden), nn.Linear(hidden, hidden)])
        self.classify = nn.Linear(hidden, classes)

    def forward_features(self, maps: Float[Tensor, "b 2 28 28"]) -> Float[Tensor, "b 32 7 7"]:
        """Concatenate the features that each stream computes from its channel."""
        return torch.cat([stream(maps[:, i : i + 1]) for i, stream in enumerate(self.streams)], dim=1)

    def forward_head(self, features: Float[Tensor, "b 32 7 7"]) -> Float[Tensor, "b k"]:
        """Apply two hidden layers with dropout, then the classifier."""
        x = features.flatten(1)
        for layer in self.hidden:
            x = F.dropout(F.relu(layer(x)), 0.5, self.training)
        return self.classify(x)


class OffApexNetOneStream(FlowNet):
    """One stream for both channels, one hidden layer."""

    in_channels = 2
    image_size = 28

    def __init__(self, classes: int = 3, hidden: int = 1024) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 16, 3, padding=1)
        self.hidden = nn.Linear(16 * 7 * 7, hidden)
        self.classify = nn.Linear(hidden, classes)

    def forward_features(self, maps: Float[Tensor, "b 2 28 28"]) -> Float[Tensor, "b 16 7 7"]:
        """Apply two convolutions, each with ReLU and pooling."""
        x = F.max_pool2d(F.relu(self.conv1(maps)), 2)
        return F.max_pool2d(F.relu(self.conv2(x)), 2)

    def forward_head(self, features: Float[Tensor, "b 16 7 7"]) -> Float[Tensor, "b k"]:
        """Apply one hidden layer between two dropouts, then the classifier."""
        x = F.dropout(features.flatten(1), 0.5, self.training)
        return self.classify(F.dropout(F.relu(self.hidden(x)), 0.5, self.training))
