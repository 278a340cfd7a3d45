"""Known errors of published annotations, as a table with reasons: `corrections.csv` beside this file."""

from functools import cache
from pathlib import Path

import pandas as pd

from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.errors import UserError
from fdp_lightning.labels import KEY

VERSION = 1
"""Raised with every change of a row, so that a score can say which corrections it was made with."""

LEVELS = ("official", "corrected", "none")
"""What `corrections` may be.

* `official`: what the owners' newest annotation says; what they changed since an older copy is changed in that too.
* `corrected`: that, and what is known to be wrong in the newest one too.
* `none`: the annotation to the letter.
"""

_FILE = Path(__file__).with_suffix(".csv")


@cache
def known_errors() -> pd.DataFrame:
    """All rows of the table, as text.

    Columns: dataset, subject, clip, onset ('' where the clip's name suffices), column (of the clip table; 'frames' for
    files that are published as they are, '' for a row that only says what to know of the clip), annotated, corrected,
    level ('official' or 'corrected'; '' where there is nothing to correct), reason, source.
    """
    return pd.read_csv(_FILE, dtype=str, keep_default_na=False)


def correct(table: pd.DataFrame, level: str) -> pd.DataFrame:
    """A clip table with the corrections of a level.

    A cell is changed only if it holds the wrong value: a copy in which it is mended already stays as it is.

    Args:
        table: of `clips.clip_table`; look-alikes under another name are never corrected.
        level: of `LEVELS`.

    Raises:
        UserError: there is no such level.
    """
    if level not in LEVELS:
        raise UserError(f"corrections is '{level}'; expected one of {', '.join(LEVELS)}")
    applied = {"none": (), "official": ("official",), "corrected": ("official", "corrected")}[level]
    table = table.copy()
    for error, places in _errors_in(table):
        if error["level"] in applied:
            table.loc[places, error["column"]] = _typed(table, error["column"], error["corrected"])
    return table.sort_values(KEY, ignore_index=True)


def correction_problems(table: pd.DataFrame) -> list[Problem]:
    """The known errors that a table as annotated (`corrections=none`) really has."""
    problems = []
    for error, places in _errors_in(table):
        for _, row in table.loc[places].iterrows():
            change = ""
            if error["level"]:
                right = error["corrected"] or "unknown"
                change = f"{error['column']} {error['annotated']}, corrections={error['level']} reads {right}: "
            detail = f"{change}{error['reason']} ({error['source']})"
            problems.append(Problem(clip_id(row), "known_error", detail, fatal=False))
    return problems


def as_published(table: pd.DataFrame, column: str) -> set[str]:
    """The clips whose `column` is known to be published as it is; their ids."""
    known = [places for error, places in _errors_in(table) if error["column"] == column]
    return {clip_id(table.loc[place]) for places in known for place in places}


def _errors_in(table: pd.DataFrame) -> list[tuple[pd.Series, list[int]]]:
    """Each known error with the rows of the table that have it."""
    found = []
    errors = known_errors()
    for _, error in errors[errors["dataset"].isin(table["dataset"].unique())].iterrows():
        same = (table["dataset"] == error["dataset"]) & (table["subject"] == error["subject"])
        same &= table["clip"].str.lower() == error["clip"].lower()
        if error["onset"]:
            same &= (table["onset"] == int(error["onset"])).fillna(False).astype(bool)
        if error["column"] in table:
            same &= table[error["column"]].astype("string").fillna("") == error["annotated"]
        if same.any():
            found.append((error, table.index[same].tolist()))
    return found


def _typed(table: pd.DataFrame, column: str, text: str) -> object:
    if not pd.api.types.is_integer_dtype(table[column]):
        return text
    return int(text) if text else pd.NA
