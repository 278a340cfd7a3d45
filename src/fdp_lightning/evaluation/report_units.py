"""The report's sections on the scores of multi-label runs: names, rules, and a row per action unit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.evaluation import metrics
from fdp_lightning.evaluation.multi_label import label_arrays

UNIT_FLOOR_NAMES = {"constant": "constant", "majority": "majority answer", "chance": "chance"}
UNIT_FLOOR_NOTES = {
    "constant": "baseline: every unit, whatever the clip",
    "majority": "baseline: each unit’s more frequent answer",
    "chance": "baseline",
}
UNIT_RULES = {
    "constant": "answering that every clip shows every unit: what a mean F1 has to beat.",
    "majority": "answering for each unit what more clips have, mostly that it is not shown: what an accuracy has "
    "to beat.",
    "chance": "saying of every unit that it is shown with probability 1/2 (expected scores).",
}


def unit_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return counts and scores of each action unit, as `last` predicts it, with the F1 of the constant baseline."""
    last, constant = summary["selections"]["last"], summary["floors"]["constant"]["f1"]
    matrices = np.array([last["confusion"][name] for name in summary["classes"]])
    columns = {
        "n": metrics.unit_support(matrices),
        "tp": matrices[:, 1, 1],
        "fp": matrices[:, 0, 1],
        "fn": matrices[:, 1, 0],
        "tn": matrices[:, 0, 0],
        "precision": metrics.unit_precision(matrices),
        "recall": metrics.unit_recall(matrices),
        "f1": metrics.unit_f1(matrices),
    }
    return [
        {
            "name": name,
            "interval": last["ci95"]["f1"][name],
            "floor": constant[name],
            "auc": last["unit_auc"].get(name),
            **{key: values[place].item() for key, values in columns.items()},
        }
        for place, name in enumerate(summary["classes"])
    ]


def right_decisions(part: pd.DataFrame, classes: Sequence[str]) -> tuple[np.ndarray, int]:
    """Return the number of right decisions of each clip, shape (n,), and the number of decisions per clip."""
    target, prediction = label_arrays(part, classes)
    return (target == prediction).sum(axis=1), len(classes)
