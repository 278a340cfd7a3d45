"""Known errors of published annotations, listed with reasons in `corrections.csv` in this folder."""

from functools import cache
from pathlib import Path

import pandas as pd

from fdp_lightning.console.option_values import require_allowed
from fdp_lightning.data.annotations.clips import clip_id
from fdp_lightning.data.checks.problems import Problem, remark
from fdp_lightning.labels import KEY

VERSION = 1  # increased with every change of a row, so that scores can state the corrections they were computed with
# Option `corrections` → levels of the rows applied. 'official': the owners' newest annotation (older copies get the
# changes made since); 'corrected': known errors are corrected too; 'none': the annotation exactly as written.
_APPLIED = {"official": ["official"], "corrected": ["official", "corrected"], "none": []}


@cache
def known_errors() -> pd.DataFrame:
    """Return all rows of the table, as text.

    Columns: dataset, subject, clip, onset ('' if not needed), column ('frames' for known errors of the files, '' for a
    note), annotated, corrected, level ('official' or 'corrected'; '' if nothing is corrected), reason, source.
    """
    return pd.read_csv(Path(__file__).with_suffix(".csv"), dtype=str, keep_default_na=False)


def correct(table: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return a clip table with the corrections of a level; raises UserError if the level is unknown. A cell is changed
    only if it holds the wrong value; look-alike datasets under another name are never corrected.
    """
    require_allowed({"corrections": level})
    applied = _APPLIED[level]
    table = table.copy()
    for error, places in _errors_in(table):
        if error["level"] in applied:
            right, column = error["corrected"], error["column"]
            if pd.api.types.is_integer_dtype(table[column]):
                right = int(right) if right else pd.NA
            table.loc[places, column] = right
    return table.sort_values(KEY, ignore_index=True)


def correction_problems(table: pd.DataFrame) -> list[Problem]:
    """Return the known errors in an uncorrected table (`corrections=none`)."""
    problems = []
    for error, places in _errors_in(table):
        detail = f"{error['reason']} ({error['source']})"
        if error["level"]:
            right = error["corrected"] or "unknown"
            detail = f"{error['column']} {error['annotated']}, corrections={error['level']} reads {right}: {detail}"
        problems += [remark(clip_id(table.loc[place]), "known_error", detail) for place in places]
    return problems


def as_published(table: pd.DataFrame, column: str) -> set[str]:
    """Return the ids of clips whose unusual `column` is known to be as published."""
    known = [places for error, places in _errors_in(table) if error["column"] == column]
    return {clip_id(table.loc[place]) for places in known for place in places}


def _errors_in(table: pd.DataFrame) -> list[tuple[pd.Series, list[int]]]:
    """Return each known error with the rows of the table that have it."""
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
