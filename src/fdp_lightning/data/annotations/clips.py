"""The tidy clip table: one row per annotated micro-expression, the same columns for every dataset."""

import unicodedata
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.errors import UserError
from fdp_lightning.labels import KEY, ClipKey

_TEXT = ["dataset", "subject", "clip", "emotion", "objective", "action_units", "split", "folder", "remark"]
_FRAME_NUMBERS = ["onset", "apex", "offset"]
COLUMNS = [
    *KEY, "apex", "offset", "fps", "emotion", "objective", "action_units", "split", "folder", "remark",
]  # fmt: skip
"""All columns. Unknown text is '', unknown frame numbers are NA.

`objective` is the objective class, '1' to '7'; `split` the owners' own part of the dataset ('train'), if there is
one; `remark` says what the adapter read differently from what is written.
"""


def clip_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Complete, type and sort a table with any of `COLUMNS`.

    Return all columns, with text as str and frame numbers as nullable integers (NA: no whole number of 0 or more),
    sorted by `KEY`. Of an apex that has digits but is no such number, `remark` says so.
    """
    table = rows.reindex(columns=COLUMNS).copy()
    for column in _TEXT:
        table[column] = table[column].astype(object).fillna("").astype(str).astype(object)
    written = table["apex"].map(lambda cell: str(cell) if any(map(str.isdigit, str(cell))) else "")
    for column in _FRAME_NUMBERS:
        cells = table[column].map(lambda cell: unicodedata.normalize("NFKC", cell) if isinstance(cell, str) else cell)
        numbers = pd.to_numeric(cells, errors="coerce").astype("float64")
        whole = np.isfinite(numbers) & (numbers >= 0) & (numbers % 1 == 0)
        table[column] = numbers.where(whole).astype("Int64")
    lost = table["apex"].isna() & (written != "")
    remarks = "apex '" + written + "' is no frame number; read as unknown"
    table["remark"] = table["remark"].where(~lost, (table["remark"] + "; " + remarks).str.removeprefix("; "))
    return table.sort_values(KEY, ignore_index=True)


def require_keys(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the table unchanged; raises UserError if a clip has no name, no onset, or is listed twice in `source`."""
    nameless = (table["subject"] == "") | (table["clip"] == "")
    for broken, what, expected in (
        (nameless, "rows have no subject or no clip name", "both in every row with frame numbers: fill them in"),
        (table["onset"].isna(), "clips have no usable onset", "a whole number: correct it"),
        (table.duplicated(KEY), "clips are listed more than once", "one row per clip: remove the others"),
    ):
        if broken.any():
            raise UserError(
                f"{source}: {broken.sum()} {what}: {name_clips(table[broken])}\n"
                f"  Expected {expected}, or take a fresh copy of the workbook."
            )
    return table


def has_interval(table: pd.DataFrame) -> pd.Series:
    """Return a mask of the clips whose onset and offset are known and in order, bool, one per row."""
    return (table["offset"] >= table["onset"]).fillna(False).astype(bool)


def annotation_problems(table: pd.DataFrame) -> list[Problem]:
    """Return what is wrong or missing in the annotation, by clip, without reading any image."""
    found = []
    doubled = table.duplicated(KEY, keep=False).tolist()
    usable = has_interval(table).tolist()
    for place, (_, row) in enumerate(table.iterrows()):
        clip, onset, apex, offset = clip_id(row), row["onset"], row["apex"], row["offset"]
        if not row["subject"] or not row["clip"]:
            found.append(Problem(clip, "no_name", "a row without subject or clip name"))
        if doubled[place]:
            found.append(Problem(clip, "listed_twice", "more than one row has this subject, clip and onset"))
        if not usable[place]:
            found.append(Problem(clip, "bad_interval", f"onset {onset}, offset {offset}"))
        elif not pd.isna(apex) and not onset <= apex <= offset:
            detail = f"apex {apex} lies outside {onset}..{offset}"
            found.append(Problem(clip, "apex_outside", detail, fatal=False))
        elif not pd.isna(apex) and apex in (onset, offset) and onset != offset:
            where = "onset" if apex == onset else "offset"
            found.append(Problem(clip, f"apex_at_{where}", f"apex and {where} are both {apex}", fatal=False))
        if row["remark"]:
            found.append(Problem(clip, "read_otherwise", row["remark"], fatal=False))
    return found


def name_clips(table: pd.DataFrame, most: int = 8) -> str:
    """List up to `most` clips as 'subject/clip', and the number of further ones."""
    names = [f"{subject}/{clip}" for subject, clip in zip(table["subject"], table["clip"], strict=True)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def clip_id(row: pd.Series) -> str:
    """Name a row's clip in messages and files, see `ClipKey`."""
    return str(ClipKey(row["dataset"], row["subject"], row["clip"], _onset(row["onset"])))


def clip_keys(table: pd.DataFrame) -> list[ClipKey]:
    """Return the identity of each row's clip."""
    rows = zip(*(table[name] for name in KEY), strict=True)
    return [ClipKey(dataset, subject, clip, _onset(onset)) for dataset, subject, clip, onset in rows]


def _onset(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def apex_numbers(clips: pd.DataFrame) -> np.ndarray:
    """Return the apex frame number of each clip, shape (n,); NaN where it is unknown or outside onset..offset."""
    apex, onset, offset = (
        clips[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("apex", "onset", "offset")
    )
    return np.where((onset <= apex) & (apex <= offset), apex, np.nan)


def apex_position(frame_numbers: np.ndarray, apex: float) -> int | None:
    """Return the position of the frame nearest to the apex (frames may be missing): the earlier of two, None for NaN.

    `frame_numbers` are ascending, shape (n,).
    """
    return None if np.isnan(apex) else int(np.abs(frame_numbers - apex).argmin())
