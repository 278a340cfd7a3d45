"""The scores that are functions of confusion matrices alone, and the one of them that ranks."""

from collections.abc import Callable, Mapping

import numpy as np

from fdp_lightning.evaluation.metrics import SCORE_NAMES as SCORE_NAMES
from fdp_lightning.evaluation.metrics import SCORES, UNIT_SCORES
from fdp_lightning.labels import LabelKind

CountScore = Callable[[np.ndarray], np.ndarray]

RANKED_BY = ("uf1", "mean_f1")
"""The score that orders rows: macro-F1 over classes, or the mean F1 over labels."""


def score_functions(label_kind: LabelKind) -> Mapping[str, CountScore]:
    """Return the scores of tables shaped (…, C, C), or (…, K, 2, 2) for several labels per clip, by name."""
    scores = UNIT_SCORES if label_kind.is_multi else SCORES
    return {name: score.of_counts for name, score in scores.items() if score.of_counts}


DECISION_SCORES = {name for kind in LabelKind for name in score_functions(kind)}
"""The names of all of them, of either kind of labels."""
