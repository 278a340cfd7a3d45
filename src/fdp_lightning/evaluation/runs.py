"""A finished run as its folder holds it: predictions.csv is the truth, metrics.json has to agree with it."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.counts import Scores, score_functions
from fdp_lightning.evaluation.intervals import subject_confusions
from fdp_lightning.evaluation.learning import Sign, learning_signs, read_trainings
from fdp_lightning.evaluation.metrics import support, unit_support
from fdp_lightning.evaluation.multi_label import is_multi_label
from fdp_lightning.evaluation.paired import clip_difference, mean_interval
from fdp_lightning.evaluation.predictions import SELECTIONS, read_predictions
from fdp_lightning.evaluation.summary import floors, unit_floors
from fdp_lightning.files import is_partial

TOLERANCE = 1e-9
"""Between a score of metrics.json and the same score of predictions.csv: rounding of sums, nothing else."""

FIT = "fit.json"
"""The mark of the folder of a model that is trained on everybody: nothing in it was tested, so it is no run."""


@dataclass(frozen=True)
class Run:
    """One run: one variant trained with one seed."""

    folder: Path
    metrics: Mapping[str, Any]
    classes: tuple[str, ...]
    parts: Mapping[str, pd.DataFrame] = field(repr=False)
    """Selection → its predictions."""
    synthetic: bool = False

    @property
    def protocol(self) -> str:
        """As in the configuration."""
        return str(self.metrics["protocol"])

    @property
    def split(self) -> str:
        """How clips were shared out to folds: loso, kfold, lodo or fixed."""
        return str(self.metrics.get("split", "loso"))

    @property
    def seed(self) -> int:
        """Of the training."""
        return int(self.parts["last"]["seed"].iloc[0])

    @property
    def multi_label(self) -> bool:
        """Whether a clip can show several labels (action units)."""
        return is_multi_label(self.parts["last"])

    @property
    def functions(self) -> Scores:
        """The scores this run has, as functions of its counts."""
        return score_functions(self.multi_label)

    @cached_property
    def counts(self) -> dict[str, np.ndarray]:
        """Selection → counts per subject, shape (S, …); see `intervals.subject_confusions`."""
        return {name: subject_confusions(part, self.classes) for name, part in self.parts.items()}

    def scores(self, selection: str) -> dict[str, float]:
        """The pooled scores of a selection, from predictions.csv."""
        total = self.counts[selection].sum(axis=0)
        return {name: float(score(total)) for name, score in self.functions.items()}

    @property
    def floors(self) -> dict[str, dict[str, Any]]:
        """What knowing nothing gets."""
        table = self.counts["last"].sum(axis=0)
        if self.multi_label:
            return unit_floors(unit_support(table), len(self.parts["last"]), self.classes)
        return floors(support(table), self.classes)

    @cached_property
    def signs(self) -> list[Sign]:
        """The signs that it did not learn, found anew in its files: metrics.json may be older than these rules."""
        intervals = mean_interval(self.counts["last"][:, None], self.functions)
        scores = self.scores("last") | {"ci95": intervals}
        return learning_signs(self.parts["last"], self.classes, scores, self.floors, read_trainings(self.folder))


def read_run(folder: Path) -> Run:
    """Read a run's folder strictly.

    Args:
        folder: with metrics.json and predictions.csv.

    Raises:
        UserError: the run is not finished; a file is damaged; a clip is doubled, or missing in one selection; or
            metrics.json has other scores than predictions.csv gives.
    """
    metrics = _read_metrics(folder)
    table, classes = read_predictions(folder / "predictions.csv")
    again = f"Pool the folds again: task=report run={folder}"
    if (seeds := table["seed"].nunique()) > 1:
        raise UserError(f"{folder / 'predictions.csv'}: rows of {seeds} seeds; one run is one seed. {again}")
    parts = {name: table[table["selection"] == name].reset_index(drop=True) for name in SELECTIONS}
    parts = {name: part for name, part in parts.items() if len(part)}
    if "last" not in parts:
        raise UserError(f"{folder / 'predictions.csv'}: no rows of selection 'last', the headline. {again}")
    for name, part in parts.items():
        if why := clip_difference(parts["last"], part):
            raise UserError(
                f"{folder / 'predictions.csv'}: selections last (the first) and {name} (the second): {why}. {again}"
            )
    run = Run(folder, metrics, tuple(classes), parts, _is_synthetic(folder, str(metrics["protocol"])))
    _require_match(run, again)
    return run


def find_runs(place: Path) -> Iterator[Path]:
    """Yield the run folders at or below a folder, finished or not, sorted; nothing is looked for inside a run."""
    if (place / FIT).is_file():
        return
    if (place / "metrics.json").is_file() or (place / "expected.json").is_file() or (place / "folds").is_dir():
        yield place
        return
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        if not is_partial(folder) and not folder.name.startswith("."):
            yield from find_runs(folder)


def is_finished(folder: Path) -> bool:
    """Whether a run folder has pooled scores."""
    return (folder / "metrics.json").is_file()


def _read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    again = f"Make it again: task=report run={folder}"
    if not path.is_file():
        raise UserError(
            f"{folder}: no pooled scores (metrics.json) in this run folder. Finish the run by the command that began "
            f"it; if all its folds are there: task=report run={folder}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: expected JSON ({error}). {again}") from error
    kinds = {"protocol": str, "classes": list, "selections": dict}
    known = content if isinstance(content, dict) else {}
    wrong = [name for name, kind in kinds.items() if not isinstance(known.get(name), kind)]
    if wrong or not all(isinstance(row, dict) for row in known["selections"].values()):
        raise UserError(f"{path}: expected the scores of a run, with {', '.join(wrong or ['selections'])}. {again}")
    return known


def _require_match(run: Run, again: str) -> None:
    """Refuse scores that are not of the predictions: a table half of whose numbers are older would look sound."""
    path = run.folder / "metrics.json"
    written = run.metrics["selections"]
    differences = []
    if list(run.classes) != run.metrics["classes"]:
        differences.append("classes")
    if run.metrics.get("multi_label", False) != run.multi_label:
        differences.append("one class per clip, or several")
    if set(written) != set(run.parts):
        differences.append("selections")
    clips = len(run.parts["last"])
    if run.metrics.get("n_clips") != clips:
        differences.append(f"n_clips is {run.metrics.get('n_clips')}, the predictions have {clips}")
    for selection in run.parts:
        for name, value in run.scores(selection).items():
            found = written.get(selection, {}).get(name)
            if not isinstance(found, int | float) or not math.isclose(found, value, abs_tol=TOLERANCE, rel_tol=0):
                differences.append(f"{selection} {name} is {found}, the predictions give {value:.6f}")
        if _matrices(written.get(selection, {}).get("confusion"), run.classes) != run.counts[selection].sum(0).tolist():
            differences.append(f"the confusion matrix of {selection}")
    if differences:
        raise UserError(f"{path} is not of predictions.csv ({differences[0]}). {again}")


def _matrices(confusion: object, classes: Sequence[str]) -> object:
    """As nested lists; those of action units stand under their names in metrics.json."""
    return [confusion.get(name) for name in classes] if isinstance(confusion, dict) else confusion


def _is_synthetic(folder: Path, protocol: str) -> bool:
    """Whether a program drew the run's clips, as its configuration says; without one, as the protocol's name says."""
    import yaml

    path = folder / "config.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected YAML ({error}). The run's command writes it anew.") from error
    data = content.get("data") if isinstance(content, dict) else None
    return protocol.startswith("synthetic") or (isinstance(data, dict) and data.get("generate") is not None)
