"""Pairs gated by scores, and pooling by way of running means: by loops, and at the limits where both are ARP."""

import math
from itertools import combinations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdp_lightning.models.fdp.rank_pooling import WEIGHTS, arp, gated, over_running_means, pool
from tests.models.padding import GARBAGE, double_sum, masks, normal, seeds, spoiled

SPREADS = st.sampled_from([0.0, 1e-4, 1.0, 50.0])


def all_real(values: Tensor) -> Tensor:
    return torch.ones(values.shape[:2], dtype=torch.bool)


def rms(values: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(values)))


def gates(scores: np.ndarray, temperature: float) -> dict[tuple[int, int], float]:
    """The gate of each pair t < u of one clip."""
    z = (scores - scores.mean()) / math.sqrt(scores.var() + 1e-2)
    return {(t, u): 1 / (1 + math.exp(-(z[u] - z[t]) / temperature)) for t, u in combinations(range(len(z)), 2)}


@given(mask=masks(max_frames=16), garbage=st.sampled_from(GARBAGE))
@settings(max_examples=30, deadline=None)
def test_flat_scores_are_approximate_rank_pooling_of_the_real_frames(mask: Tensor, garbage: float) -> None:
    scores = spoiled(torch.zeros(mask.shape, dtype=torch.float64), mask, garbage)
    found = over_running_means(gated(scores, mask), mask)
    torch.testing.assert_close(found, arp(scores, mask))
    for weights, row in zip(found, mask, strict=True):
        by_hand = double_sum(int(row.sum()))
        np.testing.assert_allclose(weights[row], by_hand / max(rms(by_hand), 1e-9), atol=1e-9)


@given(t=st.integers(2, 9), seed=seeds, spread=SPREADS, temperature=st.sampled_from([0.3, 1.0, 5.0]))
@settings(max_examples=30, deadline=None)
def test_each_pair_votes_for_its_later_frame(t: int, seed: int, spread: float, temperature: float) -> None:
    scores, features = spread * normal(seed, 2, t), normal(seed + 1, 2, t, 3, 2, 2)
    found = pool(features, gated(scores, all_real(scores), temperature).unsqueeze(1)).squeeze(1)
    for clip in range(2):
        frames, votes, weights = features[clip].numpy(), np.zeros((3, 2, 2)), np.zeros(t)
        for (earlier, later), gate in gates(scores[clip].numpy(), temperature).items():
            assert 0 < gate < 1  # no score turns a pair round
            votes += gate * (frames[later] - frames[earlier])
            weights[later] += gate
            weights[earlier] -= gate
        # The constant under the root of the unit scale shows where all gates are nearly closed.
        np.testing.assert_allclose(found[clip], votes / rms(weights) / t, rtol=1e-5, atol=1e-9)


@given(t=st.integers(2, 16), seed=seeds, spread=SPREADS)
@settings(max_examples=30, deadline=None)
def test_the_first_frame_weighs_against_and_the_last_for(t: int, seed: int, spread: float) -> None:
    """Every pair of theirs is one with a later frame, or an earlier one: standardised scores promise nothing."""
    scores = spread * normal(seed, 3, t)
    weights = gated(scores, all_real(scores))
    for found in (weights, over_running_means(weights, all_real(scores))):
        assert (found[:, 0] < 0).all() and (found[:, -1] > 0).all()
    falling = -50.0 * torch.arange(t, dtype=torch.float64).unsqueeze(0)
    assert WEIGHTS["score"](falling, all_real(falling))[0, -1] < 0 < gated(falling, all_real(falling))[0, -1]
