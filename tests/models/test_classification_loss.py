"""The single-label and multi-label losses, compared with loops and formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdp_lightning.labels import LabelKind
from fdp_lightning.models.classification_loss import class_weights, emotion_loss, positive_weights, unit_loss
from fdp_lightning.models.fdp.network import FDPOutput
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.models.labels import LABELS
from fdp_lightning.models.recognizer import Clips
from tests.models.padding import normal, seeds

LOSSES = {"single": emotion_loss, "multi": unit_loss}
counts = st.lists(st.integers(0, 60), min_size=2, max_size=7).filter(any)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits (b, k), targets of both kinds, and class weights (float32, as runs compute them)."""
    b, k, seed = draw(st.integers(1, 9)), draw(st.integers(2, 6)), draw(seeds)
    generator = torch.Generator().manual_seed(seed)
    one, several = (torch.randint(0, *size, generator=generator) for size in ((k, (b,)), (2, (b, k))))
    return 3 * normal(seed, b, k), one, several.float(), 0.1 + normal(seed + 1, k).abs().float()


@given(n=counts, beta=st.floats(0, 0.9999))
@settings(max_examples=30)
def test_class_weights_have_the_ratios_of_their_formulas(n: list[int], beta: float) -> None:
    formulas = {  # for classes with clips; the mean weight over the clips is 1
        "none": lambda c: 1.0,
        "inverse": lambda c: 1 / c,
        "effective": lambda c: 1 / sum(beta**i for i in range(c)),  # the effective number as a geometric series
    }
    for weighting, formula in formulas.items():
        by_hand = [formula(c) if c else 0.0 for c in n]
        average = sum(w * c for w, c in zip(by_hand, n, strict=True)) / sum(n)
        np.testing.assert_allclose(class_weights(n, weighting, beta), [w / average for w in by_hand], rtol=1e-5)


@given(
    batch=batches(), focal=st.just(0.0) | st.floats(0, 4), smoothing=st.sampled_from([0.0, 0.2]), weighted=st.booleans()
)
@settings(max_examples=40)
def test_losses_agree_with_a_loop(batch: tuple[Tensor, ...], focal: float, smoothing: float, weighted: bool) -> None:
    logits, one, several, weights = batch
    weights = weights if weighted else torch.ones_like(weights)
    k, of_one, total_weight, of_several = logits.shape[1], 0.0, 0.0, 0.0
    for row, right, shown in zip(logits.tolist(), one.tolist(), several.tolist(), strict=True):
        p = [math.exp(z) / sum(map(math.exp, row)) for z in row]
        wanted = [smoothing / k + (1 - smoothing) * (c == right) for c in range(k)]
        entropy = -sum(q * math.log(x) for q, x in zip(wanted, p, strict=True))
        of_one += float(weights[right]) * (1 - p[right]) ** focal * entropy
        total_weight += float(weights[right])
        for z, y, w in zip(row, shown, weights.tolist(), strict=True):
            chance, q = 1 / (1 + math.exp(-z)), y * (1 - smoothing) + smoothing / 2
            entropy = -(w * q * math.log(chance) + (1 - q) * math.log(1 - chance))
            of_several += (1 - (chance if y else 1 - chance)) ** focal * entropy
    used = weights if weighted else None
    found = emotion_loss(logits, one, used, smoothing, focal), unit_loss(logits, several, used, smoothing, focal)
    expected = of_one / total_weight, of_several / logits.numel()
    assert [loss.item() for loss in found] == pytest.approx(expected, rel=1e-6)
    for loss, targets in ((emotion_loss, one), (unit_loss, several)):
        of = lambda z, loss=loss, targets=targets: loss(z, targets, used, smoothing, focal)  # noqa: E731
        assert torch.autograd.gradcheck(of, (logits.requires_grad_(),))


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("focal", [0.0, 0.5, 1.0, 2.0])
def test_the_gradient_is_finite_where_probabilities_round_to_0_or_1(kind: str, smoothing: float, focal: float) -> None:
    for target in (0, 1):
        logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
        targets = torch.tensor([2 * target]) if kind == "single" else torch.full((1, 3), float(target))
        loss = LOSSES[kind](logits, targets, None, smoothing, focal)
        loss.backward()
        assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


def test_a_batch_of_absent_classes_has_a_loss_of_zero() -> None:
    logits = normal(2, 3, 3).requires_grad_()
    loss = emotion_loss(logits, torch.tensor([1, 1, 1]), class_weights([5, 0, 2], "inverse"))
    loss.backward()
    assert loss == 0 and logits.grad is not None and (logits.grad == 0).all()


def test_positive_weights_by_hand() -> None:
    counts, clips = [1, 4, 10, 0, 20], 20
    np.testing.assert_allclose(positive_weights(counts, clips), np.ones(5))
    # A unit that no clip or every clip shows has nothing to balance.
    np.testing.assert_allclose(positive_weights(counts, clips, "inverse"), [19, 4, 1, 1, 1])
    beta = 0.9
    series = [sum(beta**i for i in range(20 - n)) / sum(beta**i for i in range(n)) for n in counts[:3]]
    np.testing.assert_allclose(positive_weights(counts, clips, "effective", beta), [*series, 1, 1], rtol=1e-6)


def test_probabilities_and_correct_decisions_of_both_kinds() -> None:
    logits = normal(3, 6, 4)
    single, multi = LABELS[LabelKind.SINGLE].probabilities(logits), LABELS[LabelKind.MULTI].probabilities(logits)
    torch.testing.assert_close(single.sum(dim=1), torch.ones(6, dtype=torch.float64))
    np.testing.assert_allclose(multi, 1 / (1 + np.exp(-logits.numpy())))
    assert single.dtype == multi.dtype == torch.float64
    target = (normal(4, 6, 4) > 0).float()
    by_hand = ((multi.numpy() > 0.5) == (target.numpy() > 0)).mean(axis=1)
    np.testing.assert_allclose(LABELS[LabelKind.MULTI].right(logits, target), by_hand)
    assert 0 < by_hand.mean() < 1
    one = torch.tensor([0, 1, 2, 3, 0, 1])
    np.testing.assert_allclose(LABELS[LabelKind.SINGLE].right(logits, one), logits.argmax(dim=1) == one)
    # A probability of exactly 1/2 predicts absence, even if a small logit rounds to it.
    tie = torch.tensor([[0.0, 1e-20]])
    assert LABELS[LabelKind.MULTI].right(tie, torch.zeros(1, 2)).item() == 1.0


def test_the_objective_of_multi_label_targets_is_this_loss_and_keeps_its_weights() -> None:
    logits, target = normal(5, 4, 3).float(), torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]])
    kind: dict = {"class_weighting": "inverse", "label_smoothing": 0.1, "focal": 2.0, "label_kind": LabelKind.MULTI}
    objective = Objective(dynamic_image=0.0, class_counts=[2, 3, 1], train_clips=8, **kind)
    output = FDPOutput(logits, {}, [torch.zeros(4, 2, 1, 1)], torch.zeros(4, 1, 4, 4))
    losses = objective(output, Clips(torch.rand(4, 2, 1, 4, 4), target))
    weights = positive_weights([2, 3, 1], 8, "inverse")
    torch.testing.assert_close(losses.total, unit_loss(logits, target, weights, 0.1, 2.0))
    again = Objective(class_counts=[1, 1, 1], train_clips=4, **kind)
    again.load_state_dict(objective.state_dict())
    torch.testing.assert_close(again.class_weights, weights)
