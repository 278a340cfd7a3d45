"""The most confident mistakes of a run: where to look first for what the model gets wrong, or the annotation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fdp_lightning.evaluation import charts
from fdp_lightning.evaluation.folds import read_key_frames
from fdp_lightning.evaluation.predictions import PROBABILITY, label_arrays, label_kind_of
from fdp_lightning.labels import JOIN, KEY


class Mistake(NamedTuple):
    """One wrong answer.

    Attributes:
        row: the clip's place in the table.
        label: the place of the class that was wrongly answered, or wrongly held absent.
        confidence: the probability given to this wrong answer.
    """

    row: int
    label: int
    confidence: float


def mistakes_of(table: pd.DataFrame, classes: Sequence[str], limit: int = 8) -> list[Mistake]:
    """Find the clips of one selection that are wrong with the highest probability of the wrong answer, a mistake each.

    With one label per clip the wrong answer is the class predicted. With several it is a single decision: a label
    held present that is absent (its probability is the confidence), or the reverse (1 − its probability).

    Returns:
        The most confident first, `limit` at most; clips of equal confidence in the order of the table.
    """
    probabilities = table[[PROBABILITY + name for name in classes]].to_numpy()
    if label_kind_of(table).is_multi:
        target, decision = label_arrays(table, classes)
        wrong = decision != target
    else:
        target, decision = (
            table[name].to_numpy()[:, None] == np.array(classes, dtype=object) for name in ("target", "prediction")
        )
        wrong = decision & ~target
    confidence = np.where(wrong, np.where(decision, probabilities, 1 - probabilities), -np.inf)
    label, highest = confidence.argmax(axis=1), confidence.max(axis=1)
    order = np.argsort(-highest, kind="stable")[: min(limit, int(wrong.any(axis=1).sum()))]
    return [Mistake(int(row), int(label[row]), float(highest[row])) for row in order]


def mistakes_shown(run: Path, last: pd.DataFrame, classes: Sequence[str], show_faces: bool) -> list[dict[str, Any]]:
    """Describe the mistakes of selection `last`, with the clips' key frames if faces may be on the page."""
    several, multi = last["dataset"].nunique() > 1, label_kind_of(last).is_multi
    shown = []
    for row, place, confidence in mistakes_of(last, classes):
        clip, label = last.iloc[row], classes[place]
        kept = read_key_frames(run, clip["fold"], tuple(clip[KEY])) if show_faces else None
        present = "present" if label in clip["prediction"].split(JOIN) else "absent"
        shown.append(
            {
                "clip": clip_name(clip, several),
                "target": clip["target"],
                "prediction": clip["prediction"],
                "wrong": f"{label} {present}" if multi else label,
                "confidence": confidence,
                "of_target": 1 - confidence if multi else float(clip[PROBABILITY + clip["target"]]),
                "frames": _key_frames(*kept) if kept else [],
            }
        )
    return shown


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
