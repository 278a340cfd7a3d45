"""What moved and counted: a heat map of a clip.

An expression is motion, so a clip is compared with the same clip standing still. Integrated gradients (Sundararajan et
al., ICML 2017) from the one to the other share the change of a class's log odds out among the places. What speaks for
the class, times how much moved there, is the heat map. Ours: the still clip as baseline, and the product.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.v2 import functional as images

STEPS = 4
"""Clips between the still one and the whole one at which gradients are taken."""

_SMOOTH = 1 / 32
"""Standard deviation of the blur of both factors, as a fraction of the side."""


def heat_map(
    odds: Callable[[Float[Tensor, "n *clip"]], Float[Tensor, " n"]],
    clip: Float[Tensor, "*clip"],
    still: Float[Tensor, "*clip"],
) -> Float[Tensor, "h w"]:
    """Return where a clip moves in a way that counts for a class: 1 where it does most, 0 where it does not.

    Args:
        odds: log odds of the class, of n clips, differentiable.
        clip: that is explained, (…, h, w).
        still: the same without motion: every frame as the first, or maps of no motion.

    Returns:
        On the CPU; 0 throughout where nothing counts for the class, or `odds` have no gradient.
    """
    motion = (clip - still).detach()
    part = (torch.arange(STEPS, device=clip.device) + 0.5).to(clip.dtype) / STEPS
    between = still + motion * part.view(-1, *(1,) * clip.dim())
    with torch.enable_grad():
        between = between.detach().requires_grad_()
        total = odds(between).sum()
        if not total.requires_grad:
            return torch.zeros(clip.shape[-2:])
        (gradient,) = torch.autograd.grad(total, between)
    gradient = gradient.nan_to_num(0, 0, 0)  # of a deviation where nothing moves
    counted = _blurred((gradient.mean(dim=0) * motion).flatten(0, -3).sum(dim=0))
    heat = (counted.clamp_min(0) * _blurred(motion.abs().flatten(0, -3).mean(dim=0))).cpu().float()
    return heat / heat.max().clamp_min(torch.finfo(heat.dtype).tiny)


def _blurred(values: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    sigma = [max(_SMOOTH * side, 0.3) for side in reversed(values.shape)]
    return images.gaussian_blur(values[None], [2 * round(4 * s) + 1 for s in sigma], sigma)[0]
