"""What moved and counted: a heat map of a clip.

An expression is motion, so a clip is compared with the same clip standing still. Integrated gradients (Sundararajan et
al., ICML 2017) from the one to the other share the change of a class's log odds out among the places. What speaks for
the class, times how much moved there, is the heat map. Ours: the still clip as baseline, and the product. Without a
gradient, cells of a grid are stilled in turn instead (occlusion: Zeiler and Fergus, ECCV 2014).
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.v2 import functional as images

from fdp_lightning.extras import Extra

HEAT, SHARE = "heat_map", "share_"
"""Name of the extra that holds the heat map, and what the names of the regions' shares in it begin with."""

STEPS = 4
"""Clips between the still one and the whole one at which gradients are taken."""

CELLS = 8
"""Along each side, that are stilled one by one in a model without a gradient."""

_SMOOTH = 1 / 32
"""Standard deviation of the blur of both factors, as a fraction of the side."""

_HEADING = "what moved and counted"
_NOTE = (
    "How much each place moved, times how much this motion speaks for the class; and the share of each region of the "
    "face in it."
)


def heat_maps(
    odds: Callable[[Float[Tensor, "n *clip"]], Float[Tensor, " n"]],
    clips: Float[Tensor, "b *clip"],
    stills: Float[Tensor, "b *clip"],
) -> Float[Tensor, "b h w"]:
    """Return where clips move in a way that counts for a class: 1 where one does most, 0 where it does not.

    Args:
        odds: differentiable log odds, of n = b · `STEPS` clips, those of one clip after another: each of its own class.
        clips: that are explained, each (…, h, w).
        stills: the same without motion: every frame as the first, or maps of no motion.

    Returns:
        On the CPU; 0 throughout where nothing counts for the class, or `odds` have no gradient.
    """
    motion = (clips - stills).detach()
    part = ((torch.arange(STEPS, device=clips.device) + 0.5) / STEPS).to(clips.dtype)
    between = stills[:, None] + motion[:, None] * part.view(-1, *(1,) * (clips.dim() - 1))
    with torch.enable_grad():
        between = between.flatten(0, 1).detach().requires_grad_()
        total = odds(between.clone()).sum()  # a network may change its input in place, which no leaf can bear
        if not total.requires_grad:
            return torch.zeros(len(clips), *clips.shape[-2:])
        (gradient,) = torch.autograd.grad(total, between)
    gradient = gradient.nan_to_num(0, 0, 0)  # of a deviation where nothing moves
    gradient = gradient.unflatten(0, (len(clips), STEPS)).mean(dim=1)
    return _heat((gradient * motion).flatten(1, -3).sum(dim=1).float(), motion.abs())


def occlusion_map(
    odds: Callable[[Float[Tensor, "n *clip"]], Float[Tensor, " n"]],
    clip: Float[Tensor, "*clip"],
    still: Float[Tensor, "*clip"],
) -> Float[Tensor, "h w"]:
    """Return such a map for a model without a gradient: what counts is by how much the odds fall where a cell is still.

    Args:
        odds: log odds of the class, of n = 1 + `CELLS`² clips.
        clip: that is explained, (…, h, w).
        still: the same without motion.
    """
    rows, columns = (torch.arange(side) * CELLS // side for side in clip.shape[-2:])
    cell = rows[:, None] * CELLS + columns
    kept = cell != torch.arange(-1, CELLS**2)[:, None, None]  # the first copy is the clip as it is
    copies = torch.where(kept.view(-1, *(1,) * (clip.dim() - 2), *cell.shape), clip, still)
    of_copy = odds(copies).float()
    counted = (of_copy[0] - of_copy[1:])[cell]
    return _heat(counted[None], (clip - still).abs()[None])[0]


def of_heat(title: str, regions: Iterable[str]) -> tuple[Extra, ...]:
    """Declare a heat map and the share of each region in it."""
    return (
        Extra(HEAT, "image", title, _HEADING, _NOTE, over_face=True),
        *(Extra(SHARE + name, "scalar", name, _HEADING) for name in regions),
    )


def _heat(counted: Float[Tensor, "b h w"], moved: Float[Tensor, "b *motion"]) -> Float[Tensor, "b h w"]:
    """What counts for the class times how much moves there, both blurred; on the CPU, of a maximum of 1."""
    heat = (_blurred(counted).clamp_min(0) * _blurred(moved.flatten(1, -3).mean(dim=1).float())).cpu()
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(heat.dtype).tiny)


def _blurred(values: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    sigma = [max(_SMOOTH * side, 0.3) for side in reversed(values.shape[1:])]
    return images.gaussian_blur(values, [2 * round(4 * s) + 1 for s in sigma], sigma)
