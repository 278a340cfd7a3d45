"""A clip's target as text and as numbers: one class, or the action units it shows joined by '+'."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fdp_lightning.labels import JOIN, LabelKind


def names_of(targets: pd.Series, kind: LabelKind) -> pd.Series:
    """The single names, a row for each under its clip's label; a clip that shows several units has several rows."""
    return targets.str.split(JOIN, regex=False).explode() if kind.is_multi else targets


def target_numbers(targets: pd.Series, classes: Sequence[str], kind: LabelKind) -> np.ndarray:
    """What the network is to learn.

    Args:
        targets: text, n of them.
        classes: names in the order of the predictions' columns.
        kind: of the labels.

    Returns:
        Class numbers, int64, shape (n,); multi-label: 1 for each class that is shown, else 0, float32, shape (n, k).

    Raises:
        ValueError: a target is not of these classes.
    """
    if unknown := sorted(set(names_of(targets, kind)) - {*classes, *([""] if kind.is_multi else [])}):
        raise ValueError(f"targets {', '.join(unknown)} are not of the classes {', '.join(classes)}")
    if not kind.is_multi:
        return targets.map({name: i for i, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    shown = [set(target.split(JOIN)) for target in targets]
    return np.array([[name in names for name in classes] for names in shown], np.float32).reshape(-1, len(classes))


def class_counts(numbers: np.ndarray, n_classes: int) -> list[int]:
    """Clips of each class, from `target_numbers`."""
    if numbers.ndim == 2:
        return [int(n) for n in numbers.sum(axis=0, dtype=np.float64)]
    return [int(n) for n in np.bincount(numbers, minlength=n_classes)]
