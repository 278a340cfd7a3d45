"""Drawn films: one clip as a video and as frames, the same but for what the codec loses."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fdp_lightning.data.input_video.source import FrameFolder, VideoFile
from fdp_lightning.data.synthetic import SyntheticFaces
from fdp_lightning.data.synthetic.film import CODINGS, FILM_STREAM, draw_clip, draw_film, write_film, write_frames
from fdp_lightning.data.synthetic.layouts import LAYOUTS
from fdp_lightning.errors import UserError

pytestmark = pytest.mark.costly

SMALL = SyntheticFaces(min_frames=8, max_frames=9, height=120, width=160)


def grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float)


@pytest.mark.parametrize("suffix", [*CODINGS])
def test_a_film_and_its_frames_show_the_clip(tmp_path: Path, suffix: str) -> None:
    clip = draw_film(tmp_path / f"clip{suffix}", "happiness", seed=1, fps=50, settings=SMALL)
    write_frames(tmp_path / "frames", clip.pictures)
    film, folder = VideoFile(tmp_path / f"clip{suffix}"), FrameFolder(tmp_path / "frames", 50)
    for video in (film, folder):
        frames = list(video.frames())
        assert video.warnings == []
        assert [frame.seconds for frame in frames] == pytest.approx(
            [n / 50 for n in range(len(clip.pictures))], abs=6e-4
        )
        drawn = [grey(picture[..., ::-1]) for picture in clip.pictures]
        seen = [grey(frame.read()) for frame in frames]
        assert np.abs(np.subtract(seen, drawn)).mean() < 1.5
        assert abs(np.subtract(seen, drawn).mean()) < 0.5
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_film_is_drawn_again_bit_for_bit_and_by_seed_and_emotion() -> None:
    clip, again, by_index = draw_clip("happiness", 4, SMALL), draw_clip("happiness", 4, SMALL), draw_clip(0, 4, SMALL)
    assert clip.emotion == by_index.emotion == "happiness"
    assert np.array_equal(clip.pictures, again.pictures)
    assert np.array_equal(clip.pictures, by_index.pictures)
    for other in (draw_clip("happiness", 5, SMALL), draw_clip("disgust", 4, SMALL)):
        assert not np.array_equal(other.pictures[0], clip.pictures[0])
    with pytest.raises(UserError, match=r"'joy': expected one of happiness, "):
        draw_clip("joy")
    with pytest.raises(UserError, match="5: expected one of"):
        draw_clip(5)


def test_the_pseudo_subject_is_in_no_data_set(tmp_path: Path) -> None:
    """Data sets number their subjects from 0 in the place where a film has a number that none of them reaches."""
    assert max(layout.max_subjects for layout in LAYOUTS.values()) < FILM_STREAM
    settings = replace(SMALL, subjects=2, clips_per_emotion=1, seed=4)
    settings.write(tmp_path / "set")
    drawn = draw_clip("happiness", 4, SMALL).pictures[0]
    written = [cv2.imread(str(path)) for path in (tmp_path / "set").rglob("*.jpg")]
    nearest = min(np.abs(picture.astype(float) - drawn).mean() for picture in written)
    assert nearest > 10  # a face in its usual place: the frames of one clip differ by less than 3


def test_a_film_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    even, odd = np.zeros((48, 64, 3), np.uint8), np.zeros((47, 64, 3), np.uint8)
    for name, pictures, message in (
        ("a.xyz", [even], "expected one of .mp4"),
        ("a.mp4", [], "no picture"),
        ("a.mp4", [odd], "even numbers"),
        ("a.mp4", [*[even] * 90, odd], r"a picture is \(47, 64, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            write_film(tmp_path / name, iter(pictures))
    assert list(tmp_path.iterdir()) == []
