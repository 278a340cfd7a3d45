"""Videos are decoded to the pictures that were encoded, the right way up, at their times, whatever lies beside them."""

import io
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.data.films import pictures, repeat, write_video

from fdp_lightning.data.input_video.picture import Clock
from fdp_lightning.data.input_video.source import VideoFile, as_input_video, input_videos

pytestmark = pytest.mark.costly

NO_B_FRAMES = {"crf": "2", "g": "10", "preset": "ultrafast", "bf": "0"}
VP = {"crf": "4", "b": "4M", "deadline": "realtime", "cpu-used": "8"}


def difference(got: np.ndarray, wanted: np.ndarray) -> float:
    assert got.shape == wanted.shape
    assert got.dtype == np.uint8
    return float(np.abs(got.astype(float) - wanted).mean())


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", None), ("a.mov", "libx264", None), ("a.mkv", "libx264", None),
        ("a.avi", "mjpeg", {"qmin": "1", "qmax": "1"}), ("b.avi", "mpeg4", {"qmin": "1", "qmax": "1"}),
        ("a.webm", "libvpx", VP), ("b.webm", "libvpx-vp9", VP | {"b": "0"}), ("a.ts", "libx264", None),
    ],
)  # fmt: skip
def test_the_pictures_are_those_that_were_encoded(
    tmp_path: Path, name: str, codec: str, options: dict[str, str] | None
) -> None:
    wanted = pictures(12)
    video = VideoFile(write_video(tmp_path / name, wanted, codec, options=options))
    frames = list(video.frames())
    assert [frame.number for frame in frames] == list(range(12))
    assert [frame.seconds for frame in frames] == pytest.approx([n / 25 for n in range(12)], abs=6e-4)
    got = [frame.read() for frame in frames]
    assert max(difference(g, w) for g, w in zip(got, wanted, strict=True)) < 3.0
    assert difference(got[0], wanted[6]) > 10  # the bound above means something
    assert abs(float(np.mean(got) - np.mean(wanted))) < 0.7  # neither too dark nor too bright
    assert video.warnings == []


@pytest.mark.parametrize("matrix", [1, 5])
def test_colours_follow_the_matrix_that_the_stream_names(tmp_path: Path, matrix: int) -> None:
    wanted = [np.full((48, 64, 3), (200, 60, 40), np.uint8)]
    frame = next(VideoFile(write_video(tmp_path / "a.mp4", wanted, matrix=matrix)).frames())
    assert difference(frame.read(), wanted[0]) < 2.0  # read by the other matrix it is off by 10


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_turned_or_mirrored_video_is_shown_the_right_way_up(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    recorded = pictures(2)
    path = write_video(tmp_path / "a.mp4", recorded, rotation=rotation, mirrored=mirrored)
    shown = np.rot90(recorded[0], rotation // 90)  # rot90 and `rotation` both turn counter-clockwise …
    shown = shown[:, ::-1] if mirrored else shown  # … and then comes the mirror
    got = next(VideoFile(path).frames()).read()
    assert difference(got, shown) < 3.0
    if not mirrored:  # OpenCV, which also reads the flag, knows of no mirrors
        assert difference(got, cv2.VideoCapture(str(path)).read()[1][..., ::-1]) < 3.0


@pytest.mark.parametrize(
    ("pixel", "rotation", "shape"),
    [(Fraction(2), 0, (48, 128, 3)), (Fraction(1, 2), 0, (96, 64, 3)), (Fraction(2), 90, (128, 48, 3))],
)
def test_pixels_become_square(tmp_path: Path, pixel: Fraction, rotation: int, shape: tuple[int, int, int]) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(2), pixel=pixel, rotation=rotation)
    assert next(VideoFile(path).frames()).read().shape == shape


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path, name: str) -> None:
    times = [0, 40, 73, 120, 500, 510, 900, 905]
    video = VideoFile(write_video(tmp_path / name, pictures(8), milliseconds=times, options=NO_B_FRAMES))
    seconds = [frame.seconds for frame in video.frames()]
    assert seconds == pytest.approx([time / 1000 for time in times], abs=1e-3)
    assert video.warnings == []


def test_a_stream_without_time_stamps_runs_at_its_average_rate_with_a_warning(tmp_path: Path) -> None:
    video = VideoFile(write_video(tmp_path / "a.h264", pictures(6)))
    assert [frame.seconds for frame in video.frames()] == pytest.approx([n / 25 for n in range(6)])
    assert video.warnings == ["6 of 6 frames have no usable time stamp: the average rate is used"]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.avi", "mjpeg", {"qmin": "1", "qmax": "1"}), ("a.mp4", "libx264", None), ("a.mkv", "libx264", None),
        ("a.webm", "libvpx", VP), ("a.ts", "libx264", None), ("a.h264", "libx264", None),
        ("a.mpg", "mpeg2video", {"qmin": "2", "qmax": "2"}),
    ],
)  # fmt: skip
def test_a_frame_rate_that_is_given_holds_in_place_of_the_files(
    tmp_path: Path, name: str, codec: str, options: dict[str, str] | None
) -> None:
    path = write_video(tmp_path / name, pictures(8), codec, options=options)
    for source in (path, io.BytesIO(path.read_bytes())):
        clip = as_input_video(source, fps=200)
        frames = list(clip.frames())
        assert [frame.seconds for frame in frames] == pytest.approx([n / 200 for n in range(len(frames))])
        assert len(frames) >= 7
        assert [w for w in clip.warnings if "predict.fps=200" in w and "25" in w]
        assert not [w for w in clip.warnings if "time stamp" in w]
    (listed,) = input_videos(path, 200)
    assert next(listed.frames()).seconds == 0 and listed.fps == 200
    agreed = as_input_video(path, fps=25)
    list(agreed.frames())
    assert not [w for w in agreed.warnings if "predict.fps" in w]


def test_the_clock_mends_time_stamps_that_are_missing_or_run_back() -> None:
    clock = Clock(Fraction(1, 100), Fraction(25))
    given = [700, 704, None, 712, 703, 720]
    assert [clock.seconds(stamp) for stamp in given] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.20])
    assert clock.guessed == 2
    without_rate = Clock(Fraction(1, 100), None)
    assert [without_rate.seconds(stamp) for stamp in (None, None)] == [0.0, None]


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_sound_beside_the_pictures_changes_nothing(tmp_path: Path, name: str) -> None:
    codec, options = ("libvpx-vp9", VP) if name == "a.webm" else ("libx264", None)
    wanted = pictures(10)
    video = VideoFile(write_video(tmp_path / name, wanted, codec, sound=True, options=options))
    frames = list(video.frames())
    assert [frame.seconds for frame in frames] == pytest.approx([n / 25 for n in range(10)], abs=6e-4)
    assert max(difference(f.read(), w) for f, w in zip(frames, wanted, strict=True)) < 3.0
    assert video.warnings == []


def test_each_look_begins_anew_and_an_open_file_does_as_well(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(8))
    video, held = VideoFile(path), VideoFile(io.BytesIO(path.read_bytes()), "from the camera")
    assert (video.name, held.name) == ("a", "from the camera")
    next(video.frames())
    next(held.frames())
    looks = [[frame.read() for frame in clip.frames()] for clip in (video, video, held, held)]
    for look in looks[1:]:
        assert np.array_equal(look, looks[0])
    times = [[frame.seconds for frame in clip.frames()] for clip in (video, held)]
    assert times[0] == times[1]
    assert all(a < b for a, b in pairwise(times[0]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path: Path) -> None:
    short = write_video(tmp_path / "short.mp4", pictures(50, 240, 320), options=NO_B_FRAMES)
    long = repeat(tmp_path / "long.mp4", short, 200)
    script = """
import sys
from pathlib import Path
from fdp_lightning.data.input_video.source import VideoFile
def peak():  # of this process alone; getrusage begins with what its parent had
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
for path in sys.argv[1:]:
    count = total = 0
    for frame in VideoFile(Path(path)).frames():
        count += 1
        if frame.number % 25 == 0:
            total += int(frame.read()[0, 0, 0])
    print(count, peak())
"""
    command = [sys.executable, "-c", script, str(short), str(long)]
    (few, before), (many, after) = (
        map(int, line.split()) for line in subprocess.check_output(command, text=True).splitlines()
    )
    assert (few, many) == (50, 10_000)
    assert after - before < 10_000  # KiB; the frames are 1.1 GB as they are decoded, and 2.2 GB as RGB
