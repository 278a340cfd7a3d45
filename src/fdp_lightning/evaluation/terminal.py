"""The pooled scores of a run, and of several seeds, as tables for the terminal."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import HORIZONTALS
from rich.table import Table
from rich.text import Text

from fdp_lightning.evaluation.baselines import BASELINES
from fdp_lightning.evaluation.learning import WHAT_TO_TRY, Sign, has_learned
from fdp_lightning.evaluation.metrics import DECISION_SCORES, RANKED_BY, accuracy, score_functions, support
from fdp_lightning.evaluation.origin import trained_facts, trained_line
from fdp_lightning.evaluation.predictions import some_of
from fdp_lightning.labels import SELECTIONS, LabelKind

UNIT_BASELINES = {"constant": "constant (all shown)", "majority": "majority (per unit)"}


def ruled_table(title: str) -> Table:
    """Return an empty table without vertical lines, to fit narrow terminals; its title is text, not markup."""
    look: Any = {"box": HORIZONTALS, "pad_edge": False, "title_justify": "left", "caption_justify": "left"}
    return Table(title=Text(title, "italic"), **look)


def terminal_table(metrics: Mapping[str, Any], headline: str = "last") -> Table:
    """Lay out metrics.json: the headline, the other selections, the trained baselines, then chance and majority.

    All scores are fractions of 1. Below each score of `last` and `inner` is its interval, below one of `oracle` the
    gap: on one line they would not fit 80 columns. The datasets of a composite follow and, for multi-label scores, the
    action units as `last` predicts them.
    """
    title = f"{metrics['protocol']}: {metrics['n_clips']} clips, {metrics['n_subjects']} subjects, pooled"
    if metrics["split"] != "loso":
        title += f" (split {metrics['split']})"
    if model := trained_line(trained_facts(metrics)):
        title = f"{model}\n{title}"
    table = ruled_table(title)
    table.add_column("selection")
    label_kind = LabelKind.of_flag(metrics.get("multi_label", False))
    scores = score_functions(label_kind)  # 80 columns have no room for scores of probabilities
    for name in scores:
        table.add_column(name, justify="right", no_wrap=True)

    def add(
        label: str, note: str, row: Mapping[str, Any], gap: Mapping[str, float] | None = None, style: str = ""
    ) -> None:
        below = [f"{gap[score]:+.3f}" if gap else interval(row["ci95"][score]) for score in scores]
        cells = (_noted(f"{row[score]:.3f}", text, style) for score, text in zip(scores, below, strict=True))
        table.add_row(_noted(label, f"  {note}", style), *cells)

    for name in in_order(metrics["selections"], headline):
        is_oracle = name == "oracle"
        note, gap = ("not comparable, gap", metrics["optimism_gap"]) if is_oracle else ("95 % interval", None)
        add(name, note, metrics["selections"][name], gap, "bold" if name == headline else "dim" if is_oracle else "")
        table.add_section()
    for name, row in metrics.get("baselines", {}).items():
        add(BASELINES.get(name, name), "95 % interval", row)
        table.add_section()
    for name, row in metrics["floors"].items():
        label = f"{name} ({row['class']})" if "class" in row else UNIT_BASELINES.get(name, name)
        table.add_row(Text(label), *(f"{row[score]:.3f}" for score in scores))
    table.add_section()
    for name, part in metrics.get("datasets", {}).items():
        add(f"last, {name}", f"{part['n_clips']} clips", part["selections"]["last"])
    if label_kind.is_multi:
        _add_units(table, metrics)
    if lines := _caption_lines(metrics):
        table.caption = Text("\n".join(lines))
    return table


def _noted(text: str, note: str, style: str) -> Text:
    return Text(f"{text}\n", style).append(note, "dim")


def learning_note(signs: Sequence[Sign]) -> Text:
    """Lay out the signs that a run did not learn, to be printed below its scores; decisive ones are bold."""
    learned = has_learned(signs)
    note = Text("Notes on these scores:" if learned else "Not learned?", "yellow" if learned else "bold yellow")
    for sign in signs:
        note.append(f"\n  {sign.detail}", "bold yellow" if sign.decisive else "not bold yellow")
    return note if learned else note.append(f"\n  {WHAT_TO_TRY}", "not bold yellow")


def _add_units(table: Table, metrics: Mapping[str, Any]) -> None:
    """Add one row per action unit: clips, accuracy, F1 with its interval, and the F1 of the constant baseline."""
    last, constant = metrics["selections"]["last"], metrics["floors"]["constant"]["f1"]
    table.add_row(Text("unit (clips), last", "bold"), "accuracy", "F1, 95 % interval, constant", end_section=True)
    for name, matrix in last["confusion"].items():
        counts = np.asarray(matrix)
        details = f"  {interval(last['ci95']['f1'][name])}  {constant[name]:.3f}"
        f1 = Text(f"{last['f1'][name]:.3f}").append(details, "dim")
        table.add_row(Text(f"{name} ({support(counts)[1]})"), f"{float(accuracy(counts)):.3f}", f1)


def in_order(selections: Collection[str], headline: str) -> list[str]:
    return sorted(selections, key=lambda name: (name != headline, SELECTIONS.index(name)))


def _caption_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return a line for each trained baseline, each kind of subject or clip that no score counts, and each caveat."""
    lines = [_baseline_line(name, row) for name, row in metrics.get("baselines", {}).items()]
    if metrics["skipped_folds"]:
        lines.append("skipped folds, without clips: " + ", ".join(metrics["skipped_folds"]))
    if metrics["untested"]:
        lines.append("subjects used for training only: " + ", ".join(metrics["untested"]))
    for why, clips in metrics["left_out"].items():
        lines.append(f"clips left out ({why}): {len(clips)}, {some_of(clips)}")
    return [*lines, *(f"caveat: {caveat}" for caveat in metrics["caveats"])]


def _baseline_line(name: str, row: Mapping[str, Any]) -> str:
    """Describe the difference between `last` and a trained baseline in the ranking score, with its 95 % interval."""
    score = next(score for score in RANKED_BY if score in row["last_minus"])
    value, bounds, p = difference(**row["last_minus"][score])
    about = ", ".join(filter(None, (bounds.replace("none", "no interval"), p)))
    return f"{score}, last − “{BASELINES.get(name, name)}”: {value} ({about})"


def difference(value: float, ci95: Sequence[float] | None, p: float | None) -> tuple[str, str, str]:
    """Format an `intervals.Difference`: `+0.031`, `−0.010 to +0.072` or `none`, and `p 0.034` or ''."""
    shown, *bounds = (f"{number:+.3f}".replace("-", "−") for number in (value, *(ci95 or [])))
    of_p = "" if p is None else "p < 0.001" if p < 0.001 else f"p {p:.3f}"
    return shown, " to ".join(bounds) or "none", of_p


def interval(bounds: list[float] | None) -> str:
    """Return `0.412–0.538`, or `none` if the table is too small for an interval."""
    return "none" if bounds is None else f"{bounds[0]:.3f}–{bounds[1]:.3f}"


def seeds_table(seeds: Mapping[str, Any]) -> Table:
    """Lay out the result of `seed_scores`, mean ± standard deviation, in at most 80 columns."""
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
        table.caption = Text("\n".join(f"{name} is not included: {why}" for name, why in seeds["left_out"].items()))
    return table
