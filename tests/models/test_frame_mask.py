"""The arithmetic of clips of different length against loops over the real frames."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdp_lightning.models.frame_mask import frame_count, masked, mean_over_time, onset_frames, positions, running_means
from tests.models.padding import GARBAGE, masks, normal, seeds, spoiled


@given(mask=masks())
@settings(max_examples=20, deadline=None)
def test_real_frames_are_counted_and_numbered_in_time(mask: Tensor) -> None:
    assert frame_count(mask).tolist() == [[sum(row)] for row in mask.tolist()]
    for numbers, row in zip(positions(mask), mask, strict=True):
        assert numbers[row].tolist() == list(range(1, int(row.sum()) + 1))


@pytest.mark.parametrize("rest", [(), (3,), (2, 3, 4)])
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15, deadline=None)
def test_masked_values_are_zero_and_means_those_of_the_real_frames(
    rest: tuple[int, ...], mask: Tensor, seed: int, garbage: float
) -> None:
    values = spoiled(normal(seed, *mask.shape, *rest), mask, garbage).requires_grad_()
    kept, mean = masked(values, mask), mean_over_time(values, mask)
    assert mean.shape == (len(mask), 1, *rest)
    for i in range(len(mask)):
        real = values[i][mask[i]].detach().numpy()
        np.testing.assert_array_equal(kept[i][mask[i]].detach(), real)
        np.testing.assert_allclose(mean[i, 0].detach(), real.mean(axis=0))
    assert (kept[~mask] == 0).all()
    (gradient,) = torch.autograd.grad((kept + mean).square().sum(), values)
    assert (gradient[~mask] == 0).all()
    assert gradient.isfinite().all()


@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=20, deadline=None)
def test_running_means_and_onset_frames_are_those_of_the_real_frames(mask: Tensor, seed: int, garbage: float) -> None:
    values = spoiled(normal(seed, *mask.shape, 2, 3), mask, garbage).requires_grad_()
    means, onsets = running_means(values, mask), onset_frames(values, mask)
    assert onsets.shape == (len(mask), 1, 2, 3)
    for i in range(len(mask)):
        real = values[i][mask[i]].detach().numpy()
        np.testing.assert_array_equal(onsets[i, 0].detach(), real[0])
        for t, mean in enumerate(means[i][mask[i]].detach()):
            np.testing.assert_allclose(mean, real[: t + 1].mean(axis=0), atol=1e-12)
    (gradient,) = torch.autograd.grad(means.square().sum() + onsets.sum(), values)
    assert (gradient[~mask] == 0).all() and gradient.isfinite().all()
