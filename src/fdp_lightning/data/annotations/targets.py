"""Targets of clips as text and as numbers: one class, or the action units shown, joined by '+'."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fdp_lightning.labels import JOIN, LabelKind


def names_of(targets: pd.Series, kind: LabelKind) -> pd.Series:
    """Return single class names under their clip's index label; a clip that shows several units has several rows."""
    return targets.str.split(JOIN, regex=False).explode() if kind.is_multi else targets


def target_numbers(targets: pd.Series, classes: Sequence[str], kind: LabelKind) -> np.ndarray:
    """Convert targets to the numbers a network learns; raises ValueError if one is not of these k classes.

    Class indices, int64, shape (n,); multi-label: 1 for each class shown, else 0, float32, shape (n, k).
    """
    if unknown := sorted(set(names_of(targets, kind)) - {*classes, *([""] if kind.is_multi else [])}):
        raise ValueError(f"targets {', '.join(unknown)} are not among the classes {', '.join(classes)}")
    if not kind.is_multi:
        return targets.map({name: i for i, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    shown = [set(target.split(JOIN)) for target in targets]
    return np.array([[name in names for name in classes] for names in shown], np.float32).reshape(-1, len(classes))


def class_counts(numbers: np.ndarray, n_classes: int) -> list[int]:
    """Return the number of clips of each class, from `target_numbers`."""
    if numbers.ndim == 2:
        return [int(n) for n in numbers.sum(axis=0, dtype=np.float64)]
    return [int(n) for n in np.bincount(numbers, minlength=n_classes)]
