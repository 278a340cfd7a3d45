"""Paired tests: do two runs over the same clips differ by more than chance?

The test is over subjects. McNemar's, the field's habit, is not here: it counts clips as independent, which clips of one
subject, who share a face and a fold's model, are not, and finds differences where there are none (README.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.intervals import estimate
from fdp_lightning.evaluation.outcomes import Outcomes
from fdp_lightning.evaluation.predictions import label_kind_of, name_keys
from fdp_lightning.labels import JOIN, KEY


@dataclass(frozen=True)
class Difference:
    """A score of run b minus that of run a, as a fraction of 1."""

    value: float
    ci95: list[float] | None
    """None where the table is too small for an interval (see `intervals.jackknife`)."""
    p: float | None


def paired_differences(
    a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame], classes: Sequence[str]
) -> dict[str, Difference]:
    """Compare every score of two variants, b − a, each the predictions of one selection of one seed or more.

    See `compare_outcomes` for the statistics.

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
    return compare_outcomes([Outcomes.of(table, classes) for table in a], [Outcomes.of(table, classes) for table in b])


def compare_outcomes(a: Sequence[Outcomes], b: Sequence[Outcomes]) -> dict[str, Difference]:
    """Return the difference b − a of each score that has an interval, of two variants over the same clips and targets.

    A variant's score is the mean over its seeds of each seed's own pooled score. Interval and p-value are of one
    t statistic, the difference over its jackknife error (see `intervals.jackknife`), which leaves out one subject after
    the other from every seed of both: p < 0.05 where the interval is without 0. What subjects share in both variants
    cancels, which is what makes the comparison paired. Spread between seeds is not in it, only that between subjects.
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


def require_same_clips(a: pd.DataFrame, b: pd.DataFrame, classes: Sequence[str], name_a: str, name_b: str) -> None:
    """Refuse two tables, each of one selection, that cannot be paired; the names are those of the runs in the message.

    Raises:
        UserError: naming the clips one of them lacks, those it has twice, those whose target differs, or the targets
            and predictions that are none of the classes.
    """
    if why := clip_difference(a, b):
        raise UserError(
            f"{name_a} and {name_b} cannot be compared pairwise: {why}. Compare runs of the same protocol, labels and "
            "options that leave clips out (data.policy, protocol.untested)."
        )
    names = {*b["target"], *b["prediction"]}
    if label_kind_of(b).is_multi:
        names = {name for text in names if text for name in text.split(JOIN)}
    if foreign := sorted(names - set(classes)):
        raise UserError(
            f"{name_b} has other classes than {name_a} ({', '.join(foreign)}; expected {', '.join(classes)}): "
            "compare runs of the same class list."
        )


def clip_difference(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Say how the clips of b differ from those of a, each of one selection; '' where clips and targets agree."""
    first, second = (table["target"].set_axis(pd.MultiIndex.from_frame(table[KEY])).sort_index() for table in (a, b))
    for clips in (first.index, second.index):
        if len(twice := clips[clips.duplicated()].unique()):
            return f"{len(twice)} clips are there more than once: {name_keys(twice)}"
    missing = {"first": first.index.difference(second.index), "second": second.index.difference(first.index)}
    parts = [
        f"{len(clips)} clips only in the {side}: {name_keys(clips)}" for side, clips in missing.items() if len(clips)
    ]
    if not parts and len(changed := first.index[first.to_numpy() != second.to_numpy()]):
        parts = [f"{len(changed)} clips have another target: {name_keys(changed)}"]
    return "; ".join(parts)
