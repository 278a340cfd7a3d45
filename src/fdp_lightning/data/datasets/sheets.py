"""Reading table files as text cells: workbooks (.xlsx), including those that openpyxl rejects, and .csv files."""

import csv
import re
import warnings
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile, is_zipfile

import pandas as pd
from openpyxl import load_workbook

from fdp_lightning.errors import UserError
from fdp_lightning.foreign import MOST_BYTES

READABLE = (".xlsx", ".xlsm", ".csv")
"""Suffixes of readable files, in order of preference."""

CONVERTIBLE = (".xls", ".xlsb", ".ods", ".numbers")
"""Suffixes of tables that must first be saved as one of `READABLE`."""

_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff]")
_WHOLE = re.compile(r"\A(-?\d+)\.0+\Z", re.ASCII)
_NAMESPACES = {
    b"http://purl.oclc.org/ooxml/spreadsheetml/main": b"http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    b"http://purl.oclc.org/ooxml/officeDocument/": b"http://schemas.openxmlformats.org/officeDocument/2006/",
}
"""Namespaces of Strict Open XML, and those that openpyxl knows."""
_AS_IS = re.compile(r"\[Content_Types\]\.xml|_rels/\.rels|xl/_rels/[^/]+\.rels|xl/sharedStrings\.xml", re.IGNORECASE)
_REDUCED = re.compile(r"xl/(?:worksheets/)?[^/]+\.xml", re.IGNORECASE)
_KEPT = ("sheets", "workbookPr", "sheetData", "mergeCells")
_ONE_COLUMN = re.compile(r"([A-Z]+)(\d{1,9}):\1(\d{1,9})")
_MOST_ROWS = 1 << 20
_MOST_CELLS = 1 << 23
"""Limits of a sheet, blank cells included: a few bytes can place a cell in any row and column."""


def tables_in(folder: Path, levels: str = "*") -> list[Path]:
    """Return the table files of a folder, sorted, without lock files; with `levels` '*/*', those of its subfolders."""
    found = (path for path in folder.glob(f"{levels}.[xXcCoOnN]*") if path.suffix.lower() in (*READABLE, *CONVERTIBLE))
    return sorted(path for path in found if not path.name.startswith(("~", ".")) and path.is_file())


def read_tables(path: Path) -> dict[str, pd.DataFrame]:
    """Return the cells of every sheet as text ('' when blank), by sheet name; a .csv is one sheet.

    Sheets are in the workbook's order, with hidden ones last; `attrs["hidden"]` tells them apart. Raises UserError if
    the file is of another kind, damaged or unreadable.
    """
    if path.suffix.lower() in CONVERTIBLE:
        raise UserError(
            f"{path} is a {path.suffix.lower()} file, which is not read here.\n"
            "  Expected an .xlsx or a .csv: open it in a spreadsheet program and save it as .xlsx in the same folder."
        )
    try:
        state = path.stat()
        return _read(path, (state.st_mtime_ns, state.st_size))
    except PermissionError as error:
        raise UserError(
            f"{path} cannot be read (Permission denied).\n  Correct its permissions, or copy it again."
        ) from error


def merged_cells(path: Path, sheet: str) -> list[tuple[int, int, int]]:
    """Return a sheet's merged areas within a single column as first row, last row and column, counted from 0."""
    if not is_zipfile(path):
        return []
    bounds = [area.bounds for area in load_workbook(_only_cells(path))[sheet].merged_cells.ranges]
    return [(top - 1, bottom - 1, left - 1) for left, top, _, bottom in bounds]


@lru_cache(maxsize=8)  # called several times per table: for the sheets' names, then for their cells
def _read(path: Path, state: tuple[int, int]) -> dict[str, pd.DataFrame]:
    _require_bounded(path, size=state[1])
    if path.suffix.lower() == ".csv" and not is_zipfile(path):
        return {path.stem: _read_csv(path)}
    try:
        with path.open("rb") as file:
            return _sheets_of(file)
    except PermissionError:
        raise
    except Exception as error:  # damaged files raise many kinds from zipfile, the XML parser and openpyxl
        with suppress(Exception):
            return _sheets_of(_only_cells(path))
        raise UserError(
            f"{path} cannot be read as an Excel workbook ({error}).\n"
            "  Expected the .xlsx of the release, not encrypted: save it as a plain workbook (.xlsx) in a spreadsheet "
            "program, or copy it again."
        ) from error


def _require_bounded(path: Path, size: int) -> None:
    """Raise UserError for a table too large to hold in memory; kilobytes of a workbook can unpack to gigabytes."""
    if is_zipfile(path):
        try:
            with ZipFile(path) as packed:
                # Never more than this is unpacked; images are not read.
                size = sum(part.file_size for part in packed.infolist() if "/media/" not in part.filename)
        except (BadZipFile, OSError, ValueError):
            return  # reading the file reports what is wrong
    if size > MOST_BYTES:
        raise UserError(f"{path} has {size} bytes of content; expected an annotation table of at most {MOST_BYTES}")


def _sheets_of(file: BinaryIO) -> dict[str, pd.DataFrame]:
    """Return the cells of the sheets, visible ones first; raises ValueError if there is no sheet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl's warnings on parts without cells
        book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        if not (sheets := sorted(book.worksheets, key=lambda sheet: sheet.sheet_state != "visible")):
            raise ValueError("it has no sheet")
        tables = {sheet.title: _cells(sheet) for sheet in sheets}
        for sheet in sheets:
            tables[sheet.title].attrs["hidden"] = sheet.sheet_state != "visible"
        return tables


def _cells(sheet: Any) -> pd.DataFrame:
    """Return the cells of a sheet as text; raises ValueError if there are too many."""
    sheet.reset_dimensions()  # the stated size can be wrong
    rows: list[list[str]] = []
    width = 1
    for row in sheet.rows:
        texts = [_text(cell) for cell in row]
        while texts and not texts[-1]:
            texts.pop()
        rows.append(texts)
        width = max(width, len(texts))
        if len(rows) > _MOST_ROWS or len(rows) * width > _MOST_CELLS:
            raise ValueError(f"the sheet '{sheet.title}' has over {_MOST_ROWS} rows or {_MOST_CELLS} cells")
    while rows and not rows[-1]:
        rows.pop()
    return _padded(rows)


def _text(cell: Any) -> str:
    """Return a cell's value as text: whole numbers without a decimal point, errors such as #N/A as ''."""
    if cell.value is None or cell.data_type == "e":
        return ""
    whole = isinstance(cell.value, float) and cell.value.is_integer()
    return _stripped(str(int(cell.value) if whole else cell.value))


def _stripped(text: str) -> str:
    # Copy and paste inserts other spaces (U+00A0, U+3000), which str.strip removes too, and invisible characters, with
    # which a subject would become another one.
    return _INVISIBLE.sub("", text).strip()


def _padded(rows: list[list[str]]) -> pd.DataFrame:
    width = max(map(len, rows), default=0)
    return pd.DataFrame([[*row, *[""] * (width - len(row))] for row in rows], dtype=object)


def _only_cells(path: Path) -> BytesIO:
    """Return a workbook reduced to its cells, because openpyxl rejects broken styles, themes and names. Dates become
    numbers, because only styles mark them.
    """
    reduced = BytesIO()
    with ZipFile(path) as given, ZipFile(reduced, "w") as kept:
        for name in given.namelist():
            part = name.replace("\\", "/")
            if not (_AS_IS.fullmatch(part) or (_REDUCED.fullmatch(part) and not part.endswith("/styles.xml"))):
                continue
            content = given.read(name)
            for strict, usual in _NAMESPACES.items():
                content = content.replace(strict, usual)
            kept.writestr(part, content if _AS_IS.fullmatch(part) else _without_styles(content))
    return reduced


def _without_styles(sheet: bytes) -> bytes:
    """Return the XML of a sheet, or of the list of sheets, reduced to its cells."""
    root = ElementTree.fromstring(sheet)
    for element in [*root]:
        if element.tag.rpartition("}")[2] not in _KEPT:
            root.remove(element)
        elif element.tag.endswith("}mergeCells"):
            for area in [*element]:  # openpyxl creates every cell of an area
                if not (rows := _ONE_COLUMN.fullmatch(area.get("ref", ""))) or int(rows[3]) > _MOST_ROWS:
                    element.remove(area)
    for element in root.iterfind("{*}sheetData//"):
        element.attrib.pop("s", None)
    return ElementTree.tostring(root)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        text = _decoded(path.read_bytes())
        if control := next((letter for letter in "\0\x1b\x9b" if letter in text), ""):
            raise ValueError(f"it contains the control character {control!r}")
        return _padded(max((_rows(text, delimiter) for delimiter in ",;\t|"), key=_fit))
    except (ValueError, csv.Error) as error:  # ValueError: also bytes that are no text
        raise UserError(
            f"{path} cannot be read as a .csv ({error}).\n"
            "  Expected commas or semicolons between the cells, in UTF-8, or in UTF-16 with a byte order mark; save it "
            "like that, or as .xlsx."
        ) from error


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the rows of a text; whole numbers written as floats ('6.0') become integers."""
    rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    return [[_WHOLE.sub(r"\1", _stripped(cell)) for cell in row] for row in rows]


def _fit(rows: list[list[str]]) -> tuple[int, int]:
    """Score how well a delimiter splits a table: number of rows of the most common width above 1, and this width."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return count, width


def _decoded(data: bytes) -> str:
    """Decode a .csv as UTF-8, UTF-16 or UTF-32 if its byte order mark or content allows, else as a code page.

    The code page is Chinese or Western: bytes above 127 come in pairs in Chinese and mostly singly in Western text.
    """
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return data.decode("utf-32")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
        western = sum(length == 1 for length in runs) > len(runs) / 2
    likely, other = ("cp1252", "gb18030") if western else ("gb18030", "cp1252")
    with suppress(UnicodeDecodeError):
        return data.decode(likely)
    return data.decode(other)
