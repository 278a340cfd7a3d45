"""Trials of a search, each an ordinary run of all folds, and their tables and files."""

import logging
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.text import Text

from fdp_lightning.config import apply_debug_last, configuration
from fdp_lightning.engine.outputs import INNER
from fdp_lightning.engine.run import FoldsFailedError, complete, open_run
from fdp_lightning.errors import DiskError, UserError, first_line
from fdp_lightning.evaluation.search import choose, inner_interval, inner_score, is_better_lower
from fdp_lightning.evaluation.terminal import interval, ruled_table
from fdp_lightning.files import write_atomic
from fdp_lightning.runs.folder import folder_of
from fdp_lightning.runs.pooling import POOLED, read_fold
from fdp_lightning.search.space import Value

log = logging.getLogger("fdp_lightning")


@dataclass
class Trial:
    """A trained point of the space.

    Attributes:
        number: number of the trial.
        values: the point, by configuration key.
        overrides: overrides that produce the same run without a search.
        folder: folder of the run; None if it could not be composed.
        failure: reason of a failure; '' for a finished trial.
        inner: predictions on the inner validation clips, by finished fold.
        test: predictions on the held-out clips, by finished fold.
        value: inner score over all folds, NaN if the trial failed.
        interval: confidence interval of `value`.
    """

    number: int
    values: dict[str, Value]
    overrides: list[str]
    folder: Path | None = None
    failure: str = ""
    inner: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    test: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    value: float = math.nan
    interval: list[float] | None = None

    @property
    def finished(self) -> bool:
        return not self.failure

    @property
    def all_inner(self) -> pd.DataFrame:
        return pd.concat(self.inner.values(), ignore_index=True)


def own_overrides() -> list[str]:
    """Return the command's overrides without those of the search."""
    given = HydraConfig.get().overrides.task
    keys = [override.lstrip("+~").partition("=")[0] for override in given]
    ours = [key in ("task", "space") or key == "tune" or key.startswith("tune.") for key in keys]
    return [override for override, about_search in zip(given, ours, strict=True) if not about_search]


def compose_trial(overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """Return configuration and run folder of the command with these overrides.

    Raises:
        HydraException: an override is unknown.
    """
    config = configuration(*overrides, hydra=True)
    choices: Mapping[str, str | None] = config.hydra.runtime.choices
    folder = folder_of(config, choices, config.hydra.overrides.task)
    debug = choices.get("debug")
    with open_dict(config):
        del config["hydra"]
    apply_debug_last(config, debug)
    return config, folder


def run_trial(number: int, values: dict[str, Value], overrides: list[str], classes: Sequence[str], score: str) -> Trial:
    """Train all unfinished folds of a point of the space and score it; a failure is recorded in the trial."""
    folder, run, failure = None, None, ""
    try:
        config, folder = compose_trial(overrides)
        run = open_run(config, folder)
        if not (run.is_complete and all((folder / name).is_file() for name in POOLED)):
            complete(run)
    except DiskError:
        raise
    except (UserError, FoldsFailedError, HydraException, OmegaConfBaseException) as error:
        failure = _reason(error)
        log.warning("trial %d failed: %s", number, failure)
    trial = Trial(number, values, overrides, folder, failure)
    for plan in run.plans if run else []:
        if plan.is_done:
            trial.inner[plan.fold.name] = read_fold(plan.folder, INNER, "inner")
            trial.test[plan.fold.name] = read_fold(plan.folder)
    if trial.finished:
        trial.value = inner_score(trial.all_inner, classes, score)
        trial.interval = inner_interval(trial.all_inner, classes, score)
    return trial


def _reason(error: Exception) -> str:
    """Return the cause of a trial's failure in one line; for failed folds, that of the first one by name."""
    folds = [line.strip() for line in str(error).splitlines() if line.strip().startswith("fold ")]
    return min(folds) if isinstance(error, FoldsFailedError) and folds else first_line(error)


BEST = "best.yaml"
NESTED = "nested.csv"

_BEST = """\
# The best of {n} trials by inner/{score}, pooled over the inner validation subjects of all folds.
# These subjects are held out in other folds, so the test score of this trial is not an independent estimate.
# The score of the search is the nested score in metrics.json, next to this file.
"""


def write_trials(path: Path, trials: Sequence[Trial], score: str) -> None:
    """Write one row per trial, in their order: parameters, inner score with its interval, status, run folder."""
    rows = []
    for trial in trials:
        low, high = trial.interval or (math.nan, math.nan)
        row: dict[str, Any] = {"trial": trial.number, "status": "finished" if trial.finished else "failed"}
        row |= {f"inner/{score}": trial.value, "low": low, "high": high}
        row |= {key: "null" if given is None else given for key, given in trial.values.items()}
        rows.append(row | {"run": trial.folder and trial.folder.as_posix(), "failure": trial.failure})
    write_atomic(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def write_nested(
    path: Path, choice: Mapping[str, int], trials: Sequence[Trial], classes: Sequence[str], score: str
) -> None:
    """Write which trial predicts each fold, and its inner score in this fold."""
    rows = []
    for fold, number in choice.items():
        value = inner_score(trials[number].inner[fold], classes, score)
        rows.append({"fold": fold, "trial": number, f"inner/{score}": value, **trials[number].values})
    write_atomic(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def write_best(path: Path, trials: Sequence[Trial], classes: Sequence[str], score: str) -> None:
    """Write the best trial over the inner validation clips of all folds, with the command of its run."""
    best = trials[choose({one.number: one.all_inner for one in trials if one.finished}, classes, score)]
    content = {
        "trial": best.number,
        "inner": {"score": score, "value": best.value, "ci95": best.interval},
        "parameters": best.values,
        "command": shlex.join(["python", "-m", "fdp_lightning", *best.overrides]),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    write_atomic(path, _BEST.format(n=len(trials), score=score) + text)


def print_trials(trials: Sequence[Trial], score: str) -> None:
    """Print the finished trials, best first, then the failed ones with their reasons."""
    table = ruled_table(f"{len(trials)} trials by inner/{score}, on inner validation subjects")
    table.add_column("trial", justify="right")
    table.add_column(f"inner/{score}", justify="right", no_wrap=True)
    for key in trials[0].values:
        table.add_column(key.split(".")[-1], justify="right", overflow="fold")
    finished, failed = ([one for one in trials if one.finished is state] for state in (True, False))
    for one in sorted(finished, key=lambda one: one.value, reverse=not is_better_lower(score)):
        cell = Text(f"{one.value:.3f}").append(f"\n{interval(one.interval)}", "dim")
        table.add_row(str(one.number), cell, *map(_shown, one.values.values()))
    for trial in failed:
        table.add_row(Text(str(trial.number), "dim"), Text("failed", "dim"), *map(_shown, trial.values.values()))
    screen = Console(markup=False)
    screen.print(table)
    for trial in failed:
        screen.print(f" trial {trial.number} failed: {trial.failure}", markup=False, highlight=False, soft_wrap=True)


def _shown(value: object) -> Text:
    return Text(f"{value:g}" if isinstance(value, float) else str(value))
