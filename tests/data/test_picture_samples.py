"""Pictures whose samples are not 8 bits deep, and pictures too large to be decoded."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data
from tests.data.films import pictures

from fdp_lightning.data.checks.clips import size_problems
from fdp_lightning.data.faces.frames import FrameFile, UnreadableImageError, read_image
from fdp_lightning.data.faces.prepare_clip import FaceSettings, prepare_clip
from fdp_lightning.data.input_video.source import FrameFolder, input_videos
from fdp_lightning.errors import UserError

pytestmark = pytest.mark.costly

GREY = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures(4)]


def deep(picture: np.ndarray, bits: int) -> np.ndarray:
    """Samples of so many bits in 16, the brightest of all the pictures at the end of their range."""
    return (picture.astype(np.float64) / 255 * (2**bits - 1)).round().astype(np.uint16)


def write(folder: Path, images: list[np.ndarray], suffix: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images, start=1):
        cv2.imwrite(str(folder / f"img{number}{suffix}"), image)
    return folder


@pytest.mark.parametrize(("bits", "suffix"), [(8, ".png"), (10, ".tif"), (12, ".png"), (14, ".tif"), (16, ".png")])
def test_the_range_of_grey_samples_is_found_and_said(tmp_path: Path, bits: int, suffix: str) -> None:
    folder = FrameFolder(write(tmp_path / "clip", [deep(image, bits) for image in GREY], suffix))
    got = [frame.read() for frame in folder.frames()]
    for image, wanted in zip(got, GREY, strict=True):
        assert np.abs(image.astype(int) - wanted[..., None]).max() <= 1
    assert len(folder.warnings) == (bits < 16) and all(f"{bits} bits" in warning for warning in folder.warnings)
    alone = read_image(tmp_path / "clip" / f"img1{suffix}")
    assert np.abs(alone.astype(int) - GREY[0][..., None]).max() <= 1


def test_a_clip_has_one_range_whichever_frame_is_dark(tmp_path: Path) -> None:
    images = [deep(image, 12) for image in GREY]
    images[0] //= 8  # by itself of 9 bits
    folder = FrameFolder(write(tmp_path / "clip", images, ".png"))
    first, second, *_ = [frame.read().astype(int) for frame in folder.frames()]
    assert np.abs(first - GREY[0][..., None] // 8).max() <= 1
    assert np.abs(second - GREY[1][..., None]).max() <= 1


def test_a_stated_depth_holds_in_prediction_and_preparation_and_is_said(tmp_path: Path) -> None:
    dark = [deep(image, 12) // 16 for image in GREY]  # by themselves of 8 bits
    place = write(tmp_path / "clip", [*dark, deep(GREY[0], 14)], ".png")
    folder = FrameFolder(place, bits=12)
    *got, above = [frame.read()[..., 0] for frame in folder.frames()]
    assert np.array_equal(got, [image >> 4 for image in dark])
    assert np.array_equal(above, np.minimum(deep(GREY[0], 14) >> 4, 255))
    assert len(folder.warnings) == 2 and "predict.bits=12" in folder.warnings[0]
    files = [FrameFile(number, place / f"img{number}.png") for number in range(1, len(dark) + 2)]
    side = min(GREY[0].shape)
    prepared = prepare_clip("a", files, FaceSettings(method="none", size=side, bits=12))
    expected = prepare_clip("a", files, FaceSettings(method="none", size=side, bits=14))
    away = prepared.frames[:-1].astype(int) // 4 - expected.frames[:-1]
    assert np.abs(away).max() <= 1 and prepared.frames[:-1].any()
    assert [(problem.kind, problem.fatal) for problem in prepared.problems] == [("sample_range", False)]
    assert "data.faces.bits=12" in prepared.problems[0].detail and "14 bits" in prepared.problems[0].detail


def test_a_stated_depth_makes_a_store_of_its_own_and_a_video_needs_none(tmp_path: Path) -> None:
    assert FaceSettings().facts() != FaceSettings(bits=12).facts()
    assert "bits" not in FaceSettings().facts()
    with pytest.raises(UserError, match=r"data\.faces\.bits"):
        FaceSettings(bits=7)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match=r"predict\.bits"):
        input_videos(tmp_path / "a.mp4", bits=12)
    assert len(input_videos(tmp_path, bits=12)) == 1  # beside folders of pictures


def test_a_dataset_of_deep_samples_is_prepared_like_one_of_8_bits(tmp_path: Path) -> None:
    grey = cv2.cvtColor(np.ascontiguousarray(data.astronaut()[:256, 96:352]), cv2.COLOR_RGB2GRAY)
    prepared = []
    for name, image in (("8", grey), ("deep", deep(grey, 12))):
        folder = write(tmp_path / name, [image] * 2, ".tif")
        files = [FrameFile(number, folder / f"img{number}.tif") for number in (1, 2)]
        prepared.append(prepare_clip("a", files, FaceSettings()))
    assert np.abs(prepared[1].frames.astype(int) - prepared[0].frames).mean() < 1
    assert [(problem.kind, problem.fatal) for problem in prepared[1].problems] == [("sample_range", False)]


@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_other_samples_are_refused_by_name(tmp_path: Path, kind: type[np.generic]) -> None:
    cv2.imwrite(str(tmp_path / "1.tif"), GREY[0].astype(kind))
    with pytest.raises(UnreadableImageError, match=r"1\.tif"):
        read_image(tmp_path / "1.tif")


def bomb(path: Path, side: int) -> Path:
    """A picture of this many pixels in width and height, of a few kB, or with a header that says so."""
    if path.suffix == ".png":  # by hand: Pillow would hold all of it

        def chunk(name: bytes, content: bytes) -> bytes:
            return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)

        head = side.to_bytes(4) * 2 + b"\1\0\0\0\0"
        rows = zlib.compress(bytes(side // 8 + 1) * 1000)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    elif path.suffix == ".tif":
        Image.new("1", (side, side)).save(path, compression="group4")
    else:
        Image.new("L", (40, 30)).save(path)
        content = path.read_bytes()
        # Where the header has the size, and in how many bytes; WebP has 14 bits of each.
        jpeg = content.find(b"\xff\xc0") + 5
        place, size, order = {".bmp": (18, 4, "little"), ".gif": (6, 2, "little"), ".jpg": (jpeg, 2, "big"),
                              ".webp": (26, 2, "little")}[path.suffix]  # fmt: skip
        path.write_bytes(content[:place] + side.to_bytes(size, order) * 2 + content[place + 2 * size :])
    return path


@pytest.mark.parametrize(
    ("suffix", "side"),
    [
        (".png", 60_000), (".bmp", 30_000), (".gif", 60_000), (".jpg", 60_000), (".tif", 12_000), (".webp", 16_383),
    ],
)  # fmt: skip
def test_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, side: int) -> None:
    path = bomb(tmp_path / f"1{suffix}", side)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UnreadableImageError, match="pixels"):
        read_image(path)
    path = path.rename(tmp_path / "2.png")  # whatever it is called
    with pytest.raises(UnreadableImageError, match="pixels"):
        read_image(path)
    (problem,) = size_problems([("a clip", [path])])
    assert problem.fatal and "pixels" in problem.detail
