"""Scores of a search over hyper-parameters: inner scores, by which it chooses, and the nested score, its worth.

An *inner* score is of the clips of a fold's inner validation subjects (`inner.csv`, selection `last`). No function that
scores or chooses here takes a test prediction, so that none can decide anything.

The inner validation subjects of one fold are under test in another. The test score of the trial that is best over all
folds is therefore optimistic. The nested score is not: each fold takes the trial that is best on its own inner clips,
and its held-out subject had no part in that choice (Varma & Simon, "Bias in error estimation when using
cross-validation for model selection", BMC Bioinformatics 7:91, 2006; that the inner part is one draw of subjects, not a
second cross-validation, is ours).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.intervals import clip_mean_interval, jackknife, share_interval
from fdp_lightning.evaluation.metrics import score_functions
from fdp_lightning.evaluation.predictions import Outcomes, label_kind_of
from fdp_lightning.labels import OWNER, LabelKind

INNER = "inner/"
LOG_LOSS = "log_loss"
"""Mean of −log of the probability of the target (multi-label: mean over units, too). The one score that is better
lower. Unlike a training's own emotion loss it is the same function in every trial, whatever the loss is made of."""

_SMALLEST = float(np.finfo(np.float64).eps)


def check_objective(objective: str, label_kind: LabelKind) -> str:
    """Return the score that an objective names, inner/uf1 → uf1; UserError for one of the test, for instance."""
    scores = [*score_functions(label_kind), LOG_LOSS]
    side, _, score = objective.rpartition("/")
    if f"{side}/" == INNER and score in scores:
        return score
    expected = ", ".join(INNER + name for name in scores)
    if side and f"{side}/" != INNER:
        raise UserError(
            f"tune.objective is '{objective}'. A search never sees a score of the subjects under test (last, oracle, "
            f"test): what is chosen by them cannot be measured by them. Expected one of {expected}"
        )
    raise UserError(f"tune.objective is '{objective}'; expected one of {expected}")


def is_better_lower(score: str) -> bool:
    return score == LOG_LOSS


def inner_score(inner: pd.DataFrame, classes: Sequence[str], score: str) -> float:
    """Compute a score of `check_objective` pooled over inner validation clips, of selection `last` of `inner.csv`.

    A clip counts once for each fold that holds it out so.
    """
    last = _last(inner)
    if score == LOG_LOSS:
        return float(_losses(last, classes).mean())
    return float(score_functions(label_kind_of(last))[score](Outcomes.of(last, classes).total))


def inner_interval(inner: pd.DataFrame, classes: Sequence[str], score: str) -> list[float] | None:
    """Compute the 95 % interval of `inner_score` over subjects, None where none can be given.

    It holds for these trained networks and new subjects; of the choice of the best among trials it knows nothing.
    """
    last = _last(inner)
    if score != LOG_LOSS:
        counts = Outcomes.of(last, classes).counts
        return share_interval(jackknife(counts, score_functions(label_kind_of(last))[score]))
    return clip_mean_interval(_losses(last, classes), last.groupby(OWNER).ngroup().to_numpy())


def choose(inner: Mapping[int, pd.DataFrame], classes: Sequence[str], score: str) -> int:
    """Choose the trial that is best by its rows of `inner.csv`; among equals by log loss, then the first."""

    def rank(number: int) -> tuple[float, float, int]:
        value = inner_score(inner[number], classes, score)
        loss = inner_score(inner[number], classes, LOG_LOSS)
        return (value if is_better_lower(score) else -value), loss, number

    return min(inner, key=rank)


def nested_choice(
    inner: Mapping[str, Mapping[int, pd.DataFrame]], classes: Sequence[str], score: str
) -> dict[str, int]:
    """Choose for each fold the trial that is best by its rows of `inner.csv` alone; ValueError where there is none."""
    if bare := [fold for fold, trials in inner.items() if not trials]:
        raise ValueError(f"no trial finished the folds {', '.join(bare)}")
    return {fold: choose(trials, classes, score) for fold, trials in inner.items()}


def nested_frames(choice: Mapping[str, int], test: Mapping[str, Mapping[int, pd.DataFrame]]) -> list[pd.DataFrame]:
    """Return the `test` predictions (selection `last`) of each fold's chosen trial, to be pooled as one run."""
    return [_last(test[fold][number]).reset_index(drop=True) for fold, number in choice.items()]


def _last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["selection"] == "last"]


def _losses(table: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """−log of the probability of what is true, of each clip, shape (n,)."""
    outcomes = Outcomes.of(table, classes)
    of_truth, targets = outcomes.probabilities, outcomes.targets
    if outcomes.label_kind.is_multi:
        of_truth = np.where(targets, of_truth, 1 - of_truth)
    else:
        of_truth = np.take_along_axis(of_truth, targets[:, None], axis=1)
    return np.asarray(-np.log(np.clip(of_truth, _SMALLEST, 1)).mean(axis=1))
