"""Scores: pure functions of targets and probabilities, or of confusion matrices, and the registry of them all.

A new score is one function of targets and probabilities and one `register`. Scores of decisions (which class, not how
sure) are functions of confusion matrices, batched over every leading dimension: leaving out one subject after the other
then costs next to nothing.

A confusion matrix holds counts, row = target, column = prediction, shape (..., C, C). Its classes are the
protocol's, whether or not they occur in the table. 0/0 counts as 0 throughout, and a class that no clip has
stays in the means with recall and F1 of 0: scikit-learn's numbers with `labels=range(C), zero_division=0`.

Of multi-label predictions each of K units has a matrix of its own, [[TN, FP], [FN, TP]], shape (..., K, 2, 2). The
functions named `unit_…` score these, and the same holds for them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fdp_lightning.labels import LabelKind

CountScore = Callable[[np.ndarray], np.ndarray]

RANKED_BY = ("uf1", "mean_f1")
"""The score that orders rows: macro-F1 over classes, or the mean F1 over labels."""


def confusion(
    target: np.ndarray, prediction: np.ndarray, n_classes: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Count (target, prediction) pairs of class positions, each (n,), with rows for targets, (C, C).

    With `groups`, a number of each clip from 0 on, (n,), each group has a matrix of its own, (G, C, C). ValueError if
    shapes differ, or a position is outside 0..C-1: a -1 would count as the last class.
    """
    target, prediction = np.asarray(target, dtype=np.int64), np.asarray(prediction, dtype=np.int64)
    if target.shape != prediction.shape or target.ndim != 1:
        raise ValueError(f"target and prediction must be two vectors of one length: {target.shape}, {prediction.shape}")
    for name, index in (("target", target), ("prediction", prediction)):
        if len(index) and (index.min() < 0 or index.max() >= n_classes):
            raise ValueError(f"{name} has a class outside 0..{n_classes - 1}")
    cells, size = target * n_classes + prediction, n_classes**2
    if groups is None:
        return np.bincount(cells, minlength=size).reshape(n_classes, n_classes)
    counts = np.bincount(groups * size + cells, minlength=size * (int(groups.max()) + 1))
    return counts.reshape(-1, n_classes, n_classes)


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


def unit_confusions(target: np.ndarray, prediction: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Count for each unit over the clips which show it and for which it is predicted, both bool, (n, K).

    Counts of shape (K, 2, 2), each [[TN, FP], [FN, TP]]; with G groups, see `confusion`, (G, K, 2, 2). ValueError if
    the shapes differ, or the values are no booleans: probabilities would be counted as shown.
    """
    target, prediction = np.asarray(target), np.asarray(prediction)
    if target.shape != prediction.shape or target.ndim != 2 or {target.dtype, prediction.dtype} != {np.dtype(bool)}:
        raise ValueError(f"two tables of booleans (n, K) expected: {target.shape} {target.dtype}, {prediction.shape}")
    units = target.shape[1]
    first = np.zeros((len(target), 1), dtype=np.int64) if groups is None else groups[:, None] * units
    places = first + np.arange(units)
    counts = confusion(target.ravel(), prediction.ravel(), 2, places.ravel())
    return counts if groups is None else counts.reshape(-1, units, 2, 2)


def unit_support(matrices: np.ndarray) -> np.ndarray:
    """Return the number of clips that show each unit, shape (..., K)."""
    return support(matrices)[..., 1]


def unit_f1(matrices: np.ndarray) -> np.ndarray:
    """Return 2 TP / (2 TP + FP + FN) per unit, shape (..., K)."""
    return f1(matrices)[..., 1]


def unit_accuracy(matrices: np.ndarray) -> np.ndarray:
    """Return the share of right decisions, a decision being one unit of one clip, shape (...)."""
    return accuracy(np.asarray(matrices).sum(axis=-3))


def mean_f1(matrices: np.ndarray) -> np.ndarray:
    """Return the unweighted mean over units of 2 TP / (2 TP + FP + FN), shape (...)."""
    return unit_f1(matrices).mean(axis=-1)


def auc_per_class(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each class against the rest, shape (C,).

    AUC of class c = P(p_c of one of its clips > p_c of another clip) + P(both equal) / 2, over all pairs of such clips
    (Hanley & McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve", Radiology
    143, 1982). NaN for a class that no clip, or every clip has. `targets` are class positions, shape (n,), or which
    units each clip shows, bool, shape (n, C), as are the probabilities.
    """
    shown = targets if targets.ndim == 2 else targets[:, None] == np.arange(probabilities.shape[1])
    areas = np.full(probabilities.shape[1], np.nan)
    for place in np.flatnonzero(shown.any(axis=0) & ~shown.all(axis=0)):
        own, rest = probabilities[shown[:, place], place], np.sort(probabilities[~shown[:, place], place])
        lower, not_higher = (np.searchsorted(rest, own, side).sum() for side in ("left", "right"))
        areas[place] = (lower + not_higher) / (2 * len(own) * len(rest))
    return areas


def auc(targets: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return the mean of `auc_per_class` over the classes present; None where there are none to tell apart."""
    areas = auc_per_class(targets, probabilities)
    return None if np.isnan(areas).all() else float(np.nanmean(areas))


def expected_calibration_error(targets: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Return by how much the confidence departs from the accuracy, 0 (calibrated) to 1.

    ECE = Σ_b n_b / n · |accuracy_b − confidence_b| over bins of equal width, ((b − 1) / bins, b / bins], of the
    confidence, which is the probability of the class predicted, the most probable one. accuracy_b and confidence_b are
    means over the n_b clips of a bin. (Naeini, Cooper & Hauskrecht, "Obtaining well calibrated probabilities using
    Bayesian binning", AAAI 2015; with 15 bins as in Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural
    networks", ICML 2017.) Of few clips it is biased upwards. `targets` are class positions, shape (n,), `probabilities`
    of shape (n, C).
    """
    n, accuracy_of, confidence_of = reliability(targets, probabilities, bins)
    return float((n * np.abs(accuracy_of - confidence_of)).sum() / len(targets))


def reliability(
    targets: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return clips, accuracy and confidence of each bin of `expected_calibration_error`, (bins,); 0 where empty."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    places = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    n, hits, sums = (np.bincount(places, weights=each, minlength=bins) for each in (None, right, confidence))
    return n, _ratio(hits, n), _ratio(sums, n)


@dataclass(frozen=True)
class Score:
    """A score of tables of predictions: how it is called and how it is computed, by one of two functions.

    `of_probabilities` takes targets (n,), or (n, K) of several labels per clip, and probabilities (n, C) → a fraction
    of 1, or None where these clips do not define it; `of_counts` takes confusion matrices, (…, C, C), or (…, K, 2, 2) →
    (…). `has_interval` is False where the jackknife over subjects does not estimate its error: no interval, no test.
    """

    title: str
    of_probabilities: Callable[[np.ndarray, np.ndarray], float | None] | None = None
    of_counts: CountScore | None = None
    has_interval: bool = True


SCORES: dict[str, Score] = {}
"""Every score of single-label predictions, in the order in which tables show them."""
UNIT_SCORES: dict[str, Score] = {}
"""Every score of multi-label predictions, in the order in which tables show them."""
SCORE_NAMES: dict[str, str] = {}
"""The title of every score."""


def register(name: str, score: Score, *registries: dict[str, Score]) -> None:
    """Make a score known to every table and file, by its name in files: in `SCORES`, `UNIT_SCORES`, or both."""
    for registry in registries:
        registry[name] = score
    SCORE_NAMES[name] = score.title


register("accuracy", Score("Accuracy", of_counts=accuracy), SCORES)
register("uf1", Score("UF1", of_counts=uf1), SCORES)
register("uar", Score("UAR", of_counts=uar), SCORES)
register("weighted_f1", Score("Weighted F1", of_counts=weighted_f1), SCORES)
register("accuracy", Score("Accuracy", of_counts=unit_accuracy), UNIT_SCORES)
register("mean_f1", Score("Mean F1", of_counts=mean_f1), UNIT_SCORES)
register("auc", Score("AUC", auc), SCORES, UNIT_SCORES)
# Absolute values over bins are biased and not smooth: leaving out one subject does not tell their error.
register("ece", Score("ECE", expected_calibration_error, has_interval=False), SCORES)


def score_functions(label_kind: LabelKind) -> Mapping[str, CountScore]:
    """Return by name the scores of tables shaped (…, C, C), or (…, K, 2, 2) for several labels per clip."""
    scores = UNIT_SCORES if label_kind.is_multi else SCORES
    return {name: score.of_counts for name, score in scores.items() if score.of_counts}


DECISION_SCORES = {name for kind in LabelKind for name in score_functions(kind)}
"""The names of all of them, of either kind of labels."""


def _hits(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(np.asarray(matrix), axis1=-2, axis2=-1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)
