"""Which of the digits in a file's name number the frame: those that vary over the folder."""

from pathlib import Path

import pytest

from fdp_lightning.data.faces.frames import frame_numbers, list_frames


@pytest.mark.parametrize(
    "name",
    [
        "img{}", "{:04d}_crop_224", "img{:04d}_224x224", "reg_img{}", "frame_{}_of_30", "006_{:05d}", "EP01_5-{}",
        "2026-11-27_clip3_{:03d}_v2", "cam1_{}_640x480@200", "{}",
    ],
)  # fmt: skip
def test_the_digits_that_vary_count(tmp_path: Path, name: str) -> None:
    for number in (9, 10, 11, 30):
        (tmp_path / f"{name.format(number)}.png").touch()
    assert [file.number for file in list_frames(tmp_path)] == [9, 10, 11, 30]


@pytest.mark.parametrize(
    ("stems", "numbers"),
    [
        # the last of several that do: a counter beside the number in the recording
        (["1_100", "2_105", "3_110"], [100, 105, 110]),
        (["sub01_1_46", "sub01_2_47"], [46, 47]),
        # sizes and places of crops vary as well, in another order
        (["0001_crop_224x231", "0002_crop_224x229", "0003_crop_224x230"], [1, 2, 3]),
        (["1_x40_y12", "2_x41_y12", "3_x41_y13", "4_x40_y13"], [1, 2, 3, 4]),
        # a number that occurs twice stays one
        (["img1", "img2", "img02", "img3"], [1, 2, 2, 3]),
        (["1_crop_224", "2_crop_224", "02_crop_224"], [1, 2, 2]),
        # nothing varies, or each name is of another kind: the last digits
        (["reg_1_img7"], [7]),
        (["a1_224", "b2_225"], [224, 225]),
        (["img1_224", "img2_224", "cover_5"], [1, 2, 5]),
        ([], []),
    ],
)
def test_where_several_vary_or_none(stems: list[str], numbers: list[int]) -> None:
    assert frame_numbers(stems) == numbers
