"""Uncertainty: a bootstrap over subjects.

Clips of one subject share a face, a recording session and a fold's model, so they are not independent draws;
the subject is. Resampling clips would give intervals that are too narrow.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.metrics import (
    SCORES,
    UNIT_SCORES,
    confusion,
    unit_confusions,
    unit_f1,
)
from fdp_lightning.evaluation.multi_label import is_multi_label, label_arrays
from fdp_lightning.evaluation.predictions import class_indices

LEVEL = 0.95
# At 10,000 the Monte-Carlo error of a bound is a tenth of a point or less, and p-values go down to 2e-4.
RESAMPLES = 10_000
# Drawing stops here: below one usable resample in fifty the table cannot carry an interval.
MAX_ROUNDS = 50


def counted(predictions: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Return the confusion matrix of all rows, shape (C, C); of a multi-label table one per unit, (K, 2, 2)."""
    if is_multi_label(predictions):
        return unit_confusions(*label_arrays(predictions, classes))
    return confusion(*class_indices(predictions, classes), len(classes))


def subject_confusions(predictions: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Return `counted` of each subject, shape (S, C, C) or (S, K, 2, 2), sorted by (dataset, subject).

    Subjects of different datasets are different people, whatever their ids.
    """
    groups = predictions.groupby(["dataset", "subject"], sort=True).indices
    return np.stack([counted(predictions.iloc[rows], classes) for rows in groups.values()])


def resample(matrices: np.ndarray, resamples: int, seed: int) -> np.ndarray | None:
    """Draw tables of S subjects with replacement, each as its confusion matrix.

    A resample that lacks a class the table has is drawn again: its macro scores would mean over a class
    without clips, and a rare class would push the lower bound down by up to 1/C for no error of the model's
    (ours). Of multi-label tables the classes are each unit's two, shown and not shown: a resample has clips of
    both where the table does.

    Several runs are resampled together by putting them between the axes: every draw takes the same subjects from
    all of them, which is what makes a comparison paired.

    Args:
        matrices: one confusion matrix per subject, shape (S, C, C), or (S, …, C, C) for several tables at once.
        resamples: R.
        seed: of the generator; the same seed draws the same subjects.

    Returns:
        Counts of shape (R, C, C) or (R, …, C, C); None for a single subject, or where classes hang on so few
        subjects that fewer than one draw in fifty holds them all.
    """
    subjects = len(matrices)
    if subjects < 2:
        return None
    generator = np.random.default_rng(seed)
    present = matrices.sum(axis=(0, -1)) > 0
    flat = matrices.reshape(subjects, -1).astype(np.float64)  # BLAS multiplies floats only; these stay whole numbers
    drawn: list[np.ndarray] = []
    for _ in range(MAX_ROUNDS):
        counts = generator.multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples)
        tables = (counts.astype(np.float64) @ flat).astype(np.int64).reshape(resamples, *matrices.shape[1:])
        drawn.append(tables[(tables.sum(axis=-1)[:, present] > 0).all(axis=1)])
        if sum(map(len, drawn)) >= resamples:
            return np.concatenate(drawn)[:resamples]
    return None


def subject_bootstrap(
    predictions: pd.DataFrame, classes: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Compute the 95 % percentile interval of every score, resampling subjects with replacement.

    Reference: Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 13; our unit is the subject.

    Args:
        predictions: the rows of one selection.
        classes: the protocol's classes, in order.
        resamples: number of resampled tables.
        seed: of the resampling.

    Returns:
        `{"uf1": [low, high], …}`, or None in place of a pair where no interval can be given (see `resample`). Of a
        multi-label table `{"accuracy": …, "mean_f1": …, "f1": {unit: [low, high], …}}`, all from the same resamples.

    Raises:
        ValueError: rows of several selections, in which every clip would count more than once.
    """
    if predictions["selection"].nunique() != 1:
        raise ValueError("the bootstrap takes the predictions of exactly one selection")
    tables = resample(subject_confusions(predictions, classes), resamples, seed)
    if not is_multi_label(predictions):
        return {name: _interval(None if tables is None else score(tables)) for name, score in SCORES.items()}
    intervals = {name: _interval(None if tables is None else score(tables)) for name, score in UNIT_SCORES.items()}
    of_unit = [None] * len(classes) if tables is None else list(unit_f1(tables).T)
    return intervals | {"f1": dict(zip(classes, map(_interval, of_unit), strict=True))}


def _interval(values: np.ndarray | None) -> list[float] | None:
    return None if values is None else percentile_interval(values)


def percentile_interval(values: np.ndarray) -> list[float]:
    """Return the bounds between which the middle 95 % of resampled values, shape (R,), lie."""
    return [float(bound) for bound in np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]
