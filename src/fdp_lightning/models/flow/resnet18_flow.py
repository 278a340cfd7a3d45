"""ResNet-18 on a flow image, by timm: 11,178,051 parameters at three classes.

Provenance: the MEB suite (arXiv 2211.11425; github.com/tvaranka/meb, Apache-2.0), which trains timm's resnet18 with
ImageNet weights on flow images. Its finding: trained on two datasets it is far below small networks (MEGC 2018 .499),
trained on six it is better (.632).

Input: u, v and strain at 112×112, each channel of each clip scaled to 0..1 by its own extremes; not standardised by
ImageNet's mean and deviation.
Unknown: the order of the channels.
Deviations: none known. 200 epochs are those of its MEGC 2018 run; of CD6ME it has 50.
"""

from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor

from fdp_lightning.models.flow.flow_net import FlowNet
from fdp_lightning.models.imagenet import load_timm


class ResNet18Flow(FlowNet):
    """Flow maps to logits.

    Args:
        classes: k.
        in_channels: of the maps.
        image_size: side of the maps, pixels.
        pretrained: False; True: ImageNet weights, fetched by timm and kept in its cache; or the path of a file of them,
            safetensors or a state dict that `torch.load(weights_only=True)` reads.

    Raises:
        ValueError: the weights cannot be had.
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
        """The last feature maps; h2 = h / 32, rounded up."""
        return self.net.forward_features(maps)

    def forward_head(self, features: Float[Tensor, "b 512 h2 w2"]) -> Float[Tensor, "b k"]:
        """Mean over places, then logits."""
        return self.net.forward_head(features)
