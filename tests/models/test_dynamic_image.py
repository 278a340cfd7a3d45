"""Dynamic images compared with their definitions (Bilen et al., CVPR 2016), written out, and measures of motion."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdp_lightning.models.dynamic_image import (
    DYNAMIC_IMAGES,
    MOTION_MEASURES,
    apex_index,
    dynamic_image,
    exact_weights,
    frame_weights,
    min_max,
    motion_intensity,
    signed,
    simple_weights,
)
from tests.models.padding import GARBAGE, alone, double_sum, masks, normal, seeds, spoiled


def by_hand(frames: Tensor) -> Tensor:
    """Return the exact dynamic image of one clip (t, c, h, w), summed frame by frame."""
    return sum(float(weight) * frame for weight, frame in zip(double_sum(len(frames)), frames, strict=True))


def test_weights_equal_the_double_sum() -> None:
    for t in range(1, 65):
        position, length = torch.arange(1, t + 1).unsqueeze(0), torch.tensor([[t]])
        exact, simple = exact_weights(position, length)[0], simple_weights(position, length)[0]
        np.testing.assert_allclose(exact.numpy(), double_sum(t), atol=1e-10)
        np.testing.assert_array_equal(simple.numpy(), [2 * k - t - 1 for k in range(1, t + 1)])


@given(t=st.integers(1, 9), data=st.data(), seed=seeds)
@settings(max_examples=30, deadline=None)
def test_the_phases_are_exact_images_of_the_clip_cut_at_the_apex(t: int, data: st.DataObject, seed: int) -> None:
    frames = normal(seed, 1, t, 2, 3, 3)
    at = data.draw(st.sampled_from([0, t - 1, t // 2]))
    apex = torch.tensor([at])
    torch.testing.assert_close(dynamic_image(frames, "onset_apex", None, apex)[0], by_hand(frames[0, : at + 1]))
    torch.testing.assert_close(dynamic_image(frames, "apex_offset", None, apex)[0], by_hand(frames[0, at:]))


def test_an_unknown_apex_is_the_frame_farthest_from_the_onset() -> None:
    frames = normal(0, 3, 7, 1, 4, 4)
    distance = np.abs(frames.numpy() - frames.numpy()[:, :1]).mean(axis=(2, 3, 4))
    farthest = distance.argmax(axis=1)
    assert apex_index(frames).tolist() == farthest.tolist()
    np.testing.assert_allclose(motion_intensity(frames).numpy(), distance)
    by_default = dynamic_image(frames, "onset_apex")
    torch.testing.assert_close(by_default[1], by_hand(frames[1, : farthest[1] + 1]))
    # The third clip has no annotation; the apex of the second lies between two frames, nearer to the later one.
    numbers = torch.tensor([[3.0, 5, 8, 9, 20, 30, 31]] * 3, dtype=torch.float64)
    apex = torch.tensor([31.0, 15.0, torch.nan], dtype=torch.float64)
    assert apex_index(frames, numbers, apex).tolist() == [6, 4, farthest[2]]


def test_an_apex_is_not_looked_for_among_frames_that_are_not_real() -> None:
    mask = torch.tensor([[False, True, True, False, True]])
    frames = spoiled(normal(1, 1, 5, 1, 3, 3), mask, 1e30)
    numbers = spoiled(torch.tensor([[1.0, 2, 3, 4, 5]], dtype=torch.float64), mask, 4.0)
    change = (frames - frames[:, 1:2]).abs().mean(dim=(2, 3, 4))[0]
    assert apex_index(frames, mask=mask).item() == (2 if change[2] > change[4] else 4)
    assert apex_index(frames, numbers, torch.tensor([4.2], dtype=torch.float64), mask).item() == 4


@given(t=st.integers(1, 9) | st.just(60), seed=seeds)
@settings(max_examples=30, deadline=None)
def test_intensity_is_exact_on_the_frames_reordered_by_their_motion(t: int, seed: int) -> None:
    # Few grey levels, so many frames move equally far and must keep their temporal order. Sixty frames, because
    # unstable sorts may keep the order of a few by chance.
    frames = torch.randint(0, 3, (t, 1, 1, 2), generator=torch.Generator().manual_seed(seed)).double() / 4
    moved = [float((frame - frames[0]).abs().mean()) for frame in frames]
    order = sorted(range(t), key=lambda k: moved[k])  # stable
    torch.testing.assert_close(dynamic_image(frames.unsqueeze(0), "intensity")[0], by_hand(frames[order]))


@pytest.mark.parametrize("kind", DYNAMIC_IMAGES)
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15, deadline=None)
def test_padding_changes_no_dynamic_image(kind: str, mask: Tensor, seed: int, garbage: float) -> None:
    frames = spoiled(normal(seed, *mask.shape, 1, 3, 3), mask, garbage).requires_grad_()
    weights = frame_weights(frames, kind, mask)
    images = dynamic_image(frames, kind, mask)
    for i in range(len(mask)):
        torch.testing.assert_close(images[i : i + 1], dynamic_image(alone(frames, mask, i), kind))
        torch.testing.assert_close(weights[i][mask[i]], frame_weights(alone(frames, mask, i), kind)[0])
    assert (weights[~mask] == 0).all()
    assert weights.sum(dim=1).abs().max() < 1e-9
    # The image is linear in the frames: its gradient is the weights, 0 at frames that are not real.
    (gradient,) = torch.autograd.grad(images.sum(), frames)
    torch.testing.assert_close(gradient, weights.view(*mask.shape, 1, 1, 1).expand_as(gradient))


def test_min_max_scales_each_image_by_itself() -> None:
    images = torch.randn(3, 1, 8, 8) * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1, 1)
    scaled = min_max(images)
    assert torch.equal(scaled.amin(dim=(1, 2, 3)), torch.zeros(3))
    torch.testing.assert_close(scaled.amax(dim=(1, 2, 3)), torch.ones(3))
    image = images[1].numpy()
    np.testing.assert_allclose(scaled[1].numpy(), (image - image.min()) / (image.max() - image.min()), rtol=1e-5)
    assert torch.equal(min_max(torch.full((1, 1, 4, 4), 3.0)), torch.zeros(1, 1, 4, 4))


def test_signed_keeps_sign_and_magnitude_within_four_scales() -> None:
    # Eight scales span 1, so with a scale of 0.5 each unit counts a quarter.
    images = torch.tensor([0.0, 1.0, -1.0, 1.9, 2.0, -2.0, 5.0, -torch.inf]).view(1, 1, 2, 4)
    expected = torch.tensor([0.5, 0.75, 0.25, 0.975, 1.0, 0.0, 1.0, 0.0]).view(1, 1, 2, 4)
    torch.testing.assert_close(signed(images, torch.tensor(0.5)), expected)
    assert torch.equal(signed(torch.zeros(1, 1, 2, 2), torch.tensor(3.0)), torch.full((1, 1, 2, 2), 0.5))


def ramp(slope: tuple[float, float], shift: tuple[float, float]) -> Tensor:
    """Return a ramp of grey values with this slope (across, down), moved by `shift` pixels: (1, 6, 6)."""
    down, across = np.mgrid[:6, :6].astype(float)
    return torch.from_numpy(slope[0] * (across - shift[0]) + slope[1] * (down - shift[1])).unsqueeze(0)


angles = st.floats(0, 2 * math.pi)


@given(steepness=st.floats(0.3, 2), uphill=angles, distance=st.floats(0, 2), course=angles)
@settings(max_examples=30, deadline=None)
def test_flow_is_how_far_a_ramp_moved(steepness: float, uphill: float, distance: float, course: float) -> None:
    # Two images determine only the motion along the gradient; motion along the contours of a ramp is invisible.
    slope = (steepness * math.cos(uphill), steepness * math.sin(uphill))
    shift = (distance * math.cos(course), distance * math.sin(course))
    frames = torch.stack([ramp(slope, (0.0, 0.0)), ramp(slope, shift)]).unsqueeze(0)
    expected = distance * abs(math.cos(course - uphill))
    moved = motion_intensity(frames, measure="flow")[0, 1].item()
    # ε reduces it by at most 1e-3 / steepness².
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
