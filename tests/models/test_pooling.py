"""The poolings' weights: what cancels, what they are by hand, and how they answer to padding."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdp_lightning.models.fdp.rank_pooling import WEIGHTS, attention, over_running_means, pool
from fdp_lightning.models.frame_mask import Mask
from tests.models.padding import double_sum, normal, seeds

FIXED = {
    "arp": double_sum,
    "arp_simple": lambda t: 2 * np.arange(1, t + 1) - t - 1.0,
    "last_minus_first": lambda t: np.array([-1.0] + [0.0] * (t - 2) + [1.0]) if t > 1 else np.zeros(1),
}


def on_running_means(kind: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda scores, mask: over_running_means(kind(scores, mask), mask)


ALL: dict[str, Callable[..., Tensor]] = {
    **WEIGHTS,
    "attention": attention,
    **{f"{name} on running means": on_running_means(WEIGHTS[name]) for name in ("gated", "score", "soft_rank_arp")},
}
ZERO_SUM = sorted(set(ALL) - {"mean", "attention"})
BY_SCORES = sorted(set(ALL) - {*FIXED, "mean"})
every_weight = pytest.mark.parametrize("name", ALL)


def all_real(scores: Tensor) -> Tensor:
    return torch.ones_like(scores, dtype=torch.bool)


def weights_of(name: str, scores: Tensor) -> Tensor:
    return ALL[name](scores, all_real(scores))


def pool_by(features: Tensor, weights: Tensor, mask: Mask | None = None) -> Tensor:
    """Pool by one weight vector a clip."""
    return pool(features, weights.unsqueeze(1), mask).squeeze(1)


@pytest.mark.parametrize("name", ZERO_SUM)
@given(t=st.integers(1, 12), seed=seeds, spread=st.sampled_from([0.0, 1e-4, 1.0, 50.0]))
@settings(max_examples=30, deadline=None)
def test_what_is_the_same_in_all_frames_cancels(name: str, t: int, seed: int, spread: float) -> None:
    # In single precision, as networks run: flat scores must not blow rounding up into weights.
    weights = weights_of(name, (0.3 + spread * normal(seed, 2, t)).float())
    still = normal(seed + 1, 2, 1, 3, 2, 2).float().expand(2, t, 3, 2, 2)
    assert weights.sum(dim=1).abs().max() < 3e-4
    assert pool_by(still, weights).abs().max() < 1e-4


@pytest.mark.parametrize("name", FIXED)
@given(t=st.integers(1, 16), seed=seeds)
@settings(max_examples=20, deadline=None)
def test_fixed_weights_are_those_by_hand_at_unit_scale(name: str, t: int, seed: int) -> None:
    by_hand = FIXED[name](t)
    by_hand = by_hand / max(math.sqrt(np.mean(by_hand**2)), 1e-9)
    np.testing.assert_allclose(weights_of(name, normal(seed, 2, t)), np.stack([by_hand] * 2), atol=1e-9)


@given(t=st.integers(2, 16))
@settings(max_examples=15, deadline=None)
def test_soft_rank_arp_is_arp_when_scores_are_widely_and_perfectly_ordered(t: int) -> None:
    ordered = 50 * torch.arange(t, dtype=torch.float64).unsqueeze(0)
    by_hand = double_sum(t) / math.sqrt(np.mean(double_sum(t) ** 2))
    # The small constant under the root, that keeps flat scores flat, takes 2 % of two frames' weights, less of more.
    np.testing.assert_allclose(weights_of("soft_rank_arp", ordered)[0], by_hand, rtol=0.021)
    unscaled = WEIGHTS["soft_rank_arp"](ordered, all_real(ordered), eps=1e-12)
    np.testing.assert_allclose(unscaled[0], by_hand, atol=1e-6)
    reversed_scores = WEIGHTS["soft_rank_arp"](ordered.flip(1), all_real(ordered), eps=1e-12)
    np.testing.assert_allclose(reversed_scores[0], by_hand[::-1], atol=1e-6)


@pytest.mark.parametrize("name", BY_SCORES)
def test_flat_scores_have_a_gradient_of_ordinary_size(name: str) -> None:
    for t in (1, 2, 8):
        scores = torch.zeros(1, t, requires_grad=True)
        (weights_of(name, scores) * torch.linspace(-1, 1, t)).sum().backward()
        assert scores.grad is not None
        assert scores.grad.isfinite().all() and scores.grad.abs().max() < 1000


@pytest.mark.parametrize("name", BY_SCORES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    mask = torch.tensor([[True, False, True, True, True], [False, True, True, True, False]])
    assert torch.autograd.gradcheck(lambda s: ALL[name](s, mask), (normal(1, 2, 5).requires_grad_(),))
