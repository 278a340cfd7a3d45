"""Videos and folders are decoded to what was recorded, upright and with their times; invalid inputs are reported."""

import io
import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data
from tests.data.films import pictures, write_video

from fdp_lightning.data.input_video.decoded_frame import Clock
from fdp_lightning.data.input_video.source import FrameFolder, VideoFile, as_input_video, input_videos
from fdp_lightning.errors import UserError

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
        ("a.mp4", "libx264", None), ("a.mkv", "libx264", None), ("a.avi", "mjpeg", {"qmin": "1", "qmax": "1"}),
        ("b.avi", "mpeg4", {"qmin": "1", "qmax": "1"}), ("a.webm", "libvpx", VP), ("a.ts", "libx264", None),
        ("sound.mp4", "libx264", None), ("sound.webm", "libvpx-vp9", VP | {"b": "0"}),
    ],
)  # fmt: skip
def test_images_are_those_encoded(tmp_path: Path, name: str, codec: str, options: dict[str, str] | None) -> None:
    wanted = pictures(12)
    video = VideoFile(write_video(tmp_path / name, wanted, codec, options=options, sound=name.startswith("sound")))
    frames = list(video.frames())
    assert [frame.number for frame in frames] == list(range(12))
    assert [frame.seconds for frame in frames] == pytest.approx([n / 25 for n in range(12)], abs=6e-4)
    got = [frame.read() for frame in frames]
    assert max(difference(g, w) for g, w in zip(got, wanted, strict=True)) < 3.0
    assert difference(got[0], wanted[6]) > 10  # the bound above is meaningful
    assert abs(float(np.mean(got) - np.mean(wanted))) < 0.7  # neither too dark nor too bright
    assert video.warnings == []


@pytest.mark.parametrize("matrix", [1, 5])
def test_colours_follow_the_matrix_that_the_stream_names(tmp_path: Path, matrix: int) -> None:
    wanted = [np.full((48, 64, 3), (200, 60, 40), np.uint8)]
    frame = next(VideoFile(write_video(tmp_path / "a.mp4", wanted, matrix=matrix)).frames())
    assert difference(frame.read(), wanted[0]) < 2.0  # with the other matrix the difference is 10


@pytest.mark.parametrize(("rotation", "mirrored"), [(0, True), (90, False), (90, True), (180, False), (270, False)])
def test_a_turned_or_mirrored_video_is_decoded_upright(tmp_path: Path, rotation: int, mirrored: bool) -> None:
    recorded = pictures(2)
    path = write_video(tmp_path / "a.mp4", recorded, rotation=rotation, mirrored=mirrored)
    shown = np.rot90(recorded[0], rotation // 90)  # rot90 and `rotation` both turn counter-clockwise …
    shown = shown[:, ::-1] if mirrored else shown  # … and mirroring follows
    got = next(VideoFile(path).frames()).read()
    assert difference(got, shown) < 3.0
    if not mirrored:  # OpenCV also reads the flag, but ignores mirroring
        assert difference(got, cv2.VideoCapture(str(path)).read()[1][..., ::-1]) < 3.0


def test_non_square_pixels_are_resampled(tmp_path: Path) -> None:
    for pixel, rotation, shape in ((2, 0, (48, 128, 3)), (0.5, 0, (96, 64, 3)), (2, 90, (128, 48, 3))):
        path = write_video(tmp_path / "a.mp4", pictures(2), pixel=Fraction(pixel), rotation=rotation)
        assert next(VideoFile(path).frames()).read().shape == shape


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path, name: str) -> None:
    times = [0, 40, 73, 120, 500, 510, 900, 905]
    video = VideoFile(write_video(tmp_path / name, pictures(8), milliseconds=times, options=NO_B_FRAMES))
    seconds = [frame.seconds for frame in video.frames()]
    assert seconds == pytest.approx([time / 1000 for time in times], abs=1e-3)
    assert video.warnings == []
    raw = VideoFile(write_video(tmp_path / "a.h264", pictures(6)))  # without time stamps
    assert [frame.seconds for frame in raw.frames()] == pytest.approx([n / 25 for n in range(6)])
    assert len(raw.warnings) == 1 and "6 of 6 frames" in raw.warnings[0]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("a.mp4", "libx264", None), ("a.h264", "libx264", None), ("a.mpg", "mpeg2video", {"qmin": "2", "qmax": "2"})],
)
def test_a_given_frame_rate_is_used(tmp_path: Path, name: str, codec: str, options: dict[str, str] | None) -> None:
    path = write_video(tmp_path / name, pictures(8), codec, options=options)
    for source in (path, io.BytesIO(path.read_bytes())):
        video = as_input_video(source, fps=200)
        frames = list(video.frames())
        assert [frame.seconds for frame in frames] == pytest.approx([n / 200 for n in range(len(frames))])
        assert len(frames) >= 7
        assert [w for w in video.warnings if "predict.fps=200" in w and "25" in w]
        assert not [w for w in video.warnings if "time stamp" in w]


def test_missing_and_decreasing_time_stamps_are_replaced_by_the_rate() -> None:
    clock = Clock(Fraction(1, 100), Fraction(25))
    given = [700, 704, None, 712, 703, 720]
    assert [clock.seconds(stamp) for stamp in given] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.20])
    assert clock.guessed == 2
    without_rate = Clock(Fraction(1, 100), None)
    assert [without_rate.seconds(stamp) for stamp in (None, None)] == [0.0, None]


def test_each_pass_over_a_video_or_an_open_file_starts_from_the_beginning(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(8))
    video, held = VideoFile(path), VideoFile(io.BytesIO(path.read_bytes()), "from the camera")
    assert (video.name, held.name) == ("a", "from the camera")
    next(video.frames())
    next(held.frames())
    looks = [list(video.frames()) for video in (video, video, held, held)]
    for look in looks[1:]:
        assert np.array_equal([frame.read() for frame in look], [frame.read() for frame in looks[0]])
        assert [frame.seconds for frame in look] == [frame.seconds for frame in looks[0]]


def failure(source: Path, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        list(VideoFile(source).frames())
    for part in (str(source), "expected a video", *parts):
        assert part in str(caught.value)


def test_a_source_that_is_not_a_video_is_refused(tmp_path: Path) -> None:
    failure(tmp_path / "absent.mp4", "No such file")
    failure(tmp_path, "is a folder")
    picture = cv2.imencode(".png", pictures(1)[0])[1].tobytes()
    for content, words in ((picture, "cannot be read"), (b"", "0 bytes"), (b"Dear diary\n" * 99, "cannot be read")):
        (tmp_path / "file.mp4").write_bytes(content)
        failure(tmp_path / "file.mp4", words)
    with pytest.raises(UserError, match=r"the video is empty \(0 bytes\)"):
        next(VideoFile(io.BytesIO()).frames())


def test_videos_with_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", pictures(2))
    monkeypatch.setattr("fdp_lightning.data.input_video.video.MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(UserError, match="64x48; expected 3071 pixels"):
        next(VideoFile(path).frames())


def test_addresses_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", pictures(2))
    monkeypatch.chdir(tmp_path)
    for address in ("http://localhost/a.mp4", "file:a.mp4", "concat:a.mp4|a.mp4", "lavfi:testsrc", "data:,x"):
        with pytest.raises(UserError, match="addresses are not followed"):
            next(VideoFile(type(tmp_path)(address)).frames())


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{folder}/other.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{folder}/other.ts'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_a_playlist_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    write_video(tmp_path / "other.ts", pictures(2))
    monkeypatch.chdir(tmp_path)
    for name in ("list.m3u8", "list.mp4"):
        (tmp_path / name).write_text(text.format(folder=tmp_path))
        failure(tmp_path / name, "cannot be read as a video", "playlist")


def test_frames_before_the_end_of_a_truncated_video_are_used(tmp_path: Path) -> None:
    wanted = pictures(40)
    indexed = write_video(tmp_path / "whole.mp4", wanted).read_bytes()  # the index, moov, is at the end
    (tmp_path / "cut.mp4").write_bytes(indexed[: len(indexed) * 6 // 10])
    failure(tmp_path / "cut.mp4", "cannot be read as a video", "interrupted")
    options = {"qmin": "2", "qmax": "4"}
    for name, codec, more in (("a.mp4", "libx264", {}), ("a.avi", "mjpeg", {"options": options})):
        whole = write_video(
            tmp_path / name, wanted, codec, container_options={"movflags": "faststart"}, **more
        ).read_bytes()
        video = VideoFile(io.BytesIO(whole[: len(whole) * 7 // 10]))
        got = [frame.read() for frame in video.frames()]
        assert 10 <= len(got) < 35
        assert max(difference(g, w) for g, w in zip(got, wanted, strict=False)) < 3.5
        assert video.warnings[0] == f"the video ends after {len(got)} frames because the rest cannot be decoded"


@pytest.mark.parametrize(
    ("name", "begin", "size"),
    [
        ("a.mp4", 4, 56),  # the decoder fails
        ("a.mp4", 200, 56),  # the decoder continues and marks a frame
        ("a.ts", 376, 400),  # the packet is marked, but no frame
    ],
)
def test_frames_after_damage_are_left_out_until_the_next_key_frame(
    tmp_path: Path, name: str, begin: int, size: int
) -> None:
    wanted = pictures(40)  # key frames 0, 10, 20, 30
    options = {"crf": "2", "g": "10", "preset": "ultrafast", "bf": "0", "sc_threshold": "0"}
    path = write_video(tmp_path / name, wanted, options=options)
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux(video=0)][13] + begin
    data = bytearray(path.read_bytes())
    data[place : place + size] = np.random.default_rng(0).bytes(size)
    video = VideoFile(io.BytesIO(bytes(data)))
    got = {round(frame.seconds * 25): frame.read() for frame in video.frames()}
    assert not {15, 16, 17, 18, 19} & set(got)
    assert set(range(11)) | set(range(20, 40)) <= set(got)
    assert max(difference(picture, wanted[n]) for n, picture in got.items()) < 3.0
    assert len(video.warnings) == 1 and "the video is damaged" in video.warnings[0]


def frame_folder(folder: Path, numbers: list[int] = range(1, 5), size: tuple[int, int] = (48, 64)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in zip(numbers, pictures(len(numbers), *size), strict=True):
        cv2.imwrite(str(folder / f"img{number}.png"), picture[..., ::-1])
    return folder


def test_frames_of_a_folder_have_their_numbers_times_and_pixels(tmp_path: Path) -> None:
    folder = FrameFolder(frame_folder(tmp_path / "clip", range(8, 12)), fps=200)
    for frames in (list(folder.frames()), list(folder.frames())):
        assert [(frame.number, frame.seconds) for frame in frames] == [(8, 0), (9, 0.005), (10, 0.01), (11, 0.015)]
        assert np.array_equal([frame.read() for frame in frames], pictures(4)) and folder.warnings == []
    assert [frame.seconds for frame in FrameFolder(tmp_path / "clip").frames()] == [None] * 4


def test_missing_and_repeated_frame_numbers_give_a_warning_and_a_gap_takes_its_time(tmp_path: Path) -> None:
    folder = FrameFolder(frame_folder(tmp_path, [1, 2, 5]), fps=10)
    shutil.copy(tmp_path / "img2.png", tmp_path / "img002.png")
    frames = list(folder.frames())
    assert [(frame.number, frame.seconds) for frame in frames] == [(1, 0.0), (2, 0.1), (5, 0.4)]
    (warning,) = folder.warnings
    assert "numbers 2 occur more than once" in warning and "are missing (3, 4)" in warning


def test_an_unusable_frame_is_named_when_it_is_read(tmp_path: Path) -> None:
    frame_folder(tmp_path)
    data = (tmp_path / "img2.png").read_bytes()
    (tmp_path / "img2.png").write_bytes(data[:20])
    frame_folder(tmp_path, [3], (40, 64))
    first, damaged, odd, last = FrameFolder(tmp_path).frames()
    with pytest.raises(UserError, match=r"img3.png is 64x40 and img1.png 64x48"):
        odd.read()  # the first frame defines the size, although it was not read
    with pytest.raises(UserError, match=r"img2.png cannot be decoded"):
        damaged.read()
    assert first.read().shape == last.read().shape == (48, 64, 3)


def test_an_input_is_a_video_a_folder_of_frames_or_a_folder_of_these(tmp_path: Path) -> None:
    video = write_video(tmp_path / "b.MP4", pictures(2))
    frame_folder(tmp_path / "a")
    frame_folder(tmp_path / "c" / "deep" / "deeper")  # deeper than inputs are searched
    frame_folder(tmp_path / ".hidden")
    (tmp_path / ".x.mp4").touch()
    (tmp_path / "notes.txt").write_text("x")
    a, b = input_videos(tmp_path, fps=50)
    assert isinstance(a, FrameFolder) and isinstance(b, VideoFile)
    assert (a.name, a.fps, b.name) == ("a", 50, "b")
    assert [len(list(video.frames())) for video in (a, b)] == [4, 2]
    assert [[video.name for video in input_videos(one)] for one in (video, tmp_path / "a")] == [["b"], ["a"]]


def test_an_ambiguous_or_empty_input_is_refused(tmp_path: Path) -> None:
    def failure(folder: Path, message: str) -> None:
        with pytest.raises(UserError, match=message):
            input_videos(folder)

    failure(tmp_path, "nothing")
    (tmp_path / "notes.txt").write_text("x")
    failure(tmp_path, "notes.txt")
    both = frame_folder(tmp_path / "both")
    (both / "a.mp4").touch()
    failure(both, r"frames \(img1.png …\) and videos \(a.mp4\)")
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "sub" / "a.mp4").touch()
    failure(tmp_path / "root", r"sub .*a.mp4.* too deep")


PQ, HLG, BT2020 = 16, 18, 9
NITS_OF_WHITE = 203  # BT.2408
FROM_709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def signal(picture: np.ndarray, transfer: int) -> np.ndarray:
    """Return code values in [0, 1] with which an HDR screen shows the image as an SDR screen does."""
    values = picture / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ FROM_709.T * NITS_OF_WHITE
    if transfer == PQ:
        power = np.clip(light / 10000, 0, 1) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    screen = light / 1000
    luma = np.maximum(screen @ [0.2627, 0.678, 0.0593], 1e-9)[..., None]
    scene = screen * luma ** (1 / 1.2 - 1)
    log = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)


HDR = {
    "libx265": {"crf": "4", "preset": "ultrafast", "x265-params": "log-level=none:transfer=16:colormatrix=9"},
    "libx264": {"crf": "4", "preset": "ultrafast"},
}


@pytest.mark.parametrize(("transfer", "name", "codec"), [(PQ, "a.mkv", "libx265"), (HLG, "a.mp4", "libx264")])
def test_hdr_video_has_the_grey_levels_of_an_ordinary_video(
    tmp_path: Path, transfer: int, name: str, codec: str
) -> None:
    picture = cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    codes = (np.clip(signal(picture, transfer), 0, 1) * 65535).round().astype(np.uint16)
    options = {"matrix": BT2020, "transfer": transfer, "kind": "yuv420p10le", "options": HDR[codec]}
    video = VideoFile(write_video(tmp_path / name, [codes] * 2, codec, **options))
    got = [frame.read() for frame in video.frames()][-1].astype(float)
    assert np.abs(got - picture).mean() < 4  # without conversion: 40 to 50
    assert abs((got - picture).mean()) < 1
    (warning,) = video.warnings
    assert {PQ: "PQ", HLG: "HLG"}[transfer] in warning
