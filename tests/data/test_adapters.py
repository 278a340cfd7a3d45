"""The adapters on true layouts: tables to the letter, frames of every clip, and broken copies named."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tests.data import layouts
from tests.data.layouts import missing_frames, save, write_files, write_workbook

from fdp_lightning.data.annotations.clips import COLUMNS, annotation_problems
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme import CASME
from fdp_lightning.data.datasets.casme3a import CASME3A
from fdp_lightning.data.datasets.casme3c import CASME3C
from fdp_lightning.data.datasets.casme_sq import CASMESquared
from fdp_lightning.data.datasets.dfme import DFME
from fdp_lightning.data.datasets.fourdme import FourDME
from fdp_lightning.data.datasets.mmew import MMEW
from fdp_lightning.data.datasets.smic import SMIC
from fdp_lightning.data.faces.frames import frames_between, list_frames, read_image
from fdp_lightning.errors import UserError


def lines(table: pd.DataFrame, columns: str) -> list[list]:
    return table[columns.split()].astype(object).where(table[columns.split()].notna(), None).values.tolist()


def refused(dataset: FaceDataset, labels: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        dataset.clips(labels)
    return str(caught.value)


# CAS(ME)²


def test_casme_sq_micro_expressions_are_the_default_and_go_by_the_raw_subject_id(tmp_path: Path) -> None:
    clips = CASMESquared(layouts.casme_sq(tmp_path)).clips()
    assert lines(clips, "subject clip onset apex offset fps action_units emotion remark") == [
        ["15", "disgust2_1", 10, 15, 20, 30.0, "4", "negative", ""],
        ["40", "happy1_2", 7, 12, 18, 30.0, "", "surprise", ""],
    ]


def test_casme_sq_all_adds_the_macro_expressions_with_remarks(tmp_path: Path) -> None:
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
    assert "offset 0" in clips["remark"][2]


def test_casme_sq_apex_0_is_unknown_and_without_it_an_offset_0_stays_a_problem(tmp_path: Path) -> None:
    rows = [[1, "anger1_1", 5, 0, 9, "4", "negative", "micro-expression", ""]]
    rows += [[1, "anger1_2", 5, 0, 0, "4", "negative", "micro-expression", ""]]
    clips = CASMESquared(layouts.casme_sq(tmp_path, rows)).clips()
    assert lines(clips, "apex offset") == [[None, 9], [None, 0]]
    kinds = [(problem.clip[-1], problem.kind) for problem in annotation_problems(clips) if problem.fatal]
    assert kinds == [("5", "bad_interval")]
    assert clips["remark"].str.contains("apex 0").all()


@pytest.mark.parametrize("videos", [layouts.CASME_SQ_VIDEOS, [], [["Disgust2", 102], ["anger1 ", "401"]]])
def test_casme_sq_recordings_are_found_by_code(tmp_path: Path, videos: list[list[int | str] | list[str]]) -> None:
    dataset = CASMESquared(layouts.casme_sq(tmp_path, videos=videos), frames="raw")
    clips = dataset.clips("all")
    assert [Path(folder).name for folder in clips["folder"]] == [
        "15_0401girlcrashing", "15_0102eatingworms", "24_0508funnyerrors", "40_0502funnybaby", "40_0502funnybaby",
    ]  # fmt: skip
    assert missing_frames(clips) == []


def test_casme_sq_a_participant_without_subject_id_is_refused_by_number(tmp_path: Path) -> None:
    rows = [*layouts.CASME_SQ_ROWS, [23, "anger9_9", 4, 5, 6, "4", "others", "micro-expression", ""]]
    message = refused(CASMESquared(layouts.casme_sq(tmp_path, rows)))
    for part in (str(tmp_path / layouts.CASME_SQ_FILE), "participant 23", "copy the workbook again"):
        assert part in message
    rows[-1] = [None, *rows[-1][1:]]
    assert "/anger9_9" in refused(CASMESquared(layouts.casme_sq(tmp_path, rows)))


# CAS(ME)³ part A


def test_casme3a_holds_several_clips_of_one_folder_and_names_classes_alike(tmp_path: Path) -> None:
    clips = CASME3A(layouts.casme3a(tmp_path)).clips()
    assert lines(clips, "subject clip onset apex offset fps action_units objective emotion") == [
        ["spNO.1", "a", 3, 5, 8, 30.0, "4+7", "7", "others"],
        ["spNO.1", "a", 10, 10, 12, 30.0, "4", "4", "others"],
        ["spNO.2", "J", 1, 2, 4, 30.0, "R12", "1", "happy"],
    ]
    assert missing_frames(clips) == []


@pytest.mark.parametrize(
    ("frames", "names"), [("depth", {"depth"}), ("clips", {"spNo.1_a_3", "spNo.1_a_10", "spNo.2_j_1"})]
)
def test_casme3a_has_the_frames_of_every_kind(tmp_path: Path, frames: str, names: set[str]) -> None:
    clips = CASME3A(layouts.casme3a(tmp_path), frames=frames).clips()
    assert {Path(folder).name for folder in clips["folder"]} == names
    assert missing_frames(clips) == []


def test_casme3a_the_older_labels_are_another_workbook(tmp_path: Path) -> None:
    older = (layouts.casme3a(tmp_path) / layouts.CASME3A_FILE).with_name("cas(me)3_part_A_ME_label_JpgIndex_v1.xlsx")
    assert older.stem in refused(CASME3A(tmp_path), "v1")
    write_workbook(older, Sheet1=[layouts.CASME3A_HEADER, layouts.CASME3A_ROWS[0]])
    assert [len(CASME3A(tmp_path).clips(labels)) for labels in ("v1", "v2")] == [1, 3]


# CAS(ME)³ part C


@pytest.mark.parametrize("parts", ["part_C", "part_C/RGB_Depth/part_C"])
def test_casme3c_has_no_apex_and_finds_clips_cut_out_or_in_the_one_recording(tmp_path: Path, parts: str) -> None:
    clips = CASME3C(layouts.casme3c(tmp_path, parts=parts)).clips()
    assert lines(clips, "subject clip onset apex offset fps action_units emotion") == [
        ["01", "1", 100, None, 104, 30.0, "4,7", "negative"],
        ["01", "2", 110, None, 113, 30.0, "1,2", "surprise"],
        ["23", "1", 7, None, 9, 30.0, "12", "positive"],
    ]
    assert missing_frames(clips) == []


# DFME


def test_dfme_parts_are_splits_and_the_frame_rate_is_that_of_the_clip(tmp_path: Path) -> None:
    clips = DFME(layouts.dfme(tmp_path)).clips()
    assert lines(clips, "subject clip onset apex offset fps action_units emotion split") == [
        ["sub0003", "sub0003_01", 12, 20, 31, 500.0, "4+L10", "disgust", "train"],
        ["sub0003", "sub0003_02", 1, 4, 9, 300.0, "4", "anger", "train"],
        ["sub0010", "sub0010_05", 3, 5, 8, 200.0, "R14", "contempt", "test_a"],
        ["sub0020", "sub0020_01", 2, 3, 4, 500.0, "", "", "test_b"],
    ]
    assert clips["fps"].dtype == "float64"


def test_dfme_the_training_part_alone_will_do_and_another_alone_will_not(tmp_path: Path) -> None:
    layouts.dfme(tmp_path)
    for path in (tmp_path / "annotation" / layouts.DFME_FILES["test_a"], tmp_path / layouts.DFME_FILES["test_b"]):
        path.unlink()
    assert set(DFME(tmp_path).clips()["split"]) == {"train"}
    (tmp_path / layouts.DFME_FILES["train"]).rename(tmp_path / "test_a.xlsx")
    assert "workbook of the training part is missing" in refused(DFME(tmp_path))


def test_dfme_passes_over_workbooks_that_are_no_annotation_and_takes_that_with_action_units(tmp_path: Path) -> None:
    layouts.dfme(tmp_path)
    write_workbook(tmp_path / "a training plan.xlsx", Sheet1=[["Week", "Distance"], [1, 10]])
    trial = ["sub0099", "sub0099_01", 1, 2, 3, "anger", 0, 500, "4"]
    write_workbook(tmp_path / "test_annotators.xlsx", Sheet1=[layouts.DFME_HEADER, *[trial] * 9])
    (tmp_path / layouts.DFME_FILES["test_b"]).unlink()
    write_workbook(tmp_path / "test_b.xlsx", Sheet1=[["Filename"], ["sub0099_01"]])
    header = [*layouts.DFME_HEADER[:8], None]
    bare = ["sub0003", "sub0003_01", 12, 20, 31, "disgust", 2, 500, None]
    path = write_workbook(tmp_path / "all_train_clips.xlsx", Sheet1=[header, bare])
    source, clips = DFME(tmp_path).annotations()
    assert source == str(tmp_path / layouts.DFME_FILES["train"])
    assert clips["split"].tolist() == ["train", "train", "test_a"]
    (tmp_path / layouts.DFME_FILES["train"]).unlink()
    assert DFME(tmp_path).annotations()[0] == str(path)


WITH_WORKBOOK = [
    pytest.param(CASME, layouts.casme, layouts.CASME_HEADER, id="casme"),
    pytest.param(MMEW, layouts.mmew, layouts.MMEW_HEADER, id="mmew"),
    pytest.param(FourDME, layouts.fourdme, layouts.FOURDME_HEADER, id="fourdme"),
]
SMIC_TABLE = [
    ["01", "s01_ne_01", 61206, 61211, "negative"],
    ["01", "s01_po_02", 99998, 100002, "positive"],
    ["03", "s03_sur_05", 12345678, 12345682, "surprise"],
    ["18", "s18_ne_10", 900, 902, "negative"],
    ["18", "s18_sur_03", 700, 703, "surprise"],
]


def table(dataset: FaceDataset, *columns: str) -> list[list]:
    clips = dataset.clips()
    assert list(clips.columns) == COLUMNS
    assert set(clips["dataset"]) == {dataset.name}
    assert set(clips["fps"]) == {dataset.fps}
    return clips[list(columns)].astype(object).where(clips[list(columns)].notna(), None).values.tolist()


def troubles(dataset: FaceDataset) -> dict[str, str]:
    """What is wrong with each clip's frames, by 'clip@onset'; every frame there is a picture."""
    found = {}
    dataset.require_frames()
    for _, row in dataset.clips().iterrows():
        files, trouble = frames_between(list_frames(Path(row["folder"])), row["onset"], row["offset"])
        assert all(read_image(file.path).shape == (8, 8, 3) for file in files[:1])
        assert trouble or len(files) == row["offset"] - row["onset"] + 1
        found[f"{row['clip']}@{row['onset']}"] = trouble
    return found


# SMIC-HS


@pytest.mark.parametrize("tree", [".", "SMIC (HS, VIS, NIR)/Part 1/SMIC_all_raw/hs"])
@pytest.mark.parametrize("write", [layouts.smic_raw, layouts.smic_e])
def test_both_trees_of_smic_give_the_same_table(tmp_path: Path, tree: str, write: Callable[..., Path]) -> None:
    write(tmp_path / tree)
    dataset = SMIC(tmp_path)
    assert table(dataset, "subject", "clip", "onset", "offset", "emotion") == SMIC_TABLE
    assert dataset.clips()["apex"].isna().all()
    assert set(dataset.clips()["remark"]) == {""}
    assert dataset.annotations()[0] == str(tmp_path / tree)
    assert dataset.frame_root() == tmp_path / tree
    assert set(troubles(dataset).values()) == {""}


def test_an_empty_clip_of_smic_counts_with_a_remark_and_a_gap_is_seen_in_its_frames(tmp_path: Path) -> None:
    layouts.smic_cropped(tmp_path / "SMIC_all_cropped" / "HS")
    dataset = SMIC(tmp_path, frames="cropped")
    expected = [row if row[1] != "s18_sur_03" else ["18", "s18_sur_03", 0, 0, "surprise"] for row in SMIC_TABLE]
    assert table(dataset, "subject", "clip", "onset", "offset", "emotion") == expected
    (problem,) = annotation_problems(dataset.clips())
    assert (problem.clip, problem.kind) == ("smic/18/s18_sur_03@0", "read_otherwise")
    assert "no frame" in problem.detail
    assert {clip: trouble for clip, trouble in troubles(dataset).items() if trouble} == {
        "s03_sur_05@12345678": "1 of the frames 12345678..12345682 are missing (12345680)",
        "s18_sur_03@0": "1 of the frames 0..0 are missing (0)",
    }


@pytest.mark.parametrize("kind", ["raw", "cropped"])
def test_of_two_trees_of_smic_the_chosen_kind_counts_once(tmp_path: Path, kind: str) -> None:
    layouts.smic_cropped(tmp_path / "SMIC_all_cropped" / "HS")
    layouts.smic_raw(tmp_path / "SMIC_all_raw" / "HS")
    layouts.smic_e(tmp_path / "SMIC-E")
    clips = SMIC(tmp_path, frames=kind).clips()
    assert clips["clip"].tolist() == [row[1] for row in SMIC_TABLE]
    assert clips["folder"].str.startswith(str(tmp_path / f"SMIC_all_{kind}")).all()  # and not SMIC-E, which sorts first


def test_other_cameras_and_other_clips_of_smic_are_passed_over(tmp_path: Path) -> None:
    layouts.smic_raw(tmp_path / "HS")
    for other in ("VIS", "NIR", "SMIC-VIS-E", "HS/s2/non_micro", "HS/s2/Non-Micro", "__MACOSX/HS"):
        write_files(tmp_path / other / "s2" / "micro" / "negative" / "s2_ne_01", ["image000001.bmp"])
    assert table(SMIC(tmp_path), "subject", "clip", "onset", "offset", "emotion") == SMIC_TABLE


def test_a_clip_of_smic_below_another_emotion_than_its_name_says_has_a_remark(tmp_path: Path) -> None:
    write_files(tmp_path / "HS" / "s2" / "micro" / "Positive" / "S2_NE_01", ["image000001.bmp"])
    ((clip, emotion, remark),) = table(SMIC(tmp_path), "clip", "emotion", "remark")
    assert (clip, emotion) == ("s02_ne_01", "positive") and "S2_NE_01" in remark


@pytest.mark.parametrize(("asked", "there"), [("raw", "cropped"), ("cropped", "raw")])
def test_the_other_kind_of_smic_is_refused_with_what_is_there(tmp_path: Path, asked: str, there: str) -> None:
    {"raw": layouts.smic_raw, "cropped": layouts.smic_cropped}[there](tmp_path / "HS")
    message = refused(SMIC(tmp_path, frames=asked))
    assert all(part in message for part in (str(tmp_path / "HS"), f"no {asked} frames", f"frames={there}"))


# CASME


@pytest.mark.parametrize(("kind", "folder", "prefix"), [("selected", ".", ""), ("cropped", "cropped", "reg_")])
def test_casme_is_told_apart_by_onset_and_has_its_frames(tmp_path: Path, kind: str, folder: str, prefix: str) -> None:
    layouts.casme(tmp_path, folder, prefix)
    dataset = CASME(tmp_path, frames=kind)
    columns = ("subject", "clip", "onset", "apex", "offset", "action_units", "emotion", "remark")
    assert table(dataset, *columns) == [
        ["01", "EP01_5", 8, 12, 16, "R12+L14", "happiness", ""],
        ["06", "EP02_5", 4, 6, 9, "4+7", "disgust", ""],
        ["06", "EP02_5", 15, 17, 20, "4", "tense", ""],
        ["08", "EP12_2_1", 98, None, 102, "?", "repression", ""],
    ]
    assert troubles(dataset) == {"EP01_5@8": "", "EP02_5@4": "", "EP02_5@15": "", "EP12_2_1@98": ""}
    assert kind in dataset.recordings  # frames of 06/EP02_5 outside a clip belong to the others


# MMEW


def test_the_table_of_mmew_and_its_frames(tmp_path: Path) -> None:
    layouts.mmew(tmp_path)
    dataset = MMEW(tmp_path)
    assert table(dataset, "subject", "clip", "onset", "apex", "offset", "action_units", "emotion") == [
        ["01", "S01-01-001", 1, 4, 7, "6+12", "happiness"],
        ["02", "S02-02-003", 1, 3, 5, "2", "surprise"],
        ["10", "S10-04-001", 1, 2, 4, "", "disgust"],
        ["30", "S30-07-002", 1, 2, 3, "4", "anger"],
    ]
    assert [bool(remark) for (remark,) in table(dataset, "remark")] == [False, False, True, False]
    assert set(troubles(dataset).values()) == {""}
    assert (dataset.frames, dataset.crops) == ("cropped", "cropped")


# 4DME


def test_the_table_of_4dme_and_its_frames(tmp_path: Path) -> None:
    layouts.fourdme(tmp_path)
    dataset = FourDME(tmp_path)
    assert table(dataset, "subject", "clip", "onset", "apex", "offset", "action_units", "emotion") == [
        ["1", "1_ne_01", 12, 15, 18, "4+7(k)", "negative+repression"],
        ["1", "1_sur_02", 3, 5, 8, "1+2", "surprise"],
        ["23", "23_oth_01", 1, 2, 4, "14", "others"],
        ["23", "23_po_01", 7, None, 9, "", "positive+surprise"],
    ]
    *none, others, blank = dataset.clips()["remark"]
    assert none == ["", ""] and "others" in others and "blank" in blank
    assert set(troubles(dataset).values()) == {""}


@pytest.mark.parametrize(
    "cell", ["Surprise+Negative", "negative & surprise", "Surprise，Negative", "SURPRISE and negative"]
)
def test_combined_emotions_of_4dme_are_one_text_however_they_are_written(tmp_path: Path, cell: str) -> None:
    header = layouts.FOURDME_HEADER[:8]  # a copy without the columns of single units and emotions is read too
    row = [1, "1_ne_01", 1, cell, 12, 15, 18, "4"]
    save(tmp_path / FourDME.workbooks["v1"][0], [header, row])
    assert table(FourDME(tmp_path), "emotion", "remark") == [["negative+surprise", ""]]


# All


@pytest.mark.parametrize(("adapter", "write", "header"), WITH_WORKBOOK)
def test_every_column_that_is_needed_is_missed_by_name(
    tmp_path: Path, adapter: type[FaceDataset], write: Callable[..., Path], header: list[str | None]
) -> None:
    unread = {None, "ApexF2", "remarks", *layouts.FOURDME_HEADER[8:], "fold"}
    needed = [name for name in header if name not in unread]
    assert len(needed) == 7
    for gone in needed:
        path = save(tmp_path / adapter.workbooks["v1"][0], [["Renamed" if n == gone else n for n in header]])
        message = refused(adapter(tmp_path))
        assert f"{path}: column '{gone}' is missing in row 1" in message and "Renamed" in message
