"""SSSNet: two convolutions on a flow image of 64×64, 1,349,251 parameters at three classes.

Provenance: Varanka, Li, Peng and Zhao, "Data leakage and evaluation issues in micro-expression analysis", arXiv
2211.11425, and its MEB suite (github.com/tvaranka/meb, Apache-2.0). It has the best published score on MEGC 2019 that
was not selected on the test subjects.

Input: u, v and strain, each channel of each clip scaled to 0..1 by its own extremes. The suite's flow is Classic+NL.
Published, last epoch: MEGC 2019 UF1 .739; MEGC 2018, five classes .698; CD6ME mean F1 .384.
Unknown: the order of the channels, since no weights are published.
Deviations: MEB's strain swaps the axes of the normal terms, ours does not.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.staged_net import FlowNet


class SSSNet(FlowNet):
    """Map flow maps of 64×64 to logits."""

    image_size = 64

    def __init__(self, classes: int = 3, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, 32, 5)
        self.norm1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.norm2 = nn.BatchNorm2d(64)
        self.hidden = nn.Linear(64 * 9 * 9, 256)
        self.classify = nn.Linear(256, classes)

    def forward_features(self, maps: Float[Tensor, "b c 64 64"]) -> Float[Tensor, "b 64 9 9"]:
        """Apply two convolutions without padding; dropout removes whole channels."""
        x = self.norm1(F.max_pool2d(F.relu(self.conv1(maps)), 3))  # b 32 20 20
        x = F.dropout2d(x, 0.5, self.training)
        x = self.norm2(F.max_pool2d(F.relu(self.conv2(x)), 2))
        return F.dropout2d(x, 0.5, self.training)

    def forward_head(self, features: Float[Tensor, "b 64 9 9"]) -> Float[Tensor, "b k"]:
        """Apply one hidden layer, then the classifier."""
        return self.classify(F.dropout(F.relu(self.hidden(features.flatten(1))), 0.5, self.training))
