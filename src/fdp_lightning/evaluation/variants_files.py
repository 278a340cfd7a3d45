"""The table of a sweep as variants.csv (for programs), .md (for a README), .html (to read) and .tex (for a paper)."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fdp_lightning.evaluation import comparison_text as text
from fdp_lightning.evaluation.comparison_files import csv_of_model, write_latex
from fdp_lightning.evaluation.counts import SCORE_NAMES
from fdp_lightning.evaluation.templates import template
from fdp_lightning.evaluation.variants import VariantRow, VariantTable
from fdp_lightning.files import write_atomic

LEGEND = (
    f"{text.SCORES} Difference: variant − baseline, the same clips, selection last, with its 95 % interval and p over "
    "subjects, not corrected for the number of variants. oracle: the epoch best on the test subject; not comparable. "
    f"{text.UNLEARNED} A difference between two such variants means nothing."
)


def write_variants(folder: Path, tables: Sequence[VariantTable], title: str, command: str) -> list[Path]:
    """Write all four forms atomically.

    Args:
        folder: where they go.
        tables: of `variant_tables`.
        title: of the page.
        command: that made the runs.

    Returns:
        The files.
    """
    rows = [values for table in tables for values in _csv_rows(table)]
    columns = list(dict.fromkeys(name for values in rows for name in values))
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    page = template("variants.html.j2").render(
        tables=tables, title=title, command=command, text=text, names=SCORE_NAMES, legend=LEGEND
    )
    paths = [folder / f"variants.{kind}" for kind in ("html", "csv", "md", "tex")]
    for path, content in zip(paths, (page, stream.getvalue(), markdown(tables)), strict=False):
        write_atomic(path, content)
    write_latex(paths[-1], [table.table for table in tables])
    return paths


def _csv_rows(table: VariantTable) -> Iterator[dict[str, Any]]:
    """One row per variant; unrounded, empty where there is nothing, columns named score, score_low, … oracle_score."""
    for row in table.rows:
        seeds = " ".join(map(str, row.last.seeds)) if row.last else ""
        values: dict[str, Any] = {"protocol": table.table.protocol, "baseline": table.baseline, "variant": row.name}
        values |= {
            "seeds": seeds,
            "missing": "; ".join(row.missing),
            "notes": "; ".join(row.last.notes) if row.last else "",
            **(csv_of_model(row.last) if row.last else {}),
            "learned": str(row.last.learned).lower() if row.last else "",
            "signs": " ".join(row.last.signs) if row.last else "",
            "difference_meaningful": str(row.meaningful).lower() if row.differences else "",
        }
        for score in table.scores if row.last else ():
            low, high = row.last.intervals.get(score) or ("", "")  # type: ignore[union-attr]
            values |= {score: row.last.scores[score], f"{score}_low": low, f"{score}_high": high}  # type: ignore[union-attr]
            values[f"{score}_sd"] = row.last.sds.get(score, "")  # type: ignore[union-attr]
            if found := (row.differences or {}).get(score):
                low, high = found.ci95 or ("", "")
                values |= {f"{score}_difference": found.value, f"{score}_difference_low": low}
                values |= {f"{score}_difference_high": high, f"{score}_p": "" if found.p is None else found.p}
            values |= {f"{name}_{score}": other.scores[score] for name, other in row.others.items()}
        yield values


def markdown(tables: Sequence[VariantTable]) -> str:
    """Tables to paste into a README, floors and missing jobs included."""
    parts = []
    for table in tables:
        first, *more = table.scores
        heads = [f"{SCORE_NAMES[first]} (95 %)", "± seeds", "difference (95 %)", "p", *(SCORE_NAMES[n] for n in more)]
        heads += [f"{name} {SCORE_NAMES[first]}" for name in table.selections]
        seeds = sorted({seed for row in table.rows if row.last for seed in row.last.seeds})
        parts.append(f"{text.title(table.table)}; seeds {', '.join(map(str, seeds))}; baseline: {table.baseline}\n")
        lines = [_line(["variant", *heads]), _line(["---", *["--:"] * len(heads)])]
        lines += [_line(_cells(table, row)) for row in table.rows]
        for floor in table.floors:
            cells = [text.number(floor, first), "", "", "", *(text.number(floor, name) for name in more)]
            lines.append(_line([f"*{floor.name}*", *cells, *[""] * len(table.selections)]))
        parts.append("\n".join(lines) + "\n")
        parts += _trained(table)
        unlearned = any(row.last and not row.last.learned for row in table.rows)
        parts += [f"{text.UNLEARNED} A difference between two such variants means nothing.\n"] if unlearned else []
        parts += [
            f"Read with {row.name}: {'; '.join(row.last.notes)}\n" for row in table.rows if row.last and row.last.notes
        ]
        parts += [f"{text.SYNTHETIC}\n"] if table.table.synthetic else []
        parts += [f"Missing: {row.name}: {'; '.join(row.missing)}\n" for row in table.rows if row.missing]
    return "\n".join(parts)


def _trained(table: VariantTable) -> list[str]:
    """A line on the models, one of all rows where all rows say the same."""
    models = {row.name: text.model_label(row.last) for row in table.rows if row.last}
    if len(set(models.values())) == 1:
        return [f"Trained: {model}\n" for model in set(models.values()) if model]
    return [f"Trained: {'; '.join(f'{name}: {model}' for name, model in models.items())}\n"]


def _cells(table: VariantTable, row: VariantRow) -> list[str]:
    first, *more = table.scores
    if row.last is None:
        return [row.name, "missing", *[""] * (3 + len(more) + len(table.selections))]
    found = (row.differences or {}).get(first)
    cells = [f"{text.number(row.last, first)} ({text.bounds(row.last, first)})", text.deviation(row.last, first)]
    cells += (
        [
            f"{text.difference(found)} ({text.difference_bounds(found)})",
            text.meaning(row.meaningful) or text.p_value(found.p),
        ]
        if found
        else ["", ""]
    )
    cells += [text.number(row.last, name) for name in more]
    cells += [text.number(row.others[name], first) if name in row.others else "" for name in table.selections]
    return [row.name + text.mark(row.last), *cells]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
