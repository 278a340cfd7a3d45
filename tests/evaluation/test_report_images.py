"""The page's pictures: which clips, whose frames, and what is said where an older run lacks them."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from random_runs import CLASSES, IMAGES, last, make_run

from fdp_lightning.evaluation.extra_scores import qualities, quality_table, scalar_mean
from fdp_lightning.evaluation.folds import read_key_frames, read_outputs
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.report_details import mistakes_shown
from fdp_lightning.evaluation.report_extras import sections_shown
from fdp_lightning.extras import Extra, number_format

pytestmark = pytest.mark.costly

TRUE = "true_dynamic_image"


def section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}"')[1].split("</section>")[0]


def pictures(run: Path, classes: list[str]) -> list[dict[str, Any]]:
    """The gallery of the section of images."""
    gallery: list[dict[str, Any]] = sections_shown(read_outputs(run), classes, show_faces=True)[1]["gallery"]
    return gallery


def rewrite(run: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    for path in run.glob("folds/*/outputs.npz"):
        with np.load(path) as arrays:
            parts = dict(arrays)
        np.savez(path, **change(parts))


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


def test_the_table_of_qualities_is_on_the_page_with_and_without_faces(whole_run: Path, pages: dict[bool, str]) -> None:
    outputs = read_outputs(whole_run)
    table = quality_table(outputs, TRUE, qualities(outputs, TRUE))
    for show_faces, page in pages.items():
        text = section(page, IMAGES)
        for row in table["rows"]:
            numbers = f"{row['psnr']:.1f}", f"{row['ssim']:.3f}", f"{row['correlation']:.3f}".replace("-", "−")
            assert all(f"<td>{number}<small>" in text for number in numbers)
        assert f"For {table['nearer'][0]['n']} of 20 clips" in text
        assert "A note." in text and "∞" not in text
        assert ("<img" in text) == show_faces


def test_figures_tell_their_own_clips_numbers(run: Path) -> None:
    outputs = read_outputs(run)
    values = qualities(outputs, TRUE)
    face = pictures(run, ["disgust"])[1]
    row = int(np.flatnonzero(outputs["target"] == "disgust")[1])
    assert face["clip"] == f"{outputs['subject'][row]} / {outputs['clip'][row]} @ {outputs['onset'][row]}"
    true, *others = face["images"]
    assert "psnr" not in true
    for image, key in zip(others, ("dynamic_image", "mean_training_image", "arp_of_input"), strict=True):
        assert image["correlation"] == values[key]["correlation"][row]
        assert image["psnr"] == values[key]["psnr"][row] and image["ssim"] == values[key]["ssim"][row]
        picture = outputs[key][outputs["fold"][row] if key == "mean_training_image" else row]
        assert np.abs(decoded(image["uri"]) / 255 - picture).max() <= 0.5 / 255 + 1e-6


def test_numbers_that_some_clips_lack_are_counted_where_they_are_known(run: Path) -> None:
    outputs = read_outputs(run)
    shares = np.where(np.arange(len(outputs["clip"])) % 4 == 0, np.linspace(0, 0.9, len(outputs["clip"])), np.nan)
    extras = (Extra("brows", "scalar", "brows", "shares"), Extra("chin", "scalar", "chin", "shares"))
    outputs = replace(outputs, extras=extras, arrays={**outputs.arrays, "brows": shares, "chin": shares / 900})
    (shown,) = sections_shown(outputs, CLASSES, True)
    *of_class, everyone = shown["numbers"]["rows"]
    assert everyone["n"] == np.isfinite(shares).sum() == sum(row["n"] for row in of_class)
    assert everyone["of"] == len(shares)
    assert everyone["means"][0] == scalar_mean(outputs, "brows")
    assert shown["numbers"]["format"] % everyone["means"][1]["mean"] == "0.000"


def test_shares_have_the_same_decimals_and_large_numbers_four_digits() -> None:
    assert [number_format([0.95, 0.00091]) % share for share in (0.95, 0.00091)] == ["0.950", "0.001"]
    assert number_format([0.0021, 0.0007]) % 0.0007 == "0.00070"
    assert number_format([1234.56, 0.5]) % 1234.56 == "1235" and number_format([]) % 0.5 == "0.5"


def test_signed_images_of_all_folds_are_drawn_on_one_scale(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", image_rms=0.2)
    rewrite(run, lambda parts: parts | {"dynamic_image": np.full_like(parts["dynamic_image"], 0.5)})
    outputs = read_outputs(run)
    images = pictures(run, CLASSES)
    assert len(images) == 2 * len(CLASSES)
    rms = outputs["image_rms"]
    assert len(set(rms)) == 4
    folds = set()
    for face in images:
        row = outputs["clip"].tolist().index(face["clip"].split()[2])
        fold = outputs["fold"][row]
        folds.add(fold)
        true, constructed, *_ = (decoded(image["uri"]).astype(float) for image in face["images"])
        assert np.abs(constructed - 127.5).max() <= 0.5, "nothing moved is mid grey in every fold"
        motion = (outputs["true_dynamic_image"][row] - 0.5) * rms[fold] / rms.mean()
        assert np.abs(true / 255 - (0.5 + motion).clip(0, 1)).max() <= 0.5 / 255 + 1e-6
    assert len(folds) == 2
    page = build_report(run, "A title", True, False).read_text()
    assert section(page, IMAGES).count("<tr>") == 1 + 4


@pytest.mark.parametrize("colour", [False, True])
def test_mistakes_have_their_own_clips_key_frames(tmp_path: Path, colour: bool) -> None:
    run = make_run(tmp_path / "run", colour=colour, skill=0.2)
    table, classes = read_predictions(run / "predictions.csv")
    shown = mistakes_shown(run, last(table), classes, show_faces=True)
    assert len(shown) == 8
    for mistake in shown:
        (clip,) = last(table)[last(table)["clip"] == mistake["clip"].split()[2]].itertuples()
        assert mistake["target"] == clip.target != clip.prediction == mistake["prediction"]
        assert mistake["confidence"] == getattr(clip, f"prob_{clip.prediction}")
        assert mistake["of_target"] == getattr(clip, f"prob_{clip.target}")
        with np.load(run / "folds" / clip.fold / "outputs.npz") as arrays:
            row = arrays["clip"].tolist().index(clip.clip)
            frames, apex = arrays["key_frames"][row], arrays["apex"][row]
        names = ["first", "middle" if np.isnan(apex) else "near the apex", "last"]
        assert [frame["name"] for frame in mistake["frames"]] == names
        for frame, stored in zip(mistake["frames"], frames, strict=True):
            np.testing.assert_array_equal(decoded(frame["uri"]), stored)
    assert "near the apex" in {frame["name"] for mistake in shown for frame in mistake["frames"]}
    # SAMM 032_3_1 has its apex before the onset: the frame kept is the middle one.
    rewrite(run, lambda parts: parts | {"apex": parts["frames"][:, 0] - 3.0})
    shown = mistakes_shown(run, last(table), classes, show_faces=True)
    assert shown and all(mistake["frames"][1]["name"] == "middle" for mistake in shown)


def test_clips_of_two_datasets_with_one_name_are_told_apart(run: Path) -> None:
    def other(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        doubled = {k: np.concatenate([v, v]) if np.shape(v)[:1] == (5,) else v for k, v in parts.items()}
        doubled |= {name: parts[name] for name in ("mean_training_image", "extras")}
        doubled["dataset"] = np.array(["aaa", "synthetic"]).repeat(5)
        doubled["key_frames"][:5] = 0
        return doubled

    rewrite(run, other)
    kept = read_key_frames(run, "002", ("synthetic", "002", "002_3", 201))
    assert kept is not None and kept[0].any()
    assert read_outputs(run)["dataset"].tolist() == (["aaa"] * 5 + ["synthetic"] * 5) * 4
    assert pictures(run, ["disgust"])[0]["clip"] == "aaa / 001 / 001_2 @ 101"
