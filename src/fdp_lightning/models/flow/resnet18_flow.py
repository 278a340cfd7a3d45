"""timm's ResNet-18 on a flow image, 11,178,051 parameters at three classes.

Provenance: the MEB suite (arXiv 2211.11425; github.com/tvaranka/meb, Apache-2.0), which trains timm's resnet18 with
ImageNet weights on flow images.

Input: u, v and strain, 112×112, each channel of each clip scaled to 0..1 by its own extremes; not standardised by
ImageNet's mean and standard deviation.
Published: MEGC 2018 UF1 .499 when trained on two datasets, far below small networks, and .632 when trained on six;
CD6ME mean F1 .352 (last epoch).
Recipe: 200 epochs, as in MEB's MEGC 2018 run; its CD6ME run has 50.
Unknown: the order of the channels.
Deviations: none known.
"""

from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor

from fdp_lightning.models.imagenet import load_timm
from fdp_lightning.models.staged_net import FlowNet


class ResNet18Flow(FlowNet):
    """Map flow maps to logits.

    Args:
        classes: number of classes, k.
        in_channels: channels of the maps.
        image_size: side of the maps, pixels.
        pretrained: False for random initialisation; True for ImageNet weights, which timm fetches and caches; or the
            path of a file of them, see `read_weights`.

    Raises:
        ValueError: the weights cannot be fetched or read.
    """

    def __init__(
        self, classes: int = 3, in_channels: int = 3, image_size: int = 112, pretrained: bool | str = False
    ) -> None:
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_size
        self.net: Any = timm.create_model("resnet18", in_chans=in_channels, num_classes=classes)
        if pretrained:
            load_timm(self.net, "resnet18", pretrained, "model.pretrained")

    def forward_features(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 512 h2 w2"]:
        """Return the last feature maps; h2 = h / 32, rounded up."""
        return self.net.forward_features(maps)

    def forward_head(self, features: Float[Tensor, "b 512 h2 w2"]) -> Float[Tensor, "b k"]:
        """Average over the positions, then classify."""
        return self.net.forward_head(features)
