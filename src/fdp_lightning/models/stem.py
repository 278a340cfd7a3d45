"""The convolutional stem (paper: arXiv 2509.06015, section on the backbone; lineage Next-ViT, arXiv 2207.05501)."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class ConvNormAct(nn.Sequential):
    """3×3 convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU(inplace=True)


class Stem(nn.Sequential):
    """3×3 convolutions with batch norm and ReLU that take pictures to the first stage's resolution.

    Args:
        in_channels: 1 for grey, 3 for colour.
        widths: channels of each convolution.
        strides: of each convolution; their product is the stem's stride.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], strides: Sequence[int]) -> None:
        if in_channels not in (1, 3):
            raise ValueError(f"in_channels={in_channels}; allowed are 1 (grey) and 3 (colour)")
        if len(widths) != len(strides) or not widths:
            raise ValueError(
                f"stem widths {list(widths)} and strides {list(strides)} must be equally many, at least one"
            )
        if min(widths) < 1 or min(strides) < 1:
            raise ValueError(f"stem widths {list(widths)} and strides {list(strides)} must all be at least 1")
        before = [in_channels, *widths[:-1]]
        super().__init__(*(ConvNormAct(*layer) for layer in zip(before, widths, strides, strict=True)))

    def forward(self, frames: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Frames to feature maps; h2 = h / product of the strides."""
        return super().forward(frames)
