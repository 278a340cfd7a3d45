"""Whether two runs over the same clips differ by more than chance.

The test over subjects is the one to trust. McNemar's test is the field's habit and counts clips as independent, which
clips of one subject, who share a face and a fold's model, are not: its p-value is too small when a run is better on
whole subjects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import bdtr  # scipy.stats takes a second to import for the same sum

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.counts import Score, Scores, score_functions
from fdp_lightning.evaluation.intervals import jackknife, share_interval, subject_confusions
from fdp_lightning.evaluation.multi_label import JOIN, is_multi_label
from fdp_lightning.evaluation.predictions import KEY, name_keys


@dataclass(frozen=True)
class Difference:
    """How much higher a score of run b is than that of run a, as fractions of 1."""

    value: float
    ci95: list[float] | None
    """None where the table is too small for an interval (see `intervals.jackknife`)."""
    p: float | None


@dataclass(frozen=True)
class McNemar:
    """Clips by which of two runs has them right, and the exact two-sided p-value."""

    only_a: int
    only_b: int
    p: float


def paired_differences(
    a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame], classes: Sequence[str]
) -> dict[str, Difference]:
    """Compare every score of two variants, b − a; see `compare_counts` for the statistics.

    Args:
        a: the predictions of one selection of each seed of the first; one table for a single run.
        b: those of the second; it may have another number of seeds.
        classes: the protocol's classes, in order.

    Raises:
        UserError: the tables are not over the same clips with the same targets, or have other classes.
        ValueError: a side without a table, or a table with rows of several selections.
    """
    if not a or not b:
        raise ValueError("each side needs at least one table")
    tables = [*a, *b]
    for place, table in enumerate(tables):
        if table["selection"].nunique() != 1:
            raise ValueError("a paired test takes the predictions of exactly one selection of each run")
        require_same_clips(tables[0], table, classes, "the first run", f"run {place + 1}")
    counts = np.stack([subject_confusions(table, classes) for table in tables], axis=1)
    return compare_counts(counts[:, : len(a)], counts[:, len(a) :], score_functions(is_multi_label(tables[0])))


def compare_counts(a: np.ndarray, b: np.ndarray, scores: Scores) -> dict[str, Difference]:
    """Compare scores of two variants by leaving out one subject after the other, from every seed of both.

    A variant's score is the mean over its seeds of each seed's own pooled score. Interval and p-value are of one
    t statistic, the difference over its jackknife error (see `intervals.jackknife`): p < 0.05 where the interval is
    without 0. What subjects share in both variants cancels, which is what makes the comparison paired. Spread between
    seeds is not in it, only that between subjects.

    Args:
        a: counts of the first variant, shape (S, seeds, …).
        b: counts of the second, shape (S, seeds, …), the same subjects in the same order.
        scores: functions of counts of shape (…).

    Returns:
        Per score the difference b − a.
    """
    both, first = np.concatenate([a, b], axis=1), a.shape[1]
    result = {}
    for name, score in scores.items():

        def difference(counts: np.ndarray, score: Score = score) -> np.ndarray:
            values = score(counts)
            return np.asarray(values[:, first:].mean(axis=1) - values[:, :first].mean(axis=1))

        found = jackknife(both, difference)
        if found is None:
            result[name] = Difference(float(difference(both.sum(axis=0)[None])[0]), None, None)
        else:
            result[name] = Difference(found.value, found.interval, found.p)
    return result


def mean_interval(counts: np.ndarray, scores: Scores) -> dict[str, list[float] | None]:
    """Compute the 95 % interval over subjects of each score's mean over seeds.

    Args:
        counts: shape (S, seeds, …); with one seed the result is that of `subject_intervals`.
        scores: functions of counts of shape (…).
    """
    result = {}
    for name, score in scores.items():

        def mean(tables: np.ndarray, score: Score = score) -> np.ndarray:
            return np.asarray(score(tables).mean(axis=1))

        result[name] = share_interval(jackknife(counts, mean))
    return result


def mcnemar(a: pd.DataFrame, b: pd.DataFrame) -> McNemar:
    """Test whether two runs are right on equally many clips, by the clips that only one of them has right.

    Of n discordant clips, those only b has right are Binomial(n, 1/2) if neither run is better; the p-value is the
    exact two-sided one (McNemar, Psychometrika 12, 1947, in its exact form), 1 for n = 0. It takes clips as
    independent draws, which those of one subject are not: read it beside the test over subjects. A clip with several
    labels is right if all of them are.

    Args:
        a: predictions of one selection of the first run.
        b: those of the second, over the same clips in any order.

    Raises:
        UserError: the clips or their targets differ.
    """
    require_same_clips(a, b, None, "the first run", "the second run")
    right_a, right_b = (
        (table["target"] == table["prediction"]).set_axis(pd.MultiIndex.from_frame(table[KEY])).sort_index().to_numpy()
        for table in (a, b)
    )
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return McNemar(only_a, only_b, exact_p(only_a, only_b))


def exact_p(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test from its discordant counts."""
    if only_a + only_b == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def require_same_clips(
    a: pd.DataFrame, b: pd.DataFrame, classes: Sequence[str] | None, name_a: str, name_b: str
) -> None:
    """Refuse two tables that cannot be paired.

    Args:
        a: predictions of one selection.
        b: those of the other run.
        classes: every target must be one of them; None: not asked.
        name_a: of the first run in the message.
        name_b: of the second.

    Raises:
        UserError: naming the clips one of them lacks, those it has twice, those whose target differs, or the targets
            that are no class.
    """
    if why := clip_difference(a, b):
        raise UserError(
            f"{name_a} and {name_b} cannot be compared pairwise: {why}. Compare runs of the same protocol, labels and "
            "options that leave clips out (data.policy, protocol.untested)."
        )
    if classes is None:
        return
    names = {*b["target"], *b["prediction"]}
    if is_multi_label(b):
        names = {name for text in names if text for name in text.split(JOIN)}
    if foreign := sorted(names - set(classes)):
        raise UserError(
            f"{name_b} has other classes than {name_a} ({', '.join(foreign)}; expected {', '.join(classes)}): "
            "compare runs of the same class list."
        )


def clip_difference(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Say how the clips of b differ from those of a, each of one selection; '' where clips and targets agree."""
    targets = []
    for table in (a, b):
        series = table["target"].set_axis(pd.MultiIndex.from_frame(table[KEY]))
        if series.index.has_duplicates:
            twice = series.index[series.index.duplicated()].unique()
            return f"{len(twice)} clips are there more than once: {name_keys(twice)}"
        targets.append(series.sort_index())
    first, second = targets
    parts = [
        f"{len(clips)} clips {what}: {name_keys(clips)}"
        for what, clips in (
            ("only in the first", first.index.difference(second.index)),
            ("only in the second", second.index.difference(first.index)),
        )
        if len(clips)
    ]
    if not parts:
        changed = first.to_numpy() != second.to_numpy()
        if changed.any():
            parts = [f"{int(changed.sum())} clips have another target: {name_keys(first.index[changed])}"]
    return "; ".join(parts)
