"""RCN-A: a recurrent convolution with attention from the classifier's weights, 51,139 parameters at three classes.

Provenance: Xia, Peng, Khor, Feng and Zhao, "Revealing the invisible with model and data shrinking for
composite-database micro-expression recognition", IEEE TIP 29, 2020; the authors' code (on GitHub,
xiazhaoqiang/ParameterFreeRCNs-MicroExpressionRec). Its defaults are 64 maps pooled to 7×7 (55,747 parameters), its
example has 32 maps and 5×5 (15,331). The port of the MEB suite has 64 maps and 5×5, the default here.

Input: a flow image of 60×60, as in MEB; the authors' flow is Classic+NL-fast.
Published, MEGC 2019: UF1 .7432, UAR .7190.
Recipe: the defaults of the authors' code; the port trains for 500 epochs at a learning rate of 1e-4.
Unknown: the order of the channels and their range (u, v, strain in 0..1 is ours); whether the gradient flows through
the attention into the classifier (here it does).
Deviations: no copies with magnified motion are added to the training clips.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.staged_net import FlowNet


class RCNA(FlowNet):
    """Map flow maps to logits.

    Args:
        classes: number of classes, k.
        in_channels: channels of the maps.
        width: number of feature maps in every layer, d.
        pool: side of the maps that the classifier reads, p.
        steps: number of applications of the recurrent convolution.
        image_size: side of the input, pixels.
    """

    def __init__(
        self,
        classes: int = 3,
        in_channels: int = 3,
        width: int = 64,
        pool: int = 5,
        steps: int = 2,
        image_size: int = 60,
    ) -> None:
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_size
        self.pool, self.steps = pool, steps
        self.stem = nn.Conv2d(in_channels, width, 5)
        self.stem_norm = nn.BatchNorm2d(width)
        self.enter = nn.Conv2d(width, width, 1)
        self.enter_norm = nn.BatchNorm2d(width)
        self.again = nn.Conv2d(width, width, 3, padding=1)
        self.again_norm = nn.BatchNorm2d(width)
        self.classify = nn.Linear(width * pool**2, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classify.weight, std=0.01)

    def forward_features(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d p p"]:
        """Return maps of p×p, weighted by the attention."""
        x = F.max_pool2d(F.relu(self.stem_norm(self.stem(maps))), 2)
        x = F.dropout(x, 0.5, self.training)
        y = F.relu(self.enter_norm(self.enter(x)))
        for _ in range(self.steps):  # the same weights each time
            y = F.relu(self.again_norm(self.again(x + y)))
        y = F.dropout(F.max_pool2d(y, 2), 0.5, self.training)
        return F.adaptive_avg_pool2d(y, self.pool) * self.attention(F.adaptive_avg_pool2d(x, self.pool))

    def attention(self, stem: Float[Tensor, "b d p p"]) -> Float[Tensor, "b 1 p p"]:
        """Return where the classifier's rows agree with the stem's maps, in 0..1, averaged over the classes."""
        _, d, p, _ = stem.shape
        evidence = torch.einsum("bdij,kdij->bkij", stem, self.classify.weight.view(-1, d, p, p)) / d
        low, high = evidence.amin(dim=(2, 3), keepdim=True), evidence.amax(dim=(2, 3), keepdim=True)
        return ((evidence - low) / (high - low).clamp_min(1e-12)).mean(dim=1, keepdim=True)
