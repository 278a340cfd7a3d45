"""Scores: pure functions of targets and probabilities, or of confusion matrices, and the registry of all scores.

A new score takes one function of targets and probabilities and one call of `register`. Scores of decisions (which
class, not how confidently) are functions of confusion matrices, batched over all leading dimensions, so that leaving
out one subject at a time costs next to nothing.

A confusion matrix holds counts, row = target, column = prediction, shape (..., C, C). Its classes are the
protocol's, whether or not they occur in the table. 0/0 counts as 0 throughout, and a class without clips
stays in the means with recall and F1 of 0, as in scikit-learn with `labels=range(C), zero_division=0`.

In multi-label predictions each of K units has its own matrix, [[TN, FP], [FN, TP]], shape (..., K, 2, 2). The
functions named `unit_…` score these by the same rules.
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
    """Count pairs of target and prediction, class indices of shape (n,); a row is a target, (C, C).

    With `groups`, the group index of each clip, (n,), each group has its own matrix, (G, C, C). ValueError if shapes
    differ, or an index is outside 0..C-1: -1 would count as the last class.
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
    """Count, for each unit, the clips that show it (`target`) and those predicted to (`prediction`), both bool, (n, K).

    Returns [[TN, FP], [FN, TP]] per unit, (K, 2, 2); with G groups, see `confusion`, (G, K, 2, 2).
    """
    of_units = zip(target.T, prediction.T, strict=True)
    return np.stack([confusion(*of_unit, 2, groups) for of_unit in of_units], axis=-3)


def unit_support(matrices: np.ndarray) -> np.ndarray:
    """Return the number of clips that show each unit, shape (..., K)."""
    return support(matrices)[..., 1]


def unit_f1(matrices: np.ndarray) -> np.ndarray:
    """Return 2 TP / (2 TP + FP + FN) per unit, shape (..., K)."""
    return f1(matrices)[..., 1]


def unit_accuracy(matrices: np.ndarray) -> np.ndarray:
    """Return the share of correct decisions, one per clip and unit, shape (...)."""
    return accuracy(np.asarray(matrices).sum(axis=-3))


def mean_f1(matrices: np.ndarray) -> np.ndarray:
    """Return the unweighted mean over units of 2 TP / (2 TP + FP + FN), shape (...)."""
    return unit_f1(matrices).mean(axis=-1)


def auc_per_class(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each class against the rest, shape (C,).

    AUC of class c = P(p_c of one of its clips > p_c of another clip) + P(both equal) / 2, over all pairs of such clips
    (Hanley & McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve", Radiology
    143, 1982). NaN for a class that no clip or every clip has. `targets` are class indices, shape (n,), or the units
    that each clip shows, bool, shape (n, C); `probabilities` have shape (n, C).
    """
    shown = targets if targets.ndim == 2 else targets[:, None] == np.arange(probabilities.shape[1])
    areas = np.full(probabilities.shape[1], np.nan)
    for place in np.flatnonzero(shown.any(axis=0) & ~shown.all(axis=0)):
        own, rest = probabilities[shown[:, place], place], np.sort(probabilities[~shown[:, place], place])
        lower, not_higher = (np.searchsorted(rest, own, side).sum() for side in ("left", "right"))
        areas[place] = (lower + not_higher) / (2 * len(own) * len(rest))
    return areas


def auc(targets: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return the mean of `auc_per_class` over the classes present; None if no class has an area."""
    areas = auc_per_class(targets, probabilities)
    return None if np.isnan(areas).all() else float(np.nanmean(areas))


def expected_calibration_error(targets: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Return the mean difference between confidence and accuracy, 0 (calibrated) to 1.

    ECE = Σ_b n_b / n · |accuracy_b − confidence_b| over bins of equal width, ((b − 1) / bins, b / bins], of the
    confidence, which is the probability of the predicted, most probable class. accuracy_b and confidence_b are means
    over the n_b clips of a bin. (Naeini, Cooper & Hauskrecht, "Obtaining well calibrated probabilities using
    Bayesian binning", AAAI 2015; with 15 bins as in Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural
    networks", ICML 2017.) It is biased upwards for few clips. `targets` are class indices, shape (n,);
    `probabilities` have shape (n, C).
    """
    n, accuracy_of, confidence_of = reliability(targets, probabilities, bins)
    return float((n * np.abs(accuracy_of - confidence_of)).sum() / len(targets))


def reliability(
    targets: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return number of clips, accuracy and confidence per bin of the calibration error, (bins,); 0 in empty bins."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    places = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    n, hits, sums = (np.bincount(places, weights=each, minlength=bins) for each in (None, right, confidence))
    return n, _ratio(hits, n), _ratio(sums, n)


@dataclass(frozen=True)
class Score:
    """A score of predictions and the function that computes it, one of two kinds.

    Attributes:
        title: title for readers.
        of_probabilities: function of targets, (n,), or (n, K) with several labels per clip, and probabilities, (n, C);
            returns a fraction of 1, or None if these clips do not define the score.
        of_counts: function of confusion matrices, (…, C, C) or (…, K, 2, 2); returns scores, (…).
        has_interval: False if the jackknife over subjects cannot estimate the error: no interval and no test.
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
    """Add a score, under its name in files, to `SCORES`, `UNIT_SCORES` or both; every table and file then has it."""
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
# Absolute values over bins are biased and not smooth, so the jackknife cannot estimate their error.
register("ece", Score("ECE", expected_calibration_error, has_interval=False), SCORES)


def score_functions(label_kind: LabelKind) -> Mapping[str, CountScore]:
    """Return, by name, the scores of confusion matrices, (…, C, C), or (…, K, 2, 2) for several labels per clip."""
    scores = UNIT_SCORES if label_kind.is_multi else SCORES
    return {name: score.of_counts for name, score in scores.items() if score.of_counts}


DECISION_SCORES = {name for kind in LabelKind for name in score_functions(kind)}
"""Names of all scores of decisions, for both kinds of labels."""


def _hits(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(np.asarray(matrix), axis1=-2, axis2=-1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)
