"""Similarity of images to their reference: PSNR, SSIM and correlation, and their table."""

import json
from pathlib import Path

import numpy as np
import pytest
from random_runs import extras_of, make_run
from scipy.stats import pearsonr, sem, t
from skimage.metrics import structural_similarity

from fdp_lightning.evaluation.extra_scores import EVEN, correlation, extra_scores, psnr, qualities, quality_table, ssim
from fdp_lightning.evaluation.folds import Outputs, kendall_tau, read_outputs
from fdp_lightning.evaluation.intervals import clip_mean_interval
from fdp_lightning.evaluation.report import build_report

TRUE = "true_dynamic_image"


@pytest.mark.parametrize("name", ["rank_scores", "dynamic_image", TRUE])
def test_clips_that_lack_an_output_are_left_out_of_its_scores(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run", subjects=3, clips=5)
    for number, path in enumerate(sorted(run.glob("folds/*/outputs.npz"))):
        arrays = dict(np.load(path))
        arrays[name][: 5 if number == 1 else 1] = np.nan
        np.savez_compressed(path, **arrays)
    scores = extra_scores(run)
    json.dumps(scores, allow_nan=False)
    assert scores["rank_scores"]["n_clips"] == (8 if name == "rank_scores" else 15)
    assert scores["dynamic_image"]["n_clips"] == (15 if name == "rank_scores" else 8)
    assert scores["mean_training_image"]["n_clips"] == (8 if name == TRUE else 15)
    assert build_report(run, "t", True, True).is_file()


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    true = random.random((5, 16, 20)).astype(np.float32)
    noise = random.normal(0, np.array([0, 0.01, 0.05, 0.2, 0.5])[:, None, None], true.shape)
    return true, np.clip(true + noise, 0, 1).astype(np.float32)


def test_psnr_is_the_mean_squared_error_in_decibels(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    true, images = pairs
    errors = ((true.astype(np.float64) - images) ** 2).mean(axis=(1, 2))
    values = psnr(true, images)
    assert np.isposinf(values[0])
    np.testing.assert_allclose(values[1:], -10 * np.log10(errors[1:]))


def test_correlation_is_pearsons_and_0_for_a_flat_image(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    true, images = pairs
    expected = [pearsonr(one.ravel().astype(float), other.ravel())[0] for one, other in zip(true, images, strict=True)]
    np.testing.assert_allclose(correlation(true, images), expected, atol=1e-12)
    flat = np.full_like(true, 0.5)
    for one, other in ((true, flat), (flat, true), (flat, flat), (true, flat + 1e-7 * true)):
        assert (correlation(one, other) == 0).all()


@pytest.mark.parametrize(("height", "window"), [(16, 7), (6, 5)])
def test_ssim_equals_scikit_image_with_the_largest_window_that_fits(
    pairs: tuple[np.ndarray, np.ndarray], height: int, window: int
) -> None:
    true, images = (part[:, :height] for part in pairs)
    each = [structural_similarity(x, y, win_size=window, data_range=1) for x, y in zip(true, images, strict=True)]
    np.testing.assert_allclose(ssim(true, images), each, atol=1e-6)


def test_the_interval_is_over_subjects_not_clips() -> None:
    random = np.random.default_rng(0)
    subjects = np.repeat(np.arange(12), [1, 9, 3, 5] * 3)
    values = random.normal(0, 1, 12)[subjects] + random.normal(0, 0.1, len(subjects))
    given = clip_mean_interval(values, subjects)
    by_clip = clip_mean_interval(values, np.arange(len(values)))
    assert given is not None and by_clip is not None
    assert given[1] - given[0] > 1.5 * (by_clip[1] - by_clip[0])
    # With one clip per subject it is the textbook t interval.
    few = random.normal(0, 1, 9)
    assert clip_mean_interval(few, np.arange(9)) == pytest.approx(t.interval(0.95, 8, few.mean(), sem(few)))


def outputs_of(n: int = 6, signed: bool = False) -> Outputs:
    """Return outputs of two folds of one subject each, with the same id in two datasets, and a mean image per fold."""
    random = np.random.default_rng(1)
    true = random.random((n, 16, 16))
    means = random.random((2, 16, 16))
    arrays = {
        "dataset": np.array(["a", "b"]).repeat(n // 2),
        "subject": np.full(n, "01"),
        "fold": np.array([0, 1]).repeat(n // 2),
        "true_dynamic_image": true,
        "dynamic_image": np.clip(true + random.normal(0, 0.1, true.shape), 0, 1),
        "mean_training_image": means,
        "arp_of_input": true.copy(),
    }
    return Outputs(extras_of(signed), arrays)


def test_the_table_averages_over_clips_and_counts_identical_images() -> None:
    outputs = outputs_of()
    outputs["dynamic_image"][0] = outputs["true_dynamic_image"][0]
    outputs["dynamic_image"][5] = 1 - outputs["true_dynamic_image"][5]
    values = qualities(outputs, TRUE)["dynamic_image"]
    table = quality_table(outputs, TRUE, qualities(outputs, TRUE))
    model, _, arp = table["rows"].values()
    assert (model["psnr"], model["ssim"]) == pytest.approx((values["psnr"][1:].mean(), values["ssim"].mean()))
    assert model["ci95"]["ssim"][0] < model["ssim"] < model["ci95"]["ssim"][1]  # two subjects that share an id
    assert [row["same"] for row in table["rows"].values()] == [1, 0, 6] and table["n_clips"] == 6
    assert arp["psnr"] is None and arp["ci95"]["psnr"] is None


def test_a_uniform_image_is_a_reference_for_signed_images() -> None:
    assert EVEN not in qualities(outputs_of(), TRUE)
    outputs = outputs_of(signed=True)
    values = qualities(outputs, TRUE)[EVEN]
    assert (values["correlation"] == 0).all()
    errors = ((outputs["true_dynamic_image"] - 0.5) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(values["psnr"], -10 * np.log10(errors))
    rows = quality_table(outputs, TRUE, qualities(outputs, TRUE))["rows"]
    assert list(rows) == ["dynamic_image", "mean_training_image", "arp_of_input", EVEN]


@pytest.mark.parametrize("rms", [None, 0.2])
def test_metrics_json_and_the_table_have_the_same_scores(tmp_path: Path, rms: float | None) -> None:
    run = make_run(tmp_path / "run", image_rms=rms)
    for path in run.glob("folds/*/outputs.npz"):
        arrays = dict(np.load(path))
        np.savez(path, **arrays | {"arp_of_input": arrays[TRUE]})  # identical, as they are by default
    outputs, scores = read_outputs(run), extra_scores(run)
    assert (EVEN in scores.get(TRUE, {})) == (rms is not None)
    for name, row in quality_table(outputs, TRUE, qualities(outputs, TRUE))["rows"].items():
        found = scores[TRUE][EVEN] if name == EVEN else scores[name]
        assert found["n_clips"] == 20 and row.pop("same") == (20 if name == "arp_of_input" else 0)
        assert row.items() <= found.items()
    assert scores["arp_of_input"]["psnr"] is None
    assert scores["rank_scores"]["tau"] == pytest.approx(np.mean([kendall_tau(c) for c in outputs["rank_scores"]]))
