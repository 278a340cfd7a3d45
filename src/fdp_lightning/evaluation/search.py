"""Scores of a search over hyper-parameters: inner scores, by which it chooses, and the nested score of the result.

An *inner* score is computed on a fold's inner validation subjects (`inner.csv`, selection `last`). The functions that
score or choose trials take no test predictions, so these cannot influence the choice.

The inner validation subjects of one fold are test subjects of another, so the test score of the trial that is best over
all folds is optimistic. The nested score is not: each fold takes the trial that is best on its own inner clips, a
choice in which its held-out subject has no part (Varma & Simon, "Bias in error estimation when using cross-validation
for model selection", BMC Bioinformatics 7:91, 2006; using one draw of inner subjects instead of a second
cross-validation is our choice).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.intervals import clip_mean_interval, jackknife, share_interval
from fdp_lightning.evaluation.metrics import score_functions
from fdp_lightning.evaluation.predictions import Outcomes, label_kind_of
from fdp_lightning.labels import OWNER, LabelKind

LOG_LOSS = "log_loss"
"""Mean of −log of the target's probability (multi-label: also over units). The only score of which lower is better.
Unlike the emotion loss of a training, it is the same function in every trial."""

_SMALLEST = float(np.finfo(np.float64).eps)


def check_objective(objective: str, label_kind: LabelKind) -> str:
    """Return the score that an objective names, inner/uf1 → uf1; UserError for others, such as test scores."""
    objectives = {f"inner/{score}": score for score in (*score_functions(label_kind), LOG_LOSS)}
    if objective not in objectives:
        raise UserError(
            f"tune.objective is '{objective}'; expected one of {', '.join(objectives)}. A search never sees scores of "
            "the test subjects (last, oracle, test): what is chosen by them cannot be measured by them."
        )
    return objectives[objective]


def is_better_lower(score: str) -> bool:
    return score == LOG_LOSS


def inner_score(inner: pd.DataFrame, classes: Sequence[str], score: str) -> float:
    """Compute a score of `check_objective` over pooled inner validation clips: selection `last` of `inner.csv`.

    A clip counts once for each fold that has its subject as an inner validation subject.
    """
    last = _last(inner)
    if score == LOG_LOSS:
        return float(_losses(last, classes).mean())
    return float(score_functions(label_kind_of(last))[score](Outcomes.of(last, classes).total))


def inner_interval(inner: pd.DataFrame, classes: Sequence[str], score: str) -> list[float] | None:
    """Compute the 95 % interval of `inner_score` over subjects; None if it cannot be estimated.

    It applies to these trained networks on new subjects and does not account for choosing the best of several trials.
    """
    last = _last(inner)
    if score != LOG_LOSS:
        counts = Outcomes.of(last, classes).counts
        return share_interval(jackknife(counts, score_functions(label_kind_of(last))[score]))
    return clip_mean_interval(_losses(last, classes), last.groupby(OWNER).ngroup().to_numpy())


def choose(inner: Mapping[int, pd.DataFrame], classes: Sequence[str], score: str) -> int:
    """Choose the trial with the best rows of `inner.csv`; ties are broken by log loss, then by number."""

    def rank(number: int) -> tuple[float, float, int]:
        value = inner_score(inner[number], classes, score)
        loss = inner_score(inner[number], classes, LOG_LOSS)
        return (value if is_better_lower(score) else -value), loss, number

    return min(inner, key=rank)


def nested_choice(
    inner: Mapping[str, Mapping[int, pd.DataFrame]], classes: Sequence[str], score: str
) -> dict[str, int]:
    """Choose for each fold the trial, of one or more, that is best on this fold's `inner.csv`."""
    return {fold: choose(trials, classes, score) for fold, trials in inner.items()}


def nested_frames(choice: Mapping[str, int], test: Mapping[str, Mapping[int, pd.DataFrame]]) -> list[pd.DataFrame]:
    """Return the `test` predictions (selection `last`) of each fold's chosen trial, to be pooled as one run."""
    return [_last(test[fold][number]).reset_index(drop=True) for fold, number in choice.items()]


def _last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["selection"] == "last"]


def _losses(table: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Return −log of the target's probability for each clip, shape (n,)."""
    outcomes = Outcomes.of(table, classes)
    of_truth, targets = outcomes.probabilities, outcomes.targets
    if outcomes.label_kind.is_multi:
        of_truth = np.where(targets, of_truth, 1 - of_truth)
    else:
        of_truth = np.take_along_axis(of_truth, targets[:, None], axis=1)
    return np.asarray(-np.log(np.clip(of_truth, _SMALLEST, 1)).mean(axis=1))
