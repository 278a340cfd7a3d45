"""The folds' files for the report: training curves and outputs of the held-out clips."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.multi_label import JOIN
from fdp_lightning.files import is_partial
from fdp_lightning.labels import KEY

OUTPUTS = ("subject", "clip", "onset", "target", "frames", "apex")
EXTRAS = ("rank_scores", "true_dynamic_image", "dynamic_image")
"""Of a recogniser that declares them, and of all folds of before recognisers declared anything."""
# Folds of before these were kept lack them. `mean_training_image` is one per fold, shape (F, h, w), as is `image_rms`,
# shape (F,), and `fold` says which is a clip's.
COMPARED = ("arp_of_input", "mean_training_image")
# What a file that is cut off, of another kind, pickled, or without an array raises.
UNREADABLE = (ValueError, KeyError, OSError, EOFError, IndexError, zipfile.BadZipFile)
# Means of a fold's own F1 or recall over folds look like a score and are none, so they are not drawn.
FOLD_SCORES = ("uf1", "uar", "weighted_f1", "f1")

# {quantity: {"train" | "test": {"epoch" | "mean" | "low" | "high": (epochs,)}}}
Curves = dict[str, dict[str, dict[str, np.ndarray]]]


def read_curves(run: Path) -> tuple[Curves, str]:
    """Summarise folds/*/curves.csv over the folds.

    Returns:
        The curves, losses first, where low and high are the lowest and the highest fold of an epoch; and a
        sentence on what they are of, or on why there are none.
    """
    folds, bad = [], []
    paths = finished_files(run, "curves.csv")
    for path in paths:
        try:
            folds.append(pd.read_csv(path).select_dtypes("number").set_index("epoch"))
        except (ValueError, KeyError, OSError) as error:
            bad.append(f"{path.parent.name} ({error})")
    note = f"Could not be read: {', '.join(bad)}." if bad else ""
    if not folds:
        return {}, note or "No fold of this run has a curves.csv."
    quantities: Curves = {}
    together = pd.concat(folds)
    for column in together.columns:
        part, _, quantity = column.rpartition("/")
        if quantity in FOLD_SCORES:
            continue
        by_epoch = together[column].dropna().groupby(level="epoch").agg(["mean", "min", "max"])
        if len(by_epoch):
            low, high = by_epoch["min"].to_numpy(), by_epoch["max"].to_numpy()
            line = {
                "epoch": by_epoch.index.to_numpy(),
                "mean": by_epoch["mean"].to_numpy(),
                "low": low,
                "high": high,
            }
            quantities.setdefault(quantity, {})[part or quantity] = line
    ordered = sorted(quantities, key=lambda name: (name != "loss", not name.endswith("loss")))
    return {name: quantities[name] for name in ordered}, f"{len(folds)} folds. {note}".strip()


def read_outputs(run: Path) -> tuple[dict[str, np.ndarray], str]:
    """Join folds/*/outputs.npz, clips sorted by (fold, dataset, subject, clip, onset).

    Returns:
        The arrays of `OUTPUTS` and `dataset` ('' where the file does not say it), n clips long, and `fold`, with those
        of `EXTRAS` and `COMPARED` that every fold has, and `image_rms` (NaN where dynamic images are scaled clip by
        clip, or nothing is said of it); and a sentence on what they are of, or on why there are none. Files that
        could not be read are named.
    """
    parts: list[dict[str, np.ndarray]] = []
    bad: list[str] = []
    paths = finished_files(run, "outputs.npz")
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                parts.append(_of_fold(arrays))
        except UNREADABLE as error:
            bad.append(f"{path.parent.name} ({error})")
    note = f"Could not be read: {', '.join(bad)}." if bad else ""
    shapes = {tuple(part[name].shape[1:] for name in EXTRAS if name in part) for part in parts}
    if len(shapes) > 1:
        return {}, "The folds' outputs.npz differ in number of frames or in image size."
    if not parts:
        return {}, note or "No fold of this run has an outputs.npz: the model's outputs were not stored."
    folds = len(finished_files(run, "predictions.csv"))
    names = ["dataset", *OUTPUTS, "image_rms"]
    names += [name for name in EXTRAS if all(name in part for part in parts)]
    if all(name in part for part in parts for name in COMPARED):
        names += COMPARED
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    joined["fold"] = np.repeat(np.arange(len(parts)), [len(part["clip"]) for part in parts])
    return joined, f"{len(parts)} of {max(folds, len(paths))} folds. {note}".strip()


def _of_fold(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    part = {name: arrays[name] for name in OUTPUTS}
    part["dataset"] = arrays["dataset"] if "dataset" in arrays else np.full(len(part["clip"]), "")
    declared = [str(name) for name in arrays["extras"][:, 0]] if "extras" in arrays else EXTRAS
    part |= {name: arrays[name] for name in declared}
    if "arp_of_input" in arrays:
        part["arp_of_input"] = arrays["arp_of_input"]
    order = np.lexsort((part["onset"], part["clip"], part["subject"], part["dataset"]))
    part = {name: values[order] for name, values in part.items()}
    if "mean_training_image" in arrays:
        part["mean_training_image"] = arrays["mean_training_image"][None]
    part["image_rms"] = np.array([arrays.get("image_rms", np.nan)], dtype=np.float64)
    return part


def read_key_frames(
    run: Path, fold: str, key: tuple[str, str, str, int]
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Read the three key frames of one held-out clip, which no other array of its fold is loaded for.

    Args:
        run: the run folder.
        fold: the fold that held the clip out.
        key: dataset, subject, clip, onset.

    Returns:
        The frames, uint8, shape (3, h, w) or (3, h, w, 3), their frame numbers (3,) and the annotated apex, NaN
        where unknown; or None where the fold does not keep them or cannot be read.
    """
    try:
        with np.load(run / "folds" / fold / "outputs.npz", allow_pickle=False) as arrays:
            same = [arrays[name] == part for name, part in zip(KEY, key, strict=True)]
            (row,) = np.flatnonzero(np.logical_and.reduce(same))
            return arrays["key_frames"][row], arrays["key_frame_numbers"][row], float(arrays["apex"][row])
    except UNREADABLE:
        return None


def finished_files(run: Path, name: str) -> list[Path]:
    """Return the files of this name in the folders of finished folds, sorted."""
    return sorted(path for path in run.glob(f"folds/*/{name}") if not is_partial(path.parent))


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
    """Bring one clip's rank scores, shape (T,), to zero mean and unit deviation; constant ones become zeros.

    Every fold has its own scorer, whose offset and scale mean nothing: only this form can be averaged.
    """
    centred = np.nan_to_num(scores.astype(np.float64) - scores.mean(dtype=np.float64))
    deviation = centred.std()
    return centred / deviation if deviation > 1e-8 else np.zeros_like(centred)


def kendall_tau(scores: np.ndarray) -> float:
    """Return Kendall's tau-b of scores, shape (T,), against time: 1 if they rise throughout, −1 if they fall.

    (concordant − discordant) / sqrt(pairs · pairs without a tie); time itself has no ties.
    """
    earlier, later = np.triu_indices(len(scores), k=1)
    signs = np.sign(scores[later] - scores[earlier])
    return float(signs.sum() / np.sqrt(len(signs) * np.count_nonzero(signs)))


def rows_of(targets: Sequence[str] | np.ndarray, name: str, multi_label: bool) -> np.ndarray:
    """Return the rows whose target is the class or, in a multi-label table, names it among others."""
    return np.flatnonzero([name in target.split(JOIN) if multi_label else name == target for target in targets])


def class_rank_scores(outputs: Mapping[str, np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, float]:
    """Average the standardised scores of a class's rows on an even grid, shape (T,), and their order against time.

    The order is Kendall's tau of score against frame, mean over clips; NaN if no clip has different scores.
    """
    grid = np.linspace(0, 1, outputs["rank_scores"].shape[1])
    scores = [standardised(outputs["rank_scores"][row]) for row in rows]
    places = [frame_positions(outputs["frames"][row]) for row in rows]
    mean = np.mean([np.interp(grid, place, score) for place, score in zip(places, scores, strict=True)], axis=0)
    taus = [kendall_tau(score) for score in scores if np.ptp(score) > 0]
    return mean, float(np.mean(taus)) if taus else float("nan")
