"""The pooled scores of the run with a model's settings, which its model file states."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.intervals import jackknife, share_interval
from fdp_lightning.evaluation.metrics import f1, score_functions, unit_f1
from fdp_lightning.evaluation.runs import Run, differences, read_run
from fdp_lightning.evaluation.summary import untrained_baselines
from fdp_lightning.labels import LabelKind
from fdp_lightning.runs.pooling import EXPECTED, fold_folders, read_expected
from fdp_lightning.runs.seal import sealed

SELECTION = "last"
"""A model is that of the last epoch, so no other selection scores it; `oracle` does not score a usable model."""

TITLES = {
    "uf1": "macro-F1 (UF1)",
    "uar": "mean recall (UAR)",
    "weighted_f1": "weighted F1",
    "mean_f1": "mean F1 over units",
    "accuracy": "accuracy",
}
"""Scores of a model file, with their titles: only those that every reader can compute, none registered by users."""

_MOST_CLIPS = 20_000  # limit of the counts in a model file: the chance scores need memory by its square


def loso_scores(run: Path, fingerprint: str) -> tuple[dict[str, Any] | None, str]:
    """Return the scores of a run whose folds are all finished and of this fingerprint, and ''; or None and the reason.

    The scores are plain data for `scores` of model.json; the reason is a sentence without paths of this machine.
    """
    if not (run / EXPECTED).is_file():
        return None, (
            "The folds of these settings were not run where the model was made. Run the same command with task=loso, "
            "then write the model again to include their scores."
        )
    try:
        folds = [sealed(folder) for folder in fold_folders(run)]
        expected = len(read_expected(run)["clips"])
        tested = sum(int(fold["test_clips"]) for fold in folds)
        if other := sum(fold["fingerprint"] != fingerprint for fold in folds):
            return None, f"{other} of the {len(folds)} folds in its run have other settings, clips or source code."
        if tested != expected or not (run / "metrics.json").is_file():
            return None, (
                f"The run of these settings is not finished: its folds have predicted {tested} of {expected} clips. "
                "The same command with task=loso finishes it."
            )
        pooled = read_run(run)
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None, "The run of these settings is damaged: the same command with task=loso names and repairs it."
    if len(pooled.parts[SELECTION]) != expected:
        return None, "The pooled scores of its run do not cover all folds: the same command with task=loso pools them."
    counts, parts = pooled.outcomes[SELECTION].counts, run.absolute().parts
    return {
        "selection": SELECTION,
        "protocol": pooled.protocol,
        "split": pooled.split,
        "folds": len(folds),
        "inner_subjects": max(len(fold["subjects"]["inner"]) for fold in folds),
        **scores_of(counts, pooled.classes, pooled.label_kind),
        "counts": counts.tolist(),
        "caveats": _caveats(pooled),
        # experiment, variant and seed; for a folder set by `run=`, only its own name
        "run": "/".join(parts[-3:]) if parts[-1].startswith("seed-") else parts[-1],
    }, ""


def scores_of(counts: np.ndarray, classes: Sequence[str], label_kind: LabelKind) -> dict[str, Any]:
    """Compute the scores in a model file from the subjects' confusion matrices, (S, C, C) or (S, K, 2, 2)."""
    whole = counts.sum(axis=0)
    functions = {name: score for name, score in score_functions(label_kind).items() if name in TITLES}
    intervals = {name: share_interval(jackknife(counts, score)) for name, score in functions.items()}
    clips = int(whole[0].sum() if label_kind.is_multi else whole.sum())
    of_class = unit_f1(whole) if label_kind.is_multi else f1(whole)
    return {
        "n_clips": clips,
        "n_subjects": len(counts),
        **{name: float(score(whole)) for name, score in functions.items()},
        **{f"{name}_interval": interval for name, interval in intervals.items()},
        "f1": dict(zip(classes, of_class.tolist(), strict=True)),
        "floors": {
            baseline: {name: value for name, value in facts.items() if name in (*TITLES, "class", "f1")}
            for baseline, facts in untrained_baselines(whole, classes, label_kind).items()
        },
    }


def check_scores(facts: Mapping[str, Any], source: str) -> None:
    """Raise UserError for scores of a model file that do not follow from its counts, naming what differs."""
    if facts["scores"] is None:
        return
    written, classes = facts["scores"], facts["classes"]
    label_kind = LabelKind.of_flag(facts["multi_label"])
    shape = (len(classes), 2, 2) if label_kind.is_multi else (len(classes), len(classes))
    try:
        counts = np.array(written["counts"], dtype=np.int64)
        if counts.shape[1:] != shape or (counts < 0).any() or np.array(written["counts"]).dtype.kind != "i":
            raise ValueError(f"expected whole numbers of shape (subjects, {', '.join(map(str, shape))})")
        if counts.astype(float).sum() > _MOST_CLIPS * (len(classes) if label_kind.is_multi else 1):
            raise ValueError(f"expected at most {_MOST_CLIPS} clips")
    except (ValueError, OverflowError, TypeError) as error:
        raise UserError(f"{source}: scores.counts: {error}") from error
    computed = scores_of(counts, classes, label_kind)
    stated = {"selection", "protocol", "split", "folds", "inner_subjects", "counts", "caveats", "run"}
    if unknown := sorted(set(written) - set(computed) - stated):
        raise UserError(f"{source}: scores.{unknown[0]} is not a score of this version")
    for where, found, expected in differences(written, computed):
        raise UserError(f"{source}: scores.{where} is {found}; expected {expected}, computed from its counts")


def _caveats(run: Run) -> list[str]:
    found = [f"{sign.detail}." for sign in run.signs]
    if untested := run.metrics["untested"]:
        found.append(f"{len(untested)} subjects were trained on in every fold and never tested: {', '.join(untested)}.")
    for why, clips in run.metrics["left_out"].items():
        found.append(f"{len(clips)} clips are neither trained on nor tested ({why}).")
    return [*found, *run.metrics["caveats"]]
