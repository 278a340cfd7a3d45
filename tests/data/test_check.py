"""What is said of an annotation, of folders' listings and of pictures' headers, rule by rule."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tests.data import layouts

from fdp_lightning.data.annotations.clips import clip_table
from fdp_lightning.data.checks.clips import annotation_remarks, folder_problems, list_folders
from fdp_lightning.data.checks.pictures import size_problems
from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.data.checks.tables import print_protocols
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.casme3a import CASME3A


def table(*intervals: tuple, folder: str = "f", units: str = "4") -> pd.DataFrame:
    """A clip for each (onset, apex, offset), all of one folder."""
    rows = [
        {
            "dataset": "made_up", "subject": "01", "clip": f"c{n}", "onset": onset, "apex": apex, "offset": offset,
            "action_units": units, "folder": folder,
        }
        for n, (onset, apex, offset) in enumerate(intervals)
    ]  # fmt: skip
    return clip_table(pd.DataFrame(rows))


def kinds(problems: list[Problem]) -> list[str]:
    return [problem.kind for problem in problems]


def test_clips_of_one_folder_overlap_from_a_single_shared_frame_on() -> None:
    assert kinds(annotation_remarks(table((1, 2, 5), (5, 6, 9)))) == ["overlap"]
    assert kinds(annotation_remarks(table((1, 2, 5), (6, 7, 9)))) == []
    beyond_a_neighbour = annotation_remarks(table((1, 2, 100), (10, 11, 20), (50, 51, 60)))
    assert [problem.clip.rpartition("/")[2] for problem in beyond_a_neighbour] == ["c1@10", "c2@50"]
    assert kinds(annotation_remarks(table((1, 2, 5), (1, 2, 9)))) == ["overlap"]  # of two names


def test_a_clip_of_more_than_ten_times_the_usual_frames_is_odd() -> None:
    assert kinds(annotation_remarks(table(*[(100 * n, 100 * n + 1, 100 * n + 9) for n in range(1, 4)]))) == []
    long = table(*[(100 * n, 100 * n + 1, 100 * n + 9) for n in range(1, 4)], (1000, 1001, 1100))
    assert kinds(annotation_remarks(long)) == ["odd_length"]
    assert kinds(annotation_remarks(table((1, 2, 10), (20, 21, 29), (40, 41, 139)))) == []


def test_what_a_dataset_does_not_annotate_at_all_is_no_remark_on_its_clips() -> None:
    assert kinds(annotation_remarks(table((1, None, 5), (6, None, 9), units=""))) == []
    assert kinds(annotation_remarks(table((1, None, 5), (6, 7, 9)))) == ["apex_unknown"]
    both = pd.concat([table((1, 2, 5)), table((1, 2, 5), folder="g", units="").assign(subject="02")], ignore_index=True)
    assert kinds(annotation_remarks(both)) == ["no_action_units"]


def of_sizes(root: Path, name: str, sizes: Sequence[int]) -> pd.DataFrame:
    """A clip whose images have so many bytes."""
    folder = root / "CASME2_RAW_selected" / "sub01" / name
    folder.mkdir(parents=True)
    for number, size in enumerate(sizes, start=1):
        (folder / f"img{number}.jpg").write_bytes(bytes(size))
    return table((1, 1, len(sizes)), folder=str(folder)).assign(clip=name)


def problems_of(root: Path, *clips: pd.DataFrame) -> list[Problem]:
    together = pd.concat(clips, ignore_index=True)
    return folder_problems(CASME2(root, name="made_up"), together, list_folders(together["folder"]))


def test_frames_around_a_clip_and_folders_of_no_clip_are_named(tmp_path: Path) -> None:
    clip, _ = (of_sizes(tmp_path, name, range(51, 59)) for name in ("c0", "none"))
    assert kinds(problems_of(tmp_path, clip.assign(offset=5))) == ["extra_frames", "unlabelled_folder"]


@pytest.mark.parametrize(("sizes", "found"), [((9, 9, 9), 0), ((9, 8), 0), ((9, 8, 7), 1)])
def test_clips_of_the_same_file_sizes_are_copies(tmp_path: Path, sizes: tuple[int, ...], found: int) -> None:
    clips = [of_sizes(tmp_path, name, sizes) for name in ("a", "b")]
    assert kinds(problems_of(tmp_path, *clips)) == ["same_frames"] * found


def test_a_file_is_small_below_half_of_its_neighbours(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, of_sizes(tmp_path, "a", (100, 50, 49, 101, 102)))
    assert (problem.kind, problem.fatal) == ("small_file", False)
    assert "img3.jpg has 49 bytes" in problem.detail


def test_a_broken_row_that_is_published_so_is_in_nobodys_way() -> None:
    row = {"dataset": "casme3a", "subject": "spNO.40", "clip": "e", "onset": 1812, "apex": 1820, "offset": 0}
    rows = [row | {"action_units": "4"}, row | {"action_units": "4", "onset": 99}]
    found = annotation_remarks(clip_table(pd.DataFrame(rows)))
    assert {p.clip: p.fatal for p in found if p.kind == "bad_interval"} == {
        "casme3a/spNO.40/e@1812": False,
        "casme3a/spNO.40/e@99": True,
    }


@pytest.mark.parametrize(("clip", "fatal"), [("EP01_08", False), ("EP01_09", True)])
def test_a_folder_that_is_published_incomplete_is_in_nobodys_way(tmp_path: Path, clip: str, fatal: bool) -> None:
    (tmp_path / "CASME2_RAW_selected").mkdir()
    clips = table((1, 2, 5), folder=str(tmp_path / "nowhere")).assign(dataset="casme2", subject="16", clip=clip)
    found = folder_problems(CASME2(tmp_path), clips, list_folders(clips["folder"]))
    assert [(p.kind, p.fatal) for p in found] == [("missing_folder", fatal)]


def test_gaps_that_are_normal_are_no_hindrance_but_a_clip_without_any_frame_is(tmp_path: Path) -> None:
    dataset = CASME3A(layouts.casme3a(tmp_path))
    clips = dataset.clips(corrections="corrected")
    row = clips.iloc[[0]].assign(onset=100_000, offset=100_003)
    folder = row["folder"].iloc[0]
    layouts.write_frames(Path(folder), [100_000, 100_002], "{}.jpg")
    there = folder_problems(dataset, row, list_folders(row["folder"]))
    assert {(p.kind, p.fatal) for p in there} == {("missing_frames", False), ("gap", False)}
    nothing = row.assign(onset=200_000, offset=200_001)
    assert [(p.kind, p.fatal) for p in folder_problems(dataset, nothing, list_folders(row["folder"]))] == [
        ("missing_frames", True)
    ]


def test_a_clip_whose_pictures_are_of_another_size_than_most_is_named(tmp_path: Path) -> None:
    clips = []
    for name, (height, width) in {"a": (8, 10), "b": (8, 10), "c": (6, 10), "d": (8, 10)}.items():
        path = tmp_path / f"{name}1.png"
        cv2.imwrite(str(path), np.zeros((height, width), np.uint8))
        clips.append((name, [path]))
    (problem,) = size_problems(clips)
    assert (problem.clip, problem.kind, problem.fatal) == ("c", "odd_size", False)
    assert "10x6" in problem.detail and "10x8" in problem.detail
    path.write_bytes(b"no picture")
    (problem,) = size_problems([("a", [path])])
    assert (problem.kind, problem.fatal) == ("unreadable_frame", True) and str(path) in problem.detail


def test_names_that_look_like_markup_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"n_clips": 1, "n_subjects": 1, "classes": {"[red]": 1}, "without_frames": []}
    print_protocols("made[up]", {"p[bold]": {**counts, "expected": {}, "differences": []}}, [":cat:"])
    shown = capsys.readouterr().out
    assert [name for name in ("made[up]", "p[bold]", "[red] 1", ":cat:") if name not in shown] == []
