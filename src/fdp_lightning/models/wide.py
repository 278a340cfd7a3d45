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


def weighted_sum(weights: Float[Tensor, "b t"], frames: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b c h w"]:
    """`Σ_t w_t F_t`, summed in float32 at least and rounded once, to the type of the frames."""
    values = wide(frames)
    with torch.autocast(frames.device.type, enabled=False):
        return torch.einsum("bt,btchw->bchw", weights.to(values.dtype), values).to(frames.dtype)
