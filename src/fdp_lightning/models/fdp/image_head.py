"""A light encoder-decoder with skip connections (ours; lineage: U-Net, Ronneberger et al., MICCAI 2015)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.fdp.blocks import MapShape
from fdp_lightning.models.frame_mask import wide

LEAST_MOTION = 1e-6
"""Mean square of D at which a construction is half faded to "nothing moved"; that of moving clips is 100 times as large
and more, that of a still one, a rounding error, is below 1e-12."""


class UNet(nn.Module):
    """Down from the coarsest D and up again beside it, then up through the finer ones and on to the image's side.

    D of each resolution is a skip: a coarse map alone cannot say where an edge lies. The last doubling is a sub-pixel
    convolution (Shi et al., CVPR 2016), so that nothing is computed at full resolution. What leaves the network is
    `σ(x · m / (m + 1e-6))`, m the mean square of D: where nothing moves, D is zero and the image 0.5 throughout,
    whatever the weights.

    Args:
        maps: channels and side of D at each resolution, fine to coarse.
        image_side: of the dynamic image.
        width: channels at D's resolutions, halved (to 8 at least) beyond the finest one, and doubled at each halving
            below the coarsest up to four times.
        depth: halvings at most, while sides are even and at least 4; 0 leaves a plain decoder.
    """

    def __init__(self, maps: Sequence[MapShape], image_side: int, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        if width < 1 or depth < 0:
            raise ValueError(f"width={width} of the U-Net must be at least 1 and depth={depth} at least 0")
        *finer, (channels, side) = maps
        widths, low = [width], side
        while len(widths) <= depth and low % 2 == 0 and low >= 4:
            low //= 2
            widths.append(min(4 * width, 2 * widths[-1]))
        self.enter = nn.Sequential(nn.BatchNorm2d(channels), *_convolution(channels, width))
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), *_convolution(narrow, wide)) for narrow, wide in pairwise(widths)
        )
        self.up = nn.ModuleList(
            nn.Sequential(*_convolution(wide + narrow, narrow)) for narrow, wide in reversed(list(pairwise(widths)))
        )
        self.sides = [side for _, side in reversed(finer)]
        beside = max(1, width // 2)
        self.skips = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(c), nn.Conv2d(c, beside, 1, bias=False)) for c, _ in reversed(finer)
        )
        self.join = nn.ModuleList(nn.Sequential(*_convolution(width + beside, width)) for _ in finer)
        side = maps[0][1]
        beyond: list[nn.Module] = []
        while 4 * side <= image_side:
            narrower = max(8, width // 2)
            beyond += [nn.Upsample(scale_factor=2), *_convolution(width, narrower)]
            width, side = narrower, 2 * side
        if 2 * side == image_side:
            self.beyond = nn.Sequential(*beyond, nn.Conv2d(width, 4, 3, padding=1), nn.PixelShuffle(2))
        else:
            size = [nn.Upsample(size=image_side, mode="bilinear")] if side != image_side else []
            self.beyond = nn.Sequential(*beyond, *size, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, representation: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b 1 h2 w2"]:
        """The constructed dynamic image, in [0, 1]."""
        *finer, coarsest = representation
        levels = [self.enter(coarsest)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0), levels.pop()], dim=1))
        for side, skip, join, d in zip(self.sides, self.skips, self.join, reversed(finer), strict=True):
            x = join(torch.cat([F.interpolate(x, size=(side, side)), skip(d)], dim=1))
        motion = torch.stack([wide(d).square().mean(dim=(1, 2, 3)) for d in representation]).mean(dim=0)
        gain = (motion / (motion + LEAST_MOTION)).to(x.dtype)
        return torch.sigmoid(self.beyond(x) * gain.view(-1, 1, 1, 1))


def _convolution(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
