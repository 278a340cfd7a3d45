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
@settings(max_examples=30)
def test_phases_are_the_exact_images_of_the_clip_cut_at_the_apex(t: int, data: st.DataObject, seed: int) -> None:
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
    torch.testing.assert_close(dynamic_image(frames, "onset_apex")[1], by_hand(frames[1, : farthest[1] + 1]))
    # The third clip has no annotation; the apex of the second lies between two frames, nearer to the later one.
    numbers = torch.tensor([[3.0, 5, 8, 9, 20, 30, 31]] * 3, dtype=torch.float64)
    apex = torch.tensor([31.0, 15.0, torch.nan], dtype=torch.float64)
    assert apex_index(frames, numbers, apex).tolist() == [6, 4, farthest[2]]
    mask = torch.tensor([[True] * 4 + [False, True, True]] * 3)  # without the nearest frame, the fifth
    assert apex_index(frames, numbers, apex, mask)[1] == 3


@given(t=st.integers(1, 9) | st.just(60), seed=seeds)
@settings(max_examples=30)
def test_intensity_is_the_exact_image_of_the_frames_sorted_by_their_motion(t: int, seed: int) -> None:
    # Few grey levels give many ties, which must keep their temporal order; unstable sorts fail only with many frames.
    frames = torch.randint(0, 3, (t, 1, 1, 2), generator=torch.Generator().manual_seed(seed)).double() / 4
    order = sorted(range(t), key=lambda k: float((frames[k] - frames[0]).abs().mean()))  # stable
    torch.testing.assert_close(dynamic_image(frames.unsqueeze(0), "intensity")[0], by_hand(frames[order]))


@pytest.mark.parametrize("kind", DYNAMIC_IMAGES)
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15)
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
    for scaled, image in zip(min_max(images).numpy(), images.numpy(), strict=True):
        np.testing.assert_allclose(scaled, (image - image.min()) / (image.max() - image.min()), rtol=1e-5)
    assert torch.equal(min_max(torch.full((1, 1, 4, 4), 3.0)), torch.zeros(1, 1, 4, 4))


def test_signed_keeps_sign_and_magnitude_within_four_scales() -> None:
    # Eight scales span 1, so with a scale of 0.5 each unit counts a quarter.
    images = torch.tensor([0.0, 1.0, -1.0, 1.9, 2.0, -2.0, 5.0, -torch.inf]).view(1, 1, 2, 4)
    expected = torch.tensor([0.5, 0.75, 0.25, 0.975, 1.0, 0.0, 1.0, 0.0]).view(1, 1, 2, 4)
    torch.testing.assert_close(signed(images, torch.tensor(0.5)), expected)
    assert torch.equal(signed(torch.zeros(1, 1, 2, 2), torch.tensor(3.0)), torch.full((1, 1, 2, 2), 0.5))


@given(steepness=st.floats(0.3, 2), uphill=st.floats(0, 2 * math.pi), distance=st.floats(-2, 2))
@settings(max_examples=30)
def test_flow_measures_how_far_a_ramp_moved(steepness: float, uphill: float, distance: float) -> None:
    # Along its gradient: motion along its contours is invisible.
    down, across = np.mgrid[:6, :6].astype(float)
    start = steepness * (math.cos(uphill) * across + math.sin(uphill) * down)
    frames = torch.from_numpy(np.stack([start, start - steepness * distance])).view(1, 2, 1, 6, 6)
    moved = motion_intensity(frames, measure="flow")[0, 1].item()
    # ε reduces it by at most 1e-3 / steepness².
    assert moved == pytest.approx(abs(distance), rel=1.01e-3 / steepness**2, abs=1e-9)


@pytest.mark.parametrize("measure", MOTION_MEASURES)
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15)
def test_padding_changes_no_intensity(measure: str, mask: Tensor, seed: int, garbage: float) -> None:
    moving = seed % 2  # a still clip must have a finite gradient
    frames = spoiled(moving * normal(seed, *mask.shape, 1, 3, 3), mask, garbage).requires_grad_()
    moved = motion_intensity(frames, mask, measure)
    (gradient,) = torch.autograd.grad(moved.sum(), frames)
    assert gradient.isfinite().all()
    for i in range(len(mask)):
        clip = alone(frames, mask, i).detach().requires_grad_()
        short = motion_intensity(clip, measure=measure)
        torch.testing.assert_close(moved[i][mask[i]], short[0])
        torch.testing.assert_close(gradient[i][mask[i]], torch.autograd.grad(short.sum(), clip)[0][0])
    assert (moved[~mask] == 0).all()
    assert (gradient[~mask] == 0).all()
