"""Videos of high dynamic range: a picture put into HLG or PQ by the formulas of ITU-R BT.2100 comes back as it was."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data
from tests.data.films import pictures, write_video

from fdp_lightning.data.input_video.source import VideoFile

pytestmark = pytest.mark.costly

PQ, HLG, BT2020 = 16, 18, 9
NITS_OF_WHITE = 203  # BT.2408
FROM_709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def signal(picture: np.ndarray, transfer: int) -> np.ndarray:
    """The code values, 0..1, of a picture shown by an HDR screen as an ordinary one shows it."""
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


def write_hdr(path: Path, picture: np.ndarray, transfer: int, codec: str, kind: str = "yuv420p10le") -> Path:
    codes = (np.clip(signal(picture, transfer), 0, 1) * 65535).round().astype(np.uint16)
    options = {
        "libx265": {
            "crf": "4",
            "preset": "ultrafast",
            "x265-params": f"log-level=none:transfer={transfer}:colormatrix=9",
        },
        "libx264": {"crf": "4", "preset": "ultrafast"},
        "libvpx-vp9": {"crf": "4", "b": "0", "deadline": "realtime", "cpu-used": "8"},
    }
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options[codec])
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = kind
        context = stream.codec_context
        context.colorspace, context.color_range = BT2020, 1
        context.color_trc, context.color_primaries = transfer, BT2020
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(codes, "rgb48le").reformat(
                format=kind, dst_colorspace=BT2020, dst_color_range=1, interpolation=4 | 262144
            )
            frame.pts, frame.time_base = number, Fraction(1, 25)
            frame.color_trc, frame.color_primaries = transfer, BT2020
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [
        ("a.mkv", "libx265", "yuv420p10le"),
        ("a.mp4", "libx264", "yuv420p10le"),
        ("a.mov", "libx264", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_its_grey_levels_are_those_of_an_ordinary_video_and_it_is_said(
    tmp_path: Path, transfer: int, name: str, codec: str, kind: str
) -> None:
    picture = cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    video = VideoFile(write_hdr(tmp_path / name, picture, transfer, codec, kind))
    got = [frame.read() for frame in video.frames()][-1].astype(float)
    assert np.abs(got - picture).mean() < 4  # as it was: 40 to 50
    assert abs((got - picture).mean()) < 1
    (warning,) = video.warnings
    assert {PQ: "PQ", HLG: "HLG"}[transfer] in warning


def test_an_ordinary_video_says_nothing_and_a_curve_that_is_not_converted_is_named(tmp_path: Path) -> None:
    plain = VideoFile(write_video(tmp_path / "a.mp4", pictures(2)))
    list(plain.frames())
    assert plain.warnings == []
    path = tmp_path / "b.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.color_trc = 8  # linear
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pictures(1)[0], "rgb24")))
        container.mux(stream.encode())
    linear = VideoFile(path)
    list(linear.frames())
    assert len(linear.warnings) == 1 and "linear" in linear.warnings[0]
