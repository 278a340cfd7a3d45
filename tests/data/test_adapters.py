"""The adapters on true layouts: exact tables, all kinds of frames, copies one level off, messages on broken ones."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.data import layouts
from tests.data.layouts import WRITERS, missing_frames, save, write_files, write_workbook

from fdp_lightning.data.annotations.clips import COLUMNS
from fdp_lightning.data.checks.clips import annotation_problems, folder_problems, list_folders
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme import CASME
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.casme3a import CASME3A
from fdp_lightning.data.datasets.casme3c import CASME3C
from fdp_lightning.data.datasets.casme_sq import CASMESquared
from fdp_lightning.data.datasets.dfme import DFME
from fdp_lightning.data.datasets.fourdme import FourDME
from fdp_lightning.data.datasets.mmew import MMEW
from fdp_lightning.data.datasets.samm import SAMM
from fdp_lightning.data.datasets.smic import SMIC
from fdp_lightning.data.datasets.workbook import padded
from fdp_lightning.errors import UserError


def lines(table: pd.DataFrame, columns: str) -> list[list]:
    return table[columns.split()].astype(object).where(table[columns.split()].notna(), None).values.tolist()


def refused(dataset: FaceDataset, labels: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        dataset.clips(labels)
    return str(caught.value)


SMIC_ROWS: list[list] = [
    ["01", "s01_ne_01", 61206, None, 61211, "", "negative"],
    ["01", "s01_po_02", 99998, None, 100002, "", "positive"],
    ["03", "s03_sur_05", 12345678, None, 12345682, "", "surprise"],
    ["18", "s18_ne_10", 900, None, 902, "", "negative"],
    ["18", "s18_sur_03", 700, None, 703, "", "surprise"],
]
CASME_SQ_ROWS: list[list] = [
    ["15", "disgust2_1", 10, 15, 20, "4", "negative"],
    ["40", "happy1_2", 7, 12, 18, "", "surprise"],
]
CASME3C_ROWS: list[list] = [
    ["01", "1", 100, None, 104, "4,7", "negative"],
    ["01", "2", 110, None, 113, "1,2", "surprise"],
    ["23", "1", 7, None, 9, "12", "positive"],
]
CASME_ROWS: list[list] = [
    ["01", "EP01_5", 8, 12, 16, "R12+L14", "happiness"],
    ["06", "EP02_5", 4, 6, 9, "4+7", "disgust"],
    ["06", "EP02_5", 15, 17, 20, "4", "tense"],
    ["08", "EP12_2_1", 98, None, 102, "?", "repression"],
]
CASME3A_ROWS: list[list] = [
    ["spNO.1", "a", 3, 5, 8, "4+7", "others"],
    ["spNO.1", "a", 10, 10, 12, "4", "others"],
    ["spNO.2", "J", 1, 2, 4, "R12", "happy"],
]
Case = tuple[type[FaceDataset], dict[str, str], Callable[[Path], Any], list[list]]
CASES: dict[str, Case] = {
    "casme_sq": (CASMESquared, {}, layouts.casme_sq, CASME_SQ_ROWS),
    "casme_sq, cropped": (CASMESquared, {"frames": "cropped"}, layouts.casme_sq, CASME_SQ_ROWS),
    "casme3a": (CASME3A, {}, layouts.casme3a, CASME3A_ROWS),
    "casme3a, depth": (CASME3A, {"frames": "depth"}, layouts.casme3a, CASME3A_ROWS),
    "casme3a, clips": (CASME3A, {"frames": "clips"}, layouts.casme3a, CASME3A_ROWS),
    "casme3c": (CASME3C, {}, layouts.casme3c, CASME3C_ROWS),
    "smic": (SMIC, {}, layouts.smic_raw, SMIC_ROWS),
    "smic, deep": (SMIC, {}, lambda root: layouts.smic_raw(root / "Part 1/SMIC_all_raw/hs"), SMIC_ROWS),
    "smic_e": (SMIC, {}, layouts.smic_e, SMIC_ROWS),
    "casme": (CASME, {}, lambda root: layouts.casme(root, "."), CASME_ROWS),
    "casme, cropped": (CASME, {"frames": "cropped"}, lambda root: layouts.casme(root, "cropped", "reg_"), CASME_ROWS),
    "mmew": (MMEW, {}, layouts.mmew, [
        ["01", "S01-01-001", 1, 4, 7, "6+12", "happiness"],
        ["02", "S02-02-003", 1, 3, 5, "2", "surprise"],
        ["10", "S10-04-001", 1, 2, 4, "", "disgust"],
        ["30", "S30-07-002", 1, 2, 3, "4", "anger"],
    ]),
    "fourdme": (FourDME, {}, layouts.fourdme, [
        ["1", "1_ne_01", 12, 15, 18, "4+7(k)", "negative+repression"],
        ["1", "1_sur_02", 3, 5, 8, "1+2", "surprise"],
        ["23", "23_oth_01", 1, 2, 4, "14", "others"],
        ["23", "23_po_01", 7, None, 9, "", "positive+surprise"],
    ]),
    "dfme": (DFME, {}, layouts.dfme, [
        ["sub0003", "sub0003_01", 12, 20, 31, "4+L10", "disgust"],
        ["sub0003", "sub0003_02", 1, 4, 9, "4", "anger"],
        ["sub0010", "sub0010_05", 3, 5, 8, "R14", "contempt"],
        ["sub0020", "sub0020_01", 2, 3, 4, "", ""],
    ]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_table_and_the_frames_of_a_copy_are_found(case: str, tmp_path: Path) -> None:
    adapter, options, write, rows = CASES[case]
    write(tmp_path)
    dataset = adapter(tmp_path, **options)
    clips = dataset.clips()
    assert lines(clips, "subject clip onset apex offset action_units emotion") == rows
    assert missing_frames(clips) == []
    if adapter is not DFME:
        assert set(clips["fps"]) == {dataset.fps}


# CAS(ME)²


def test_casme_sq_labels_all_adds_the_macro_expressions_with_remarks(tmp_path: Path) -> None:
    clips = CASMESquared(layouts.casme_sq(tmp_path)).clips("all")
    assert lines(clips, "subject clip onset apex offset action_units emotion") == [
        ["15", "anger1_1", 557, 572, 608, "4+7", "negative"],
        ["15", "disgust2_1", 10, 15, 20, "4", "negative"],
        ["24", "happy5_10", 5, 9, 9, "14or23", "positive"],
        ["40", "happy1_2", 7, 12, 18, "", "surprise"],
        ["40", "happy1_3", 30, 25, 40, "10or11", "others"],
    ]
    assert missing_frames(clips) == []
    found = {(problem.clip[9:], problem.kind) for problem in annotation_problems(clips)}
    odd = "24/happy5_10@5"
    assert found == {(odd, "read_otherwise"), (odd, "apex_at_offset"), ("40/happy1_3@30", "apex_outside")}


@pytest.mark.parametrize("videos", [layouts.CASME_SQ_VIDEOS, [], [["Disgust2", 102], ["anger1 ", "401"]]])
def test_casme_sq_recordings_are_found_by_code(tmp_path: Path, videos: list[list[int | str] | list[str]]) -> None:
    clips = CASMESquared(layouts.casme_sq(tmp_path, videos=videos), frames="raw").clips("all")
    assert [Path(folder).name for folder in clips["folder"]] == [
        "15_0401girlcrashing", "15_0102eatingworms", "24_0508funnyerrors", "40_0502funnybaby", "40_0502funnybaby",
    ]  # fmt: skip
    assert missing_frames(clips) == []


# CAS(ME)³ and DFME


def test_casme3a_reads_objective_classes_and_its_older_labels_from_another_workbook(tmp_path: Path) -> None:
    older = (layouts.casme3a(tmp_path) / layouts.CASME3A_FILE).with_name("cas(me)3_part_A_ME_label_JpgIndex_v1.xlsx")
    assert older.stem in refused(CASME3A(tmp_path), "v1")
    write_workbook(older, Sheet1=[layouts.CASME3A_HEADER, layouts.CASME3A_ROWS[0]])
    assert CASME3A(tmp_path).clips("v2")["objective"].tolist() == ["7", "4", "1"]
    assert CASME3A(tmp_path).clips("v1")["objective"].tolist() == ["7"]


def test_dfme_parts_are_splits_with_frame_rates_and_the_training_part_is_required(tmp_path: Path) -> None:
    clips = DFME(layouts.dfme(tmp_path)).clips()
    assert clips["split"].tolist() == ["train", "train", "test_a", "test_b"]
    assert clips["fps"].tolist() == [500.0, 300.0, 200.0, 500.0]
    for path in (tmp_path / "annotation" / layouts.DFME_FILES["test_a"], tmp_path / layouts.DFME_FILES["test_b"]):
        path.unlink()
    assert set(DFME(tmp_path).clips()["split"]) == {"train"}
    (tmp_path / layouts.DFME_FILES["train"]).rename(tmp_path / "test_a.xlsx")
    assert "training part is missing" in refused(DFME(tmp_path))


def test_dfme_prefers_the_workbook_with_action_units(tmp_path: Path) -> None:
    layouts.dfme(tmp_path)
    bare = ["sub0003", "sub0003_01", 12, 20, 31, "disgust", 2, 500]
    path = write_workbook(tmp_path / "all_train_clips.xlsx", Sheet1=[layouts.DFME_HEADER[:8], bare])
    assert DFME(tmp_path).annotations()[0] == str(tmp_path / layouts.DFME_FILES["train"])
    (tmp_path / layouts.DFME_FILES["train"]).unlink()
    assert DFME(tmp_path).annotations()[0] == str(path)


# SMIC-HS


def test_smic_keeps_an_empty_clip_with_a_remark_and_a_gap_is_seen_in_its_frames(tmp_path: Path) -> None:
    layouts.smic_cropped(tmp_path / "SMIC_all_cropped" / "HS")
    clips = SMIC(tmp_path, frames="cropped").clips()
    expected = [[*row[:2], row[2], row[4]] for row in SMIC_ROWS[:4]] + [["18", "s18_sur_03", 0, 0]]
    assert lines(clips, "subject clip onset offset") == expected
    (problem,) = annotation_problems(clips)
    assert (problem.clip, problem.kind) == ("smic/18/s18_sur_03@0", "read_otherwise")
    assert missing_frames(clips) == [
        "03/s03_sur_05: 1 of the frames 12345678..12345682 is missing (12345680)",
        "18/s18_sur_03: 1 of the frames 0..0 is missing (0)",
    ]


@pytest.mark.parametrize("kind", ["raw", "cropped"])
def test_smic_reads_only_the_tree_of_the_chosen_kind(tmp_path: Path, kind: str) -> None:
    layouts.smic_cropped(tmp_path / "SMIC_all_cropped" / "HS")
    layouts.smic_raw(tmp_path / "SMIC_all_raw" / "HS")
    layouts.smic_e(tmp_path / "SMIC-E")
    # Clips of other cameras, and other clips of this one.
    for other in ("VIS", "NIR", "SMIC-VIS-E", "SMIC_all_raw/HS/s2/non_micro", "HS/s2/Non-Micro", "__MACOSX/HS"):
        write_files(tmp_path / other / "s2" / "micro" / "negative" / "s2_ne_01", ["image000001.bmp"])
    clips = SMIC(tmp_path, frames=kind).clips()
    assert clips["clip"].tolist() == [row[1] for row in SMIC_ROWS]
    assert clips["folder"].str.startswith(str(tmp_path / f"SMIC_all_{kind}")).all()  # not SMIC-E, which sorts first


# MMEW and 4DME


def test_emotions_that_disagree_get_a_remark(tmp_path: Path) -> None:
    """In MMEW table and file name disagree, in 4DME a cell and the columns."""
    layouts.mmew(tmp_path / "mmew")
    layouts.fourdme(tmp_path / "fourdme")
    remarks = MMEW(tmp_path / "mmew").clips()["remark"], FourDME(tmp_path / "fourdme").clips()["remark"]
    assert [[bool(remark) for remark in of_clips] for of_clips in remarks] == [[0, 0, 1, 0], [0, 0, 1, 1]]
    assert "others" in remarks[1][2] and "blank" in remarks[1][3]


# All datasets


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    for gone in (name for name in layouts.MMEW_HEADER if name != "remarks"):
        header = ["Renamed" if name == gone else name for name in layouts.MMEW_HEADER]
        message = refused(MMEW(save(tmp_path / "MMEW_Micro_Exp.xlsx", [header]).parent))
        assert f"column '{gone}'" in message and "Renamed" in message


@pytest.mark.costly
@pytest.mark.parametrize("dataset", WRITERS, ids=lambda dataset: dataset.name)
def test_frames_are_found_below_a_root_above_the_copy(dataset: type[FaceDataset], tmp_path: Path) -> None:
    WRITERS[dataset](tmp_path / "a" / "b")
    found, at_home = dataset(tmp_path), dataset(tmp_path / "a" / "b")
    clips = found.clips()
    assert missing_frames(clips) == []
    assert list(clips.columns) == COLUMNS and set(clips["dataset"]) == {dataset.name}
    assert found.found_deeper().startswith(str(tmp_path / "a" / "b")) and at_home.found_deeper() == ""
    kinds = {problem.kind for problem in folder_problems(found, clips, list_folders(clips["folder"]))}
    assert kinds - {"unlabelled_folder"} == {"found_deeper"}  # recordings may have frames outside clips
    found.require_frames()
    pd.testing.assert_frame_equal(at_home.clips(), clips)


def test_frames_are_found_in_a_folder_within_one_of_its_name(tmp_path: Path) -> None:
    name = "CASME2_RAW_selected"
    (layouts.casme2(tmp_path) / name).rename(tmp_path / "inner")
    (tmp_path / name).mkdir()
    (tmp_path / "inner").rename(tmp_path / name / name)
    found = CASME2(tmp_path)
    assert missing_frames(found.clips()) == []
    assert found.found_deeper() == str(tmp_path / name / name)


def test_two_places_with_frames_are_refused(tmp_path: Path) -> None:
    layouts.samm(tmp_path / "SAMM")
    shutil.copytree(tmp_path / "SAMM" / "006", tmp_path / "SAMM_CROP" / "006")
    message = refused(SAMM(tmp_path))
    assert all(part in message for part in (str(tmp_path / "SAMM"), str(tmp_path / "SAMM_CROP"), "data.root"))


def test_a_copy_without_frames_is_one_problem_not_one_per_clip(tmp_path: Path) -> None:
    layouts.samm(tmp_path)
    for folder in ("006", "011"):
        shutil.rmtree(tmp_path / folder)
    with pytest.raises(UserError, match="holds no folder of a subject"):
        SAMM(tmp_path).require_frames()
    clips = SAMM(tmp_path).clips()
    (problem,) = folder_problems(SAMM(tmp_path), clips, list_folders(clips["folder"]))
    assert (problem.clip, problem.kind, problem.fatal) == ("samm", "missing_folder", True)


@pytest.mark.parametrize(
    "cells",
    [["sub01", "sub02"], ["Sub 1", "SUB 02"], ["Subject_1", "subject-2"], ["S1", "2"], ["p01", "p02.0"],
     ["No. 1", "No.2"], ["#1", "#2"], ["被试1", "被试2"], ["１", "0002"], ["1号", "2号"]],
)  # fmt: skip
def test_a_word_before_subject_numbers_is_dropped(cells: list[str]) -> None:
    assert [*padded(pd.Series(cells), 2)] == ["01", "02"]
    assert [*padded(pd.Series(["A1", "B1"]), 2)] == ["A1", "B1"]  # two subjects
