"""The convolutional stem (paper: arXiv 2509.06015, section on the backbone; lineage Next-ViT, arXiv 2207.05501)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class Stem(nn.Sequential):
    """3×3 convolutions with batch norm and ReLU that take pictures to the first stage's resolution.

    Args:
        in_channels: 1 for grey, 3 for colour.
        widths: channels of each convolution.
        strides: of each convolution; their product is the stem's stride.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], strides: Sequence[int]) -> None:
        if len(widths) != len(strides) or not widths:
            raise ValueError(
                f"stem widths {list(widths)} and strides {list(strides)} must be equally many, at least one"
            )
        layers: list[nn.Module] = []
        for width_in, width, stride in zip([in_channels, *widths], widths, strides, strict=False):
            layers += [
                nn.Conv2d(width_in, width, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)

    def forward(self, frames: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Frames to feature maps; h2 = h / product of the strides."""
        return super().forward(frames)
