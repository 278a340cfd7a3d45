"""Heat maps of a clip that show where its motion counted for the prediction.

An expression is motion, so a clip is compared with the same clip standing still. Integrated gradients (Sundararajan et
al., ICML 2017) between the two distribute the change of a class's log odds over the positions. The heat map is this
evidence for the class times the motion at each position. The still clip as baseline and the product are ours. For a
model without gradients, the cells of a grid are made still in turn (occlusion: Zeiler and Fergus, ECCV 2014).
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.v2 import functional as images

from fdp_lightning.extras import Extra

HEAT, SHARE = "heat_map", "share_"
"""Name of the extra that holds the heat map, and prefix of the extras that hold the regions' shares of it."""

STEPS = 4
"""Number of clips between the still and the original one at which gradients are taken."""

CELLS = 8
"""Number of cells along each side that are made still one by one for a model without gradients."""

_SMOOTH = 1 / 32
"""Standard deviation of the Gaussian blur of both factors, as a fraction of the side."""

_HEADING = "what moved and counted"
_NOTE = (
    "The motion at each position, times its evidence for the class; and the share of each region of the face in the "
    "total."
)


def heat_maps(
    odds: Callable[[Float[Tensor, "n *clip"]], Float[Tensor, " n"]],
    clips: Float[Tensor, "b *clip"],
    stills: Float[Tensor, "b *clip"],
) -> Float[Tensor, "b h w"]:
    """Return where clips move in a way that counts for a class: maps with a maximum of 1, and 0 where nothing counts.

    Args:
        odds: function that returns differentiable log odds of n = b · `STEPS` clips, `STEPS` in a row for each clip
            that is explained, each of that clip's class.
        clips: clips to explain, each (…, h, w).
        stills: the same clips without motion: every frame equal to the first, or maps of no motion.

    Returns:
        Heat maps on the CPU; all zero for a clip where nothing counts for the class, and if `odds` has no gradient.
    """
    motion = (clips - stills).detach()
    part = ((torch.arange(STEPS, device=clips.device) + 0.5) / STEPS).to(clips.dtype)
    between = stills[:, None] + motion[:, None] * part.view(-1, *(1,) * (clips.dim() - 1))
    with torch.enable_grad():
        between = between.flatten(0, 1).detach().requires_grad_()
        total = odds(between.clone()).sum()  # a network may change its input in place, which a leaf tensor forbids
        if not total.requires_grad:
            return torch.zeros(len(clips), *clips.shape[-2:])
        (gradient,) = torch.autograd.grad(total, between)
    gradient = gradient.nan_to_num(0, 0, 0)  # a standard deviation has no gradient where nothing moves
    gradient = gradient.unflatten(0, (len(clips), STEPS)).mean(dim=1)
    return _heat((gradient * motion).flatten(1, -3).sum(dim=1).float(), motion.abs())


def occlusion_map(
    odds: Callable[[Float[Tensor, "n *clip"]], Float[Tensor, " n"]],
    clip: Float[Tensor, "*clip"],
    still: Float[Tensor, "*clip"],
) -> Float[Tensor, "h w"]:
    """Return a heat map for a model without gradients: a cell counts by how much the log odds fall when it is still.

    Args:
        odds: function that returns the log odds of the class for n = 1 + `CELLS`² clips.
        clip: clip to explain, (…, h, w).
        still: the same clip without motion.
    """
    rows, columns = (torch.arange(side) * CELLS // side for side in clip.shape[-2:])
    cell = rows[:, None] * CELLS + columns
    kept = cell != torch.arange(-1, CELLS**2)[:, None, None]  # the first copy is the unchanged clip
    copies = torch.where(kept.view(-1, *(1,) * (clip.dim() - 2), *cell.shape), clip, still)
    of_copy = odds(copies).float()
    counted = (of_copy[0] - of_copy[1:])[cell]
    return _heat(counted[None], (clip - still).abs()[None])[0]


def of_heat(title: str, regions: Iterable[str]) -> tuple[Extra, ...]:
    """Declare a heat map and each region's share of it."""
    return (
        Extra(HEAT, "image", title, _HEADING, _NOTE, over_face=True),
        *(Extra(SHARE + name, "scalar", name, _HEADING) for name in regions),
    )


def _heat(counted: Float[Tensor, "b h w"], moved: Float[Tensor, "b *motion"]) -> Float[Tensor, "b h w"]:
    """Return the evidence for the class times the motion, both blurred, scaled to a maximum of 1; on the CPU."""
    heat = (_blurred(counted).clamp_min(0) * _blurred(moved.flatten(1, -3).mean(dim=1).float())).cpu()
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(heat.dtype).tiny)


def _blurred(values: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    sigma = [max(_SMOOTH * side, 0.3) for side in reversed(values.shape[1:])]
    return images.gaussian_blur(values, [2 * round(4 * s) + 1 for s in sigma], sigma)
