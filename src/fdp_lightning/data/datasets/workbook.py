"""Annotation tables: finding workbooks (.xlsx, those that openpyxl rejects too) and .csv files, and reading columns."""

import csv
import os
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from io import BytesIO, StringIO
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile, is_zipfile

import pandas as pd
from openpyxl import load_workbook

from fdp_lightning.data.datasets.folders import is_folder
from fdp_lightning.errors import UserError
from fdp_lightning.files import sha256
from fdp_lightning.foreign import MOST_BYTES

READABLE = (".xlsx", ".xlsm", ".csv")  # in order of preference
CONVERTIBLE = (".xls", ".xlsb", ".ods", ".numbers")  # must first be saved as one of these
_DELIMITERS = ",;\t|"
_WHOLE = re.compile(r"\A(-?\d+)\.0+\Z", re.ASCII)
# Namespaces of Strict Open XML, and those that openpyxl knows.
_NAMESPACES = {
    b"http://purl.oclc.org/ooxml/spreadsheetml/main": b"http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    b"http://purl.oclc.org/ooxml/officeDocument/": b"http://schemas.openxmlformats.org/officeDocument/2006/",
}
_AS_IT_IS = re.compile(r"\[Content_Types\]\.xml|_rels/\.rels|xl/_rels/[^/]+\.rels|xl/sharedStrings\.xml", re.IGNORECASE)
_REDUCED = re.compile(r"xl/(?:worksheets/)?[^/]+\.xml", re.IGNORECASE)
_KEPT = ("sheets", "workbookPr", "sheetData", "mergeCells")
_HEADER_WITHIN = 40  # Excel rows searched for a header
# Subject number, and the word before it.
_NUMBERED = re.compile(r"(?P<word>[^\W\d_][^\d]*|[#'’])?0*(?P<number>\d+)(?:\.0+)?号?")


class MissingTableError(UserError):
    """The annotation file is missing."""


class MissingColumnError(UserError):
    """An annotation file lacks a column."""


def find_workbook(root: Path, names: Sequence[str], request_page: str) -> Path:
    """Return an annotation file in a dataset's folder, or in one of the two levels of folders below it.

    The first of `names`, case-insensitive, is the release's; .xlsx is preferred to .csv. Raises MissingTableError if
    the file is missing; UserError if two such files differ, or the only one is of a kind that must first be converted.
    """
    require_folder(root, request_page)
    stems = [Path(known).stem.lower() for known in names]
    convertible: list[Path] = []
    for levels in ("*", "*/*", "*/*/*"):
        named = [path for path in tables_in(root, levels) if path.stem.lower() in stems]
        if found := [path for path in named if path.suffix.lower() in READABLE]:
            return _only_one(found, stems)
        convertible += named
    if convertible:
        return convertible[0]  # reading it raises with advice
    there = [path.name for path in tables_in(root)] or ["none"]
    raise MissingTableError(
        f"the annotation workbook {root / names[0]} is missing.\n"
        f"  Expected a file of exactly this name (.xlsx or .csv); workbooks in that folder: {', '.join(there)}\n"
        "  Copy it there from the dataset's release, or choose the protocol whose labels you have."
    )


def _only_one(found: list[Path], stems: list[str]) -> Path:
    """Return the file whose name comes first in `stems`; raises UserError if two of that name differ."""
    first = min(found, key=lambda path: (stems.index(path.stem.lower()), READABLE.index(path.suffix.lower())))
    for other in found:
        if other != first and other.name.lower() == first.name.lower() and not _alike(other, first):
            raise UserError(
                f"two workbooks have the same name but different contents:\n  {first}\n  {other}\n"
                "  Expected one: remove or rename the other, or copy the right one to the top of the dataset's folder."
            )
    return first


def _alike(one: Path, other: Path) -> bool:
    try:
        return sha256(one) == sha256(other)
    except OSError:  # an unreadable file cannot be shown to be a copy
        return False


def require_folder(root: Path, request_page: str, key: str = "data.root") -> None:
    """Raise UserError unless `root` is a readable folder; it names the configuration key that sets the folder."""
    if is_folder(root) and os.access(root, os.R_OK | os.X_OK):
        return
    if is_folder(root):
        raise UserError(
            f"the dataset folder {root} cannot be read (Permission denied).\n"
            "  Expected a folder you may list and enter: correct its permissions, or ask its owner to."
        )
    what = "is a file, not a folder" if os.path.isfile(root) else "does not exist"  # noqa: PTH113 (Path.is_file raises)
    raise UserError(
        f"the dataset folder {root} {what}.\n"
        f"  Set {key} to your copy, for example: {key}=/path/to/dataset\n"
        f"  A copy is requested from its owners: {request_page}"
    )


def read_sheet(
    path: Path, columns: Mapping[str, str], sheet: str = "", optional: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read some columns of a sheet, every cell as text ('' when blank).

    The header is the row that holds most of the names; prose may precede it. Below it, rows with a single cell are
    taken for prose and dropped like blank ones. Raises UserError if the file is no workbook, or columns are missing.

    Args:
        path: workbook.
        columns: our name → header in the sheet, or several in circulation separated by '|'; only letters and digits
            are compared, case-insensitively. A cell of the first column may be merged over several rows.
        sheet: name of the sheet, case-insensitive; if there is none, the first sheet that has the columns.
        optional: further columns, filled with '' if the sheet lacks them.
    """
    wanted = {**columns, **(optional or {})}
    sheets = read_tables(path)
    names = [name for name in sheets if name.strip().lower() == sheet.lower()][:1] or [*sheets]
    headed = {name: _headed(sheets[name], wanted.values()) for name in names}
    chosen = next((name for name, (_, place) in headed.items() if place.keys() >= {*columns.values()}), names[0])
    (header_row, place), raw = headed[chosen], sheets[chosen]
    if missing := [header.partition("|")[0] for header in columns.values() if header not in place]:
        there = ", ".join(name for name in (raw.iloc[header_row - 1] if len(raw) else []) if name)
        raise MissingColumnError(
            f"{path}: column {', '.join(repr(m) for m in missing)} is missing in row {header_row}.\n"
            f"  Found: {there or 'no header'}.\n"
            "  Expected the workbook as released; rename the column back or copy the file again."
        )
    numbers = {ours: place[header] for ours, header in wanted.items() if header in place}
    rows = raw.iloc[header_row:]
    first, *others = numbers.values()
    if ((rows[first] == "") & (rows[others] != "").any(axis=1)).any():
        rows = _unmerged(path, chosen, raw, first).iloc[header_row:]
    return _table(rows, numbers).reindex(columns=[*wanted], fill_value="")


def read_headerless_sheet(path: Path, columns: Mapping[str, int]) -> pd.DataFrame:
    """Read columns (our name → index, from 0) of the first sheet that is wide enough, cells as text ('' when blank);
    raises UserError if the file is not a workbook, or has too few columns.
    """
    sheets = [*read_tables(path).values()]
    raw = next((cells for cells in sheets if cells.shape[1] > max(columns.values())), sheets[0])
    if raw.shape[1] <= max(columns.values()):
        raise UserError(
            f"{path}: sheet 0 has {raw.shape[1]} columns; expected at least {max(columns.values()) + 1}.\n"
            "  Expected the workbook as released; copy the file again."
        )
    return _table(raw, columns)


def all_rows(path: Path) -> list[list[str]]:
    """Return the rows of all sheets without blank cells, for lists of unknown position and column order."""
    rows = [row for cells in read_tables(path).values() for row in cells.itertuples(index=False)]
    return [[cell.strip() for cell in row if cell.strip()] for row in rows]


def padded(cells: pd.Series, width: int) -> pd.Series:
    """Return numbers as text with leading zeros, as the dataset writes them: '06' for '6.0', 'sub06' or 'Subject 6'.
    The word before a number is dropped if it is the same throughout: 'A1' and 'B1' are two subjects.
    """
    plain = cells.map(lambda cell: unicodedata.normalize("NFKC", cell).strip())
    found = plain.map(_NUMBERED.fullmatch)
    words = {_plain(match["word"] or "") for match in found if match} - {""}
    known = [match and (len(words) < 2 or not match["word"]) for match in found]
    numbers = [match["number"] if is_known else cell for cell, match, is_known in zip(plain, found, known, strict=True)]
    return pd.Series([number and number.zfill(width) for number in numbers], index=cells.index, dtype=object)


def roman(cells: pd.Series) -> pd.Series:
    """Return objective classes as '1' to '7', from numbers or numerals ('Ⅶ' is one character); others stay."""
    numerals = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7"}
    plain = cells.map(lambda cell: unicodedata.normalize("NFKC", cell).strip().lower())
    return plain.str.replace(r"\.0+$", "", regex=True).map(lambda cell: numerals.get(cell, cell))


def _headed(raw: pd.DataFrame, headers: Iterable[str]) -> tuple[int, dict[str, int]]:
    """Return the Excel row (from 1) that holds most of `headers`, and header → column for those found."""
    names = {header: [_plain(name) for name in header.split("|")] for header in headers}
    row, best = 1, dict[str, int]()
    for number, cells in enumerate(raw.iloc[:_HEADER_WITHIN].itertuples(index=False), start=1):
        there = [_plain(cell) for cell in cells]
        known = {header: [there.index(name) for name in those if name in there] for header, those in names.items()}
        place = {header: columns[0] for header, columns in known.items() if columns}
        if len(place) > len(best):
            row, best = number, place
    return row, best


def _unmerged(path: Path, sheet: str, raw: pd.DataFrame, column: int) -> pd.DataFrame:
    """Return the cells, with merged cells of one column repeated in each of their rows."""
    filled = raw.copy()
    merged = load_workbook(_cells_alone(path))[sheet].merged_cells.ranges if is_zipfile(path) else ()
    for left, top, right, bottom in (area.bounds for area in merged):  # from 1
        if left == right == column + 1:
            filled.iloc[top - 1 : bottom, column] = raw.iloc[top - 1, column]
    return filled


def _table(rows: pd.DataFrame, columns: Mapping[str, int]) -> pd.DataFrame:
    """Return some columns of the cells below the header, stripped, without rows that have fewer than two cells."""
    table = rows[list(columns.values())].set_axis(list(columns), axis=1)
    # Copy and paste brings other blanks (U+00A0, U+3000); str.strip removes them too.
    table = table.apply(lambda column: column.str.strip())
    return table[(table != "").sum(axis=1) > 1].reset_index(drop=True)


def _plain(header: str) -> str:
    return "".join(filter(str.isalnum, header)).lower()


def tables_in(folder: Path, levels: str = "*") -> list[Path]:
    """Return the table files of a folder by name, without lock files; `levels` '*/*' for those of its folders."""
    found = (path for path in folder.glob(f"{levels}.[xXcCoOnN]*") if path.suffix.lower() in (*READABLE, *CONVERTIBLE))
    return sorted(path for path in found if not path.name.startswith(("~", ".")) and path.is_file())


def read_tables(path: Path) -> dict[str, pd.DataFrame]:
    """Return the cells of every sheet as text, by its name; raises UserError for another kind or a damaged file."""
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


@lru_cache(maxsize=8)  # one reading calls it several times: for the sheets' names, then for their cells
def _read(path: Path, state: tuple[int, int]) -> dict[str, pd.DataFrame]:
    _require_bounded(path, size=state[1])
    if path.suffix.lower() == ".csv" and not is_zipfile(path):
        return {path.stem: _read_csv(path)}
    failures: list[Exception] = []
    ways: tuple[Callable[[], BinaryIO], ...] = (lambda: path.open("rb"), lambda: _cells_alone(path))
    for opened in ways:
        try:
            with opened() as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # openpyxl's warnings on parts without cells
                sheets = pd.read_excel(file, None, header=None, dtype=str, keep_default_na=False, engine="openpyxl")
                if sheets:
                    return {str(name): cells.astype(object).fillna("").astype(str) for name, cells in sheets.items()}
        except PermissionError:
            raise
        except Exception as error:  # zipfile, the XML parser and openpyxl raise many kinds on a damaged file
            failures.append(error)
    raise UserError(
        f"{path} cannot be read as an Excel workbook ({failures[0] if failures else 'no sheet is found'}).\n"
        "  Expected the .xlsx of the release, neither encrypted nor of another kind: save it as a plain workbook "
        "(.xlsx) in a spreadsheet program, or copy it again."
    )


def _require_bounded(path: Path, size: int) -> None:
    """Raise UserError for a table larger than memory should hold; a workbook of kilobytes can unpack to gigabytes."""
    if is_zipfile(path):
        try:
            with ZipFile(path) as packed:
                # No more than this is ever unpacked of a part; pictures are not read.
                size = sum(part.file_size for part in packed.infolist() if "/media/" not in part.filename)
        except (BadZipFile, OSError, ValueError):
            return  # reading it says what is wrong
    if size > MOST_BYTES:
        raise UserError(f"{path} has {size} bytes of content; expected an annotation table of at most {MOST_BYTES}")


def _cells_alone(path: Path) -> BytesIO:
    """Return a workbook's cells alone (dates are numbers): openpyxl rejects broken styles, themes and names."""
    reduced = BytesIO()
    with ZipFile(path) as given, ZipFile(reduced, "w") as kept:
        for name in given.namelist():
            part = name.replace("\\", "/")
            if not (_AS_IT_IS.fullmatch(part) or (_REDUCED.fullmatch(part) and not part.endswith("/styles.xml"))):
                continue
            content = given.read(name)
            for strict, usual in _NAMESPACES.items():
                content = content.replace(strict, usual)
            kept.writestr(part, content if _AS_IT_IS.fullmatch(part) else _without_styles(content))
    return reduced


def _without_styles(sheet: bytes) -> bytes:
    """Return the XML of a sheet, or of the list of sheets, with its cells alone."""
    root = ElementTree.fromstring(sheet)
    for element in [*root]:
        if element.tag.rpartition("}")[2] not in _KEPT:
            root.remove(element)
    for element in root.iterfind("{*}sheetData//"):
        element.attrib.pop("s", None)
    return ElementTree.tostring(root)


def _read_csv(path: Path) -> pd.DataFrame:
    data = path.read_bytes()
    try:
        text = _decoded(data)
        told = re.match(r"sep=(.)(?:\r\n?|\n)", text, re.IGNORECASE)  # Excel's own header line
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
    rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    return [[_WHOLE.sub(r"\1", cell) for cell in row] for row in rows]


def _fit(rows: list[list[str]]) -> tuple[int, int]:
    """Score how well a delimiter splits a table: number of rows of the commonest width above 1, and this width."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return count, width


def _decoded(data: bytes) -> str:
    """Decode a .csv as UTF-8 or UTF-16 if its mark or content allows, else as a Chinese or Western Windows code page:
    bytes above 127 come in pairs in Chinese text and mostly singly in Western text.
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
