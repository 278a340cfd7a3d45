"""The pooled scores as one table for the terminal."""

from collections.abc import Collection, Mapping
from typing import Any

from rich.box import HORIZONTALS
from rich.table import Table
from rich.text import Text

from fdp_lightning.evaluation.metrics import SCORES
from fdp_lightning.evaluation.predictions import SELECTIONS

_NAMED_AT_MOST = 8


def terminal_table(metrics: Mapping[str, Any], headline: str = "last") -> Table:
    """Lay metrics.json out: the headline, the other selections, then the floors.

    `last` and `inner` stand with their interval, `oracle` with the gap. All scores are fractions of 1. The interval or
    the gap stands below its score, so that the table fits 80 columns (hence no vertical lines).

    Args:
        metrics: of `summarise`.
        headline: the selection that stands first.
    """
    title = f"{metrics['protocol']}: {metrics['n_clips']} clips, {metrics['n_subjects']} subjects, pooled"
    if metrics["split"] != "loso":
        title += f" (split {metrics['split']})"
    table = Table(title=title, box=HORIZONTALS, pad_edge=False, title_justify="left", caption_justify="left")
    table.add_column("selection")
    for name in SCORES:
        table.add_column(name, justify="right", no_wrap=True)
    selections, floors = metrics["selections"], metrics["floors"]
    for name in in_order(selections, headline):
        row, gap = selections[name], metrics["optimism_gap"]
        note = "not comparable, gap" if name == "oracle" else "95 % interval"
        style = "bold" if name == headline else "dim" if name == "oracle" else ""
        below = {s: f"{gap[s]:+.3f}" if name == "oracle" else interval(row["ci95"][s]) for s in SCORES}
        table.add_row(
            Text(f"{name}\n", style).append(f"  {note}", "dim"),
            *(Text(f"{row[score]:.3f}\n", style).append(below[score], "dim") for score in SCORES),
            end_section=True,
        )
    labels = {"majority": f"majority ({floors['majority']['class']})", "chance": "chance"}
    for name, label in labels.items():
        table.add_row(Text(label), *(f"{floors[name][score]:.3f}" for score in SCORES))
    table.caption = Text("\n".join(_lacking(metrics))) if _lacking(metrics) else None
    return table


def in_order(selections: Collection[str], headline: str) -> list[str]:
    """The names of the selections there are, the headline first."""
    return sorted(selections, key=lambda name: (name != headline, SELECTIONS.index(name)))


def _lacking(metrics: Mapping[str, Any]) -> list[str]:
    """A line on each kind of subject or clip that no score counts."""
    lines = []
    if metrics["skipped_folds"]:
        lines.append("folds without clips, skipped: " + ", ".join(metrics["skipped_folds"]))
    if metrics["untested"]:
        lines.append("subjects that train and are not tested: " + ", ".join(metrics["untested"]))
    for why, clips in metrics["left_out"].items():
        more = ["…"] if len(clips) > _NAMED_AT_MOST else []
        lines.append(f"clips left out ({why}): {len(clips)}, {', '.join([*clips[:_NAMED_AT_MOST], *more])}")
    return [*lines, *(f"caveat: {caveat}" for caveat in metrics["caveats"])]


def interval(bounds: list[float] | None) -> str:
    """Return `0.412–0.538`, or `none` where the table is too small to give one."""
    return "none" if bounds is None else f"{bounds[0]:.3f}–{bounds[1]:.3f}"
