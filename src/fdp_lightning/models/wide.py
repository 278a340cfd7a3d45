"""What mixed precision must not touch: sums over nearly equal frames, whose small differences are the signal.

bfloat16 holds 8 binary digits, between two and three decimal ones. Weights that sum to zero no longer do when they are
rounded to it, and a subtle motion of a few grey values drowns in the rounding of the frames.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def wide(tensor: Tensor) -> Tensor:
    """In float32, or in float64 if it is that."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def weighted_sum(weights: Float[Tensor, "b n t"], frames: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b n c h w"]:
    """`Σ_t w_nt F_t` for n weight vectors at once, summed in float32 at least and rounded once, to the frames' type."""
    values = wide(frames).permute(0, 1, 3, 4, 2)  # maps lie in memory with channels last, which keeps this a view
    b, t, h, w, c = values.shape
    with torch.autocast(frames.device.type, enabled=False):
        summed = torch.bmm(weights.to(values.dtype), values.reshape(b, t, h * w * c))
    return summed.view(b, -1, h, w, c).permute(0, 1, 4, 2, 3).to(frames.dtype)
