"""The leak guard: no data of the test subjects, or of the inner validation subjects, may be used in training.

It rejects what Varanka et al. found in published evaluations (IEEE TAFFC 2024): subjects on both sides, duplicate
clips, statistics of the test set.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from fdp_lightning.data.annotations.clips import clip_id, name_clips
from fdp_lightning.data.checks.near_copies import ALIGNED, LEAST_SIDE, WHOLE, near_copies, places, thumbnail
from fdp_lightning.data.checks.problems import some
from fdp_lightning.data.loading.statistics import Statistics
from fdp_lightning.data.protocols.splits import Fold, owners
from fdp_lightning.data.store.clip_store import ClipStore
from fdp_lightning.errors import UserError
from fdp_lightning.labels import KEY, owners_of

SIDES = ("train", "inner", "test")
_LEAVE_OUT = "exclude copies by protocol.exclude (with several datasets: protocol.parts.<dataset>.exclude)."


class LeakError(Exception):
    """A fold whose score would be worthless. It signals a bug: no setting leads to it."""


def sides(fold: Fold) -> dict[str, list[int]]:
    return {"train": list(fold.train_rows), "inner": list(fold.inner_rows), "test": list(fold.test_rows)}


def subjects_of(fold: Fold, clips: pd.DataFrame) -> dict[str, list[str]]:
    """Return the subjects of each side of a fold as 'dataset/subject', ascending."""
    owner = owners_of(clips)
    return {side: sorted(owner.iloc[rows].unique().tolist()) for side, rows in sides(fold).items()}


def check_fold(fold: Fold, clips: pd.DataFrame) -> None:
    """Raise LeakError if two sides of a fold share a subject, or there is no clip to train on or to test."""
    for side, rows in sides(fold).items():
        if not rows and side != "inner":
            raise LeakError(f"fold {fold.name}: no clip to {side}")
    check_subjects(fold.name, subjects_of(fold, clips))


def check_subjects(fold: str, subjects: Mapping[str, Sequence[str]]) -> None:
    """Raise LeakError if two of a fold's `SIDES` share a subject; `subjects` (side → subjects) as stored by a fold."""
    for one, other in combinations(SIDES, 2):
        if shared := sorted(set(subjects[one]) & set(subjects[other])):
            raise LeakError(f"fold {fold}: {one} and {other} share the subjects {', '.join(shared)}")


def check_statistics(fold: str, statistics: Statistics, frames: np.ndarray) -> None:
    """Raise LeakError if statistics are not those of the training clips' sampled frames (`frames`, uint8) only."""
    expected = Statistics.of(frames)
    if not np.allclose((statistics.mean, statistics.std), (expected.mean, expected.std), rtol=1e-6, atol=0):
        raise LeakError(
            f"fold {fold} is normalised by mean {statistics.mean:.6f} and deviation {statistics.std:.6f}, but its "
            f"training clips have {expected.mean:.6f} and {expected.std:.6f}: it was fitted on other clips too"
        )


def check_near_copies(clips: pd.DataFrame, store: ClipStore, aligned: bool) -> None:
    """Raise UserError, naming the clips, if clips of different subjects are near copies; `aligned`: frames are aligned
    faces, else whole images.
    """
    if min(store.frame_shape[:2]) < LEAST_SIDE:
        return
    rows = store.rows(clips).tolist()
    images = [[thumbnail(frame) for frame in store.read(row, places(store.length(row)))] for row in rows]
    if pairs := near_copies(owners(clips).tolist(), images, ALIGNED if aligned else WHOLE):
        names = [f"{clip_id(clips.iloc[pair.other])} of {clip_id(clips.iloc[pair.one])}" for pair in pairs]
        raise UserError(
            f"{len({pair.other for pair in pairs})} clips are near copies of another subject's: {some(names)}\n"
            "  Training on one leaks the other. Expected every recording once: task=check_data lists the copies; "
            f"{_LEAVE_OUT}"
        )


def check_clips(clips: pd.DataFrame, checksums: Sequence[str]) -> None:
    """Raise UserError, naming the clips, if a clip is listed twice, or the same frames appear under two subjects: two
    members of a composite are read from the same copy, or one dataset contains clips of another.
    """
    if clips.duplicated(KEY).any():
        raise UserError(f"clips listed twice: {name_clips(clips[clips.duplicated(KEY)])}. Expected one row per clip.")
    table = clips[KEY].assign(owner=owners(clips), checksum=list(checksums))
    several = table.groupby("checksum")["owner"].transform("nunique") > 1
    if several.any():
        twice = table[several].sort_values(["checksum", *KEY])
        raise UserError(
            f"{len(twice)} clips have the same frames under different subjects: "
            f"{name_clips(twice.assign(subject=owners_of(twice)))}\n"
            "  Training on one leaks the other. Expected every recording once: check data.root and the members' "
            f"folders, or {_LEAVE_OUT}"
        )
