"""The pooled scores as one table for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import HORIZONTALS
from rich.table import Table
from rich.text import Text

from fdp_lightning.evaluation.metrics import SCORES


def terminal_table(metrics: Mapping[str, Any]) -> Table:
    """Lay metrics.json out: `last` with its interval, `inner`, `oracle` with the gap, then the floors.

    All scores are fractions of 1. The interval or the gap stands below its score, so that the table fits 80
    columns (hence no vertical lines).
    """
    title = f"{metrics['protocol']}: {metrics['n_clips']} clips, {metrics['n_subjects']} subjects, pooled"
    table = Table(title=title, box=HORIZONTALS, pad_edge=False, title_justify="left", caption_justify="left")
    table.add_column("selection")
    for name in SCORES:
        table.add_column(name, justify="right", no_wrap=True)
    selections, floors = metrics["selections"], metrics["floors"]
    for name in ("last", "inner"):
        if name in selections:
            row = selections[name]
            style = "bold" if name == "last" else ""
            table.add_row(
                Text(f"{name}\n", style).append("  95 % interval", "dim"),
                *(Text(f"{row[score]:.3f}\n", style).append(interval(row["ci95"][score]), "dim") for score in SCORES),
                end_section=True,
            )
    if "oracle" in selections:
        row, gap = selections["oracle"], metrics["optimism_gap"]
        table.add_row(
            Text("oracle\n  not comparable, gap", "dim"),
            *(Text(f"{row[score]:.3f}\n{gap[score]:+.3f}", "dim") for score in SCORES),
            end_section=True,
        )
    labels = {"majority": f"majority ({floors['majority']['class']})", "chance": "chance"}
    for name, label in labels.items():
        table.add_row(Text(label), *(f"{floors[name][score]:.3f}" for score in SCORES))
    if metrics["skipped_folds"]:
        table.caption = Text("folds without clips, skipped: " + ", ".join(metrics["skipped_folds"]))
    return table


def interval(bounds: list[float] | None) -> str:
    """Return `0.412–0.538`, or `none` where the table is too small to give one."""
    return "none" if bounds is None else f"{bounds[0]:.3f}–{bounds[1]:.3f}"
