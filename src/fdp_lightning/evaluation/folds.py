"""The folds' files for the report: training curves and outputs of the held-out clips."""

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
FACE = "face"  # the frame at the apex, or in the middle, of each clip, for extras that are shown over it
# What a file that is cut off, of another kind, pickled, or without an array raises.
UNREADABLE = (ValueError, KeyError, OSError, EOFError, IndexError, zipfile.BadZipFile)
# Means of a fold's own F1 or recall over folds look like a score and are none, so they are not drawn.
FOLD_SCORES = ("uf1", "uar", "weighted_f1", "f1")

# {quantity: {"train" | "test": {"epoch" | "mean" | "low" | "high": (epochs,)}}}
Curves = dict[str, dict[str, dict[str, np.ndarray]]]


def mean_curves(tables: Mapping[str, pd.DataFrame], note: str) -> tuple[Curves, str]:
    """Summarise what `fold_curves` returns over the folds, and say in a sentence what is shown, or why nothing is.

    Losses come first; low and high are the lowest and the highest fold of an epoch.
    """
    if not tables:
        return {}, note or "No fold of this run has a curves.csv."
    quantities: Curves = {}
    together = pd.concat(tables.values())
    for column in together.columns:
        part, _, quantity = column.rpartition("/")
        if quantity in FOLD_SCORES:
            continue
        by_epoch = together[column].dropna().groupby(level="epoch").agg(mean="mean", low="min", high="max")
        if len(by_epoch):
            line = {name: values.to_numpy() for name, values in by_epoch.reset_index().items()}
            quantities.setdefault(quantity, {})[part or quantity] = line
    ordered = sorted(quantities, key=lambda name: (name != "loss", not name.endswith("loss")))
    return {name: quantities[name] for name in ordered}, f"{len(tables)} folds. {note}".strip()


def fold_curves(run: Path) -> tuple[dict[str, pd.DataFrame], str]:
    """Read folds/*/curves.csv: fold → its numbers by epoch; and a sentence on folds that could not be read, or ''."""
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
    """What the folds keep of their held-out clips, sorted by (fold, dataset, subject, clip, onset).

    `extras` were declared by the recogniser and kept by every fold. `arrays` are those of `OUTPUTS`, `dataset` (''
    where the file does not say it), `fold` (its place among the folds that could be read), the extras and, where one is
    shown over it, `FACE`, all n clips long; extras of the training, and the numbers that extras name as their scale,
    are one per fold, (F, …). `note` says what they are of, or why there are none, and names files that could not be
    read.
    """

    extras: tuple[Extra, ...] = ()
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    note: str = ""

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def of(self, extra: Extra) -> np.ndarray:
        """Return an extra's values of each clip, (n, …)."""
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
        # A fold of before extras were declared in full has none to show.
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
    """Return what finished folds say of themselves in fold.json, by their names: nothing where it cannot be read."""
    facts = {}
    for path in finished_files(run, "fold.json"):
        try:
            content = read_json(path)
        except (UserError, OSError):  # pooling names it, and the run's command trains the fold again
            content = {}
        facts[path.parent.name] = content if isinstance(content, dict) else {}
    return facts


def read_key_frames(
    run: Path, fold: str, key: tuple[str, str, str, int]
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Read the three key frames of one clip, by its dataset, subject, clip and onset, from the fold that held it out.

    These are the frames, uint8, (3, h, w) or (3, h, w, 3), their frame numbers (3,) and the annotated apex, NaN where
    unknown; None where the fold does not keep them or cannot be read. No other array of the fold is loaded.
    """
    path = run / "folds" / fold / "outputs.npz"
    if path not in finished_files(run, path.name):  # the table of predictions may name any place as its fold
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
    """Place the values of a curve, (length,), in 0..1: at their frames, or evenly where they are not one per frame."""
    return frame_positions(frames) if len(frames) == length else np.linspace(0, 1, length)


def frame_positions(frames: np.ndarray) -> np.ndarray:
    """Place a clip's frame numbers, shape (T,), in 0..1 from first to last; evenly if all are one frame."""
    span = float(frames[-1]) - float(frames[0])
    return (frames - frames[0]) / span if span > 0 else np.linspace(0, 1, len(frames))


def apex_position(frames: np.ndarray, apex: float) -> float | None:
    """Place the apex on the scale of `frame_positions`; None if it is unknown or outside the clip."""
    span = float(frames[-1]) - float(frames[0])
    if not np.isfinite(apex) or span <= 0 or not frames[0] <= apex <= frames[-1]:
        return None
    return (float(apex) - float(frames[0])) / span


def standardised(scores: np.ndarray) -> np.ndarray:
    """Bring one clip's curve, (T,), to zero mean and unit deviation, which differ by fold; a constant one to zeros."""
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
    """Return the rows whose target is the class or, in a multi-label table, names it among others."""
    return np.flatnonzero([name in target.split(JOIN) if label_kind.is_multi else name == target for target in targets])


def known_rows(outputs: Outputs, extra: Extra, rows: np.ndarray | None = None) -> np.ndarray:
    """Return those of the rows, or of all, whose value of the extra is finite throughout: others have none."""
    rows = np.arange(len(outputs["clip"])) if rows is None else rows
    values = outputs.of(extra)[rows].astype(np.float64)
    return rows[np.isfinite(values).all(axis=tuple(range(1, values.ndim)))]


def mean_curve(places: Sequence[np.ndarray], curves: Sequence[np.ndarray]) -> np.ndarray:
    """Average curves, (T,) each, given at these places in 0..1, on an even grid of as many points."""
    grid = np.linspace(0, 1, len(curves[0]))
    mean: np.ndarray = np.mean([np.interp(grid, *both) for both in zip(places, curves, strict=True)], axis=0)
    return mean


def mean_tau(curves: Sequence[np.ndarray]) -> float:
    """Average Kendall's tau of curves against time; NaN if none has different values."""
    taus = [kendall_tau(curve) for curve in curves if np.ptp(curve) > 0]
    return float(np.mean(taus)) if taus else float("nan")
