"""Annotation files of other formats, or as people edit them, are read to the same table, or rejected."""

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
from tests.data import layouts
from tests.data.layouts import WRITERS

from fdp_lightning.data.checks.clips import annotation_problems
from fdp_lightning.data.datasets.adapter import FaceDataset
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.datasets.casme3a import CASME3A
from fdp_lightning.data.datasets.casme_sq import CASMESquared
from fdp_lightning.data.datasets.dfme import DFME
from fdp_lightning.data.datasets.samm import SAMM
from fdp_lightning.data.datasets.workbook import read_sheet, roman
from fdp_lightning.errors import UserError
from fdp_lightning.foreign import MOST_BYTES

pytestmark = pytest.mark.costly


SAMM_FILE = "SAMM_Micro_FACS_Codes_v2.xlsx"


def books(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.xlsx") if not path.name.startswith("~")]


def rewritten(book: Path, change: Callable[[str, str], str | None]) -> None:
    """Change parts of a workbook by a function of name and text; None removes a part."""
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
        sheets = load_workbook(book, data_only=True)
        rows = (sheets["label"] if dataset is CASME3A else sheets.worksheets[0]).iter_rows(values_only=True)
        with book.with_suffix(".csv").open("w", newline="", encoding=encoding) as file:
            csv.writer(file, delimiter=delimiter).writerows(rows)
        book.unlink()
    pd.testing.assert_frame_equal(dataset(tmp_path).clips(), expected)


@pytest.mark.parametrize(("dataset", "name"), [(CASME2, "CASME2-ObjectiveClasses.ods"), (DFME, "dfme_TestB_list.xls")])
def test_a_table_that_must_be_converted_first_is_refused(dataset: type[FaceDataset], name: str, tmp_path: Path) -> None:
    WRITERS[dataset](tmp_path)
    (tmp_path / name).with_suffix(".xlsx").rename(tmp_path / name)
    with pytest.raises(UserError, match=r"save it as \.xlsx"):
        dataset(tmp_path).clips()


def invalid_fill(name: str, text: str) -> str:
    return re.sub(r"<fills.*?</fills>", '<fills count="1"><fill/></fills>', text) if name == "xl/styles.xml" else text


def broken(part: str) -> Callable[[str, str], str]:
    return lambda name, text: "<broken" if name == part else text


STRICT = {
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main": "http://purl.oclc.org/ooxml/spreadsheetml/main",
    "http://schemas.openxmlformats.org/officeDocument/2006/": "http://purl.oclc.org/ooxml/officeDocument/",
}


def strict(name: str, text: str) -> str:
    for transitional, strict in STRICT.items():
        text = text.replace(transitional, strict)
    return text


@pytest.mark.parametrize("change", [invalid_fill, broken("xl/styles.xml"), strict], ids=["fill", "styles", "strict"])
def test_cells_are_read_although_other_parts_are_broken_or_namespaces_strict(
    change: Callable[..., Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    for dataset in (SAMM, CASME3A):  # their labels are not on the first sheet
        WRITERS[dataset](tmp_path / dataset.name)
        expected = dataset(tmp_path / dataset.name).clips()
        for book in books(tmp_path / dataset.name):
            rewritten(book, change)
        pd.testing.assert_frame_equal(dataset(tmp_path / dataset.name).clips(), expected)
    assert [str(warning.message) for warning in recwarn] == []


def test_both_readers_return_the_same_text_for_every_type_of_cell(tmp_path: Path) -> None:
    layouts.samm(tmp_path)
    path = tmp_path / SAMM_FILE
    book = load_workbook(path)
    for row, value in enumerate([12.0, 1.5, True, "a\nb", "#N/A", "", "4<7&"], start=20):
        for column, cell in enumerate(["006", f"c{row}", 1, 1, 2, 3, 4, "x", value, "Anger", 3, None], start=1):
            book.active.cell(row, column, cell)
    book.save(path)
    expected = SAMM(tmp_path).clips()["action_units"].tolist()
    rewritten(path, broken("xl/styles.xml"))
    assert SAMM(tmp_path).clips()["action_units"].tolist() == expected
    assert "12" in expected and "1.5" in expected and "4<7&" in expected


def samm_csv(root: Path, content: bytes) -> pd.DataFrame:
    (root / SAMM_FILE).with_suffix(".csv").write_bytes(content)
    return SAMM(root).clips()


HEADER = "Subject;Filename;Onset Frame;Apex Frame;Offset Frame;Action Units;Estimated Emotion;Objective Classes;Notes\n"


@pytest.mark.parametrize(
    ("note", "encoding"),
    [("José, Übung – naïve", "cp1252"), ("微表情，很短", "gb18030"), ("é", "utf-8"), ("é", "utf-32")],
)
def test_a_csv_is_read_in_its_own_encoding(note: str, encoding: str, tmp_path: Path) -> None:
    row = f"006;006_1_2;5562.0;5588;5632;4+7;Anger;3;{note}\n"
    table = samm_csv(tmp_path, f"Micro, of SAMM, {note}\n\n{HEADER}{row}".encode(encoding))
    assert table[["subject", "onset", "action_units", "emotion"]].values.tolist() == [["006", 5562, "4+7", "anger"]]


def test_commas_within_cells_do_not_split_a_table_separated_by_semicolons(tmp_path: Path) -> None:
    rows = '006;006_1_2;1;2;3;"4,7";Anger;3\n007;007_1_2;1;2;3;1,2;Anger;3;"a;b\nc"\n'
    assert samm_csv(tmp_path, (HEADER + rows).encode())["action_units"].tolist() == ["4,7", "1,2"]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".csv", b""), (".csv", b"no table"), (".csv", HEADER.encode("utf-16-le")),  # without a byte-order mark
        (".xlsx", b"Subject,Filename\n01,EP02_01f\n"), (".xlsx", b"PK\x03\x04 cut off"),
        (".xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600),  # an old or encrypted workbook
    ],
)  # fmt: skip
def test_a_file_without_a_table_is_refused_by_its_path(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = (tmp_path / SAMM_FILE).with_suffix(suffix)
    path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(path))):
        SAMM(tmp_path).clips()


@pytest.mark.parametrize("header", ["Objective Classes", "objective_class"])
def test_objective_classes_of_the_sheet_are_read_where_their_workbook_is_missing(header: str, tmp_path: Path) -> None:
    layouts.casme2(tmp_path)
    book = load_workbook(tmp_path / NAME)
    for row, value in enumerate([header, "VII", 4, 5.0], start=1):
        book.active.cell(row, 11, value)
    book.save(tmp_path / NAME)
    assert CASME2(tmp_path).clips()["objective"].tolist() == ["1", "3", "2"]
    (tmp_path / "CASME2-ObjectiveClasses.xlsx").unlink()
    assert CASME2(tmp_path).clips()["objective"].tolist() == ["7", "4", "5"]
    assert roman(pd.Series(["3", "3.0", "Ⅲ", "iii "])).tolist() == ["3"] * 4


NAME = "CASME2-coding-20190701.xlsx"


def row(subject: Any = "01", clip: Any = "EP02_01f", onset: Any = 46, apex: Any = 59, offset: Any = 86) -> list:
    return [subject, clip, None, onset, apex, offset, None, 12, "happiness"]


ROW = row()


def casme2(root: Path, *rows: list, header: list[Any] = layouts.CASME2_HEADER) -> pd.DataFrame:
    layouts.save(root / NAME, [header, *rows])
    return CASME2(root).clips()


def test_subjects_and_frame_numbers_are_read_from_numbers_and_text(tmp_path: Path) -> None:
    subjects, frames = [1, 1.0, "1", "01 ", "1.0", "1\u200b"], [46, 46.0, "46", "46.0", " 46\u200b", "４６"]
    rows = [row(s, f"EP{n}", f, f, f) for n, (s, f) in enumerate(zip(subjects, frames, strict=True))]
    found = casme2(tmp_path, *rows)[["subject", "onset", "apex", "offset"]]
    assert found.values.tolist() == [["01", 46, 46, 46]] * 6


def test_prose_remarks_and_blank_rows_are_not_clips(tmp_path: Path) -> None:
    blank = [None] * 9
    prose = [["Note: frames are counted from 1"], blank, [None, None, "half way"], [" "] * 9, [*blank, "a remark"]]
    assert len(casme2(tmp_path, ROW, *prose, row(2), ["end of table"])) == 2


def test_an_apex_that_is_no_number_is_unknown_with_a_remark_on_what_was_lost(tmp_path: Path) -> None:
    apexes = ["/", "NaN", "#N/A", "?", None, datetime(2014, 5, 8), True, "59/61"]
    table = casme2(tmp_path, *(row(1, f"EP{n}", apex=apex) for n, apex in enumerate(apexes)))
    assert len(table) == len(apexes) and table["apex"].isna().all()
    assert table["remark"].iloc[0] == "" and "59/61" in table["remark"].iloc[-1]


def test_headers_are_compared_by_letters_and_digits_alone(tmp_path: Path) -> None:
    for change in (str.upper, str.lower, lambda name: f" {name}\u200b\n", lambda name: name.replace(" ", "_")):
        assert len(casme2(tmp_path, ROW, header=[name and change(name) for name in layouts.CASME2_HEADER])) == 1


def test_a_sheet_that_states_no_size_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    book = Workbook(write_only=True)  # writes no size
    sheet = book.create_sheet("Sheet1")
    for line in (["Subject", "Filename"], ["a", "b"], ["c", "d"]):
        sheet.append(line)
    book.save(path)
    assert len(read_sheet(path, {"subject": "Subject", "clip": "Filename"})) == 2


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([["about", "this file"]], "visible"), ([layouts.CASME2_HEADER], "visible"),
        ([layouts.CASME2_HEADER, ROW], "visible"), ([layouts.CASME2_HEADER, row(26)], "hidden"),
    ],
)  # fmt: skip
def test_a_sheet_that_adds_no_clip_or_is_hidden_is_passed_over(lines: list[list], state: str, tmp_path: Path) -> None:
    casme2(tmp_path, ROW)
    layouts.casme_sq(tmp_path)
    # CAS(ME)² has no header: there, a sheet with as many columns would be read.
    for name in (NAME, layouts.CASME_SQ_FILE) if len(lines[0]) == 2 else (NAME,):
        book = load_workbook(tmp_path / name)
        first = book.create_sheet("before", 0)
        for line in lines:
            first.append(line)
        first.sheet_state, book.active = state, 1
        book.save(tmp_path / name)
    assert CASME2(tmp_path).clips()["subject"].tolist() == ["01"]
    assert {*CASMESquared(tmp_path).clips("all")["subject"]} == {"15", "24", "40"}


def test_two_visible_sheets_with_different_clips_are_refused(tmp_path: Path) -> None:
    first, other = ([layouts.CASME2_HEADER, line] for line in (ROW, row(26)))
    layouts.write_workbook(tmp_path / NAME, first=first, other=other)
    with pytest.raises(UserError, match="'other'"):
        CASME2(tmp_path).clips()


def test_a_workbook_whose_cells_unpack_to_more_than_memory_should_hold_is_refused(tmp_path: Path) -> None:
    layouts.save(tmp_path / NAME, [layouts.CASME2_HEADER, ROW])
    with zipfile.ZipFile(tmp_path / NAME, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet9.xml", bytes(MOST_BYTES))
    with pytest.raises(UserError, match=f"{re.escape(NAME)} has {MOST_BYTES // 10**6}"):
        CASME2(tmp_path).clips()


@pytest.mark.parametrize(("subject", "prose"), [(6, 13), ("6", 0)])
def test_samm_subjects_have_three_digits_and_the_header_is_in_any_row(
    tmp_path: Path, subject: int | str, prose: int
) -> None:
    lines = [[f"prose {n}" if n % 5 else None] for n in range(prose)]
    layouts.save(tmp_path / SAMM_FILE, [*lines, layouts.SAMM_HEADER, [subject, *layouts.SAMM_ROWS[0][1:]]])
    ((number, objective, folder),) = SAMM(tmp_path).clips()[["subject", "objective", "folder"]].values.tolist()
    assert (number, objective, folder) == ("006", "3", str(tmp_path / "006" / "006_1_2"))


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([row(), row(None, "EP99")], ["no subject", "EP99"]), ([row(), row(clip=None)], ["no subject", "01/"]),
        ([row(), row(clip="EP03"), row()], ["01/EP02_01f", "remove"]),
        *(([row(clip="EP03"), row(onset=onset)], ["01/EP02_01f", "usable onset"])
          for onset in (None, 46.5, -3, "1e999")),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_a_clip_is_refused_by_name(tmp_path: Path, rows: list[list], named: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        casme2(tmp_path, *rows)
    assert all(part in str(caught.value) for part in (NAME, *named)) and "EP03" not in str(caught.value)


@pytest.mark.parametrize("offset", [45, 0, None, 86.5, "1e999", "=D3+40"])
def test_a_clip_without_a_usable_offset_is_a_problem(tmp_path: Path, offset: float | int | str | None) -> None:
    """The formula was never calculated, so that its cell is blank."""
    (problem,) = annotation_problems(casme2(tmp_path, row(clip="EP03"), row(offset=offset, apex=None)))
    assert (problem.clip, problem.kind, problem.fatal) == ("casme2/01/EP02_01f@46", "bad_interval", True)


def merged(path: Path, *areas: str) -> None:
    book = load_workbook(path)
    for area in areas:
        book.active.merge_cells(area)
    book.save(path)


def test_a_cell_merged_over_rows_is_repeated_in_each(tmp_path: Path) -> None:
    casme2(tmp_path, ROW, row(1, "EP03_02"), row(2))
    merged(tmp_path / NAME, "A2:A3", "D2:D3", "F2:F3", "H2:H3", "I2:I3")
    read = ["subject", "clip", "onset", "offset", "action_units", "emotion"]
    names = [("01", "EP02_01f"), ("01", "EP03_02"), ("02", "EP02_01f")]
    assert CASME2(tmp_path).clips()[read].values.tolist() == [[*name, 46, 86, "12", "happiness"] for name in names]
    layouts.casme_sq(tmp_path, rows=[[1, f"anger1_{n}", 1, 2, 3, "4+7", "negative", layouts.MICRO] for n in (1, 2)])
    merged(tmp_path / layouts.CASME_SQ_FILE, "A1:A2", "F1:F2", "H1:H2")
    assert CASMESquared(tmp_path).clips()[["subject", "action_units"]].values.tolist() == [["15", "4+7"]] * 2


def test_a_column_that_exists_twice_is_refused_if_its_cells_differ(tmp_path: Path) -> None:
    header = [*layouts.CASME2_HEADER, "Apex Frame"]
    assert casme2(tmp_path, [*ROW, None], header=header)["apex"].tolist() == [59]
    assert casme2(tmp_path, [*ROW[:4], None, *ROW[5:], 58], header=header)["apex"].tolist() == [58]
    with pytest.raises(UserError, match="columns 5 and 10"):
        casme2(tmp_path, [*ROW, 58], header=header)


@pytest.mark.parametrize("place", ["A1048576", "A99999999999"])
def test_a_cell_far_outside_the_table_is_refused_before_it_takes_memory(place: str, tmp_path: Path) -> None:
    casme2(tmp_path, ROW)
    far = f'<row r="{place[1:]}"><c r="{place}" t="n"><v>1</v></c></row></sheetData>'
    rewritten(tmp_path / NAME, lambda name, text: text.replace("</sheetData>", far) if "sheets/" in name else text)
    with pytest.raises(UserError, match=re.escape(NAME)):
        CASME2(tmp_path).clips()
