"""The SMIC-HS, CASME, MMEW and 4DME adapters on their true layouts: exact tables, frames found, mistakes named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import layouts_other as layouts
import pytest

from fdp_lightning.data.annotations.clips import COLUMNS, annotation_problems
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme import CASME
from fdp_lightning.data.datasets.fourdme import FourDME
from fdp_lightning.data.datasets.mmew import MMEW
from fdp_lightning.data.datasets.smic import SMIC
from fdp_lightning.data.faces.frames import frames_between, list_frames, read_image
from fdp_lightning.errors import UserError

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


def refused(dataset: FaceDataset) -> str:
    with pytest.raises(UserError) as caught:
        dataset.clips()
    return str(caught.value)


# SMIC-HS


@pytest.mark.parametrize("tree", ["HS", ".", "SMIC_all_raw/HS", "SMIC (HS, VIS, NIR)/Part 1/SMIC_all_raw/hs"])
@pytest.mark.parametrize("write", [layouts.smic_raw, layouts.smic_e])
def test_both_trees_of_smic_give_the_same_table_wherever_they_lie(
    tmp_path: Path, tree: str, write: Callable[..., Path]
) -> None:
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


@pytest.mark.parametrize("other", ["VIS", "NIR", "SMIC-VIS-E", "HS/s2/non_micro", "HS/s2/Non-Micro", "__MACOSX/HS"])
def test_other_cameras_and_other_clips_of_smic_are_passed_over(tmp_path: Path, other: str) -> None:
    layouts.smic_raw(tmp_path / "HS")
    layouts.pictures(tmp_path / other / "s2" / "micro" / "negative" / "s2_ne_01", ["image000001.bmp"])
    assert table(SMIC(tmp_path), "subject", "clip", "onset", "offset", "emotion") == SMIC_TABLE


def test_a_clip_of_smic_below_another_emotion_than_its_name_says_has_a_remark(tmp_path: Path) -> None:
    layouts.pictures(tmp_path / "HS" / "s2" / "micro" / "Positive" / "S2_NE_01", ["image000001.bmp"])
    (row,) = table(SMIC(tmp_path), "clip", "emotion", "remark")
    assert row == ["s02_ne_01", "positive", "is in positive but is named S2_NE_01; read as positive"]


@pytest.mark.parametrize(("asked", "there"), [("raw", "cropped"), ("cropped", "raw")])
def test_the_other_kind_of_smic_is_refused_with_what_is_there(tmp_path: Path, asked: str, there: str) -> None:
    {"raw": layouts.smic_raw, "cropped": layouts.smic_cropped}[there](tmp_path / "HS")
    message = refused(SMIC(tmp_path, frames=asked))
    for part in (str(tmp_path), f"no {asked} frames", f"{tmp_path / 'HS'} are {there}", f"frames={there}"):
        assert part in message


# CASME


@pytest.mark.parametrize(
    ("kind", "folder", "prefix"), [("selected", "Selected", ""), ("selected", ".", ""), ("cropped", "cropped", "reg_")]
)
def test_the_table_of_casme_is_told_apart_by_onset_and_its_frames_are_found(
    tmp_path: Path, kind: str, folder: str, prefix: str
) -> None:
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
    remark = "the name says others, the sheet disgust; read as the sheet says"
    columns = ("subject", "clip", "onset", "apex", "offset", "action_units", "emotion", "remark")
    assert table(dataset, *columns) == [
        ["01", "S01-01-001", 1, 4, 7, "6+12", "happiness", ""],
        ["02", "S02-02-003", 1, 3, 5, "2", "surprise", ""],
        ["10", "S10-04-001", 1, 2, 4, "", "disgust", remark],
        ["30", "S30-07-002", 1, 2, 3, "4", "anger", ""],
    ]
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
    assert dataset.clips()["remark"].tolist() == [
        "",
        "",
        "the emotion is others, the columns marked are negative; read as the first",
        "the emotion is blank; read from the columns marked: positive+surprise",
    ]
    assert set(troubles(dataset).values()) == {""}


@pytest.mark.parametrize(
    "cell", ["Surprise+Negative", "negative & surprise", "Surprise，Negative", "SURPRISE and negative"]
)
def test_combined_emotions_of_4dme_are_one_text_however_they_are_written(tmp_path: Path, cell: str) -> None:
    header = layouts.FOURDME_HEADER[:8]  # a copy without the columns of single units and emotions is read too
    row = [1, "1_ne_01", 1, cell, 12, 15, 18, "4"]
    layouts.workbook(tmp_path / FourDME.workbooks["v1"][0], header, [row])
    assert table(FourDME(tmp_path), "emotion", "remark") == [["negative+surprise", ""]]


# All


@pytest.mark.parametrize(("adapter", "write", "header"), WITH_WORKBOOK)
def test_the_annotation_is_read_without_frames_and_missing_frames_are_named(
    tmp_path: Path, adapter: type[FaceDataset], write: Callable[..., Path], header: list[str | None]
) -> None:
    write(tmp_path)
    whole = adapter(tmp_path).clips()
    for place in tmp_path.iterdir():
        if place.is_dir():
            shutil.rmtree(place)
    alone = adapter(tmp_path).clips()
    assert alone.drop(columns="folder").equals(whole.drop(columns="folder"))
    with pytest.raises(UserError, match=r"data\.root"):
        adapter(tmp_path, frames=[*adapter.frame_folders][-1]).require_frames()  # CASME's others may lie in root itself


@pytest.mark.parametrize(("adapter", "write", "header"), WITH_WORKBOOK)
def test_every_column_that_is_needed_is_missed_by_name(
    tmp_path: Path, adapter: type[FaceDataset], write: Callable[..., Path], header: list[str | None]
) -> None:
    unread = {None, "ApexF2", "remarks", *layouts.FOURDME_HEADER[8:], "fold"}
    needed = [name for name in header if name not in unread]
    assert len(needed) == 7
    for gone in needed:
        renamed = ["Renamed" if name == gone else name for name in header]
        path = layouts.workbook(tmp_path / adapter.workbooks["v1"][0], renamed, [])
        message = refused(adapter(tmp_path))
        assert f"{path}: column '{gone}' is missing in row 1" in message
        assert "Renamed" in message
        assert "rename the column back" in message
