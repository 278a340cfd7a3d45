"""The tables of `task=compare` in a terminal."""

from collections.abc import Mapping, Sequence

from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from fdp_lightning.evaluation import comparison_text as text
from fdp_lightning.evaluation.comparison import BLOCKS, Row, Table


def print_tables(tables: Sequence[Table], left_out: Mapping[str, str], console: Console | None = None) -> None:
    """Print every table with its notes and tests; run folders that are left out are named.

    Args:
        tables: of `compare`.
        left_out: run folders that are not among them → why.
        console: to print on; None: standard output.
    """
    screen = console or Console()
    for table in tables:
        screen.print(scores_grid(table))
        _print_notes(screen, table)
        if table.pairs:
            screen.print(paired_grid(table))
        screen.print()
    for folder, why in left_out.items():
        screen.print(f"not in these tables: {folder} ({why})", markup=False, highlight=False, soft_wrap=True)


def scores_grid(table: Table) -> Grid:
    """Lay out the rows in their blocks, each on a few lines, so that 80 columns are enough."""
    grid = _grid(text.title(table) + (" (synthetic)" if table.synthetic else ""))
    grid.add_column("system", overflow="fold", ratio=1)
    for name in table.scores:
        grid.add_column(name, justify="right", no_wrap=True)
    numbers = _numbers_of_notes(table)
    for block, heading in BLOCKS.items():
        rows = table.block(block)
        if rows:
            grid.add_row(Text(heading.split(":")[0], "italic"), *([""] * len(table.scores)))
        for row in rows:
            style = "bold" if row.rank == 1 else "dim" if block in ("oracle", "floor") else ""
            marks = "".join(f" [{numbers[note]}]" for note in row.notes)
            place = f"{row.rank}. " if row.rank else ""
            unlearned = "" if row.learned else " ‡"
            label = Text(place + _in_lines(row.name), style).append(unlearned, "yellow").append(marks, "not bold")
            for about in filter(None, (text.model_label(row), _selection(row), text.seeds_label(row))):
                label.append(f"\n  {about}", "dim not bold")
            cells = [
                Text(text.number(row, score), "" if row.rank == 1 and score != table.ranked_by else style).append(
                    _below(row, score), "dim not bold"
                )
                for score in table.scores
            ]
            grid.add_row(label, *cells)
        if rows:
            grid.add_section()
    return grid


def paired_grid(table: Table) -> Grid:
    """Lay out the tests against the baseline."""
    grid = _grid(f"minus {table.baseline}, the same clips; intervals and p over subjects")
    grid.add_column("system", overflow="fold", ratio=1)
    names = [name for name in table.scores if name in table.pairs[0].differences]
    for name in names:
        grid.add_column(name, justify="right", no_wrap=True)
    for pair in table.pairs:
        cells = []
        for name in names:
            value = pair.differences[name]
            low, high = (f"{bound:+.3f}" for bound in value.ci95) if value.ci95 else ("no interval", "")
            cells.append(Text(text.difference(value)).append(f"\n{low}\n{high}\n{text.p_value(value.p)}", "dim"))
        label = Text(_in_lines(pair.name))
        if not pair.meaningful:
            label.append(f"\n  {text.meaning(False)}", "yellow")
        grid.add_row(label, *cells, end_section=True)
    return grid


def _grid(title: str) -> Grid:
    return Grid(title=title, box=HORIZONTALS, pad_edge=False, title_justify="left", caption_justify="left")


def _in_lines(name: str) -> str:
    """A path as a line per folder: a terminal would cut it anywhere."""
    return name.replace("/", "/\n  ")


def _selection(row: Row) -> str:
    label = text.selection_label(row)
    return {"oracle": "not comparable", "not stated": "epoch: not stated"}.get(label, label)


def _below(row: Row, score: str) -> str:
    lines = filter(None, (text.deviation(row, score), text.bounds(row, score)))
    return "".join(f"\n{line}" for line in lines)


def _numbers_of_notes(table: Table) -> dict[str, int]:
    notes = dict.fromkeys(note for row in table.rows for note in row.notes)
    return {note: place for place, note in enumerate(notes, 1)}


def _print_notes(screen: Console, table: Table) -> None:
    for note, place in _numbers_of_notes(table).items():
        screen.print(f" [{place}] {note}", markup=False, highlight=False, style="dim", soft_wrap=True)
    if not all(row.learned for row in table.rows):
        screen.print(f" {text.UNLEARNED}", highlight=False, style="yellow")
    if table.synthetic:
        screen.print(f" {text.SYNTHETIC}", highlight=False)
