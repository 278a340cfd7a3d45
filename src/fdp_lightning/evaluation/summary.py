"""metrics.json: every score of a run's pooled predictions, and of the baselines (chance, majority)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaln, xlog1py, xlogy  # scipy.stats would take a second to import

from fdp_lightning.evaluation.intervals import subject_intervals
from fdp_lightning.evaluation.metrics import auc_per_class, score_functions, support, unit_f1, unit_support
from fdp_lightning.evaluation.predictions import Outcomes
from fdp_lightning.files import write_atomic
from fdp_lightning.labels import KEY, OWNER, SELECTIONS, LabelKind


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
    """Score the predictions of `pool`; the result is the content of metrics.json: plain Python values only, no NaN.

    Every score is computed over all clips of a selection together; no fold has a score. For a multi-label table,
    `confusion`, `f1` and `unit_auc` have an entry per unit (`unit_auc` only for units that some clips show and some do
    not). `optimism_gap` is oracle − last, or empty. `datasets` scores the clips of each dataset separately, over all
    classes of the protocol; it is absent if there is only one. ValueError if there is no `last`, or the selections
    cover different clips.

    Args:
        predictions: pooled predictions with selection `last`, usually `oracle`, and `inner` if the run has it.
        classes: the protocol's classes, in order.
        protocol_name: name of the protocol in the configuration.
        skipped_folds: subjects without clips under the protocol.
        untested: subjects that were trained on and never held out: no score counts their clips.
        left_out: setting that left clips out of the run → these clips, 'subject/clip'.
        split: kind of split into folds: loso, kfold, lodo or fixed.
        caveats: a sentence on each setting that makes the scores incomparable with others.
    """
    parts = {name: predictions[predictions["selection"] == name] for name in SELECTIONS}
    parts = {name: part for name, part in parts.items() if len(part)}
    if "last" not in parts:
        raise ValueError("the predictions have no rows of selection 'last'")
    clips = {name: sorted(part[KEY].itertuples(index=False, name=None)) for name, part in parts.items()}
    if any(listed != clips["last"] for listed in clips.values()):
        raise ValueError("the selections do not cover the same clips: pool the folds first")
    outcomes = {name: Outcomes.of(part, classes) for name, part in parts.items()}
    selections = {name: scored(part) for name, part in outcomes.items()}
    names = sorted(parts["last"]["dataset"].unique())
    of_datasets = {name: _of_dataset(parts, name, classes) for name in names} if len(names) > 1 else {}
    last, oracle = selections["last"], selections.get("oracle")
    label_kind = outcomes["last"].label_kind
    return {
        "protocol": protocol_name,
        "split": split,
        "multi_label": label_kind.is_multi,
        "classes": list(classes),
        "n_clips": len(parts["last"]),
        "n_subjects": len(parts["last"][OWNER].drop_duplicates()),
        "skipped_folds": list(skipped_folds),
        "untested": list(untested),
        "left_out": {why: list(clips) for why, clips in (left_out or {}).items()},
        "caveats": list(caveats),
        "selections": selections,
        "optimism_gap": {name: oracle[name] - last[name] for name in outcomes["last"].scores()} if oracle else {},
        "floors": untrained_baselines(outcomes["last"].total, classes, label_kind),
        **({"datasets": of_datasets} if of_datasets else {}),
    }


def _of_dataset(parts: Mapping[str, pd.DataFrame], dataset: str, classes: Sequence[str]) -> dict[str, Any]:
    own = {name: part[part["dataset"] == dataset] for name, part in parts.items()}
    return {
        "n_clips": len(own["last"]),
        "n_subjects": int(own["last"]["subject"].nunique()),
        "selections": {name: scored(Outcomes.of(part, classes)) for name, part in own.items()},
    }


def write_metrics(path: Path | str, metrics: dict[str, Any]) -> None:
    """Write metrics.json atomically; ValueError for NaN and infinity, which standard JSON lacks."""
    write_atomic(path, json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def untrained_baselines(matrix: np.ndarray, classes: Sequence[str], label_kind: LabelKind) -> dict[str, dict[str, Any]]:
    """Score the predictors that know only the class counts in a confusion matrix of all clips, (C, C) or (K, 2, 2)."""
    if label_kind.is_multi:
        return unit_baselines(unit_support(matrix), int(matrix[0].sum()), classes)
    return class_baselines(support(matrix), classes)


def class_baselines(clips: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Score the most frequent class (the first of a tie) and uniform guessing, given the clips per class, (C,)."""
    majority = int(np.argmax(clips))
    constant = np.zeros((len(classes), len(classes)), dtype=np.int64)
    constant[:, majority] = clips
    return {"majority": {"class": classes[majority], **_scores(constant, LabelKind.SINGLE)}, "chance": chance(clips)}


def chance(clips: np.ndarray) -> dict[str, float]:
    """Compute the expected scores of guessing each of C classes with probability 1/C, from the clips per class, (C,).

    Exact, without sampling: for a class with n of N clips, TP ~ Binomial(n, 1/C) and FP ~ Binomial(N − n, 1/C) are
    independent and F1 = 2 TP / (TP + FP + n), so E[F1] is a finite double sum; the expectation of the
    mean over classes is the mean of the expectations. Recall and accuracy have expectation 1/C. (Our derivation.)
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


def unit_baselines(shown: np.ndarray, total: int, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Score three predictors of action units that know only how many clips of the `total` show each unit, shape (K,).

    `constant` predicts every unit for every clip, the baseline in the literature on action units; `majority` predicts
    the more frequent label of each unit, not shown if tied; `chance` predicts each unit with probability 1/2, scored by
    its exact expectation as in the function `chance` (our derivation).
    """
    shown = np.asarray(shown, dtype=np.int64)
    found: dict[str, dict[str, Any]] = {}
    for name, decision in (("constant", np.ones_like(shown)), ("majority", (shown > total / 2).astype(np.int64))):
        matrices = np.zeros((len(shown), 2, 2), dtype=np.int64)  # one decision per unit, for all clips
        matrices[np.arange(len(shown)), :, decision] = np.stack([total - shown, shown], axis=1)
        of_unit = dict(zip(classes, unit_f1(matrices).tolist(), strict=True))
        found[name] = {**_scores(matrices, LabelKind.MULTI), "f1": of_unit}
    expected = {unit: _expected_f1(int(n), total, 0.5) for unit, n in zip(classes, shown, strict=True)}
    return {**found, "chance": {"accuracy": 0.5, "mean_f1": float(np.mean(list(expected.values()))), "f1": expected}}


def _expected_f1(clips: int, total: int, guess: float) -> float:
    if clips == 0:
        return 0.0
    (hits, of_hits), (false, of_false) = _binomial(clips, guess), _binomial(total - clips, guess)
    values = 2 * hits[:, None] / (hits[:, None] + false[None, :] + clips)
    return float(of_hits @ values @ of_false)


def _binomial(n: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of successes in n trials and their probabilities, omitting those too small to change a sum."""
    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    probabilities = np.exp(ways + xlogy(k, p) + xlog1py(n - k, -p))
    counted = probabilities > 1e-25  # some thousands for 100 000 clips, whose pairs fit into memory
    return k[counted], probabilities[counted]


def scored(outcomes: Outcomes) -> dict[str, Any]:
    """Return the scores of one selection with intervals and counts, as stored in metrics.json."""
    scores: dict[str, Any] = {**outcomes.scores()}
    counts = outcomes.total.tolist()
    if outcomes.label_kind.is_multi:
        of_units = {"f1": unit_f1(outcomes.total), "unit_auc": auc_per_class(outcomes.targets, outcomes.probabilities)}
        for name, values in of_units.items():
            named = zip(outcomes.classes, values.tolist(), strict=True)
            scores[name] = {unit: value for unit, value in named if not np.isnan(value)}
        counts = dict(zip(outcomes.classes, counts, strict=True))
    return {**scores, "ci95": subject_intervals(outcomes), "confusion": counts}


def _scores(matrix: np.ndarray, label_kind: LabelKind) -> dict[str, Any]:
    return {name: float(score(matrix)) for name, score in score_functions(label_kind).items()}
