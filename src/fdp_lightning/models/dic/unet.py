"""A light encoder-decoder with skip connections (O; lineage: U-Net, Ronneberger et al., MICCAI 2015)."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn


class UNet(nn.Module):
    """Down from D's own resolution, up again beside it, and on to the dynamic image's.

    Halving stops where a side would be odd or below 2. From the side of D on the enlargements have no skip to lean on.

    Args:
        in_channels: c of D.
        map_side: h = w of D.
        image_side: of the dynamic image.
        width: channels at D's resolution; doubled at each halving up to four times, halved at each enlargement beyond D
            down to 8.
        depth: halvings at most; 0 leaves a plain decoder.
    """

    def __init__(self, in_channels: int, map_side: int, image_side: int, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        if width < 1 or depth < 0:
            raise ValueError(f"width={width} of the U-Net must be at least 1 and depth={depth} at least 0")
        side = map_side
        widths = [width]
        while len(widths) <= depth and side % 2 == 0 and side >= 4:
            side //= 2
            widths.append(min(4 * width, 2 * widths[-1]))
        self.enter = nn.Sequential(nn.BatchNorm2d(in_channels), *_convolution(in_channels, width))
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), *_convolution(narrow, wide)) for narrow, wide in pairwise(widths)
        )
        self.up = nn.ModuleList(
            nn.Sequential(*_convolution(wide + narrow, narrow)) for narrow, wide in reversed(list(pairwise(widths)))
        )
        self.enlarge = nn.Upsample(scale_factor=2)
        beyond: list[nn.Module] = []
        side = map_side
        while 2 * side <= image_side:
            narrower = max(8, width // 2)
            beyond += [nn.Upsample(scale_factor=2), *_convolution(width, narrower)]
            width, side = narrower, 2 * side
        if side != image_side:
            beyond.append(nn.Upsample(size=image_side, mode="bilinear"))
        self.beyond = nn.Sequential(*beyond, nn.Conv2d(width, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, representation: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h2 w2"]:
        """The constructed dynamic image, in [0, 1]."""
        levels = [self.enter(representation)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up in self.up:
            x = up(torch.cat([self.enlarge(x), levels.pop()], dim=1))
        return self.beyond(x)


def _convolution(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
