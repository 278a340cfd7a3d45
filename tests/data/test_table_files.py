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
from fdp_lightning.data.datasets.workbook import read_sheet
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


@pytest.mark.parametrize("dataset", WRITERS, ids=lambda dataset: dataset.name)
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
    layouts.dfme(tmp_path / "dfme")
    for book in (tmp_path / "casme2/CASME2-ObjectiveClasses.xlsx", tmp_path / "dfme" / layouts.DFME_FILES["test_b"]):
        book.rename(book.with_suffix(".ods"))
    for dataset in (CASME2(tmp_path / "casme2"), DFME(tmp_path / "dfme")):
        with pytest.raises(UserError, match=r"save it as \.xlsx"):
            dataset.clips()


def invalid_fill(name: str, text: str) -> str:
    return re.sub(r"<fills.*?</fills>", '<fills count="1"><fill/></fills>', text) if name == "xl/styles.xml" else text


def broken(part: str) -> Callable[[str, str], str]:
    return lambda name, text: "<broken" if name == part else text


BAD_NAME = '<definedNames><definedName name="x" localSheetId="nowhere">#REF!</definedName></definedNames>'
STRICT = {
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main": "http://purl.oclc.org/ooxml/spreadsheetml/main",
    "http://schemas.openxmlformats.org/officeDocument/2006/": "http://purl.oclc.org/ooxml/officeDocument/",
}


def strict(name: str, text: str) -> str:
    for transitional, strict in STRICT.items():
        text = text.replace(transitional, strict)
    return text


@pytest.mark.parametrize(
    "change",
    [
        invalid_fill, broken("xl/styles.xml"), broken("xl/theme/theme1.xml"), broken("docProps/core.xml"),
        lambda name, text: None if name == "xl/styles.xml" else text,
        lambda name, text: text.replace("<calcPr", f"{BAD_NAME}<calcPr") if name == "xl/workbook.xml" else text,
        strict, lambda name, text: strict(name, invalid_fill(name, text)),
    ],
    ids=["fill", "styles", "theme", "core", "no styles", "defined name", "strict", "strict and fill"],
)  # fmt: skip
def test_parts_without_cells_and_strict_names_do_not_decide(
    change: Callable[..., Any], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    for dataset in (SAMM, CASME3A):  # their labels are not on the first sheet
        WRITERS[dataset](tmp_path / dataset.name)
        expected = dataset(tmp_path / dataset.name).clips()
        for book in books(tmp_path / dataset.name):
            rewritten(book, change)
        pd.testing.assert_frame_equal(dataset(tmp_path / dataset.name).clips(), expected)
    assert [str(warning.message) for warning in recwarn] == []


def test_texts_numbers_and_marks_of_a_cell_are_the_same_to_both_readers(tmp_path: Path) -> None:
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


def test_a_workbook_under_the_name_of_a_csv_is_read_as_what_it_is(tmp_path: Path) -> None:
    layouts.samm(tmp_path)
    assert len(samm_csv(tmp_path, (tmp_path / SAMM_FILE).rename(tmp_path / "book").read_bytes())) == 2


HEADER = "Subject;Filename;Onset Frame;Apex Frame;Offset Frame;Action Units;Estimated Emotion;Objective Classes;Notes\n"


@pytest.mark.parametrize(
    ("note", "encoding"),
    [("José, Übung – naïve", "cp1252"), ("微表情，很短", "gb18030"), ("é", "cp1252"), ("é", "utf-8")],
)
def test_words_beside_the_clips_are_read_in_the_encoding_of_the_file(note: str, encoding: str, tmp_path: Path) -> None:
    row = f"006;006_1_2;5562.0;5588;5632;4+7;Anger;3;{note}\n"
    table = samm_csv(tmp_path, f"Micro, of SAMM, {note}\n\n{HEADER}{row}".encode(encoding))
    assert table[["subject", "onset", "action_units", "emotion"]].values.tolist() == [["006", 5562, "4+7", "anger"]]


def test_commas_in_cells_do_not_part_a_table_with_semicolons_and_a_row_may_be_short(tmp_path: Path) -> None:
    rows = '006;006_1_2;1;2;3;"4,7";Anger;3\n007;007_1_2;1;2;3;1,2;Anger;3;"a;b\nc"\n'
    assert samm_csv(tmp_path, (HEADER + rows).encode())["action_units"].tolist() == ["4,7", "1,2"]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        *((".csv", content) for content in (b"", b"\xff\xfe\x00", bytes(range(128, 256)) * 9, b"no table")),
        (".xlsx", b""), (".xlsx", b"Subject,Filename\n01,EP02_01f\n"), (".xlsx", b"PK\x03\x04 cut off"),
        (".xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600),  # an old or encrypted workbook
    ],
)  # fmt: skip
def test_what_holds_no_table_is_refused_by_its_path(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = (tmp_path / SAMM_FILE).with_suffix(suffix)
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


def row(subject: Any = "01", clip: Any = "EP02_01f", onset: Any = 46, apex: Any = 59, offset: Any = 86) -> list:
    return [subject, clip, None, onset, apex, offset, *ROW[6:]]


def casme2(root: Path, *rows: list, header: list[Any] = layouts.CASME2_HEADER) -> pd.DataFrame:
    layouts.save(root / NAME, [header, *rows])
    return CASME2(root).clips()


def test_subjects_and_frame_numbers_are_read_from_numbers_and_text(tmp_path: Path) -> None:
    subjects, frames = [1, 1.0, "1", "01 ", "1.0", "1.00"], [46, 46.0, "46", "46.0", " 46", 46]
    rows = [row(s, f"EP{n}", f, f, f) for n, (s, f) in enumerate(zip(subjects, frames, strict=True))]
    found = casme2(tmp_path, *rows)[["subject", "onset", "apex", "offset"]]
    assert found.values.tolist() == [["01", 46, 46, 46]] * 6


def test_prose_remarks_and_blank_rows_are_no_clips(tmp_path: Path) -> None:
    blank = [None] * 9
    prose = [["Note: frames are counted from 1"], blank, [None, None, "half way"], [" "] * 9, [*blank, "a remark"]]
    assert len(casme2(tmp_path, ROW, *prose, row(2), ["end of table"])) == 2


def test_an_apex_of_whatever_kind_does_not_stop_the_reader(tmp_path: Path) -> None:
    apexes = ["/", "NaN", "nan", "#N/A", "?", None, "-", datetime(2014, 5, 8), True]
    table = casme2(tmp_path, *(row(1, f"EP{n}", apex=apex) for n, apex in enumerate(apexes)))
    assert len(table) == len(apexes) and table["apex"].isna().all()


def test_a_formula_that_was_never_calculated_is_a_blank_cell(tmp_path: Path) -> None:
    clip = casme2(tmp_path, row(offset="=D2+40")).loc[0]
    assert (str(clip["offset"]), clip["emotion"]) == ("<NA>", "happiness")


def test_headers_are_told_by_letters_and_digits_alone(tmp_path: Path) -> None:
    for change in (str.upper, str.lower, lambda name: f" {name}\n", lambda name: name.replace(" ", "_")):
        assert len(casme2(tmp_path, ROW, header=[name and change(name) for name in layouts.CASME2_HEADER])) == 1


def test_objective_classes_are_read_in_every_way_to_write_them(tmp_path: Path) -> None:
    headers = ["Objective Class", "Objective Classes", "objective_class"] * 2
    for header, cell in zip(headers, (3, 3.0, "III", "Ⅲ", "iii ", "3.0"), strict=True):
        layouts.objective_classes(tmp_path, [[1.0, "ep02_01F ", cell]], header)
        assert casme2(tmp_path, ROW).loc[0, "objective"] == "3"


def test_a_sheet_whose_size_is_written_wrong_is_read_whole(tmp_path: Path) -> None:
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
        ([], "visible"), ([["about", "this file"]], "visible"), ([layouts.CASME2_HEADER], "visible"),
        ([layouts.CASME2_HEADER, row(26)], "hidden"),
    ],
)  # fmt: skip
def test_a_sheet_without_clips_or_a_hidden_one_is_passed_over(lines: list[list], state: str, tmp_path: Path) -> None:
    casme2(tmp_path, ROW)
    layouts.casme_sq(tmp_path)
    headerless = [layouts.CASME_SQ_FILE] if lines != [layouts.CASME2_HEADER] else []  # there a header counts as a row
    for name in (NAME, *headerless):
        book = load_workbook(tmp_path / name)
        first = book.create_sheet("before", 0)
        for line in lines:
            first.append(line)
        first.sheet_state, book.active = state, 1
        book.save(tmp_path / name)
    assert CASME2(tmp_path).clips()["subject"].tolist() == ["01"]
    assert {*CASMESquared(tmp_path).clips("all")["subject"]} == {"15", "24", "40"}


@pytest.mark.parametrize(("subject", "state"), [("26", "visible"), ("26", "hidden"), ("01", "visible")])
def test_second_sheet_with_other_clips_is_refused_unless_hidden(subject: str, state: str, tmp_path: Path) -> None:
    casme2(tmp_path, ROW)
    book = load_workbook(tmp_path / NAME)
    other = book.copy_worksheet(book.worksheets[0])
    other.title, other.sheet_state = "other", state
    other.cell(2, 1).value = subject
    book.save(tmp_path / NAME)
    if (subject, state) == ("26", "visible"):
        with pytest.raises(UserError, match="'other'"):
            CASME2(tmp_path).clips()
    else:
        assert CASME2(tmp_path).clips()["subject"].tolist() == ["01"]


@pytest.mark.parametrize("part", ["xl/worksheets/sheet9.xml", "xl/media/image1.png"])
def test_a_workbook_whose_cells_unpack_to_more_than_memory_should_hold_is_refused(part: str, tmp_path: Path) -> None:
    layouts.save(tmp_path / NAME, [layouts.CASME2_HEADER, ROW])
    with zipfile.ZipFile(tmp_path / NAME, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(part, bytes(MOST_BYTES))
    if part.endswith(".png"):  # images are not unpacked
        assert len(CASME2(tmp_path).clips()) == 1
        return
    with pytest.raises(UserError, match=f"{re.escape(NAME)} has {MOST_BYTES // 10**6}"):
        CASME2(tmp_path).clips()


@pytest.mark.parametrize(("subject", "prose"), [(6, 13), ("6", 0), ("006", 13)])
def test_samm_subject_is_three_digits_and_the_header_in_any_row(tmp_path: Path, subject: int | str, prose: int) -> None:
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
          for onset in (None, "/", 46.5, -3, "1e999")),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_clips_are_refused_by_name(tmp_path: Path, rows: list[list], named: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        casme2(tmp_path, *rows)
    assert all(part in str(caught.value) for part in (NAME, *named)) and "EP03" not in str(caught.value)


@pytest.mark.parametrize("offset", [45, 0, None, "/", 86.5, "1e999"])
def test_a_clip_without_a_usable_offset_is_a_problem(tmp_path: Path, offset: float | int | str | None) -> None:
    (problem,) = annotation_problems(casme2(tmp_path, row(clip="EP03"), row(offset=offset, apex=None)))
    assert (problem.clip, problem.kind, problem.fatal) == ("casme2/01/EP02_01f@46", "bad_interval", True)


def merged(path: Path, *areas: str) -> None:
    book = load_workbook(path)
    for area in areas:
        book.active.merge_cells(area)
    book.save(path)


def test_a_cell_that_is_merged_over_rows_is_that_of_each_in_every_column(tmp_path: Path) -> None:
    casme2(tmp_path, ROW, row(1, "EP03_02"), row(2))
    merged(tmp_path / NAME, "A2:A3", "D2:D3", "F2:F3", "H2:H3", "I2:I3")
    read = ["subject", "clip", "onset", "offset", "action_units", "emotion"]
    names = [("01", "EP02_01f"), ("01", "EP03_02"), ("02", "EP02_01f")]
    assert CASME2(tmp_path).clips()[read].values.tolist() == [[*name, 46, 86, "12", "happiness"] for name in names]
    layouts.casme_sq(tmp_path, rows=[[1, f"anger1_{n}", 1, 2, 3, "4+7", "negative", layouts.MICRO] for n in (1, 2)])
    merged(tmp_path / layouts.CASME_SQ_FILE, "A1:A2", "F1:F2", "H1:H2")
    assert CASMESquared(tmp_path).clips()[["subject", "action_units"]].values.tolist() == [["15", "4+7"]] * 2


def test_a_column_that_is_there_twice_is_refused_where_its_cells_differ(tmp_path: Path) -> None:
    header = [*layouts.CASME2_HEADER, "Apex Frame"]
    assert casme2(tmp_path, [*ROW, None], header=header)["apex"].tolist() == [59]
    assert casme2(tmp_path, [*ROW[:4], None, *ROW[5:], 58], header=header)["apex"].tolist() == [58]
    with pytest.raises(UserError, match="columns 5 and 10"):
        casme2(tmp_path, [*ROW, 58], header=header)


def test_full_width_digits_are_digits_and_an_apex_that_is_lost_is_remarked(tmp_path: Path) -> None:
    header = ["Ｓｕｂｊｅｃｔ", *layouts.CASME2_HEADER[1:]]
    table = casme2(tmp_path, row(1, onset="４６", apex="５９"), row(2, apex="59/61"), row(3, apex="/"), header=header)
    assert (table["onset"].tolist(), table["apex"].fillna(-1).tolist()) == ([46] * 3, [59, -1, -1])
    assert ["59/61" in remark for remark in table["remark"]] == [False, True, False] and table.loc[2, "remark"] == ""


@pytest.mark.parametrize("place", ["A1048576", "XFD99999", "A99999999999"])
def test_a_cell_far_outside_the_table_is_refused_before_it_takes_memory(place: str, tmp_path: Path) -> None:
    casme2(tmp_path, ROW)
    row_number = place.strip("AXFD")
    far = f'<row r="{row_number}"><c r="{place}" t="n"><v>1</v></c></row></sheetData>'
    rewritten(tmp_path / NAME, lambda name, text: text.replace("</sheetData>", far) if "sheets/" in name else text)
    with pytest.raises(UserError, match=re.escape(NAME)):
        CASME2(tmp_path).clips()


@pytest.mark.parametrize("encoding", ["utf-32", "utf-16-le"])
def test_a_csv_of_wide_characters_is_read_by_its_mark_or_refused(encoding: str, tmp_path: Path) -> None:
    content = f"{HEADER}006;006_1_2;5562;5588;5632;4+7;Anger;3;\n".encode(encoding)
    if encoding == "utf-32":
        assert samm_csv(tmp_path, content)["subject"].tolist() == ["006"]
        return
    with pytest.raises(UserError, match="control character"):
        samm_csv(tmp_path, content)


@pytest.mark.parametrize("dataset", WRITERS, ids=lambda dataset: dataset.name)
def test_invisible_characters_of_a_paste_are_no_part_of_a_cell(dataset: type[FaceDataset], tmp_path: Path) -> None:
    WRITERS[dataset](tmp_path)
    expected = dataset(tmp_path).clips()
    for path in books(tmp_path):
        book = load_workbook(path)
        for cell in (
            cell for sheet in book for row in sheet.iter_rows() for cell in row if isinstance(cell.value, str)
        ):
            cell.value += "\u200b"
        book.save(path)
    pd.testing.assert_frame_equal(dataset(tmp_path).clips(), expected)
