"""Differentiable ranks by pairwise sigmoids."""

from jaxtyping import Float
from torch import Tensor

from fdp_lightning.models.frame_mask import Mask, masked, real_frames


def soft_ranks(
    values: Float[Tensor, "b t"], mask: Mask | None = None, temperature: float = 1.0
) -> Float[Tensor, "b t"]:
    """`r_t = 1/2 + Σ_u sigmoid((v_t - v_u) / temperature)`: 1 for the smallest value, T for the largest.

    They always sum to T(T+1)/2, and are the ranks (equal values share theirs) as the temperature goes to 0.
    (After Qin, Liu and Li, "A general approximation framework for direct optimization of IR measures", 2010.)

    Args:
        values: of the frames.
        mask: of the real frames; ranks are 0 at the others.
        temperature: above 0.
    """
    mask = real_frames(values, mask)
    values = masked(values, mask)  # a NaN there would reach the gradients of the real frames
    above = ((values.unsqueeze(2) - values.unsqueeze(1)) / temperature).sigmoid()  # b t u
    return masked(0.5 + masked(above.transpose(1, 2), mask).sum(dim=1), mask)


def ranks(values: Float[Tensor, "b t"], mask: Mask | None = None) -> Float[Tensor, "b t"]:
    """The ranks themselves, equal values sharing theirs; the limit of `soft_ranks`."""
    mask = real_frames(values, mask)
    sign = (values.unsqueeze(2) - values.unsqueeze(1)).sign()
    above = 0.5 + 0.5 * sign
    return masked(0.5 + masked(above.transpose(1, 2), mask).sum(dim=1), mask)
