"""Output of task=predict and the demo for a prediction, without a model."""

import asyncio
import csv
import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import AsyncMock

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image, ImageChops
from rich.console import Console
from starlette.responses import PlainTextResponse

from fdp_lightning.console.progress import Meter, new_progress
from fdp_lightning.errors import UserError
from fdp_lightning.inference.demo.app import Guard
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


def test_an_overlay_shows_every_moment_with_its_own_cursor(prediction: Prediction) -> None:
    made = overlay(prediction, "a model", synthetic=True)
    assert made == overlay(prediction, "a model", synthetic=True)
    frames = frames_in(made)
    assert len(frames) == len(prediction.frames)
    half = frames[0].width // 2
    for one, other in pairwise(frames):
        _, top, right, bottom = ImageChops.difference(one, other).point(lambda v: 255 * (v > 40)).getbbox()
        assert right > half  # the cursor has moved
        assert bottom < 0.85 * one.height and top > 0.05 * one.height  # heading and footnotes have not moved


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
    failed = [{"clip": "bad", "error": "no\nface"}]
    facts = {"model": {"classes": CLASSES}, "clips": [clip, scan, unknown], "failed": failed}
    rows = list(csv.DictReader(io.StringIO(predictions_table(facts))))
    assert [row["clip"] for row in rows] == ["clip", "long", "frames, of 'a' folder", "bad"]
    assert [row["kind"] for row in rows] == ["clip", "scan", "clip", "failed"]
    assert sum(float(rows[0][f"prob_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-5)
    assert (rows[1]["frames"], rows[1]["class"], rows[1]["warnings"]) == ("90", clip["class"], "one two")
    assert (rows[2]["start_s"], rows[2]["end_s"]) == ("", "")
    assert rows[3]["error"] == "no\nface" and rows[3]["class"] == ""


def test_the_schema_is_one_and_refuses_what_is_not_documented(prediction: Prediction) -> None:
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
    """Write a result of model m, optionally while another command writes one of another model."""
    with result_folder(out, "clip.mp4", {"name": "m", "sha256": "0"}) as folder:
        (folder / RESULT).write_text(result("m", content))
        if meanwhile:
            out.mkdir()
            (out / RESULT).write_text(result(meanwhile, "of the other command"))


def test_results_go_to_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    for content in ("first", "second"):
        write(tmp_path / "out", content)
        assert (tmp_path / "disk" / RESULT).read_text() == result("m", content)
    assert (tmp_path / "out").is_symlink()


def test_a_result_written_meanwhile_is_replaced_if_it_is_of_the_same_model(tmp_path: Path) -> None:
    write(tmp_path / "a", "mine", meanwhile="m")
    assert (tmp_path / "a" / RESULT).read_text() == result("m", "mine")
    with pytest.raises(UserError, match="another model, other"):
        write(tmp_path / "b", "mine", meanwhile="other")
    assert (tmp_path / "b" / RESULT).read_text() == result("other", "of the other command")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_brackets_in_names_are_shown_as_they_are(prediction: Prediction, capsys: pytest.CaptureFixture[str]) -> None:
    clip = {**prediction.facts(), "clip": "[take] 1", "class": "[red]x"}
    show_results([clip], "a [bold] model")
    said = capsys.readouterr().out
    assert all(name in said for name in ("[take] 1", "[red]x", "a [bold] model"))
    shown = io.StringIO()
    with new_progress(Console(file=shown, force_terminal=True, width=120)) as progress:
        Meter("[/red] clip", "[b] clips", progress)(1, 2)
    assert "[/red] clip" in shown.getvalue() and "[b] clips" in shown.getvalue()


@pytest.mark.parametrize(
    ("port", "headers", "status"),
    [
        (80, {"host": "127.0.0.1", "origin": "http://127.0.0.1"}, 200), (8765, {"host": "127.0.0.1"}, 403),
        (80, {"host": "localhost", "origin": "http://evil.example"}, 403),
    ],
)  # fmt: skip
def test_browsers_leave_out_the_usual_port(port: int, headers: dict[str, str], status: int) -> None:
    send = AsyncMock()
    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "server": ("127.0.0.1", port), "headers": named}
    asyncio.run(Guard(PlainTextResponse("answered"), "policy")(scope, None, send))
    assert send.await_args_list[0].args[0]["status"] == status
