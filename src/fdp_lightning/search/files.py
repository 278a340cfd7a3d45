"""Output of a search: trials.csv, nested.csv, best.yaml, and the table of its trials."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console
from rich.text import Text

from fdp_lightning.evaluation.search import choose, inner_score, is_better_lower
from fdp_lightning.evaluation.terminal import interval, ruled_table
from fdp_lightning.files import write_atomic
from fdp_lightning.search.trials import Scored, Trial

BEST = "best.yaml"
NESTED = "nested.csv"

_BEST = """\
# The best of {n} trials by inner/{score}, pooled over the inner validation subjects of all folds.
# They are tested in other folds: the test score of this trial is not an independent estimate.
# The score of the search is the nested score in metrics.json beside this file.
"""


def write_trials(path: Path, scored: Sequence[Scored], score: str) -> None:
    """Write one row per trial, in their order: parameters, inner score with its interval, status, run folder."""
    rows = []
    for one in scored:
        trial = one.trial
        low, high = one.interval or (math.nan, math.nan)
        row: dict[str, Any] = {"trial": trial.number, "status": "finished" if trial.finished else "failed"}
        row |= {f"inner/{score}": one.value, "low": low, "high": high}
        row |= {key: "null" if given is None else given for key, given in trial.values.items()}
        rows.append(row | {"run": trial.folder and trial.folder.as_posix(), "failure": trial.failure})
    write_atomic(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def write_nested(
    path: Path, choice: Mapping[str, int], trials: Sequence[Trial], classes: Sequence[str], score: str
) -> None:
    """Write which trial gave each fold's predictions, and its inner score in this fold."""
    rows = []
    for fold, number in choice.items():
        value = inner_score(trials[number].inner[fold], classes, score)
        rows.append({"fold": fold, "trial": number, f"inner/{score}": value, **trials[number].values})
    write_atomic(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def write_best(path: Path, scored: Sequence[Scored], classes: Sequence[str], score: str) -> None:
    """Write the trial that is best over the inner validation clips of all folds, with the command of its run."""
    inner = {one.trial.number: one.trial.all_inner for one in scored if one.trial.finished}
    chosen = scored[choose(inner, classes, score)]
    best = chosen.trial
    content = {
        "trial": best.number,
        "inner": {"score": score, "value": chosen.value, "ci95": chosen.interval},
        "parameters": best.values,
        "command": shlex.join(["python", "-m", "fdp_lightning", *best.overrides]),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    write_atomic(path, _BEST.format(n=len(scored), score=score) + text)


def print_trials(scored: Sequence[Scored], score: str, console: Console | None = None) -> None:
    """Print the trials, the best first, then the failed ones with the reason."""
    table = ruled_table(f"{len(scored)} trials by inner/{score}, on inner validation subjects")
    table.add_column("trial", justify="right")
    table.add_column(f"inner/{score}", justify="right", no_wrap=True)
    for key in scored[0].trial.values:
        table.add_column(key.split(".")[-1], justify="right", overflow="fold")
    finished = [one for one in scored if one.trial.finished]
    for one in sorted(finished, key=lambda one: one.value, reverse=not is_better_lower(score)):
        cell = Text(f"{one.value:.3f}").append(f"\n{interval(one.interval)}", "dim")
        table.add_row(str(one.trial.number), cell, *map(_shown, one.trial.values.values()))
    failed = [one.trial for one in scored if not one.trial.finished]
    for trial in failed:
        table.add_row(Text(str(trial.number), "dim"), Text("failed", "dim"), *map(_shown, trial.values.values()))
    screen = console or Console(markup=False)
    screen.print(table)
    for trial in failed:
        screen.print(f" trial {trial.number} failed: {trial.failure}", markup=False, highlight=False, soft_wrap=True)


def _shown(value: object) -> Text:
    return Text(f"{value:g}" if isinstance(value, float) else str(value))
