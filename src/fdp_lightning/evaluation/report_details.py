"""The report's sections that fold open: each subject, each fold, and how far probabilities can be believed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.evaluation import charts, metrics
from fdp_lightning.evaluation.folds import FOLD_SCORES
from fdp_lightning.evaluation.predictions import PROBABILITY, class_indices, label_arrays, label_kind_of
from fdp_lightning.labels import OWNER

MOST_LINES = 60
"""Folds in a drawing of single lines; of more, the first by name."""


def subject_rows(last: pd.DataFrame, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each subject the number `n` of decisions in the table of selection `last`, and of the `right` ones.

    A decision is a clip or, of action units, one unit of a clip. Of single labels also `classes`, as `[right, clips]`.
    """
    several, multi, (right, each) = last["dataset"].nunique() > 1, label_kind_of(last).is_multi, _right(last, classes)
    rows = []
    for (dataset, subject), part in last.groupby(OWNER):
        own, name = right[part.index], f"{dataset} {subject}" if several else subject
        of_class = [own[part["target"] == label] for label in classes] if not multi else []
        rows.append(
            {
                "name": name,
                "fold": ", ".join(sorted(part["fold"].unique())),
                "n": len(part) * each,
                "right": int(own.sum()),
                "classes": [[int(clips.sum()), len(clips)] for clips in of_class],
            }
        )
    return rows


def _right(last: pd.DataFrame, classes: Sequence[str]) -> tuple[pd.Series, int]:
    """Return the number of right decisions of each clip, by the table's index, and the number of decisions per clip."""
    if not label_kind_of(last).is_multi:
        return (last["target"] == last["prediction"]).astype(int), 1
    target, prediction = label_arrays(last, classes)
    return pd.Series((target == prediction).sum(axis=1), index=last.index), len(classes)


def fold_rows(
    last: pd.DataFrame, classes: Sequence[str], curves: Mapping[str, pd.DataFrame], steps: Mapping[str, int | None]
) -> list[dict[str, Any]]:
    """Return for each fold its clips, the share of right decisions, its steps, and its losses after the last epoch.

    `curves` are of `folds.fold_curves`; `steps` are the optimizer's by the name of the fold.
    """
    right, each = _right(last, classes)
    rows = []
    for fold, part in last.groupby("fold"):
        table = curves.get(fold)
        losses = {name: _final(table, f"{name}/loss") for name in ("train", "test")}
        accuracy, epochs = float((right[part.index] / each).mean()), None if table is None else len(table)
        rows.append(
            {"name": fold, "n": len(part), "accuracy": accuracy, "epochs": epochs, "steps": steps.get(fold)} | losses
        )
    return rows


def _final(table: pd.DataFrame | None, column: str) -> float | None:
    if table is None or column not in table:
        return None
    values = table[column].dropna()
    return float(values.iloc[-1]) if len(values) else None


def fold_charts(curves: Mapping[str, pd.DataFrame]) -> list[tuple[str, Any]]:
    """Draw each quantity that is measured on held-out clips, a line for each fold."""
    some = dict(list(curves.items())[:MOST_LINES])
    columns = dict.fromkeys(column for table in some.values() for column in table.columns)
    quantities = [column.removeprefix("test/") for column in columns if column.startswith("test/")]
    drawn = []
    for quantity in (name for name in quantities if name not in FOLD_SCORES):
        lines = {}
        for part in ("train", "test"):
            found = [table[f"{part}/{quantity}"].dropna() for table in some.values() if f"{part}/{quantity}" in table]
            if found := [line for line in found if len(line)]:
                lines[part] = [(line.index.to_numpy(), line.to_numpy()) for line in found]
        if lines:
            name = quantity.replace("_", " ")
            drawn.append((name, charts.folds_chart(lines, f"{name} over the epochs, a line for each fold")))
    return drawn


def calibration(last: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Draw the reliability diagram of single-label predictions of selection `last`, and return its bins."""
    probabilities = last[[PROBABILITY + name for name in classes]].to_numpy()
    targets, _ = class_indices(last, classes)
    n, accuracy, confidence = metrics.reliability(targets, probabilities)
    bins = [
        {"from": place / len(n), "to": (place + 1) / len(n), "n": int(n[place]), "accuracy": float(accuracy[place]),
         "confidence": float(confidence[place])}
        for place in np.flatnonzero(n)
    ]  # fmt: skip
    ece, sure = metrics.expected_calibration_error(targets, probabilities), float(probabilities.max(axis=1).mean())
    right = float((probabilities.argmax(axis=1) == targets).mean())
    label = f"Reliability diagram: mean probability {sure:.2f}, accuracy {right:.2f}, ECE {ece:.3f}"
    chart = charts.reliability_chart(n, accuracy, confidence, label)
    return {"bins": bins, "ece": ece, "confidence": sure, "accuracy": right, "chart": chart}
