"""Several seeds of one variant: mean ± standard deviation of the pooled scores, never of folds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.metrics import DECISION_SCORES
from fdp_lightning.evaluation.paired import clip_difference
from fdp_lightning.evaluation.runs import Run, is_finished, read_run
from fdp_lightning.evaluation.terminal import ruled_table
from fdp_lightning.labels import SELECTIONS

Spread = dict[str, dict[str, dict[str, float]]]


def seed_scores(run: Path) -> dict[str, Any] | None:
    """Score all seeds of a run's variant, `<variant>/seed-<s>`: the folders `seed-*` beside it, and itself.

    Returns:
        `{"seeds": [0, 1, 2], "selections": {"last": {"uf1": {"mean": …, "sd": …}, …}, …}, "left_out": {"seed-3":
        why}}`, sd with n − 1; None where fewer than two seeds are finished, sound and of the same protocol, classes,
        split and clips as this run. What is left out is named, never averaged in.

    Raises:
        UserError: this run itself is not finished or damaged.
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
        except (UserError, OSError) as error:  # OSError: another process is at work there
            left_out[folder.name] = str(error)
            continue
        same = [run.folder.name for run in kept if run.seed == other.seed]
        if why := seeds_differ(own, other) or (f"seed {other.seed} again, as {same[0]}" if same else ""):
            left_out[folder.name] = why
        else:
            kept.append(other)
    if len(kept) < 2:
        return None
    kept.sort(key=lambda one: one.seed)
    return {"seeds": [one.seed for one in kept], "selections": spread(kept), "left_out": left_out}


def spread(runs: Sequence[Run]) -> Spread:
    """Mean and standard deviation (n − 1) over seeds of each pooled score, of the selections all of them have.

    Raises:
        ValueError: fewer than two runs, of which there is no deviation.
    """
    if len(runs) < 2:
        raise ValueError("a standard deviation needs two seeds")
    result: Spread = {}
    for selection in [name for name in SELECTIONS if all(name in run.parts for run in runs)]:
        each = [run.scores(selection) for run in runs]
        columns = {name: np.array([scores[name] for scores in each]) for name in each[0]}
        result[selection] = {
            name: {"mean": float(values.mean()), "sd": float(values.std(ddof=1))} for name, values in columns.items()
        }
    return result


def seeds_differ(a: Run, b: Run) -> str:
    """Say why two runs cannot be seeds of one variant; '' where they can."""
    for what in ("protocol", "classes", "split"):
        if getattr(a, what) != getattr(b, what):
            return f"of another {what}" if what != "classes" else "with other classes"
    return f"over other clips ({why})" if (why := clip_difference(a.parts["last"], b.parts["last"])) else ""


def seeds_table(seeds: Mapping[str, Any]) -> Table:
    """Lay out what `seed_scores` returns for the terminal: mean ± standard deviation, at most 80 columns."""
    selections = seeds["selections"]
    names = [name for name in selections["last"] if name in DECISION_SCORES]
    title = f"mean ± standard deviation over {len(seeds['seeds'])} seeds ({', '.join(map(str, seeds['seeds']))})"
    table = ruled_table(title)
    table.add_column("selection", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for selection, row in selections.items():
        label = Text(selection, "bold" if selection == "last" else "")
        if selection == "oracle":
            label = Text("oracle,\nnot comparable", "dim")
        table.add_row(label, *(f"{row[name]['mean']:.3f} ± {row[name]['sd']:.3f}" for name in names))
    if seeds["left_out"]:
        table.caption = Text("\n".join(f"{name} is not in it: {why}" for name, why in seeds["left_out"].items()))
    return table
