"""Rank pooling as a module and the rank scorer: shapes, gradients, padding, and the released convolution."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional as F

from fdp_lightning.models.fdp.network import ORDERS, RankScorer
from fdp_lightning.models.fdp.rank_pooling import POOLINGS, READS, RankPooling
from fdp_lightning.models.fdp_released import ReleasedPooling
from fdp_lightning.models.frame_mask import running_means
from tests.models.padding import GARBAGE, alone, double_sum, masks, normal, seeds, spoiled

MAPS = [(2, 4), (3, 2)]
"""Channels and sides, fine to coarse."""


def pooling_of(*names: str, **options: bool) -> RankPooling:
    torch.manual_seed(0)
    return RankPooling(names, MAPS, 5, **options).double()


def maps_of(seed: int, b: int = 2, t: int = 5) -> list[Tensor]:
    return [normal(seed + i, b, t, channels, side, side) for i, (channels, side) in enumerate(MAPS)]


def scores_of(seed: int, b: int = 2, t: int = 5) -> dict[str, Tensor]:
    return {order: normal(seed + i, b, t) for i, order in enumerate(ORDERS)}


@pytest.mark.parametrize("name", POOLINGS)
def test_every_pooling_gives_its_maps_and_trains_what_it_reads(name: str) -> None:
    module = pooling_of(name)
    maps = [features.requires_grad_() for features in maps_of(0)]
    scores = {order: values.requires_grad_() for order, values in scores_of(9).items()}
    pooled = module(maps, scores, None)
    assert [d.shape for d in pooled] == [(2, channels, side, side) for channels, side in MAPS]
    sum(d.square().sum() for d in pooled).backward()
    for order, values in scores.items():
        assert (values.grad is not None and bool(values.grad.any())) == (READS.get(name) == order)
    for trained in (*maps, *module.parameters()):
        assert trained.grad is not None and trained.grad.isfinite().all() and trained.grad.any()


def test_each_name_selects_its_pooling() -> None:
    maps, ordered = maps_of(0), 50.0 * torch.arange(5).double().expand(2, 5)
    unordered = normal(3, 2, 5)
    alpha = double_sum(5) / np.sqrt(np.mean(double_sum(5) ** 2))
    line = np.arange(-2.0, 3.0) / np.sqrt(2)  # scores in even steps, standardised; and the simple weights
    ends = np.sqrt(5 / 2) * np.array([-1.0, 0, 0, 0, 1])
    standing_out = softmax(1.5 * line) - softmax(-1.5 * line)
    weights = {
        "mean": np.ones(5), "last_minus_first": ends, "arp": alpha, "soft_rank_arp": alpha, "arp_simple": line,
        "score": line, "intensity": standing_out / np.sqrt(np.mean(standing_out**2)),
    }  # fmt: skip
    for name, by_hand in weights.items():
        read = READS.get(name)
        scores = {order: ordered if order == read else unordered for order in ORDERS}
        pooled = pooling_of(name, running_means=False)(maps, scores, None)
        for features, d in zip(maps, pooled, strict=True):
            expected = np.einsum("t,bt...->b...", by_hand, features.numpy()) / 5
            np.testing.assert_allclose(d, expected, rtol=5e-3, atol=1e-6)
    for features, d in zip(maps, pooling_of("max")(maps, {}, None), strict=True):
        np.testing.assert_array_equal(d, features.numpy().max(axis=1))


@pytest.mark.parametrize("name", sorted(set(POOLINGS) - {"attention"}))
def test_only_the_chronological_order_is_pooled_from_running_means(name: str) -> None:
    maps, scores = maps_of(0), scores_of(9)
    found = pooling_of(name)(maps, scores, None)
    given = [running_means(features, None) for features in maps] if READS.get(name) == "chronological" else maps
    expected = pooling_of(name, running_means=False)(given, scores, None)
    exact, simple = double_sum(5), np.arange(-4.0, 5.0, 2.0)
    factor = np.sqrt(np.square(simple).sum() / np.square(exact).sum()) if given is not maps else 1.0
    torch.testing.assert_close(found, [factor * d for d in expected])


def test_several_poolings_are_concatenated_in_the_given_order() -> None:
    maps, scores, names = maps_of(0), scores_of(9), sorted(set(POOLINGS) - {"attention"}, reverse=True)
    module, parts = pooling_of(*names), [pooling_of(name)(maps, scores, None) for name in names]
    assert module.maps == [(len(names) * channels, side) for channels, side in MAPS]
    expected = [torch.cat(of_level, dim=1) for of_level in zip(*parts, strict=True)]
    torch.testing.assert_close(module(maps, scores, None), expected)


def test_attention_weights_are_the_softmax_of_a_linear_score() -> None:
    module, maps = pooling_of("attention"), maps_of(2)
    logits = maps[-1].flatten(2).numpy() @ module.attention.read.weight.detach().numpy()[0]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for features, d in zip(maps, module(maps, {}, None), strict=True):
        np.testing.assert_allclose(d.detach(), np.einsum("bt,bt...->b...", shares, features.numpy()))


def test_the_released_pooling_is_a_convolution_over_channels_positions_and_time() -> None:
    module, maps = ReleasedPooling(MAPS, 5).double(), maps_of(0)
    assert module.maps == [(8, 4), (8, 2)]
    for features, conv, d in zip(maps, module.conv, module(maps, {}), strict=True):
        volume = features.permute(0, 2, 3, 4, 1)  # b c h w t
        expected = F.conv3d(volume, conv.conv.weight, conv.conv.bias, padding=(1, 1, 0)).squeeze(4)
        torch.testing.assert_close(d, expected)
    mask, features, conv = torch.tensor([[True, False, True, True, True]] * 2), maps[0], module.conv[0]
    zeroed = features * mask.view(2, 5, 1, 1, 1)  # missing frames are zero
    assert torch.equal(conv(spoiled(features, mask, torch.nan), mask), conv(zeroed))


@pytest.mark.parametrize("name", POOLINGS)
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15)
def test_padding_changes_no_pooled_clip(name: str, mask: Tensor, seed: int, garbage: float) -> None:
    module = pooling_of(name)
    maps = [spoiled(features, mask, garbage).requires_grad_() for features in maps_of(seed, *mask.shape)]
    given_scores = scores_of(seed + 9, *mask.shape)
    scores = {order: spoiled(values, mask, garbage).requires_grad_() for order, values in given_scores.items()}
    pooled = module(maps, scores, mask)
    for i in range(len(mask)):
        short = {order: alone(values, mask, i) for order, values in scores.items()}
        expected = module([alone(features, mask, i) for features in maps], short, None)
        torch.testing.assert_close([d[i : i + 1] for d in pooled], expected)
    total = sum(d.square().sum() for d in pooled)
    for gradient in torch.autograd.grad(total, [*maps, *scores.values()], allow_unused=True):
        assert gradient is None or ((gradient[~mask] == 0).all() and gradient.isfinite().all())


KINDS = {
    "chronological, on running means": {}, "chronological": {"running_means": False},
    "intensity": {"order": "intensity"},
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", KINDS)


def scorer_of(kind: str = "chronological", centred: bool = True) -> RankScorer:
    torch.manual_seed(0)
    return RankScorer(in_channels=6, places=16, centred=centred, **KINDS[kind]).double()


@every_kind
@pytest.mark.parametrize("centred", [True, False])
def test_the_scorer_reads_frames_relative_to_their_clip(kind: str, centred: bool) -> None:
    features = normal(8, 2, 5, 6, 4, 4)
    means = torch.stack([features[:, : t + 1].mean(dim=1) for t in range(5)], dim=1)
    relative = {"chronological, on running means": means, "chronological": features}.get(kind)
    if relative is None:
        relative = features - features[:, :1]  # a change contains no identity anyway
    elif centred:
        relative = relative - relative.mean(dim=1, keepdim=True)
    scorer = scorer_of(kind, centred).eval()
    expected = scorer.score(scorer.mix(relative.flatten(0, 1))).reshape(2, 5)
    torch.testing.assert_close(scorer(features), expected)


@every_kind
@given(t=st.integers(2, 5), extra=st.integers(0, 3), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=15)
def test_padding_changes_no_score_in_training(kind: str, t: int, extra: int, seed: int, garbage: float) -> None:
    # Each clip has the same number of scattered real frames. Without padding they form one batch, so scores, gradients
    # and the running statistics of batch norm can all be compared.
    places = torch.stack([normal(seed + i, t + extra).argsort() for i in range(3)]) < t
    clips = normal(seed, 3, t, 6, 4, 4)
    features = torch.full((3, t + extra, 6, 4, 4), garbage, dtype=torch.float64)
    features[places] = clips.flatten(0, 1)
    features.requires_grad_()
    clips.requires_grad_()
    padded, short = scorer_of(kind).train(), scorer_of(kind).train()
    scores, expected = padded(features, places), short(clips)
    torch.testing.assert_close(scores[places].reshape(3, t), expected)
    for name, value in short.state_dict().items():
        torch.testing.assert_close(padded.state_dict()[name], value)
    (gradient,) = torch.autograd.grad(scores.square().sum(), features)
    torch.testing.assert_close(gradient[places], torch.autograd.grad(expected.square().sum(), clips)[0].flatten(0, 1))
    assert (gradient[~places] == 0).all()
