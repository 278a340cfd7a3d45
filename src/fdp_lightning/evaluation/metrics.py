"""Scores from confusion matrices: pure functions, batched over every leading dimension.

A confusion matrix holds counts, row = target, column = prediction, shape (..., C, C). Its classes are the
protocol's, whether or not they occur in the table. 0/0 counts as 0 throughout, and a class that no clip has
stays in the means with recall and F1 of 0: scikit-learn's numbers with `labels=range(C), zero_division=0`.

Of multi-label predictions each of K units has a matrix of its own, [[TN, FP], [FN, TP]], shape (..., K, 2, 2). The
functions named `unit_…` score these, and the same holds for them.
"""

from collections.abc import Callable

import numpy as np


def confusion(target: np.ndarray, prediction: np.ndarray, n_classes: int) -> np.ndarray:
    """Count (target, prediction) pairs.

    Args:
        target: class positions, shape (n,).
        prediction: class positions, shape (n,).
        n_classes: C.

    Returns:
        Counts of shape (C, C), row = target.

    Raises:
        ValueError: the shapes differ, or a position is outside 0..C-1: a -1 would count as the last class.
    """
    target, prediction = np.asarray(target, dtype=np.int64), np.asarray(prediction, dtype=np.int64)
    if target.shape != prediction.shape or target.ndim != 1:
        raise ValueError(f"target and prediction must be two vectors of one length: {target.shape}, {prediction.shape}")
    for name, index in (("target", target), ("prediction", prediction)):
        if len(index) and (index.min() < 0 or index.max() >= n_classes):
            raise ValueError(f"{name} has a class outside 0..{n_classes - 1}")
    return np.bincount(target * n_classes + prediction, minlength=n_classes**2).reshape(n_classes, n_classes)


def support(matrix: np.ndarray) -> np.ndarray:
    """Return the number of clips per target class, shape (..., C)."""
    return np.asarray(matrix).sum(axis=-1)


def recall(matrix: np.ndarray) -> np.ndarray:
    """Return TP / (TP + FN) per class, shape (..., C)."""
    return _ratio(_hits(matrix), support(matrix))


def precision(matrix: np.ndarray) -> np.ndarray:
    """Return TP / (TP + FP) per class, shape (..., C)."""
    return _ratio(_hits(matrix), np.asarray(matrix).sum(axis=-2))


def f1(matrix: np.ndarray) -> np.ndarray:
    """Return 2 TP / (2 TP + FP + FN) per class, shape (..., C)."""
    # 2 TP + FP + FN is the row sum plus the column sum.
    return _ratio(2 * _hits(matrix), support(matrix) + np.asarray(matrix).sum(axis=-2))


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Return the share of clips predicted as their target, shape (...)."""
    return _ratio(_hits(matrix).sum(axis=-1), np.asarray(matrix).sum(axis=(-2, -1)))


def uf1(matrix: np.ndarray) -> np.ndarray:
    """Return the unweighted F1 (macro-F1): mean over classes of 2 TP / (2 TP + FP + FN), shape (...)."""
    return f1(matrix).mean(axis=-1)


def uar(matrix: np.ndarray) -> np.ndarray:
    """Return the unweighted average recall: mean over classes of TP / (TP + FN), shape (...)."""
    return recall(matrix).mean(axis=-1)


def weighted_f1(matrix: np.ndarray) -> np.ndarray:
    """Return the mean of the classes' F1 weighted by their numbers of clips, shape (...)."""
    clips = support(matrix)
    return _ratio((f1(matrix) * clips).sum(axis=-1), clips.sum(axis=-1))


# Every score of the project, in the order in which tables print them.
SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": accuracy,
    "uf1": uf1,
    "uar": uar,
    "weighted_f1": weighted_f1,
}


def unit_confusions(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Count for each unit over the clips which show it and for which it is predicted.

    Args:
        target: bool, shape (n, K).
        prediction: bool, shape (n, K).

    Returns:
        Counts of shape (K, 2, 2), each [[TN, FP], [FN, TP]].

    Raises:
        ValueError: the shapes differ, or the values are no booleans: probabilities would be counted as shown.
    """
    target, prediction = np.asarray(target), np.asarray(prediction)
    if target.shape != prediction.shape or target.ndim != 2 or {target.dtype, prediction.dtype} != {np.dtype(bool)}:
        raise ValueError(f"two tables of booleans (n, K) expected: {target.shape} {target.dtype}, {prediction.shape}")
    answers = np.stack([~prediction, prediction], axis=-1).astype(np.int64)
    kinds = np.stack([~target, target], axis=-1).astype(np.int64)
    return np.einsum("nki,nkj->kij", kinds, answers)


def unit_support(matrices: np.ndarray) -> np.ndarray:
    """Return the number of clips that show each unit, shape (..., K)."""
    return support(matrices)[..., 1]


def unit_precision(matrices: np.ndarray) -> np.ndarray:
    """Return TP / (TP + FP) per unit, shape (..., K)."""
    return precision(matrices)[..., 1]


def unit_recall(matrices: np.ndarray) -> np.ndarray:
    """Return TP / (TP + FN) per unit, shape (..., K)."""
    return recall(matrices)[..., 1]


def unit_f1(matrices: np.ndarray) -> np.ndarray:
    """Return 2 TP / (2 TP + FP + FN) per unit, shape (..., K)."""
    return f1(matrices)[..., 1]


def unit_accuracy(matrices: np.ndarray) -> np.ndarray:
    """Return the share of right decisions, a decision being one unit of one clip, shape (...)."""
    return accuracy(np.asarray(matrices).sum(axis=-3))


def mean_f1(matrices: np.ndarray) -> np.ndarray:
    """Return the unweighted mean over units of 2 TP / (2 TP + FP + FN), shape (...)."""
    return unit_f1(matrices).mean(axis=-1)


# Every score of multi-label predictions, from matrices of shape (..., K, 2, 2).
UNIT_SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"accuracy": unit_accuracy, "mean_f1": mean_f1}


def _hits(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(np.asarray(matrix), axis1=-2, axis2=-1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)
