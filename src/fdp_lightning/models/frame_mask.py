"""Operations along time: masks of the real frames for clips of different lengths, and sums over frames.

Mixed precision must not affect sums over nearly equal frames, because their small differences are the signal. bfloat16
has 8 significant bits, between two and three decimal digits: weights that sum to zero no longer do when rounded to it,
and a subtle motion of a few grey values is lost in the rounding of the frames.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Mask = Bool[Tensor, "b t"]


def real_frames(values: Tensor, mask: Mask | None) -> Mask:
    """Return the mask, or one of all frames of `values` (b, t, …) if it is None."""
    return torch.ones(values.shape[:2], dtype=torch.bool, device=values.device) if mask is None else mask


def positions(mask: Mask) -> Int[Tensor, "b t"]:
    """Return positions 1, 2, 3, … of the real frames of each clip; values at other frames are undefined."""
    return mask.long().cumsum(dim=1)


def frame_count(mask: Mask) -> Int[Tensor, "b 1"]:
    """Return the number of real frames of each clip, at least 1, so that it can be a divisor."""
    return mask.sum(dim=1, keepdim=True).clamp_min(1)


def mean_over_time(features: Float[Tensor, "b t *rest"], mask: Mask | None) -> Float[Tensor, "b 1 *rest"]:
    """Return the mean over the real frames."""
    if mask is None:
        return features.mean(dim=1, keepdim=True)
    counts = frame_count(mask).view(-1, *[1] * (features.ndim - 1))
    return masked(features, mask).sum(dim=1, keepdim=True) / counts


def masked(values: Float[Tensor, "b t *rest"], mask: Mask) -> Float[Tensor, "b t *rest"]:
    """Return values with zero at frames that are not real, even where they hold NaN."""
    return values.masked_fill(~mask.view(*mask.shape, *[1] * (values.ndim - 2)), 0)


def running_means(features: Float[Tensor, "b t *rest"], mask: Mask | None) -> Float[Tensor, "b t *rest"]:
    """Return the means over the real frames up to each frame, `V_t = (1/t) Σ_{i≤t} F_i`; others repeat the last mean.

    This is the smoothing of rank pooling (Fernando et al., "Rank pooling for action recognition", TPAMI 2017).
    """
    real = real_frames(features, mask)
    counts = positions(real).clamp_min(1).view(*real.shape, *[1] * (features.ndim - 2))
    return (features if mask is None else masked(features, mask)).cumsum(dim=1) / counts


def onset_frames(features: Float[Tensor, "b t *rest"], mask: Mask | None) -> Float[Tensor, "b 1 *rest"]:
    """Return the first real frame of each clip."""
    if mask is None:
        return features[:, :1]
    first = mask.long().argmax(dim=1)
    return features[torch.arange(len(features), device=features.device), first].unsqueeze(1)


def wide(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or unchanged if it is float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def weighted_sum(weights: Float[Tensor, "b n t"], frames: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b n c h w"]:
    """Return `Σ_t w_nt F_t` for n weight vectors, summed in at least float32 and rounded once to the frames' dtype."""
    values = wide(frames).permute(0, 1, 3, 4, 2)  # for maps stored channels last, this and the reshape are views
    b, t, h, w, c = values.shape
    with torch.autocast(frames.device.type, enabled=False):
        summed = torch.bmm(weights.to(values.dtype), values.reshape(b, t, h * w * c))
    return summed.view(b, -1, h, w, c).permute(0, 1, 4, 2, 3).to(frames.dtype)
