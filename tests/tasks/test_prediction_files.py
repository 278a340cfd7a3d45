"""What task=predict and the demo show of a prediction, without a model."""

import csv
import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image, ImageChops

from fdp_lightning.errors import UserError
from fdp_lightning.inference.figures import overlay
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.result_files import RESULT, predictions_table, result_folder
from fdp_lightning.tasks.predict import show_results
from tests.tasks.conftest import SCHEMA, problems
from tests.tasks.demo_model import CLASSES, answer, film, frames_of


@pytest.fixture(scope="module")
def prediction() -> Prediction:
    return answer(frames_of(film()), "clip")


def frames_in(animation: bytes) -> list[Image.Image]:
    with Image.open(io.BytesIO(animation)) as image:
        return [(image.seek(i), image.convert("RGB"))[1] for i in range(image.n_frames)]  # type: ignore[attr-defined]


def test_only_the_cursor_moves_between_frames_of_an_overlay(prediction: Prediction) -> None:
    made = overlay(prediction, "a model", synthetic=True)
    assert made == overlay(prediction, "a model", synthetic=True)
    frames = frames_in(made)
    assert len(frames) == len(prediction.frames)
    half = frames[0].width // 2
    for one, other in pairwise(frames):
        _, top, right, bottom = ImageChops.difference(one, other).point(lambda v: 255 * (v > 40)).getbbox()
        assert right > half  # the cursor has moved
        assert bottom < 0.85 * one.height and top > 0.05 * one.height  # heading and footnotes have not moved


def test_a_heat_map_colours_only_the_face_where_it_is_high(prediction: Prediction) -> None:
    heat = np.zeros((8, 8))
    heat[:4, :4] = 1
    cold, warm = (frames_in(overlay(prediction, "m", False, given))[3] for given in (heat * 0, heat))
    changed = np.asarray(ImageChops.difference(cold, warm)).max(-1) > 60
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 1000
    assert columns.max() < cold.width * 0.3 and rows.max() < cold.height * 0.5


def test_an_overlay_needs_no_curve(prediction: Prediction) -> None:
    bare = replace(prediction, extras={}, declared=(), label="", frames=np.stack([prediction.frames] * 3, -1))
    assert len(frames_in(overlay(bare, "m", False))) == 8


def test_the_table_has_a_row_for_each_clip_and_failure(prediction: Prediction) -> None:
    clip = prediction.facts()
    scan = {"clip": "long", "scan": "…", "length": 90, "most_motion": clip, "warnings": ["one", "two"]}
    unknown = {**clip, "clip": "frames, of 'a' folder", "seconds": None}
    failed = [{"clip": "bad", "error": "no\nface"}]
    facts = {"model": {"classes": CLASSES}, "clips": [clip, scan, unknown], "failed": failed}
    rows = list(csv.DictReader(io.StringIO(predictions_table(facts))))
    assert [row["clip"] for row in rows] == ["clip", "long", "frames, of 'a' folder", "bad"]
    assert [row["kind"] for row in rows] == ["clip", "scan", "clip", "failed"]
    assert sum(float(rows[0][f"prob_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    assert (rows[1]["frames"], rows[1]["class"], rows[1]["warnings"]) == ("90", clip["class"], "one two")
    assert (rows[2]["start_s"], rows[2]["end_s"]) == ("", "")
    assert rows[3]["error"] == "no\nface" and rows[3]["class"] == ""


def test_the_schema_is_valid_and_rejects_unknown_fields(prediction: Prediction) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    clip = prediction.facts()
    facts = {
        "input": "i", "notice": "n", "failed": [],
        "made_with": {"command": "c", "git_revision": "g", "fdp-lightning": "0"},
        "model": {"name": "m", "synthetic": True, "classes": CLASSES, "multi_label": False, "training": {},
                  "scores": None, "sha256": "0" * 64},
    }  # fmt: skip
    assert problems({**facts, "clips": [clip]}) == []
    for clips in ([], [{**clip, "new": 1}], [{**clip, "motion": "0.1"}]):
        assert problems({**facts, "clips": clips})


def result(model: str, content: str) -> str:
    return json.dumps({"input": "clip.mp4", "model": {"name": model, "sha256": "0"}, "content": content})


def write(out: Path, content: str, meanwhile: str = "") -> None:
    """Write a result of model m while another command may write one of model `meanwhile`."""
    with result_folder(out, "clip.mp4", {"name": "m", "sha256": "0"}) as folder:
        (folder / RESULT).write_text(result("m", content))
        if meanwhile:
            out.mkdir()
            (out / RESULT).write_text(result(meanwhile, "of the other command"))


def test_results_follow_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    for content in ("first", "second"):
        write(tmp_path / "out", content)
        assert (tmp_path / "disk" / RESULT).read_text() == result("m", content)
    assert (tmp_path / "out").is_symlink()


def test_a_concurrent_result_is_replaced_only_if_of_the_same_model(tmp_path: Path) -> None:
    write(tmp_path / "a", "mine", meanwhile="m")
    assert (tmp_path / "a" / RESULT).read_text() == result("m", "mine")
    with pytest.raises(UserError, match="other"):
        write(tmp_path / "b", "mine", meanwhile="other")
    assert (tmp_path / "b" / RESULT).read_text() == result("other", "of the other command")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_brackets_in_names_are_no_markup(prediction: Prediction, capsys: pytest.CaptureFixture[str]) -> None:
    show_results([{**prediction.facts(), "clip": "[take] 1", "class": "[red]x"}], "a [bold] model")
    said = capsys.readouterr().out
    assert all(name in said for name in ("[take] 1", "[red]x", "a [bold] model"))
