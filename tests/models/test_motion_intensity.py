"""How far frames have moved from the onset: grey differences, and the normal flow of translated ramps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdp_lightning.models.dynamic_image import MOTION_MEASURES, motion_intensity
from tests.models.padding import GARBAGE, alone, masks, normal, seeds, spoiled


def ramp(slope: tuple[float, float], shift: tuple[float, float], size: int = 6) -> Tensor:
    """A ramp of grey values of this slope (across, down), moved by `shift` pixels: (1, size, size)."""
    down, across = np.mgrid[:size, :size].astype(float)
    return torch.from_numpy(slope[0] * (across - shift[0]) + slope[1] * (down - shift[1])).unsqueeze(0)


def test_difference_is_the_mean_absolute_change_since_the_first_frame() -> None:
    frames = normal(0, 2, 5, 2, 3, 3)
    expected = np.abs(frames.numpy() - frames.numpy()[:, :1]).mean(axis=(2, 3, 4))
    np.testing.assert_allclose(motion_intensity(frames).numpy(), expected)


angles = st.floats(0, 2 * math.pi)


@given(steepness=st.floats(0.3, 2), uphill=angles, distance=st.floats(0, 2), course=angles)
@settings(max_examples=30, deadline=None)
def test_flow_is_how_far_a_ramp_moved(steepness: float, uphill: float, distance: float, course: float) -> None:
    # Two pictures fix only the motion along the gradient; along the contours of a ramp nothing is seen to move.
    slope = (steepness * math.cos(uphill), steepness * math.sin(uphill))
    shift = (distance * math.cos(course), distance * math.sin(course))
    frames = torch.stack([ramp(slope, (0.0, 0.0)), ramp(slope, shift)]).unsqueeze(0)
    expected = distance * abs(math.cos(course - uphill))
    moved = motion_intensity(frames, measure="flow")[0, 1].item()
    # ε takes 1e-3 / steepness² of it, no more.
    assert moved == pytest.approx(expected, rel=1.01e-3 / steepness**2, abs=1e-9)


@pytest.mark.parametrize("measure", MOTION_MEASURES)
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15, deadline=None)
def test_padding_changes_no_intensity(measure: str, mask: Tensor, seed: int, garbage: float) -> None:
    frames = spoiled(normal(seed, *mask.shape, 1, 3, 3), mask, garbage).requires_grad_()
    moved = motion_intensity(frames, mask, measure)
    (gradient,) = torch.autograd.grad(moved.sum(), frames)
    for i in range(len(mask)):
        clip = alone(frames, mask, i).detach().requires_grad_()
        short = motion_intensity(clip, measure=measure)
        torch.testing.assert_close(moved[i][mask[i]], short[0])
        torch.testing.assert_close(gradient[i][mask[i]], torch.autograd.grad(short.sum(), clip)[0][0])
    assert (moved[~mask] == 0).all()
    assert (gradient[~mask] == 0).all()


@pytest.mark.parametrize("measure", MOTION_MEASURES)
def test_a_still_flat_clip_has_a_finite_gradient(measure: str) -> None:
    frames = torch.full((1, 3, 1, 4, 4), 0.5, requires_grad=True)
    motion_intensity(frames, measure=measure).sum().backward()
    assert frames.grad is not None
    assert frames.grad.isfinite().all()
