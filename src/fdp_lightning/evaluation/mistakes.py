"""The most confident mistakes of a run: where to look first for what the model gets wrong, or the annotation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.multi_label import label_arrays, label_kind_of
from fdp_lightning.evaluation.predictions import PROBABILITY


@dataclass(frozen=True)
class Mistake:
    """One wrong answer.

    Attributes:
        row: the clip's place in the table.
        label: the place of the class that was wrongly answered, or wrongly held absent.
        confidence: the probability given to this wrong answer.
    """

    row: int
    label: int
    confidence: float


def mistakes_of(table: pd.DataFrame, classes: Sequence[str], limit: int = 8) -> list[Mistake]:
    """Find the clips of one selection that are wrong with the highest probability of the wrong answer, a mistake each.

    With one label per clip the wrong answer is the class predicted. With several it is a single decision: a label
    held present that is absent (its probability is the confidence), or the reverse (1 − its probability).

    Returns:
        The most confident first, `limit` at most; clips of equal confidence in the order of the table.
    """
    probabilities = table[[PROBABILITY + name for name in classes]].to_numpy()
    if label_kind_of(table).is_multi:
        target, decision = label_arrays(table, classes)
        wrong = decision != target
    else:
        target, decision = (
            table[name].to_numpy()[:, None] == np.array(classes, dtype=object) for name in ("target", "prediction")
        )
        wrong = decision & ~target
    confidence = np.where(wrong, np.where(decision, probabilities, 1 - probabilities), -np.inf)
    label = confidence.argmax(axis=1)
    highest = confidence.max(axis=1)
    order = np.argsort(-highest, kind="stable")[: min(limit, int(wrong.any(axis=1).sum()))]
    return [Mistake(int(row), int(label[row]), float(highest[row])) for row in order]
