"""What order the scorer is to find: the relevance of each frame. A higher relevance asks for a higher score."""

import torch
from jaxtyping import Float
from torch import Tensor

from fdp_lightning.models.frame_mask import Mask, positions, real_frames


def chronological(values: Float[Tensor, "b t *rest"], mask: Mask | None = None) -> Float[Tensor, "b t"]:
    """1, 2, 3, … in time (P: later frames score higher).

    Head drift or a ramp of brightness alone can solve it; `intensity` is the target that they do not solve.
    """
    return positions(real_frames(values, mask)).to(values.dtype)


def intensity(
    frame_number: Float[Tensor, "b t"], apex: Float[Tensor, " b"], mask: Mask | None = None
) -> Float[Tensor, "b t"]:
    """0 at the onset, rising evenly to 1 at the apex and falling evenly to 0 at the offset (O).

    The onset is the first real frame, the offset the last.

    Args:
        frame_number: of each frame in the recording, ascending.
        apex: frame number of the apex, within the clip.
        mask: of the real frames.
    """
    mask = real_frames(frame_number, mask)
    onset = frame_number.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True)
    offset = frame_number.masked_fill(~mask, -torch.inf).amax(dim=1, keepdim=True)
    apex = apex.unsqueeze(1)
    # An apex at an end of the clip leaves one side empty; the clamp keeps 0/0 out of it.
    rising = 1 - (apex - frame_number) / (apex - onset).clamp_min(1e-6)
    falling = 1 - (frame_number - apex) / (offset - apex).clamp_min(1e-6)
    return torch.where(frame_number <= apex, rising, falling).masked_fill(~mask, 0)
