"""The scores a table of runs can have, of one class per clip or of several labels (action units)."""

from collections.abc import Callable, Mapping

import numpy as np

from fdp_lightning.evaluation.metrics import SCORES, UNIT_SCORES

Score = Callable[[np.ndarray], np.ndarray]
Scores = Mapping[str, Score]

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


def score_functions(multi_label: bool) -> Scores:
    """The scores of tables shaped (…, C, C), or (…, K, 2, 2) for several labels per clip, by name."""
    return UNIT_SCORES if multi_label else SCORES
