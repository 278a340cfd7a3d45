"""Folders of frames, and what an input path can be."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.films import pictures, write_video

from fdp_lightning.data.input_video.source import FrameFolder, VideoFile, input_videos
from fdp_lightning.errors import UserError


def frame_folder(folder: Path, numbers: list[int] = range(1, 5), size: tuple[int, int] = (48, 64)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in zip(numbers, pictures(len(numbers), *size), strict=True):
        Image.fromarray(picture).save(folder / f"img{number}.png")
    return folder


def names(source: Path) -> list[str]:
    return [clip.name for clip in input_videos(source)]


def test_frames_come_by_number_with_their_times_and_pixels(tmp_path: Path) -> None:
    folder = FrameFolder(frame_folder(tmp_path / "clip", range(8, 12)), fps=200)
    for _ in range(2):
        frames = list(folder.frames())
        assert [frame.number for frame in frames] == [8, 9, 10, 11]
        assert [frame.seconds for frame in frames] == pytest.approx([0, 0.005, 0.01, 0.015])
        assert np.array_equal([frame.read() for frame in frames], pictures(4))
        assert folder.warnings == []
    assert [frame.seconds for frame in FrameFolder(tmp_path / "clip").frames()] == [None] * 4


def test_gaps_and_doubles_are_said_and_a_gap_takes_its_time(tmp_path: Path) -> None:
    folder = FrameFolder(frame_folder(tmp_path, [1, 2, 5]), fps=10)
    shutil.copy(tmp_path / "img2.png", tmp_path / "img002.png")
    frames = list(folder.frames())
    assert [(frame.number, frame.seconds) for frame in frames] == [(1, 0.0), (2, 0.1), (5, 0.4)]
    assert len(folder.warnings) == 1
    assert "frame numbers 2 occur more than once" in folder.warnings[0]
    assert "2 of the frames 1..5 are missing (3, 4)" in folder.warnings[0]


def test_a_frame_that_cannot_be_used_fails_by_name_when_it_is_read(tmp_path: Path) -> None:
    frame_folder(tmp_path)
    data = (tmp_path / "img2.png").read_bytes()
    (tmp_path / "img2.png").write_bytes(data[:20])
    frame_folder(tmp_path, [3], (40, 64))
    first, damaged, odd, last = FrameFolder(tmp_path).frames()
    with pytest.raises(UserError, match=r"img3.png is 64x40 and img1.png 64x48"):
        odd.read()  # the first frame is the measure, though nobody has read it
    with pytest.raises(UserError, match=r"img2.png cannot be decoded"):
        damaged.read()
    assert first.read().shape == last.read().shape == (48, 64, 3)


def test_an_input_is_a_video_a_folder_of_frames_or_a_folder_of_such(tmp_path: Path) -> None:
    video = write_video(tmp_path / "b.MP4", pictures(2))
    frame_folder(tmp_path / "a")
    frame_folder(tmp_path / "c" / "deep" / "deeper")  # too deep to be meant
    frame_folder(tmp_path / ".hidden")
    (tmp_path / ".x.mp4").touch()
    (tmp_path / "notes.txt").write_text("x")
    a, b = input_videos(tmp_path, fps=50)
    assert isinstance(a, FrameFolder)
    assert isinstance(b, VideoFile)
    assert (a.name, a.fps, b.name) == ("a", 50, "b")
    assert [len(list(clip.frames())) for clip in (a, b)] == [4, 2]
    assert names(video) == ["b"]
    assert names(tmp_path / "a") == ["a"]


def test_names_are_unique_whatever_the_case(tmp_path: Path) -> None:
    frame_folder(tmp_path / "a")
    for name in ("a.mp4", "A.avi", "b.mov", "c:1.mp4", "c?1.mp4"):
        (tmp_path / name).write_bytes(b"x")
    got = dict(zip(names(tmp_path), input_videos(tmp_path), strict=True))
    assert list(got) == ["A.avi", "a", "a.mp4", "b", "c_1.mp4", "c_1.mp4-2"]
    assert isinstance(got["a"], FrameFolder)


def test_an_input_that_can_be_read_in_two_ways_or_in_none(tmp_path: Path) -> None:
    def failure(folder: Path, message: str) -> None:
        with pytest.raises(UserError, match=message):
            input_videos(folder)

    failure(tmp_path, "no frames, but nothing; expected a video file")
    (tmp_path / "notes.txt").write_text("x")
    failure(tmp_path, r"no frames, but notes.txt; expected a video file")
    both = frame_folder(tmp_path / "both")
    (both / "a.mp4").touch()
    failure(both, r"frames \(img1.png …\) and videos \(a.mp4\)")
    failure(tmp_path, r"frames \(img1.png …\) and videos \(a.mp4\)")  # also from one level above
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "sub" / "a.mp4").touch()
    failure(tmp_path / "root", r"sub holds 1 videos \(a.mp4\), a level too deep")
    failure(both / "img1.png", "single image")
