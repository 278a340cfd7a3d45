"""The page's pictures: which clips, whose frames, and what is said where an older run lacks them."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from random_runs import CLASSES, make_run

from fdp_lightning.evaluation.folds import read_key_frames, read_outputs
from fdp_lightning.evaluation.image_quality import qualities, quality_table
from fdp_lightning.evaluation.predictions import read_predictions, write_predictions
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.report_images import dynamic_images, mistakes_shown
from fdp_lightning.evaluation.summary import summarise, write_metrics


def section(run: Path, name: str, show_faces: bool = True) -> str:
    page = build_report(run, "A title", show_faces, False).read_text()
    return page.split(f'<section id="{name}"')[1].split("</section>")[0]


def rewrite(run: Path, change) -> None:
    for path in run.glob("folds/*/outputs.npz"):
        with np.load(path) as arrays:
            parts = dict(arrays)
        np.savez(path, **change(parts))


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))


def test_the_table_of_qualities_is_on_the_page_with_and_without_faces(run: Path) -> None:
    outputs, _ = read_outputs(run)
    table = quality_table(outputs, qualities(outputs))
    for show_faces in (True, False):
        text = section(run, "images", show_faces)
        for row in table["rows"]:
            low, high = row["psnr_ci95"]
            assert f"<td>{row['psnr']:.1f}<small>{low:.1f}–{high:.1f}</small></td>" in text
            assert f"<td>{row['ssim']:.3f}<small>" in text
            assert f"<td>{row['correlation']:.3f}<small>".replace("-", "−") in text
        assert f"For {table['nearer']} of 20 clips" in text
        assert "No feat of reconstruction" not in text and "∞" not in text
        assert ("<img" in text) == show_faces


def test_that_the_target_is_the_arp_of_the_input_is_said_plainly(tmp_path: Path) -> None:
    text = section(make_run(tmp_path / "run", exact=True), "images")
    assert "No feat of reconstruction" in text and "linear in the frames" in text
    assert "<td>∞<small></small></td><td>1.000<small></small></td>" in text
    assert "all clips: the true image itself" in text
    # the fourth picture of each figure would be the first again
    assert text.count("<img") == 3 * 2 * len(CLASSES) and "ARP of the input:" not in text


def test_figures_tell_their_own_clips_numbers(run: Path) -> None:
    outputs, _ = read_outputs(run)
    values = qualities(outputs)
    face = dynamic_images(outputs, ["disgust"], show_faces=True)["faces"][1]
    row = int(np.flatnonzero(outputs["target"] == "disgust")[1])
    assert face["clip"] == f"{outputs['subject'][row]} / {outputs['clip'][row]} @ {outputs['onset'][row]}"
    true, *others = face["images"]
    assert "psnr" not in true
    for image, key in zip(others, ("dynamic_image", "mean_training_image", "arp_of_input"), strict=True):
        assert image["correlation"] == values[key]["correlation"][row]
        assert image["psnr"] == values[key]["psnr"][row] and image["ssim"] == values[key]["ssim"][row]
        picture = outputs[key][outputs["fold"][row] if key == "mean_training_image" else row]
        assert np.abs(decoded(image["uri"]) / 255 - picture).max() <= 0.5 / 255 + 1e-6


def test_signed_images_of_all_folds_are_drawn_on_one_scale(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", image_rms=0.2)
    rewrite(run, lambda parts: parts | {"dynamic_image": np.full_like(parts["dynamic_image"], 0.5)})
    outputs, _ = read_outputs(run)
    images = dynamic_images(outputs, CLASSES, show_faces=True)
    assert images["signed"] and len(images["faces"]) == 2 * len(CLASSES)
    rms = outputs["image_rms"]
    assert len(set(rms)) == 4
    folds = []
    for face in images["faces"]:
        row = outputs["clip"].tolist().index(face["clip"].split()[2])
        folds.append(int(outputs["fold"][row]))
        true, constructed, *_ = (decoded(image["uri"]).astype(float) for image in face["images"])
        assert np.abs(constructed - 127.5).max() <= 0.5, "nothing moved is mid grey in every fold"
        motion = (outputs["true_dynamic_image"][row] - 0.5) * rms[folds[-1]] / rms.mean()
        assert np.abs(true / 255 - (0.5 + motion).clip(0, 1)).max() <= 0.5 / 255 + 1e-6
    assert len(set(folds)) == 2
    text = section(run, "images")
    assert "mid grey" in text and text.count("<tr>") == 1 + 4


def test_clips_of_several_labels_are_shown_once() -> None:
    target = np.array(["AU1+AU2", "AU2", "", "AU1+AU2", "AU12"])
    n = len(target)
    outputs = {name: np.array([f"{name}{i}" for i in range(n)]) for name in ("dataset", "subject", "clip", "onset")}
    outputs |= {name: np.zeros((n, 8, 8)) for name in ("true_dynamic_image", "dynamic_image")}
    faces = dynamic_images(outputs | {"target": target}, ["AU1", "AU2", "AU12"], True, multi_label=True)["faces"]
    assert [face["class"] for face in faces] == ["AU1+AU2", "AU1+AU2", "AU2", "AU12"]
    assert all(face["clip"].startswith("dataset") for face in faces)


@pytest.mark.parametrize("colour", [False, True])
def test_mistakes_have_their_own_clips_key_frames(tmp_path: Path, colour: bool) -> None:
    run = make_run(tmp_path / "run", colour=colour, skill=0.2)
    table, classes = read_predictions(run / "predictions.csv")
    last = table[table["selection"] == "last"]
    shown = mistakes_shown(run, last, classes, show_faces=True)
    assert len(shown) == 8
    for mistake in shown:
        (clip,) = last[last["clip"] == mistake["clip"].split()[2]].itertuples()
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
    assert {"first", "near the apex", "last"} == {f["name"] for m in shown for f in m["frames"]} - {"middle"}


def test_an_apex_outside_the_clip_is_none(run: Path) -> None:
    # SAMM 032_3_1 has its apex before the onset: the frame kept is the middle one.
    rewrite(run, lambda parts: parts | {"apex": parts["frames"][:, 0] - 3.0})
    table, classes = read_predictions(run / "predictions.csv")
    shown = mistakes_shown(run, table[table["selection"] == "last"], classes, show_faces=True)
    assert shown and all(mistake["frames"][1]["name"] == "middle" for mistake in shown)


def test_mistakes_without_faces_are_a_table_alone(run: Path) -> None:
    text = section(run, "mistakes", show_faces=False)
    table, _ = read_predictions(run / "predictions.csv")
    last = table[table["selection"] == "last"]
    assert text.count("<tr>") == 1 + min(8, int((last["target"] != last["prediction"]).sum()))
    assert "<img" not in text and "face images are off" in text
    assert section(run, "mistakes").count("<img") == 3 * (text.count("<tr>") - 1)


def test_of_several_labels_the_wrong_decision_is_named(run: Path) -> None:
    row = {"dataset": "d", "subject": "01", "clip": "c", "onset": 1, "fold": "01"}
    table = pd.DataFrame([row | {"target": "AU1+AU4", "prediction": "AU4", "prob_AU1": 0.1, "prob_AU4": 0.8}])
    (shown,) = mistakes_shown(run, table, ["AU1", "AU4"], show_faces=False, multi_label=True)
    assert shown["wrong"] == "AU1 absent" and shown["confidence"] == pytest.approx(0.9)


def test_no_mistake_is_said(run: Path) -> None:
    table, classes = read_predictions(run / "predictions.csv")
    write_predictions(run / "predictions.csv", table.assign(prediction=table["target"]), classes)
    write_metrics(run / "metrics.json", summarise(table.assign(prediction=table["target"]), classes, "p", []))
    assert "every clip is right" in section(run, "mistakes")


def test_clips_of_two_datasets_with_one_name_are_told_apart(run: Path) -> None:
    def other(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        doubled = {k: np.concatenate([v, v]) if len(v) == 5 else v for k, v in parts.items()}
        doubled["mean_training_image"] = parts["mean_training_image"]
        doubled["dataset"] = np.array(["aaa", "synthetic"]).repeat(5)
        doubled["key_frames"][:5] = 0
        return doubled

    rewrite(run, other)
    kept = read_key_frames(run, "002", ("synthetic", "002", "002_3", 201))
    assert kept is not None and kept[0].any()
    outputs, _ = read_outputs(run)
    assert outputs["dataset"].tolist() == (["aaa"] * 5 + ["synthetic"] * 5) * 4
    assert dynamic_images(outputs, ["disgust"], show_faces=True)["faces"][0]["clip"] == "aaa / 001 / 001_2 @ 101"


def test_an_older_run_has_a_page_that_says_what_it_lacks(run: Path) -> None:
    new = ("dataset", "arp_of_input", "mean_training_image", "key_frames", "key_frame_numbers")
    rewrite(run, lambda parts: {name: values for name, values in parts.items() if name not in new})
    text = section(run, "images")
    assert "outputs.npz lack arp_of_input and mean_training_image" in text
    assert text.count("<img") == 2 * 2 * 3 and "SSIM 0" not in text
    text = section(run, "mistakes")
    assert "key frames are not among the folds’ outputs" in text and "<img" not in text


def test_a_fold_that_was_not_kept_is_no_reason_to_fail(run: Path) -> None:
    (run / "folds/002/outputs.npz").write_bytes(b"PK\x03\x04 cut off")
    assert read_key_frames(run, "002", ("synthetic", "002", "002_3", 201)) is None
    text = section(run, "mistakes")
    assert 0 < text.count("<img") < 3 * (text.count("<tr>") - 1)


def test_seeds_and_caveats_stand_on_the_page_where_there_are_some(run: Path) -> None:
    assert 'id="seeds"' not in (plain := build_report(run, "A title", False, False).read_text())
    assert 'class="caveats"' not in plain
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"caveats": ["Two <b>subjects</b> are one person."]}))
    scores = {"uf1": {"mean": 0.4567, "sd": 0.0123}, "mean_f1": {"mean": 0.3, "sd": 0.0}}
    seeds = {
        "seeds": [0, 1, 7],
        "selections": {"last": scores, "oracle": scores},
        "left_out": {"seed-3": "not finished"},
    }
    page = build_report(run, "A title", False, False, seeds=seeds).read_text()
    assert "Two &lt;b&gt;subjects&lt;/b&gt; are one person." in page
    text = page.split('<section id="seeds"')[1].split("</section>")[0]
    assert "Left out: seed-3, not finished." in text
    assert "seeds 0, 1, 7" in text and "0.457<small>± 0.012" in text and "oracle, not comparable" in text
    assert re.findall(r'<th scope="col">([^<]*)', text) == ["Selection", "UF1", "mean_f1"]
    assert 'href="#seeds"' in page
