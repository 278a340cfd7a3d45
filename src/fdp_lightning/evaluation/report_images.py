"""The report's images: dynamic images beside their baselines, and the clips of the most confident mistakes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.evaluation import charts
from fdp_lightning.evaluation.folds import COMPARED, read_key_frames, rows_of
from fdp_lightning.evaluation.image_quality import MID_GREY, is_signed, qualities, quality_table
from fdp_lightning.evaluation.mistakes import Mistake, mistakes_of
from fdp_lightning.evaluation.multi_label import JOIN
from fdp_lightning.evaluation.predictions import PROBABILITY
from fdp_lightning.labels import KEY

CLIPS_PER_CLASS = 2
NAMES = {
    "true_dynamic_image": "true",
    "dynamic_image": "constructed",
    "mean_training_image": "mean of training",
    "arp_of_input": "ARP of the input",
}


def dynamic_images(
    outputs: Mapping[str, np.ndarray], classes: Sequence[str], show_faces: bool, multi_label: bool = False
) -> dict[str, Any]:
    """Compare the constructed dynamic images with the true ones, and show some.

    Args:
        outputs: of `folds.read_outputs`; may be empty.
        classes: the protocol's classes, in order.
        show_faces: True if the images themselves may be on the page.
        multi_label: True if targets are sets of labels.

    Returns:
        `quality`: of `image_quality.quality_table`, or None where the folds lack what it needs; `signed`: True if all
        images share a scale of which mid grey is no motion; `faces`: the gallery, empty unless asked for.
    """
    compared = bool(outputs) and all(name in outputs for name in COMPARED)
    values = qualities(outputs) if compared else {}
    quality = quality_table(outputs, values) if compared else None
    if quality and quality["is_target"]:
        values.pop("arp_of_input")  # its images would be the true ones again
    return {
        "quality": quality,
        "signed": is_signed(outputs),
        "faces": _gallery(outputs, classes, values, multi_label) if "dynamic_image" in outputs and show_faces else [],
    }


def _gallery(
    outputs: Mapping[str, np.ndarray],
    classes: Sequence[str],
    values: Mapping[str, Mapping[str, np.ndarray]],
    multi_label: bool,
) -> list[dict[str, Any]]:
    several = len(np.unique(outputs["dataset"])) > 1
    return [
        {
            "class": str(outputs["target"][row]),
            "clip": clip_name({part: outputs[part][row] for part in KEY}, several),
            "images": _images(outputs, row, values),
        }
        for row in clips_shown(outputs, classes, multi_label)
    ]


def clips_shown(outputs: Mapping[str, np.ndarray], classes: Sequence[str], multi_label: bool = False) -> list[int]:
    """Choose the first clips of every class in the order of their keys, as rows: no look at how well they came out."""
    rows = [rows_of(outputs["target"], name, multi_label) for name in classes]
    chosen = [int(row) for of_class in rows for row in of_class[:CLIPS_PER_CLASS]]
    return list(dict.fromkeys(chosen))  # a clip of several labels once


def _images(
    outputs: Mapping[str, np.ndarray], row: int, values: Mapping[str, Mapping[str, np.ndarray]]
) -> list[dict[str, Any]]:
    images = {
        "true_dynamic_image": outputs["true_dynamic_image"][row],
        "dynamic_image": outputs["dynamic_image"][row],
    }
    if "mean_training_image" in values:
        images["mean_training_image"] = outputs["mean_training_image"][outputs["fold"][row]]
    if "arp_of_input" in values:
        images["arp_of_input"] = outputs["arp_of_input"][row]
    if is_signed(outputs):
        images = {key: _on_common_scale(image, outputs, row) for key, image in images.items()}
    return [
        {
            "name": NAMES[key],
            "uri": charts.image_uri(image),
            **{score: float(each[row]) for score, each in values.get(key, {}).items()},
        }
        for key, image in images.items()
    ]


def _on_common_scale(image: np.ndarray, outputs: Mapping[str, np.ndarray], row: int) -> np.ndarray:
    """Rescale a signed image from its own fold's root mean square (±4 of it span 0..1) to the mean of it over folds."""
    own, common = outputs["image_rms"][outputs["fold"][row]], outputs["image_rms"].mean()
    return MID_GREY + (image - MID_GREY) * np.float32(own / common)


def mistakes_shown(
    run: Path, last: pd.DataFrame, classes: Sequence[str], show_faces: bool, multi_label: bool = False
) -> list[dict[str, Any]]:
    """Describe the most confident mistakes of the headline selection, with their clips' key frames.

    Args:
        run: the run folder.
        last: the predictions of selection `last`.
        classes: the protocol's classes, in order.
        show_faces: True if the key frames may be on the page.
        multi_label: True if targets and predictions are sets of labels.
    """
    several = last["dataset"].nunique() > 1
    return [
        _mistake(run, last.iloc[mistake.row], mistake, classes, show_faces, several, multi_label)
        for mistake in mistakes_of(last, classes, multi_label)
    ]


def _mistake(
    run: Path,
    clip: pd.Series,
    mistake: Mistake,
    classes: Sequence[str],
    show_faces: bool,
    several: bool,
    multi_label: bool,
) -> dict[str, Any]:
    label, kept = classes[mistake.label], None
    if show_faces:
        kept = read_key_frames(run, clip["fold"], (clip["dataset"], clip["subject"], clip["clip"], int(clip["onset"])))
    return {
        "clip": clip_name(clip, several),
        "target": clip["target"],
        "prediction": clip["prediction"],
        "wrong": f"{label} {'present' if label in clip['prediction'].split(JOIN) else 'absent'}"
        if multi_label
        else label,
        "confidence": mistake.confidence,
        "of_target": 1 - mistake.confidence if multi_label else float(clip[PROBABILITY + clip["target"]]),
        "frames": _key_frames(*kept) if kept else [],
    }


def _key_frames(frames: np.ndarray, numbers: np.ndarray, apex: float) -> list[dict[str, Any]]:
    # Where no apex is annotated within the clip, the frame in the middle stands between first and last.
    distance = np.abs(numbers - apex)
    at_apex = np.isfinite(apex) and distance[1] <= min(distance[0], distance[2])
    names = ("first", "near the apex" if at_apex else "middle", "last")
    return [
        {"name": name, "number": f"{float(number):.6g}", "uri": charts.image_uri(frame)}
        for name, number, frame in zip(names, numbers, frames, strict=True)
    ]


def clip_name(key: Mapping[str, Any] | pd.Series, several: bool) -> str:
    """Name a clip for readers: 'subject / clip @ onset', the dataset before it where the run has several."""
    name = f"{key['subject']} / {key['clip']} @ {key['onset']}"
    return f"{key['dataset']} / {name}" if several else name
