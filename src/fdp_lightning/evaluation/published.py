"""Published numbers: one CSV, read strictly, whose rows are listed with our runs but never mixed with them."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.metrics import SCORE_NAMES

COLUMNS = ["system", "protocol", "metric", "value", "selection", "source", "note"]
SELECTED = ("last", "oracle", "unknown")
"""How the epoch of a published number was chosen: fixed, best on the test subject, or not stated."""


@dataclass(frozen=True)
class Published:
    """The scores of one system under one protocol and one selection, as fractions of 1."""

    system: str
    protocol: str
    selection: str
    scores: Mapping[str, float]
    source: str
    notes: tuple[str, ...]


def read_published(path: Path) -> list[Published]:
    """Read a table of published numbers, one row per score; the rows of each system are merged.

    UserError if the file is missing or not a CSV, or a row is invalid; it names file and line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: expected a table of published numbers, as CSV in UTF-8 ({error}). Give compare.published=<file>, "
            "or compare.published=null for none."
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    systems: dict[tuple[str, str, str], dict[str, dict[str, str]]] = {}
    try:
        if (header := next(reader, [])) != COLUMNS:
            raise UserError(f"{path}, line 1: expected the columns {', '.join(COLUMNS)}; found {', '.join(header)}.")
        for cells in filter(any, reader):
            where = f"{path}, line {reader.line_num}"
            row = _checked(cells, where)
            rows = systems.setdefault((row["system"], row["protocol"], row["selection"]), {})
            if row["metric"] in rows:
                raise UserError(
                    f"{where}: {row['system']} has {row['metric']} on {row['protocol']} ({row['selection']}) twice. "
                    "Keep one row, and put the other number into its note."
                )
            rows[row["metric"]] = row
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not comma-separated values ({error}).") from error
    found = []
    for key, rows in systems.items():
        scores = {metric: float(row["value"]) for metric, row in rows.items()}
        source = "; ".join(dict.fromkeys(row["source"] for row in rows.values()))
        found.append(Published(*key, scores, source, _notes({metric: row["note"] for metric, row in rows.items()})))
    return found


def matching(published: Iterable[Published], protocol: str, datasets: Iterable[str]) -> list[tuple[Published, bool]]:
    """Select the published rows for a protocol of ours, each with True if its protocol has exactly the same name.

    Published names are often coarser: `casme2_5c` states neither annotation file nor clips, so it matches
    `casme2_5c_246` as well as `casme2_5c_249`. A dataset does not match another whose name merely begins with its own:
    `casme` is not `casme_sq`.
    """
    others = tuple(datasets)
    chosen = []
    for row in published:
        prefix = f"{row.protocol}_"
        if row.protocol == protocol:
            chosen.append((row, True))
        elif protocol.startswith(prefix) and not any(name.startswith(prefix) for name in others):
            chosen.append((row, False))
    return chosen


def _checked(cells: Sequence[str], where: str) -> dict[str, str]:
    if len(cells) != len(COLUMNS):
        raise UserError(f"{where}: {len(cells)} values, expected {len(COLUMNS)} ({', '.join(COLUMNS)}).")
    row = {name: cell.strip() for name, cell in zip(COLUMNS, cells, strict=True)}
    if empty := [name for name in COLUMNS if not row[name] and name != "note"]:
        raise UserError(f"{where}: {', '.join(empty)} is empty; only the note may be empty.")
    if row["metric"] not in SCORE_NAMES:
        raise UserError(f"{where}: metric '{row['metric']}' is not one of {', '.join(SCORE_NAMES)}.")
    if row["selection"] not in SELECTED:
        raise UserError(f"{where}: selection '{row['selection']}' is not one of {', '.join(SELECTED)}.")
    try:
        is_fraction = 0 <= float(row["value"]) <= 1
    except ValueError:
        is_fraction = False
    if not is_fraction:
        raise UserError(f"{where}: value {row['value']} is not a fraction between 0 and 1 (0.739, not 73.9).")
    return row


def _notes(notes: Mapping[str, str]) -> tuple[str, ...]:
    """Merge the notes of a system's scores: a note that all share appears once, others name their score."""
    if len(set(notes.values())) == 1:
        return tuple(note for note in set(notes.values()) if note)
    return tuple(f"{SCORE_NAMES[metric]}: {note}" for metric, note in notes.items() if note)
