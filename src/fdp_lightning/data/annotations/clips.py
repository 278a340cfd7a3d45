"""The tidy clip table, one row per annotated micro-expression with the same columns for every dataset, and its targets
as text (one class, or the action units shown, joined by '+') and as numbers.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.errors import UserError
from fdp_lightning.labels import JOIN, KEY, ClipKey, LabelKind

_TEXT = ["dataset", "subject", "clip", "emotion", "objective", "action_units", "split", "folder", "remark"]
_FRAME_NUMBERS = ["onset", "apex", "offset"]
COLUMNS = [
    *KEY, "apex", "offset", "fps", "emotion", "objective", "action_units", "split", "folder", "remark",
]  # fmt: skip
"""All columns; unknown text is '', unknown frame numbers are NA. `objective` is the objective class, '1' to '7',
`split` the owners' part ('train'); `remark` notes what the adapter read differently from what is written."""


def clip_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return all `COLUMNS`, sorted by `KEY`; frame numbers are nullable integers, NA unless whole and at least 0.

    An apex that has digits but is not such a number is noted in `remark`.
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
    remarks = "apex '" + written + "' is not a frame number; read as unknown"
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
    """Return a mask, bool, one value per row, of the clips whose onset and offset are known and in order."""
    return (table["offset"] >= table["onset"]).fillna(False).astype(bool)


def name_clips(table: pd.DataFrame, most: int = 8) -> str:
    """List up to `most` clips as 'subject/clip', and the number of those left out."""
    names = [f"{subject}/{clip}" for subject, clip in zip(table["subject"], table["clip"], strict=True)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def clip_id(row: pd.Series) -> str:
    """Return the name of a row's clip in messages and files, see `ClipKey`."""
    return str(ClipKey(row["dataset"], row["subject"], row["clip"], _onset(row["onset"])))


def clip_keys(table: pd.DataFrame) -> list[ClipKey]:
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
    """Return the place in ascending `frame_numbers`, (n,), nearest to the apex, the earlier of two; None for NaN."""
    return None if np.isnan(apex) else int(np.abs(frame_numbers - apex).argmin())


def names_of(targets: pd.Series, kind: LabelKind) -> pd.Series:
    """Return class names under their clips' index labels; a clip that shows several units has several rows."""
    return targets.str.split(JOIN, regex=False).explode() if kind.is_multi else targets


def target_numbers(targets: pd.Series, classes: Sequence[str], kind: LabelKind) -> np.ndarray:
    """Convert targets to the numbers a network learns: class indices, int64, (n,), or, for multi-label targets, 1 for
    each class shown and 0 otherwise, float32, (n, k). Raises ValueError if a target is not among the k classes.
    """
    if unknown := sorted(set(names_of(targets, kind)) - {*classes, *([""] if kind.is_multi else [])}):
        raise ValueError(f"targets {', '.join(unknown)} are not among the classes {', '.join(classes)}")
    if not kind.is_multi:
        return pd.Index(classes).get_indexer(targets).astype(np.int64)
    shown = [set(target.split(JOIN)) for target in targets]
    return np.array([[name in names for name in classes] for names in shown], np.float32).reshape(-1, len(classes))


def class_counts(numbers: np.ndarray, n_classes: int) -> list[int]:
    """Return the number of clips of each class, given their `target_numbers`."""
    if numbers.ndim == 2:
        return [int(n) for n in numbers.sum(axis=0, dtype=np.float64)]
    return [int(n) for n in np.bincount(numbers, minlength=n_classes)]
