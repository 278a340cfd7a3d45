"""Uncertainty: a bootstrap over subjects.

Clips of one subject share a face, a recording session and a fold's model, so they are not independent draws;
the subject is. Resampling clips would give intervals that are too narrow.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.metrics import SCORES, confusion
from fdp_lightning.evaluation.predictions import class_indices

LEVEL = 0.95
# At 10,000 the Monte-Carlo error of a bound is a tenth of a point or less, and p-values go down to 2e-4.
RESAMPLES = 10_000
# Drawing stops here: below one usable resample in fifty the table cannot carry an interval.
MAX_ROUNDS = 50


def subject_confusions(predictions: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Return one confusion matrix per subject, shape (S, C, C), sorted by (dataset, subject).

    Subjects of different datasets are different people, whatever their ids.
    """
    target, prediction = class_indices(predictions, classes)
    groups = predictions.groupby(["dataset", "subject"], sort=True).indices
    return np.stack([confusion(target[rows], prediction[rows], len(classes)) for rows in groups.values()])


def resample(matrices: np.ndarray, resamples: int, seed: int) -> np.ndarray | None:
    """Draw tables of S subjects with replacement, each as its confusion matrix.

    A resample that lacks a class the table has is drawn again: its macro scores would mean over a class
    without clips, and a rare class would push the lower bound down by up to 1/C for no error of the model's
    (ours).

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
) -> dict[str, list[float] | None]:
    """Compute the 95 % percentile interval of every score, resampling subjects with replacement.

    Reference: Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 13; our unit is the subject.

    Args:
        predictions: the rows of one selection.
        classes: the protocol's classes, in order.
        resamples: number of resampled tables.
        seed: of the resampling.

    Returns:
        `{"uf1": [low, high], …}`, or None in place of a pair where no interval can be given (see `resample`).

    Raises:
        ValueError: rows of several selections, in which every clip would count more than once.
    """
    if predictions["selection"].nunique() != 1:
        raise ValueError("the bootstrap takes the predictions of exactly one selection")
    tables = resample(subject_confusions(predictions, classes), resamples, seed)
    if tables is None:
        return dict.fromkeys(SCORES)
    return {name: percentile_interval(score(tables)) for name, score in SCORES.items()}


def percentile_interval(values: np.ndarray) -> list[float]:
    """Return the bounds between which the middle 95 % of resampled values, shape (R,), lie."""
    return [float(bound) for bound in np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]
