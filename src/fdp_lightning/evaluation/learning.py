"""Did it learn? Signs, in the files of a finished run, that its scores are no better than chance or majority.

A training that collapsed leaves a table of predictions like any other. Each sign is a rule on that table, the folds'
curves.csv and their fold.json, always for selection `last`. A run with a *decisive* sign is shown in tables but not
ranked. README.md lists the rules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.evaluation.folds import fold_curves, fold_facts
from fdp_lightning.evaluation.metrics import RANKED_BY, SCORE_NAMES
from fdp_lightning.evaluation.predictions import label_kind_of, some_of
from fdp_lightning.labels import JOIN

DECISIVE = ("one_class", "at_baseline")
"""Kinds of signs that show that a run has not learned; the others only qualify its scores."""

ONE_ANSWER = 0.95  # a fold predicts a single class if the class has at least this share of its predictions
ROOM = 0.75  # a fold is judged by its predictions if no target has more than this share of its clips
LEAST_CLIPS = 4  # a smaller fold is not judged: a good network may predict a single class for all its clips
MANY_FOLDS = 0.5
NEARLY_ALL = 0.9
FEW_STEPS = 40
"""Shorter trainings are marked: in one of our experiments 32 to 48 steps left every model at chance."""
MARGIN = 0.02  # a loss has fallen if it is below the reference by at least this share of the reference

WHAT_TO_TRY = (
    "Train for more steps (model.optimizer.steps), look at the training curves in the report (does the "
    "training loss fall?), and check the labels with task=check_data."
)


@dataclass(frozen=True)
class Sign:
    """One reason to doubt that a run learned."""

    kind: str
    detail: str
    """Sentence for readers, without a full stop."""

    @property
    def decisive(self) -> bool:
        return self.kind in DECISIVE

    def plain(self) -> dict[str, Any]:
        return {"kind": self.kind, "decisive": self.decisive, "detail": self.detail}


@dataclass(frozen=True)
class FoldTraining:
    """Facts on the training of a finished fold; facts from missing or damaged files keep their defaults.

    Attributes:
        name: name of the fold.
        held_out_loss: emotion loss on the held-out clips after each epoch; empty if any value is not finite.
        uniform_loss: emotion loss of a uniform prediction, with the weights of this fold's loss.
        class_counts: class → number of training clips (multi-label: that show it).
        steps: number of optimizer steps.
    """

    name: str
    held_out_loss: tuple[float, ...] = ()
    uniform_loss: float | None = None
    class_counts: Mapping[str, int] = field(default_factory=dict)
    steps: int | None = None


def read_trainings(run: Path) -> list[FoldTraining]:
    curves, _ = fold_curves(run)
    trainings = []
    for name, facts in fold_facts(run).items():
        table = curves.get(name, pd.DataFrame()) if facts else pd.DataFrame()  # nothing is known of a damaged fold
        losses = table["test/emotion_loss"].to_numpy(dtype=float) if "test/emotion_loss" in table else np.empty(0)
        if not np.isfinite(losses).all():  # not measured after every epoch: the lowest is unknown
            losses = np.empty(0)
        uniform, counts, steps = (facts.get(key) for key in ("uniform_loss", "class_counts", "steps"))
        trainings.append(
            FoldTraining(
                name,
                tuple(losses.tolist()),
                float(uniform) if isinstance(uniform, int | float) else None,
                counts if isinstance(counts, dict) else {},
                steps if isinstance(steps, int) else None,
            )
        )
    return trainings


def learning_signs(
    last: pd.DataFrame,
    classes: Sequence[str],
    scores: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    trainings: Sequence[FoldTraining] = (),
) -> list[Sign]:
    """Find signs that a run did not learn, in its predictions of selection `last` and the folds' trainings.

    `scores` are those of `last`, and `baselines` the entry `floors`, both as in metrics.json. Returns at most one sign
    of each kind, decisive ones first.
    """
    ranked_by = next(name for name in RANKED_BY if name in scores)
    found = [
        _one_class(last),
        _at_baseline("at_baseline", ranked_by, scores, baselines),
        _at_baseline("accuracy_at_baseline", "accuracy", scores, baselines),
        _flat_loss(trainings, None if label_kind_of(last).is_multi else len(classes)),
        _missing_class(last, trainings),
        _few_steps(trainings),
    ]
    return [sign for sign in found if sign is not None]


def has_learned(signs: Sequence[Sign]) -> bool:
    """Return True if none of the signs is decisive."""
    return not any(sign.decisive for sign in signs)


def _one_class(last: pd.DataFrame) -> Sign | None:
    counts = {name: last.groupby(["fold", name]).size().unstack(fill_value=0) for name in ("target", "prediction")}
    clips = counts["target"].sum(axis=1)  # per fold, sorted by name, as are the shares
    shares = {name: table.max(axis=1) / clips for name, table in counts.items()}
    folds, judged = list(clips.index), clips.index[(clips >= LEAST_CLIPS) & (shares["target"] <= ROOM)]
    stuck = [fold for fold in judged if shares["prediction"][fold] >= ONE_ANSWER]
    what = "set of units" if label_kind_of(last).is_multi else "class"
    if len(judged) >= min(2, len(folds)) and len(judged) and len(stuck) >= MANY_FOLDS * len(judged):
        return Sign("one_class", f"{len(stuck)} of {len(judged)} folds each predict a single {what} ({some_of(stuck)})")
    # Folds too small to be judged individually may still be stuck, and show it together.
    if _top_share(last["target"]) <= ROOM and (share := _top_share(last["prediction"])) >= ONE_ANSWER:
        predicted = last["prediction"].mode().iloc[0] or "none"
        return Sign("one_class", f"{share:.0%} of all clips are predicted as one {what} ({predicted})")
    return None


def _at_baseline(
    kind: str, score: str, scores: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]]
) -> Sign | None:
    value, bounds = float(scores[score]), scores["ci95"][score]
    name, highest = max(((name, float(row[score])) for name, row in baselines.items()), key=lambda item: item[1])
    if (bounds[0] if bounds else value) > highest:
        return None
    about = f"interval {bounds[0]:.3f}–{bounds[1]:.3f}" if bounds else "no interval"
    shown = f"{SCORE_NAMES[score]} {value:.3f} ({about})"
    return Sign(kind, f"{shown} is not clearly above the baseline “{name}” ({highest:.3f})")


def _flat_loss(trainings: Sequence[FoldTraining], classes: int | None) -> Sign | None:
    """Return the sign `flat_loss`, if any; `classes` is None for several labels per clip, each shown or not."""
    options = classes or 2
    known = [fold for fold in trainings if fold.held_out_loss]
    flat = []
    for fold in known:
        reference = np.log(options) if fold.uniform_loss is None else fold.uniform_loss
        if min(fold.held_out_loss) > (1 - MARGIN) * reference:
            flat.append(fold.name)
    if not known or len(flat) < NEARLY_ALL * len(known):
        return None
    return Sign(
        "flat_loss",
        f"In {len(flat)} of {len(known)} folds the emotion loss on held-out clips never fell below that of predicting "
        f"{'equal probabilities' if classes else 'probability 1/2 for every unit'} (ln {options} = "
        f"{np.log(options):.3f} without weights)",
    )


def _missing_class(last: pd.DataFrame, trainings: Sequence[FoldTraining]) -> Sign | None:
    counts = {fold.name: fold.class_counts for fold in trainings if fold.class_counts}
    lacking, joined = [], label_kind_of(last).is_multi
    for name, part in last.groupby("fold", sort=True):
        if name not in counts:
            continue
        targets = part["target"].str.split(JOIN, regex=False).explode() if joined else part["target"]
        tested = dict.fromkeys(target for target in targets if target)
        if missing := [label for label in tested if not counts[name].get(label, 0)]:
            lacking.append(f"{name}: {', '.join(missing)}")
    if not lacking:
        return None
    return Sign(
        "missing_class",
        f"{len(lacking)} of {last['fold'].nunique()} folds had no training clip of a class that they test "
        f"({some_of(lacking, '; ')})",
    )


def _few_steps(trainings: Sequence[FoldTraining]) -> Sign | None:
    steps = [fold.steps for fold in trainings if fold.steps is not None]
    if not steps or max(steps) >= FEW_STEPS:
        return None
    return Sign("few_steps", f"The folds were trained for at most {max(steps)} optimizer steps, fewer than {FEW_STEPS}")


def _top_share(values: pd.Series) -> float:
    return float(values.value_counts(normalize=True).iloc[0])
