"""The classification loss against torch's and scikit-learn's cross-entropy, formulas by hand and loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torch import Tensor
from torch.nn import functional as F

from fdp_lightning.models.classification_loss import CLASS_WEIGHTINGS, class_weights, emotion_loss
from tests.models.padding import normal, seeds

counts = st.lists(st.integers(0, 60), min_size=2, max_size=7).filter(any)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (b, k), targets and class weights (float32, as `class_weights` gives them)."""
    b, k, seed = draw(st.integers(1, 9)), draw(st.integers(2, 6)), draw(seeds)
    target = torch.randint(0, k, (b,), generator=torch.Generator().manual_seed(seed))
    return 3 * normal(seed, b, k), target, 0.1 + normal(seed + 1, k).abs().float()


@pytest.mark.parametrize("weighting", CLASS_WEIGHTINGS)
@given(n=counts)
@settings(max_examples=30, deadline=None)
def test_class_weights_average_one_over_the_clips_and_are_zero_for_absent_classes(weighting: str, n: list[int]) -> None:
    weights = class_weights(n, weighting).tolist()
    assert sum(w * c for w, c in zip(weights, n, strict=True)) / sum(n) == pytest.approx(1, rel=1e-5)
    assert [w == 0 for w in weights] == [c == 0 for c in n]


@given(n=counts, beta=st.floats(0, 0.9999))
@settings(max_examples=30, deadline=None)
def test_class_weights_are_in_the_ratios_of_their_formulas(n: list[int], beta: float) -> None:
    formulas = {
        "none": lambda c: 1.0,
        "inverse": lambda c: 1 / c,
        "effective": lambda c: 1 / sum(beta**i for i in range(c)),  # the effective number as a geometric series
    }
    for weighting, formula in formulas.items():
        by_hand = [formula(c) if c else 0.0 for c in n]
        average = sum(w * c for w, c in zip(by_hand, n, strict=True)) / sum(n)
        expected = [w / average for w in by_hand]
        np.testing.assert_allclose(class_weights(n, weighting, beta), expected, rtol=1e-5)


@given(batch=batches(), smoothing=st.sampled_from([0.0, 0.1, 0.7]))
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_cross_entropy_of_torch(batch: tuple[Tensor, Tensor, Tensor], smoothing: float) -> None:
    logits, target, weights = batch
    expected = F.cross_entropy(logits, target, label_smoothing=smoothing)
    torch.testing.assert_close(emotion_loss(logits, target, None, smoothing), expected)
    expected = F.cross_entropy(logits, target, weight=weights.double())
    torch.testing.assert_close(emotion_loss(logits, target, weights), expected)


@given(batch=batches())
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_log_loss_of_scikit_learn(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, target, weights = batch
    odds = np.exp(logits.numpy())
    p, classes, clip_weights = odds / odds.sum(axis=1, keepdims=True), range(logits.shape[1]), weights[target]
    assert emotion_loss(logits, target).item() == pytest.approx(log_loss(target, p, labels=classes))
    expected = log_loss(target, p, labels=classes, sample_weight=clip_weights.double())
    assert emotion_loss(logits, target, weights).item() == pytest.approx(expected)


@given(batch=batches(), focal=st.floats(0, 4), smoothing=st.sampled_from([0.0, 0.2]), weighted=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_focal_loss_agrees_with_a_loop(
    batch: tuple[Tensor, Tensor, Tensor], focal: float, smoothing: float, weighted: bool
) -> None:
    logits, target, weights = batch
    k, total, total_weight = logits.shape[1], 0.0, 0.0
    for row, right in zip(logits.tolist(), target.tolist(), strict=True):
        p = [math.exp(z) / sum(map(math.exp, row)) for z in row]
        wanted = [smoothing / k + (1 - smoothing) * (c == right) for c in range(k)]
        entropy = -sum(q * math.log(x) for q, x in zip(wanted, p, strict=True))
        weight = float(weights[right]) if weighted else 1.0
        total += weight * (1 - p[right]) ** focal * entropy
        total_weight += weight
    loss = emotion_loss(logits, target, weights if weighted else None, smoothing, focal)
    assert loss.item() == pytest.approx(total / total_weight, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("smoothing", "focal"), [(0.0, 0.0), (0.1, 0.0), (0.0, 2.0), (0.1, 0.5)])
def test_gradients_are_those_of_finite_differences(weighted: bool, smoothing: float, focal: float) -> None:
    logits, target = normal(1, 4, 3).requires_grad_(), torch.tensor([0, 2, 1, 2])
    weights = torch.tensor([0.5, 2.0, 1.0]) if weighted else None
    assert torch.autograd.gradcheck(lambda z: emotion_loss(z, target, weights, smoothing, focal), (logits,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("focal", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("right", [True, False])
def test_a_network_that_is_sure_has_a_finite_gradient(smoothing: float, focal: float, right: bool) -> None:
    # Logits so far apart that in single precision the probability is 1 or 0.
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    loss = emotion_loss(logits, torch.tensor([0 if right else 2]), None, smoothing, focal)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_batch_of_absent_classes_has_a_loss_of_zero() -> None:
    logits = normal(2, 3, 3).requires_grad_()
    loss = emotion_loss(logits, torch.tensor([1, 1, 1]), class_weights([5, 0, 2], "inverse"))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()
