"""The multi-label loss and its kind of labels, against torch's binary cross-entropy, scikit-learn and loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torch import Tensor
from torch.nn import functional as F

from fdp_lightning.labels import LabelKind
from fdp_lightning.models.classification_loss import positive_weights, unit_loss
from fdp_lightning.models.fdp.network import FDPOutput
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.models.labels import LABELS
from fdp_lightning.models.recognizer import Clips
from tests.models.padding import normal, seeds


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (b, k), multi-hot targets and positive weights (float32, as `positive_weights` gives them)."""
    b, k, seed = draw(st.integers(1, 9)), draw(st.integers(1, 6)), draw(seeds)
    target = torch.randint(0, 2, (b, k), generator=torch.Generator().manual_seed(seed)).float()
    return 3 * normal(seed, b, k), target, 0.1 + normal(seed + 1, k).abs().float()


@given(batch=batches(), smoothing=st.sampled_from([0.0, 0.1, 0.7]), weighted=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_binary_cross_entropy_of_torch(
    batch: tuple[Tensor, Tensor, Tensor], smoothing: float, weighted: bool
) -> None:
    logits, target, weights = batch
    wanted = target.double() * (1 - smoothing) + smoothing / 2
    pos_weight = weights.double() if weighted else None
    expected = F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=pos_weight)
    torch.testing.assert_close(unit_loss(logits, target, weights if weighted else None, smoothing), expected)


@given(batch=batches())
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_mean_log_loss_of_scikit_learn_over_units(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, target, weights = batch
    p, y, w = torch.sigmoid(logits).numpy(), target.numpy(), weights.double().numpy()
    plain = [log_loss(y[:, k], p[:, k], labels=[0, 1]) for k in range(y.shape[1])]
    assert unit_loss(logits, target).item() == pytest.approx(np.mean(plain))
    each = [
        log_loss(y[:, k], p[:, k], labels=[0, 1], sample_weight=np.where(y[:, k] > 0, w[k], 1), normalize=False)
        for k in range(y.shape[1])
    ]
    assert unit_loss(logits, target, weights).item() == pytest.approx(np.sum(each) / y.size)


@given(batch=batches(), focal=st.floats(0, 4), smoothing=st.sampled_from([0.0, 0.2]), weighted=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_focal_loss_agrees_with_a_loop(
    batch: tuple[Tensor, Tensor, Tensor], focal: float, smoothing: float, weighted: bool
) -> None:
    logits, target, weights = batch
    total = 0.0
    for row, shown in zip(logits.tolist(), target.tolist(), strict=True):
        for z, y, w in zip(row, shown, weights.tolist(), strict=True):
            p = 1 / (1 + math.exp(-z))
            q = y * (1 - smoothing) + smoothing / 2
            entropy = -((w if weighted else 1.0) * q * math.log(p) + (1 - q) * math.log(1 - p))
            total += (1 - (p if y else 1 - p)) ** focal * entropy
    loss = unit_loss(logits, target, weights if weighted else None, smoothing, focal)
    assert loss.item() == pytest.approx(total / logits.numel(), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("smoothing", "focal"), [(0.0, 0.0), (0.1, 0.0), (0.0, 2.0), (0.1, 0.5)])
def test_gradients_are_those_of_finite_differences(weighted: bool, smoothing: float, focal: float) -> None:
    logits = normal(1, 4, 3).requires_grad_()
    target = torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    weights = torch.tensor([0.5, 2.0, 1.0]) if weighted else None
    assert torch.autograd.gradcheck(lambda z: unit_loss(z, target, weights, smoothing, focal), (logits,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("focal", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("shown", [0.0, 1.0])
def test_a_network_that_is_sure_has_a_finite_gradient(smoothing: float, focal: float, shown: float) -> None:
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    loss = unit_loss(logits, torch.full((1, 3), shown), None, smoothing, focal)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_positive_weights_by_hand() -> None:
    counts, clips = [1, 4, 10, 0, 20], 20
    np.testing.assert_allclose(positive_weights(counts, clips), np.ones(5))
    # What no clip or every clip shows has nothing to balance.
    np.testing.assert_allclose(positive_weights(counts, clips, "inverse"), [19, 4, 1, 1, 1])
    beta = 0.9
    series = [sum(beta**i for i in range(20 - n)) / sum(beta**i for i in range(n)) for n in counts[:3]]
    np.testing.assert_allclose(positive_weights(counts, clips, "effective", beta), [*series, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(positive_weights(counts, clips, "effective", 0.0), np.ones(5))
    near = positive_weights(counts, clips, "effective", 1 - 1e-9)
    np.testing.assert_allclose(near, positive_weights(counts, clips, "inverse"), rtol=1e-5)


def test_probabilities_and_right_decisions_of_both_kinds() -> None:
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
    # A probability of exactly 1/2 predicts nothing, also where a small logit rounds to it.
    tie = torch.tensor([[0.0, 1e-20]])
    assert LABELS[LabelKind.MULTI].right(tie, torch.zeros(1, 2)).item() == 1.0


def _output(logits: Tensor) -> FDPOutput:
    b = len(logits)
    return FDPOutput(logits, {}, [torch.zeros(b, 2, 1, 1)], torch.zeros(b, 1, 4, 4))


@pytest.mark.parametrize(("weighting", "smoothing", "focal"), [("none", 0.0, 0.0), ("inverse", 0.1, 2.0)])
def test_the_objective_of_multi_label_targets_is_this_loss(weighting: str, smoothing: float, focal: float) -> None:
    logits, target = normal(5, 4, 3).float(), torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]])
    objective = Objective(
        dynamic_image=0.0,
        class_weighting=weighting,
        label_smoothing=smoothing,
        focal=focal,
        class_counts=[2, 3, 1],
        train_clips=8,
        label_kind=LabelKind.MULTI,
    )
    losses = objective(_output(logits), Clips(torch.rand(4, 2, 1, 4, 4), target))
    weights = positive_weights([2, 3, 1], 8, weighting)
    torch.testing.assert_close(losses.parts["emotion"], unit_loss(logits, target, weights, smoothing, focal))
    torch.testing.assert_close(losses.total, losses.parts["emotion"])
    again = Objective(class_weighting=weighting, class_counts=[1, 1, 1], train_clips=4, label_kind=LabelKind.MULTI)
    again.load_state_dict(objective.state_dict())
    torch.testing.assert_close(again.class_weights, weights)
