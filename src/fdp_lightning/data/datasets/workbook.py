"""Search for annotation tables, and reading of their columns."""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fdp_lightning.data.datasets.folders import is_folder
from fdp_lightning.data.datasets.sheets import READABLE, merged_cells, read_tables, tables_in
from fdp_lightning.errors import UserError
from fdp_lightning.files import sha256

_HEADER_WITHIN = 40
"""Number of Excel rows that are searched for a header."""

_NUMBERED = re.compile(r"(?P<word>[^\W\d_][^\d]*|[#'’])?0*(?P<number>\d+)(?:\.0+)?号?")
"""Subject number, and the word before it."""


class MissingTableError(UserError):
    """The annotation file is missing."""


class MissingColumnError(UserError):
    """An annotation file lacks a column."""


def find_workbook(root: Path, names: Sequence[str]) -> Path:
    """Return an annotation file in a dataset's folder, or in the two levels of folders below it.

    The first of `names` (case-insensitive) is the release's; others occur in other copies. The owners' .xlsx is
    preferred to a .csv of the same name. A file that must first be converted is returned only if there is no readable
    one. Raises MissingTableError, which lists what is there instead, if the file is missing, and UserError if two such
    files differ.
    """
    stems = [Path(known).stem.lower() for known in names]
    convertible: list[Path] = []
    for levels in ("*", "*/*", "*/*/*"):
        named = [path for path in tables_in(root, levels) if path.stem.lower() in stems]
        if found := [path for path in named if path.suffix.lower() in READABLE]:
            return _only_one(found, stems)
        convertible += named
    if convertible:
        return convertible[0]  # reading it raises an error with advice
    there = [path.name for path in tables_in(root)] or ["none"]
    raise MissingTableError(
        f"the annotation workbook {root / names[0]} is missing.\n"
        f"  Expected a file of exactly this name (.xlsx or .csv); workbooks in that folder: {', '.join(there)}\n"
        "  Copy it there from the dataset's release, or choose the protocol whose labels you have."
    )


def _only_one(found: list[Path], stems: list[str]) -> Path:
    """Return the file whose name comes first in `stems`; raises UserError if two files of that name differ."""
    first = min(found, key=lambda path: (stems.index(path.stem.lower()), READABLE.index(path.suffix.lower())))
    for other in found:
        if other != first and other.name.lower() == first.name.lower() and sha256(other) != sha256(first):
            raise UserError(
                f"two workbooks have the same name but different contents:\n  {first}\n  {other}\n"
                "  Expected one: remove or rename the other, or copy the right one to the top of the dataset's folder."
            )
    return first


def require_folder(root: Path, request_page: str, key: str = "data.root") -> None:
    """Raise UserError unless `root` is a readable folder; the message names `key`, which sets it."""
    if is_folder(root):
        state = "" if os.access(root, os.R_OK | os.X_OK) else "cannot be read (Permission denied)"
    else:
        state = "is a file, not a folder" if os.path.isfile(root) else "does not exist"  # noqa: PTH113 (may raise)
    if state:
        raise UserError(
            f"the dataset folder {root} {state}.\n"
            f"  Set {key} to your copy, which you may list and enter, for example: {key}=/path/to/dataset\n"
            f"  A copy is requested from its owners: {request_page}"
        )


def read_sheet(
    path: Path, columns: Mapping[str, str], sheet: str = "", optional: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read some columns of a sheet, every cell as text ('' when blank).

    The header is the row with the most of these names; prose may precede it. Below it, rows with a single cell are
    treated as prose and dropped like blank ones. A cell that is merged over several rows is repeated in each.

    Args:
        path: workbook.
        columns: our name → header in the sheet, or several in circulation separated by '|'; only letters and digits
            are compared, case-insensitively.
        sheet: name of the sheet, case-insensitive; without a sheet of that name, the one that has the columns and rows
            below them is read, a hidden one only if no visible sheet has them.
        optional: further columns, filled with '' if the sheet lacks them.

    Raises:
        UserError: the file is not a workbook, a column is missing or present twice with different cells, or two visible
            sheets have the columns with different rows.
    """
    wanted = {**columns, **(optional or {})}
    sheets = read_tables(path)
    names = [name for name in sheets if name.strip().lower() == sheet.lower()][:1] or [*sheets]
    headed = {name: _headed(sheets[name], wanted.values()) for name in names}
    whole = [name for name, (_, place) in headed.items() if place.keys() >= {*columns.values()}] or names
    chosen = _only_sheet(path, {name: sheets[name].iloc[headed[name][0] :] for name in whole})
    (header_row, place), raw = headed[chosen], sheets[chosen]
    missing = [header.partition("|")[0] for header in columns.values() if header not in place]
    if missing:
        headers = ", ".join(name for name in (raw.iloc[header_row - 1] if len(raw) else []) if name)
        raise MissingColumnError(
            f"{path}: column {', '.join(repr(m) for m in missing)} is missing in row {header_row}.\n"
            f"  Found: {headers or 'no header'}.\n"
            "  Expected the workbook as released; rename the column back or copy the file again."
        )
    there = {ours: place[header] for ours, header in wanted.items() if header in place}
    numbers = {ours: _only_column(path, raw, header_row, column) for ours, column in there.items()}
    return _table(_unmerged(path, chosen, raw, numbers, header_row), numbers).reindex(columns=[*wanted], fill_value="")


def read_headerless_sheet(path: Path, columns: Mapping[str, int]) -> pd.DataFrame:
    """Read columns (our name → index, from 0) of the first sheet that is wide enough, as text ('' when blank).

    Raises UserError if the file is not a workbook.
    """
    sheets, width = read_tables(path), max(columns.values()) + 1
    name = next((name for name, cells in sheets.items() if cells.shape[1] >= width), next(iter(sheets)))
    raw = sheets[name].reindex(columns=range(width), fill_value="")
    return _table(_unmerged(path, name, raw, columns), columns)


def all_rows(path: Path) -> list[list[str]]:
    """Return the rows of all sheets without their blank cells, for lists of unknown position and column order."""
    tables = read_tables(path).values()
    return [[cell for cell in row if cell] for cells in tables for row in cells.itertuples(index=False)]


def padded(cells: pd.Series, width: int) -> pd.Series:
    """Return numbers as text with leading zeros, as the dataset writes them: '06' for '6.0', 'sub06' or 'Subject 6'.

    The word before a number is dropped if it is the same in all cells; 'A1' and 'B1' are two subjects. Other cells are
    padded with zeros, and blank ones stay blank.
    """
    plain = cells.map(lambda cell: unicodedata.normalize("NFKC", cell).strip())
    found = plain.map(_NUMBERED.fullmatch)
    words = {_plain(match["word"] or "") for match in found if match} - {""}
    numbers = [
        match["number"] if match and (len(words) < 2 or not match["word"]) else cell
        for cell, match in zip(plain, found, strict=True)
    ]
    return pd.Series([number and number.zfill(width) for number in numbers], index=cells.index, dtype=object)


def roman(cells: pd.Series) -> pd.Series:
    """Return objective classes as '1' to '7', from numbers or Roman numerals; other cells are unchanged.

    Chinese keyboards type a numeral as one character ('Ⅶ'), which NFKC decomposes.
    """
    numerals = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7"}
    plain = cells.map(lambda cell: unicodedata.normalize("NFKC", cell).strip().lower())
    return plain.str.replace(r"\.0+$", "", regex=True).map(lambda cell: numerals.get(cell, cell))


def _headed(raw: pd.DataFrame, headers: Iterable[str]) -> tuple[int, dict[str, int]]:
    """Return the Excel row (from 1) with the most of `headers`, and header → column for those found."""
    names = {header: [_plain(name) for name in header.split("|")] for header in headers}
    best: dict[str, int] = {}
    row = 1
    for number, cells in enumerate(raw.iloc[:_HEADER_WITHIN].itertuples(index=False), start=1):
        there = [_plain(cell) for cell in cells]
        known = {header: [there.index(name) for name in those if name in there] for header, those in names.items()}
        place = {header: columns[0] for header, columns in known.items() if columns}
        if len(place) > len(best):
            best, row = place, number
    return row, best


def _only_sheet(path: Path, rows: Mapping[str, pd.DataFrame]) -> str:
    """Return the first sheet with rows (name → cells below the header), or the first if there are none.

    Raises UserError if another visible sheet has other rows: which of them is read would decide the labels.
    """
    filled = [name for name, cells in rows.items() if (cells != "").any(axis=None)] or [*rows]
    first, *others = filled
    for other in others:
        if not rows[other].attrs.get("hidden") and not np.array_equal(rows[other].to_numpy(), rows[first].to_numpy()):
            raise UserError(
                f"{path}: the sheets '{first}' and '{other}' both have the columns of the clips, with different rows.\n"
                "  Expected one: remove the other from this copy, or hide it."
            )
    return first


def _only_column(path: Path, raw: pd.DataFrame, header_row: int, column: int) -> int:
    """Return the non-blank column with the same header as `column`; raises UserError if two such columns differ."""
    header = _plain(raw.iloc[header_row - 1, column])
    same = [place for place, name in enumerate(raw.iloc[header_row - 1]) if _plain(name) == header]
    cells = raw.iloc[header_row:]
    filled = [place for place in same if (cells[place] != "").any()] or [column]
    if differing := [place for place in filled if (cells[place] != cells[filled[0]]).any()]:
        raise UserError(
            f"{path}: row {header_row} has the column '{raw.iloc[header_row - 1, column]}' twice, with different cells "
            f"(columns {filled[0] + 1} and {differing[0] + 1} of the sheet).\n"
            "  Expected one: remove or rename the other."
        )
    return filled[0]


def _unmerged(
    path: Path, sheet: str, raw: pd.DataFrame, columns: Mapping[str, int], header_row: int = 0
) -> pd.DataFrame:
    """Return the cells below the header; in `columns`, cells merged over several rows are repeated in each."""
    rows = raw.iloc[header_row:]
    read = rows[[*columns.values()]] == ""
    if not (read.any(axis=1) & ~read.all(axis=1)).any():
        return rows
    filled = raw.copy()
    for top, bottom, column in merged_cells(path, sheet):
        if column in columns.values() and top >= header_row:
            filled.iloc[top : bottom + 1, column] = raw.iloc[top, column]
    return filled.iloc[header_row:]


def _table(rows: pd.DataFrame, columns: Mapping[str, int]) -> pd.DataFrame:
    """Return the cells of some columns, without rows that have fewer than two non-blank cells."""
    table = rows[list(columns.values())].set_axis(list(columns), axis=1)
    return table[(table != "").sum(axis=1) > 1].reset_index(drop=True)


def _plain(header: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", header))).lower()
