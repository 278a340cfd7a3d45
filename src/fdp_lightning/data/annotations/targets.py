"""A clip's target as text and as numbers: one class, or the action units it shows joined by '+'."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

JOIN = "+"
"""Between the names of a multi-label target, which come in the protocol's order; '' is a clip that shows none."""


def is_multi_label(column: str) -> bool:
    """Whether a protocol by this column of the annotation may give a clip several classes, or none."""
    return column == "action_units"


def names_of(targets: pd.Series, multi_label: bool) -> pd.Series:
    """The single names, a row for each under its clip's label; a clip that shows several units has several rows."""
    return targets.str.split(JOIN, regex=False).explode() if multi_label else targets


def target_numbers(targets: pd.Series, classes: Sequence[str], multi_label: bool) -> np.ndarray:
    """What the network is to learn.

    Args:
        targets: text, n of them.
        classes: names in the order of the predictions' columns.
        multi_label: see `is_multi_label`.

    Returns:
        Class numbers, int64, shape (n,); multi-label: 1 for each class that is shown, else 0, float32, shape (n, k).

    Raises:
        ValueError: a target is not of these classes.
    """
    if unknown := sorted(set(names_of(targets, multi_label)) - {*classes, *([""] if multi_label else [])}):
        raise ValueError(f"targets {', '.join(unknown)} are not of the classes {', '.join(classes)}")
    if not multi_label:
        return targets.map({name: i for i, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    shown = [set(target.split(JOIN)) for target in targets]
    return np.array([[name in names for name in classes] for names in shown], np.float32).reshape(-1, len(classes))


def class_counts(numbers: np.ndarray, n_classes: int) -> list[int]:
    """Clips of each class, from `target_numbers`."""
    if numbers.ndim == 2:
        return [int(n) for n in numbers.sum(axis=0, dtype=np.float64)]
    return [int(n) for n in np.bincount(numbers, minlength=n_classes)]
