"""baselines.csv: predictions of the trained baselines on the same folds, and a run's scores compared with theirs.

The table is separate from predictions.csv and has the same columns, but `baseline` in place of `selection`. In memory
the column is always called `selection`, so that the functions that score predictions also score these.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.intervals import compare_outcomes
from fdp_lightning.evaluation.predictions import (
    SELECTION,
    Outcomes,
    clip_difference,
    read_predictions,
    write_predictions,
)
from fdp_lightning.evaluation.summary import scored

FILE = "baselines.csv"  # both of one fold and of all folds pooled

BASELINES = {"linear_arp": "linear, on ARP", "linear_apex": "linear, given the apex"}
"""Baselines that a run can have, in the order of its tables, each with its printed name."""

RULES = {
    "linear_arp": "a linear classifier (60 principal components, logistic regression) on each clip’s dynamic image by "
    "approximate rank pooling (fixed weights, no network), trained on the same folds.",
    "linear_apex": "the same classifier on the frame nearest to the annotated apex minus the first frame: it is given "
    "the frame of largest motion.",
}
"""Description of each baseline, for the report."""

_COLUMN = "baseline"


def write_baselines(path: Path, frame: pd.DataFrame, classes: Sequence[str]) -> None:
    write_predictions(path, frame, classes, list(BASELINES), _COLUMN)


def read_baselines(path: Path) -> pd.DataFrame:
    return read_predictions(path, list(BASELINES), _COLUMN)[0]


def score_baselines(pooled: pd.DataFrame, last: pd.DataFrame, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Score each baseline as the run itself is scored, and test the run's predictions of selection `last` against it.

    `pooled` is from `predictions.pool` with the names `BASELINES`: every baseline has predicted every clip once. Each
    gets its scores, `ci95` and `confusion` like a selection, and `last_minus`: for each score the difference `last` −
    baseline (`value`), with the `ci95` and `p` of the paired jackknife over subjects.
    """
    if list(pooled.columns) != list(last.columns):
        raise UserError(f"{FILE}: other classes than those of predictions.csv. The file belongs to another run.")
    result = {}
    for name in BASELINES:
        part = pooled[pooled[SELECTION] == name]
        if len(part):
            if why := clip_difference(last, part, ("missing", "not among the predictions")):
                raise UserError(f"{FILE}, {name}: {why}. The file belongs to another run.")
            of_part, of_last = (Outcomes.of(table, classes) for table in (part, last))
            differences = compare_outcomes([of_part], [of_last])
            last_minus = {score: asdict(difference) for score, difference in differences.items()}
            result[name] = {**scored(of_part), "last_minus": last_minus}
    return result
