"""Table files as cells of text: workbooks (.xlsx), those that only Excel opens included, and .csv files."""

import csv
import io
import re
import warnings
from collections import Counter
from functools import lru_cache
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from zipfile import ZipFile, is_zipfile

import pandas as pd
from openpyxl.utils.cell import coordinate_to_tuple, range_boundaries

from fdp_lightning.errors import UserError

READABLE = (".xlsx", ".xlsm", ".csv")
"""Suffixes of files that are read; where several are there, the first of these counts."""

CONVERTIBLE = (".xls", ".xlsb", ".ods", ".numbers")
"""Suffixes of tables that a spreadsheet program has to save as one of `READABLE`."""

_DELIMITERS = ",;\t|"
_WHOLE = re.compile(r"(-?\d+)\.0+", re.ASCII)


def tables_in(folder: Path, levels: str = "*") -> list[Path]:
    """The table files of a folder, by name; what spreadsheet programs hide beside an open file is none.

    Args:
        folder: where to look.
        levels: '*' for files of the folder itself, '*/*' for those of its folders, and so on.
    """
    found = (path for path in folder.glob(f"{levels}.[xXcCoOnN]*") if path.suffix.lower() in (*READABLE, *CONVERTIBLE))
    return sorted(path for path in found if not path.name.startswith(("~", ".")) and path.is_file())


def read_tables(path: Path) -> dict[str, pd.DataFrame]:
    """The cells of every sheet as text ('' when blank), by the sheets' names in their order; a .csv is one sheet.

    Raises:
        UserError: the file is of another kind, damaged or not ours to read.
    """
    if path.suffix.lower() in CONVERTIBLE:
        raise UserError(
            f"{path} is a {path.suffix.lower()} file, which is not read here.\n"
            "  Expected an .xlsx or a .csv: open it in a spreadsheet program and save it as .xlsx beside this one."
        )
    try:
        state = path.stat()
        return _read(path, (state.st_mtime_ns, state.st_size))
    except PermissionError as error:
        raise UserError(
            f"{path} cannot be read (Permission denied).\n  Correct its permissions, or copy it again."
        ) from error


def merged_cells(path: Path, sheet: str) -> list[tuple[int, int, int, int]]:
    """The merged areas of a sheet as first row, last row, first column and last column, from 0."""
    if not is_zipfile(path):
        return []
    areas = [element.get("ref", "") for element in _Package(path).sheet(sheet).iterfind(".//{*}mergeCell")]
    bounds = [range_boundaries(area) for area in areas]
    return [(top - 1, bottom - 1, left - 1, right - 1) for left, top, right, bottom in bounds]


@lru_cache(maxsize=8)  # one reading asks several times: which sheets there are, and for the cells of some
def _read(path: Path, state: tuple[int, int]) -> dict[str, pd.DataFrame]:
    if path.suffix.lower() == ".csv" and not is_zipfile(path):
        return {path.stem: _read_csv(path)}
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # what openpyxl says of parts that hold no cells
            sheets = pd.read_excel(
                file, sheet_name=None, header=None, dtype=str, keep_default_na=False, engine="openpyxl"
            )
        if sheets:
            return {str(name): cells.astype(object).fillna("").astype(str) for name, cells in sheets.items()}
        failure: Exception = ValueError("no sheet is found")
    except PermissionError:
        raise
    except Exception as error:  # whatever a zip, an XML parser and openpyxl may find wrong with a foreign file
        failure = error
    try:
        package = _Package(path)
        return {name: package.cells(name) for name in package.sheets}
    except Exception as error:  # as above; the first complaint is the better one
        raise UserError(
            f"{path} cannot be read as an Excel workbook ({failure}).\n"
            "  Expected the .xlsx of the release, neither encrypted nor of another kind: save it as a plain workbook "
            "(.xlsx) in a spreadsheet program, or copy it again."
        ) from error


class _Package:
    """The cells of a workbook and nothing else of it, for files that openpyxl gives up.

    Styles, themes and the like may be broken, and the names may be those of Strict Open XML. Numbers stay numbers:
    which of them are dates is a matter of style.

    Args:
        path: the workbook.
    """

    def __init__(self, path: Path) -> None:
        self._zip = {}
        with ZipFile(path) as archive:
            names = {name.replace("\\", "/").lower(): name for name in archive.namelist()}
            for name, as_written in names.items():
                if name.endswith((".rels", ".xml")) and "/drawings/" not in name and "/theme/" not in name:
                    self._zip[name] = archive.read(as_written)
        book = next(iter(self._related("", "officedocument").values()), "xl/workbook.xml")
        targets = self._related(book, "worksheet")
        self._strings = [
            _text(entry)
            for part in self._related(book, "sharedstrings").values()
            for entry in self._xml(part).iterfind("{*}si")
        ]
        self.sheets = {
            element.get("name", ""): targets[identity]
            for element in self._xml(book).iterfind(".//{*}sheet")
            for key, identity in element.items()
            if key.rpartition("}")[2] == "id" and identity in targets
        }
        if not self.sheets:
            raise ValueError("no sheet is found")

    def sheet(self, name: str) -> ElementTree.Element:
        """The XML of a sheet."""
        return self._xml(self.sheets[name])

    def cells(self, name: str) -> pd.DataFrame:
        """The cells of a sheet as text."""
        found: dict[tuple[int, int], str] = {}
        row = 0
        for line in self.sheet(name).iterfind("{*}sheetData/{*}row"):
            row = int(line.get("r", row + 1))
            column = 0
            for cell in line.iterfind("{*}c"):
                column = coordinate_to_tuple(cell.get("r", ""))[1] if cell.get("r") else column + 1
                found[row, column] = self._value(cell)
        height, width = (max((place[axis] for place in found), default=0) for axis in (0, 1))
        rows = [[found.get((r, c), "") for c in range(1, width + 1)] for r in range(1, height + 1)]
        return pd.DataFrame(rows, dtype=str)

    def _value(self, cell: ElementTree.Element) -> str:
        kind, value = cell.get("t", "n"), cell.findtext("{*}v", "")
        if kind == "s":
            return self._strings[int(value)]
        if kind == "inlineStr":
            return "".join(_text(entry) for entry in cell.iterfind("{*}is"))
        if kind == "b":
            return str(value == "1")
        if kind == "e":
            return ""
        if kind == "n" and value:
            number = float(value)
            return str(int(number)) if number.is_integer() else str(number)
        return value

    def _xml(self, part: str) -> ElementTree.Element:
        return ElementTree.fromstring(self._zip[part.lower()])

    def _related(self, part: str, kind: str) -> dict[str, str]:
        """The parts of a kind that another names, by their identities; '' names the workbook."""
        place = PurePosixPath(part)
        listed = f"{place.parent / '_rels' / place.name}.rels" if part else "_rels/.rels"
        found = {}
        for entry in ElementTree.fromstring(self._zip.get(listed.lower(), b"<none/>")):
            target = entry.get("Target", "")
            if entry.get("Type", "").lower().endswith(f"/{kind}"):
                found[entry.get("Id", "")] = target[1:] if target.startswith("/") else str(place.parent / target)
        return found


def _text(element: ElementTree.Element) -> str:
    """The text of a string in all its formats, without the readings that stand above it in Japanese."""
    runs = [*element.iterfind("{*}t"), *element.iterfind("{*}r/{*}t")]
    return "".join(run.text or "" for run in runs)


def _read_csv(path: Path) -> pd.DataFrame:
    data = path.read_bytes()
    try:
        text = _decoded(data)
        told = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)  # Excel's own first line
        rows = _rows(text[told.end() :], told[1]) if told else max((_rows(text, d) for d in _DELIMITERS), key=_fit)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read as a .csv ({error}).\n"
            "  Expected text in UTF-8, with commas or semicolons between the cells; save it again as .xlsx or so."
        ) from error
    width = max(map(len, rows), default=0)
    return pd.DataFrame([[*row, *[""] * (width - len(row))] for row in rows], dtype=str)


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """The rows of a text, numbers that went through a float as whole ones."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [[_WHOLE.sub(r"\1", cell) if _WHOLE.fullmatch(cell) else cell for cell in row] for row in rows]


def _fit(rows: list[list[str]]) -> tuple[int, int]:
    """How well a delimiter parts a table: rows of the commonest width that is no single cell, and this width."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return count, width


def _decoded(data: bytes) -> str:
    """The text of a .csv: UTF-8 or UTF-16 where it says so or can be; else Chinese or Western Windows.

    Bytes above 127 come in pairs in the one and mostly singly in the other.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
        western = sum(length == 1 for length in runs) > len(runs) / 2
    for encoding in ("cp1252", "gb18030") if western else ("gb18030", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            failure = error
    raise failure
