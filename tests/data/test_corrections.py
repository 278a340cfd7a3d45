"""Corrections are applied where the wrong value is, and unlabelled clips are taken in as the protocol says."""

from pathlib import Path

import pandas as pd
import pytest
from openpyxl import load_workbook
from tests.data import replicas
from tests.data.layouts import write_frames

from fdp_lightning.config import configuration
from fdp_lightning.data.annotations.clips import clip_table
from fdp_lightning.data.annotations.corrections import correct, correction_problems, known_errors
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.protocols.clip_tables import read_clips
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import settings


def one(dataset: str, subject: str, clip: str, onset: int, apex: int | None, offset: int) -> pd.DataFrame:
    row = {"dataset": dataset, "subject": subject, "clip": clip, "onset": onset, "apex": apex, "offset": offset}
    return clip_table(pd.DataFrame([row]))


def frames(table: pd.DataFrame) -> list[int | None]:
    return [None if pd.isna(value) else int(value) for value in table.loc[0, ["onset", "apex", "offset"]]]


CASES = [
    (("samm", "028", "028_4_1", 1071, 1143, 1134), [1071, 1143, 1134], [1071, None, 1134]),
    (("samm", "032", "032_3_1", 4896, 1930, 4970), [4896, 1930, 4970], [4896, 4930, 4970]),
    (("samm", "013", "013_1_9", 5700, 5720, 5793), [5700, 5720, 5739], [5700, 5720, 5739]),
    (("casme3a", "spNO.149", "d", 112, 83, 180), [112, 83, 180], [112, 160, 180]),
    (("casme3a", "spNO.216", "d", 3647, 2655, 2660), [3647, 2655, 2660], [2647, 2655, 2660]),
    (("casme3a", "spNO.40", "e", 1812, 1830, 0), [1812, 1830, 0], [1812, 1830, 1845]),
    (("casme3a", "spNO.40", "e", 2327, 2350, 0), [2327, 2350, 0], [2327, 2350, 2403]),
    (("casme3a", "spNO.216", "e", 0, 0, 12), [0, 0, 12], [1, 1, 12]),
    (("casme3a", "spNO.214", "c", 20, 27, 3460), [20, 27, 3460], [20, 27, 34]),
]


@pytest.mark.parametrize(("row", "official", "corrected"), CASES, ids=lambda value: str(value[2]))
def test_each_known_error_is_mended_at_its_level_and_named_and_another_value_left_alone(
    row: tuple[str, str, str, int, int, int], official: list[int], corrected: list[int | None]
) -> None:
    table = one(*row)
    assert frames(correct(table, "none")) == list(row[3:]) == frames(table)
    assert frames(correct(table, "official")) == official
    assert frames(correct(table, "corrected")) == corrected
    assert {problem.clip for problem in correction_problems(table)} == {f"{row[0]}/{row[1]}/{row[2]}@{row[3]}"}
    dataset, subject, clip, onset, *_ = row
    mended = one(dataset, subject, clip, onset + 1000, onset + 1001, onset + 1002)
    for other in (mended, one("synthetic", *row[1:])):
        assert frames(correct(other, "corrected")) == frames(other)
        assert correction_problems(other) == []


def test_every_row_of_the_table_says_why_and_by_whom() -> None:
    errors = known_errors()
    assert (errors["reason"] != "").all()
    assert (errors["source"] != "").all()
    assert set(errors["level"]) <= {"", "official", "corrected"}
    assert not errors.duplicated(["dataset", "subject", "clip", "onset", "column"]).any()
    mends = errors[errors["level"] != ""]
    assert (mends["annotated"] != mends["corrected"]).all()


SHEET = "CASME2-coding-20140508.xlsx"


@pytest.fixture
def with_247() -> Protocol:
    return settings(Protocol, configuration("protocol=casme2_5c_247").protocol)


def add_row(root: Path, emotion: str | None) -> None:
    book = load_workbook(root / SHEET)
    if book.active.cell(book.active.max_row, 2).value == "EP02_07":
        book.active.delete_rows(book.active.max_row)
    book.active.append(["24", "EP02_07", None, 91, 100, 120, None, "4", emotion])
    book.save(root / SHEET)


def test_a_clip_that_lies_on_disk_alone_has_the_interval_of_its_files(tmp_path: Path, with_247: Protocol) -> None:
    root = replicas.write_casme2(tmp_path)
    write_frames(root / "CASME2_RAW_selected/sub24/EP02_07", range(61, 80))
    clips = with_247.apply(read_clips(CASME2(root), with_247, "official"))
    row = clips.set_index(["subject", "clip"]).loc[("24", "EP02_07")]
    assert (row["onset"], row["offset"], row["target"], row["fps"]) == (61, 79, "disgust", 200)


def test_a_clip_whose_row_has_no_label_keeps_what_the_row_says(tmp_path: Path, with_247: Protocol) -> None:
    root = replicas.write_casme2(tmp_path)
    add_row(root, None)
    clips = with_247.apply(read_clips(CASME2(root), with_247, "official"))
    row = clips.set_index(["subject", "clip"]).loc[("24", "EP02_07")]
    assert (row["onset"], row["offset"], row["target"]) == (91, 120, "disgust")
    assert "counts it as disgust" in row["remark"]
    add_row(root, "happiness")
    with pytest.raises(UserError, match=r"24/EP02_07.*protocol\.include"):
        read_clips(CASME2(root), with_247, "official")
