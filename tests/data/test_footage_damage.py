"""What is no video, or only part of one, is named for what it is; nothing but the one file is ever opened."""

import io
import os
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from tests.data.films import add_cover, pictures, write_sound, write_video

from fdp_lightning.data.input_video.source import VideoFile
from fdp_lightning.errors import UserError

pytestmark = pytest.mark.costly

FAST_START = {"movflags": "faststart"}


def failure(source: Path, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        list(VideoFile(source).frames())
    for part in (str(source), "expected a video", *parts):
        assert part in str(caught.value)


def test_what_is_no_video(tmp_path: Path) -> None:
    failure(tmp_path / "absent.mp4", "No such file")
    failure(tmp_path, "is a folder")
    Image.fromarray(pictures(1)[0]).save(tmp_path / "picture.png")
    failure((tmp_path / "picture.png").rename(tmp_path / "picture.mp4"), "cannot be read as a video")
    (tmp_path / "empty.mp4").touch()
    failure(tmp_path / "empty.mp4", "0 bytes")
    (tmp_path / "text.mp4").write_text("Dear diary, today I filmed my face.\n" * 50)
    failure(tmp_path / "text.mp4", "cannot be read as a video")
    os.mkfifo(tmp_path / "pipe.mp4")
    failure(tmp_path / "pipe.mp4", "not a regular file")
    with pytest.raises(UserError, match=r"the video is empty \(0 bytes\)"):
        next(VideoFile(io.BytesIO()).frames())


def test_sound_without_pictures_and_a_cover_are_no_video(tmp_path: Path) -> None:
    for name, with_cover in (("song.m4a", False), ("album.mp4", True)):
        with av.open(str(tmp_path / name), "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=48000)
            if with_cover:
                add_cover(container)
            write_sound(container, stream, 0.5)
        failure(tmp_path / name, "has no video track", "audio")


def test_an_address_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", pictures(2))
    monkeypatch.chdir(tmp_path)
    for address in ("http://localhost/a.mp4", "file:a.mp4", "concat:a.mp4|a.mp4", "lavfi:testsrc", "data:,x"):
        with pytest.raises(UserError, match="addresses are not followed"):
            next(VideoFile(type(tmp_path)(address)).frames())


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4"])
@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{folder}/{other}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {other}\n",
        "ffconcat version 1.0\nfile '{folder}/{other}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_a_playlist_opens_none_of_what_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    write_video(tmp_path / "other.ts", pictures(2))
    write_video(tmp_path / "other.mp4", pictures(2))
    monkeypatch.chdir(tmp_path)
    for other in ("other.ts", "other.mp4"):
        (tmp_path / name).write_text(text.format(folder=tmp_path, other=other))
        failure(tmp_path / name, "cannot be read as a video", "playlist")


def test_a_recording_that_was_broken_off_before_its_index_was_written(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", pictures(20)).read_bytes()  # the index, moov, is at the end
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    failure(tmp_path / "cut.mp4", "cannot be read as a video", "interrupted")


def test_of_a_video_that_is_cut_off_the_frames_before_are_used(tmp_path: Path) -> None:
    wanted = pictures(40)
    options = {"qmin": "2", "qmax": "4"}
    for name, codec, more in (("a.mp4", "libx264", {}), ("a.avi", "mjpeg", {"options": options})):
        whole = write_video(tmp_path / name, wanted, codec, container_options=FAST_START, **more).read_bytes()
        video = VideoFile(io.BytesIO(whole[: len(whole) * 7 // 10]))
        got = [frame.read() for frame in video.frames()]
        assert 10 <= len(got) < 35
        assert max(np.abs(g.astype(float) - w).mean() for g, w in zip(got, wanted, strict=False)) < 3.5
        assert video.warnings[0] == f"the video ends after {len(got)} frames because the rest cannot be decoded"


@pytest.mark.parametrize(
    ("name", "begin", "size"),
    [
        ("a.mp4", 4, 56),  # the decoder fails
        ("a.mp4", 200, 56),  # it goes on, with a picture that it marks
        ("a.ts", 376, 400),  # the packet is marked, and the pictures are not
    ],
)
def test_what_follows_damage_is_left_out_up_to_the_next_key_frame(
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
    assert max(np.abs(picture.astype(float) - wanted[n]).mean() for n, picture in got.items()) < 3.0
    assert len(video.warnings) == 1
    assert "the video is damaged: frames before" in video.warnings[0]
