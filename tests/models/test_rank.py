"""Rank losses, rank pooling and the scorer: their invariances."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdp_lightning.models.rank.losses import RANK_LOSSES, hinge, rank_loss, ranknet
from fdp_lightning.models.rank.pooling import POOLINGS, pool, pooling_weights
from fdp_lightning.models.rank.scorer import RankScorer


@st.composite
def clip_scores(draw: st.DrawFn) -> torch.Tensor:
    b, t, seed = draw(st.integers(1, 4)), draw(st.integers(2, 16)), draw(st.integers(0, 2**31))
    return torch.randn(b, t, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", RANK_LOSSES)
@given(scores=clip_scores(), constant=st.floats(-50, 50))
@settings(max_examples=30, deadline=None)
def test_a_constant_added_to_all_scores_changes_no_loss(name: str, scores: torch.Tensor, constant: float) -> None:
    torch.testing.assert_close(rank_loss(name, scores + constant), rank_loss(name, scores))


@pytest.mark.parametrize("name", RANK_LOSSES)
@given(scores=clip_scores())
@settings(max_examples=30, deadline=None)
def test_the_reversed_clip_has_the_loss_of_the_negated_scores(name: str, scores: torch.Tensor) -> None:
    torch.testing.assert_close(rank_loss(name, scores.flip(1)), rank_loss(name, -scores))


def test_perfect_order_with_a_wide_margin_drives_hinge_to_zero() -> None:
    ordered = 2.0 * torch.arange(8.0).repeat(3, 1)
    assert hinge(ordered) == 0
    assert hinge(ordered.flip(1)) > 1
    assert ranknet(ordered) < ranknet(ordered.flip(1))


@pytest.mark.parametrize("name", RANK_LOSSES)
def test_the_gradient_of_flat_scores_pushes_late_frames_up(name: str) -> None:
    scores = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)
    rank_loss(name, scores).backward()
    assert scores.grad is not None
    step = -scores.grad[0]
    assert (step.diff() > 0).all()


def test_losses_agree_with_a_loop_over_pairs() -> None:
    scores = torch.randn(3, 6, dtype=torch.float64)
    pairs = [(t, u) for u in range(6) for t in range(u)]
    loop = torch.stack([torch.log1p(torch.exp(-(scores[:, u] - scores[:, t]))) for t, u in pairs]).mean()
    torch.testing.assert_close(ranknet(scores), loop)


@pytest.mark.parametrize("name", sorted(set(POOLINGS) - {"mean"}))
def test_what_is_the_same_in_all_frames_cancels(name: str) -> None:
    weights = pooling_weights(name, torch.randn(4, 8, dtype=torch.float64))
    torch.testing.assert_close(weights.sum(dim=1), torch.zeros(4, dtype=torch.float64))
    still = torch.randn(4, 1, 3, 5, 5, dtype=torch.float64).expand(4, 8, 3, 5, 5)
    assert pool(still, weights).abs().max() < 1e-12


def test_mean_pooling_is_the_mean() -> None:
    features = torch.randn(2, 8, 3, 5, 5)
    torch.testing.assert_close(pool(features, pooling_weights("mean", torch.randn(2, 8))), features.mean(dim=1))


def test_score_weights_do_not_depend_on_offset_and_hardly_on_scale() -> None:
    scores = torch.randn(4, 8, dtype=torch.float64) * 5
    weights = pooling_weights("score", scores)
    torch.testing.assert_close(pooling_weights("score", scores + 7), weights)
    torch.testing.assert_close(pooling_weights("score", scores * 3), weights, rtol=1e-2, atol=1e-3)


def test_flat_scores_stay_flat() -> None:
    noise = 1e-4 * torch.randn(4, 8)
    assert pooling_weights("score", noise).abs().max() < 0.01


def test_the_scorer_reverses_with_the_clip_and_is_flat_on_a_still_one() -> None:
    scorer = RankScorer(in_channels=6, places=16).eval()
    features = torch.randn(3, 8, 6, 4, 4)
    torch.testing.assert_close(scorer(features.flip(1)), scorer(features).flip(1))
    still = features[:, :1].expand(-1, 8, -1, -1, -1)
    torch.testing.assert_close(scorer(still), scorer(still)[:, :1].expand(-1, 8))


def test_unknown_names_are_answered_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"'bogus'.*ranknet, hinge"):
        rank_loss("bogus", torch.randn(1, 4))
    with pytest.raises(ValueError, match=r"'bogus'.*score, arp"):
        pooling_weights("bogus", torch.randn(1, 4))
