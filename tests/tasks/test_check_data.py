"""`task=check_data`: every protocol has its published counts, and problems of a copy are reported."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import pytest
from openpyxl import load_workbook

from fdp_lightning.config import configuration
from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.data.checks.problems import refused as stopping
from fdp_lightning.errors import UserError
from fdp_lightning.tasks.check_data import check_data
from tests.data import layouts, replicas
from tests.data.test_protocols import COUNTS

MADE_UP = ("data=casme2", "data.name=synthetic", "protocol=synthetic_5c")
"""Overrides for a copy in CASME II's layout without published counts."""


def looked_at(root: Path, *overrides: str) -> tuple[dict, str]:
    """Return check.json of a copy, and the message of the error, empty if there was none."""
    output, words = root / "check.json", ""
    try:
        check_data(configuration("task=check_data", f"data.root={root}", f"check_data.output={output}", *overrides))
    except UserError as error:
        words = str(error)
    return json.loads(output.read_text()), words


def checked(root: Path, *overrides: str, published: bool = False) -> dict:
    """Return check.json of a copy; the check must fail unless the copy is as `published`."""
    result, words = looked_at(root, *overrides)
    assert ("is not as published" in words) != published, words
    return result


def details(result: dict, kind: str) -> dict[str, str]:
    """Return clip → detail of all problems of one kind."""
    return {problem["clip"]: problem["detail"] for problem in result["problems"] if problem["kind"] == kind}


def named(result: dict, kind: str) -> set[str]:
    """Return 'subject/clip' of all problems of one kind."""
    return {clip.split("@")[0].split("/", 1)[1] for clip in details(result, kind)}


def counts(result: dict) -> dict[str, tuple[int, int]]:
    """Return protocol → (clips, subjects), after checking that all are as published."""
    assert not any(table["differences"] for table in result["protocols"].values())
    return {name: (table["n_clips"], table["n_subjects"]) for name, table in result["protocols"].items()}


PARTS = {"megc2018": ("casme2", "samm"), "megc2019": ("casme2", "samm", "smic"),
         "cd6me": ("casme", "casme2", "samm", "fourdme", "mmew", "casme3a")}  # fmt: skip


def write(root: Path, dataset: str) -> Path:
    """Write a copy with the labels of all clips but no frames."""
    for part in PARTS.get(dataset, ()):
        getattr(replicas, f"write_{part}")(root / part, **({"cropped": False} if part == "smic" else {}))
    return root if dataset in PARTS else getattr(replicas, f"write_{dataset}")(root)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict]:
    """Result of checking the copy of a dataset."""
    return cache(lambda dataset: checked(write(tmp_path_factory.mktemp(dataset), dataset), f"data={dataset}"))


@pytest.mark.parametrize("dataset", [name for name in COUNTS if name not in ("smic", "megc2019_flow")])
def test_every_protocol_has_its_published_counts(dataset: str, result: Callable[[str], dict]) -> None:
    found = result(dataset)
    assert counts(found) == COUNTS[dataset]
    classes = {
        "casme_sq": {"negative": 21, "others": 19, "surprise": 9, "positive": 8}, "casme3a": replicas.CASME3A_EMOTIONS,
        "megc2018": {"I": 49, "II": 28, "III": 119, "IV": 34, "V": 23},
        "megc2019": {"negative": 250, "positive": 109, "surprise": 83},
    }  # fmt: skip
    assert found["classes"] == classes.get(dataset, found["classes"])
    if dataset == "casme3a":
        assert found["protocols"]["casme3a_objective"]["classes"] == replicas.CASME3A_OBJECTIVE
        assert len(details(found, "apex_at_onset")) == 55 and "spNO.214/c" in named(found, "odd_length")
        assert len(named(found, "known_error")) == 5  # six clips, two of them in one folder
    elif dataset == "casme":
        assert sum("/06/EP02_5@" in clip for clip in found["protocols"]["casme"]["clips"]) == 6
    elif dataset == "fourdme":
        assert {problem["kind"] for problem in found["problems"]} == {"missing_folder"}


def test_similar_protocols_of_casme2_differ_in_the_published_clips(result: Callable[[str], dict]) -> None:
    of = {name: set(table["clips"]) for name, table in result("casme2")["protocols"].items()}
    changed = {f"casme2/{subject}/{clip}@31" for subject, clip in replicas.CHANGED_IN_2019}
    assert of["casme2_5c_249"] - of["casme2_5c_246"] == changed
    assert of["casme2_5c_247"] - of["casme2_5c_246"] == {"casme2/24/EP02_07@0"}
    assert of["casme2_3c_2014"] - of["casme2_megc2019"] == {"casme2/04/EP12_01f@70", "casme2/05/EP09_05f@41"}


KNOWN: dict[str, dict[str, set[str]]] = {
    "casme2": {
        "apex_at_onset": {"05/EP09_05f"}, "apex_unknown": {"04/EP12_01f"},
        "apex_at_offset": {"05/EP16_04f", "12/EP09_06", "20/EP16_01", "25/EP18_04f"},
        "known_error": {"04/EP12_01f", "05/EP09_05f", "16/EP01_08", "07/EP06_01", "12/EP09_02"},
    },
    "samm": {
        "apex_outside": {"028/028_4_1", "032/032_3_1"}, "known_error": {"028/028_4_1", "032/032_3_1"},
        "uncertain_action_units": {"007/007_6_1", "007/007_6_5", "011/011_4_2", "014/014_5_2", "035/035_7_2"},
    },
}  # fmt: skip


@pytest.mark.parametrize("dataset", KNOWN)
def test_known_annotation_errors_are_reported(dataset: str, result: Callable[[str], dict]) -> None:
    assert {kind: named(result(dataset), kind) for kind in KNOWN[dataset]} == KNOWN[dataset]


def test_known_annotation_errors_of_casme_sq_are_reported_and_not_fatal(result: Callable[[str], dict]) -> None:
    found = result("casme_sq")
    numbers = {"read_otherwise": replicas.NO_OFFSET, "apex_outside": replicas.APEX_OUTSIDE, "no_action_units": 2}
    assert {kind: len(details(found, kind)) for kind in numbers} == numbers
    assert sorted(details(found, "uncertain_action_units").values()) == ["'10or11'", "'14or23'"]
    assert not any(p["fatal"] for p in found["problems"] if p["kind"] in ("apex_outside", "read_otherwise"))


@pytest.mark.parametrize("cropped", [False, True])
def test_smic_has_its_published_counts_and_its_cropped_frames_their_known_gaps(cropped: bool, tmp_path: Path) -> None:
    root, frames = replicas.write_smic(tmp_path, cropped), "cropped" if cropped else "raw"
    result = checked(root, "data=smic", f"data.adapter.frames={frames}", published=True)
    assert counts(result) == COUNTS["smic"]
    quirks = {"18/s18_sur_03", "03/s03_po_08", "03/s03_sur_01", "03/s03_sur_05", "03/s03_ne_16"}
    assert named(result, "gap") == (quirks - {"18/s18_sur_03"} if cropped else set())
    if cropped:
        assert quirks <= named(result, "known_error")
        assert "18/s18_sur_03" in named(result, "read_otherwise")


def test_differences_of_a_composite_are_reported_by_dataset(tmp_path: Path) -> None:
    differences = checked(write(tmp_path, "cd6me"), "data=cd6me")["differences"]
    assert differences == ["clips: 2031 expected, 2030 found", "casme2: 256 clips expected, 255 found"]


SHEET_2014, WORKBOOK = "CASME2-coding-20140508.xlsx", "CASME2-coding-20190701.xlsx"
DEEP = "check_data.deep=true"


@pytest.fixture
def clip(small_copy: Path) -> Path:
    """The folder of the first clip."""
    return min((small_copy / "CASME2_RAW_selected").glob("sub*/*"))


def frames(clip: Path) -> list[Path]:
    return sorted(clip.iterdir(), key=lambda path: int(path.stem[3:]))


def kinds(result: dict) -> list[tuple[str, bool]]:
    return [(p["kind"], p["fatal"]) for p in result["problems"]]


UNREADABLE = [("unreadable_frame", True)]


def test_a_complete_copy_passes_and_each_kind_of_damage_is_reported(small_copy: Path) -> None:
    (small_copy / "loop").symlink_to(small_copy)  # cyclic links must not hang
    assert checked(small_copy, *MADE_UP, published=True)["problems"] == []
    assert checked(small_copy, *MADE_UP, "+protocol.expected.clips=9")["differences"]
    assert looked_at(small_copy, *MADE_UP, "+protocol.expected.clips=9", "protocol.strict=false")[1] == ""
    first, second, third = sorted((small_copy / "CASME2_RAW_selected").glob("sub*/*"))
    images = frames(first)
    onset = int(images[0].stem[3:])
    images[3].unlink()
    images[-1].unlink()
    not_utf8 = images[2].rename(first / os.fsdecode(b"img\xff" + os.fsencode(images[2].name[3:])))
    not_utf8.write_bytes(b"")
    (first / "Thumbs.db").write_bytes(b"stray")
    (first / f"img{onset - 1}.jpg").write_bytes(b"no image")  # outside the clip: not decoded
    (first / f"img0{onset}.jpg").write_bytes(images[0].read_bytes())
    second.rename(second.with_name("elsewhere"))
    (third / sorted(p.name for p in third.iterdir())[1]).write_bytes(b"\xff\xd8 no image")
    result = checked(small_copy, *MADE_UP)
    found = {(p["clip"].split("/")[-1].split("@")[0], p["kind"], p["fatal"]) for p in result["problems"]}
    assert found == {
        (first.name, "gap", True), (first.name, "missing_frames", True), (first.name, "unreadable_frame", True),
        (first.name, "extra_frames", False), (first.name, "doubled_frames", True),
        (second.name, "missing_folder", True), ("elsewhere", "unlabelled_folder", False),
        (third.name, "small_file", False),
    }  # fmt: skip
    deep = named(checked(small_copy, *MADE_UP, DEEP), "unreadable_frame")
    assert deep == {f"01/{first.name}", f"03/{third.name}"}
    shutil.rmtree(third)
    shutil.copytree(first, third)  # one clip under two names
    assert named(checked(small_copy, *MADE_UP), "same_frames") == {f"03/{third.name}"}


@pytest.mark.parametrize(("place", "deep"), [(0, ()), (3, (DEEP,))])
def test_a_pipe_among_frames_is_reported_at_once(
    small_copy: Path, clip: Path, place: int, deep: tuple[str, ...]
) -> None:
    path = frames(clip)[place]
    path.unlink()
    os.mkfifo(path)
    result = checked(small_copy, *MADE_UP, *deep)
    assert kinds(result) == UNREADABLE
    assert "not a regular file" in result["problems"][0]["detail"]


def test_broken_frames_are_found_at_the_start_of_a_clip_and_everywhere_by_the_deep_check(
    small_copy: Path, clip: Path
) -> None:
    first, path = frames(clip)[0], frames(clip)[4]
    whole = first.read_bytes()
    first.write_bytes(b"\xff\xd8 no image")
    assert UNREADABLE[0] in kinds(checked(small_copy, *MADE_UP))
    first.write_bytes(whole)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    assert kinds(checked(small_copy, *MADE_UP, published=True)) == [("small_file", False)]
    assert kinds(checked(small_copy, *MADE_UP, DEEP)) == UNREADABLE
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - 2 - len(data) // 2) + data[-2:])
    assert cv2.imread(str(path)) is not None
    result = checked(small_copy, *MADE_UP, DEEP)
    assert kinds(result) == UNREADABLE
    assert "is damaged or truncated (Corrupt JPEG data" in result["problems"][0]["detail"]


def test_two_workbooks_of_one_name_are_refused_if_they_differ(small_copy: Path) -> None:
    for name in ("a", "b"):
        (small_copy / name).mkdir()
        shutil.copy(small_copy / WORKBOOK, small_copy / name)
    (small_copy / WORKBOOK).unlink()
    assert checked(small_copy, *MADE_UP, published=True)["n_clips"] == 3
    book = load_workbook(small_copy / "b" / WORKBOOK)
    book.active["C2"] = 1
    book.save(small_copy / "b" / WORKBOOK)
    with pytest.raises(UserError, match="same name"):
        check_data(configuration("task=check_data", *MADE_UP, f"data.root={small_copy}"))


def test_protocols_are_not_counted_without_their_workbook(tmp_path: Path) -> None:
    root = replicas.write_casme2(tmp_path)
    for name in (WORKBOOK, "CASME2-ObjectiveClasses.xlsx"):
        (root / name).unlink()
    found, words = looked_at(root, "data=casme2")
    assert "protocol=casme2_5c_246" in words  # is recommended
    assert (found["protocol"], found["n_clips"]) == ("casme2_5c_249", 0)
    absent = {name for name, table in found["protocols"].items() if "not_in_this_copy" in table}
    objective = {"casme2_objective", "casme2_objective_5c"}
    assert absent == {"casme2_5c_249", "casme2_7c_2019", "casme2_3c", "casme2_3c_156", *objective}
    assert found["protocols"]["casme2_5c_246"]["n_clips"] == 246


def test_labelled_clips_without_frames_are_reported(tmp_path: Path) -> None:
    rows = [row for row in replicas.casme2_rows("2014") if row[0] <= "08" and row[-1] in ("happiness", "surprise")]
    replicas.save(tmp_path / SHEET_2014, [replicas.CASME2_HEADER, *rows])
    absent = min(row[0] for row in rows)
    lacking = [row for row in rows if row[0] == absent]
    lacking.append(next(row for row in rows if row[0] != absent))
    for row in rows:
        if row not in lacking:
            layouts.write_frames(tmp_path / "CASME2_RAW_selected" / f"sub{row[0]}" / row[1], range(row[3], row[5] + 1))
    options = ("data=casme2", "protocol=casme2_5c_246", "protocol.strict=false")
    for policy in ("strict", "clip"):
        result, message = looked_at(tmp_path, *options, f"data.policy={policy}")
        assert sorted(result["without_frames"]) == sorted(f"casme2/{row[0]}/{row[1]}@{row[3]}" for row in lacking)
        assert f"{len(lacking)} of the {len(rows)} clips" in message and "data.policy=skip" in message
    checked(tmp_path, *options, "data.policy=skip", published=True)


def test_a_problem_stops_the_check_only_if_it_stops_a_run_under_that_policy() -> None:
    chosen, there = ["casme2/01/a@1", "casme2/01/b@1"], {"casme2/01/b@1"}
    gone, gap = Problem(chosen[0], "missing_folder", ""), Problem(chosen[1], "gap", "")
    twice, everything = Problem(chosen[0], "near_copy", ""), Problem("casme2", "missing_folder", "")
    nameless = Problem("casme2/01/a@<NA>", "bad_interval", "")
    cases: list[tuple[list[Problem], int, int, int]] = [
        ([gap], 1, 0, 1), ([gone], 1, 1, 0), ([gone, gap], 2, 1, 2), ([twice], 1, 1, 1), ([everything], 1, 1, 1),
        ([nameless], 1, 1, 1), ([replace(gone, fatal=False)], 0, 0, 0),
    ]  # fmt: skip
    for problems, *expected in cases:
        found = [stopping(problems, policy, chosen, there) for policy in ("strict", "clip", "skip")]
        assert found == expected, problems


def test_the_published_counts_do_not_apply_to_labels_of_another_release(tmp_path: Path) -> None:
    rows = [[*row[:6], "II", "happy"] for row in layouts.CASME3A_ROWS]
    name = "cas(me)3_part_A_ME_label_JpgIndex_v1.xlsx"
    layouts.write_workbook(tmp_path / name, label=[layouts.CASME3A_HEADER, *rows])
    for clip in ("spNO.1/a", "spNO.2/j"):
        layouts.write_frames(tmp_path / "part_A" / clip / "color", range(1, 20), "{}.jpg")
    result = checked(tmp_path, "data=casme3a", "protocol.labels=v1", published=True)
    for table in result, *result["protocols"].values():
        assert (table["n_clips"], table["expected"], table["differences"]) == (3, {}, [])
