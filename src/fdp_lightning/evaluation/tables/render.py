"""Output formats of tables: CSV for programs, HTML for reading, LaTeX for papers, Markdown, and the terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from fdp_lightning.evaluation.metrics import SCORE_NAMES
from fdp_lightning.evaluation.pages import template, with_links
from fdp_lightning.evaluation.tables import words
from fdp_lightning.evaluation.tables.comparison import BLOCKS, Row, Table
from fdp_lightning.evaluation.tables.words import latex_escape as escape
from fdp_lightning.evaluation.terminal import ruled_table
from fdp_lightning.files import write_atomic

COLUMNS = [
    *("protocol", "split", "classes", "n_clips", "n_subjects", "system", "kind", "block", "selection", "metric"),
    *("value", "ci_low", "ci_high", "seeds", "sd", "comparable", "learned", "signs", "rank", "baseline"),
    *("difference", "difference_low", "difference_high", "p", "difference_meaningful"),
    *("source", "notes", "model", "parameters", "steps"),
]
"""The columns of compare.csv."""

_SUFFIXES = {"value": "", "ci_low": "_low", "ci_high": "_high"}
"""Suffixes in variants.csv (uf1, uf1_low, uf1_high); the other columns have their name in compare.csv (uf1_sd)."""


def write_comparison(folder: Path, tables: Sequence[Table], left_out: Mapping[str, str]) -> list[Path]:
    """Write compare.html, compare.csv and compare.tex atomically; the same tables yield the same bytes.

    The page lists `left_out`, run folders that are in no table → why.
    """
    page = template("compare.html.j2").render(tables=tables, left_out=left_out, blocks=BLOCKS, text=words)
    csv = _csv(COLUMNS, [cell for table in tables for cell in _cells(table)])
    return _write(folder / "compare", {"html": page, "csv": csv, "tex": latex(tables)})


def write_variants(folder: Path, tables: Sequence[Table], title: str, command: str) -> list[Path]:
    """Write variants.html, variants.csv, variants.md and variants.tex atomically; `command` is that of the sweep."""
    page = template("variants.html.j2").render(
        tables=tables, title=title, command=command, text=words, scores=_ranked_first, baselines=baselines
    )
    rows = [_wide(table, row) for table in tables for row in table.variants]
    csv = _csv(list(dict.fromkeys(name for row in rows for name in row)), rows)
    return _write(folder / "variants", {"html": page, "csv": csv, "md": markdown(tables), "tex": latex(tables)})


def _write(stem: Path, contents: Mapping[str, str]) -> list[Path]:
    contents = {**contents, "html": with_links(contents["html"])}
    paths = [stem.with_suffix(f".{kind}") for kind in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_atomic(path, content)
    return paths


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    return words.csv_text([columns, *([row.get(name) for name in columns] for row in rows)])


def _cells(table: Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of compare.csv: one per system, selection and metric.

    Numbers are unrounded fractions of 1, empty if undefined; several seeds are separated by spaces.
    """
    about = {name: getattr(table, name) for name in ("protocol", "split", "n_clips", "n_subjects")}
    about["classes"] = "; ".join(table.classes)
    for row in table.rows:
        facts = about | {name: getattr(row, name) for name in ("kind", "block", "selection", "rank", "source")}
        facts |= {"system": row.name, "comparable": _flag(row.comparable)} | _facts(row)
        facts["baseline"] = table.baseline if row.differences else None
        for metric in (name for name in table.scores if name in row.scores):
            yield facts | {"metric": metric} | row.cell(metric)


def _facts(row: Row) -> dict[str, Any]:
    """Return the columns that both CSV files share; empty if metrics.json lacks them or the row is not a run."""
    return {
        "seeds": " ".join(map(str, row.seeds)),
        "notes": "; ".join(row.notes),
        "model": row.model.get("model"),
        "parameters": row.model.get("parameters", "").replace(" ", ""),
        "steps": row.model.get("steps per fold"),
        "learned": _flag(row.learned) if row.kind == "run" else None,
        "signs": " ".join(row.signs),
        "difference_meaningful": _flag(row.meaningful) if row.differences else None,
    }


def _flag(value: bool) -> str:
    return str(value).lower()


def _wide(table: Table, row: Row) -> dict[str, Any]:
    values: dict[str, Any] = {"protocol": table.protocol, "baseline": table.reference, "variant": row.name}
    values |= {"seeds": None, "missing": "; ".join(row.missing)}
    values |= _facts(row) if row.scores else {}
    for score in (name for name in _ranked_first(table) if name in row.scores):
        values |= {score + _SUFFIXES.get(name, f"_{name}"): value for name, value in row.cell(score).items()}
        values |= {f"{name}_{score}": other.scores[score] for name, other in row.others.items()}
    return values


def _ranked_first(table: Table) -> list[str]:
    """Return the scores in the order of a sweep's table: the ranking score, then the others."""
    return sorted(table.scores, key=lambda name: name != table.ranked_by)


def baselines(table: Table) -> list[Row]:
    """Return the trained baselines of a sweep's first variant, if any, then chance and majority."""
    return [*table.block("trained"), *table.block("untrained")]


def markdown(tables: Sequence[Table]) -> str:
    """Format tables for a README, including baselines and missing jobs."""
    parts = []
    for table in tables:
        first, *more = words.narrow(_ranked_first(table))
        heads = [f"{SCORE_NAMES[first]} (95 %)", "± seeds", "difference (95 %)", "p", *(SCORE_NAMES[n] for n in more)]
        heads += [f"{name} {SCORE_NAMES[first]}" for name in table.selections]
        lines = [["variant", *heads], ["---", *["--:"] * len(heads)]]
        lines += [_markdown_row(table, row, first, more) for row in table.variants]
        for row in baselines(table):
            values = [words.score(row, first)[0], "", "", "", *(words.score(row, name)[0] for name in more)]
            lines.append([f"*{row.name}*", *values, *[""] * len(table.selections)])
        grid = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
        found = {row.name: row for row in table.variants if row.scores}
        seeds = ", ".join(map(str, sorted({seed for row in found.values() for seed in row.seeds})))
        parts += [f"{words.title(table)}; seeds {seeds}; baseline: {table.reference}\n", f"{grid}\n"]
        models = {name: words.trained_line(row.model) for name, row in found.items()}
        if len(set(models.values())) > 1:
            parts.append(f"Trained: {'; '.join(f'{name}: {model}' for name, model in models.items())}\n")
        else:
            parts += [f"Trained: {model}\n" for model in set(models.values()) if model]
        if not all(row.learned for row in found.values()):
            parts.append(f"{words.UNLEARNED} {words.MEANINGLESS}\n")
        parts += [f"Notes on {name}: {'; '.join(row.notes)}\n" for name, row in found.items() if row.notes]
        parts += [f"{words.SYNTHETIC}\n"] if table.synthetic else []
        parts += [f"Missing: {row.name}: {'; '.join(row.missing)}\n" for row in table.variants if row.missing]
    return "\n".join(parts)


def _markdown_row(table: Table, row: Row, first: str, more: Sequence[str]) -> list[str]:
    if not row.scores:
        return [row.name, "missing", *[""] * (3 + len(more) + len(table.selections))]
    score, deviation, bounds = words.score(row, first)
    difference, between, p = words.difference(row.differences, first)
    tested = [f"{difference} ({between})", p if row.meaningful else words.NO_MEANING] if difference else ["", ""]
    others = [words.score(row.others[name], first)[0] if name in row.others else "" for name in table.selections]
    scores = [words.score(row, name)[0] for name in more]
    return [row.name + words.mark(row), f"{score} ({bounds})", deviation, *tested, *scores, *others]


def _breakable(name: str) -> str:
    return escape(name).replace(".", r".\allowbreak{}")


def latex(tables: Sequence[Table]) -> str:
    r"""Format a table and, if runs were paired, a table of tests per protocol, for `\input` with booktabs."""
    parts = ["% Generated by fdp_lightning (task=compare). In the preamble: \\usepackage{booktabs}\n"]
    for table in tables:
        parts += [_latex_scores(table), *([_latex_pairs(table)] if table.paired else [])]
    return "\n".join(parts)


def _latex_scores(table: Table) -> str:
    names, notes = words.narrow(table.scores), words.notes(table.rows)
    lines = [["System", "selection", *(escape(SCORE_NAMES[name]) for name in names)]]
    for block, heading in BLOCKS.items():
        if rows := table.block(block):
            lines.append([rf"\midrule\multicolumn{{{len(names) + 2}}}{{@{{}}l}}{{\emph{{{escape(heading)}}}}}"])
        for row in rows:
            values, deviations, bounds = zip(*(words.score(row, name) for name in names), strict=True)
            label, shown = _breakable(row.name), list(map(escape, values))
            if row.rank == 1:  # its other scores need not be the highest
                place = names.index(table.ranked_by)
                label, shown[place] = rf"\textbf{{{label}}}", rf"\textbf{{{shown[place]}}}"
            marks = ",".join(str(notes.index(note) + 1) for note in row.notes)
            label += escape(words.mark(row).replace(" ", "")) + (rf"\textsuperscript{{{marks}}}" if marks else "")
            lines.append([rf"\raggedright {label}", escape(words.selection_label(row)), *shown])
            lines += [["", "", *map(_small, deviations)]] if row.sds else []
            lines += [[_small(words.seeds_label(row)), "", *map(_small, bounds)]] if row.intervals else []
    legend = (
        escape(" ".join(words.LEGEND)) + r" \textdagger\,oracle, not comparable. Bold: the highest "
        f"{escape(SCORE_NAMES[table.ranked_by])} of the ranked rows. "
    )
    for place, note in enumerate(notes, 1):
        legend += rf"\textsuperscript{{{place}}}\,{escape(note)}{'' if note.endswith('.') else '.'} "
    caption = f"{words.title(table)}." + (f" {words.SYNTHETIC}" if table.synthetic else "")
    return _float(caption, f"@{{}}p{{0.28\\linewidth}}l*{{{len(names)}}}{{r}}@{{}}", lines, legend)


def _latex_pairs(table: Table) -> str:
    names = [name for name in words.narrow(table.scores) if name in table.paired[0].differences]
    lines = [[rf"\raggedright minus {_breakable(table.baseline)}", *(escape(SCORE_NAMES[name]) for name in names)]]
    for row in table.paired:
        values, *small = zip(*(words.difference(row.differences, name) for name in names), strict=True)
        lines.append([rf"\midrule\raggedright {_breakable(row.name)}", *map(escape, values)])
        lines += [["", *map(_small, texts)] for texts in small]
        if not row.meaningful:
            mark = rf"\scriptsize {escape(words.NO_MEANING)}"
            lines.append([rf"\multicolumn{{{len(names) + 1}}}{{@{{}}r@{{}}}}{{{mark}}}"])
    columns = f"@{{}}p{{0.19\\linewidth}}*{{{len(names)}}}{{r}}@{{}}"
    return _float(f"{words.title(table)}: paired tests.", columns, lines, escape(words.PAIRED_LEGEND))


def _small(text: str) -> str:
    return rf"{{\scriptsize {escape(text)}}}"


def _float(caption: str, columns: str, lines: Sequence[Sequence[str]], legend: str) -> str:
    body = "\n".join(" & ".join(cells) + r" \tabularnewline" for cells in lines).replace(r"\midrule", "\\midrule\n")
    return (
        "\\begin{table}\n\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}\n"
        f"\\caption{{{escape(caption)}}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n"
        f"\\end{{tabular}}\n\\par\\smallskip\\begin{{minipage}}{{\\linewidth}}\\scriptsize {legend}\\end{{minipage}}\n"
        "\\end{table}\n"
    )


def print_tables(tables: Iterable[Table], left_out: Mapping[str, str] = MappingProxyType({})) -> None:
    """Print every table with its notes and tests and, for a sweep, the jobs without pooled scores.

    `left_out`, run folders that are in no table → why, is printed below them.
    """
    screen = Console(markup=False)
    for table in tables:
        notes = [f"[{place}] {note}" for place, note in enumerate(words.notes(table.rows), 1)]
        if table.variants:
            oracle = ["oracle: the epoch best on the test subject; not comparable"]
            notes = [*(oracle if "oracle" in table.selections else []), *words.notes(table.variants)]
        screen.print(variants_grid(table) if table.variants else scores_grid(table))
        for note in notes:
            screen.print(f" {note}", markup=False, highlight=False, style="dim", soft_wrap=True)
        if not all(row.learned for row in table.rows):
            screen.print(f" {words.UNLEARNED}", highlight=False, style="yellow")
        if table.synthetic:
            screen.print(f" {words.SYNTHETIC}", highlight=False)
        for why in [f" missing: {row.name} {why}" for row in table.variants for why in row.missing]:
            screen.print(why, markup=False, highlight=False, style="bold", soft_wrap=True)
        if table.paired and not table.variants:
            screen.print(paired_grid(table))
        screen.print()
    for folder, why in left_out.items():
        screen.print(f"not in these tables: {folder} ({why})", markup=False, highlight=False, soft_wrap=True)


def scores_grid(table: Table) -> Grid:
    """Lay out the rows in their blocks, each on a few lines, to fit 80 columns."""
    names, notes = words.narrow(table.scores), words.notes(table.rows)
    grid = _grid(words.title(table) + (" (synthetic)" if table.synthetic else ""), "system", names)
    selections = {"oracle": "not comparable", "not stated": "epoch: not stated"}
    for block, heading in BLOCKS.items():
        if rows := table.block(block):
            grid.add_row(Text(heading.split(":")[0], "italic"))
        for row in rows:
            style = "bold" if row.rank == 1 else "dim" if block in ("oracle", "untrained") else ""
            label = Text((f"{row.rank}. " if row.rank else "") + _in_lines(row.name), style)
            label.append("" if row.learned else " ‡", "yellow")
            label.append("".join(f" [{notes.index(note) + 1}]" for note in row.notes), "not bold")
            selection = words.selection_label(row)
            below = (words.trained_line(row.model), selections.get(selection, selection), words.seeds_label(row))
            _below(label, *below, indent=2)
            styles = ("" if row.rank == 1 and name != table.ranked_by else style for name in names)
            cells = (words.score(row, name) for name in names)
            grid.add_row(label, *(_below(Text(cell[0], s), *cell[1:]) for cell, s in zip(cells, styles, strict=True)))
        grid.add_section()
    return grid


def paired_grid(table: Table) -> Grid:
    names = [name for name in words.narrow(table.scores) if name in table.paired[0].differences]
    grid = _grid(f"minus {table.baseline}, the same clips; intervals and p over subjects", "system", names)
    for row in table.paired:
        label = Text(_in_lines(row.name)).append("" if row.meaningful else f"\n  {words.NO_MEANING}", "yellow")
        cells = (words.difference(row.differences, name) for name in names)
        texts = (_below(Text(value), between.replace(" to ", "\n"), p) for value, between, p in cells)
        grid.add_row(label, *texts, end_section=True)
    return grid


def variants_grid(table: Table) -> Grid:
    """Lay out the variants on three lines each, without the weighted F1, to fit 80 columns."""
    first, *more = [name for name in words.narrow(_ranked_first(table)) if name != "weighted_f1"]  # the files have it
    heads = [SCORE_NAMES[first], "− baseline", *(SCORE_NAMES[name] for name in more), *table.selections]
    grid = _grid(words.title(table), "variant", heads)
    for row in table.variants:
        is_baseline = row.name == table.reference
        label = Text(row.name, "bold" if is_baseline and row.scores else "").append(words.mark(row), "yellow")
        _below(label, words.trained_line(row.model), words.seeds_label(row), indent=2)
        score, deviation, bounds = words.score(row, first)
        value, between, p = words.difference(row.differences, first)
        difference = _below(Text(value), between.replace(" to ", " "), p if row.meaningful else words.NO_MEANING)
        texts = [
            _below(Text(f"{score} {deviation}".strip()), bounds),
            difference if value else Text("baseline" if is_baseline else "–", "dim"),
            *(Text(words.score(row, name)[0]) for name in more),
            *(Text(words.score(row.others[n], first)[0] if n in row.others else "", "dim") for n in table.selections),
        ]
        texts = texts if row.scores else [Text("missing", "bold")]
        grid.add_row(label, *texts, end_section=row is table.variants[-1])
    for row in baselines(table):
        values = [words.score(row, first)[0], "", *(words.score(row, name)[0] for name in more)]
        grid.add_row(*(Text(text, "dim") for text in (row.name.split(" (")[0], *values)))
    return grid


def _grid(title: str, name: str, columns: Iterable[str]) -> Grid:
    grid = ruled_table(title)
    grid.add_column(name, overflow="fold", ratio=1)
    for column in columns:
        grid.add_column(column, justify="right", no_wrap=True)
    return grid


def _below(text: Text, *lines: str, indent: int = 0) -> Text:
    return text.append("".join(f"\n{' ' * indent}{line}" for line in lines if line), "dim not bold")


def _in_lines(name: str) -> str:
    """Break a path into a line per folder, since a terminal would break it anywhere."""
    return name.replace("/", "/\n  ")
