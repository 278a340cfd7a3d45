"""Frames are found by listing, numbered by the digits of their names that vary, and never half decoded."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from fdp_lightning.data.faces.frames import UnreadableImageError, frame_numbers, frames_between, list_frames, read_image

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
        # the last of several that do: a counter beside the number in the recording
        (["1_100", "2_105", "3_110"], [100, 105, 110]), (["sub01_1_46", "sub01_2_47"], [46, 47]),
        # sizes and places of crops vary as well, in another order
        (["0001_crop_224x231", "0002_crop_224x229", "0003_crop_224x230"], [1, 2, 3]),
        (["1_x40_y12", "2_x41_y12", "3_x41_y13", "4_x40_y13"], [1, 2, 3, 4]),
        # a number that occurs twice stays one
        (["img1", "img2", "img02", "img3"], [1, 2, 2, 3]), (["1_crop_224", "2_crop_224", "02_crop_224"], [1, 2, 2]),
        # each name is of another kind
        (["a1_224", "b2_225"], [224, 225]), (["img1_224", "img2_224", "cover_5"], [1, 2, 5]),
    ],
)  # fmt: skip
def test_frames_are_numbered_by_the_digits_that_vary_or_the_last(stems: list[str], numbers: list[int]) -> None:
    assert frame_numbers(stems) == numbers


def test_stray_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "img1.jpg", "._img1.jpg", "Thumbs.db", "notes2.txt", "cover.jpg", "img3.jpg.part", ".DS_Store")
    touch(tmp_path / "img4.jpg", "img5.jpg")
    touch(tmp_path, "img9.JPEG", "img10.PNG", "img100.bmp", "img011.tiff", "img12.tif")
    # In the order of their numbers, not of their names.
    assert [file.number for file in list_frames(tmp_path)] == [1, 9, 10, 11, 12, 100]


def test_missing_frames_are_reported_by_number(tmp_path: Path) -> None:
    touch(tmp_path, "img1.jpg", "img2.jpg", "img4.jpg", "img7.jpg")
    frames, trouble = frames_between(list_frames(tmp_path), 1, 7)
    assert [file.number for file in frames] == [1, 2, 4, 7]
    assert trouble == "3 of the frames 1..7 are missing (3, 5, 6)"
    _, trouble = frames_between(list_frames(touch(tmp_path, "img02.jpg")), 1, 4)
    assert trouble.startswith("frame numbers 2 occur more than once") and "are missing (3)" in trouble


@pytest.mark.parametrize("name", ["img[1].png", "微表情1.bmp", "ümlaut (1).tiff", "a%d1.jpg"])
def test_pictures_in_folders_of_odd_names_are_found_and_decoded_exactly(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "clip [a] 微 ü é"
    folder.mkdir()
    # The last is a PNG under the name of a JPEG: read by its content.
    (folder / name).write_bytes(encode(Path(name).suffix.replace(".jpg", ".png")))
    (file,) = list_frames(folder)
    assert np.array_equal(read_image(file.path), PICTURE[..., ::-1])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options",
    [{"quality": q, "subsampling": s} for q, s in ((40, "4:4:4"), (75, "4:2:2"), (98, "4:2:0"))]
    + [{"progressive": True}, {"optimize": True}, {"keep_rgb": True}, {"exif": 3}, {"exif": 6}],
    ids=str,
)
def test_a_jpeg_is_the_picture_that_opencv_decodes(tmp_path: Path, options: dict[str, Any], mode: str) -> None:
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


def test_a_jpeg_cut_off_behind_its_embedded_thumbnail_is_truncated(tmp_path: Path) -> None:
    thumbnail = encode(".jpg", PICTURE)
    segment = b"Exif\0\0" + thumbnail
    whole = encode(".jpg", np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8))
    with_thumbnail = whole[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + whole[2:]
    path = tmp_path / "1.jpg"
    path.write_bytes(with_thumbnail)
    assert read_image(path).shape == (48, 48, 3)
    path.write_bytes(with_thumbnail[:-900])
    with pytest.raises(UnreadableImageError, match="truncated"):
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
def test_a_jpeg_padded_at_its_end_is_whole(tmp_path: Path, before: bytes, behind: bytes) -> None:
    path = tmp_path / "img7.jpg"
    whole = encode(".jpg")
    path.write_bytes(whole[:-2] + before + whole[-2:] + behind)
    assert np.array_equal(read_image(path), cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR_RGB))
