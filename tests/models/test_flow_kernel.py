"""Kernel ridge regression on flow maps: its closed form, invariances, network, and scores on real data."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score

from fdp_lightning.models.classical.flow_kernel import (
    FlowKernelClassifier,
    FlowKernelMachine,
    FlowKernelSettings,
    left_out,
)
from tests.megc2019_arrays import FOLDER, needs_arrays


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


def test_what_is_left_out_is_what_a_new_fit_without_it_gives() -> None:
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


def test_it_learns_and_gives_a_clip_its_mirror_image_and_its_stretched_self_the_same_answer() -> None:
    x, y, subjects = clips(90, 1)
    others, truth, _ = clips(200, 2)
    fitted = FlowKernelClassifier(3).fit(x, y, subjects)
    probabilities = fitted.predict_proba(others)
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.8
    mirrored = others[..., ::-1] * np.array([-1, 1, 1], np.float32)[:, None, None]
    np.testing.assert_allclose(fitted.predict_proba(mirrored), probabilities, atol=1e-6)
    by_channel = FlowKernelClassifier(3, settings=FlowKernelSettings(divisions=[["channel"]])).fit(x, y, subjects)
    stretched = others * np.array([3, 0.5, 20])[:, None, None] + np.array([0.5, -1, 4])[:, None, None]
    np.testing.assert_allclose(by_channel.predict_proba(stretched), by_channel.predict_proba(others), atol=1e-4)


def test_choices_are_made_by_subject() -> None:
    """Clips of a subject look alike whatever their class, so they seem learnable if single clips are left out."""
    rng = np.random.default_rng(3)
    of_subject = rng.normal(size=(12, 3, 8, 8))
    subjects, labels = np.repeat(np.arange(12), 6), np.repeat(rng.permutation(np.arange(12) % 3), 6)
    x = (of_subject[subjects] + 0.01 * rng.normal(size=(72, 3, 8, 8))).astype(np.float32)
    by_subject, by_clip = FlowKernelClassifier(3).fit(x, labels, subjects), FlowKernelClassifier(3).fit(x, labels)
    assert by_subject.chosen is not None and by_clip.chosen is not None
    assert by_subject.chosen[1] > by_clip.chosen[1] and by_subject.chosen[2] < by_clip.chosen[2]


def test_the_network_of_a_fitted_one_answers_as_it_does_and_never_with_an_unseen_class() -> None:
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


def test_a_form_takes_no_memory_before_its_tensors_are_known() -> None:
    with torch.device("meta"):
        form = FlowKernelMachine(3, 10, ["u", "v"], 4, 1_000, [1.0], [1.0], ["joint"])
    assert all(buffer.is_meta for buffer in form.buffers())


def test_it_answers_on_the_device_that_holds_it() -> None:
    machine = FlowKernelMachine(3, 4, ["u", "v", "strain"], 3, 8, [1.0], [1.0], ["channel", "joint"]).to("meta")
    assert machine(torch.zeros(2, 3, 8, 8, device="meta")).is_meta


@pytest.mark.parametrize(
    "wrong", [{"ridges": []}, {"widths": [0.0]}, {"divisions": [["pixel"]]}, {"divisions": [[]]}, {"smoothing": [-1.0]}]
)
def test_impossible_settings_are_refused(wrong: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FlowKernelSettings(**wrong)
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
def test_the_public_maps_give_the_numbers_of_the_leaderboard(name: str, expected: tuple[float, ...]) -> None:
    arrays = np.load(FOLDER / f"{name}.npz")
    maps = arrays["flow"][:, 0] if arrays["flow"].ndim == 5 else arrays["flow"]
    x, y = maps.transpose(0, 3, 1, 2) / np.float32(255), arrays["label"]
    subjects = np.unique(np.char.add(arrays["dataset"], arrays["subject"]), return_inverse=True)[1]
    predicted = np.full(442, -1)
    for subject in np.unique(subjects):
        out = subjects == subject
        fitted = FlowKernelClassifier(3).fit(x[~out], y[~out], subjects[~out])
        predicted[out] = fitted.predict_proba(x[out]).argmax(axis=1)
    found = (f1_score(y, predicted, average="macro"), recall_score(y, predicted, average="macro"))
    assert (*found, accuracy_score(y, predicted)) == pytest.approx(expected, abs=5e-5)
