"""The score that a model carries: that of the leave-one-subject-out run of the same configuration."""

import json
from pathlib import Path
from typing import Any

from fdp_lightning.evaluation.metrics import SCORES, UNIT_SCORES
from fdp_lightning.tasks.report import POOLED, fold_folders
from fdp_lightning.tasks.run_folder import finished

NONE = "no complete run of this configuration lies beside it; the same command with task=loso makes one"


def loso_scores(run: Path, fingerprint: str) -> tuple[dict[str, Any] | None, str]:
    """The pooled scores of a run, if all its folds are of this fingerprint; else None, and why.

    The selection is `last`: `oracle` has seen the subjects under test.

    Args:
        run: the run folder.
        fingerprint: of settings, clips and source code, see `run_folder.fingerprint`.
    """
    path = run / POOLED[1]
    if not path.is_file():
        return None, NONE
    for folder in fold_folders(run):
        done, reason = finished(folder, fingerprint)
        if not done:
            return None, f"fold {folder.name} of the run beside it does not count: {reason}"
    metrics = json.loads(path.read_text())
    last, floors = metrics["selections"]["last"], metrics["floors"]
    names = [*(UNIT_SCORES if metrics["multi_label"] else SCORES)]
    return {
        "selection": "last",
        "split": metrics["split"],
        "clips": metrics["n_clips"],
        "subjects": metrics["n_subjects"],
        **{name: last[name] for name in names},
        "ci95": {name: last["ci95"][name] for name in names},
        "floors": {floor: {name: values[name] for name in names} for floor, values in floors.items()},
        "caveats": metrics["caveats"],
        "run": "/".join(run.parts[-3:]),
    }, ""
