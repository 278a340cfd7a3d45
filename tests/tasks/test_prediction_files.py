"""What task=predict writes of a prediction, without a model."""

import csv
import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image, ImageChops

from fdp_lightning.inference.overlay import overlay
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.result_files import predictions_table
from tests.tasks.demo_model import CLASSES, answer, film, frames_of
from tests.tasks.prediction_schema import SCHEMA, problems


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return answer(frames_of(film()), "clip")


def frames_in(animation: bytes) -> list[Image.Image]:
    with Image.open(io.BytesIO(animation)) as image:
        return [(image.seek(i), image.convert("RGB"))[1] for i in range(image.n_frames)]  # type: ignore[attr-defined]


def test_an_overlay_shows_every_moment_with_its_own_cursor(prediction: Prediction) -> None:
    made = overlay(prediction, "a model", synthetic=True)
    assert made == overlay(prediction, "a model", synthetic=True)
    frames = frames_in(made)
    assert len(frames) == len(prediction.frames)
    half = frames[0].width // 2
    for one, other in pairwise(frames):
        _, top, right, bottom = ImageChops.difference(one, other).point(lambda v: 255 * (v > 40)).getbbox()
        assert right > half  # the cursor has moved
        assert bottom < 0.85 * one.height and top > 0.05 * one.height  # heading and footnotes have not


def test_a_heat_map_colours_the_face_where_it_is_high_and_nothing_else(prediction: Prediction) -> None:
    heat = np.zeros((8, 8))
    heat[:4, :4] = 1
    cold, warm = (frames_in(overlay(prediction, "m", False, given))[3] for given in (heat * 0, heat))
    changed = np.asarray(ImageChops.difference(cold, warm)).max(-1) > 60
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 1000
    assert columns.max() < cold.width * 0.3 and rows.max() < cold.height * 0.5


@pytest.mark.parametrize("heat", [np.zeros((2, 4, 4)), np.full((4, 4), 2.0), np.full((4, 4), np.nan)])
def test_what_is_no_heat_map_is_refused(prediction: Prediction, heat: np.ndarray) -> None:
    with pytest.raises(ValueError, match="heat map"):
        overlay(prediction, "m", False, heat)


def test_a_recogniser_without_a_curve_has_an_overlay_too(prediction: Prediction) -> None:
    bare = replace(prediction, extras={}, declared=(), label="")
    assert len(frames_in(overlay(replace(bare, frames=np.stack([bare.frames] * 3, -1)), "m", False))) == 8


def test_the_table_has_a_row_for_each_clip_and_each_failure(prediction: Prediction) -> None:
    clip = prediction.facts()
    scan = {"clip": "long", "scan": "…", "length": 90, "most_motion": clip, "warnings": ["one", "two"]}
    unknown = {**clip, "clip": "frames, of 'a' folder", "seconds": None}
    facts = {
        "model": {"classes": CLASSES},
        "clips": [clip, scan, unknown],
        "failed": [{"clip": "bad", "error": "no\nface"}],
    }
    rows = list(csv.DictReader(io.StringIO(predictions_table(facts))))
    assert [row["clip"] for row in rows] == ["clip", "long", "frames, of 'a' folder", "bad"]
    assert [row["kind"] for row in rows] == ["clip", "scan", "clip", "failed"]
    assert sum(float(rows[0][f"prob_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    assert (rows[1]["frames"], rows[1]["class"], rows[1]["warnings"]) == ("90", clip["class"], "one two")
    assert (rows[2]["start_s"], rows[2]["end_s"]) == ("", "")
    assert rows[3]["error"] == "no\nface" and rows[3]["class"] == ""


def test_the_schema_is_one_and_refuses_what_is_not_documented(prediction: Prediction) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    about = {"name": "m", "synthetic": True, "classes": CLASSES, "multi_label": False, "training": {}, "scores": None,
             "sha256": "0" * 64}  # fmt: skip
    made = {"command": "c", "git_revision": "g", "fdp-lightning": "0"}
    facts = {
        "input": "i",
        "model": about,
        "notice": "n",
        "clips": [prediction.facts()],
        "failed": [],
        "made_with": made,
    }
    assert problems(facts) == []
    assert problems({**facts, "clips": []})
    assert problems({**facts, "clips": [{**prediction.facts(), "new": 1}]})
    assert problems({**facts, "clips": [{**prediction.facts(), "motion": "0.1"}]})
