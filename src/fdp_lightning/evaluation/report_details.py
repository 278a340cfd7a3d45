"""The report's sections on single subjects, folds and clips: accuracy, calibration, mistakes, a map of clips.

For the map each fold compares its clips with training clips (`engine.explanations`), so that clips of different
networks share one plane. The distance between two clips is that between their comparisons; the plane comes from
classical multidimensional scaling, which equals principal components if every clip is compared with the same ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fdp_lightning.evaluation import charts, metrics
from fdp_lightning.evaluation.folds import Outputs, read_key_frames
from fdp_lightning.evaluation.predictions import PROBABILITY, Outcomes, label_kind_of
from fdp_lightning.labels import JOIN, KEY, OWNER


def subject_rows(last: pd.DataFrame, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each subject the number `n` of decisions in selection `last`, and the number of correct ones, `right`.

    A decision is one clip or, for action units, one unit of a clip. For single labels, `classes` holds `[right, clips]`
    per class.
    """
    several, multi, (right, each) = last["dataset"].nunique() > 1, label_kind_of(last).is_multi, _right(last, classes)
    rows = []
    for (dataset, subject), part in last.groupby(OWNER):
        own, name = right[part.index], f"{dataset} {subject}" if several else subject
        of_class = [own[part["target"] == label] for label in classes] if not multi else []
        rows.append(
            {
                "name": name,
                "fold": ", ".join(sorted(part["fold"].unique())),
                "n": len(part) * each,
                "right": int(own.sum()),
                "classes": [[int(clips.sum()), len(clips)] for clips in of_class],
            }
        )
    return rows


def _right(last: pd.DataFrame, classes: Sequence[str]) -> tuple[pd.Series, int]:
    """Return each clip's number of correct decisions, by the table's index, and the number of decisions per clip."""
    outcomes = Outcomes.of(last, classes)
    right = (outcomes.targets == outcomes.predictions).reshape(len(last), -1)
    return pd.Series(right.sum(axis=1), index=last.index), right.shape[1]


def fold_rows(
    last: pd.DataFrame, classes: Sequence[str], curves: Mapping[str, pd.DataFrame], steps: Mapping[str, int | None]
) -> list[dict[str, Any]]:
    """Return for each fold its clips, accuracy, numbers of epochs and steps, and losses after the last epoch.

    `curves` are from `folds.fold_curves`; `steps` maps folds to optimizer steps.
    """
    right, each = _right(last, classes)
    rows = []
    for fold, part in last.groupby("fold"):
        table = curves.get(fold)
        losses = {name: _final(table, f"{name}/loss") for name in ("train", "test")}
        accuracy, epochs = float((right[part.index] / each).mean()), None if table is None else len(table)
        rows.append(
            {"name": fold, "n": len(part), "accuracy": accuracy, "epochs": epochs, "steps": steps.get(fold)} | losses
        )
    return rows


def _final(table: pd.DataFrame | None, column: str) -> float | None:
    if table is None or column not in table:
        return None
    values = table[column].dropna()
    return float(values.iloc[-1]) if len(values) else None


def calibration(last: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Draw the reliability diagram of single-label predictions of selection `last`, and return its bins."""
    outcomes = Outcomes.of(last, classes)
    targets, probabilities = outcomes.targets, outcomes.probabilities
    n, accuracy, confidence = metrics.reliability(targets, probabilities)
    bins = [
        {"from": place / len(n), "to": (place + 1) / len(n), "n": int(n[place]), "accuracy": float(accuracy[place]),
         "confidence": float(confidence[place])}
        for place in np.flatnonzero(n)
    ]  # fmt: skip
    ece, sure = metrics.expected_calibration_error(targets, probabilities), float(probabilities.max(axis=1).mean())
    right = float((probabilities.argmax(axis=1) == targets).mean())
    label = f"Reliability diagram: mean probability {sure:.2f}, accuracy {right:.2f}, ECE {ece:.3f}"
    chart = charts.reliability_chart(n, accuracy, confidence, label)
    return {"bins": bins, "ece": ece, "confidence": sure, "accuracy": right, "chart": chart}


class Mistake(NamedTuple):
    """One wrong decision: the clip's row in the table, the index of the class wrongly predicted or, for several labels,
    wrongly predicted absent, and the probability of this decision.
    """

    row: int
    label: int
    confidence: float


def mistakes_of(table: pd.DataFrame, classes: Sequence[str], limit: int = 8) -> list[Mistake]:
    """Return the most confident mistakes in one selection, at most one per clip and `limit` in total.

    With one label per clip the wrong decision is the predicted class. With several it concerns one label: predicted but
    absent (its probability is the confidence), or present but not predicted (1 − its probability). Clips of equal
    confidence keep the order of the table.
    """
    outcomes = Outcomes.of(table, classes)
    decision, wrong = outcomes.predictions, outcomes.predictions != outcomes.targets
    if not outcomes.label_kind.is_multi:  # the predicted class is the only wrong decision of a clip
        decision = decision[:, None] == np.arange(len(classes))
        wrong = decision & wrong[:, None]
    confidence = np.where(wrong, np.where(decision, outcomes.probabilities, 1 - outcomes.probabilities), -np.inf)
    label, highest = confidence.argmax(axis=1), confidence.max(axis=1)
    order = np.argsort(-highest, kind="stable")[: min(limit, int(wrong.any(axis=1).sum()))]
    return [Mistake(int(row), int(label[row]), float(highest[row])) for row in order]


def mistakes_shown(run: Path, last: pd.DataFrame, classes: Sequence[str], show_faces: bool) -> list[dict[str, Any]]:
    """Describe the mistakes in selection `last`, with the clips' key frames if faces may be shown."""
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
    # Without an annotated apex within the clip, the second frame is the middle one.
    distance = np.abs(numbers - apex)
    at_apex = np.isfinite(apex) and distance[1] <= min(distance[0], distance[2])
    names = ("first", "near the apex" if at_apex else "middle", "last")
    return [
        {"name": name, "number": f"{float(number):.6g}", "uri": charts.image_uri(frame)}
        for name, number, frame in zip(names, numbers, frames, strict=True)
    ]


def clip_name(key: Mapping[str, Any] | pd.Series, several: bool) -> str:
    """Name a clip for readers: 'subject / clip @ onset', preceded by the dataset if the run has several."""
    name = f"{key['subject']} / {key['clip']} @ {key['onset']}"
    return f"{key['dataset']} / {name}" if several else name


FEWEST, MOST = 4, 1000
"""Numbers of clips: fewer than `FEWEST` are not drawn; of more than `MOST`, that many are drawn, evenly spread."""


def embedding(outputs: Outputs, classes: Sequence[str]) -> dict[str, Any]:
    """Draw the clips of a single-label run in a plane, by class and by subject; {} if clips are not compared.

    Returns the `title` of what is compared, the number `n` of clips drawn `of` all, the drawings `by_class`, with its
    `legend`, and `by_subject`, the shares of the `variance` along the two axes, and the silhouettes `of_class` and
    `of_subject` (None if undefined).
    """
    extra = next((extra for extra in outputs.extras if extra.kind == "vector"), None)
    if extra is None or len(outputs["clip"]) < FEWEST:
        return {}
    from sklearn.decomposition import KernelPCA
    from sklearn.metrics import pairwise

    rows = np.unique(np.linspace(0, len(outputs["clip"]) - 1, MOST).round().astype(np.int64))
    distances = pairwise.nan_euclidean_distances(outputs[extra.name][rows].astype(np.float64))
    if not np.isfinite(distances).all() or not distances.any():  # no comparison in common, or all equal
        return {}
    squares = -np.square(distances) / 2
    model = KernelPCA(2, kernel="precomputed", eigen_solver="dense")
    points = model.fit_transform(squares)
    total = np.trace(squares) - squares.mean() * len(squares)  # the trace of the centred kernel
    order = {name: place for place, name in enumerate(classes)}
    of_class = np.array([order[target] for target in outputs["target"][rows]])
    people = [f"{d} {s}" for d, s in zip(outputs["dataset"][rows], outputs["subject"][rows], strict=True)]
    of_subject = np.unique(people, return_inverse=True)[1]
    present = np.unique(of_class)
    marks = [charts.MARKS[place % len(charts.MARKS)] for place in present]
    return {
        "title": extra.title,
        "n": len(points),
        "of": len(outputs["clip"]),
        "variance": (model.eigenvalues_ / total).tolist(),
        "of_class": _silhouette(distances, of_class),
        "of_subject": _silhouette(distances, of_subject),
        "legend": [
            {"name": classes[place], "sign": sign, "variable": charts.VARIABLES[colour]}
            for place, (colour, _, sign) in zip(present, marks, strict=True)
        ],
        "by_class": charts.plane_chart(points, of_class, "Clips in a plane, by class", by_colour=True),
        "by_subject": charts.plane_chart(points, of_subject, "Clips in a plane, by subject", by_colour=False),
    }


def _silhouette(distances: np.ndarray, groups: np.ndarray) -> float | None:
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(groups)) < len(groups):
        return None
    return float(silhouette_score(distances, groups, metric="precomputed"))
