"""`task=check_data` on copies that are broken in ways disks and people break them: never silent, never a traceback."""

import json
import os
import shutil
from pathlib import Path

import cv2
import pytest
from openpyxl import load_workbook

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.tasks.check_data import check_data
from tests.tasks.test_check_data import MADE_UP, checked

pytestmark = pytest.mark.costly

WORKBOOK = "CASME2-coding-20190701.xlsx"
DEEP = "check_data.deep=true"


@pytest.fixture
def clip(small_copy: Path) -> Path:
    """The folder of the first clip."""
    return min((small_copy / "CASME2_RAW_selected").glob("sub*/*"))


def frames(clip: Path) -> list[Path]:
    return sorted(clip.iterdir(), key=lambda path: int(path.stem[3:]))


def kinds(result: dict) -> list[tuple[str, bool]]:
    return [(p["kind"], p["fatal"]) for p in result["problems"]]


@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.parametrize("deep", [(), (DEEP,)])
def test_a_pipe_among_the_frames_is_named_and_not_waited_for(
    small_copy: Path, clip: Path, place: int, deep: tuple[()] | tuple[str]
) -> None:
    path = frames(clip)[place]
    path.unlink()
    os.mkfifo(path)
    result = checked(small_copy, *MADE_UP, *deep)
    assert kinds(result) == [("unreadable_frame", True)]
    assert "not a regular file" in result["problems"][0]["detail"]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8 no picture"])
def test_a_broken_first_frame_is_one_problem_however_one_looks(small_copy: Path, clip: Path, content: bytes) -> None:
    frames(clip)[0].write_bytes(content)
    result = checked(small_copy, *MADE_UP)
    assert [p for p in kinds(result) if p[1]] == [("unreadable_frame", True)]
    assert kinds(checked(small_copy, *MADE_UP, DEEP)) == [("unreadable_frame", True)]


def test_a_file_cut_short_is_suspected_by_its_size_and_proved_by_decoding(small_copy: Path, clip: Path) -> None:
    path = frames(clip)[4]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    result = checked(small_copy, *MADE_UP, published=True)
    assert kinds(result) == [("small_file", False)]
    assert str(path) in result["problems"][0]["detail"]
    assert kinds(checked(small_copy, *MADE_UP, DEEP)) == [("unreadable_frame", True)]


def test_a_jpeg_damaged_in_its_middle_is_found_by_decoding(small_copy: Path, clip: Path) -> None:
    path = frames(clip)[4]
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : -2] = bytes(len(data) - 2 - len(data) // 2)
    path.write_bytes(data)
    assert cv2.imread(str(path)) is not None
    result = checked(small_copy, *MADE_UP, DEEP)
    assert kinds(result) == [("unreadable_frame", True)]
    assert "is damaged (Corrupt JPEG data" in result["problems"][0]["detail"]


def test_a_name_that_is_no_text_is_kept_in_check_json(small_copy: Path, clip: Path) -> None:
    name = b"img\xff" + os.fsencode(frames(clip)[2].name[3:])
    (clip / os.fsdecode(name)).write_bytes(b"")
    result = checked(small_copy, *MADE_UP)
    assert set(kinds(result)) == {("doubled_frames", True), ("unreadable_frame", True)}
    assert any("\udcff" in p["detail"] for p in result["problems"])


def test_subjects_and_frames_that_are_files_are_named(small_copy: Path) -> None:
    root = small_copy / "CASME2_RAW_selected"
    shutil.rmtree(root / "sub02")
    (root / "sub02").touch()
    result = checked(small_copy, *MADE_UP)
    assert kinds(result) == [("missing_folder", True)]
    assert "Not a directory" in result["problems"][0]["detail"]
    shutil.rmtree(root)
    root.touch()
    assert "is a file, not a folder" in checked(small_copy, *MADE_UP)["problems"][0]["detail"]


def test_links_that_lead_round_in_circles_end(small_copy: Path, clip: Path) -> None:
    (clip.parent / "up").symlink_to("..")
    (small_copy / "loop").symlink_to(small_copy)
    assert checked(small_copy, *MADE_UP, published=True)["problems"] == []
    shutil.rmtree(clip)
    clip.symlink_to(clip.name)
    assert kinds(checked(small_copy, *MADE_UP)) == [("missing_folder", True)]


def test_two_workbooks_of_one_name_that_differ_are_not_chosen_between(small_copy: Path) -> None:
    for name in ("a", "b"):
        (small_copy / name).mkdir()
        shutil.copy(small_copy / WORKBOOK, small_copy / name)
    (small_copy / WORKBOOK).unlink()
    assert checked(small_copy, *MADE_UP, published=True)["n_clips"] == 3
    book = load_workbook(small_copy / "b" / WORKBOOK)
    book.active["C2"] = 1
    book.save(small_copy / "b" / WORKBOOK)
    with pytest.raises(UserError, match="same name") as caught:
        check_data(configuration("task=check_data", *MADE_UP, f"data.root={small_copy}"))
    assert str(small_copy / "a" / WORKBOOK) in str(caught.value)
    assert str(small_copy / "b" / WORKBOOK) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives up the rights of root")
@pytest.mark.parametrize(
    ("closed", "mode", "says"),
    [
        ("CASME2_RAW_selected/sub01", 0o000, "Permission denied"),
        ("CASME2_RAW_selected", 0o000, "Permission denied"),
        (".", 0o000, "small cannot be read"),
        (".", 0o644, "small cannot be read"),
        (WORKBOOK, 0o000, "cannot be read"),
    ],
)
def test_what_may_not_be_read_is_named(small_copy: Path, closed: str, mode: int, says: str) -> None:
    for path in [small_copy, *small_copy.rglob("*")]:
        path.chmod(0o755)
    for path in small_copy.parents:  # as many as the runner of the tests makes
        path.chmod(path.stat().st_mode | 0o055)
    place = small_copy / closed
    place.chmod(mode)
    output = small_copy.parent / "check.json"
    config = configuration("task=check_data", *MADE_UP, f"data.root={small_copy}", f"check_data.output={output}")
    small_copy.parent.chmod(0o777)
    os.setresuid(65534, 65534, 0)  # os.access asks for the real user
    try:
        with pytest.raises(UserError) as caught:
            check_data(config)
    finally:
        os.setresuid(0, 0, 0)
        place.chmod(0o755)
    found = json.loads(output.read_text())["problems"] if output.exists() else []
    assert says in str(caught.value) + str(found)


def test_what_lies_outside_a_clip_is_not_decoded_for_it(small_copy: Path, clip: Path) -> None:
    last = int(frames(clip)[-1].stem[3:])
    (clip / f"img{last + 1}.jpg").write_bytes(b"no picture")
    assert kinds(checked(small_copy, *MADE_UP, DEEP, published=True)) == [("extra_frames", False)]
