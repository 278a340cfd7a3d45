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
from fdp_lightning.data.synthetic.film import draw_clip, write_film
from fdp_lightning.errors import UserError
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.result_files import RESULT, result_folder
from fdp_lightning.inference.scan import NOTICE, Scan, ScanSettings
from fdp_lightning.tasks.predict import predict
from tests.command import Run
from tests.tasks.conftest import problems


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """RGB images."""
    return [np.ascontiguousarray(image[..., ::-1]) for image in draw_clip("surprise").images]


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_turned_video_is_predicted_upright(turn: int, model: Model, images: list[np.ndarray]) -> None:
    expected, turned = model.predict(ImageVideo(images, 60)), [np.rot90(image, -turn) for image in images]
    found = model.predict(ImageVideo(turned, 60))
    assert found.probabilities == pytest.approx(expected.probabilities, abs=0.05)
    assert np.abs(found.frames.astype(float) - expected.frames).mean() < 1
    scan = model.scan(ImageVideo([turned[0]] * 60, 60), windows=ScanSettings(step=0.5))
    assert found.face.turned == scan.strongest.face.turned == turn
    for warnings in (found.warnings, scan.warnings):
        assert len(warnings) == (turn > 0) and all(f"{90 * turn}°" in warning for warning in warnings)


def test_results_of_another_model_or_input_are_not_replaced(tmp_path: Path) -> None:
    def write(name: str = "clip.mp4", **model: str) -> None:
        about = {"name": "a model", "sha256": "0"} | model
        with result_folder(tmp_path / "out", name, about) as folder:
            (folder / RESULT).write_text(json.dumps({"input": name, "model": about}))

    write()
    write()  # repeating the same prediction is allowed
    result = tmp_path / "out" / RESULT
    first = result.read_text()
    refused = [(first, {"name": "b.mp4"}, "input, clip.mp4"), (first, {"sha256": "1"}, "SHA-256 0"), ("{", {}, RESULT)]
    for content, other, difference in refused:
        result.write_text(content)
        with pytest.raises(UserError, match=rf"{difference}.*predict\.output"):
            write(**other)
        assert result.read_text() == content
    result.rename(tmp_path / "out" / "notes.txt")
    with pytest.raises(UserError, match="holds no results"):
        write()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_refused_input_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 100)
    write_film(tmp_path / "grey.mp4", [np.full((120, 160, 3), 90 + n, np.uint8) for n in range(12)])
    before = sorted(tmp_path.rglob("*"))
    for option, word in {"input=text.mp4": "cannot be read", "input=grey.mp4": "no face", "step=2": "gaps"}.items():
        with pytest.raises(UserError, match=word):
            predict(configuration("task=predict", "predict.input=text.mp4", f"predict.{option}"))
        assert sorted(tmp_path.rglob("*")) == before


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
def test_memory_of_a_scan_does_not_grow_with_the_length_of_the_video(tmp_path: Path) -> None:
    images = [cv2.resize(image, (160, 120)) for image in draw_clip("surprise").images]
    paths = [tmp_path / "short.mp4", tmp_path / "long.mp4"]
    for path, length in zip(paths, (1000, 3000), strict=True):  # the short one fills one batch of windows
        write_film(path, (images[n % len(images)] for n in range(length)), 60)
    done = subprocess.run([sys.executable, "-c", LOOK, *paths], capture_output=True, text=True, check=True)
    (_, short), (windows, long) = [map(int, line.split()) for line in done.stdout.splitlines()[-2:]]
    assert windows == 100
    assert long - short < 40  # the frames of the long video take 170 MB


class ImageVideo:
    """InputVideo from images, at given times or at a rate."""

    def __init__(self, images: list[np.ndarray], times: float | list[float] | None) -> None:
        self.name, self.warnings, self.images, self.read = "made", [], images, 0
        at_rate = [n / times for n in range(len(images))] if isinstance(times, (int, float)) else times
        self.seconds = at_rate or [None] * len(images)

    def frames(self) -> Iterator[Frame]:
        for number, (image, second) in enumerate(zip(self.images, self.seconds, strict=True)):
            yield Frame(number, second, lambda image=image: self._read(image))

    def _read(self, image: np.ndarray) -> np.ndarray:
        self.read += 1
        return image


def test_windows_have_the_given_length_and_step(model: Model, images: list[np.ndarray]) -> None:
    still = [images[0]] * 100
    video = ImageVideo(still, 40)  # 2.5 s
    scan = model.scan(video)
    assert [window.start for window in scan.windows] == pytest.approx([0.25 * n for n in range(9)])
    # The last window reaches the end of the video.
    assert [(window.first, window.last) for window in scan.windows] == [(10 * n, 10 * n + 19) for n in range(9)]
    assert video.read == 100  # each image is converted once, although windows overlap
    assert (scan.length, scan.seconds) == (100, 99 / 40)
    longer = model.scan(ImageVideo(still, 40), windows=ScanSettings(1.0, 0.5))
    assert [(window.first, window.last) for window in longer.windows] == [(0, 39), (20, 59), (40, 79), (60, 99)]


def test_a_window_is_predicted_like_a_clip(model: Model, images: list[np.ndarray]) -> None:
    longer = [images[0]] * 30 + images + [images[-1]] * 30
    scan = model.scan(ImageVideo(longer, 60))
    (window,) = (window for window in scan.windows if window.first == 30)
    alone = model.predict(ImageVideo(longer[30:60], 60))
    assert window.label == alone.label == "surprise"
    assert window.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert window.motion == pytest.approx(alone.motion, abs=1e-6)
    best, shown = max(scan.windows, key=lambda one: one.motion), scan.strongest
    assert best.first in (15, 30, 45)  # where there is motion
    assert scan.windows[0].motion < 0.3 * best.motion
    expected = (best.motion, best.probabilities, best.first)
    assert (shown.motion, shown.probabilities, shown.frame_numbers[0]) == expected


def test_a_scan_leaves_out_pauses_and_marks_windows_without_a_face(model: Model, images: list[np.ndarray]) -> None:
    still, dark = images[0], np.zeros_like(images[0])
    seconds = [n / 30 + 5 * (n >= 60) for n in range(90)]
    windows = model.scan(ImageVideo([still] * 30 + [dark] * 30 + [still] * 30, seconds)).windows
    starts = [window.start for window in windows]
    assert starts == sorted(set(starts)) and all(window.end - window.start < 0.5 for window in windows)
    faceless = [window for window in windows if window.label is None]
    assert faceless == [window for window in windows if 1 <= window.start < 2] and len(faceless) == 4
    assert all(window.face is None and window.probabilities is None for window in faceless)
    # If a pause follows the first frame of a window, the window has no other frames.
    seconds = [n / 30 if n <= 15 else n / 30 + 5 for n in range(46)]
    starts = [window.start for window in model.scan(ImageVideo([still] * 46, seconds)).windows]
    assert 0.5 not in starts and {0.0, 0.27} < {round(start, 2) for start in starts}
    for word, video in {
        "two frames": ImageVideo([still] * 5, [0.0, 1, 2, 3, 4]), "no face": ImageVideo([dark] * 60, 30),
        "0.30 s": ImageVideo([still] * 10, 30), r"predict\.fps": ImageVideo([still] * 3, None),
    }.items():  # fmt: skip
        with pytest.raises(UserError, match=word):
            model.scan(video)


def test_an_input_longer_than_a_clip_is_scanned(model: Model, images: list[np.ndarray]) -> None:
    two, longer = ImageVideo([images[0]] * 60, 30), ImageVideo([images[0]] * 63, 30)
    assert isinstance(model.look(two), Prediction) and isinstance(model.look(longer), Scan)
    assert isinstance(model.look(two, windows=ScanSettings(longest_clip=1.0)), Scan)
    clip = model.look(ImageVideo([images[0]] * 400, None))
    assert isinstance(clip, Prediction) and clip.warnings == []


def test_the_command_writes_a_timeline_of_a_long_video(tmp_path: Path, run_cli: Run) -> None:
    drawn = draw_clip("surprise").images
    still, dark = [drawn[0]] * 45, [np.zeros_like(drawn[0])] * 30
    write_film(tmp_path / "long.mp4", [*still, *drawn, *drawn[::-1], *still, *dark], 60)
    run_cli("task=predict", "predict.input=long.mp4", code=0)
    output = tmp_path / "predictions" / "long"
    written = json.loads((output / "predict.json").read_text())
    assert problems(written) == []
    (facts,) = written["clips"]
    assert facts["scan"] == NOTICE
    with (output / "long" / "timeline.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["start_s"]) for row in rows] == pytest.approx([0.25 * n for n in range(len(rows))], abs=0.02)
    assert (facts["windows"], facts["windows_without_face"]) == (len(rows), 1) and not rows[-1]["class"]
    for row in rows[:-1]:
        probabilities = {name: float(value) for name, value in row.items() if name.startswith("prob_")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert "prob_" + row["class"] == max(probabilities, key=probabilities.__getitem__)
    for name in ("timeline.png", "overview.png", "true_dynamic_image.png", "dynamic_image.png"):
        assert cv2.imread(str(output / "long" / name)) is not None
