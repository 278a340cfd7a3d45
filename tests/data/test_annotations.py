"""The CASME II and SAMM adapters: what a workbook says is what the table holds, and a broken copy is named."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.data.layouts import CASME2_HEADER, SAMM_HEADER, save

from fdp_lightning.data.annotations.clips import COLUMNS, annotation_problems
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.samm import SAMM
from fdp_lightning.errors import UserError

CASME2_FILE, SAMM_FILE = "CASME2-coding-20190701.xlsx", "SAMM_Micro_FACS_Codes_v2.xlsx"


def row(
    subject: Any = "01",
    clip: Any = "EP02_01f",
    onset: Any = 46,
    apex: Any = 59,
    offset: Any = 86,
    units: Any = "12",
    emotion: Any = "happiness",
) -> list:
    return [subject, clip, None, onset, apex, offset, None, units, emotion]


def samm_row(
    subject: Any = "006", clip: Any = "006_1_2", onset: Any = 5562, apex: Any = 5588, offset: Any = 5632
) -> list:
    return [subject, clip, 1, onset, apex, offset, "=F15-D15+1", "Micro - 1/2", "4+7", "Anger", 3, None]


def casme2(root: Path, *rows: list, header: list[Any] = CASME2_HEADER) -> CASME2:
    (root / "CASME2_RAW_selected").mkdir(parents=True, exist_ok=True)
    save(root / CASME2_FILE, [header, *rows])
    return CASME2(root)


def refused(dataset: CASME2 | SAMM) -> str:
    with pytest.raises(UserError) as caught:
        dataset.clips()
    return str(caught.value)


def test_the_table_of_a_written_casme2_has_all_columns_and_its_folders_exist(casme2_root: Path) -> None:
    clips = CASME2(casme2_root).clips("2019")
    assert list(clips.columns) == COLUMNS
    assert len(clips) == 15
    assert sorted(clips["subject"].unique()) == ["01", "02", "03"]
    assert all(Path(folder).is_dir() for folder in clips["folder"])
    truth = pd.read_csv(casme2_root / "ground_truth.csv", dtype=str).sort_values(["subject", "clip"])
    for column in ("onset", "apex", "offset", "action_units", "emotion"):
        assert clips[column].astype(str).tolist() == truth[column].tolist(), column


@pytest.mark.parametrize("subject", [6, "6", "006"])
@pytest.mark.parametrize("prose", [13, 0])
def test_samm_subject_is_three_digits_and_the_header_may_be_in_row_14_or_1(
    tmp_path: Path, subject: int | str, prose: int
) -> None:
    lines = [[f"prose {n}" if n % 5 else None] for n in range(prose)]
    save(tmp_path / SAMM_FILE, [*lines, SAMM_HEADER, samm_row(subject=subject)])
    clips = SAMM(tmp_path).clips()
    assert clips[["subject", "onset", "apex", "offset", "objective"]].values.tolist() == [
        ["006", 5562, 5588, 5632, "3"]
    ]
    assert clips["folder"][0] == str(tmp_path / "006" / "006_1_2")


@pytest.mark.parametrize("field", ["subject", "clip"])
def test_a_row_with_frames_but_without_subject_or_file_name_is_refused_and_not_dropped(
    tmp_path: Path, field: str
) -> None:
    message = refused(casme2(tmp_path, row(), row(**{"clip": "EP99", field: None})))
    assert CASME2_FILE in message
    assert "no subject" in message
    assert ("EP99" if field == "subject" else "01/") in message


def test_a_doubled_clip_is_refused_by_name_with_what_to_do(tmp_path: Path) -> None:
    message = refused(casme2(tmp_path, row(), row(clip="EP03"), row()))
    assert CASME2_FILE in message
    assert "01/EP02_01f" in message
    assert "EP03" not in message
    assert "remove" in message


@pytest.mark.parametrize("onset", [None, "/", 46.5, -3, "1e999"])
def test_a_clip_without_a_usable_onset_is_refused_by_name(tmp_path: Path, onset: float | int | str | None) -> None:
    message = refused(casme2(tmp_path, row(clip="EP03"), row(onset=onset)))
    assert CASME2_FILE in message
    assert "01/EP02_01f" in message
    assert "EP03" not in message
    assert "usable onset" in message


@pytest.mark.parametrize("offset", [45, 0, None, "/", 86.5, "1e999"])
def test_a_clip_without_a_usable_offset_counts_and_is_a_problem(
    tmp_path: Path, offset: float | int | str | None
) -> None:
    clips = casme2(tmp_path, row(clip="EP03"), row(offset=offset, apex=None)).clips()
    assert len(clips) == 2
    (problem,) = annotation_problems(clips)
    assert (problem.clip, problem.kind, problem.fatal) == ("casme2/01/EP02_01f@46", "bad_interval", True)


@pytest.mark.parametrize(
    ("apex", "kinds"),
    [(46, ["apex_at_onset"]), (86, ["apex_at_offset"]), (45, ["apex_outside"]), (87, ["apex_outside"])],
)
def test_an_apex_at_the_edge_or_outside_is_remarked_on_and_does_not_hinder(
    tmp_path: Path, apex: int, kinds: list[str]
) -> None:
    found = annotation_problems(casme2(tmp_path, row(apex=apex), row(clip="EP03", apex=60)).clips())
    assert [problem.kind for problem in found] == kinds
    assert not any(problem.fatal for problem in found)


def test_a_missing_workbook_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    save(tmp_path / "CASME2-coding-20140508.xlsx", [CASME2_HEADER, row()])
    with pytest.raises(UserError) as caught:
        CASME2(tmp_path).clips("2019")
    message = str(caught.value)
    assert str(tmp_path / CASME2_FILE) in message
    assert "workbooks in that folder: CASME2-coding-20140508.xlsx" in message


@pytest.mark.parametrize("dataset", [CASME2, SAMM])
@pytest.mark.parametrize(
    "content",
    [b"", b"Subject,Filename\n01,EP02_01f\n", b"PK\x03\x04 cut off", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600],
    ids=["empty", "text", "cut off", "old or encrypted workbook"],
)
def test_what_is_no_workbook_is_refused_by_its_path(tmp_path: Path, dataset: type[FaceDataset], content: bytes) -> None:
    name = CASME2_FILE if dataset is CASME2 else SAMM_FILE
    (tmp_path / name).write_bytes(content)
    message = refused(dataset(tmp_path))
    assert f"{tmp_path / name} cannot be read as an Excel workbook" in message
    assert "copy it again" in message
