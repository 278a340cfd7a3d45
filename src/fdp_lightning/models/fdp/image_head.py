"""Dynamic-image construction (DIC, P): a light encoder-decoder (O; lineage: U-Net, Ronneberger et al., MICCAI 2015)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.fdp.blocks import MapShape
from fdp_lightning.models.frame_mask import wide

LEAST_MOTION = 1e-6
"""Mean square of D at which the output is half faded to "nothing moved". Moving clips have at least 100 times as much;
still clips have less than 1e-12, a floating-point error."""


class UNet(nn.Module):
    """Encode the coarsest D and decode it to the side of the image, with the finer D as skip connections.

    The skips matter, because a coarse map cannot localise edges. The last doubling is a sub-pixel convolution (Shi et
    al., CVPR 2016), so nothing is computed at full resolution. The output is `σ(x · m / (m + 1e-6))`, with m the mean
    square of D: if nothing moves, D is zero and the image 0.5 throughout, for any weights.

    Args:
        maps: channels and side of D at each resolution, fine to coarse.
        image_side: side of the dynamic image, pixels.
        width: channels at the resolutions of D. Above the finest one, each doubling halves them (at least 8 remain);
            below the coarsest one, each halving doubles them, up to four times `width`.
        depth: largest number of halvings, as long as sides are even and at least 4; 0 for a decoder only.
    """

    def __init__(self, maps: Sequence[MapShape], image_side: int, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        if width < 1 or depth < 0:
            raise ValueError(f"width={width}, depth={depth} of the U-Net; expected at least 1 and 0")
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
        skip_width = max(1, width // 2)
        self.skips = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(c), nn.Conv2d(c, skip_width, 1, bias=False)) for c, _ in reversed(finer)
        )
        self.join = nn.ModuleList(nn.Sequential(*_convolution(width + skip_width, width)) for _ in finer)
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
        """Map D of all resolutions to the dynamic image, in [0, 1]."""
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
