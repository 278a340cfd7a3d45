"""Uncertainty: a jackknife over subjects, for the interval of a score and for the difference between two runs.

Clips of one subject share a face, a recording session and a fold's model, so subjects are independent samples and clips
are not. Treating clips as independent yields intervals that are too narrow, and McNemar's test, common in this field,
finds differences where there are none. benchmarks/interval_coverage.py measures both (table in README.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit, stdtr, stdtrit  # scipy.stats takes a second to import for the same functions

from fdp_lightning.evaluation.metrics import CountScore, Score, unit_f1
from fdp_lightning.evaluation.predictions import Outcomes

LEVEL = 0.95
_NOTHING = 1e-12  # differences below this are floating-point differences between equal scores


@dataclass(frozen=True)
class Estimate:
    """A score, or difference of scores, over all clips; its standard error over subjects and its degrees of freedom."""

    value: float
    error: float
    freedom: float
    subjects: int

    @property
    def interval(self) -> list[float]:
        """Return the 95 % interval of an unbounded value: value ± t · error."""
        half = self._quantile * self.error
        return [self.value - half, self.value + half]

    @property
    def interval_of_share(self) -> list[float]:
        """Return the 95 % interval of a value between 0 and 1, computed on the log-odds scale."""
        if self.error == 0 or not 0 < self.value < 1:
            return [self.value, self.value]
        half = self._quantile * self.error / (self.value * (1 - self.value))
        return [float(bound) for bound in expit(logit(self.value) + np.array([-half, half]))]

    @property
    def p(self) -> float:
        """Return the two-sided p-value for a true value of 0; below 0.05 if `interval` excludes 0.

        Never below 2 / 2^S, the smallest p-value of a sign test with S subjects, which exceeds 0.05 for fewer than six.
        """
        if self.value == 0:
            return 1.0
        tails = 2 * float(stdtr(self.freedom, -abs(self.value) / self.error)) if self.error else 0.0
        return max(tails, 2.0 ** (1 - self.subjects))

    @property
    def _quantile(self) -> float:
        return float(stdtrit(self.freedom, (1 + LEVEL) / 2))


def jackknife(matrices: np.ndarray, score: CountScore) -> Estimate | None:
    """Estimate the standard error of a score by leaving out one subject at a time.

    With θ(i) the score without subject i: error² = (S − 1) / S · Σ (θ(i) − mean of θ(i))² (Efron & Tibshirani, "An
    Introduction to the Bootstrap", 1993, ch. 11). There are S − 1 degrees of freedom if all subjects have
    equally many clips. If a few have most of the clips, these few determine both score and error, so S is replaced by
    the effective number of subjects (Σ n)² / Σ n², n the clips of each (Kish, "Survey Sampling", 1965). Using it here
    is our choice, made by simulation.

    A subject cannot be left out if a class (for a unit: shown, or not shown) would have no clips without it: the score
    would drop although the model made no error. Mean and sum are then over the other subjects. None for a single
    subject, or if fewer than two can be left out.

    Args:
        matrices: counts per subject, shape (S, …, C, C); further axes are several runs over the same clips, or units.
        score: function of summed counts, shape (L, …, C, C) → (L,).
    """
    whole, possible = matrices.sum(axis=0), _can_be_left_out(matrices)
    if possible.sum() < 2:
        return None
    return _estimate(float(score(whole[None])[0]), score((whole - matrices)[possible]), _clips(matrices))


def estimate(runs: Sequence[Outcomes], score: Score, combine: Callable[[np.ndarray], np.ndarray]) -> Estimate | None:
    """Estimate a combination of the scores of several `runs`, one selection of each, over the same clips.

    `combine` maps the runs' scores, (…, runs) → (…), to their mean or a difference. None if `jackknife` returns None,
    and for a score that has no interval.
    """
    if score.of_counts is not None:
        of_counts = score.of_counts
        return jackknife(np.stack([run.counts for run in runs], axis=1), lambda counts: combine(of_counts(counts)))
    matrices = runs[0].counts
    possible = np.flatnonzero(_can_be_left_out(matrices))
    if not score.has_interval or len(possible) < 2:
        return None
    whole, *without = ([run.score(score, subject) for run in runs] for subject in (None, *possible))
    if None in whole:
        return None
    return _estimate(float(combine(np.array(whole))), combine(np.array(without)), _clips(matrices))


def _can_be_left_out(matrices: np.ndarray) -> np.ndarray:
    """Return True for each subject without whom every class that has clips still has some, shape (S,)."""
    whole = matrices.sum(axis=0)
    return ((whole - matrices).sum(axis=-1)[:, whole.sum(axis=-1) > 0] > 0).all(axis=1)


def _clips(matrices: np.ndarray) -> np.ndarray:
    return matrices.reshape(len(matrices), -1).sum(axis=1)


def clip_mean_interval(values: np.ndarray, owners: np.ndarray) -> list[float] | None:
    """Compute the 95 % interval over subjects of a mean over clips, see `jackknife`; None for fewer than two subjects.

    `values` are finite; `owners` are the clips' subjects, as numbers; both (n,).
    """
    _, own = np.unique(owners, return_inverse=True)
    clips = np.bincount(own)
    if len(clips) < 2:
        return None
    totals = np.bincount(own, weights=values)
    without = (totals.sum() - totals) / (clips.sum() - clips)
    return _estimate(float(totals.sum() / clips.sum()), without, clips).interval


def _estimate(value: float, without: np.ndarray, clips: np.ndarray) -> Estimate:
    """Estimate from the value over all clips, the values without one subject each, and the clips of each subject."""
    subjects, clips = len(clips), clips.astype(np.float64)
    error = float(np.sqrt((subjects - 1) * np.square(without - without.mean()).mean()))
    freedom = max(1.0, float(clips.sum() ** 2 / np.square(clips).sum() - 1))
    value, error = (0.0 if abs(one) < _NOTHING else one for one in (value, error))
    return Estimate(value, error, freedom, subjects)


def mean_interval(runs: Sequence[Outcomes]) -> dict[str, list[float] | None]:
    """Compute the 95 % interval over subjects of each score's mean over runs, the seeds of a variant on the same clips.

    None replaces an interval that cannot be estimated (see `jackknife`); scores that never have one are left out.
    """
    return {
        name: share_interval(estimate(runs, score, lambda values: values.mean(axis=-1)))
        for name, score in runs[0].registry.items()
        if score.has_interval
    }


def subject_intervals(outcomes: Outcomes) -> dict[str, Any]:
    """Compute the 95 % interval of every score, as `mean_interval` does; for action units also of each unit's F1."""
    intervals: dict[str, Any] = mean_interval([outcomes])
    if outcomes.label_kind.is_multi:
        matrices, units = outcomes.counts, outcomes.classes
        of_unit = [jackknife(matrices[:, [k]], lambda counts: unit_f1(counts)[..., 0]) for k in range(len(units))]
        intervals["f1"] = dict(zip(units, map(share_interval, of_unit), strict=True))
    return intervals


def share_interval(found: Estimate | None) -> list[float] | None:
    """Return the interval of a score between 0 and 1; None without an estimate."""
    return None if found is None else found.interval_of_share


@dataclass(frozen=True)
class Difference:
    """A score of run b minus that of run a, as a fraction of 1; `ci95` is None if it cannot be estimated."""

    value: float
    ci95: list[float] | None
    p: float | None


def compare_outcomes(a: Sequence[Outcomes], b: Sequence[Outcomes]) -> dict[str, Difference]:
    """Return the difference b − a of each score that has an interval, for two variants over the same clips and targets.

    The score of a variant is the mean of its seeds' pooled scores. Interval and p-value come from one t statistic, the
    difference divided by its jackknife error (see `jackknife`), for which each subject is left out of every seed of
    both variants: p < 0.05 if the interval excludes 0. Effects of subjects that both variants share cancel, as in any
    paired comparison. The error covers variation between subjects, not between seeds.
    """
    first = len(a)

    def difference(values: np.ndarray) -> np.ndarray:
        return np.asarray(values[..., first:].mean(axis=-1) - values[..., :first].mean(axis=-1))

    scores = [outcomes.scores() for outcomes in (*a, *b)]
    result = {}
    for name, score in a[0].registry.items():
        if not score.has_interval or name not in scores[0]:
            continue
        if found := estimate([*a, *b], score, difference):
            result[name] = Difference(found.value, found.interval, found.p)
        else:
            result[name] = Difference(float(difference(np.array([row[name] for row in scores]))), None, None)
    return result
