"""compare.csv, tidy, for programs; compare.tex, for papers."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fdp_lightning.evaluation import comparison_text as text
from fdp_lightning.evaluation.comparison import BLOCKS, Pair, Row, Table
from fdp_lightning.files import write_atomic

COLUMNS = [
    *("protocol", "split", "classes", "n_clips", "n_subjects", "system", "kind", "block", "selection", "metric"),
    *("value", "ci_low", "ci_high", "seeds", "sd", "comparable", "learned", "signs", "rank", "baseline"),
    *("difference", "difference_low", "difference_high", "p", "difference_meaningful"),
    *("source", "notes", "model", "parameters", "steps"),
]


def write_csv(path: Path, tables: Iterable[Table]) -> Path:
    """Write one row per protocol, system, selection and metric; unrounded fractions of 1, empty where there is none.

    Several seeds are joined by blanks.
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        pairs = {pair.name: pair for pair in table.pairs}
        for row in table.rows:
            pair = pairs.get(row.name) if row.kind == "run" and row.selection == "last" else None
            for metric in (name for name in table.scores if name in row.scores):
                writer.writerow(_about(table, row) | _numbers(row, metric) | _tests(table, pair, metric))
    write_atomic(path, stream.getvalue())
    return path


def _about(table: Table, row: Row) -> dict[str, Any]:
    return {
        "protocol": table.protocol,
        "split": table.split,
        "classes": "; ".join(table.classes),
        "n_clips": table.n_clips,
        "n_subjects": table.n_subjects,
        "system": row.name,
        "kind": row.kind,
        "block": row.block,
        "selection": row.selection,
        "comparable": str(row.comparable).lower(),
        "learned": str(row.learned).lower() if row.kind == "run" else "",
        "signs": " ".join(row.signs),
        "rank": "" if row.rank is None else row.rank,
        "seeds": " ".join(map(str, row.seeds)),
        "source": row.source,
        "notes": "; ".join(row.notes),
        **csv_of_model(row),
    }


def csv_of_model(row: Row) -> dict[str, str]:
    """The columns model, parameters and steps; empty where a row is no run, or does not say it."""
    facts = row.model
    return {
        "model": facts.get("model", ""),
        "parameters": facts.get("parameters", "").replace(" ", ""),
        "steps": facts.get("steps a fold", ""),
    }


def _numbers(row: Row, metric: str) -> dict[str, Any]:
    low, high = row.intervals.get(metric) or ("", "")
    return {
        "metric": metric,
        "value": row.scores[metric],
        "ci_low": low,
        "ci_high": high,
        "sd": row.sds.get(metric, ""),
    }


def _tests(table: Table, pair: Pair | None, metric: str) -> dict[str, Any]:
    if pair is None:
        return {}
    found = pair.differences[metric]
    low, high = found.ci95 or ("", "")
    return {
        "baseline": table.baseline,
        "difference": found.value,
        "difference_low": low,
        "difference_high": high,
        "p": "" if found.p is None else found.p,
        "difference_meaningful": str(pair.meaningful).lower(),
    }


_LATEX = {
    "\\": r"\textbackslash{}", "_": r"\_\allowbreak{}", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "/": r"/\allowbreak{}", "-": "-\\allowbreak{}", "–": "--", "−": "$-$",
    "±": r"$\pm$", "†": r"\textdagger{}", "‡": r"\textdaggerdbl{}",
    "…": r"\dots{}", "’": "'", "“": "``", "”": "''", "²": r"$^2$", "³": r"$^3$",
}  # fmt: skip


def escape(words: str) -> str:
    """Make text safe for LaTeX; signs that its standard fonts lack become their nearest letters, or a question mark."""
    return "".join(_LATEX.get(sign) or _letter(sign) for sign in words)


def _breakable(name: str) -> str:
    return escape(name).replace(".", r".\allowbreak{}")


def _letter(sign: str) -> str:
    if sign.isspace():
        return " "
    letters = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return "".join(_LATEX.get(letter, letter) for letter in letters if letter.isprintable()) or "?"


def write_latex(path: Path, tables: Sequence[Table]) -> Path:
    r"""Write a table and, where runs were paired, a table of tests per protocol, for `\input` with booktabs."""
    parts = ["% Made by fdp_lightning (task=compare). In the preamble: \\usepackage{booktabs}\n"]
    for table in tables:
        parts.append(_scores_table(table))
        if table.pairs:
            parts.append(_paired_table(table))
    write_atomic(path, "\n".join(parts))
    return path


def _scores_table(table: Table) -> str:
    columns = len(table.scores)
    notes: list[str] = []
    lines = [
        _row(["System", "selection", *(escape(name) for name in text.headings(table))]),
    ]
    for block, heading in BLOCKS.items():
        rows = table.block(block)
        if not rows:
            continue
        lines.append(r"\midrule")
        lines.append(rf"\multicolumn{{{columns + 2}}}{{@{{}}l}}{{\emph{{{escape(heading)}}}}} \tabularnewline")
        for row in rows:
            lines += _latex_row(table, row, notes)
    caption = f"{text.title(table)}." + (f" {text.SYNTHETIC}" if table.synthetic else "")
    marks = "".join(
        rf"\textsuperscript{{{place}}}\,{escape(note)}{'' if note.endswith('.') else '.'} "
        for place, note in enumerate(notes, 1)
    )
    legend = (
        escape(" ".join(text.LEGEND)) + r" \textdagger\,oracle, not comparable. Bold: the highest "
        f"{escape(text.SCORE_NAMES[table.ranked_by])} of the ranked rows. {marks}"
    )
    return _float(caption, f"@{{}}p{{0.28\\linewidth}}l*{{{columns}}}{{r}}@{{}}", lines, legend)


def _latex_row(table: Table, row: Row, notes: list[str]) -> list[str]:
    places = []
    for note in row.notes:
        if note not in notes:
            notes.append(note)
        places.append(notes.index(note) + 1)
    mark = r"\textsuperscript{" + ",".join(map(str, places)) + "}" if places else ""
    dagger = escape(text.mark(row).replace(" ", ""))
    values = {score: escape(text.number(row, score)) for score in table.scores}
    name = _breakable(row.name)
    if row.rank == 1:  # its other scores need not be the highest
        name, values[table.ranked_by] = rf"\textbf{{{name}}}", rf"\textbf{{{values[table.ranked_by]}}}"
    lines = [_row([rf"\raggedright {name}{dagger}{mark}", escape(text.selection_label(row)), *values.values()])]
    if row.sds:
        lines.append(_row(["", "", *(rf"{{\scriptsize {escape(text.deviation(row, s))}}}" for s in table.scores)]))
    if row.intervals:
        below = [rf"{{\scriptsize {escape(text.bounds(row, s))}}}" for s in table.scores]
        lines.append(_row([rf"{{\scriptsize {escape(text.seeds_label(row))}}}", "", *below]))
    return lines


def _paired_table(table: Table) -> str:
    names = _of_pairs(table)
    lines = [
        _row([rf"\raggedright minus {_breakable(table.baseline)}", *(escape(text.SCORE_NAMES[name]) for name in names)])
    ]
    for pair in table.pairs:
        values = [pair.differences[name] for name in names]
        lines.append(r"\midrule")
        lines.append(_row([rf"\raggedright {_breakable(pair.name)}", *(escape(text.difference(v)) for v in values)]))
        for small in (text.difference_bounds, lambda value: text.p_value(value.p)):
            lines.append(_row(["", *(rf"{{\scriptsize {escape(small(value))}}}" for value in values)]))
        if not pair.meaningful:
            words = escape(text.meaning(False))
            lines.append(_row([rf"\multicolumn{{{len(names) + 1}}}{{@{{}}r@{{}}}}{{\scriptsize {words}}}"]))
    columns = f"@{{}}p{{0.19\\linewidth}}*{{{len(names)}}}{{r}}@{{}}"
    return _float(f"{text.title(table)}: paired tests.", columns, lines, escape(text.PAIRED_LEGEND))


def _of_pairs(table: Table) -> list[str]:
    return [name for name in table.scores if name in table.pairs[0].differences]


def _float(caption: str, columns: str, lines: Sequence[str], legend: str) -> str:
    body = "\n".join(lines)
    return (
        "\\begin{table}\n\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}\n"
        f"\\caption{{{escape(caption)}}}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n"
        f"\\end{{tabular}}\n\\par\\smallskip\\begin{{minipage}}{{\\linewidth}}\\scriptsize {legend}\\end{{minipage}}\n"
        "\\end{table}\n"
    )


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \tabularnewline"
