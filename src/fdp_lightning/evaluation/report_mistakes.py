"""The report's most confident mistakes, with the key frames of their clips."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.evaluation import charts
from fdp_lightning.evaluation.folds import read_key_frames
from fdp_lightning.evaluation.mistakes import Mistake, mistakes_of
from fdp_lightning.evaluation.multi_label import FLAG
from fdp_lightning.evaluation.predictions import PROBABILITY
from fdp_lightning.labels import JOIN


def mistakes_shown(run: Path, last: pd.DataFrame, classes: Sequence[str], show_faces: bool) -> list[dict[str, Any]]:
    """Describe the most confident mistakes of the headline selection, with their clips' key frames.

    Args:
        run: the run folder.
        last: the predictions of selection `last`.
        classes: the protocol's classes, in order.
        show_faces: True if the key frames may be on the page.
    """
    several = last["dataset"].nunique() > 1
    return [
        _mistake(run, last.iloc[mistake.row], mistake, classes, show_faces, several)
        for mistake in mistakes_of(last, classes)
    ]


def _mistake(
    run: Path,
    clip: pd.Series,
    mistake: Mistake,
    classes: Sequence[str],
    show_faces: bool,
    several: bool,
) -> dict[str, Any]:
    label, kept, multi = classes[mistake.label], None, FLAG in clip
    if show_faces:
        kept = read_key_frames(run, clip["fold"], (clip["dataset"], clip["subject"], clip["clip"], int(clip["onset"])))
    return {
        "clip": clip_name(clip, several),
        "target": clip["target"],
        "prediction": clip["prediction"],
        "wrong": f"{label} {'present' if label in clip['prediction'].split(JOIN) else 'absent'}" if multi else label,
        "confidence": mistake.confidence,
        "of_target": 1 - mistake.confidence if multi else float(clip[PROBABILITY + clip["target"]]),
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
