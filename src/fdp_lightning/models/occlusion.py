"""What moved and counted: a heat map of a clip, by forward passes alone (ours).

An expression is motion, so motion is what is taken away: in a soft window the clip is made to stand still, and the fall
of the log odds of a class is what the window counted. This is occlusion (Zeiler & Fergus, ECCV 2014) with a clip's own
first frame in place of a grey patch. Times how much moved at each place, it is the heat map.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as images

GRID = 8
"""Windows along each side."""

_WIDTH = 0.75
"""Standard deviation of a window, in distances of windows."""

_SMOOTH = 1 / 32
"""Standard deviation of the blur of the motion, as a fraction of the side."""

Odds = Callable[[Float[Tensor, "n *clip"]], Float[Tensor, " n"]]


def still_clip(clip: Float[Tensor, "*clip"], maps: bool) -> Float[Tensor, "*clip"]:
    """Return a clip in which nothing moves.

    Args:
        clip: frames, (t, c, h, w), or maps of their motion, (…, h, w).
        maps: True if they are maps: these are then zero; frames are all as the first.
    """
    return torch.zeros_like(clip) if maps else clip[:1].expand_as(clip)


@torch.no_grad()
def heat_map(
    odds: Odds, clip: Float[Tensor, "*clip"], still: Float[Tensor, "*clip"], at_once: int = 16
) -> Float[Tensor, "h w"]:
    """Return where a clip moves in a way that counts for a class: 1 where it does most, 0 where it does not.

    Args:
        odds: log odds of the class, of n clips.
        clip: that is explained, (…, h, w).
        still: the same without motion, see `still_clip`.
        at_once: windows in one call of `odds`.

    Returns:
        On the CPU; 0 throughout where no window counts for the class.
    """
    sides, motion = clip.shape[-2:], clip - still
    windows = _windows(*sides).to(clip).reshape(-1, *(1,) * (clip.dim() - 2), *sides)
    falls = odds(clip[None]) - torch.cat([odds(clip - motion * some) for some in windows.split(at_once)])
    falls = falls.clamp_min(0).view(1, 1, GRID, GRID)
    # Once more behind it: cubic interpolation reaches below the values that it is between.
    counted = F.interpolate(falls, sides, mode="bicubic", align_corners=False)[0, 0]
    heat = (counted.clamp_min(0) * _moved(motion)).cpu()
    return (heat / heat.max().clamp_min(torch.finfo(heat.dtype).tiny)).float()


def _windows(h: int, w: int) -> Float[Tensor, "n h w"]:
    """Gaussian windows on a grid, row by row; 1 in their middles."""
    down, across = (_bumps(side) for side in (h, w))
    return torch.einsum("ih,jw->ijhw", down, across).flatten(0, 1)


def _bumps(side: int) -> Float[Tensor, "n side"]:
    middles = (torch.arange(GRID) + 0.5) * side / GRID
    away = (torch.arange(side) + 0.5 - middles[:, None]) / (_WIDTH * side / GRID)
    return torch.exp(-0.5 * away.square())


def _moved(motion: Float[Tensor, "*clip"]) -> Float[Tensor, "h w"]:
    """How much moves at each place, smoothed."""
    moved = motion.abs().flatten(0, -3).mean(dim=0, keepdim=True)
    sigma = [max(_SMOOTH * side, 0.3) for side in moved.shape[:0:-1]]
    return images.gaussian_blur(moved, [2 * round(4 * s) + 1 for s in sigma], sigma)[0]
