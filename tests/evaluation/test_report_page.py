"""The report is complete and self-contained, its numbers agree with metrics.json and its images with their clips."""

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from looks import Page
from PIL import Image
from random_runs import (
    CLASSES,
    IMAGES,
    RANKS,
    UNITS,
    last,
    make_predictions,
    make_run,
    make_unit_predictions,
    write_run,
)
from scipy.stats import kendalltau

from fdp_lightning.evaluation.extra_scores import qualities, quality_table
from fdp_lightning.evaluation.folds import apex_position, frame_positions, kendall_tau, read_key_frames, read_outputs
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.report_details import mistakes_shown
from fdp_lightning.evaluation.report_extras import sections_shown
from fdp_lightning.evaluation.summary import summarise
from fdp_lightning.extras import Extra

pytestmark = pytest.mark.costly

SECTIONS = [
    "scores", "confusion", "classes", "calibration", "subjects", "curves", RANKS, IMAGES, "embedding", "mistakes",
    "origin",
]  # fmt: skip


def _text(run: Path, show_faces: bool = False) -> str:
    return build_report(run, "A title", show_faces, False).read_text()


def _section(text: str, name: str) -> str:
    return text.split(f'<section id="{name}"')[1].split("</section>")[0]


def test_the_page_is_complete_and_loads_nothing(whole_run: Path, pages: dict[bool, str]) -> None:
    text = pages[True]
    assert "Synthetic data:" not in text
    page = Page(text)
    assert all(load.startswith(("#", "data:")) for load in page.loads)
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert re.findall('href="#([^"]*)"', text.split("<nav")[1].split("</nav>")[0]) == SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert {load[1:] for load in page.loads if load.startswith("#")} <= set(page.ids)
    assert page.tags.count("svg") == 1 + 1 + 6 + 3 + 3 + 2  # overview; calibration; quantities, of folds; classes; map
    wrong = pd.read_csv(whole_run / "predictions.csv").query("selection == 'last' and target != prediction")
    assert page.tags.count("img") == 4 * 2 * 3 + 3 * min(8, len(wrong))


def test_numbers_are_those_of_metrics(whole_run: Path, pages: dict[bool, str]) -> None:
    text = pages[False]
    assert "Synthetic data:" in text and "report.show_faces=true" in text
    assert "<img" not in text and "data:image/png" not in text  # no faces unless requested
    metrics = json.loads((whole_run / "metrics.json").read_text())
    for row in (*metrics["selections"].values(), metrics["floors"]["majority"], metrics["floors"]["chance"]):
        assert all(f"<td>{row[name]:.3f}" in text for name in ("accuracy", "uf1", "uar", "weighted_f1"))
    assert "{:.3f}–{:.3f}".format(*metrics["selections"]["last"]["ci95"]["uf1"]) in text
    for words in ("oracle, not comparable", "optimism gap", "synthetic_5c", "have no clips: 024, 036", "0123abc"):
        assert words in text
    assert "<code>python -m fdp_lightning +experiment=synthetic_loso seed=42</code>" in text


def test_names_are_escaped(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", subjects=3, clips=4, classes=['<b onload="x">&$x$', "other"])
    (run / "config.yaml").write_text("note: <script>alert(1)</script>\n")
    text = build_report(run, "<i>title</i>", True, False).read_text()
    Page(text)
    assert not [tag for tag in ("<b onload", "<script>", "<i>title") if tag in text]
    assert "&lt;b onload=&#34;x&#34;&gt;&amp;$x$" in text


def test_the_gallery_shows_the_same_clips_whatever_was_predicted(run: Path, pages: dict[bool, str]) -> None:
    images = re.findall(r'alt="Dynamic images[^"]*"', pages[True])
    frame, classes = read_predictions(run / "predictions.csv")
    wrong = frame.assign(prediction="others", **{f"prob_{name}": float(name == "others") for name in classes})
    write_run(run, protocol="synthetic_5c", table=wrong, classes=classes)
    assert re.findall(r'alt="Dynamic images[^"]*"', _text(run, show_faces=True)) == images != []


def test_damaged_and_pickled_outputs_are_not_read(run: Path) -> None:
    (run / "folds/002/outputs.npz").write_bytes(b"PK\x03\x04 cut off")
    path = run / "folds/003/outputs.npz"
    with np.load(path) as arrays:
        pickled = dict(arrays) | {"target": arrays["target"].astype(object)}
    np.savez(path, **pickled)  # loading it would execute what is in the file
    assert re.search(r"Could not be read: 002 \(.*\), 003 \(", _text(run))


def test_positions_of_frames_and_apex_and_kendalls_tau_equal_those_by_hand() -> None:
    frames = np.array([10, 20, 50])
    assert frame_positions(frames) == pytest.approx([0, 0.25, 1])
    assert frame_positions(np.array([5, 5, 5])) == pytest.approx([0, 0.5, 1])
    # SAMM 032_3_1 has its apex before the onset.
    assert [apex_position(frames, apex) for apex in (30.0, 3.0, float("nan"))] == [0.5, None, None]
    random = np.random.default_rng(0)
    for _ in range(20):
        scores = random.integers(0, 5, 8).astype(float)  # with ties
        assert kendall_tau(scores) == pytest.approx(kendalltau(np.arange(8), scores).statistic)


def test_each_dataset_of_a_composite_has_its_scores(tmp_path: Path) -> None:
    table = make_predictions().assign(dataset=lambda t: np.where(t["subject"] < "004", "smic", "samm"))
    section = _section(_text(write_run(tmp_path / "run", table=table)), "datasets")
    for name, part in summarise(table, CLASSES, "p", [])["datasets"].items():
        row = section[section.index(f">{name}<") :].partition("</tr>")[0]
        assert f"{part['n_clips']} clips, {part['n_subjects']} subjects" in row
        assert all(f"{part['selections'][selection]['uf1']:.3f}" in row for selection in ("last", "oracle"))


def test_a_class_without_clips_does_not_break_the_page(tmp_path: Path) -> None:
    Page(_text(make_run(tmp_path / "run", clips=len(CLASSES) - 1)))


def test_the_page_of_action_units_is_complete_and_has_the_numbers_of_metrics(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", table=make_unit_predictions(subjects=4, clips=6))
    text = _text(run, show_faces=True)
    single = ("calibration", "embedding")  # only for one label per clip
    assert [name for name in Page(text).ids if name in SECTIONS] == [name for name in SECTIONS if name not in single]
    found = json.loads((run / "metrics.json").read_text())
    scores = _section(text, "scores")
    for row in (*found["selections"].values(), *found["floors"].values()):
        assert all(f"<td>{row[name]:.3f}" in scores for name in ("accuracy", "mean_f1"))
    last = found["selections"]["last"]
    assert "{:.3f}–{:.3f}".format(*last["ci95"]["mean_f1"]) in scores
    assert not re.search(r"UF1|UAR|majority class", scores)
    for unit in UNITS:
        (tn, fp), (fn, tp) = last["confusion"][unit]
        counts = "".join(f"<td>{n}</td>" for n in (tp + fn, tp, fp, fn, tn))
        assert f'<th scope="row">{unit}</th>{counts}' in _section(text, "confusion")
        interval = "{:.3f}–{:.3f}".format(*last["ci95"]["f1"][unit])
        assert f"<td>{last['f1'][unit]:.3f}<small>{interval}</small></td>" in _section(text, "classes")


TRUE = "true_dynamic_image"


def gallery(run: Path, classes: list[str]) -> list[dict[str, Any]]:
    """Return the clips shown in the section of dynamic images."""
    shown: list[dict[str, Any]] = sections_shown(read_outputs(run), classes, show_faces=True)[1]["gallery"]
    return shown


def rewrite(run: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    for path in run.glob("folds/*/outputs.npz"):
        with np.load(path) as arrays:
            parts = dict(arrays)
        np.savez(path, **change(parts))


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


def test_the_table_of_image_quality_is_on_the_page_with_and_without_faces(
    whole_run: Path, pages: dict[bool, str]
) -> None:
    outputs = read_outputs(whole_run)
    table = quality_table(outputs, TRUE, qualities(outputs, TRUE))
    for show_faces, page in pages.items():
        text = _section(page, IMAGES)
        for row in table["rows"].values():
            numbers = f"{row['psnr']:.1f}", f"{row['ssim']:.3f}", f"{row['correlation']:.3f}".replace("-", "−")
            assert all(f"<td>{number}<small>" in text for number in numbers)
        assert "A note." in text and ("<img" in text) == show_faces


def test_each_image_is_shown_with_its_own_numbers(run: Path) -> None:
    outputs = read_outputs(run)
    values = qualities(outputs, TRUE)
    face = gallery(run, ["disgust"])[1]
    row = int(np.flatnonzero(outputs["target"] == "disgust")[1])
    assert face["clip"] == f"{outputs['subject'][row]} / {outputs['clip'][row]} @ {outputs['onset'][row]}"
    _, *others = face["images"]
    for image, key in zip(others, ("dynamic_image", "mean_training_image", "arp_of_input"), strict=True):
        assert all(image[score] == values[key][score][row] for score in ("psnr", "ssim", "correlation"))
        picture = outputs[key][outputs["fold"][row] if key == "mean_training_image" else row]
        assert np.abs(decoded(image["uri"]) / 255 - picture).max() <= 0.5 / 255 + 1e-6


def test_scalars_are_averaged_over_the_clips_that_have_them(run: Path) -> None:
    outputs = read_outputs(run)
    values = np.where(np.arange(len(outputs["clip"])) % 4 == 0, np.linspace(0, 0.9, len(outputs["clip"])), np.nan)
    extras = (Extra("brows", "scalar", "brows", "shares"),)
    (shown,) = sections_shown(
        replace(outputs, extras=extras, arrays={**outputs.arrays, "brows": values}), CLASSES, True
    )
    *of_class, everyone = shown["numbers"]["rows"]
    assert everyone["n"] == np.isfinite(values).sum() == sum(row["n"] for row in of_class)
    assert everyone["of"] == len(values) and everyone["means"][0]["mean"] == pytest.approx(np.nanmean(values))


def test_signed_images_of_all_folds_are_drawn_on_one_scale(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", image_rms=0.2)
    rewrite(run, lambda parts: parts | {"dynamic_image": np.full_like(parts["dynamic_image"], 0.5)})
    outputs = read_outputs(run)
    rms, folds = outputs["image_rms"], set()
    for face in gallery(run, CLASSES):
        row = outputs["clip"].tolist().index(face["clip"].split()[2])
        fold = outputs["fold"][row]
        folds.add(fold)
        true, constructed, *_ = (decoded(image["uri"]).astype(float) for image in face["images"])
        assert np.abs(constructed - 127.5).max() <= 0.5  # no motion is mid grey in every fold
        motion = (outputs["true_dynamic_image"][row] - 0.5) * rms[fold] / rms.mean()
        assert np.abs(true / 255 - (0.5 + motion).clip(0, 1)).max() <= 0.5 / 255 + 1e-6
    assert len(set(rms)) == 4 and len(folds) == 2


@pytest.mark.parametrize("colour", [False, True])
def test_mistakes_are_shown_with_their_own_probabilities_and_key_frames(tmp_path: Path, colour: bool) -> None:
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


def test_clips_of_two_datasets_with_one_name_are_told_apart(run: Path) -> None:
    def with_a_second_dataset(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        doubled = {k: np.concatenate([v, v]) if np.shape(v)[:1] == (5,) else v for k, v in parts.items()}
        doubled["dataset"] = np.array(["aaa", "synthetic"]).repeat(5)
        doubled["key_frames"][:5] = 0
        return doubled

    rewrite(run, with_a_second_dataset)
    kept = read_key_frames(run, "002", ("synthetic", "002", "002_3", 201))
    assert kept is not None and kept[0].any()
    assert gallery(run, ["disgust"])[0]["clip"] == "aaa / 001 / 001_2 @ 101"
