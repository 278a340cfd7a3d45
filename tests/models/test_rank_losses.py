"""Rank losses, compared with loops over pairs, Plackett-Luce draws and scipy's Spearman; the relevance of frames."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit, rel_entr, softmax
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from fdp_lightning.models.fdp.rank_losses import (
    RANK_LOSSES,
    RankLoss,
    chronological,
    hinge,
    intensity,
    listmle,
    listnet,
    ranknet,
    ranks,
    soft_ranks,
    soft_spearman,
)
from tests.models.padding import GARBAGE, alone, masks, normal, seeds, spoiled

LOSSES: dict[str, Callable[..., Tensor]] = {
    "ranknet": ranknet, "hinge": hinge, "listmle": listmle, "listnet": listnet, "soft_spearman": soft_spearman,
}  # fmt: skip
every_loss = pytest.mark.parametrize("name", RANK_LOSSES)


def loop_over_pairs(scores: Tensor, relevance: Tensor, cost: Callable[[float], float]) -> list[float]:
    """Return each clip's mean cost of `s_u - s_t` over the pairs with u more relevant than t, 0 without any."""
    means = []
    for s, r in zip(scores.tolist(), relevance.tolist(), strict=True):
        costs = [cost(s[u] - s[t]) for t in range(len(s)) for u in range(len(s)) if r[u] > r[t]]
        means.append(sum(costs) / max(len(costs), 1))
    return means


@given(t=st.integers(1, 7), seed=seeds, temperature=st.floats(0.1, 3), margin=st.floats(0, 3), ties=st.booleans())
@settings(max_examples=30)
def test_ranknet_and_hinge_agree_with_a_loop(t: int, seed: int, temperature: float, margin: float, ties: bool) -> None:
    scores, relevance = normal(seed, 3, t), normal(seed + 1, 3, t)
    relevance = relevance.round() if ties else relevance
    by_loop = loop_over_pairs(scores, relevance, lambda step: math.log1p(math.exp(-step / temperature)))
    np.testing.assert_allclose(ranknet(scores, relevance, None, temperature), by_loop)
    by_loop = loop_over_pairs(scores, relevance, lambda step: max(0.0, margin - step))
    np.testing.assert_allclose(hinge(scores, relevance, None, margin), by_loop)


@given(t=st.integers(2, 5), seed=seeds)
@settings(max_examples=15)
def test_listmle_is_the_probability_of_an_order_of_plackett_luce_draws(t: int, seed: int) -> None:
    scores = normal(seed, 1, t)
    drawn_orders = list(itertools.permutations(range(t)))
    relevance = torch.tensor([[float(t - order.index(k)) for k in range(t)] for order in drawn_orders]).double()
    probability = torch.exp(-listmle(scores.expand(len(drawn_orders), t), relevance))
    assert probability.sum().item() == pytest.approx(1)
    weights = [math.exp(s) for s in scores[0].tolist()]
    for order, p in zip(drawn_orders, probability.tolist(), strict=True):
        draws = [weights[k] / sum(weights[j] for j in order[i:]) for i, k in enumerate(order)]
        assert p == pytest.approx(math.prod(draws))


def test_listmle_keeps_the_temporal_order_of_equally_relevant_frames() -> None:
    # Many frames, because unstable sorts may keep the order of a few by chance.
    relevance = torch.tensor([[0.0, 1.0, 2.0]]).double().repeat(1, 100)
    drawn = sorted(range(300), key=lambda k: -relevance[0, k])  # stable
    strict = torch.zeros(1, 300).double()
    strict[0, drawn] = torch.arange(300.0, 0, -1).double()
    torch.testing.assert_close(listmle(normal(5, 1, 300), relevance), listmle(normal(5, 1, 300), strict))


@given(t=st.integers(2, 12), seed=seeds, ties=st.booleans(), tied_scores=st.booleans())
@settings(max_examples=30)
def test_soft_spearman_tends_to_one_minus_spearman(t: int, seed: int, ties: bool, tied_scores: bool) -> None:
    # Scores differ by at least 1 or are equal, so a temperature of 0.001 is close to the limit.
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, t) if tied_scores else generator.permutation(t)
    apex = generator.integers(0, t)
    relevance = -np.abs(np.arange(t) - apex) if ties else generator.permutation(t)
    assume(len(set(scores)) > 1 and len(set(relevance)) > 1)
    cold = soft_spearman(torch.tensor(scores)[None].double(), torch.tensor(relevance)[None].double(), None, 0.001)
    assert cold.item() == pytest.approx(1 - spearmanr(scores, relevance).statistic, abs=1e-5)


@every_loss
def test_gradients_agree_with_finite_differences(name: str) -> None:
    mask = torch.tensor([[True, False, True, True, True], [False, True, True, True, False]])
    rise_and_fall = torch.tensor([[0.0, 0.5, 1.0, 0.5, 0.0], [0.0, 1.0, 0.7, 0.3, 0.0]], dtype=torch.float64)
    for relevance in (torch.arange(5).double().expand(2, 5), rise_and_fall):
        scores = normal(11, 2, 5).requires_grad_()
        assert torch.autograd.gradcheck(lambda s, r=relevance: LOSSES[name](s, r, mask), (scores,))


@every_loss
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE))
@settings(max_examples=25)
def test_padding_changes_no_loss_and_gets_no_gradient(name: str, mask: Tensor, seed: int, garbage: float) -> None:
    scores = spoiled(normal(seed, *mask.shape), mask, garbage).requires_grad_()
    relevance = spoiled(normal(seed + 1, *mask.shape), mask, garbage)
    loss = LOSSES[name](scores, relevance, mask)
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    assert (gradient[~mask] == 0).all()
    for i in range(len(mask)):
        clip = alone(scores, mask, i).detach().requires_grad_()
        short = LOSSES[name](clip, alone(relevance, mask, i))
        torch.testing.assert_close(loss[i : i + 1], short)
        torch.testing.assert_close(gradient[i][mask[i]], torch.autograd.grad(short.sum(), clip)[0][0])


@given(t=st.integers(2, 12), seed=seeds, sharpness=st.floats(0.5, 20))
@settings(max_examples=20)
def test_listnet_is_the_divergence_between_top_one_probabilities(t: int, seed: int, sharpness: float) -> None:
    scores, relevance = normal(seed, 2, t).numpy(), normal(seed + 1, 2, t).numpy()
    least, most = relevance.min(axis=1, keepdims=True), relevance.max(axis=1, keepdims=True)
    wanted = softmax(sharpness * (relevance - least) / (most - least), axis=1)
    expected = rel_entr(wanted, softmax(scores, axis=1)).sum(axis=1)
    found = listnet(torch.tensor(scores), torch.tensor(relevance), None, sharpness)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@every_loss
@pytest.mark.parametrize("t", [1, 2, 6])
def test_loss_and_gradient_are_zero_where_there_is_nothing_to_rank(name: str, t: int) -> None:
    for values in (torch.zeros(2, t), normal(3, 2, t).float()):
        scores = values.requires_grad_()
        loss = LOSSES[name](scores, torch.full((2, t), 0.3))
        (gradient,) = torch.autograd.grad(loss.sum(), scores)
        assert not loss.any() and not gradient.any()


@every_loss
def test_rank_loss_averages_the_clips_and_uses_its_options(name: str) -> None:
    scores, relevance, mask = normal(4, 3, 5), normal(5, 3, 5), torch.ones(3, 5, dtype=torch.bool).tril(2)
    option = {"ranknet": (0.5,), "hinge": (2.0,), "listmle": (), "listnet": (3.0,), "soft_spearman": (0.5,)}[name]
    module = RankLoss(name, temperature=0.5, margin=2.0, sharpness=3.0)
    torch.testing.assert_close(module(scores, relevance, mask), LOSSES[name](scores, relevance, mask, *option).mean())


@given(mask=masks(), seed=seeds)
@settings(max_examples=30)
def test_ranks_agree_with_scipy_also_for_ties(mask: Tensor, seed: int) -> None:
    values = normal(seed, *mask.shape).round()
    found = ranks(spoiled(values, mask, torch.nan), mask)
    for i in range(len(mask)):
        np.testing.assert_array_equal(found[i][mask[i]], rankdata(values[i][mask[i]]))
    assert (found[~mask] == 0).all()


def up_and_down(numbers: list[float], apex: float) -> np.ndarray:
    """Interpolate linearly from 0 at the onset to 1 at the apex to 0 at the offset; an apex at an end has 1."""
    corners = {numbers[0]: 0.0, numbers[-1]: 0.0} | {apex: 1.0}
    return np.interp(numbers, sorted(corners), [corners[n] for n in sorted(corners)])


@given(mask=masks())
@settings(max_examples=15)
def test_chronological_relevance_counts_the_real_frames(mask: Tensor) -> None:
    assert chronological(torch.rand(*mask.shape, 2)).tolist() == [[*range(1, mask.shape[1] + 1)]] * len(mask)
    relevance = chronological(torch.full(mask.shape, torch.nan), mask)
    for i in range(len(mask)):
        assert relevance[i][mask[i]].tolist() == list(range(1, int(mask[i].sum()) + 1))


# The apex is at either end, on a frame or between two.
@given(mask=masks(), seed=seeds, garbage=st.sampled_from(GARBAGE), apex_at=st.sampled_from([0.0, 0.37, 0.5, 1.0]))
@settings(max_examples=40)
def test_intensity_rises_to_the_apex_and_falls_again(mask: Tensor, seed: int, garbage: float, apex_at: float) -> None:
    numbers = 3 * torch.arange(mask.shape[1]).expand(mask.shape).double() + normal(seed, *mask.shape).sigmoid()
    real = [alone(numbers, mask, i)[0].numpy() for i in range(len(mask))]
    apex = [float(np.interp(apex_at * (len(row) - 1), np.arange(len(row)), row)) for row in real]
    relevance = intensity(spoiled(numbers, mask, garbage), torch.tensor(apex, dtype=torch.float64), mask)
    assert (relevance[~mask] == 0).all()
    for i, row in enumerate(real):
        np.testing.assert_allclose(relevance[i][mask[i]], up_and_down(row.tolist(), apex[i]), atol=1e-9)


@given(b=st.integers(1, 3), t=st.integers(1, 12), seed=seeds, temperature=st.floats(0.01, 100))
@settings(max_examples=30)
def test_soft_ranks_agree_with_a_loop(b: int, t: int, seed: int, temperature: float) -> None:
    values = normal(seed, b, t)
    by_loop = [[0.5 + sum(expit((v - u) / temperature) for u in row) for v in row] for row in values.tolist()]
    np.testing.assert_allclose(soft_ranks(values, None, temperature), by_loop)
