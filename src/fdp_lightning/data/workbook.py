"""Reading annotation workbooks as text, with messages that name the file, the sheet and the column."""

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd
from openpyxl.utils.exceptions import InvalidFileException

from fdp_lightning.errors import UserError


def find_workbook(root: Path, name: str, request_page: str) -> Path:
    """The annotation file `name` in a dataset's folder; raises UserError saying what is there instead."""
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(
            f"the dataset folder {root} {what}.\n"
            "  Set data.root to your copy, for example: data.root=/path/to/dataset\n"
            f"  A copy is requested from its owners: {request_page}"
        )
    path = root / name
    if path.is_file():
        return path
    others = sorted(p.name for p in root.glob("*.xls*")) or ["none"]
    raise UserError(
        f"the annotation workbook {path} is missing.\n"
        f"  Expected it under this very name; workbooks in that folder: {', '.join(others)}\n"
        "  Copy it there from the dataset's release, or choose the protocol whose labels you have."
    )


def read_sheet(path: Path, columns: Mapping[str, str], sheet: str | int = 0, header_row: int = 1) -> pd.DataFrame:
    """Read some columns of a sheet, every cell as text ('' when blank).

    Args:
        path: the workbook.
        columns: our name → the header in the sheet; compared without regard to case and spaces.
        sheet: name or number of the sheet.
        header_row: the Excel row of the header, from 1.

    Raises:
        UserError: not a workbook, no such sheet, or columns missing.
    """
    try:
        raw = pd.read_excel(path, sheet_name=sheet, header=header_row - 1, dtype=str, keep_default_na=False)
    except (BadZipFile, InvalidFileException, OSError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read as an Excel workbook ({error}).\n"
            "  Expected the .xlsx of the release; copy it again."
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: {error}. Expected the sheet {sheet!r}.") from error
    present = {_plain(header): header for header in map(str, raw.columns)}
    missing = [header for header in columns.values() if _plain(header) not in present]
    if missing:
        found = ", ".join(h for h in map(str, raw.columns) if not h.startswith("Unnamed"))
        raise UserError(
            f"{path}: column {', '.join(repr(m) for m in missing)} is missing in row {header_row}.\n"
            f"  Found: {found or 'no header'}.\n"
            "  Expected the workbook as released; rename the column back or copy the file again."
        )
    table = raw[[present[_plain(header)] for header in columns.values()]].copy()
    table.columns = pd.Index(columns.keys())
    return table.fillna("").astype(str).apply(lambda column: column.str.strip())


def header_row_of(path: Path, first_header: str, within: int = 40) -> int:
    """The Excel row (from 1) whose first cell is `first_header`; 1 if there is none (read_sheet will say so)."""
    try:
        first = pd.read_excel(path, header=None, usecols=[0], nrows=within, dtype=str, keep_default_na=False)
    except (BadZipFile, InvalidFileException, OSError, ValueError, KeyError):
        return 1
    for row, cell in enumerate(first.iloc[:, 0].astype(str), start=1):
        if _plain(cell) == _plain(first_header):
            return row
    return 1


def _plain(header: str) -> str:
    return "".join(header.split()).lower()
