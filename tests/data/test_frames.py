"""Frames: listing, numbering by the digits that vary, no partial decoding, deep samples, and oversized images."""

import re
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data
from tests.data.films import pictures

from fdp_lightning.data.checks.clips import size_problems
from fdp_lightning.data.faces.frames import (
    FrameFile,
    UnreadableImageError,
    frame_numbers,
    frames_between,
    list_frames,
    read_image,
)
from fdp_lightning.data.faces.prepare_clip import FaceSettings, prepare_clip
from fdp_lightning.data.input_video.source import FrameFolder, input_videos
from fdp_lightning.errors import UserError

PICTURE = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)


def encode(suffix: str, picture: np.ndarray = PICTURE) -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


NAMES = ["img{}", "{:04d}_crop_224", "img{:04d}_224x224", "reg_img{}", "frame_{}_of_30", "006_{:05d}", "EP01_5-{}"]
NAMES += ["2026-11-27_clip3_{:03d}_v2", "cam1_{}_640x480@200", "{}"]


@pytest.mark.parametrize(
    ("stems", "numbers"),
    [
        # a single name: the last digits
        (["img46"], [46]), (["006_05562"], [5562]), (["reg_image6120612"], [6120612]), (["EP01_5-12"], [12]),
        (["2frame"], [2]), (["reg_1_img7"], [7]), ([], []),
        # several names: the digits that vary
        *(([name.format(number) for number in (9, 10, 11, 30)], [9, 10, 11, 30]) for name in NAMES),
        # the last of several varying ones: a counter precedes the number in the recording
        (["1_100", "2_105", "3_110"], [100, 105, 110]), (["sub01_1_46", "sub01_2_47"], [46, 47]),
        # sizes and positions of crops vary as well, but not in order
        (["0001_crop_224x231", "0002_crop_224x229", "0003_crop_224x230"], [1, 2, 3]),
        (["1_x40_y12", "2_x41_y12", "3_x41_y13", "4_x40_y13"], [1, 2, 3, 4]),
        # a number may occur twice
        (["img1", "img2", "img02", "img3"], [1, 2, 2, 3]), (["1_crop_224", "2_crop_224", "02_crop_224"], [1, 2, 2]),
        # names of different patterns
        (["a1_224", "b2_225"], [224, 225]), (["img1_224", "img2_224", "cover_5"], [1, 2, 5]),
    ],
)  # fmt: skip
def test_frames_are_numbered_by_the_digits_that_vary(stems: list[str], numbers: list[int]) -> None:
    assert frame_numbers(stems) == numbers


def test_stray_files_and_folders_are_ignored_and_frames_sorted_by_number(tmp_path: Path) -> None:
    touch(tmp_path, "img1.jpg", "._img1.jpg", "Thumbs.db", "notes2.txt", "cover.jpg", "img3.jpg.part", ".DS_Store")
    touch(tmp_path / "img4.jpg", "img5.jpg")
    touch(tmp_path, "img9.JPEG", "img10.PNG", "img100.bmp", "img011.tiff", "img12.tif")
    assert [file.number for file in list_frames(tmp_path)] == [1, 9, 10, 11, 12, 100]


def test_missing_frames_are_reported_by_number(tmp_path: Path) -> None:
    touch(tmp_path, "img1.jpg", "img2.jpg", "img4.jpg", "img7.jpg")
    frames, trouble = frames_between(list_frames(tmp_path), 1, 7)
    assert [file.number for file in frames] == [1, 2, 4, 7]
    assert trouble == "3 of the frames 1..7 are missing (3, 5, 6)"
    _, trouble = frames_between(list_frames(touch(tmp_path, "img02.jpg")), 1, 4)
    assert trouble.startswith("frame numbers 2 occur more than once") and "is missing (3)" in trouble


@pytest.mark.parametrize("name", ["img[1].png", "微表情1.bmp", "ümlaut (1).tiff", "a%d1.jpg"])
def test_images_with_unusual_paths_are_found_and_decoded_exactly(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "clip [a] 微 ü é"
    folder.mkdir()
    # The last is a PNG file named as JPEG: the content decides.
    (folder / name).write_bytes(encode(Path(name).suffix.replace(".jpg", ".png")))
    (file,) = list_frames(folder)
    assert np.array_equal(read_image(file.path), PICTURE[..., ::-1])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 40, "subsampling": "4:4:4"},
        {"quality": 98, "subsampling": "4:2:0"},
        {"progressive": True},
        {"exif": 6},
    ],
    ids=str,
)
def test_a_jpeg_is_decoded_as_by_opencv(tmp_path: Path, options: dict[str, Any], mode: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = options.get("exif", 1)
    photograph = Image.fromarray(data.astronaut()[:203, 60:361]).convert(mode)
    photograph.save(tmp_path / "1.jpg", **{**options, "exif": turned})
    content = np.frombuffer((tmp_path / "1.jpg").read_bytes(), np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "1.jpg"), cv2.imdecode(content, cv2.IMREAD_COLOR_RGB))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff"])
def test_a_truncated_empty_or_foreign_file_is_unreadable_and_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    whole, path = encode(suffix, noise), tmp_path / f"img7{suffix}"
    for content in (whole[: len(whole) // 2], whole[: int(len(whole) * 0.98)], b"", b"not a picture\n" * 99):
        path.write_bytes(content)
        with pytest.raises(UnreadableImageError, match=re.escape(str(path))):
            read_image(path)


@pytest.mark.parametrize("kind", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]])
@pytest.mark.parametrize("damage", ["zeros", "noise", "cut out", "cut off and closed"])
def test_a_jpeg_damaged_inside_is_unreadable(tmp_path: Path, kind: list[int], damage: str) -> None:
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8), (0, 0), 2)
    whole = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95, *kind])[1].tobytes()
    path = tmp_path / "img7.jpg"
    path.write_bytes(whole)
    assert np.array_equal(read_image(path), cv2.imread(str(path), cv2.IMREAD_COLOR_RGB))
    middle = len(whole) // 3
    rest = {
        "zeros": bytes(len(whole) - middle - 2) + whole[-2:],
        "noise": rng.integers(0, 256, 200, dtype=np.uint8).tobytes() + whole[middle + 200 :],
        "cut out": whole[middle + 200 :],
        "cut off and closed": b"\xff\xd9",
    }
    path.write_bytes(whole[:middle] + rest[damage])
    with pytest.raises(UnreadableImageError, match=re.escape(str(path)) + ".* is damaged"):
        read_image(path)


@pytest.mark.parametrize(("before", "behind"), [(bytes(20), b""), (b"\xff" * 3, b""), (b"", bytes(99)), (b"", b"junk")])
def test_padding_at_the_end_of_a_jpeg_is_no_damage(tmp_path: Path, before: bytes, behind: bytes) -> None:
    path = tmp_path / "img7.jpg"
    whole = encode(".jpg")
    path.write_bytes(whole[:-2] + before + whole[-2:] + behind)
    assert np.array_equal(read_image(path), cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR_RGB))


GREY = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures(4)]


def deep(picture: np.ndarray, bits: int) -> np.ndarray:
    """Return 16-bit samples that use the given number of bits; the brightest of all images is at the maximum."""
    return (picture.astype(np.float64) / 255 * (2**bits - 1)).round().astype(np.uint16)


def write(folder: Path, images: list[np.ndarray], suffix: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images, start=1):
        cv2.imwrite(str(folder / f"img{number}{suffix}"), image)
    return folder


@pytest.mark.parametrize(("bits", "suffix"), [(8, ".png"), (10, ".tif"), (12, ".png"), (14, ".tif"), (16, ".png")])
def test_the_range_of_grey_samples_is_found_and_reported(tmp_path: Path, bits: int, suffix: str) -> None:
    folder = FrameFolder(write(tmp_path / "clip", [deep(image, bits) for image in GREY], suffix))
    got = [frame.read() for frame in folder.frames()]
    for image, wanted in zip(got, GREY, strict=True):
        assert np.abs(image.astype(int) - wanted[..., None]).max() <= 1
    assert len(folder.warnings) == (bits < 16) and all(f"{bits} bits" in warning for warning in folder.warnings)
    alone = read_image(tmp_path / "clip" / f"img1{suffix}")
    assert np.abs(alone.astype(int) - GREY[0][..., None]).max() <= 1


def test_all_frames_of_a_clip_share_one_range(tmp_path: Path) -> None:
    images = [deep(image, 12) for image in GREY]
    images[0] //= 8  # 9 bits if read separately
    folder = FrameFolder(write(tmp_path / "clip", images, ".png"))
    first, second, *_ = [frame.read().astype(int) for frame in folder.frames()]
    assert np.abs(first - GREY[0][..., None] // 8).max() <= 1
    assert np.abs(second - GREY[1][..., None]).max() <= 1


def test_a_stated_depth_applies_to_prediction_and_preparation(tmp_path: Path) -> None:
    dark = [deep(image, 12) // 16 for image in GREY]  # 8 bits if read separately
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


def test_a_stated_depth_changes_the_store_and_is_refused_for_a_video(tmp_path: Path) -> None:
    assert FaceSettings().facts() != FaceSettings(bits=12).facts()
    assert "bits" not in FaceSettings().facts()
    with pytest.raises(UserError, match=r"data\.faces\.bits"):
        FaceSettings(bits=7)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match=r"predict\.bits"):
        input_videos(tmp_path / "a.mp4", bits=12)
    assert len(input_videos(tmp_path, bits=12)) == 1  # next to folders of images


def bomb(path: Path, side: int) -> Path:
    """Write a small image whose header claims this many pixels in width and height."""
    Image.new("L", (40, 30)).save(path)
    content = path.read_bytes()
    if path.suffix == ".png":
        head = content[12:16] + side.to_bytes(4) * 2 + content[24:29]
        path.write_bytes(content[:12] + head + zlib.crc32(head).to_bytes(4) + content[33:])
    else:
        place = content.find(b"\xff\xc0") + 5
        path.write_bytes(content[:place] + side.to_bytes(2) * 2 + content[place + 4 :])
    return path


@pytest.mark.parametrize(("suffix", "side"), [(".png", 60_000), (".png", 8_000), (".jpg", 60_000)])
def test_an_image_of_too_many_pixels_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, side: int
) -> None:
    path = bomb(tmp_path / f"1{suffix}", side)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UnreadableImageError, match="pixels"):
        read_image(path)
    (problem,) = size_problems([("a clip", [path])])
    assert problem.fatal and "pixels" in problem.detail
