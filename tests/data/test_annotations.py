"""The CASME II and SAMM adapters: what a workbook says is what the table holds, and a broken copy is named."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from openpyxl import Workbook, load_workbook
from tests.data.replicas import CASME2_HEADER, SAMM_HEADER, save

from fdp_lightning.data.annotations.clips import COLUMNS, annotation_problems
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.samm import SAMM
from fdp_lightning.data.datasets.workbook import read_sheet
from fdp_lightning.errors import UserError

CASME2_FILE, SAMM_FILE = "CASME2-coding-20190701.xlsx", "SAMM_Micro_FACS_Codes_v2.xlsx"


def row(subject="01", clip="EP02_01f", onset=46, apex=59, offset=86, units="12", emotion="happiness") -> list:
    return [subject, clip, None, onset, apex, offset, None, units, emotion]


def samm_row(subject="006", clip="006_1_2", onset=5562, apex=5588, offset=5632) -> list:
    return [subject, clip, 1, onset, apex, offset, "=F15-D15+1", "Micro - 1/2", "4+7", "Anger", 3, None]


def casme2(root: Path, *rows: list, header=CASME2_HEADER) -> CASME2:
    (root / "CASME2_RAW_selected").mkdir(parents=True, exist_ok=True)
    save(root / CASME2_FILE, [header, *rows])
    return CASME2(root)


def refused(dataset: CASME2 | SAMM) -> str:
    with pytest.raises(UserError) as caught:
        dataset.clips()
    return str(caught.value)


def test_the_table_of_a_written_casme2_has_all_columns_and_its_folders_exist(casme2_root):
    clips = CASME2(casme2_root).clips("2019")
    assert list(clips.columns) == COLUMNS
    assert len(clips) == 15
    assert sorted(clips["subject"].unique()) == ["01", "02", "03"]
    assert all(Path(folder).is_dir() for folder in clips["folder"])
    truth = pd.read_csv(casme2_root / "ground_truth.csv", dtype=str).sort_values(["subject", "clip"])
    for column in ("onset", "apex", "offset", "action_units", "emotion"):
        assert clips[column].astype(str).tolist() == truth[column].tolist(), column


def test_the_table_of_a_written_samm_keeps_its_subjects_as_text_and_its_objective_classes(samm_root):
    clips = SAMM(samm_root).clips()
    assert sorted(clips["subject"].unique()) == ["006", "007"]
    assert set(clips["objective"]) <= set("1234567")
    assert all(Path(folder).is_dir() for folder in clips["folder"])


@pytest.mark.parametrize("subject", [1, 1.0, "1", "01", " 01 "])
def test_casme2_subject_is_two_digits_of_text_however_the_cell_holds_it(tmp_path, subject):
    clips = casme2(tmp_path, row(subject=subject)).clips()
    assert clips["subject"].tolist() == ["01"]
    assert clips["folder"][0] == str(tmp_path / "CASME2_RAW_selected" / "sub01" / "EP02_01f")


@pytest.mark.parametrize("subject", [6, "6", "006"])
@pytest.mark.parametrize("prose", [13, 0])
def test_samm_subject_is_three_digits_and_the_header_may_be_in_row_14_or_1(tmp_path, subject, prose):
    lines = [[f"prose {n}" if n % 5 else None] for n in range(prose)]
    save(tmp_path / SAMM_FILE, [*lines, SAMM_HEADER, samm_row(subject=subject)])
    clips = SAMM(tmp_path).clips()
    assert clips[["subject", "onset", "apex", "offset", "objective"]].values.tolist() == [
        ["006", 5562, 5588, 5632, "3"]
    ]
    assert clips["folder"][0] == str(tmp_path / "006" / "006_1_2")


@pytest.mark.parametrize("apex", ["/", None, "", "?"])
def test_an_apex_that_is_no_number_is_missing_and_the_clip_stays(tmp_path, apex):
    clips = casme2(tmp_path, row(apex=apex), row(clip="EP03_02", apex=60)).clips()
    assert clips["apex"].isna().tolist() == [True, False]
    assert clips["apex"][1] == 60


def test_action_units_are_text_whether_numbers_or_text_and_blank_when_missing(tmp_path):
    cells = [12, "4+R10", "L7+L10", "?", None]
    rows = [row(clip=f"EP0{i}", units=cell) for i, cell in enumerate(cells)]
    units = casme2(tmp_path, *rows).clips()["action_units"]
    assert units.tolist() == ["12", "4+R10", "L7+L10", "?", ""]


def test_emotions_named_none_or_na_are_not_taken_for_blank_cells(tmp_path):
    emotions = casme2(tmp_path, row(emotion="None"), row(clip="EP03", emotion="NA")).clips()["emotion"]
    assert emotions.tolist() == ["none", "na"]


def test_column_names_are_compared_without_case_and_spaces_and_their_order_is_free(tmp_path):
    header = ["estimated emotion", "SUBJECT", "File name", "Onset Frame", "apexframe", "OffsetFrame ", "ActionUnits"]
    clips = casme2(tmp_path, ["Happiness", "01", "EP01", 1, 2, 3, 12], header=header).clips()
    assert clips[["emotion", "clip", "offset"]].values.tolist() == [["happiness", "EP01", 3]]


def test_blank_rows_below_and_between_the_clips_are_ignored(tmp_path):
    blank = [None] * 9
    clips = casme2(tmp_path, row(), blank, row(clip="EP03"), [" "] * 9, blank, blank).clips()
    assert clips["clip"].tolist() == ["EP02_01f", "EP03"]


@pytest.mark.parametrize("field", ["subject", "clip"])
def test_a_row_with_frames_but_without_subject_or_file_name_is_refused_and_not_dropped(tmp_path, field):
    message = refused(casme2(tmp_path, row(), row(**{"clip": "EP99", field: None})))
    assert CASME2_FILE in message
    assert "without" in message
    assert ("EP99" if field == "subject" else "01/") in message


def test_a_doubled_clip_is_refused_by_name_with_what_to_do(tmp_path):
    message = refused(casme2(tmp_path, row(), row(clip="EP03"), row()))
    assert CASME2_FILE in message
    assert "01/EP02_01f" in message
    assert "EP03" not in message
    assert "remove" in message


@pytest.mark.parametrize("onset", [None, "/", 46.5, -3, "1e999"])
def test_a_clip_without_a_usable_onset_is_refused_by_name(tmp_path, onset):
    message = refused(casme2(tmp_path, row(clip="EP03"), row(onset=onset)))
    assert CASME2_FILE in message
    assert "01/EP02_01f" in message
    assert "EP03" not in message
    assert "usable onset" in message


@pytest.mark.parametrize("offset", [45, 0, None, "/", 86.5, "1e999"])
def test_a_clip_without_a_usable_offset_counts_and_is_a_problem(tmp_path, offset):
    clips = casme2(tmp_path, row(clip="EP03"), row(offset=offset, apex=None)).clips()
    assert len(clips) == 2
    (problem,) = annotation_problems(clips)
    assert (problem.clip, problem.kind, problem.fatal) == ("casme2/01/EP02_01f@46", "bad_interval", True)


@pytest.mark.parametrize(
    ("apex", "kinds"),
    [(46, ["apex_at_onset"]), (86, ["apex_at_offset"]), (45, ["apex_outside"]), (87, ["apex_outside"])],
)
def test_an_apex_at_the_edge_or_outside_is_remarked_on_and_does_not_hinder(tmp_path, apex, kinds):
    found = annotation_problems(casme2(tmp_path, row(apex=apex), row(clip="EP03", apex=60)).clips())
    assert [problem.kind for problem in found] == kinds
    assert not any(problem.fatal for problem in found)


def test_a_clip_of_a_single_frame_is_usable(tmp_path):
    assert len(casme2(tmp_path, row(onset=46, apex=46, offset=46)).clips()) == 1


def test_a_missing_dataset_folder_is_named_with_the_key_and_the_request_page(tmp_path):
    message = refused(CASME2(tmp_path / "nowhere"))
    for part in (str(tmp_path / "nowhere"), "does not exist", "data.root=", "casme.psych.ac.cn"):
        assert part in message


def test_a_file_in_place_of_the_dataset_folder_is_named(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"zip")
    message = refused(SAMM(tmp_path / "data.zip"))
    assert f"{tmp_path / 'data.zip'} is a file, not a folder" in message


def test_a_missing_workbook_is_named_with_those_that_are_there(tmp_path):
    save(tmp_path / "CASME2-coding-20140508.xlsx", [CASME2_HEADER, row()])
    with pytest.raises(UserError) as caught:
        CASME2(tmp_path).clips("2019")
    message = str(caught.value)
    assert str(tmp_path / CASME2_FILE) in message
    assert "workbooks in that folder: CASME2-coding-20140508.xlsx" in message


def test_labels_that_nobody_named_are_those_of_the_workbook_there_is(tmp_path):
    save(tmp_path / "CASME2-coding-20140508.xlsx", [CASME2_HEADER, row(emotion="sadness")])
    assert CASME2(tmp_path).clips()["emotion"].tolist() == ["sadness"]
    casme2(tmp_path, row(emotion="surprise"))
    assert CASME2(tmp_path).clips()["emotion"].tolist() == ["surprise"]


def test_missing_frames_folder_is_named_with_its_candidates(tmp_path):
    save(tmp_path / CASME2_FILE, [CASME2_HEADER, row()])
    assert len(CASME2(tmp_path).clips()) == 1  # the annotation alone can be looked at
    with pytest.raises(UserError) as caught:
        CASME2(tmp_path).require_frames()
    message = str(caught.value)
    assert f"{tmp_path} holds no folder CASME2_RAW_selected" in message
    assert "data.root" in message


def test_an_unknown_choice_of_frames_is_refused_with_the_choices(tmp_path):
    with pytest.raises(UserError, match=r"data\.adapter\.frames.*'croped'.*selected, raw, cropped"):
        CASME2(tmp_path, frames="croped")


def test_the_cropped_frames_may_lie_where_a_later_release_has_them(tmp_path):
    casme2(tmp_path, row())
    (tmp_path / "Cropped-updated" / "Cropped").mkdir(parents=True)
    clips = CASME2(tmp_path, frames="cropped").clips()
    assert clips["folder"][0] == str(tmp_path / "Cropped-updated" / "Cropped" / "sub01" / "EP02_01f")


def test_an_unknown_label_version_is_refused_with_those_known(casme2_root):
    with pytest.raises(UserError, match=r"2018.*2019, 2014"):
        CASME2(casme2_root).clips("2018")


@pytest.mark.parametrize("gone", ["Subject", "Filename", "OnsetFrame", "Estimated Emotion"])
def test_a_missing_column_is_named_with_file_and_what_was_found(tmp_path, gone):
    header = ["Renamed" if name == gone else name for name in CASME2_HEADER]
    message = refused(casme2(tmp_path, row(), header=header))
    assert f"{tmp_path / CASME2_FILE}: column '{gone}' is missing in row 1" in message
    assert "Renamed" in message
    assert "Unnamed" not in message


@pytest.mark.parametrize("gone", ["Subject", "Objective Classes"])
def test_a_missing_samm_column_is_looked_for_in_the_header_row_and_not_in_the_prose(samm_root, tmp_path, gone):
    book = load_workbook(samm_root / SAMM_FILE)
    for cell in book.active[14]:
        if cell.value == gone:
            cell.value = "Renamed"
    book.save(tmp_path / SAMM_FILE)
    message = refused(SAMM(tmp_path))
    assert f"column '{gone}' is missing in row 14" in message
    assert "Renamed" in message


def test_a_missing_sheet_is_named_with_those_there_are(tmp_path):
    book = Workbook()
    book.active.title = "labels of 2019"
    book.save(tmp_path / "book.xlsx")
    with pytest.raises(UserError) as caught:
        read_sheet(tmp_path / "book.xlsx", {"subject": "Subject"}, sheet="Sheet1")
    for part in (str(tmp_path / "book.xlsx"), "'Sheet1'", "labels of 2019"):
        assert part in str(caught.value)


@pytest.mark.parametrize("dataset", [CASME2, SAMM])
@pytest.mark.parametrize(
    "content",
    [b"", b"Subject,Filename\n01,EP02_01f\n", b"PK\x03\x04 cut off", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600],
    ids=["empty", "text", "cut off", "old or encrypted workbook"],
)
def test_what_is_no_workbook_is_refused_by_its_path(tmp_path, dataset, content):
    name = CASME2_FILE if dataset is CASME2 else SAMM_FILE
    (tmp_path / name).write_bytes(content)
    message = refused(dataset(tmp_path))
    assert f"{tmp_path / name} cannot be read as an Excel workbook" in message
    assert "copy it again" in message


@pytest.mark.parametrize("keep", [0.3, 0.97])
def test_a_truncated_workbook_is_refused_by_its_path(casme2_root, tmp_path, keep):
    whole = (casme2_root / CASME2_FILE).read_bytes()
    (tmp_path / CASME2_FILE).write_bytes(whole[: int(len(whole) * keep)])
    assert f"{tmp_path / CASME2_FILE} cannot be read" in refused(CASME2(tmp_path))


@pytest.mark.parametrize("dataset", [CASME2, SAMM])
def test_an_empty_sheet_is_refused_as_having_no_header(tmp_path, dataset):
    name = CASME2_FILE if dataset is CASME2 else SAMM_FILE
    save(tmp_path / name, [])
    message = refused(dataset(tmp_path))
    assert str(tmp_path / name) in message
    assert "no header" in message


def test_a_sheet_with_a_header_and_no_clip_is_refused(tmp_path):
    message = refused(casme2(tmp_path))
    assert str(tmp_path / CASME2_FILE) in message
    assert "no clip" in message


def test_paths_with_spaces_brackets_and_unicode_are_read(casme2_root, tmp_path):
    copy = tmp_path / "my data [2] 微表情 (ü)"
    copy.mkdir()
    shutil.copy(casme2_root / CASME2_FILE, copy)
    (copy / "CASME2_RAW_selected").mkdir()
    clips = CASME2(copy).clips()
    assert clips["folder"].str.startswith(str(copy)).all()
