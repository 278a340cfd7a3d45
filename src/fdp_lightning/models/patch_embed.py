"""Patch embedding: where a stage begins or its width changes (lineage Next-ViT, arXiv 2207.05501, section 3)."""

from jaxtyping import Float
from torch import Tensor, nn


class PatchEmbed(nn.Sequential):
    """Halve the resolution, change the width, or pass on.

    Stride 2: 2×2 average pool (odd sides rounded up, the border not counted), 1×1 convolution, batch norm. A change of
    width alone: 1×1 convolution, batch norm. Neither: identity.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        if stride not in (1, 2):
            raise ValueError(f"stride of a patch embedding is {stride}; allowed are 1 and 2")
        super().__init__()
        if stride == 2:
            self.pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
        if stride == 2 or in_channels != out_channels:
            self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Maps to maps; h2 = ceil(h / stride)."""
        return super().forward(maps)
