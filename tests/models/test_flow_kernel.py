"""Kernel ridge regression on flow maps: its closed form, invariances, network, and scores on real data."""

import numpy as np
import pytest
import torch

from fdp_lightning.models.classical.flow_kernel import (
    FlowKernelClassifier,
    FlowKernelMachine,
    left_out,
)
from tests.megc2019_arrays import needs_arrays
from tests.models.public_maps import loso_scores


def clips(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return noise with a bump whose position depends on the class, on either side of the face; classes; subjects."""
    rng = np.random.default_rng(seed)
    labels, side = rng.integers(0, 3, n), rng.integers(0, 2, n)
    maps = rng.normal(size=(n, 3, 12, 12)) * 0.3
    for clip, (label, right) in enumerate(zip(labels, side, strict=True)):
        row, column = 3 * label + 1, 2 if not right else 8
        maps[clip, 0, row : row + 3, column : column + 3] += 2 if not right else -2
        maps[clip, 2, row : row + 3, column : column + 3] += 1
    return maps.astype(np.float32), labels, rng.integers(0, 8, n)


def test_left_out_predictions_are_those_of_a_new_fit_without_the_group() -> None:
    rng = np.random.default_rng(0)
    rows, groups = rng.normal(size=(40, 5)), rng.integers(0, 6, 40)
    kernel, targets = np.exp(-((rows[:, None] - rows) ** 2).sum(axis=2) / 5) + 1, rng.normal(size=(40, 3))
    penalty = np.diag(rng.uniform(0.1, 1, 40))
    inverse = np.linalg.inv(kernel + penalty)
    found = left_out(inverse, inverse @ targets, targets, groups)
    for group in range(6):
        out = groups == group
        fitted = np.linalg.solve((kernel + penalty)[np.ix_(~out, ~out)], targets[~out])
        np.testing.assert_allclose(found[out], kernel[np.ix_(out, ~out)] @ fitted, atol=1e-9)


def test_it_learns_and_ignores_mirroring_and_the_scale_of_each_channel() -> None:
    x, y, subjects = clips(90, 1)
    others, truth, _ = clips(200, 2)
    fitted = FlowKernelClassifier(3).fit(x, y, subjects)
    probabilities = fitted.predict_proba(others)
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.8
    mirrored = others[..., ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None]
    np.testing.assert_allclose(fitted.predict_proba(mirrored), probabilities, atol=1e-6)
    by_channel = FlowKernelClassifier(3, divisions=[["channel"]]).fit(x, y, subjects)
    stretched = others * np.array([3, 0.5, 20])[:, None, None] + np.array([0.5, -1, 4])[:, None, None]
    np.testing.assert_allclose(by_channel.predict_proba(stretched), by_channel.predict_proba(others), atol=1e-4)


def test_settings_are_chosen_by_leaving_out_subjects() -> None:
    """Clips of a subject look alike whatever their class, so leaving out single clips makes them seem learnable."""
    rng = np.random.default_rng(3)
    of_subject = rng.normal(size=(12, 3, 8, 8))
    subjects, labels = np.repeat(np.arange(12), 6), np.repeat(rng.permutation(np.arange(12) % 3), 6)
    x = (of_subject[subjects] + 0.01 * rng.normal(size=(72, 3, 8, 8))).astype(np.float32)
    by_subject, by_clip = FlowKernelClassifier(3).fit(x, labels, subjects), FlowKernelClassifier(3).fit(x, labels)
    assert by_subject.chosen is not None and by_clip.chosen is not None
    assert by_subject.chosen[1] > by_clip.chosen[1] and by_subject.chosen[2] < by_clip.chosen[2]


def test_the_network_agrees_with_the_classifier_and_never_predicts_an_unseen_class() -> None:
    x, y, subjects = clips(60, 4)
    some = y != 1
    fitted = FlowKernelClassifier(3).fit(x[some], y[some], subjects[some])
    network, options = fitted.as_network()
    again = FlowKernelMachine(3, **options)
    again.load_state_dict(network.state_dict())
    others = clips(50, 5)[0]
    found = again(torch.from_numpy(others)).softmax(1).detach().numpy()
    np.testing.assert_array_equal(found, fitted.predict_proba(others))
    assert not found[:, 1].any()
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="divisions"):
        FlowKernelClassifier(3, divisions=[["pixel"]]).fit(*clips(9, 6))
    with pytest.raises(ValueError, match="onset_apex_direction"):
        FlowKernelClassifier(3, phases=["onset_apex", "onset_apex_direction"])


@pytest.mark.slow
@needs_arrays
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("composite442_causalnet_flow28x4", (0.7731, 0.7926, 0.7896)),
        ("composite442_ststnet_flow28", (0.7508, 0.7770, 0.7647)),
    ],
)
def test_the_public_maps_give_the_scores_of_the_leaderboard(name: str, expected: tuple[float, ...]) -> None:
    assert loso_scores(name, lambda: FlowKernelClassifier(3)) == pytest.approx(expected, abs=5e-5)
