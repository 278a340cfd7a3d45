"""The tidy clip table: one row per annotated micro-expression, the same columns for every dataset."""

import numpy as np
import pandas as pd

from fdp_lightning.errors import UserError

KEY = ["dataset", "subject", "clip", "onset"]
"""What identifies a clip. The onset belongs to it: some folders hold several clips."""

_TEXT = ["dataset", "subject", "clip", "emotion", "objective", "action_units", "folder"]
_FRAME_NUMBERS = ["onset", "apex", "offset"]
COLUMNS = [*KEY, "apex", "offset", "fps", "emotion", "objective", "action_units", "folder"]


def clip_table(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Check and type a table of clips.

    Args:
        rows: the columns of `COLUMNS`; `apex` may be missing (NA), `objective` and `action_units` may be ''.
        source: the annotation file, for messages.

    Returns:
        The table with text columns as str, frame numbers as nullable integers, sorted by `KEY`.

    Raises:
        UserError: a clip is listed twice or has no name, or an onset or offset is missing or out of order.
    """
    table = rows.reindex(columns=COLUMNS).copy()
    for column in _TEXT:
        table[column] = table[column].fillna("").astype(str).astype(object)
    for column in _FRAME_NUMBERS:
        numbers = pd.to_numeric(table[column], errors="coerce").astype("float64")
        whole = np.isfinite(numbers) & (numbers >= 0) & (numbers % 1 == 0)
        table[column] = numbers.where(whole).astype("Int64")
    nameless = table[(table["subject"] == "") | (table["clip"] == "")]
    if len(nameless):
        raise UserError(
            f"{source}: {len(nameless)} rows are without subject or clip name: {name_clips(nameless)}\n"
            "  Expected both in every row with frame numbers; fill them in or take a fresh copy of the workbook."
        )
    broken = table[(table["onset"].isna() | table["offset"].isna() | (table["offset"] < table["onset"])).fillna(True)]
    if len(broken):
        raise UserError(
            f"{source}: {len(broken)} clips have no usable onset..offset: {name_clips(broken)}\n"
            "  Expected whole numbers with onset <= offset; mend the workbook or take a fresh copy of it."
        )
    doubled = table[table.duplicated(KEY, keep=False)]
    if len(doubled):
        raise UserError(
            f"{source}: clips listed more than once: {name_clips(doubled.drop_duplicates(KEY))}\n"
            "  Expected one row per clip; remove the others or take a fresh copy of the workbook."
        )
    return table.sort_values(KEY, ignore_index=True)


def name_clips(table: pd.DataFrame, most: int = 8) -> str:
    """Up to `most` clips as 'subject/clip', and how many more there are."""
    names = [f"{subject}/{clip}" for subject, clip in zip(table["subject"], table["clip"], strict=True)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def clip_id(row: pd.Series) -> str:
    """One clip in messages and files: 'casme2/01/EP02_01f@46' (dataset/subject/clip@onset)."""
    return f"{row['dataset']}/{row['subject']}/{row['clip']}@{row['onset']}"
