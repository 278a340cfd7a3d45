"""Annotation files of other kinds, or as people keep them, are read to the same table, or told apart."""

import csv
import re
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import Workbook, load_workbook
from tests.data import layouts, replicas
from tests.data.layouts import WRITERS

from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.casme3a import CASME3A
from fdp_lightning.data.datasets.casme_sq import CASMESquared
from fdp_lightning.data.datasets.dfme import DFME
from fdp_lightning.data.datasets.samm import SAMM
from fdp_lightning.data.datasets.workbook import read_sheet
from fdp_lightning.errors import UserError
from fdp_lightning.foreign import MOST_BYTES

pytestmark = pytest.mark.costly


every_dataset = pytest.mark.parametrize("dataset", WRITERS, ids=lambda dataset: dataset.name)
SHEET = {CASME3A: "label"}
"""The sheet with the clips where it is not the first."""


def books(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.xlsx") if not path.name.startswith("~")]


def to_csv(book: Path, sheet: str | None, delimiter: str = ",", encoding: str = "utf-8") -> None:
    """The sheet of a workbook as a .csv of its name, in its place."""
    sheets = load_workbook(book, data_only=True)
    rows = (sheets[sheet] if sheet else sheets.worksheets[0]).iter_rows(values_only=True)
    with book.with_suffix(".csv").open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    book.unlink()


def rewritten(book: Path, change: Callable[[str, str], str | None]) -> None:
    """Change the parts of a workbook, given name and text; None leaves one out."""
    with zipfile.ZipFile(book) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(book, "w") as archive:
        for name, text in parts.items():
            if (changed := change(name, text)) is not None:
                archive.writestr(name, changed)


@pytest.mark.parametrize(
    ("dataset", "delimiter", "encoding"),
    [*((dataset, ",", "utf-8") for dataset in WRITERS), (SAMM, ";", "utf-8-sig"), (CASME3A, "\t", "utf-16"),
     (DFME, ",", "gbk")],
)  # fmt: skip
def test_a_csv_is_the_same_table(dataset: type[FaceDataset], delimiter: str, encoding: str, tmp_path: Path) -> None:
    WRITERS[dataset](tmp_path)
    expected = dataset(tmp_path).clips()
    for book in books(tmp_path):
        to_csv(book, SHEET.get(dataset), delimiter, encoding)
    pd.testing.assert_frame_equal(dataset(tmp_path).clips(), expected)


@every_dataset
def test_another_kind_of_table_is_named_with_what_to_do(dataset: type[FaceDataset], tmp_path: Path) -> None:
    WRITERS[dataset](tmp_path)
    for before, suffix in ((".xlsx", ".xls"), (".xls", ".ODS")):
        for book in tmp_path.rglob(f"*{before}"):
            book.rename(book.with_suffix(suffix))
        with pytest.raises(UserError, match=r"save it as \.xlsx") as caught:
            dataset(tmp_path).clips()
        assert suffix in str(caught.value)


def test_an_objective_workbook_and_a_test_part_of_another_kind_are_not_passed_over(tmp_path: Path) -> None:
    layouts.casme2(tmp_path / "casme2")
    classes = tmp_path / "casme2" / "CASME2-ObjectiveClasses.xlsx"
    classes.rename(classes.with_suffix(".ods"))
    layouts.dfme(tmp_path / "dfme")
    part = tmp_path / "dfme" / layouts.DFME_FILES["test_b"]
    part.rename(part.with_suffix(".xls"))
    for dataset in (CASME2(tmp_path / "casme2"), DFME(tmp_path / "dfme")):
        with pytest.raises(UserError, match=r"save it as \.xlsx"):
            dataset.clips()


def _invalid_fill(name: str, text: str) -> str:
    return re.sub(r"<fills.*?</fills>", '<fills count="1"><fill/></fills>', text) if name == "xl/styles.xml" else text


def _broken(part: str) -> Callable[[str, str], str]:
    return lambda name, text: "<broken" if name == part else text


_BAD_NAME = '<definedNames><definedName name="x" localSheetId="nowhere">#REF!</definedName></definedNames>'
_STRICT = {
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main": "http://purl.oclc.org/ooxml/spreadsheetml/main",
    "http://schemas.openxmlformats.org/officeDocument/2006/": "http://purl.oclc.org/ooxml/officeDocument/",
}


def _strict(name: str, text: str) -> str:
    for transitional, strict in _STRICT.items():
        text = text.replace(transitional, strict)
    return text


@pytest.mark.parametrize(
    "change",
    [
        _invalid_fill, _broken("xl/styles.xml"), _broken("xl/theme/theme1.xml"), _broken("docProps/core.xml"),
        lambda name, text: None if name == "xl/styles.xml" else text,
        lambda name, text: text.replace("<calcPr", f"{_BAD_NAME}<calcPr") if name == "xl/workbook.xml" else text,
        _strict, lambda name, text: _strict(name, _invalid_fill(name, text)),
    ],
    ids=["fill", "styles", "theme", "core", "no styles", "defined name", "strict", "strict and fill"],
)  # fmt: skip
def test_parts_without_cells_and_strict_names_do_not_decide(
    change: Callable[..., Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    for dataset in (SAMM, CASME3A):  # whose labels are not on the first sheet
        WRITERS[dataset](tmp_path / dataset.name)
        expected = dataset(tmp_path / dataset.name).clips()
        for book in books(tmp_path / dataset.name):
            rewritten(book, change)
        pd.testing.assert_frame_equal(dataset(tmp_path / dataset.name).clips(), expected)
    assert [str(warning.message) for warning in recwarn] == []


def test_texts_numbers_and_marks_of_a_cell_are_the_same_to_both_readers(tmp_path: Path) -> None:
    layouts.samm(tmp_path)
    path = tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx"
    book = load_workbook(path)
    for row, value in enumerate([12.0, 1.5, True, "a\nb", "#N/A", "", "4<7&"], start=20):
        for column, cell in enumerate(["006", f"c{row}", 1, 1, 2, 3, 4, "x", value, "Anger", 3, None], start=1):
            book.active.cell(row, column, cell)
    book.save(path)
    expected = SAMM(tmp_path).clips()["action_units"].tolist()
    rewritten(path, _broken("xl/styles.xml"))
    assert SAMM(tmp_path).clips()["action_units"].tolist() == expected
    assert "12" in expected and "1.5" in expected and "4<7&" in expected


def test_a_workbook_under_the_name_of_a_csv_is_read_as_what_it_is(tmp_path: Path) -> None:
    layouts.samm(tmp_path)
    (book,) = books(tmp_path)
    book.rename(book.with_suffix(".csv"))
    assert len(SAMM(tmp_path).clips()) == 2


def samm_csv(root: Path, text: str, encoding: str = "utf-8") -> pd.DataFrame:
    (root / "SAMM_Micro_FACS_Codes_v2.csv").write_bytes(text.encode(encoding))
    return SAMM(root).clips()


HEADER = "Subject;Filename;Onset Frame;Apex Frame;Offset Frame;Action Units;Estimated Emotion;Objective Classes;Notes\n"


@pytest.mark.parametrize(
    ("note", "encoding"),
    [("José, Übung – naïve", "cp1252"), ("微表情，很短", "gb18030"), ("é", "cp1252"), ("é", "utf-8")],
)
def test_words_beside_the_clips_are_read_in_the_encoding_of_the_file(note: str, encoding: str, tmp_path: Path) -> None:
    row = f"006;006_1_2;5562.0;5588;5632;4+7;Anger;3;{note}\n"
    table = samm_csv(tmp_path, f"Micro, of SAMM, {note}\n\n{HEADER}{row * 1}", encoding)
    assert table[["subject", "onset", "action_units", "emotion"]].values.tolist() == [["006", 5562, "4+7", "anger"]]


def test_commas_in_cells_do_not_part_a_table_with_semicolons_and_a_row_may_be_short(tmp_path: Path) -> None:
    rows = '006;006_1_2;1;2;3;"4,7";Anger;3\n007;007_1_2;1;2;3;1,2;Anger;3;"a;b\nc"\n'
    assert samm_csv(tmp_path, HEADER + rows)["action_units"].tolist() == ["4,7", "1,2"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", bytes(range(128, 256)) * 9, b"no table"])
def test_a_csv_without_a_table_is_refused_by_its_path(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "SAMM_Micro_FACS_Codes_v2.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(path))):
        SAMM(tmp_path).clips()


@pytest.mark.parametrize("header", ["Objective Classes", "objective class"])
def test_objective_classes_of_the_sheet_stand_in_for_their_workbook(header: str, tmp_path: Path) -> None:
    layouts.casme2(tmp_path)
    path = tmp_path / "CASME2-coding-20190701.xlsx"
    book = load_workbook(path)
    for row, value in enumerate([header, "VII", 4, 5.0], start=1):
        book.active.cell(row, 11, value)
    book.save(path)
    assert CASME2(tmp_path).clips()["objective"].tolist() == ["1", "3", "2"]
    (tmp_path / "CASME2-ObjectiveClasses.xlsx").unlink()
    assert CASME2(tmp_path).clips()["objective"].tolist() == ["7", "4", "5"]


NAME = "CASME2-coding-20190701.xlsx"
ROW = ["01", "EP02_01f", None, 46, 59, 86, None, 12, "happiness"]


def casme2(root: Path, *rows: list, above: int = 0, header: list[Any] = replicas.CASME2_HEADER) -> pd.DataFrame:
    replicas.save(root / NAME, [*[["CASME II"]] * above, header, *rows])
    return CASME2(root).clips()


def test_subjects_and_frame_numbers_are_read_from_numbers_and_text(tmp_path: Path) -> None:
    subjects, frames = [1, 1.0, "1", "01 ", "1.0", "1.00"], [46, 46.0, "46", "46.0", " 46", 46]
    rows = [
        [s, f"EP{n}", None, f, f, f, None, 12, "fear"] for n, (s, f) in enumerate(zip(subjects, frames, strict=True))
    ]
    found = casme2(tmp_path, *rows)[["subject", "onset", "apex", "offset"]]
    assert found.values.tolist() == [["01", 46, 46, 46]] * 6


def test_prose_remarks_and_blank_rows_are_no_clips(tmp_path: Path) -> None:
    blank = [None] * 9
    prose = [["Note: frames are counted from 1"], blank, [None, None, "half way"], [" "] * 9, [*blank, "a remark"]]
    assert len(casme2(tmp_path, ROW, *prose, [2, *ROW[1:]], ["end of table"])) == 2


def test_an_apex_of_whatever_kind_does_not_stop_the_reader(tmp_path: Path) -> None:
    apexes = ["/", "NaN", "nan", "#N/A", "?", None, "-", datetime(2014, 5, 8), True]
    table = casme2(tmp_path, *([1, f"EP{n}", None, 46, apex, *ROW[5:]] for n, apex in enumerate(apexes)))
    assert len(table) == len(apexes) and table["apex"].isna().all()


def test_a_subject_that_is_merged_over_its_rows_is_that_of_each(tmp_path: Path) -> None:
    path = replicas.save(tmp_path / NAME, [replicas.CASME2_HEADER, ROW, [None, "EP03_02", *ROW[2:]], [2, *ROW[1:]]])
    book = load_workbook(path)
    book.active.merge_cells("A2:A3")
    book.save(path)
    table = CASME2(tmp_path).clips()
    expected = [["01", "EP02_01f"], ["01", "EP03_02"], ["02", "EP02_01f"]]
    assert table[["subject", "clip"]].values.tolist() == expected


def test_a_formula_that_was_never_calculated_is_a_blank_cell(tmp_path: Path) -> None:
    row = casme2(tmp_path, [*ROW[:5], "=D2+40", *ROW[6:]]).loc[0]
    assert str(row["offset"]) == "<NA>"
    assert row["emotion"] == "happiness"


def test_headers_are_told_by_letters_and_digits_alone(tmp_path: Path) -> None:
    for change in (str.upper, str.lower, lambda name: f" {name}\n", lambda name: name.replace(" ", "_")):
        assert len(casme2(tmp_path, ROW, header=[name and change(name) for name in replicas.CASME2_HEADER])) == 1


@pytest.mark.parametrize("header", ["Objective Class", "Objective Classes", "objective_class"])
def test_objective_classes_are_read_in_every_way_to_write_them(header: str, tmp_path: Path) -> None:
    for cell in (3, 3.0, "III", "Ⅲ", "iii ", "3.0"):
        lines: list[list] = [["Subject", "Filename", header], [1.0, "ep02_01F ", cell]]
        replicas.save(tmp_path / "CASME2-ObjectiveClasses.xlsx", lines)
        assert casme2(tmp_path, ROW).loc[0, "objective"] == "3"


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


def test_a_workbook_that_unpacks_to_more_than_memory_should_hold_is_refused(tmp_path: Path) -> None:
    replicas.save(tmp_path / NAME, [replicas.CASME2_HEADER, ROW])
    with zipfile.ZipFile(tmp_path / NAME, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/picture.bin", bytes(MOST_BYTES))
    with pytest.raises(UserError, match=re.escape(NAME)):
        CASME2(tmp_path).clips()
