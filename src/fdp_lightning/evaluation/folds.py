"""Readers of the folds' files for the report: training curves and outputs for held-out clips."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from fdp_lightning.errors import UserError
from fdp_lightning.extras import Extra, from_text
from fdp_lightning.foreign import read_json
from fdp_lightning.labels import JOIN, KEY, LabelKind

T = TypeVar("T")

OUTPUTS = ("subject", "clip", "onset", "target", "frames", "apex")
FACE = "face"  # the frame at the apex, or in the middle, of each clip, for extras that are drawn over it
# Raised for a file that is truncated, of another format, pickled, or lacks an array.
UNREADABLE = (ValueError, KeyError, OSError, EOFError, IndexError, zipfile.BadZipFile)
# Not drawn: the mean over folds of a fold's F1 or recall looks like a pooled score, but is not one.
FOLD_SCORES = ("uf1", "uar", "weighted_f1", "f1")

Curves = dict[str, dict[str, pd.DataFrame]]
"""Quantity → part of the data ("train", "test", …) → values, a row per epoch and a column per fold."""


def by_quantity(tables: Mapping[str, pd.DataFrame]) -> Curves:
    """Arrange the tables of `fold_curves` by quantity, losses first; epochs that no fold measured are left out."""
    if not tables:
        return {}
    quantities: Curves = {}
    by_epoch = {fold: table.groupby(level="epoch").mean() for fold, table in tables.items()}
    together = pd.concat(by_epoch, axis=1).sort_index()
    for column in together.columns.unique(level=1):
        part, _, quantity = column.rpartition("/")
        values = together.xs(column, axis=1, level=1).dropna(how="all")
        if quantity not in FOLD_SCORES and len(values):
            quantities.setdefault(quantity, {})[part or quantity] = values
    ordered = sorted(quantities, key=lambda name: (name != "loss", not name.endswith("loss")))
    return {name: quantities[name] for name in ordered}


def fold_curves(run: Path) -> tuple[dict[str, pd.DataFrame], str]:
    """Read folds/*/curves.csv: fold → its numbers by epoch, and a sentence that names unreadable folds, or ''."""
    return _of_folds(run, "curves.csv", lambda path: pd.read_csv(path).select_dtypes("number").set_index("epoch"))


def _of_folds(run: Path, name: str, read: Callable[[Path], T]) -> tuple[dict[str, T], str]:
    found, bad = {}, []
    for path in finished_files(run, name):
        try:
            found[path.parent.name] = read(path)
        except UNREADABLE as error:
            bad.append(f"{path.parent.name} ({error})")
    return found, f"Could not be read: {', '.join(bad)}." if bad else ""


@dataclass(frozen=True)
class Outputs:
    """Outputs that the folds store for their held-out clips, sorted by (fold, dataset, subject, clip, onset).

    Attributes:
        extras: extras that the recogniser declared and every fold stored.
        arrays: arrays by name. Those of `OUTPUTS`, `dataset` ('' if the file lacks it), `fold` (index among the folds
            that could be read), the extras and, if one is drawn over it, `FACE` have one entry per clip, (n, …);
            extras of the training and the numbers that extras name as their scale have one per fold, (F, …).
        note: number of folds, or why there are no arrays, and the files that could not be read.
    """

    extras: tuple[Extra, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    note: str = ""

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def of(self, extra: Extra) -> np.ndarray:
        """Return the value of an extra for each clip, (n, …)."""
        values = self.arrays[extra.name]
        return values[self.arrays["fold"]] if extra.of == "training" else values


def read_outputs(run: Path) -> Outputs:
    """Join folds/*/outputs.npz."""
    found, note = _of_folds(run, "outputs.npz", _outputs_of_fold)
    if not found:
        return Outputs(note=note or "No fold of this run has an outputs.npz: the model's outputs were not stored.")
    extras, parts = zip(*found.values(), strict=True)
    common = tuple(extra for extra in extras[0] if all(extra in others for others in extras))
    if len({tuple(part[extra.name].shape[1:] for extra in common) for part in parts}) > 1:
        return Outputs(note="The folds' outputs.npz differ in number of frames or in image size.")
    folds = max(len(finished_files(run, name)) for name in ("predictions.csv", "outputs.npz"))
    scales = {extra.scale for extra in common if extra.scale}
    faces = [FACE] if any(extra.over_face for extra in common) else []
    names = ["dataset", *OUTPUTS, *faces, *(extra.name for extra in common), *sorted(scales)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    joined["fold"] = np.repeat(np.arange(len(parts)), [len(part["clip"]) for part in parts])
    shown = tuple(extra for extra in common if np.isfinite(joined[extra.name]).any())
    return Outputs(shown, joined, f"{len(parts)} of {folds} folds. {note}".strip())


def _outputs_of_fold(path: Path) -> tuple[tuple[Extra, ...], dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as arrays:
        # Folds from before extras were declared in full have none to show.
        declared = from_text(str(arrays["extras"])) if "extras" in arrays and arrays["extras"].ndim == 0 else ()
        part = {name: arrays[name] for name in OUTPUTS}
        part["dataset"] = arrays["dataset"] if "dataset" in arrays else np.full(len(part["clip"]), "")
        part |= {extra.name: arrays[extra.name] for extra in declared if extra.of == "clip"}
        if any(extra.over_face for extra in declared):
            part[FACE] = arrays["key_frames"][:, 1]
        order = np.lexsort((part["onset"], part["clip"], part["subject"], part["dataset"]))
        part = {name: values[order] for name, values in part.items()}
        part |= {extra.name: arrays[extra.name][None] for extra in declared if extra.of == "training"}
        part |= {extra.scale: np.array([arrays[extra.scale]], np.float64) for extra in declared if extra.scale}
    return declared, part


def fold_facts(run: Path) -> dict[str, dict[str, Any]]:
    """Return the content of fold.json of each finished fold, by name; {} if it cannot be read."""
    facts = {}
    for path in finished_files(run, "fold.json"):
        try:
            content = read_json(path)
        except (UserError, OSError):  # pooling reports it, and the run's command trains the fold again
            content = {}
        facts[path.parent.name] = content if isinstance(content, dict) else {}
    return facts


def read_key_frames(
    run: Path, fold: str, key: tuple[str, str, str, int]
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Read the three key frames of one clip, given by dataset, subject, clip and onset, from the fold that tested it.

    Returns the frames, uint8, (3, h, w) or (3, h, w, 3), their frame numbers (3,), and the annotated apex, NaN if
    unknown; or None if the fold has no key frames or cannot be read. Arrays that are not needed are not loaded.
    """
    path = run / "folds" / fold / "outputs.npz"
    if path not in finished_files(run, path.name):  # predictions.csv may name any path as a fold
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            same = [arrays[name] == part for name, part in zip(KEY, key, strict=True)]
            (row,) = np.flatnonzero(np.logical_and.reduce(same))
            return arrays["key_frames"][row], arrays["key_frame_numbers"][row], float(arrays["apex"][row])
    except UNREADABLE:
        return None


def finished_files(run: Path, name: str) -> list[Path]:
    """Return the files of this name in the folders of finished folds, sorted; unfinished folds are hidden."""
    return sorted(run.glob(f"folds/[!.]*/{name}"))


def curve_positions(frames: np.ndarray, length: int) -> np.ndarray:
    """Return the places of a curve's values, (length,), in 0..1: those of the frames, or even ones if counts differ."""
    return frame_positions(frames) if len(frames) == length else np.linspace(0, 1, length)


def frame_positions(frames: np.ndarray) -> np.ndarray:
    """Map a clip's frame numbers, shape (T,), to 0..1 from first to last; evenly if all are the same frame."""
    span = float(frames[-1]) - float(frames[0])
    return (frames - frames[0]) / span if span > 0 else np.linspace(0, 1, len(frames))


def apex_position(frames: np.ndarray, apex: float) -> float | None:
    """Map the apex to the scale of `frame_positions`; None if it is unknown or outside the clip."""
    first, last = float(frames[0]), float(frames[-1])
    return (float(apex) - first) / (last - first) if first <= apex <= last and first < last else None


def standardised(scores: np.ndarray) -> np.ndarray:
    """Scale one clip's curve, (T,), to zero mean and unit deviation, as folds differ in both; zeros if constant."""
    centred = np.nan_to_num(scores.astype(np.float64) - scores.mean(dtype=np.float64))
    deviation = centred.std()
    return centred / deviation if deviation > 1e-8 else np.zeros_like(centred)


def kendall_tau(scores: np.ndarray) -> float:
    """Return Kendall's tau-b of values, (T,), against time: 1 if they rise throughout, −1 if they fall.

    (concordant − discordant) / sqrt(pairs · pairs without a tie); time itself has no ties.
    """
    earlier, later = np.triu_indices(len(scores), k=1)
    signs = np.sign(scores[later] - scores[earlier])
    return float(signs.sum() / np.sqrt(len(signs) * np.count_nonzero(signs)))


def rows_of(targets: Sequence[str] | np.ndarray, name: str, label_kind: LabelKind) -> np.ndarray:
    """Return the rows whose target is the class or, in a multi-label table, includes it."""
    return np.flatnonzero([name in target.split(JOIN) if label_kind.is_multi else name == target for target in targets])


def known_rows(outputs: Outputs, extra: Extra, rows: np.ndarray | None = None) -> np.ndarray:
    """Return those of the given rows, by default all, in which the extra has a value: one that is finite throughout."""
    rows = np.arange(len(outputs["clip"])) if rows is None else rows
    values = outputs.of(extra)[rows].astype(np.float64)
    return rows[np.isfinite(values).all(axis=tuple(range(1, values.ndim)))]


def mean_curve(places: Sequence[np.ndarray], curves: Sequence[np.ndarray]) -> np.ndarray:
    """Average curves, (T,) each, sampled at `places` in 0..1, on an even grid of T points."""
    grid = np.linspace(0, 1, len(curves[0]))
    mean: np.ndarray = np.mean([np.interp(grid, *both) for both in zip(places, curves, strict=True)], axis=0)
    return mean


def mean_tau(curves: Sequence[np.ndarray]) -> float:
    """Average Kendall's tau of curves against time, without constant curves; NaN if all are constant."""
    taus = [kendall_tau(curve) for curve in curves if np.ptp(curve) > 0]
    return float(np.mean(taus)) if taus else float("nan")
