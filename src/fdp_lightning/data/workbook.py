"""Reading annotation workbooks as text, with messages that name the file, the sheet and the column."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

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
    """Read some columns of a sheet, every cell as text ('' when blank); rows blank in all of them are left out.

    Args:
        path: the workbook.
        columns: our name → the header in the sheet; compared without regard to case and spaces.
        sheet: name or number of the sheet.
        header_row: the Excel row of the header, from 1.

    Raises:
        UserError: not a workbook, no such sheet, or columns missing.
    """
    with _open(path) as book:
        if isinstance(sheet, str) and sheet not in book.sheet_names:
            found = ", ".join(map(str, book.sheet_names))
            raise UserError(
                f"{path} has no sheet '{sheet}'; its sheets: {found}.\n"
                "  Expected the workbook as released; rename the sheet back or copy the file again."
            )
        raw = book.parse(sheet, header=None, dtype=str, keep_default_na=False).fillna("").astype(str)
    header = raw.iloc[header_row - 1].tolist() if len(raw) >= header_row else []
    place = {_plain(name): number for number, name in enumerate(header)}
    missing = [name for name in columns.values() if _plain(name) not in place]
    if missing:
        found = ", ".join(name for name in header if name)
        raise UserError(
            f"{path}: column {', '.join(repr(m) for m in missing)} is missing in row {header_row}.\n"
            f"  Found: {found or 'no header'}.\n"
            "  Expected the workbook as released; rename the column back or copy the file again."
        )
    table = raw.iloc[header_row:, [place[_plain(name)] for name in columns.values()]]
    table = table.set_axis(list(columns), axis=1).apply(lambda column: column.str.strip())
    return table[(table != "").any(axis=1)].reset_index(drop=True)


def header_row_of(path: Path, headers: Iterable[str], within: int = 40) -> int:
    """The Excel row (from 1) that holds most of `headers`; 1 if there is none (read_sheet will say so)."""
    wanted = {_plain(header) for header in headers}
    with _open(path) as book:
        top = book.parse(0, header=None, nrows=within, dtype=str, keep_default_na=False).fillna("").astype(str)
    scores = [len(wanted & {_plain(cell) for cell in cells}) for cells in top.itertuples(index=False)]
    return scores.index(max(scores)) + 1 if scores else 1


def padded(numbers: pd.Series, width: int) -> pd.Series:
    """Numbers as text with leading zeros, as the dataset writes them; a blank cell stays blank."""
    return numbers.where(numbers == "", numbers.str.zfill(width))


def _open(path: Path) -> pd.ExcelFile:
    try:
        return pd.ExcelFile(path, engine="openpyxl")
    except Exception as error:  # whatever a zip, an XML parser and openpyxl may find wrong with a foreign file
        raise UserError(
            f"{path} cannot be read as an Excel workbook ({error}).\n"
            "  Expected the .xlsx of the release, neither encrypted nor converted; copy it again."
        ) from error


def _plain(header: str) -> str:
    return "".join(header.split()).lower()
