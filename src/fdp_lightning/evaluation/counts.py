"""What a run is scored from, whatever its kind: counts per subject, and the scores that are functions of them.

One class per clip: a confusion matrix, shape (C, C). Several labels per clip (action units): one 2 × 2 matrix per
label, [[TN, FP], [FN, TP]], shape (K, 2, 2).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.bootstrap import subject_confusions
from fdp_lightning.evaluation.metrics import SCORES, f1

Scores = Mapping[str, Callable[[np.ndarray], np.ndarray]]

SCORE_NAMES = {
    "accuracy": "Accuracy",
    "uf1": "UF1",
    "uar": "UAR",
    "weighted_f1": "Weighted F1",
    "mean_f1": "Mean F1",
}
"""Every score a table of runs can have, in the order of its columns."""

RANKED_BY = ("uf1", "mean_f1")
"""The score that orders rows: macro-F1 over classes, or the mean F1 over labels."""


def subject_counts(predictions: pd.DataFrame, classes: Sequence[str], multi_label: bool) -> np.ndarray:
    """Count per subject, sorted by (dataset, subject); shape (S, C, C), or (S, K, 2, 2) for several labels per clip.

    Args:
        predictions: the rows of one selection.
        classes: in protocol order.
        multi_label: whether target and prediction are names joined by '+'.
    """
    if not multi_label:
        return subject_confusions(predictions, classes)
    target, prediction = (_shown(predictions[name], classes) for name in ("target", "prediction"))
    kinds = 2 * target + prediction  # TN, FP, FN, TP
    each = (kinds[..., None] == np.arange(4)).reshape(*kinds.shape, 2, 2)
    groups = predictions.groupby(["dataset", "subject"], sort=True).indices
    return np.stack([each[rows].sum(axis=0) for rows in groups.values()])


def score_functions(multi_label: bool) -> Scores:
    """The scores of tables shaped (…, C, C), or (…, K, 2, 2) for several labels per clip, by name."""
    return {"accuracy": _decisions_right, "mean_f1": _mean_f1} if multi_label else SCORES


def _shown(names: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """Whether each clip has each label, shape (n, K)."""
    sets = [set(text.split("+")) for text in names]
    return np.array([[name in labels for name in classes] for labels in sets], dtype=np.int64)


def _decisions_right(matrix: np.ndarray) -> np.ndarray:
    """The share of right (clip, label) decisions."""
    right = np.trace(matrix, axis1=-2, axis2=-1).sum(axis=-1)
    return np.asarray(right / np.maximum(matrix.sum(axis=(-3, -2, -1)), 1))


def _mean_f1(matrix: np.ndarray) -> np.ndarray:
    """The unweighted mean over labels of 2 TP / (2 TP + FP + FN)."""
    return np.asarray(f1(matrix)[..., 1].mean(axis=-1))
