"""A long video through windows: all of it once, in order, in bounded memory, and called a scan."""

import csv
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from fdp_lightning import load_model
from fdp_lightning.data.input_video.source import Frame
from fdp_lightning.data.synthetic.film import draw_clip, write_film
from fdp_lightning.errors import UserError
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.scan import NOTICE, Scan, ScanSettings
from tests.tasks.prediction_schema import problems

pytestmark = pytest.mark.costly


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


class Pictures:
    """InputVideo made of pictures at given times."""

    def __init__(self, pictures: list[np.ndarray], seconds: list[float]) -> None:
        self.name, self.warnings, self.pictures, self.seconds, self.read = "made", [], pictures, seconds, 0

    def frames(self) -> Iterator[Frame]:  # type: ignore[no-untyped-def]
        for number, (picture, second) in enumerate(zip(self.pictures, self.seconds, strict=True)):
            yield Frame(number, second, lambda picture=picture: self._read(picture))

    def _read(self, picture: np.ndarray) -> np.ndarray:
        self.read += 1
        return picture


@pytest.fixture(scope="module")
def still() -> np.ndarray:
    return np.ascontiguousarray(draw_clip("surprise").pictures[0][..., ::-1])


@pytest.fixture(scope="module")
def moving() -> list[np.ndarray]:
    return [np.ascontiguousarray(picture[..., ::-1]) for picture in draw_clip("surprise").pictures]


def test_windows_are_of_their_length_and_step(model: Model, still: np.ndarray) -> None:
    made = Pictures([still] * 100, [n / 40 for n in range(100)])  # 2.5 s
    scan = model.scan(made)
    assert [window.start for window in scan.windows] == pytest.approx([0.25 * n for n in range(9)])
    assert [window.first for window in scan.windows] == [10 * n for n in range(9)]
    assert [window.last for window in scan.windows] == [10 * n + 19 for n in range(9)]  # the last ends with the video
    assert made.read == 100  # each picture is converted once, whatever the windows that overlap
    assert (scan.length, scan.seconds) == (100, 99 / 40)
    longer = model.scan(Pictures([still] * 100, [n / 40 for n in range(100)]), windows=ScanSettings(1.0, 0.5))
    assert [(window.first, window.last) for window in longer.windows] == [(0, 39), (20, 59), (40, 79), (60, 99)]


def test_a_window_is_predicted_as_a_clip_of_it_is(model: Model, still: np.ndarray, moving: list[np.ndarray]) -> None:
    pictures = [still] * 30 + moving + [moving[-1]] * 30
    seconds = [n / 60 for n in range(len(pictures))]
    scan = model.scan(Pictures(pictures, seconds))
    (window,) = (window for window in scan.windows if window.first == 30)
    alone = model.predict(Pictures(pictures[30:60], seconds[:30]))
    assert window.label == alone.label == "surprise"
    assert window.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert window.motion == pytest.approx(alone.motion, abs=1e-6)
    moved = [window.motion for window in scan.windows]
    assert scan.windows[int(np.argmax(moved))].first in (15, 30, 45)  # where something moves
    assert moved[0] < 0.3 * max(moved)
    strongest = max(scan.windows, key=lambda one: one.motion)
    assert scan.strongest.motion == strongest.motion
    assert scan.strongest.probabilities == strongest.probabilities
    assert scan.strongest.frame_numbers[0] == strongest.first


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
    # A pause right after the first frame of a window leaves nothing to be seen in it.
    seconds = [n / 30 if n <= 15 else n / 30 + 5 for n in range(46)]
    scan = model.scan(Pictures([still] * 46, seconds))
    assert 0.5 not in [window.start for window in scan.windows]
    assert {0.0, 0.27} < {round(window.start, 2) for window in scan.windows}
    with pytest.raises(UserError, match="one frame each"):
        model.scan(Pictures([still] * 5, [0.0, 1, 2, 3, 4]))
    seconds = [n / 30 for n in range(90)]
    with pytest.raises(UserError, match="no face"):
        model.scan(Pictures([dark] * 60, seconds[:60]))
    with pytest.raises(UserError, match="less than one window"):
        model.scan(Pictures([still] * 10, seconds[:10]))
    with pytest.raises(UserError, match=r"predict\.fps"):
        model.scan(Pictures([still] * 3, [None] * 3))  # type: ignore[list-item]


def test_what_is_looked_at_as_a_clip_and_what_is_scanned(model: Model, still: np.ndarray) -> None:
    assert isinstance(model.look(Pictures([still] * 60, [n / 30 for n in range(60)])), Prediction)
    assert isinstance(model.look(Pictures([still] * 63, [n / 30 for n in range(63)])), Scan)
    short = ScanSettings(longest_clip=1.0)
    assert isinstance(model.look(Pictures([still] * 60, [n / 30 for n in range(60)]), windows=short), Scan)
    clip = model.look(Pictures([still] * 400, [None] * 400))  # type: ignore[list-item]
    assert isinstance(clip, Prediction) and clip.warnings == []


def test_the_command_on_a_long_video(
    tmp_path: Path, run_cli: Callable[..., subprocess.CompletedProcess[str]], moving: list[np.ndarray]
) -> None:
    pictures = [picture[..., ::-1] for picture in [*[moving[0]] * 45, *moving, *moving[::-1], *[moving[0]] * 45]]
    write_film(tmp_path / "long.mp4", [*pictures, *[np.zeros_like(pictures[0])] * 30], 60)
    done = run_cli("task=predict", "predict.input=long.mp4")
    assert done.returncode == 0, done.stderr
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
