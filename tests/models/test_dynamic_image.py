"""Approximate rank pooling against its definition (Bilen et al., CVPR 2016)."""

import numpy as np
import pytest
import torch

from fdp_lightning.models.dynamic_image import arp_weights, dynamic_image, min_max, simple_arp_weights


@pytest.mark.parametrize("t", range(1, 65))
def test_weights_sum_to_zero_and_equal_the_closed_form(t: int) -> None:
    weights = arp_weights(t, dtype=torch.float64).numpy()
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, t + 1))])
    k = np.arange(1, t + 1)
    closed = 2 * (t - k + 1) - (t + 1) * (harmonic[t] - harmonic[k - 1])
    np.testing.assert_allclose(weights, closed, atol=1e-10)
    assert abs(weights.sum()) < 1e-9
    assert abs(simple_arp_weights(t, dtype=torch.float64).sum()) < 1e-12


def test_weights_of_eight_frames() -> None:
    expected = [-8.46, -1.46, 1.04, 2.04, 2.29, 2.09, 1.59, 0.88]
    np.testing.assert_allclose(arp_weights(8).numpy(), expected, atol=0.006)


def test_exact_weights_are_the_gradient_step_of_rank_svm() -> None:
    # ARP is one step from zero on the pairwise hinge over running means: Σ_{u>t} (mean_u - mean_t).
    frames = torch.randn(1, 6, 1, 4, 4, dtype=torch.float64)
    means = frames.cumsum(dim=1) / torch.arange(1, 7, dtype=torch.float64).view(1, 6, 1, 1, 1)
    pairs = sum(means[:, u] - means[:, t] for u in range(6) for t in range(u))
    torch.testing.assert_close(dynamic_image(frames, "exact"), pairs)


@pytest.mark.parametrize("kind", ["exact", "simple"])
def test_a_still_clip_has_no_dynamic_image(kind: str) -> None:
    frames = torch.rand(2, 1, 1, 8, 8).expand(2, 9, 1, 8, 8)
    assert dynamic_image(frames, kind).abs().max() < 1e-5


def test_simple_weights_change_sign_when_time_is_reversed() -> None:
    frames = torch.rand(2, 7, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(dynamic_image(frames.flip(1), "simple"), -dynamic_image(frames, "simple"))


def test_min_max_scales_each_image_by_itself() -> None:
    images = torch.randn(3, 1, 8, 8) * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1, 1)
    scaled = min_max(images)
    assert torch.equal(scaled.amin(dim=(1, 2, 3)), torch.zeros(3))
    torch.testing.assert_close(scaled.amax(dim=(1, 2, 3)), torch.ones(3))
    assert torch.equal(min_max(torch.full((1, 1, 4, 4), 3.0)), torch.zeros(1, 1, 4, 4))


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"'median'.*exact, simple"):
        dynamic_image(torch.rand(1, 3, 1, 2, 2), "median")
    with pytest.raises(ValueError, match="at least one frame"):
        arp_weights(0)
