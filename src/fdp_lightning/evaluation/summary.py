"""metrics.json: every score of a run from its pooled predictions, beside the floors it has to clear."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaln, xlog1py, xlogy  # scipy.stats would take a second to import

from fdp_lightning.evaluation.bootstrap import subject_bootstrap
from fdp_lightning.evaluation.metrics import SCORES, confusion, support
from fdp_lightning.evaluation.predictions import KEY, SELECTIONS, class_indices
from fdp_lightning.files import write_atomic


def summarise(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    protocol_name: str,
    skipped_folds: Sequence[str],
    untested: Sequence[str] = (),
    left_out: Mapping[str, Sequence[str]] | None = None,
    split: str = "loso",
    caveats: Sequence[str] = (),
) -> dict[str, Any]:
    """Score pooled predictions; the result is metrics.json.

    Every score of a selection comes from one confusion matrix over all its clips; no fold has a score.

    Args:
        predictions: the table `pool` returns, with `last`, usually `oracle`, and `inner` if the run chose
            epochs so.
        classes: the protocol's classes, in order.
        protocol_name: as in the configuration.
        skipped_folds: subjects without clips under the protocol.
        untested: subjects that trained and were never held out: no score counts their clips.
        left_out: the setting that left clips out of the run → these clips, 'subject/clip'.
        split: how the clips were shared out to folds: loso, kfold, lodo or fixed.
        caveats: a sentence on each setting that makes the scores not comparable with others.

    Returns:
        Plain Python values only: standard JSON, no NaN. `optimism_gap` is oracle − last, or empty.

    Raises:
        ValueError: there is no `last`, or the selections cover different clips: `pool` did not make it.
    """
    parts = {name: predictions[predictions["selection"] == name] for name in SELECTIONS}
    parts = {name: part for name, part in parts.items() if len(part)}
    if "last" not in parts:
        raise ValueError("the predictions have no rows of selection 'last'")
    clips = {name: sorted(part[KEY].itertuples(index=False, name=None)) for name, part in parts.items()}
    if any(listed != clips["last"] for listed in clips.values()):
        raise ValueError("the selections do not cover the same clips: pool the folds first")
    selections = {name: _scored(part, classes) for name, part in parts.items()}
    last, oracle = selections["last"], selections.get("oracle")
    return {
        "protocol": protocol_name,
        "split": split,
        "classes": list(classes),
        "n_clips": len(parts["last"]),
        "n_subjects": len(parts["last"][["dataset", "subject"]].drop_duplicates()),
        "skipped_folds": list(skipped_folds),
        "untested": list(untested),
        "left_out": {why: list(clips) for why, clips in (left_out or {}).items()},
        "caveats": list(caveats),
        "selections": selections,
        "optimism_gap": {name: oracle[name] - last[name] for name in SCORES} if oracle else {},
        "floors": floors(support(np.asarray(last["confusion"])), classes),
    }


def write_metrics(path: Path | str, metrics: dict[str, Any]) -> None:
    """Write metrics.json atomically; a NaN or an infinity, which standard JSON lacks, is an error."""
    write_atomic(path, json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def floors(clips: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Score the two predictors that have seen nothing: the most frequent class, and uniform guessing.

    Both know only the pooled class counts. The majority class is the first in protocol order among equals.

    Args:
        clips: number of clips per class, shape (C,).
        classes: their names.
    """
    majority = int(np.argmax(clips))
    constant = np.zeros((len(classes), len(classes)), dtype=np.int64)
    constant[:, majority] = clips
    return {"majority": {"class": classes[majority], **_scores(constant)}, "chance": chance(clips)}


def chance(clips: np.ndarray) -> dict[str, float]:
    """Compute the expected scores of guessing each of the C classes with probability 1/C.

    Exact, no sampling: for a class with n of N clips, TP ~ Binomial(n, 1/C) and FP ~ Binomial(N − n, 1/C) are
    independent and F1 = 2 TP / (TP + FP + n), so that E[F1] is a finite double sum; the expectation of the
    mean over classes is the mean of the expectations. Recall and accuracy have expectation 1/C. (Ours.)

    Args:
        clips: number of clips per class, shape (C,).
    """
    clips = np.asarray(clips)
    guess, total = 1 / len(clips), int(clips.sum())
    expected = np.array([_expected_f1(int(n), total, guess) for n in clips])
    return {
        "accuracy": guess,
        "uf1": float(expected.mean()),
        "uar": float(np.where(clips > 0, guess, 0.0).mean()),  # a class without clips has recall 0, as everywhere
        "weighted_f1": float((expected * clips).sum() / total),
    }


def _expected_f1(clips: int, total: int, guess: float) -> float:
    if clips == 0:
        return 0.0
    hits = np.arange(clips + 1)
    false = np.arange(total - clips + 1)
    values = 2 * hits[:, None] / (hits[:, None] + false[None, :] + clips)
    return float(_binomial(clips, guess) @ values @ _binomial(total - clips, guess))


def _binomial(n: int, p: float) -> np.ndarray:
    """Return P(k successes of n) for k = 0..n, shape (n + 1,)."""
    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.exp(ways + xlogy(k, p) + xlog1py(n - k, -p))


def _scores(matrix: np.ndarray) -> dict[str, float]:
    return {name: float(score(matrix)) for name, score in SCORES.items()}


def _scored(part: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    matrix = confusion(*class_indices(part, classes), len(classes))
    return {**_scores(matrix), "ci95": subject_bootstrap(part, classes), "confusion": matrix.tolist()}
