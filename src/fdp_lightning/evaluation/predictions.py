"""The predictions table: one row per clip and selection, and the only source of scores.

Columns, in this order: dataset, subject, clip, onset, target, prediction, prob_<class>… (protocol order),
selection, fold, seed. Names are always strings: subject '010' is neither 10 nor 8. A clip's key is (dataset,
subject, clip, onset), because one folder of frames can hold several clips.

In a multi-label table a clip shows any number of action units. Target and prediction are the units' names joined by '+'
in the protocol's order, '' for none; a unit is predicted if its probability is above 0.5. A last column `multi_label`,
1 in every row, marks such a table: neither names nor probabilities could, because a table in which each clip shows one
unit looks like one of classes. With pandas, targets of '' need `keep_default_na=False`.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.metrics import SCORES, UNIT_SCORES, Score, confusion, unit_confusions
from fdp_lightning.files import write_atomic
from fdp_lightning.foreign import ESCAPES, read_plain
from fdp_lightning.labels import JOIN, KEY, OWNER, SELECTIONS, ClipKey, LabelKind

LEADING = [*KEY, "target", "prediction"]
TRAILING = ["selection", "fold", "seed"]
PROBABILITY = "prob_"
INTEGERS = ["onset", "seed"]
STRINGS = [*KEY[:-1], "target", "prediction", "selection", "fold"]
SELECTION = "selection"
FLAG = "multi_label"
THRESHOLD = 0.5
SUM_TOLERANCE = 1e-3
_LARGEST_INTEGER = np.iinfo(np.int64).max
NAMED_AT_MOST = 6
REBUILD = "Delete the file and repeat the command: finished folds are kept, this one is run again."


def columns_of(classes: Sequence[str], label_kind: LabelKind = LabelKind.SINGLE) -> list[str]:
    """Return the table's columns, in order, for a protocol's classes."""
    return [*LEADING, *(PROBABILITY + name for name in classes), *TRAILING, *([FLAG] if label_kind.is_multi else [])]


def label_kind_of(frame: pd.DataFrame) -> LabelKind:
    return LabelKind.of_flag(FLAG in frame.columns)


def joined(shown: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Join the names of the units that each clip shows; `shown` is bool, shape (n, k)."""
    return [JOIN.join(name for name, there in zip(classes, row, strict=True) if there) for row in np.asarray(shown)]


def above_threshold(probabilities: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return the prediction of each clip from its probabilities, shape (n, k)."""
    return joined(np.asarray(probabilities) > THRESHOLD, classes)


def shown_units(names: pd.Series, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Parse targets or predictions of a multi-label table.

    Returns the units that each names, bool, (n, k), and whether it is well formed, bool, (n,): as `joined` writes it,
    with known units, each once, in the protocol's order.
    """
    codes, texts = pd.factorize(names)
    parts = [set(text.split(JOIN)) for text in texts]
    table = np.array([[name in part for name in classes] for part in parts], dtype=bool).reshape(-1, len(classes))
    well = np.array([text == again for text, again in zip(texts, joined(table, classes), strict=True)], dtype=bool)
    return table[codes], well[codes]


def label_arrays(frame: pd.DataFrame, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the units that each clip shows and those predicted, bool, (n, k); ValueError for unknown units."""
    target, prediction = (shown_units(frame[name], classes) for name in ("target", "prediction"))
    if not (target[1].all() and prediction[1].all()):
        raise ValueError(f"a target or a prediction is not made of the classes {', '.join(classes)}")
    return target[0], prediction[0]


def class_indices(frame: pd.DataFrame, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and predictions of a single-label table as indices into `classes`, each of shape (n,)."""
    place = pd.Index(list(classes))
    return place.get_indexer(frame["target"]), place.get_indexer(frame["prediction"])


def write_predictions(
    path: Path | str,
    frame: pd.DataFrame,
    classes: Sequence[str],
    names: Sequence[str] = SELECTIONS,
    column: str = SELECTION,
) -> None:
    """Write the table atomically, with floats at full precision.

    A column `multi_label` makes it a multi-label table. `names` are the values allowed in the column `selection`, which
    is called `column` in the file; baselines have their own (baselines.py). UserError for an invalid row, for instance
    a probability from a diverged training; TypeError for a name that is not a string or an onset that is not an integer
    (a bug).
    """
    table = _typed(frame, classes)
    _check(table, classes, str(path), names)
    table = table.rename(columns={SELECTION: column})
    write_atomic(path, table.to_csv(index=False, lineterminator="\n"))


def read_predictions(
    path: Path | str, names: Sequence[str] = SELECTIONS, column: str = SELECTION
) -> tuple[pd.DataFrame, list[str]]:
    """Read a table strictly; return it and the classes that its columns name, in protocol order.

    A multi-label table keeps its column `multi_label`. `names` and `column` are those of `write_predictions`; in the
    returned table the column is called `selection`. UserError if the file is missing, empty, truncated, or contains an
    invalid value.
    """
    path = Path(path)
    header, *rows = _records(path)
    header = [SELECTION if name == column else name for name in header]
    classes, label_kind = _classes_in(header), LabelKind.of_flag(FLAG in header)
    if not classes or header != columns_of(classes, label_kind) or len(set(classes)) < len(classes):
        raise UserError(
            f"{path}: expected the columns {', '.join(LEADING)}, one {PROBABILITY}<class> per class, "
            f"{', '.join(TRAILING)} and, if it is multi-label, {FLAG}, in this order; found {', '.join(header)}. "
            f"{REBUILD}"
        )
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise UserError(f"{path}: row {number} has {len(row)} of {len(header)} values. {REBUILD}")
    data = dict(zip(header, zip(*rows, strict=True), strict=True))
    try:
        numbers: dict[str, Any] = {name: [_integer(text) for text in data[name]] for name in _integers(label_kind)}
        numbers |= {PROBABILITY + name: [float(text) for text in data[PROBABILITY + name]] for name in classes}
    except ValueError as error:
        raise UserError(f"{path}: expected a number: {error}. {REBUILD}") from error
    table = _typed(pd.DataFrame(data | numbers), classes)
    _check(table, classes, str(path), names)
    return table, classes


def pool(
    frames: Sequence[pd.DataFrame],
    expected: pd.DataFrame,
    classes: Sequence[str],
    label_kind: LabelKind = LabelKind.SINGLE,
    names: Sequence[str] = SELECTIONS,
) -> pd.DataFrame:
    """Join the folds' tables into the table that is scored, sorted by selection (last, inner, oracle), then by key.

    UserError if, within a selection, a clip is missing, duplicated, not in the protocol, or has another target; if the
    folds differ in classes or seed; or if no fold has a `last` prediction.

    Args:
        frames: one table per fold, as `read_predictions` returns them, in any order.
        expected: the protocol's clips, with columns dataset, subject, clip, onset, target.
        classes: the protocol's classes, in order.
        label_kind: kind of the protocol's labels.
        names: names of the selections, in order; the first one is required.
    """
    if not frames:
        raise UserError("No fold has predictions yet: run the folds (task=loso) before pooling them.")
    for frame in frames:
        if list(frame.columns) != columns_of(classes, label_kind):
            raise UserError(
                f"Fold {frame['fold'].iloc[0]} was run with other classes ({', '.join(_classes_in(frame.columns))}; "
                f"{label_kind_of(frame).value} label) than the protocol's ({', '.join(classes)}; {label_kind.value} "
                "label). Delete its folder and run it again."
            )
    pooled = pd.concat(frames, ignore_index=True)
    seeds = sorted(set(pooled["seed"]))
    if len(seeds) > 1:
        raise UserError(f"The folds have different seeds ({', '.join(map(str, seeds))}): a run has one seed.")
    if names[0] not in set(pooled["selection"]):
        raise UserError(f"No prediction has selection '{names[0]}': run the folds again.")
    for selection, part in pooled.groupby("selection"):
        if why := clip_difference(expected, part, ("missing", "not in the protocol")):
            raise UserError(
                f"Pooling the folds, selection '{selection}': {why}. Delete the folders of these subjects' folds and "
                "run them again; if targets differ, the annotations or the protocol have changed since."
            )
    return pooled.sort_values(
        ["selection", *KEY],
        key=lambda column: column.map(list(names).index) if column.name == "selection" else column,
        ignore_index=True,
    )


def clip_difference(
    a: pd.DataFrame, b: pd.DataFrame, only: tuple[str, str] = ("only in the first", "only in the second")
) -> str:
    """Describe how the clips of b differ from those of a; '' if both have the same clips, each once, and targets.

    `only` are the words for clips that only a has and for clips that only b has.
    """
    first, second = (table["target"].set_axis(pd.MultiIndex.from_frame(table[KEY])).sort_index() for table in (a, b))
    for clips in (first.index, second.index):
        if len(twice := clips[clips.duplicated()].unique()):
            return f"{len(twice)} clips occur more than once: {name_keys(twice)}"
    unique = zip(only, (first.index.difference(second.index), second.index.difference(first.index)), strict=True)
    if parts := [f"{len(clips)} clips {words}: {name_keys(clips)}" for words, clips in unique if len(clips)]:
        return "; ".join(parts)
    changed = first.to_numpy() != second.to_numpy()
    if not changed.any():
        return ""
    before, after = first[changed], second[changed]
    return (
        f"{len(before)} clips differ in their target: {name_keys(before.index)} "
        f"('{before.iloc[0]}' and '{after.iloc[0]}' for the first of them)"
    )


def name_keys(clips: pd.MultiIndex) -> str:
    return some_of([str(ClipKey(*key)) for key in clips])


def some_of(names: Sequence[str], join: str = ", ") -> str:
    """Join the first names of a list, followed by the number of the others."""
    more = len(names) - NAMED_AT_MOST
    return join.join([*names[:NAMED_AT_MOST], *([f"and {more} more"] if more > 0 else [])])


def _classes_in(columns: Iterable[str]) -> list[str]:
    return [name.removeprefix(PROBABILITY) for name in columns if name.startswith(PROBABILITY)]


def _records(path: Path) -> list[list[str]]:
    try:
        text = read_plain(path).decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: expected a predictions table here ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8. {REBUILD}") from error
    if found := ESCAPES.search(text):
        raise UserError(f"{path}: the predictions contain {found[0]!r}, which controls a terminal. {REBUILD}")
    if text and not text.endswith("\n"):  # otherwise a seed of 42 cut to 4 would go unnoticed
        raise UserError(f"{path}: the last line has no line end: the file is truncated. {REBUILD}")
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise UserError(f"{path}: not a table of comma-separated values ({error}). {REBUILD}") from error
    if len(records) < 2:
        raise UserError(f"{path}: the predictions are empty. {REBUILD}")
    return records


def _integer(text: str) -> int:
    number = int(text)
    if str(number) != text or abs(number) > _LARGEST_INTEGER:
        raise ValueError(f"'{text:.40}' is not a plain 64-bit integer")
    return number


def _integers(label_kind: LabelKind) -> list[str]:
    return [*INTEGERS, *([FLAG] if label_kind.is_multi else [])]


def _typed(frame: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    label_kind = label_kind_of(frame)
    table = frame[columns_of(classes, label_kind)].reset_index(drop=True)
    for name in STRINGS:
        if not all(isinstance(value, str) for value in table[name]):
            raise TypeError(f"column {name}: expected strings, so that '010' stays '010'")
    for name in _integers(label_kind):
        if not pd.api.types.is_integer_dtype(table[name]):
            raise TypeError(f"column {name}: expected integers, found {table[name].dtype}")
    kinds = dict.fromkeys(STRINGS, "str") | dict.fromkeys(_integers(label_kind), "int64")
    return table.astype(kinds | dict.fromkeys([PROBABILITY + name for name in classes], "float64"))


def _check(frame: pd.DataFrame, classes: Sequence[str], source: str, names: Sequence[str]) -> None:
    if label_kind_of(frame).is_multi and (unusable := [name for name in classes if JOIN in name or not name]):
        raise UserError(
            f"{source}: '{unusable[0]}' cannot be a class of a multi-label table, in which targets are the names of "
            f"classes joined by '+'. Rename it in the protocol. {REBUILD}"
        )
    probabilities = frame[[PROBABILITY + name for name in classes]].to_numpy()
    named = (frame[["dataset", "subject", "clip", "fold"]] != "").all(axis=1)
    rules = {
        "dataset, subject, clip or fold is empty": named,
        f"the selection is not one of {', '.join(names)}": frame["selection"].isin(list(names)),
        "a probability is not a finite number (did the training diverge?)": np.isfinite(probabilities).all(axis=1),
    }
    rules |= (_unit_rules if label_kind_of(frame).is_multi else _class_rules)(frame, classes, probabilities)
    for broken, kept in rules.items():
        rows = np.flatnonzero(~np.asarray(kept, dtype=bool))
        if len(rows):
            row = frame.iloc[rows[0]]
            clip = name_keys(pd.MultiIndex.from_frame(frame.iloc[rows[:1]][KEY]))
            raise UserError(
                f"{source}: {broken} in {len(rows)} of {len(frame)} rows; the first is row {rows[0] + 1}, "
                f"clip {clip} (target '{row['target']}', prediction '{row['prediction']}', "
                f"selection '{row['selection']}'; classes: {', '.join(classes)}). {REBUILD}"
            )


def _class_rules(frame: pd.DataFrame, classes: Sequence[str], probabilities: np.ndarray) -> dict[str, Any]:
    """Return the rules for rows of a single-label table: message if broken → bool, (n,), True if kept."""
    sums = np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE
    highest = probabilities.max(axis=1, keepdims=True)
    predicted = frame["prediction"].to_numpy(dtype=object)[:, None] == np.array(classes, dtype=object)
    return {
        "the target is not a class": frame["target"].isin(list(classes)),
        "the prediction is not a class": predicted.any(axis=1),
        "a probability is negative": (probabilities >= 0).all(axis=1),
        f"the probabilities do not sum to 1 (within {SUM_TOLERANCE})": sums,
        "the prediction is not the class of the highest probability": (predicted & (probabilities == highest)).any(
            axis=1
        ),
    }


def _unit_rules(frame: pd.DataFrame, classes: Sequence[str], probabilities: np.ndarray) -> dict[str, Any]:
    """Return the rules for rows of a multi-label table, as `_class_rules` does."""
    well = "made of classes, each once and in the protocol's order, joined by '+'"
    return {
        f"{FLAG} is not 1": frame[FLAG] == 1,
        f"the target is not {well}": shown_units(frame["target"], classes)[1],
        f"the prediction is not {well}": shown_units(frame["prediction"], classes)[1],
        "a probability is outside 0 to 1": ((probabilities >= 0) & (probabilities <= 1)).all(axis=1),
        f"the prediction does not match the probabilities above {THRESHOLD}": frame["prediction"].to_numpy(dtype=object)
        == np.array(above_threshold(probabilities, classes), dtype=object),
    }


@dataclass(frozen=True)
class Outcomes:
    """Targets, predictions and probabilities of n clips of S subjects.

    Attributes:
        classes: the protocol's C classes, in order.
        targets: class indices, (n,); in a multi-label table the units that each clip shows, bool, (n, C).
        predictions: as `targets`.
        probabilities: probability of each class or unit, (n, C).
        subjects: index of each clip's subject in the order of (dataset, subject), (n,): subjects of two datasets are
            different people even if they share an id.
    """

    classes: tuple[str, ...]
    targets: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    subjects: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame, classes: Sequence[str]) -> "Outcomes":
        """Convert the rows of one selection.

        ValueError for rows of several selections, which would count every clip more than once, or for unknown classes.
        """
        if table["selection"].nunique() != 1:
            raise ValueError("scores and intervals need the predictions of exactly one selection")
        targets, predictions = (label_arrays if label_kind_of(table).is_multi else class_indices)(table, classes)
        probabilities = table[[PROBABILITY + name for name in classes]].to_numpy()
        subjects = table.groupby(OWNER).ngroup().to_numpy()
        return cls(tuple(classes), targets, predictions, probabilities, subjects)

    @property
    def label_kind(self) -> LabelKind:
        """Kind of the labels, from the shape of the targets."""
        return LabelKind.of_flag(self.targets.ndim == 2)

    @property
    def registry(self) -> Mapping[str, Score]:
        return UNIT_SCORES if self.label_kind.is_multi else SCORES

    @cached_property
    def counts(self) -> np.ndarray:
        """Confusion matrices per subject, shape (S, C, C); (S, K, 2, 2) for a multi-label table."""
        if self.label_kind.is_multi:
            return unit_confusions(self.targets, self.predictions, self.subjects)
        return confusion(self.targets, self.predictions, len(self.classes), self.subjects)

    @cached_property
    def total(self) -> np.ndarray:
        """Confusion matrix of all clips, shape (C, C); one per unit for a multi-label table, (K, 2, 2)."""
        return self.counts.sum(axis=0)

    def scores(self) -> dict[str, float]:
        """Compute every score that these clips define."""
        found = {name: self.score(score) for name, score in self.registry.items()}
        return {name: value for name, value in found.items() if value is not None}

    def score(self, score: Score, without: int | None = None) -> float | None:
        """Compute one score over all clips; a score of probabilities can leave out subject number `without`."""
        if score.of_counts:
            return float(score.of_counts(self.total))
        kept = slice(None) if without is None else self.subjects != without
        assert score.of_probabilities
        return score.of_probabilities(self.targets[kept], self.probabilities[kept])
