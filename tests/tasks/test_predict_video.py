"""Unusual, invalid and long input videos: predicted with a warning, rejected with a message, or scanned in windows."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from fdp_lightning.config import configuration
from fdp_lightning.data.input_video.source import Frame
from fdp_lightning.data.synthetic.film import draw_clip, draw_film, write_film
from fdp_lightning.errors import UserError
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.scan import NOTICE, Scan, ScanSettings
from fdp_lightning.tasks.predict import predict
from tests.command import Run
from tests.tasks.conftest import problems


@pytest.fixture(scope="module")
def drawn() -> list[np.ndarray]:
    """BGR images."""
    return draw_clip("surprise").images


def folder_of(folder: Path, pictures: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures, start=1):
        cv2.imwrite(str(folder / f"img{number}.png"), picture)
    return folder


def test_a_video_on_its_side_is_predicted_upright(model: Model, drawn: list[np.ndarray], tmp_path: Path) -> None:
    expected = model.predict(folder_of(tmp_path / "upright", drawn))
    assert (expected.warnings, expected.facts()["face"]["turned"]) == ([], 0)
    for turn in (1, 2, 3):
        got = model.predict(folder_of(tmp_path / str(turn), [np.rot90(picture, -turn).copy() for picture in drawn]))
        assert got.probabilities == pytest.approx(expected.probabilities, abs=0.05)
        assert np.abs(got.frames.astype(float) - expected.frames).mean() < 1
        assert got.facts()["face"]["turned"] == 90 * turn
        assert len(got.warnings) == 1 and f"{90 * turn}°" in got.warnings[0]


def test_a_scan_of_it_says_so_too(model: Model, drawn: list[np.ndarray], tmp_path: Path) -> None:
    lying = [cv2.transpose(picture)[:, ::-1] for picture in drawn]  # as ffmpeg -vf transpose=1
    write_film(tmp_path / "a.mp4", [lying[0]] * 60, 60)
    scan = model.scan(tmp_path / "a.mp4", windows=ScanSettings(step=0.5))
    assert len(scan.windows) == 2 and all(window.label for window in scan.windows)
    assert len(scan.warnings) == 1 and "90°" in scan.warnings[0]
    assert scan.strongest.face.turned == 1


def test_a_rate_that_is_given_holds_for_a_video(model: Model, drawn: list[np.ndarray], tmp_path: Path) -> None:
    # Three seconds at the file's rate are a single clip at the camera's rate.
    write_film(tmp_path / "slow.mp4", [drawn[0]] * 75, 25)
    looked = model.look(tmp_path / "slow.mp4", fps=200)
    assert looked.facts()["length"] == 75 and "scan" not in looked.facts()
    np.testing.assert_allclose(looked.seconds, looked.frame_numbers / 200)
    assert any("predict.fps=200" in words for words in looked.warnings)


def test_results_of_another_model_or_input_are_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_film(tmp_path / "clip.mp4", "surprise")
    predict(configuration("predict.input=clip.mp4"))
    result = tmp_path / "predictions" / "clip" / "predict.json"
    first = json.loads(result.read_text())
    predict(configuration("predict.input=clip.mp4"))  # repeating the same prediction is allowed
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "clip.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes())
    with pytest.raises(UserError, match=r"predict\.output"):
        predict(configuration("predict.input=other/clip.mp4"))
    others = [{**first, "model": {**first["model"], **own}} for own in ({"sha256": "0" * 64}, {"name": "another"})]
    for content in (*map(json.dumps, others), "{"):
        result.write_text(content)
        with pytest.raises(UserError, match=r"predict\.output"):
            predict(configuration("predict.input=clip.mp4"))
        assert result.read_text() == content
    predict(configuration("predict.input=clip.mp4", "predict.output=elsewhere"))
    assert (tmp_path / "elsewhere" / "predict.json").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(UserError, match="holds no results"):
        predict(configuration("predict.input=clip.mp4", "predict.output=mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


MISTAKES = {
    "input=text.mp4": "cannot be read as a video", "input=grey.mp4": "no face in any of its 12 frames",
    "input=one.mp4": "is a single image", "input=null": "predict.input is missing", "step=2": "leaves gaps",
    "window=-1": "predict.window is -1", "checkpoint=nowhere": "there is no such file",
}  # fmt: skip
"""Option of predict → message; tests/data/test_input_video.py covers other invalid inputs."""


def test_what_cannot_be_predicted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 100)
    write_film(tmp_path / "grey.mp4", [np.full((120, 160, 3), 90 + n, np.uint8) for n in range(12)])
    write_film(tmp_path / "one.mp4", draw_clip("surprise").images[:1])
    before = sorted(tmp_path.rglob("*"))
    for option, words in MISTAKES.items():
        with pytest.raises(UserError) as caught:
            predict(configuration("task=predict", "predict.input=text.mp4", f"predict.{option}"))
        assert words in str(caught.value), option
        assert sorted(tmp_path.rglob("*")) == before, "something is left of it"


LOOK = r"""
import pathlib, re, sys
from fdp_lightning import load_model
from fdp_lightning.inference.scan import ScanSettings
model = load_model()
for path in sys.argv[1:]:
    scan = model.look(path, windows=ScanSettings(step=0.5))
    # Not ru_maxrss: in a child that starts at its parent's peak.
    peak = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1]) // 1024
    print(len(scan.windows), peak)
"""
"""Script that prints the number of windows of each video and the peak memory after it in MB."""


@pytest.mark.slow  # a hundred windows in a separate process
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    pictures = [cv2.resize(picture, (160, 120)) for picture in draw_clip("surprise").images]
    write_film(tmp_path / "short.mp4", (pictures[n % len(pictures)] for n in range(1000)), 60)  # one batch of windows
    write_film(tmp_path / "long.mp4", (pictures[n % len(pictures)] for n in range(3000)), 60)
    look = [sys.executable, "-c", LOOK, tmp_path / "short.mp4", tmp_path / "long.mp4"]
    done = subprocess.run(look, capture_output=True, text=True, check=True)
    (_, short), (windows, long) = [map(int, line.split()) for line in done.stdout.splitlines()[-2:]]
    assert windows == 100
    assert long - short < 40  # the frames of the long video take 170 MB


@pytest.fixture(scope="module")
def moving(drawn: list[np.ndarray]) -> list[np.ndarray]:
    """RGB images."""
    return [np.ascontiguousarray(picture[..., ::-1]) for picture in drawn]


@pytest.fixture(scope="module")
def still(moving: list[np.ndarray]) -> np.ndarray:
    return moving[0]


class Pictures:
    """InputVideo from images, at given times or at a rate."""

    def __init__(self, pictures: list[np.ndarray], times: float | list[float] | None) -> None:
        self.name, self.warnings, self.pictures, self.read = "made", [], pictures, 0
        at_rate = [n / times for n in range(len(pictures))] if isinstance(times, (int, float)) else times
        self.seconds = at_rate or [None] * len(pictures)

    def frames(self) -> Iterator[Frame]:
        for number, (picture, second) in enumerate(zip(self.pictures, self.seconds, strict=True)):
            yield Frame(number, second, lambda picture=picture: self._read(picture))

    def _read(self, picture: np.ndarray) -> np.ndarray:
        self.read += 1
        return picture


def test_windows_are_of_their_length_and_step(model: Model, still: np.ndarray) -> None:
    made = Pictures([still] * 100, 40)  # 2.5 s
    scan = model.scan(made)
    assert [window.start for window in scan.windows] == pytest.approx([0.25 * n for n in range(9)])
    assert [window.first for window in scan.windows] == [10 * n for n in range(9)]
    assert [window.last for window in scan.windows] == [10 * n + 19 for n in range(9)]  # up to the end
    assert made.read == 100  # each image is converted once, although windows overlap
    assert (scan.length, scan.seconds) == (100, 99 / 40)
    longer = model.scan(Pictures([still] * 100, 40), windows=ScanSettings(1.0, 0.5))
    assert [(window.first, window.last) for window in longer.windows] == [(0, 39), (20, 59), (40, 79), (60, 99)]


def test_a_window_is_predicted_as_a_clip_of_it_is(model: Model, still: np.ndarray, moving: list[np.ndarray]) -> None:
    pictures = [still] * 30 + moving + [moving[-1]] * 30
    scan = model.scan(Pictures(pictures, 60))
    (window,) = (window for window in scan.windows if window.first == 30)
    alone = model.predict(Pictures(pictures[30:60], 60))
    assert window.label == alone.label == "surprise"
    assert window.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert window.motion == pytest.approx(alone.motion, abs=1e-6)
    moved = [window.motion for window in scan.windows]
    assert scan.windows[int(np.argmax(moved))].first in (15, 30, 45)  # where there is motion
    assert moved[0] < 0.3 * max(moved)
    best, shown = max(scan.windows, key=lambda one: one.motion), scan.strongest
    expected = (best.motion, best.probabilities, best.first)
    assert (shown.motion, shown.probabilities, shown.frame_numbers[0]) == expected


def test_a_gap_in_time_and_windows_without_a_face(model: Model, still: np.ndarray) -> None:
    dark = np.zeros_like(still)
    pictures, seconds = [still] * 30 + [dark] * 30 + [still] * 30, [n / 30 for n in range(90)]
    seconds = [second if n < 60 else second + 5 for n, second in enumerate(seconds)]
    scan = model.scan(Pictures(pictures, seconds))
    assert all(earlier.start < later.start for earlier, later in zip(scan.windows, scan.windows[1:], strict=False))
    assert [window.label is None for window in scan.windows if 1 <= window.start < 2] == [True] * 4
    assert {window.label is None for window in scan.windows if window.start < 1 or window.start > 3} == {False}
    assert all(window.end - window.start < 0.5 for window in scan.windows)
    assert all(window.face is None and window.probabilities is None for window in scan.windows if window.label is None)
    # If a pause follows the first frame of a window, the window has no other frames.
    seconds = [n / 30 if n <= 15 else n / 30 + 5 for n in range(46)]
    scan = model.scan(Pictures([still] * 46, seconds))
    assert 0.5 not in [window.start for window in scan.windows]
    assert {0.0, 0.27} < {round(window.start, 2) for window in scan.windows}
    for words, video in {
        "one frame each": Pictures([still] * 5, [0.0, 1, 2, 3, 4]), "no face": Pictures([dark] * 60, 30),
        "less than one window": Pictures([still] * 10, 30), r"predict\.fps": Pictures([still] * 3, None),
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=words):
            model.scan(video)


def test_what_is_looked_at_as_a_clip_and_what_is_scanned(model: Model, still: np.ndarray) -> None:
    assert isinstance(model.look(Pictures([still] * 60, 30)), Prediction)
    assert isinstance(model.look(Pictures([still] * 63, 30)), Scan)
    short = ScanSettings(longest_clip=1.0)
    assert isinstance(model.look(Pictures([still] * 60, 30), windows=short), Scan)
    clip = model.look(Pictures([still] * 400, None))
    assert isinstance(clip, Prediction) and clip.warnings == []


def test_the_command_on_a_long_video(tmp_path: Path, run_cli: Run, drawn: list[np.ndarray]) -> None:
    pictures = [*[drawn[0]] * 45, *drawn, *drawn[::-1], *[drawn[0]] * 45]
    write_film(tmp_path / "long.mp4", [*pictures, *[np.zeros_like(pictures[0])] * 30], 60)
    run_cli("task=predict", "predict.input=long.mp4", code=0)
    output = tmp_path / "predictions" / "long"
    written = json.loads((output / "predict.json").read_text())
    assert problems(written) == []
    (facts,) = written["clips"]
    assert facts["scan"] == NOTICE
    with (output / "long" / "timeline.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == facts["windows"]
    assert [float(row["start_s"]) for row in rows] == pytest.approx([0.25 * n for n in range(len(rows))], abs=0.02)
    faceless = [row for row in rows if not row["class"]]
    assert len(faceless) == facts["windows_without_face"] == 1
    for row in rows[:-1]:
        probabilities = {name: float(value) for name, value in row.items() if name.startswith("prob_")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert "prob_" + row["class"] == max(probabilities, key=probabilities.get)  # type: ignore[arg-type]
    for name in ("timeline.png", "overview.png", "true_dynamic_image.png", "dynamic_image.png"):
        assert cv2.imread(str(output / "long" / name)) is not None
