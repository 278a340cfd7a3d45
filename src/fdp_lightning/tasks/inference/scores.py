"""The pooled scores of the run that has a model's settings: what a model file says it is worth."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.metrics import f1
from fdp_lightning.evaluation.runs import Run, read_run
from fdp_lightning.tasks.report import EXPECTED, fold_folders
from fdp_lightning.tasks.run_folder import sealed

SELECTION = "last"
"""A model is that of the last epoch, so no other selection scores it; `oracle` scores no model that could be used."""


def loso_scores(run: Path, fingerprint: str) -> tuple[dict[str, Any] | None, str]:
    """The scores of a run's folds, if all of them are finished and of these settings.

    Args:
        run: the run folder.
        fingerprint: of the model's training.

    Returns:
        Plain data for `scores` of model.json and ''; or None and a sentence on why there are none, without a path of
        this machine.
    """
    if not (run / EXPECTED).is_file():
        return None, (
            "The folds of these settings have not been run where the model was made: the same command with task=loso "
            "runs them, and the model written again then has their scores."
        )
    try:
        folds = [sealed(folder) for folder in fold_folders(run)]
        expected = len(json.loads((run / EXPECTED).read_text())["clips"])
        tested = sum(int(fold["test_clips"]) for fold in folds)
        if other := sum(fold["fingerprint"] != fingerprint for fold in folds):
            return None, f"{other} of the {len(folds)} folds beside it are of other settings, clips or source code."
        if tested != expected or not (run / "metrics.json").is_file():
            return None, (
                f"The run of these settings is not finished: its folds have predicted {tested} of {expected} clips. "
                "The same command with task=loso finishes it."
            )
        pooled = read_run(run)
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return None, "The run of these settings is damaged: the same command with task=loso names and mends it."
    if len(pooled.parts[SELECTION]) != expected:
        return None, "The pooled scores beside it are not of all folds: the same command with task=loso pools them."
    inner = max(len(fold["subjects"]["inner"]) for fold in folds)
    return _scores(pooled, _name(run), len(folds), inner), ""


def _scores(run: Run, name: str, folds: int, inner: int) -> dict[str, Any]:
    row, metrics = run.metrics["selections"][SELECTION], run.metrics
    names = list(run.functions)
    intervals = {f"{score}_interval": row["ci95"].get(score) for score in names}
    of_class = row["f1"] if run.multi_label else _f1(row["confusion"], run.classes)
    return {
        "selection": SELECTION,
        "protocol": run.protocol,
        "split": run.split,
        "folds": folds,
        "inner_subjects": inner,
        "n_clips": metrics["n_clips"],
        "n_subjects": metrics["n_subjects"],
        **{score: row[score] for score in names},
        **intervals,
        "f1": of_class,
        "floors": metrics["floors"],
        "caveats": [*(f"{sign.detail}." for sign in run.signs), *_caveats(metrics), *metrics["caveats"]],
        "run": name,
    }


def _f1(matrix: list[list[int]], classes: tuple[str, ...]) -> dict[str, float]:
    return dict(zip(classes, f1(np.asarray(matrix)).tolist(), strict=True))


def _caveats(metrics: Any) -> list[str]:
    found = []
    if untested := metrics.get("untested"):
        found.append(f"{len(untested)} subjects trained in every fold and were never tested: {', '.join(untested)}.")
    for why, clips in (metrics.get("left_out") or {}).items():
        found.append(f"{len(clips)} clips are neither trained on nor tested ({why}).")
    return found


def _name(run: Path) -> str:
    """Experiment, variant and seed; of a folder that `run=` named its own name alone."""
    parts = run.absolute().parts
    return "/".join(parts[-3:]) if parts[-1].startswith("seed-") else parts[-1]
