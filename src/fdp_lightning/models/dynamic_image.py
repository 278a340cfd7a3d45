"""Dynamic images by approximate rank pooling (Bilen et al., CVPR 2016; TPAMI 2018).

All variants are weight vectors over frames, applied by one batched, differentiable kernel.
"""

import torch
from jaxtyping import Float
from torch import Tensor

DYNAMIC_IMAGES = ("exact", "simple")


def arp_weights(t: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Float[Tensor, " t"]:
    """Exact weights `α_t = Σ_{i=t..T} (2i - T - 1)/i = 2(T - t + 1) - (T + 1)(H_T - H_{t-1})`, H harmonic numbers.

    They sum to zero and peak in mid-clip. (A widely copied version drops the -1 from the numerator; its weights sum to
    T, and the mean face leaks in.)
    """
    _check_frames(t)
    steps = torch.arange(1, t + 1, dtype=torch.float64)
    terms = (2 * steps - t - 1) / steps
    return terms.flip(0).cumsum(0).flip(0).to(device=device, dtype=dtype)


def simple_arp_weights(
    t: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Float[Tensor, " t"]:
    """`2t - T - 1`: the last frames against the first; a face that has returned to neutral cancels."""
    _check_frames(t)
    return (2 * torch.arange(1, t + 1, dtype=torch.float64) - t - 1).to(device=device, dtype=dtype)


def dynamic_image(frames: Float[Tensor, "b t c h w"], kind: str = "exact") -> Float[Tensor, "b c h w"]:
    """The dynamic image `Σ_t α_t I_t` of each clip, of `kind` 'exact' or 'simple'."""
    t = frames.shape[1]
    if kind == "exact":
        weights = arp_weights(t, frames.device, frames.dtype)
    elif kind == "simple":
        weights = simple_arp_weights(t, frames.device, frames.dtype)
    else:
        raise ValueError(f"unknown dynamic image '{kind}'; allowed are {', '.join(DYNAMIC_IMAGES)}")
    return torch.einsum("t,btchw->bchw", weights, frames)


def min_max(images: Float[Tensor, "b c h w"], eps: float = 1e-6) -> Float[Tensor, "b c h w"]:
    """Each image scaled to [0, 1] by its own extremes, as the DIC target is (R); a constant image becomes 0."""
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    high = images.amax(dim=(1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp_min(eps)


def _check_frames(t: int) -> None:
    if t < 1:
        raise ValueError(f"a dynamic image needs at least one frame, got {t}")
