"""The words and numbers that every form of a table has alike: labels, cells and the explanation of both."""

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from fdp_lightning.errors import visible
from fdp_lightning.evaluation import terminal
from fdp_lightning.evaluation.metrics import DECISION_SCORES
from fdp_lightning.evaluation.metrics import SCORE_NAMES as SCORE_NAMES  # for templates, beside the other words
from fdp_lightning.evaluation.origin import trained_line
from fdp_lightning.evaluation.tables.comparison import Row, Table
from fdp_lightning.evaluation.terminal import interval

SCORES = (
    "Scores are fractions of 1, each computed from all clips of a run together. Below a score of ours: the 95 % "
    "interval over subjects (jackknife). Of several seeds: the mean over seeds ± standard deviation (n − 1)."
)
UNLEARNED = (
    "‡ Not learned: at least half of the folds answer one class each, or the interval does not lie above every "
    "baseline. Such a run is shown and not ranked."
)
_NUMBER = re.compile(r"[-+.\d][-+.,;:()%–−e\d\s]*")
"""A number with its interval: a spreadsheet may compute it."""
_SELECTIONS = (
    "last: a fixed budget, the last epoch. inner: the epoch best on inner validation subjects. "
    "oracle: the epoch best on the test subject; not comparable, never ranked."
)
_PUBLISHED = (
    "Published numbers are as published, not measured here. The first rank is the highest score and no more: the "
    "paired tests show whether a difference between runs of ours is more than chance."
)
LEGEND = (SCORES, _SELECTIONS, UNLEARNED, _PUBLISHED)
PAIRED_LEGEND = (
    "Difference: this run − baseline, selection last, the same clips. Interval and p: a t statistic whose error leaves "
    "out one subject after the other, from both runs; p is two-sided and not corrected for the number of tests."
)
CHOSEN_LEGEND = (
    "Filled: the last epoch, with its 95 % interval. Hollow: the epoch that is best on the test subject, fold by fold, "
    "which nobody has who does not know the answers. Their difference, with its 95 % interval over subjects, is what "
    "such a choice adds to a published score."
)
NO_MEANING = "no meaning ‡"  # in place of a p-value, in as few letters as a column has
MEANINGLESS = "A difference between two such variants means nothing."
VARIANTS_LEGEND = (
    f"{SCORES} Difference: variant − baseline, the same clips, selection last, with its 95 % interval and p over "
    "subjects, not corrected for the number of variants. oracle: the epoch best on the test subject; not comparable. "
    f"{UNLEARNED} {MEANINGLESS}"
)
SYNTHETIC = "Synthetic data: a program drew these clips. The scores say nothing about faces."


def narrow(names: Iterable[str]) -> list[str]:
    """Return the scores that terminal, paper and README have room for, those of decisions; CSV and HTML have all."""
    return [name for name in names if name in DECISION_SCORES]


def title(table: Table) -> str:
    """Return `casme2_5c_246: 246 clips, 26 subjects, 5 classes`, with the split if it is not leave-one-subject-out."""
    split = "" if table.split == "loso" else f", split {table.split}"
    return f"{table.protocol}: {table.n_clips} clips, {table.n_subjects} subjects, {len(table.classes)} classes{split}"


def notes(rows: Iterable[Row]) -> list[str]:
    """Return the notes of all rows, each once, in the order in which they are numbered."""
    return list(dict.fromkeys(note for row in rows for note in row.notes))


def selection_label(row: Row) -> str:
    """Return the selection of a row in a reader's words; of a baseline nothing."""
    return "" if row.kind == "baseline" else "not stated" if row.selection == "unknown" else row.selection


def seeds_label(row: Row) -> str:
    """Return `seeds 0, 1, 2`, `seed 0`, or nothing."""
    return f"seed{'s' if len(row.seeds) > 1 else ''} {', '.join(map(str, row.seeds))}" if row.seeds else ""


def model_label(row: Row) -> str:
    return trained_line(row.model)


def mark(row: Row) -> str:
    """Return ` ‡` behind the name of a run that did not learn, ` †` behind oracle numbers."""
    return ("" if row.learned else " ‡") + (" †" if row.block == "oracle" else "")


def score(row: Row, name: str) -> tuple[str, str, str]:
    """Return `0.472` or `–`, `± 0.012` (nothing for a single seed) and `0.412–0.538` (nothing where it is not ours)."""
    return (
        f"{row.scores[name]:.3f}" if name in row.scores else "–",
        f"± {row.sds[name]:.3f}" if name in row.sds else "",
        interval(row.intervals[name]) if name in row.intervals else "",
    )


def difference(row: Row, name: str) -> tuple[str, str, str]:
    """Return the three parts of `terminal.difference`; empty strings where there is no difference."""
    found = row.differences.get(name)
    return terminal.difference(found.value, found.ci95, found.p) if found else ("", "", "")


def gain(oracle: Row, name: str) -> tuple[str, str, str]:
    """Return the three parts of `terminal.difference` of oracle − last."""
    found = oracle.gains[name]
    return terminal.difference(found.value, found.ci95, found.p)


def scale(pairs: Iterable[tuple[Row, Row]], name: str) -> tuple[list[tuple[Row, Row]], float, float]:
    """Return the pairs of `Table.chosen` that have a score, and the tenths between which its drawing lies."""
    found = [(last, oracle) for last, oracle in pairs if name in oracle.gains]
    values = [row.scores[name] for pair in found for row in pair]
    values += [bound for last, _ in found for bound in last.intervals.get(name) or ()]
    low = math.floor(10 * min(values))
    return found, low / 10, max(low + 1, math.ceil(10 * max(values))) / 10


_LATEX = {
    "\\": r"\textbackslash{}", "_": r"\_\allowbreak{}", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "/": r"/\allowbreak{}", "-": "-\\allowbreak{}", "–": "--", "−": "$-$",
    "±": r"$\pm$", "†": r"\textdagger{}", "‡": r"\textdaggerdbl{}",
    "…": r"\dots{}", "’": "'", "“": "``", "”": "''", "²": r"$^2$", "³": r"$^3$",
}  # fmt: skip


def csv_cell(cell: Any) -> Any:
    """Return a cell that a spreadsheet shows and does not compute: names of runs may begin like formulas."""
    if not isinstance(cell, str):
        return cell
    formula = cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(cell)
    return ("'" if formula else "") + visible(cell)


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Write rows as CSV, each cell as `csv_cell`; None is empty."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(map(csv_cell, row) for row in rows)
    return stream.getvalue()


def latex_escape(text: str) -> str:
    """Make text safe for LaTeX; signs that its standard fonts lack become their nearest letters, or a question mark."""
    return "".join(_LATEX.get(sign) or _letter(sign) for sign in text)


def _letter(sign: str) -> str:
    if sign.isspace():
        return " "
    letters = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return "".join(_LATEX.get(letter, letter) for letter in letters if letter.isprintable()) or "?"
