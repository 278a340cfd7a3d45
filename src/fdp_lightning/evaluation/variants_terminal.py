"""The table of a sweep in a terminal."""

from collections.abc import Sequence

from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from fdp_lightning.evaluation import comparison_text as text
from fdp_lightning.evaluation.counts import SCORE_NAMES
from fdp_lightning.evaluation.variants import VariantRow, VariantTable


def print_variants(tables: Sequence[VariantTable], console: Console | None = None) -> None:
    """Print every table, and name the jobs without pooled scores.

    Args:
        tables: of `variant_tables`.
        console: to print on; None: standard output.
    """
    screen = console or Console()
    for table in tables:
        screen.print(variants_grid(table))
        if "oracle" in table.selections:
            screen.print(" oracle: the epoch best on the test subject; not comparable", highlight=False, style="dim")
        notes = dict.fromkeys(note for row in table.rows if row.last for note in row.last.notes)
        for note in notes:
            screen.print(f" {note}", markup=False, highlight=False, style="dim", soft_wrap=True)
        if any(row.last and not row.last.learned for row in table.rows):
            screen.print(f" {text.UNLEARNED}", highlight=False, style="yellow")
        if table.table.synthetic:
            screen.print(f" {text.SYNTHETIC}", highlight=False)
        for row in table.rows:
            for why in row.missing:
                screen.print(f" missing: {row.name} {why}", markup=False, highlight=False, style="bold", soft_wrap=True)
        screen.print()


def variants_grid(table: VariantTable) -> Grid:
    """Lay the variants out on three lines each, so that 80 columns are enough."""
    first, *more = _columns(table)
    grid = Grid(title=text.title(table.table), box=HORIZONTALS, pad_edge=False, title_justify="left")
    grid.add_column("variant", overflow="fold", ratio=1)
    grid.add_column(SCORE_NAMES[first], justify="right", no_wrap=True)
    grid.add_column("− baseline", justify="right", no_wrap=True)
    for name in [*(SCORE_NAMES[name] for name in more), *table.selections]:
        grid.add_column(name, justify="right", no_wrap=True)
    for row in table.rows:
        grid.add_row(*_cells(table, row), end_section=row is table.rows[-1])
    for floor in table.floors:
        cells = [text.number(floor, first), "", *(text.number(floor, name) for name in more)]
        grid.add_row(
            Text(floor.name.split(" (")[0], "dim"),
            *(Text(cell, "dim") for cell in cells),
            *[""] * len(table.selections),
        )
    return grid


def _columns(table: VariantTable) -> list[str]:
    """Without the weighted F1, for which there is no room; the files have it."""
    return [name for name in table.scores if name != "weighted_f1"]


def _cells(table: VariantTable, row: VariantRow) -> list[Text]:
    first, *more = _columns(table)
    if row.last is None:
        return [Text(row.name), Text("missing", "bold")]
    about = filter(None, (text.model_label(row.last), text.seeds_label(row.last)))
    name = Text(row.name, "bold" if row.name == table.baseline else "").append(text.mark(row.last), "yellow")
    name.append("".join(f"\n  {line}" for line in about), "dim not bold")
    score = Text(f"{text.number(row.last, first)} {text.deviation(row.last, first)}".strip())
    score.append(f"\n{text.bounds(row.last, first)}", "dim")
    difference = Text("baseline" if row.name == table.baseline else "–", "dim")
    if found := (row.differences or {}).get(first):
        low, high = (f"{bound:+.3f}".replace("-", "−") for bound in found.ci95) if found.ci95 else ("none", "")
        difference = Text(text.difference(found)).append(f"\n{low} {high}\n", "dim")
        difference.append(
            text.meaning(row.meaningful) or text.p_value(found.p), "dim" if row.meaningful else "not dim yellow"
        )
    others = [Text(text.number(row.last, name)) for name in more]
    chosen = [
        Text(text.number(row.others[name], first) if name in row.others else "", "dim") for name in table.selections
    ]
    return [name, score, difference, *others, *chosen]
