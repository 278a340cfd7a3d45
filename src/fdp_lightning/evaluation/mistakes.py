"""The most confident mistakes of a run: where to look first for what the model gets wrong, or the annotation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.multi_label import label_kind_of, shown_units
from fdp_lightning.evaluation.predictions import PROBABILITY
from fdp_lightning.labels import LabelKind


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


def confident_mistakes(
    probabilities: np.ndarray,
    target: np.ndarray,
    decision: np.ndarray,
    label_kind: LabelKind = LabelKind.SINGLE,
    limit: int = 8,
) -> list[Mistake]:
    """Find the clips that are wrong with the highest probability of the wrong answer, one mistake per clip.

    With one label per clip the wrong answer is the class predicted. With several it is a single decision: a label
    held present that is absent (its probability is the confidence), or the reverse (1 − its probability).

    Args:
        probabilities: shape (n, K).
        target: True where the clip has the label, shape (n, K).
        decision: True where the label was predicted, shape (n, K).
        label_kind: MULTI labels are decided each for itself.
        limit: clips at most.

    Returns:
        The most confident first; clips of equal confidence in the order of the table.
    """
    wrong = decision != target if label_kind.is_multi else decision & ~target
    confidence = np.where(wrong, np.where(decision, probabilities, 1 - probabilities), -np.inf)
    label = confidence.argmax(axis=1)
    highest = confidence.max(axis=1)
    order = np.argsort(-highest, kind="stable")[: min(limit, int(wrong.any(axis=1).sum()))]
    return [Mistake(int(row), int(label[row]), float(highest[row])) for row in order]


def indicators(names: pd.Series, classes: Sequence[str], label_kind: LabelKind = LabelKind.SINGLE) -> np.ndarray:
    """Return True for the classes that each entry of a column `target` or `prediction` names, shape (n, K)."""
    if label_kind.is_multi:
        return shown_units(names, classes)[0]
    return names.to_numpy()[:, None] == np.array(classes, dtype=object)


def mistakes_of(table: pd.DataFrame, classes: Sequence[str]) -> list[Mistake]:
    """Return the most confident mistakes of the predictions of one selection."""
    label_kind = label_kind_of(table)
    return confident_mistakes(
        table[[PROBABILITY + name for name in classes]].to_numpy(),
        indicators(table["target"], classes, label_kind),
        indicators(table["prediction"], classes, label_kind),
        label_kind,
    )
