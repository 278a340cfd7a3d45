"""The predictions of one selection as arrays, converted once from the table: what every score and interval is of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.metrics import SCORES, UNIT_SCORES, Score, confusion, unit_confusions
from fdp_lightning.evaluation.predictions import PROBABILITY, class_indices, label_arrays, label_kind_of
from fdp_lightning.labels import OWNER, LabelKind


@dataclass(frozen=True)
class Outcomes:
    """Targets, predictions and probabilities of n clips of S subjects.

    Attributes:
        classes: the protocol's C classes, in order.
        targets: class positions, shape (n,); of a multi-label table which units each clip shows, bool, shape (n, C).
        predictions: like the targets.
        probabilities: shape (n, C).
        subjects: position of each clip's subject in the order of (dataset, subject), shape (n,). Subjects of different
            datasets are different people, whatever their ids.
    """

    classes: tuple[str, ...]
    targets: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    subjects: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame, classes: Sequence[str]) -> "Outcomes":
        """Convert the rows of one selection.

        Raises:
            ValueError: rows of several selections, in which every clip would count more than once; or a target or a
                prediction is not made of these classes.
        """
        if table["selection"].nunique() != 1:
            raise ValueError("scores and intervals are of the predictions of exactly one selection")
        targets, predictions = (label_arrays if label_kind_of(table).is_multi else class_indices)(table, classes)
        probabilities = table[[PROBABILITY + name for name in classes]].to_numpy()
        subjects = table.groupby(OWNER).ngroup().to_numpy()
        return cls(tuple(classes), targets, predictions, probabilities, subjects)

    @property
    def label_kind(self) -> LabelKind:
        """Kind of the labels, told by the shape of the targets."""
        return LabelKind.of_flag(self.targets.ndim == 2)

    @property
    def registry(self) -> Mapping[str, Score]:
        """The scores there are of such predictions."""
        return UNIT_SCORES if self.label_kind.is_multi else SCORES

    @cached_property
    def counts(self) -> np.ndarray:
        """Confusion matrices of the subjects, shape (S, C, C); of a multi-label table (S, K, 2, 2)."""
        if self.label_kind.is_multi:
            return unit_confusions(self.targets, self.predictions, self.subjects)
        return confusion(self.targets, self.predictions, len(self.classes), self.subjects)

    @cached_property
    def total(self) -> np.ndarray:
        """Confusion matrix of all clips, shape (C, C); of a multi-label table one per unit, (K, 2, 2)."""
        return self.counts.sum(axis=0)

    def scores(self) -> dict[str, float]:
        """Compute every score that these clips define."""
        found = {name: self.score(score) for name, score in self.registry.items()}
        return {name: value for name, value in found.items() if value is not None}

    def score(self, score: Score, without: int | None = None) -> float | None:
        """Compute one score, of all clips or, of probabilities alone, of those of all subjects but one."""
        if score.of_counts:
            return float(score.of_counts(self.total))
        kept = slice(None) if without is None else self.subjects != without
        assert score.of_probabilities
        return score.of_probabilities(self.targets[kept], self.probabilities[kept])
