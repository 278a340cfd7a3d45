"""Problems found in annotations, folder listings and image headers, and corrections of known errors."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook
from tests.data import layouts, replicas
from tests.data.layouts import write_frames

from fdp_lightning.config import configuration
from fdp_lightning.data.annotations.clips import clip_table
from fdp_lightning.data.annotations.corrections import correct, correction_problems
from fdp_lightning.data.checks.clips import annotation_remarks, folder_problems, list_folders, size_problems
from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.data.checks.tables import print_problems, print_without_frames
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.casme3a import CASME3A
from fdp_lightning.data.protocols.clip_tables import read_clips
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import settings


def table(*intervals: tuple, folder: str = "f", units: str = "4") -> pd.DataFrame:
    """Return a clip for each (onset, apex, offset), all in one folder."""
    rows = pd.DataFrame(intervals, columns=["onset", "apex", "offset"], dtype=object)
    names = [f"c{n}" for n in range(len(rows))]
    return clip_table(rows.assign(dataset="made_up", subject="01", clip=names, action_units=units, folder=folder))


def kinds(problems: list[Problem]) -> list[str]:
    return [problem.kind for problem in problems]


def test_clips_of_one_folder_overlap_if_they_share_a_frame() -> None:
    assert kinds(annotation_remarks(table((1, 2, 5), (5, 6, 9)))) == ["overlap"]
    assert kinds(annotation_remarks(table((1, 2, 5), (6, 7, 9)))) == []
    beyond_a_neighbour = annotation_remarks(table((1, 2, 100), (10, 11, 20), (50, 51, 60)))
    assert [problem.clip.rpartition("/")[2] for problem in beyond_a_neighbour] == ["c1@10", "c2@50"]
    assert kinds(annotation_remarks(table((1, 2, 5), (1, 2, 9)))) == ["overlap"]  # of two names


def test_no_clip_is_remarked_on_for_what_its_dataset_never_annotates() -> None:
    assert kinds(annotation_remarks(table((1, None, 5), (6, None, 9), units=""))) == []
    assert kinds(annotation_remarks(table((1, None, 5), (6, 7, 9)))) == ["apex_unknown"]


def problems_of(root: Path, *sizes: Sequence[int]) -> list[Problem]:
    """Return the problems of clips whose images have these numbers of bytes."""
    clips = []
    for name, of_clip in zip("ab", sizes, strict=False):
        folder = root / "CASME2_RAW_selected" / "sub01" / name
        folder.mkdir(parents=True)
        for number, size in enumerate(of_clip, start=1):
            (folder / f"img{number}.jpg").write_bytes(bytes(size))
        clips.append(table((1, 1, len(of_clip)), folder=str(folder)).assign(clip=name))
    together = pd.concat(clips, ignore_index=True)
    return folder_problems(CASME2(root, name="made_up"), together, list_folders(together["folder"]))


@pytest.mark.parametrize(("sizes", "found"), [((9, 9, 9), 0), ((9, 8), 0), ((9, 8, 7), 1)])
def test_clips_with_the_same_file_sizes_are_copies(tmp_path: Path, sizes: tuple[int, ...], found: int) -> None:
    assert kinds(problems_of(tmp_path, sizes, sizes)) == ["same_frames"] * found


def test_a_broken_row_of_the_release_is_not_fatal() -> None:
    rows = table((1812, 1820, 0), (99, 1820, 0)).assign(dataset="casme3a", subject="spNO.40", clip="e")
    found = {p.clip: p.fatal for p in annotation_remarks(rows) if p.kind == "bad_interval"}
    assert found == {"casme3a/spNO.40/e@1812": False, "casme3a/spNO.40/e@99": True}


@pytest.mark.parametrize(("clip", "fatal"), [("EP01_08", False), ("EP01_09", True)])
def test_a_folder_that_the_release_lacks_is_not_fatal(tmp_path: Path, clip: str, fatal: bool) -> None:
    (tmp_path / "CASME2_RAW_selected").mkdir()
    clips = table((1, 2, 5), folder=str(tmp_path / "nowhere")).assign(dataset="casme2", subject="16", clip=clip)
    found = folder_problems(CASME2(tmp_path), clips, list_folders(clips["folder"]))
    assert [(p.kind, p.fatal) for p in found] == [("missing_folder", fatal)]


def test_expected_gaps_are_not_fatal_but_a_clip_without_frames_is(tmp_path: Path) -> None:
    dataset = CASME3A(layouts.casme3a(tmp_path))
    clips = dataset.clips(corrections="corrected")
    row = clips.iloc[[0]].assign(onset=100_000, offset=100_003)
    folder = row["folder"].iloc[0]
    layouts.write_frames(Path(folder), [100_000, 100_002], "{}.jpg")
    there = folder_problems(dataset, row, list_folders(row["folder"]))
    assert {(p.kind, p.fatal) for p in there} == {("missing_frames", False), ("gap", False)}
    nothing = row.assign(onset=200_000, offset=200_001)
    (problem,) = folder_problems(dataset, nothing, list_folders(row["folder"]))
    assert (problem.kind, problem.fatal) == ("missing_frames", True)


def test_a_clip_of_another_image_size_than_most_is_named(tmp_path: Path) -> None:
    clips = []
    for name, (height, width) in {"a": (8, 10), "b": (8, 10), "c": (6, 10), "d": (8, 10)}.items():
        path = tmp_path / f"{name}1.png"
        cv2.imwrite(str(path), np.zeros((height, width), np.uint8))
        clips.append((name, [path]))
    (problem,) = size_problems(clips)
    assert (problem.clip, problem.kind, problem.fatal) == ("c", "odd_size", False)
    path.write_bytes(b"no image")
    (problem,) = size_problems([("a", [path])])
    assert (problem.kind, problem.fatal) == ("unreadable_frame", True) and str(path) in problem.detail


def intervals(clips: pd.DataFrame) -> list[list[int | None]]:
    numbers = clips[["onset", "apex", "offset"]].astype(object)
    return numbers.where(numbers.notna(), None).values.tolist()


# Clips in the order of a clip table, each with its interval as annotated, in the owners' later version, and corrected.
ERRORS: list[tuple[str, str, str, list[int], list[int], list[int | None]]] = [
    ("casme3a", "spNO.149", "d", [112, 83, 180], [112, 83, 180], [112, 160, 180]),
    ("casme3a", "spNO.214", "c", [20, 27, 3460], [20, 27, 3460], [20, 27, 34]),
    ("casme3a", "spNO.216", "d", [3647, 2655, 2660], [3647, 2655, 2660], [2647, 2655, 2660]),
    ("casme3a", "spNO.216", "e", [0, 0, 12], [0, 0, 12], [1, 1, 12]),
    ("casme3a", "spNO.40", "e", [1812, 1830, 0], [1812, 1830, 0], [1812, 1830, 1845]),
    ("casme3a", "spNO.40", "e", [2327, 2350, 0], [2327, 2350, 0], [2327, 2350, 2403]),
    ("samm", "013", "013_1_9", [5700, 5720, 5793], [5700, 5720, 5739], [5700, 5720, 5739]),
    ("samm", "028", "028_4_1", [1071, 1143, 1134], [1071, 1143, 1134], [1071, None, 1134]),
    ("samm", "032", "032_3_1", [4896, 1930, 4970], [4896, 1930, 4970], [4896, 4930, 4970]),
]


def test_known_errors_are_corrected_at_their_level_and_other_values_left_alone() -> None:
    names, (annotated, *corrected) = [row[:3] for row in ERRORS], [[row[n] for row in ERRORS] for n in (3, 4, 5)]
    clips = table(*annotated)
    clips[["dataset", "subject", "clip"]] = names
    for level, expected in zip(("none", "official", "corrected"), (annotated, *corrected), strict=True):
        assert intervals(correct(clips, level)) == expected
    assert intervals(clips) == annotated
    named = {problem.clip: problem.detail for problem in correction_problems(clips)}
    assert set(named) == {f"{'/'.join(name)}@{onset}" for name, (onset, *_) in zip(names, annotated, strict=True)}
    for *name, was, _, right in ERRORS:
        detail = named[f"{'/'.join(name)}@{was[0]}"]
        assert all(str(value) in detail for value in right if value not in (*was, None)), name
    moved = {name: clips["onset"] + 1000 + n for n, name in enumerate(("onset", "apex", "offset"))}
    for other in (clips.assign(**moved), clips.assign(dataset="synthetic")):
        assert intervals(correct(other, "corrected")) == intervals(correct(other, "none"))
        assert correction_problems(other) == []


SHEET = "CASME2-coding-20140508.xlsx"


def of_247(root: Path) -> pd.Series:
    """Return the clip of CASME II that the protocol of 247 clips includes, as the protocol defines it."""
    protocol = settings(Protocol, configuration("protocol=casme2_5c_247").protocol)
    clips = protocol.apply(read_clips(CASME2(root), protocol, "official"))
    return clips.set_index(["subject", "clip"]).loc[("24", "EP02_07")]


def test_an_included_clip_has_the_interval_of_its_files_or_of_its_row(tmp_path: Path) -> None:
    root = replicas.write_casme2(tmp_path)
    write_frames(root / "CASME2_RAW_selected/sub24/EP02_07", range(61, 80))
    row = of_247(root)
    assert (row["onset"], row["offset"], row["target"], row["fps"]) == (61, 79, "disgust", 200)
    book = load_workbook(root / SHEET)
    book.active.append(["24", "EP02_07", None, 91, 100, 120, None, "4", None])
    book.save(root / SHEET)
    row = of_247(root)
    assert (row["onset"], row["offset"], row["target"]) == (91, 120, "disgust")
    assert "disgust" in row["remark"]
    book.active.cell(book.active.max_row, 9).value = "happiness"
    book.save(root / SHEET)
    with pytest.raises(UserError, match=r"24/EP02_07.*protocol\.include"):
        of_247(root)


def test_names_on_disk_are_printed_without_control_characters_or_markup(capsys: pytest.CaptureFixture[str]) -> None:
    name = "01/[red]EP\x1b]0;title\x07"
    print_problems([Problem(name, "gap", f"frame 3 of {name} is missing")], [])
    print_without_frames("casme2_5c_246", [f"casme2/{name}", "casme2/01/EP02"], [f"casme2/{name}"])
    assert "\x1b" not in (output := capsys.readouterr().out)
    assert output.count(r"[red]EP\x1b]0;title\x07") == 3
