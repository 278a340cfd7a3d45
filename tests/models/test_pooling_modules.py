"""The pooling modules and the rank scorer: shapes, gradients, padding, and the convolution by a loop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdp_lightning.models.rank.pooling_modules import POOLINGS, ConvPooling, make_pooling
from fdp_lightning.models.rank.scorer import RankScorer
from tests.models.padding import GARBAGE, alone, double_sum, masks, normal, seeds, spoiled


def pooling_of(name: str, channels: int = 3, places: int = 4, frames: int = 5) -> torch.nn.Module:
    torch.manual_seed(0)
    return make_pooling(name, channels, places, frames).double()


@pytest.mark.parametrize("name", POOLINGS)
def test_every_pooling_gives_the_promised_channels_and_trains_all_it_has(name: str) -> None:
    module = pooling_of(name)
    features, scores = normal(0, 2, 5, 3, 2, 2).requires_grad_(), normal(1, 2, 5).requires_grad_()
    pooled = module(features, scores, None)
    assert module.out_channels == (8 if name == "conv" else 3)
    assert pooled.shape == (2, module.out_channels, 2, 2)
    pooled.square().sum().backward()
    assert features.grad is not None and features.grad.abs().sum() > 0
    assert (scores.grad is not None and bool(scores.grad.any())) == (name in ("score", "soft_rank_arp"))
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


@pytest.mark.parametrize("name", sorted(set(POOLINGS) - {"score", "soft_rank_arp"}))
def test_only_poolings_by_scores_need_scores(name: str) -> None:
    module, features = pooling_of(name), normal(0, 2, 5, 3, 2, 2)
    assert torch.equal(module(features, None, None), module(features, normal(1, 2, 5), None))


def test_names_lead_to_the_poolings_they_name() -> None:
    features, scores = normal(0, 2, 5, 3, 2, 2), 50.0 * torch.arange(5).double().expand(2, 5)
    clips = features.numpy()
    alpha = double_sum(5) / np.sqrt(np.mean(double_sum(5) ** 2))
    line = np.arange(-2.0, 3.0) / np.sqrt(2)  # scores in even steps, standardised; and the simple weights
    by_hand = {
        "mean": clips.mean(axis=1),
        "max": clips.max(axis=1),
        "last_minus_first": np.sqrt(5 / 2) * (clips[:, -1] - clips[:, 0]) / 5,
        "arp": np.einsum("t,bt...->b...", alpha, clips) / 5,
        "soft_rank_arp": np.einsum("t,bt...->b...", alpha, clips) / 5,
        "arp_simple": np.einsum("t,bt...->b...", line, clips) / 5,
        "score": np.einsum("t,bt...->b...", line, clips) / 5,
    }
    for name, expected in by_hand.items():
        np.testing.assert_allclose(pooling_of(name)(features, scores, None), expected, rtol=5e-3, atol=1e-6)


def test_attention_weighs_frames_by_the_softmax_of_a_linear_reading() -> None:
    module, features = pooling_of("attention"), normal(2, 2, 5, 3, 2, 2)
    logits = features.flatten(2).numpy() @ module.read.weight.detach().numpy()[0]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.einsum("bt,bt...->b...", shares, features.numpy())
    np.testing.assert_allclose(module(features, None, None).detach(), expected)


def test_conv_pooling_agrees_with_a_loop() -> None:
    module, features = pooling_of("conv", channels=2, frames=3), normal(3, 1, 3, 2, 3, 4)
    kernel, bias = module.conv.weight.detach().numpy(), module.conv.bias.detach().numpy()
    padded = np.pad(features.numpy()[0], ((0, 0), (0, 0), (1, 1), (1, 1)))  # t c h w, zeros around each map
    expected = np.zeros((8, 3, 4))
    for d, y, x in np.ndindex(expected.shape):
        taps = (kernel[d, c, i, j, t] * padded[t, c, y + i, x + j] for c, i, j, t in np.ndindex(2, 3, 3, 3))
        expected[d, y, x] = bias[d] + sum(taps)
    np.testing.assert_allclose(module(features, None, None)[0].detach(), expected)


def test_conv_pooling_takes_missing_frames_for_zero_and_refuses_another_number() -> None:
    module, features = pooling_of("conv"), normal(4, 1, 5, 3, 2, 2)
    mask = torch.tensor([[True, True, False, True, False]])
    zeroed = features * mask.view(1, 5, 1, 1, 1)
    assert torch.equal(module(spoiled(features, mask, torch.nan), None, mask), module(zeroed, None, None))
    with pytest.raises(ValueError, match=r"conv was made for T = 5 frames, got 4"):
        module(features[:, :4], None, None)
    assert ConvPooling.out_channels == 8


@pytest.mark.parametrize("name", sorted(set(POOLINGS) - {"conv"}))
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15, deadline=None)
def test_padding_changes_no_pooled_clip_and_gets_no_gradient(
    name: str, mask: Tensor, seed: int, garbage: float
) -> None:
    module = pooling_of(name)
    features = spoiled(normal(seed, *mask.shape, 3, 2, 2), mask, garbage).requires_grad_()
    scores = spoiled(normal(seed + 1, *mask.shape), mask, garbage)
    pooled = module(features, scores, mask)
    for i in range(len(mask)):
        torch.testing.assert_close(pooled[i : i + 1], module(alone(features, mask, i), alone(scores, mask, i), None))
    (gradient,) = torch.autograd.grad(pooled.square().sum(), features)
    assert (gradient[~mask] == 0).all()
    assert gradient.isfinite().all()


def test_an_unknown_pooling_is_answered_with_the_allowed_ones() -> None:
    names = "score, arp, arp_simple, soft_rank_arp, mean, last_minus_first, max, attention, conv"
    with pytest.raises(ValueError, match=rf"pooling 'bogus'.*{names}"):
        make_pooling("bogus", 3, 4, 5)


def scorer_of(centred: bool = True) -> RankScorer:
    torch.manual_seed(0)
    return RankScorer(in_channels=6, places=16, centred=centred).double()


@pytest.mark.parametrize("training", [False, True])
def test_the_scorer_reverses_with_the_clip_and_is_flat_on_a_still_one(training: bool) -> None:
    scorer, features = scorer_of().train(training), normal(5, 3, 8, 6, 4, 4)
    torch.testing.assert_close(scorer(features.flip(1)), scorer(features).flip(1))
    still = features[:, :1].expand(-1, 8, -1, -1, -1)
    torch.testing.assert_close(scorer(still), scorer(still)[:, :1].expand(-1, 8))


def test_a_centred_scorer_does_not_see_the_identity_and_another_does() -> None:
    features, face = normal(6, 2, 5, 6, 4, 4), 3 * normal(7, 2, 1, 6, 4, 4)
    scorer = scorer_of().eval()
    torch.testing.assert_close(scorer(features + face), scorer(features))
    scorer = scorer_of(centred=False).eval()
    assert (scorer(features + face) - scorer(features)).abs().max() > 0.1


@pytest.mark.parametrize("centred", [True, False])
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15, deadline=None)
def test_padding_changes_no_score_in_evaluation(centred: bool, mask: Tensor, seed: int, garbage: float) -> None:
    scorer = scorer_of(centred).eval()
    features = spoiled(normal(seed, *mask.shape, 6, 4, 4), mask, garbage)
    scores = scorer(features, mask)
    assert (scores[~mask] == 0).all()
    for i in range(len(mask)):
        torch.testing.assert_close(scores[i][mask[i]], scorer(alone(features, mask, i))[0])


@given(t=st.integers(2, 5), extra=st.integers(0, 3), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15, deadline=None)
def test_padding_changes_nothing_in_training(t: int, extra: int, seed: int, garbage: float) -> None:
    # The same number of real frames in each clip, scattered: without padding they are one batch, so that scores,
    # gradients and the running statistics of batch norm can all be compared.
    places = torch.stack([normal(seed + i, t + extra).argsort() for i in range(3)]) < t
    clips = normal(seed, 3, t, 6, 4, 4)
    features = torch.full((3, t + extra, 6, 4, 4), garbage, dtype=torch.float64)
    features[places] = clips.flatten(0, 1)
    features.requires_grad_()
    clips.requires_grad_()
    padded, short = scorer_of().train(), scorer_of().train()
    scores, expected = padded(features, places), short(clips)
    torch.testing.assert_close(scores[places].reshape(3, t), expected)
    for name, value in short.state_dict().items():
        torch.testing.assert_close(padded.state_dict()[name], value)
    (gradient,) = torch.autograd.grad(scores.square().sum(), features)
    torch.testing.assert_close(gradient[places], torch.autograd.grad(expected.square().sum(), clips)[0].flatten(0, 1))
    assert (gradient[~places] == 0).all()


def test_a_scorer_without_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hidden=0.*at least 1"):
        RankScorer(in_channels=6, places=16, hidden=0)
