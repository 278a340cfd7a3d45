"""A finished run, read from its folder: predictions.csv is the truth, and metrics.json must agree with it.

Several seeds of one variant are summarised by mean ± standard deviation of their pooled scores, never of folds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation import baselines
from fdp_lightning.evaluation.learning import FoldTraining, Sign, learning_signs, read_trainings
from fdp_lightning.evaluation.metrics import DECISION_SCORES, SCORE_NAMES
from fdp_lightning.evaluation.predictions import Outcomes, clip_difference, label_kind_of, read_predictions
from fdp_lightning.evaluation.summary import summarise
from fdp_lightning.foreign import read_json, read_yaml, require_plain, require_plain_tree
from fdp_lightning.labels import SELECTIONS, LabelKind

TOLERANCE = 1e-9
"""Largest difference allowed between scores of metrics.json and predictions.csv: floating-point differences."""

FIT = "fit.json"
"""File that marks the folder of a model trained on all subjects: not a run, because nothing in it was tested."""


@dataclass(frozen=True)
class Run:
    """One run: one variant trained with one seed."""

    folder: Path
    metrics: Mapping[str, Any] = field(repr=False)
    """Content of metrics.json, with scores computed from the predictions: files of earlier versions lack some."""
    classes: tuple[str, ...]
    parts: Mapping[str, pd.DataFrame] = field(repr=False)
    """Selection → its predictions."""
    synthetic: bool = False

    @property
    def protocol(self) -> str:
        return str(self.metrics["protocol"])

    @property
    def split(self) -> str:
        """Kind of split into folds: loso, kfold, lodo or fixed."""
        return str(self.metrics["split"])

    @property
    def seed(self) -> int:
        return int(self.parts["last"]["seed"].iloc[0])

    @property
    def label_kind(self) -> LabelKind:
        return label_kind_of(self.parts["last"])

    @cached_property
    def outcomes(self) -> dict[str, Outcomes]:
        """Selection → its predictions as arrays."""
        return {name: Outcomes.of(part, self.classes) for name, part in self.parts.items()}

    def scores(self, selection: str) -> dict[str, float]:
        """Return the pooled scores of a selection, from predictions.csv."""
        return self.outcomes[selection].scores()

    @property
    def untrained_baselines(self) -> dict[str, dict[str, Any]]:
        """Scores of the baselines that know only the class counts."""
        return dict(self.metrics["floors"])

    @cached_property
    def trainings(self) -> list[FoldTraining]:
        return read_trainings(self.folder)

    @cached_property
    def signs(self) -> list[Sign]:
        """Signs that the run did not learn, found again in its files: metrics.json may be older than these rules."""
        last = self.metrics["selections"]["last"]
        return learning_signs(self.parts["last"], self.classes, last, self.untrained_baselines, self.trainings)


def read_run(folder: Path) -> Run:
    """Read the folder of a finished run strictly.

    UserError if the run is not finished; a file is damaged; a clip is duplicated, or missing in one selection; or the
    scores of metrics.json do not follow from predictions.csv.
    """
    require_plain_run(folder)
    metrics = _read_metrics(folder)
    table, classes = read_predictions(folder / "predictions.csv")
    again = f"Pool the folds again: task=report run={folder}"
    if (seeds := table["seed"].nunique()) > 1:
        raise UserError(f"{folder / 'predictions.csv'}: rows of {seeds} seeds; a run has one seed. {again}")
    parts = {name: table[table["selection"] == name].reset_index(drop=True) for name in SELECTIONS}
    parts = {name: part for name, part in parts.items() if len(part)}
    if "last" not in parts:
        raise UserError(f"{folder / 'predictions.csv'}: no rows of selection 'last', the headline. {again}")
    for name, part in parts.items():
        if why := clip_difference(parts["last"], part):
            raise UserError(
                f"{folder / 'predictions.csv'}: selections last (the first) and {name} (the second): {why}. {again}"
            )
    metrics |= _computed(folder, metrics, table, classes)
    return Run(folder, metrics, tuple(classes), parts, _is_synthetic(folder, str(metrics["protocol"])))


def require_plain_run(folder: Path) -> None:
    """Raise UserError if a file that is read from a run folder is a link, a pipe or a device."""
    for path in folder.iterdir():
        if path.suffix in (".json", ".yaml", ".csv"):
            require_plain(path)
    if (folder / "folds").is_symlink():
        raise UserError(f"{folder / 'folds'} is a link; expected a plain folder")
    require_plain_tree(folder / "folds", but=("log", "wandb"))


def find_runs(place: Path, above: Sequence[Path] = ()) -> Iterator[Path]:
    """Yield the run folders at or below a folder, finished or not, sorted; runs inside a run are not searched for.

    Links are followed, except those that lead back to one of the parent folders `above`.
    """
    if (resolved := place.resolve()) in above or (place / FIT).is_file():
        return
    if (place / "metrics.json").is_file() or (place / "expected.json").is_file() or (place / "folds").is_dir():
        yield place
        return
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        if not folder.name.startswith("."):
            yield from find_runs(folder, [*above, resolved])


def is_finished(folder: Path) -> bool:
    """Return True if a run folder has pooled scores."""
    return (folder / "metrics.json").is_file()


_KINDS: Mapping[str, Any] = {
    "protocol": str, "classes": list, "selections": dict, "caveats": list | None, "untested": list | None,
    "left_out": dict | None, "model": str | None, "parameters": int | None, "steps": int | list | None,
}  # fmt: skip
"""Entries of metrics.json that are read, and their types."""


def _read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    again = f"Write it again: task=report run={folder}"
    if not path.is_file():
        raise UserError(
            f"{folder}: no pooled scores (metrics.json) in this run folder. Finish the run with the command that "
            f"started it or, if all its folds are finished: task=report run={folder}"
        )
    try:
        content = read_json(path)
    except UserError as error:
        raise UserError(f"{error}. {again}") from error
    known = content if isinstance(content, dict) else {}
    wrong = [name for name, kind in _KINDS.items() if not isinstance(known.get(name), kind)]
    steps = known.get("steps")  # per fold; the fewest and the most if folds differ
    if isinstance(steps, list) and [type(number) for number in steps] != [int, int]:
        wrong.append("steps")
    if wrong or not all(isinstance(row, dict) for row in known["selections"].values()):
        raise UserError(f"{path}: expected the scores of a run, with {', '.join(wrong or ['selections'])}. {again}")
    return known


def _computed(folder: Path, written: Mapping[str, Any], table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Score the predictions again, and refuse a metrics.json with other numbers: the files may differ in age.

    Entries from the run's plan (clips left out, caveats) cannot be computed and are taken as written.
    """
    path, again = folder / "metrics.json", f"Pool the folds again: task=report run={folder}"
    last = table[table["selection"] == "last"]
    plan = {name: written[name] for name in ("untested", "left_out", "split", "caveats") if name in written}
    try:
        computed = summarise(table, classes, written["protocol"], written.get("skipped_folds", ()), **plan)
        if "baselines" in written or (folder / baselines.FILE).is_file():
            of_baselines = baselines.read_baselines(folder / baselines.FILE)
            computed["baselines"] = baselines.score_baselines(of_baselines, last, classes)
    except (TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} was altered ({error!r}). {again}") from error
    if more := sorted(set(written["selections"]) - set(computed["selections"])):
        raise UserError(f"{path} does not match predictions.csv (no selections {', '.join(more)} there). {again}")
    for where, found, expected in differences(written, computed):
        raise UserError(f"{path} does not match predictions.csv ({where} is {found}, expected {expected}). {again}")
    return computed


def differences(written: Any, computed: Any, where: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield key and both values of every entry that differs by more than floating-point differences.

    Both arguments are plain data; entries that were not computed are ignored. Scores of probabilities and of single
    datasets may be missing: files of earlier versions lack them.
    """
    later = {"unit_auc", "datasets", *SCORE_NAMES} - DECISION_SCORES
    if isinstance(computed, Mapping) and isinstance(written, Mapping):
        for name, value in computed.items():
            if name in later and name not in written:
                continue
            yield from differences(written.get(name), value, f"{where} {name}".strip())
    elif isinstance(computed, list | tuple) and isinstance(written, list | tuple) and len(written) == len(computed):
        for found, value in zip(written, computed, strict=True):
            yield from differences(found, value, where)
    elif isinstance(computed, float) and isinstance(written, int | float) and not isinstance(written, bool):
        if not math.isclose(written, computed, abs_tol=TOLERANCE, rel_tol=0):
            yield where, f"{written:.6f}", f"{computed:.6f}"
    elif isinstance(written, bool) != isinstance(computed, bool) or written != computed:
        yield where, f"{written!s:.60}", f"{computed!s:.60}"


def _is_synthetic(folder: Path, protocol: str) -> bool:
    """Return True if the run's clips are synthetic according to its configuration or its protocol's name."""
    path = folder / "config.yaml"
    content = read_yaml(path) if path.exists() else {}
    data = content.get("data")
    return protocol.startswith("synthetic") or (isinstance(data, dict) and data.get("generate") is not None)


Spread = dict[str, dict[str, dict[str, float]]]


def seed_scores(run: Path) -> dict[str, Any] | None:
    """Score all seeds of a run's variant, `<variant>/seed-<s>`: this run and the folders `seed-*` next to it.

    `{"seeds": [0, 1, 2], "selections": {"last": {"uf1": {"mean": …, "sd": …}, …}, …}, "left_out": {"seed-3": why}}`, sd
    with n − 1; None if fewer than two seeds are finished, undamaged and share protocol, classes, split and clips with
    this run. Seeds left out are named, never averaged in. UserError if this run itself is unfinished or damaged.
    """
    own = read_run(run)
    kept, left_out = [own], {}
    for folder in sorted(run.absolute().parent.glob("seed-*")) if run.absolute().name.startswith("seed-") else []:
        if folder == run.absolute() or not folder.is_dir():
            continue
        if not is_finished(folder):
            left_out[folder.name] = "not finished"
            continue
        try:
            other = read_run(folder)
        except (UserError, OSError) as error:  # OSError: another process may be working there
            left_out[folder.name] = str(error)
            continue
        same = [run.folder.name for run in kept if run.seed == other.seed]
        if why := seeds_differ(own, other) or (f"same seed as {same[0]}" if same else ""):
            left_out[folder.name] = why
        else:
            kept.append(other)
    if len(kept) < 2:
        return None
    kept.sort(key=lambda one: one.seed)
    return {"seeds": [one.seed for one in kept], "selections": spread(kept), "left_out": left_out}


def spread(runs: Sequence[Run]) -> Spread:
    """Return mean and standard deviation (n − 1) of each score over two or more seeds, for selections all have."""
    result: Spread = {}
    for selection in [name for name in SELECTIONS if all(name in run.parts for run in runs)]:
        each = [run.scores(selection) for run in runs]
        columns = {name: np.array([scores[name] for scores in each]) for name in each[0]}
        result[selection] = {
            name: {"mean": float(values.mean()), "sd": float(values.std(ddof=1))} for name, values in columns.items()
        }
    return result


def seeds_differ(a: Run, b: Run) -> str:
    """Return why two runs cannot be seeds of one variant; '' if they can."""
    for what in ("protocol", "classes", "split"):
        if getattr(a, what) != getattr(b, what):
            return f"different {what}"
    return f"different clips: {why}" if (why := clip_difference(a.parts["last"], b.parts["last"])) else ""
