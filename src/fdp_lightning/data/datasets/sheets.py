"""Reading table files as text cells: workbooks (.xlsx), including those that openpyxl rejects, and .csv files."""

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
"""Suffixes of readable files, in order of preference."""

CONVERTIBLE = (".xls", ".xlsb", ".ods", ".numbers")
"""Suffixes of tables that must first be saved as one of `READABLE`."""

_DELIMITERS = ",;\t|"
_WHOLE = re.compile(r"(-?\d+)\.0+", re.ASCII)


def tables_in(folder: Path, levels: str = "*") -> list[Path]:
    """Return the table files of a folder by name, without lock files; `levels` '*/*' for those of its folders."""
    found = (path for path in folder.glob(f"{levels}.[xXcCoOnN]*") if path.suffix.lower() in (*READABLE, *CONVERTIBLE))
    return sorted(path for path in found if not path.name.startswith(("~", ".")) and path.is_file())


def read_tables(path: Path) -> dict[str, pd.DataFrame]:
    """Return the cells of every sheet as text ('' when blank), by sheet name in their order; a .csv is one sheet.

    Raises UserError if the file is of another kind, damaged or unreadable.
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
    """Return the merged areas of a sheet as first row, last row, first column and last column, from 0."""
    if not is_zipfile(path):
        return []
    areas = [element.get("ref", "") for element in _Package(path).sheet(sheet).iterfind(".//{*}mergeCell")]
    bounds = [range_boundaries(area) for area in areas]
    return [(top - 1, bottom - 1, left - 1, right - 1) for left, top, right, bottom in bounds]


@lru_cache(maxsize=8)  # one reading calls it several times: for the sheets' names, then for their cells
def _read(path: Path, state: tuple[int, int]) -> dict[str, pd.DataFrame]:
    if path.suffix.lower() == ".csv" and not is_zipfile(path):
        return {path.stem: _read_csv(path)}
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # openpyxl's warnings on parts without cells
            sheets = pd.read_excel(
                file, sheet_name=None, header=None, dtype=str, keep_default_na=False, engine="openpyxl"
            )
        if sheets:
            return {str(name): cells.astype(object).fillna("").astype(str) for name, cells in sheets.items()}
        failure: Exception = ValueError("no sheet is found")
    except PermissionError:
        raise
    except Exception as error:  # zipfile, the XML parser and openpyxl raise many kinds on a damaged file
        failure = error
    try:
        package = _Package(path)
        return {name: package.cells(name) for name in package.sheets}
    except Exception as error:  # as above; the first error tells more
        raise UserError(
            f"{path} cannot be read as an Excel workbook ({failure}).\n"
            "  Expected the .xlsx of the release, neither encrypted nor of another kind: save it as a plain workbook "
            "(.xlsx) in a spreadsheet program, or copy it again."
        ) from error


class _Package:
    """Minimal reader of a workbook's cells, for files that openpyxl rejects.

    Styles and themes may be broken, and the namespaces may be those of Strict Open XML. Dates are read as numbers,
    because only styles mark them.
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
        """Return the XML of a sheet."""
        return self._xml(self.sheets[name])

    def cells(self, name: str) -> pd.DataFrame:
        """Return the cells of a sheet as text."""
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
        """Return the parts of a kind that `part` refers to, by relation id; '' stands for the package's root."""
        place = PurePosixPath(part)
        listed = f"{place.parent / '_rels' / place.name}.rels" if part else "_rels/.rels"
        found = {}
        for entry in ElementTree.fromstring(self._zip.get(listed.lower(), b"<none/>")):
            target = entry.get("Target", "")
            if entry.get("Type", "").lower().endswith(f"/{kind}"):
                found[entry.get("Id", "")] = target[1:] if target.startswith("/") else str(place.parent / target)
        return found


def _text(element: ElementTree.Element) -> str:
    """Return the text of a string element, without Japanese phonetic readings."""
    runs = [*element.iterfind("{*}t"), *element.iterfind("{*}r/{*}t")]
    return "".join(run.text or "" for run in runs)


def _read_csv(path: Path) -> pd.DataFrame:
    data = path.read_bytes()
    try:
        text = _decoded(data)
        told = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)  # Excel's own header line
        rows = _rows(text[told.end() :], told[1]) if told else max((_rows(text, d) for d in _DELIMITERS), key=_fit)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read as a .csv ({error}).\n"
            "  Expected UTF-8 text with commas or semicolons between the cells; save it again so, or as .xlsx."
        ) from error
    width = max(map(len, rows), default=0)
    return pd.DataFrame([[*row, *[""] * (width - len(row))] for row in rows], dtype=str)


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the rows of a text, with whole numbers that were written as floats ('6.0') as integers."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [[_WHOLE.sub(r"\1", cell) if _WHOLE.fullmatch(cell) else cell for cell in row] for row in rows]


def _fit(rows: list[list[str]]) -> tuple[int, int]:
    """Score how well a delimiter splits a table: number of rows of the commonest width above 1, and this width."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return count, width


def _decoded(data: bytes) -> str:
    """Decode a .csv as UTF-8 or UTF-16 if its mark or content allows, else as a Chinese or Western Windows code page.

    Bytes above 127 come in pairs in Chinese text and mostly singly in Western text.
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
