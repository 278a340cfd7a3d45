"""Workbooks as people keep them: what Excel and its users do to a table neither stops a reader nor changes a count."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import Workbook, load_workbook
from tests.data import layouts, replicas

from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.casme_sq import CASMESquared
from fdp_lightning.data.datasets.samm import SAMM
from fdp_lightning.data.datasets.workbook import read_sheet

NAME = "CASME2-coding-20190701.xlsx"
ROW = ["01", "EP02_01f", None, 46, 59, 86, None, 12, "happiness"]


def casme2(root: Path, *rows: list, above: int = 0, header: list[Any] = replicas.CASME2_HEADER) -> pd.DataFrame:
    replicas.save(root / NAME, [*[["CASME II"]] * above, header, *rows])
    return CASME2(root).clips()


@pytest.mark.parametrize("subject", [1, 1.0, "1", "01 ", "1.0", "1.00"])
@pytest.mark.parametrize("frame", [46, 46.0, "46", "46.0", " 46"])
def test_subjects_and_frame_numbers_are_read_from_numbers_and_text(
    subject: float | int | str, frame: float | int | str, tmp_path: Path
) -> None:
    row = casme2(tmp_path, [subject, "EP02_01f", None, frame, frame, frame, None, 12, "happiness"]).loc[0]
    assert (row["subject"], row["onset"], row["apex"], row["offset"]) == ("01", 46, 46, 46)


def test_prose_remarks_and_blank_rows_are_no_clips(tmp_path: Path) -> None:
    blank = [None] * 9
    prose = [["Note: frames are counted from 1"], blank, [None, None, "half way"], [" "] * 9, [*blank, "a remark"]]
    assert len(casme2(tmp_path, ROW, *prose, [2, *ROW[1:]], ["end of table"])) == 2


@pytest.mark.parametrize("apex", ["/", "NaN", "nan", "#N/A", "?", None, "-", datetime(2014, 5, 8), True])
def test_an_apex_of_whatever_kind_does_not_stop_the_reader(apex: Any, tmp_path: Path) -> None:
    table = casme2(tmp_path, [*ROW[:4], apex, *ROW[5:]])
    assert len(table) == 1
    assert str(table.loc[0, "apex"]) == "<NA>"


def test_a_subject_that_is_merged_over_its_rows_is_that_of_each(tmp_path: Path) -> None:
    path = replicas.save(tmp_path / NAME, [replicas.CASME2_HEADER, ROW, [None, "EP03_02", *ROW[2:]], [2, *ROW[1:]]])
    book = load_workbook(path)
    book.active.merge_cells("A2:A3")
    book.save(path)
    table = CASME2(tmp_path).clips()
    assert [*zip(table["subject"], table["clip"], strict=True)] == [
        ("01", "EP02_01f"),
        ("01", "EP03_02"),
        ("02", "EP02_01f"),
    ]


def test_a_formula_that_was_never_calculated_is_a_blank_cell(tmp_path: Path) -> None:
    row = casme2(tmp_path, [*ROW[:5], "=D2+40", *ROW[6:]]).loc[0]
    assert str(row["offset"]) == "<NA>"
    assert row["emotion"] == "happiness"


@pytest.mark.parametrize(
    "change", [str.upper, str.lower, lambda name: f" {name}\n", lambda name: name.replace(" ", "_")]
)
def test_headers_are_told_by_letters_and_digits_alone(change: Callable[[str], str], tmp_path: Path) -> None:
    assert len(casme2(tmp_path, ROW, header=[name and change(name) for name in replicas.CASME2_HEADER])) == 1


@pytest.mark.parametrize("header", ["Objective Class", "Objective Classes", "objective_class"])
@pytest.mark.parametrize("cell", [3, 3.0, "III", "Ⅲ", "iii ", "3.0"])
def test_objective_classes_are_read_in_every_way_to_write_them(
    header: str, cell: float | int | str, tmp_path: Path
) -> None:
    replicas.save(
        tmp_path / "CASME2-ObjectiveClasses.xlsx", [["Subject", "Filename", header], [1.0, "ep02_01F ", cell]]
    )
    assert casme2(tmp_path, ROW).loc[0, "objective"] == "3"


def test_samm_is_read_whatever_number_of_rows_stands_above_its_header(tmp_path: Path) -> None:
    for above in (0, 5, 13, 20):
        lines = [[f"prose on Filename {n}", "Subject"] for n in range(above)]
        replicas.save(tmp_path / SAMM.workbooks["v2"][0], [*lines, replicas.SAMM_HEADER, *replicas.samm_rows()])
        assert len(SAMM(tmp_path).clips()) == 159


def test_a_sheet_whose_size_is_written_wrong_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    book = Workbook(write_only=True)  # writes no size at all
    sheet = book.create_sheet("Sheet1")
    for line in (["Subject", "Filename"], ["a", "b"], ["c", "d"]):
        sheet.append(line)
    book.save(path)
    assert len(read_sheet(path, {"subject": "Subject", "clip": "Filename"})) == 2


@pytest.mark.parametrize("empty", [True, False])
def test_a_sheet_before_the_annotation_is_passed_over(empty: bool, tmp_path: Path) -> None:
    replicas.save(tmp_path / NAME, [replicas.CASME2_HEADER, ROW])
    layouts.casme_sq(tmp_path)
    for name in (NAME, layouts.CASME_SQ_FILE):
        book = load_workbook(tmp_path / name)
        first = book.create_sheet("about", 0)
        if not empty:
            first.append(["about", "this file"])
        book.save(tmp_path / name)
    assert len(CASME2(tmp_path).clips()) == 1
    assert {*CASMESquared(tmp_path).clips("all")["subject"]} == {"15", "24", "40"}
