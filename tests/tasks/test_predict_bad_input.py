"""InputVideo that cannot be predicted, or hardly: words and exit code 2, bounded memory, nothing left behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fdp_lightning.config import configuration
from fdp_lightning.data.synthetic.film import draw_clip, write_film, write_frames
from fdp_lightning.errors import UserError
from fdp_lightning.tasks.predict import predict

pytestmark = pytest.mark.costly

Mistake = Callable[..., str]


@pytest.fixture
def mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mistake:
    """Make a prediction that must be refused, here for speed, and give its message; nothing may stay."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError) as caught:
            predict(configuration("task=predict", *arguments))
        assert sorted(tmp_path.rglob("*")) == before, "something is left of it"
        return str(caught.value)

    return run


def test_options_that_cannot_be(mistake: Mistake, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    for argument, words in {
        "predict.window=-1": "predict.window is -1",
        "predict.step=2": "leaves gaps",
        "predict.checkpoint=nowhere": "nowhere: there is no such file",
    }.items():
        assert words in mistake("predict.input=a.mp4", argument)
    assert "predict.input is missing" in mistake()


def test_no_video_no_face_one_frame(mistake: Mistake, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 100)
    write_film(tmp_path / "grey.mp4", [np.full((120, 160, 3), 90 + n, np.uint8) for n in range(12)])
    picture = draw_clip("surprise").pictures[0]
    write_film(tmp_path / "one.mp4", [picture])
    cv2.imwrite(str(tmp_path / "one.jpg"), picture)
    (tmp_path / "nothing").mkdir()
    for name, words in {
        "empty.mp4": "is empty (0 bytes)",
        "text.mp4": "cannot be read as a video",
        "grey.mp4": "no face in any of its 12 frames",
        "one.mp4": "is a single image",
        "one.jpg": "single image",
        "nothing": "holds no video and no frames",
        "nowhere.mp4": "cannot be opened",
    }.items():
        message = mistake(f"predict.input={name}")
        assert words in message and name.split(".")[0] in message


def test_a_scan_needs_time_and_length(mistake: Mistake, tmp_path: Path) -> None:
    write_frames(tmp_path / "clip", draw_clip("surprise").pictures[:10])
    assert "predict.fps=200" in mistake("predict.input=clip", "predict.mode=scan")
    message = mistake("predict.input=clip", "predict.mode=scan", "predict.fps=60")
    assert "less than one window of 0.5 s" in message
    message = mistake("predict.input=clip", "predict.mode=scan", "predict.fps=1")
    assert "one frame each" in message


LOOK = r"""
import json, pathlib, re, sys
from fdp_lightning import load_model
from fdp_lightning.inference.scan import Scan, ScanSettings
model = load_model()
peaks = []
for path in sys.argv[1:]:
    result = model.look(path, windows=ScanSettings(step=0.5))
    # Not ru_maxrss: in a child that starts at its parent's peak.
    peaks.append(int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1]) // 1024)
print(json.dumps([peaks, len(result.windows) if isinstance(result, Scan) else result.label]))
"""


def look(*paths: Path) -> tuple[list[int], int | str]:
    """Peaks of a process's memory in MB after each of these, and what the last one gave."""
    done = subprocess.run([sys.executable, "-c", LOOK, *map(str, paths)], capture_output=True, text=True, check=True)
    peaks, last = json.loads(done.stdout.splitlines()[-1])
    return peaks, last


@pytest.mark.slow  # a hundred windows in a process of its own
def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    pictures = [cv2.resize(picture, (160, 120)) for picture in draw_clip("surprise").pictures]
    write_film(tmp_path / "short.mp4", (pictures[n % len(pictures)] for n in range(1000)), 60)  # a batch of windows
    write_film(tmp_path / "long.mp4", (pictures[n % len(pictures)] for n in range(3000)), 60)
    (short, long), windows = look(tmp_path / "short.mp4", tmp_path / "long.mp4")
    assert windows == 100
    assert long - short < 40  # the frames of the long one are 170 MB


@pytest.mark.slow
def test_ten_thousand_frames_without_times_are_one_clip_with_a_warning(tmp_path: Path) -> None:
    from fdp_lightning import load_model

    pictures = draw_clip("surprise").pictures
    write_frames(tmp_path / "clip", pictures[:1])
    first = (tmp_path / "clip" / "img1.jpg").read_bytes()
    for number in range(2, 10_001):
        (tmp_path / "clip" / f"img{number}.jpg").write_bytes(first)
    prediction = load_model().predict(tmp_path / "clip")
    assert prediction.length == 10_000
    assert any("10000 frames" in warning and "predict.fps" in warning for warning in prediction.warnings)
