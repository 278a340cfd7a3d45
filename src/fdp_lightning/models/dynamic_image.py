"""Dynamic images: a clip's motion in one image, `Σ_t w_t I_t`, by approximate rank pooling (ARP).

Each kind is a weight vector over the frames, applied by one batched, masked, differentiable function.

References:
    [1] Bilen et al., "Dynamic image networks for action recognition", CVPR 2016; TPAMI 2018.
    [2] AFN, arXiv 2510.09730: frames ordered by motion intensity before rank pooling.
    [3] DIANet, arXiv 2510.12219: one dynamic image from onset to apex, one from apex to offset.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fdp_lightning.models.frame_mask import (
    Mask,
    frame_count,
    masked,
    onset_frames,
    positions,
    real_frames,
    weighted_sum,
)

DYNAMIC_IMAGES = ("exact", "simple", "onset_apex", "apex_offset", "intensity")
MOTION_MEASURES = ("difference", "flow")


def exact_weights(position: Int[Tensor, "b t"], length: Int[Tensor, "b 1"]) -> Float[Tensor, "b t"]:
    """Return the exact ARP weights [1] of frames at 1-based `position` in clips of `length` frames, float64.

    `α_p = Σ_{i=p..T} (2i - T - 1)/i = 2(T - p + 1) - (T + 1)(H_T - H_{p-1})`, H harmonic numbers. They sum to zero and
    peak in mid-clip. (A widely copied version drops the -1 from the numerator; its weights sum to T, and the mean face
    leaks in.)
    """
    numbers = torch.arange(1, position.shape[1] + 1, dtype=torch.float64, device=position.device)
    harmonic = torch.cat([numbers.new_zeros(1), (1 / numbers).cumsum(0)])
    position = position.clamp(1, position.shape[1])
    return 2 * (length - position + 1) - (length + 1) * (harmonic[length] - harmonic[position - 1])


def simple_weights(position: Int[Tensor, "b t"], length: Int[Tensor, "b 1"]) -> Float[Tensor, "b t"]:
    """Return `2p - T - 1`, float64: the last frames minus the first; a face that has returned to neutral cancels."""
    return (2 * position - length - 1).double()


def motion_intensity(
    frames: Float[Tensor, "b t c h w"], mask: Mask | None = None, measure: str = "difference"
) -> Float[Tensor, "b t"]:
    """Return the distance of each frame from the onset frame, the clip's first (O: the measure of [2] is not public).

    The measure is 'difference', the mean absolute difference of grey values; or 'flow', the mean magnitude of the
    normal flow `|I_t - I_onset| |∇I| / (|∇I|² + ε)`, in pixels: the part of optical flow that two images determine.
    Intensity is 0 at frames that are not real.
    """
    mask = real_frames(frames, mask)
    onset = onset_frames(frames, mask)
    change = masked(frames - onset, mask).abs()
    if measure == "flow":
        across, down = torch.gradient(onset, dim=(4, 3))
        steepness = (across.square() + down.square() + 1e-24).sqrt()  # the constant avoids 0/0 in the derivative
        change = change * steepness / (steepness.square() + 1e-3)  # ε: a grey step of about 0.03 per pixel is noise
    elif measure != "difference":
        raise ValueError(f"unknown motion measure '{measure}'; allowed are {', '.join(MOTION_MEASURES)}")
    return change.mean(dim=(2, 3, 4))


def apex_index(
    frames: Float[Tensor, "b t c h w"],
    frame_number: Float[Tensor, "b t"] | None = None,
    apex: Float[Tensor, " b"] | None = None,
    mask: Mask | None = None,
) -> Int[Tensor, " b"]:
    """Return the index of the frame nearest to the annotated apex; without one, of the frame farthest from onset (O).

    The number of each frame in the recording is required with `apex`, the annotated frame number (NaN: none).
    """
    mask = real_frames(frames, mask)
    by_motion = motion_intensity(frames, mask).masked_fill(~mask, -1).argmax(dim=1)
    if apex is None or frame_number is None:
        return by_motion
    distance = (frame_number - apex.unsqueeze(1)).abs().masked_fill(~mask, torch.inf)
    return torch.where(apex.isnan(), by_motion, distance.argmin(dim=1))


def frame_weights(
    frames: Float[Tensor, "b t c h w"],
    kind: str = "exact",
    mask: Mask | None = None,
    apex: Int[Tensor, " b"] | None = None,
    measure: str = "difference",
) -> Float[Tensor, "b t"]:
    """Return the weights of the frames in the dynamic image of `kind`; those of a clip sum to zero.

    Args:
        frames: frames of the clips, at least one each.
        kind: 'exact' or 'simple' [1]; 'onset_apex' or 'apex_offset' [3], exact weights over that phase, including the
            apex; 'intensity' [2], exact weights over the frames sorted by motion intensity.
        mask: real frames; weights are 0 at the others.
        apex: index of the apex frame, for the two phases; by default that of `apex_index`.
        measure: motion measure of 'intensity', see `motion_intensity`.
    """
    if kind not in DYNAMIC_IMAGES:
        raise ValueError(f"unknown dynamic image '{kind}'; allowed are {', '.join(DYNAMIC_IMAGES)}")
    if frames.shape[1] < 1:
        raise ValueError("a dynamic image needs at least one frame; got T = 0")
    mask = real_frames(frames, mask)
    if kind in ("onset_apex", "apex_offset"):
        apex = apex_index(frames, mask=mask) if apex is None else apex
        index = torch.arange(frames.shape[1], device=frames.device)
        after = index >= apex.unsqueeze(1) if kind == "apex_offset" else index <= apex.unsqueeze(1)
        mask = mask & after
    position = positions(mask)
    if kind == "intensity":
        # Frames of equal intensity keep their temporal order; frames that are not real come last.
        order = motion_intensity(frames, mask, measure).masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)
        position = order.argsort(dim=1) + 1
    weights = (simple_weights if kind == "simple" else exact_weights)(position, frame_count(mask))
    return masked(weights, mask).to(frames.dtype)


def dynamic_image(
    frames: Float[Tensor, "b t c h w"],
    kind: str = "exact",
    mask: Mask | None = None,
    apex: Int[Tensor, " b"] | None = None,
    measure: str = "difference",
) -> Float[Tensor, "b c h w"]:
    """Return the dynamic image `Σ_t w_t I_t` of each clip; for the arguments see `frame_weights`."""
    weights = frame_weights(frames, kind, mask, apex, measure)
    if mask is not None:
        frames = masked(frames, mask)
    return weighted_sum(weights.unsqueeze(1), frames)[:, 0]


def min_max(images: Float[Tensor, "b c h w"], eps: float = 1e-6) -> Float[Tensor, "b c h w"]:
    """Scale each image to [0, 1] by its own extremes, as the DIC target is (R); a constant image becomes 0."""
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    high = images.amax(dim=(1, 2, 3), keepdim=True)
    return (images - low) / (high - low).clamp_min(eps)


def signed(images: Float[Tensor, "b c h w"], scale: Tensor) -> Float[Tensor, "b c h w"]:
    """Map images from ±4 `scale` to [0, 1], clipped, with 0.5 for no motion (O); keeps sign and magnitude.

    The scale is the root mean square of the training clips' dynamic images.
    """
    return (0.5 + images / (8 * scale)).clamp(0, 1)
