"""CAS(ME)², CAS(ME)³ A and C, DFME: tables to the letter, frames of every clip, and broken copies named."""

from pathlib import Path

import pandas as pd
import pytest
from openpyxl import load_workbook
from tests.data import layouts
from tests.data.layouts import missing_frames, write_frames, write_workbook

from fdp_lightning.config import configuration
from fdp_lightning.data.annotations.clips import COLUMNS, annotation_problems
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme3a import CASME3A
from fdp_lightning.data.datasets.casme3c import CASME3C
from fdp_lightning.data.datasets.casme_sq import CASMESquared
from fdp_lightning.data.datasets.dfme import DFME
from fdp_lightning.errors import UserError

WRITERS = {CASMESquared: layouts.casme_sq, CASME3A: layouts.casme3a, CASME3C: layouts.casme3c, DFME: layouts.dfme}
BOOKS = {
    CASMESquared: layouts.CASME_SQ_FILE,
    CASME3A: layouts.CASME3A_FILE,
    CASME3C: layouts.CASME3C_FILE,
    DFME: layouts.DFME_FILES["train"],
}
every_dataset = pytest.mark.parametrize("dataset", WRITERS, ids=lambda dataset: dataset.name)


def lines(table: pd.DataFrame, columns: str) -> list[list]:
    return table[columns.split()].astype(object).where(table[columns.split()].notna(), None).values.tolist()


def refused(dataset: FaceDataset, labels: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        dataset.clips(labels)
    return str(caught.value)


@every_dataset
def test_a_written_copy_has_all_columns_one_dataset_name_and_the_frames_of_every_clip(dataset, tmp_path):
    clips = dataset(WRITERS[dataset](tmp_path)).clips()
    assert list(clips.columns) == COLUMNS
    assert set(clips["dataset"]) == {dataset.name}
    assert missing_frames(clips) == []
    dataset(tmp_path).require_frames()


@every_dataset
def test_the_annotation_is_read_without_any_frame(dataset, tmp_path):
    WRITERS[dataset](tmp_path / "whole")
    books = [path for path in (tmp_path / "whole").rglob("*.xlsx") if not path.name.startswith("~")]
    (tmp_path / "bare").mkdir()
    for book in books:
        (tmp_path / "bare" / book.name).write_bytes(book.read_bytes())
    whole, bare = (dataset(tmp_path / name).clips() for name in ("whole", "bare"))
    unplaced = [column for column in COLUMNS if column != "folder"]
    pd.testing.assert_frame_equal(whole[unplaced], bare[unplaced])
    assert not any(Path(folder).exists() for folder in bare["folder"])


@every_dataset
def test_the_configuration_names_the_adapter_and_its_default_frames(dataset):
    node = configuration(f"data={dataset.name}", "data.root=somewhere").data
    assert node.name == dataset.name
    assert node.adapter._target_ == f"{dataset.__module__}.{dataset.__name__}"
    assert node.adapter.get("frames", "selected") == next(iter(dataset.frame_folders))


@every_dataset
def test_frames_are_listed_and_their_names_never_formatted(dataset, tmp_path):
    for folder in dataset(WRITERS[dataset](tmp_path)).clips()["folder"].unique():
        for number, file in enumerate(sorted(Path(folder).glob("*[0-9].*"))):
            if file.is_file() and not file.name.startswith("."):
                digits = "".join(character for character in file.stem if character.isdigit())
                file.rename(file.with_name(f"take2-{'0' * (number % 4)}{digits}{file.suffix.upper()}"))
    assert missing_frames(dataset(tmp_path).clips()) == []


@every_dataset
def test_a_missing_folder_is_named_with_the_key_and_the_request_page(dataset, tmp_path):
    message = refused(dataset(tmp_path / "nowhere"))
    for part in (str(tmp_path / "nowhere"), "data.root=", dataset.request_page):
        assert part in message


@every_dataset
def test_a_missing_workbook_is_named_with_those_that_are_there(dataset, tmp_path):
    write_workbook(tmp_path / "other.xlsx", Sheet1=[["Subject"]])
    message = refused(dataset(tmp_path))
    assert "annotation workbook" in message
    assert str(tmp_path) in message
    assert "workbooks in that folder: other.xlsx" in message
    assert "Copy it there" in message


@pytest.mark.parametrize(
    ("dataset", "gone"),
    [
        *[(CASME3A, name) for name in ("Subject", "Onset", "Objective class", "emotion")],
        *[(CASME3C, name) for name in ("sub", "count", "au")],
        *[(DFME, name) for name in ("Filename", "Fps", "Emotion")],
    ],
)
def test_a_missing_column_is_named_with_the_file_and_what_was_found(dataset, gone, tmp_path):
    path = WRITERS[dataset](tmp_path) / BOOKS[dataset]
    book = load_workbook(path)
    for cell in book.worksheets[-1][1]:
        if cell.value == gone:
            cell.value = "Renamed"
    book.save(path)
    message = refused(dataset(tmp_path))
    assert f"{path}: column '{gone}' is missing in row 1" in message
    assert "Renamed" in message
    assert "rename the column back" in message


@every_dataset
def test_an_unknown_label_version_is_refused_with_those_known(dataset, tmp_path):
    assert f"Known: {', '.join(dataset.label_versions)}" in refused(dataset(tmp_path), "v9")


# CAS(ME)²


def test_casme_sq_micro_expressions_are_the_default_and_go_by_the_raw_subject_id(tmp_path):
    clips = CASMESquared(layouts.casme_sq(tmp_path)).clips()
    assert lines(clips, "subject clip onset apex offset fps action_units emotion remark") == [
        ["15", "disgust2_1", 10, 15, 20, 30.0, "4", "negative", ""],
        ["40", "happy1_2", 7, 12, 18, 30.0, "", "surprise", ""],
    ]


def test_casme_sq_all_adds_the_macro_expressions_whose_unobserved_offset_is_the_apex_with_a_remark(tmp_path):
    clips = CASMESquared(layouts.casme_sq(tmp_path)).clips("all")
    assert lines(clips, "subject clip onset apex offset action_units emotion") == [
        ["15", "anger1_1", 557, 572, 608, "4+7", "negative"],
        ["15", "disgust2_1", 10, 15, 20, "4", "negative"],
        ["24", "happy5_10", 5, 9, 9, "14or23", "positive"],
        ["40", "happy1_2", 7, 12, 18, "", "surprise"],
        ["40", "happy1_3", 30, 25, 40, "10or11", "others"],
    ]
    assert missing_frames(clips) == []
    found = {(problem.clip, problem.kind) for problem in annotation_problems(clips)}
    assert found == {
        ("casme_sq/24/happy5_10@5", "read_otherwise"),
        ("casme_sq/24/happy5_10@5", "apex_at_offset"),
        ("casme_sq/40/happy1_3@30", "apex_outside"),
    }
    assert "offset 0" in clips["remark"][2]


def test_casme_sq_apex_0_is_unknown_and_without_it_an_offset_0_stays_a_problem(tmp_path):
    rows = [[1, "anger1_1", 5, 0, 9, "4", "negative", "micro-expression", ""]]
    rows += [[1, "anger1_2", 5, 0, 0, "4", "negative", "micro-expression", ""]]
    clips = CASMESquared(layouts.casme_sq(tmp_path, rows)).clips()
    assert lines(clips, "apex offset") == [[None, 9], [None, 0]]
    kinds = [(problem.clip[-1], problem.kind) for problem in annotation_problems(clips) if problem.fatal]
    assert kinds == [("5", "bad_interval")]
    assert clips["remark"].str.contains("apex 0").all()


def test_casme_sq_crops_go_by_ids_without_s_and_a_clip_without_crops_keeps_its_row(tmp_path):
    dataset = CASMESquared(layouts.casme_sq(tmp_path), frames="cropped")
    assert missing_frames(dataset.clips("micro")) == []
    folders = dataset.clips("all")["folder"]
    assert folders[0] == str(tmp_path / "cropped" / "15" / "anger1_1")
    assert not Path(folders[0]).exists()


@pytest.mark.parametrize("videos", [layouts.CASME_SQ_VIDEOS, [], [["Disgust2", 102], ["anger1 ", "401"]]])
def test_casme_sq_recordings_are_found_by_the_videos_code_whatever_their_title(tmp_path, videos):
    dataset = CASMESquared(layouts.casme_sq(tmp_path, videos=videos), frames="raw")
    clips = dataset.clips("all")
    assert [Path(folder).name for folder in clips["folder"]] == [
        "15_0401girlcrashing", "15_0102eatingworms", "24_0508funnyerrors", "40_0502funnybaby", "40_0502funnybaby",
    ]  # fmt: skip
    assert missing_frames(clips) == []


def test_casme_sq_sheet_3_goes_before_the_codes_known(tmp_path):
    dataset = CASMESquared(layouts.casme_sq(tmp_path, videos=[["0401", "disgust2"]]), frames="raw")
    assert Path(dataset.clips()["folder"][0]).name == "15_0401girlcrashing"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_casme_sq_subject_ids_are_found_in_whatever_order_of_columns(tmp_path, order):
    ids = [[row[place] for place in order] for row in layouts.CASME_SQ_IDS]
    assert set(CASMESquared(layouts.casme_sq(tmp_path, ids=ids)).clips("all")["subject"]) == {"15", "24", "40"}


def test_casme_sq_a_participant_without_subject_id_is_refused_by_number(tmp_path):
    rows = [*layouts.CASME_SQ_ROWS, [23, "anger9_9", 4, 5, 6, "4", "others", "micro-expression", ""]]
    message = refused(CASMESquared(layouts.casme_sq(tmp_path, rows)))
    assert str(tmp_path / layouts.CASME_SQ_FILE) in message
    assert "no subject id for participant 23 in the second sheet" in message
    assert "copy the workbook again" in message


def test_casme_sq_subject_ids_that_a_damaged_sheet_2_lacks_are_those_known(tmp_path):
    table = CASMESquared(layouts.casme_sq(tmp_path, ids=layouts.CASME_SQ_IDS[:2])).clips("all")
    assert set(table["subject"]) == {"15", "24", "40"}


def test_casme_sq_a_row_with_frames_but_without_participant_is_refused_and_not_dropped(tmp_path):
    rows = [*layouts.CASME_SQ_ROWS, [None, "anger9_9", 4, 5, 6, "4", "others", "micro-expression", ""]]
    assert "1 rows are without subject or clip name: /anger9_9" in refused(
        CASMESquared(layouts.casme_sq(tmp_path, rows))
    )


def test_casme_sq_too_few_columns_are_counted(tmp_path):
    message = refused(CASMESquared(layouts.casme_sq(tmp_path, [[1, "anger1_1", 5]])))
    assert f"{tmp_path / layouts.CASME_SQ_FILE}: sheet 0 has 3 columns; expected at least 8" in message


def test_casme_sq_the_updated_workbook_will_do(tmp_path):
    layouts.casme_sq(tmp_path)
    (tmp_path / layouts.CASME_SQ_FILE).rename(tmp_path / "cas(me)^2code_final(updated).xlsx")
    assert len(CASMESquared(tmp_path).clips("all")) == 5


# CAS(ME)³ part A


def test_casme3a_holds_several_clips_of_one_folder_and_names_classes_alike(tmp_path):
    clips = CASME3A(layouts.casme3a(tmp_path)).clips()
    assert lines(clips, "subject clip onset apex offset fps action_units objective emotion") == [
        ["spNO.1", "a", 3, 5, 8, 30.0, "4+7", "7", "others"],
        ["spNO.1", "a", 10, 10, 12, 30.0, "4", "4", "others"],
        ["spNO.2", "J", 1, 2, 4, 30.0, "R12", "1", "happy"],
    ]
    places = ["spNO.1/a/color", "spNO.1/a/color", "spNO.2/j/color"]
    assert clips["folder"].tolist() == [str(tmp_path / "part_A" / place) for place in places]


@pytest.mark.parametrize("frames", ["colour", "depth", "clips"])
def test_casme3a_has_the_frames_of_every_kind(tmp_path, frames):
    clips = CASME3A(layouts.casme3a(tmp_path), frames=frames).clips()
    names = {"colour": {"color"}, "depth": {"depth"}, "clips": {"spNo.1_a_3", "spNo.1_a_10", "spNo.2_j_1"}}
    assert {Path(folder).name for folder in clips["folder"]} == names[frames]
    assert missing_frames(clips) == []


@pytest.mark.parametrize("parts", [".", "part_a", "part_A/part_A", "part_A/data/part_A"])
def test_casme3a_frames_may_lie_in_the_root_or_deeper(tmp_path, parts):
    assert missing_frames(CASME3A(layouts.casme3a(tmp_path, parts=parts)).clips()) == []


def test_casme3a_takes_the_first_sheet_where_none_is_called_label(tmp_path):
    assert len(CASME3A(layouts.casme3a(tmp_path, sheet="Tabelle1")).clips()) == 3


def test_casme3a_the_older_labels_are_another_workbook_and_an_xls_is_to_be_saved_anew(tmp_path):
    older = (layouts.casme3a(tmp_path) / layouts.CASME3A_FILE).with_name("cas(me)3_part_A_ME_label_JpgIndex_v1.xls")
    assert older.stem in refused(CASME3A(tmp_path), "v1")
    older.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)
    message = refused(CASME3A(tmp_path), "v1")
    assert str(older) in message
    assert "save it as .xlsx" in message
    rows = [layouts.CASME3A_HEADER, layouts.CASME3A_ROWS[0]]
    write_workbook(older.with_suffix(".xlsx"), Sheet1=rows)
    assert len(CASME3A(tmp_path).clips("v1")) == 1
    assert len(CASME3A(tmp_path).clips("v2")) == 3


@pytest.mark.parametrize("level", ["none", "official", "corrected"])
def test_casme3a_rows_known_to_be_wrong_are_changed_under_corrected_alone(tmp_path, level):
    clips = CASME3A(layouts.casme3a(tmp_path, layouts.CASME3A_WRONG)).clips(corrections=level)
    as_written = [
        ["spNO.149", "d", 112, 83, 170],
        ["spNO.214", "c", 22, 28, 3460],
        ["spNO.216", "d", 3647, 2655, 2667],
        ["spNO.216", "e", 0, 0, 9],
        ["spNO.40", "e", 1812, 1830, 0],
        ["spNO.40", "e", 2327, 2380, 0],
    ]
    corrected = [
        ["spNO.149", "d", 112, 160, 170],
        ["spNO.214", "c", 22, 28, 34],
        ["spNO.216", "d", 2647, 2655, 2667],
        ["spNO.216", "e", 1, 1, 9],
        ["spNO.40", "e", 1812, 1830, 1845],
        ["spNO.40", "e", 2327, 2380, 2403],
    ]
    assert lines(clips, "subject clip onset apex offset") == (corrected if level == "corrected" else as_written)


# CAS(ME)³ part C


@pytest.mark.parametrize("parts", ["part_C", ".", "part_C/RGB_Depth/part_C"])
def test_casme3c_has_no_apex_and_finds_clips_cut_out_or_in_the_one_recording(tmp_path, parts):
    clips = CASME3C(layouts.casme3c(tmp_path, parts=parts)).clips()
    assert lines(clips, "subject clip onset apex offset fps action_units emotion") == [
        ["01", "1", 100, None, 104, 30.0, "4,7", "negative"],
        ["01", "2", 110, None, 113, 30.0, "1,2", "surprise"],
        ["23", "1", 7, None, 9, 30.0, "12", "positive"],
    ]
    places = ["01/1/color", "01/2/color", "23/a/color"]
    assert clips["folder"].tolist() == [str(tmp_path / parts / place) for place in places]
    assert missing_frames(clips) == []


def test_casme3c_depth_frames_are_another_kind(tmp_path):
    clips = CASME3C(layouts.casme3c(tmp_path), frames="depth").clips()
    assert {Path(folder).name for folder in clips["folder"]} == {"depth"}
    assert missing_frames(clips) == []


def test_casme3c_a_labelled_row_without_onset_is_refused_and_not_dropped(tmp_path):
    rows = [*layouts.CASME3C_ROWS, [24, 3, None, None, None, None, "others", "p24"]]
    assert "1 clips have no usable onset: 24/3" in refused(CASME3C(layouts.casme3c(tmp_path, rows)))


# DFME


def test_dfme_parts_are_splits_and_the_frame_rate_is_that_of_the_clip(tmp_path):
    clips = DFME(layouts.dfme(tmp_path)).clips()
    assert lines(clips, "subject clip onset apex offset fps action_units emotion split") == [
        ["sub0003", "sub0003_01", 12, 20, 31, 500.0, "4+L10", "disgust", "train"],
        ["sub0003", "sub0003_02", 1, 4, 9, 300.0, "4", "anger", "train"],
        ["sub0010", "sub0010_05", 3, 5, 8, 200.0, "R14", "contempt", "test_a"],
        ["sub0020", "sub0020_01", 2, 3, 4, 500.0, "", "", "test_b"],
    ]
    assert clips["fps"].dtype == "float64"
    places = ["DFME_train/DFME_train/sub0003_01", "DFME_train/DFME_train/SUB0003_02", "test_data_A/sub0010_05"]
    assert clips["folder"].tolist() == [str(tmp_path / place) for place in [*places, "sub0020_01"]]


def test_dfme_the_training_part_alone_will_do_and_another_alone_will_not(tmp_path):
    layouts.dfme(tmp_path)
    for path in (tmp_path / "annotation" / layouts.DFME_FILES["test_a"], tmp_path / layouts.DFME_FILES["test_b"]):
        path.unlink()
    assert set(DFME(tmp_path).clips()["split"]) == {"train"}
    (tmp_path / layouts.DFME_FILES["train"]).rename(tmp_path / "test_a.xlsx")
    assert "workbook of the training part is missing" in refused(DFME(tmp_path))


def test_dfme_passes_over_workbooks_that_are_no_annotation_and_takes_that_with_action_units(tmp_path):
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


def test_dfme_a_clip_of_one_part_is_not_looked_for_in_the_folder_of_another(tmp_path):
    layouts.dfme(tmp_path)
    write_frames(tmp_path / "1 test_B" / "1 test_B" / "sub0003_01", range(12, 32))
    assert "DFME_train" in DFME(tmp_path).clips()["folder"][0]
