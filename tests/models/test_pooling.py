"""The weights of the poolings: what cancels, their values by formula and by loops over pairs, and their ARP limits."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdp_lightning.models.fdp.rank_pooling import WEIGHTS, arp, attention, gated, over_running_means, pool
from tests.models.padding import GARBAGE, double_sum, masks, normal, seeds, spoiled

SPREADS = st.sampled_from([0.0, 1e-4, 1.0, 50.0])
FIXED = {
    "arp": double_sum,
    "arp_simple": lambda t: 2 * np.arange(1, t + 1) - t - 1.0,
    "last_minus_first": lambda t: np.array([-1.0] + [0.0] * (t - 2) + [1.0]) if t > 1 else np.zeros(1),
}


ALL: dict[str, Callable[..., Tensor]] = {
    **WEIGHTS, "attention": attention,
    "gated on running means": lambda scores, mask: over_running_means(gated(scores, mask), mask),
}  # fmt: skip
ZERO_SUM = sorted(set(ALL) - {"mean", "attention"})
BY_SCORES = sorted(set(ALL) - {*FIXED, "mean"})


def all_real(scores: Tensor) -> Tensor:
    return torch.ones_like(scores, dtype=torch.bool)


def weights_of(name: str, scores: Tensor) -> Tensor:
    return ALL[name](scores, all_real(scores))


@pytest.mark.parametrize("name", ZERO_SUM)
@given(t=st.integers(1, 12), seed=seeds, spread=SPREADS)
@settings(max_examples=30)
def test_what_does_not_change_over_the_frames_cancels(name: str, t: int, seed: int, spread: float) -> None:
    # In single precision, as in networks: flat scores must not amplify rounding errors into weights.
    weights = weights_of(name, (0.3 + spread * normal(seed, 2, t)).float())
    still = normal(seed + 1, 2, 1, 3, 2, 2).float().expand(2, t, 3, 2, 2)
    assert weights.sum(dim=1).abs().max() < 3e-4
    assert pool(still, weights.unsqueeze(1)).abs().max() < 1e-4


@pytest.mark.parametrize("name", FIXED)
@given(t=st.integers(1, 16), seed=seeds)
@settings(max_examples=20)
def test_fixed_weights_follow_their_formulas_at_unit_scale(name: str, t: int, seed: int) -> None:
    by_hand = FIXED[name](t)
    by_hand = by_hand / max(rms(by_hand), 1e-9)
    np.testing.assert_allclose(weights_of(name, normal(seed, 2, t)), np.stack([by_hand] * 2), atol=1e-9)


@pytest.mark.parametrize("name", BY_SCORES)
def test_the_gradient_at_flat_scores_is_bounded(name: str) -> None:
    for t in (1, 2, 8):
        scores = torch.zeros(1, t, requires_grad=True)
        (weights_of(name, scores) * torch.linspace(-1, 1, t)).sum().backward()
        assert scores.grad is not None and scores.grad.isfinite().all() and scores.grad.abs().max() < 1000


@pytest.mark.parametrize("name", BY_SCORES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    mask = torch.tensor([[True, False, True, True, True], [False, True, True, True, False]])
    assert torch.autograd.gradcheck(lambda s: ALL[name](s, mask), (normal(1, 2, 5).requires_grad_(),))


def rms(values: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(values)))


def gates(scores: np.ndarray, temperature: float) -> dict[tuple[int, int], float]:
    """Return the gate of each pair t < u of one clip."""
    z = (scores - scores.mean()) / math.sqrt(scores.var() + 1e-2)
    return {(t, u): 1 / (1 + math.exp(-(z[u] - z[t]) / temperature)) for t, u in combinations(range(len(z)), 2)}


@given(mask=masks(max_frames=16), garbage=st.sampled_from(GARBAGE))
@settings(max_examples=30)
def test_flat_scores_give_approximate_rank_pooling_of_the_real_frames(mask: Tensor, garbage: float) -> None:
    scores = spoiled(torch.zeros(mask.shape, dtype=torch.float64), mask, garbage)
    found = over_running_means(gated(scores, mask), mask)
    torch.testing.assert_close(found, arp(scores, mask))
    for weights, row in zip(found, mask, strict=True):
        by_hand = double_sum(int(row.sum()))
        np.testing.assert_allclose(weights[row], by_hand / max(rms(by_hand), 1e-9), atol=1e-9)


@given(t=st.integers(2, 9), seed=seeds, spread=SPREADS, temperature=st.sampled_from([0.3, 1.0, 5.0]))
@settings(max_examples=30)
def test_each_pair_votes_for_its_later_frame(t: int, seed: int, spread: float, temperature: float) -> None:
    scores, features = spread * normal(seed, 2, t), normal(seed + 1, 2, t, 3, 2, 2)
    found = pool(features, gated(scores, all_real(scores), temperature).unsqueeze(1)).squeeze(1)
    for clip in range(2):
        frames, votes, weights = features[clip].numpy(), np.zeros((3, 2, 2)), np.zeros(t)
        for (earlier, later), gate in gates(scores[clip].numpy(), temperature).items():
            assert 0 < gate < 1  # no score reverses a pair
            votes += gate * (frames[later] - frames[earlier])
            weights[later] += gate
            weights[earlier] -= gate
        # Where all gates are nearly closed, the constant in the scaling becomes visible.
        np.testing.assert_allclose(found[clip], votes / rms(weights) / t, rtol=1e-5, atol=1e-9)
