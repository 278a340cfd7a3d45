"""The CASME II and SAMM adapters: what a workbook says is what the table holds, and a broken copy is named."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.data.layouts import CASME2_HEADER, SAMM_HEADER, save

from fdp_lightning.data.annotations.clips import COLUMNS, annotation_problems
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.samm import SAMM
from fdp_lightning.errors import UserError

CASME2_FILE, SAMM_FILE = "CASME2-coding-20190701.xlsx", "SAMM_Micro_FACS_Codes_v2.xlsx"


def row(subject: Any = "01", clip: Any = "EP02_01f", onset: Any = 46, apex: Any = 59, offset: Any = 86) -> list:
    return [subject, clip, None, onset, apex, offset, None, "12", "happiness"]


def samm_row(subject: Any) -> list:
    return [subject, "006_1_2", 1, 5562, 5588, 5632, "=F15-D15+1", "Micro - 1/2", "4+7", "Anger", 3, None]


def casme2(root: Path, *rows: list) -> CASME2:
    (root / "CASME2_RAW_selected").mkdir(parents=True, exist_ok=True)
    save(root / CASME2_FILE, [CASME2_HEADER, *rows])
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


@pytest.mark.parametrize(("subject", "prose"), [(6, 13), ("6", 0), ("006", 13)])
def test_samm_subject_is_three_digits_and_the_header_in_any_row(tmp_path: Path, subject: int | str, prose: int) -> None:
    lines = [[f"prose {n}" if n % 5 else None] for n in range(prose)]
    save(tmp_path / SAMM_FILE, [*lines, SAMM_HEADER, samm_row(subject=subject)])
    clips = SAMM(tmp_path).clips()
    assert clips[["subject", "onset", "apex", "offset", "objective"]].values.tolist() == [
        ["006", 5562, 5588, 5632, "3"]
    ]
    assert clips["folder"][0] == str(tmp_path / "006" / "006_1_2")


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([row(), row(None, "EP99")], ["no subject", "EP99"]), ([row(), row(clip=None)], ["no subject", "01/"]),
        ([row(), row(clip="EP03"), row()], ["01/EP02_01f", "remove"]),
        *(([row(clip="EP03"), row(onset=onset)], ["01/EP02_01f", "usable onset"])
          for onset in (None, "/", 46.5, -3, "1e999")),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_clips_are_refused_by_name(tmp_path: Path, rows: list[list], named: list[str]) -> None:
    message = refused(casme2(tmp_path, *rows))
    assert all(part in message for part in (CASME2_FILE, *named))
    assert "EP03" not in message


@pytest.mark.parametrize("offset", [45, 0, None, "/", 86.5, "1e999"])
def test_a_clip_without_a_usable_offset_is_a_problem(tmp_path: Path, offset: float | int | str | None) -> None:
    clips = casme2(tmp_path, row(clip="EP03"), row(offset=offset, apex=None)).clips()
    assert len(clips) == 2
    (problem,) = annotation_problems(clips)
    assert (problem.clip, problem.kind, problem.fatal) == ("casme2/01/EP02_01f@46", "bad_interval", True)


@pytest.mark.parametrize(
    "content",
    [b"", b"Subject,Filename\n01,EP02_01f\n", b"PK\x03\x04 cut off", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600],
    ids=["empty", "text", "cut off", "old or encrypted workbook"],
)
def test_what_is_no_workbook_is_refused_by_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SAMM_FILE).write_bytes(content)
    message = refused(SAMM(tmp_path))
    assert f"{tmp_path / SAMM_FILE} cannot be read" in message and "copy it again" in message
