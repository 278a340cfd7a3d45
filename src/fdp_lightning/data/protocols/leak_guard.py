"""The leak guard: nothing of the subjects under test, or of those an epoch is chosen by, may reach the training.

What it refuses is what Varanka et al. found in published evaluations ("Data Leakage and Evaluation Issues in
Micro-Expression Analysis", IEEE TAFFC 2024): subjects on both sides, clips twice, statistics of the test set.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from fdp_lightning.data.annotations.clips import clip_id, name_clips
from fdp_lightning.data.checks.near_copies import ALIGNED, LEAST_SIDE, WHOLE, near_copies, places, thumbnail
from fdp_lightning.data.checks.problems import some
from fdp_lightning.data.loading.normalisation import Statistics
from fdp_lightning.data.protocols.splits import Fold, owners
from fdp_lightning.data.store.clip_store import ClipStore
from fdp_lightning.errors import UserError
from fdp_lightning.labels import KEY, owners_of

SIDES = ("train", "inner", "test")


class LeakError(Exception):
    """A fold whose score would be worth nothing; a bug, for no setting asks for it."""


def sides(fold: Fold) -> dict[str, list[int]]:
    """The rows of each side of a fold."""
    return {"train": list(fold.train_rows), "inner": list(fold.inner_rows), "test": list(fold.test_rows)}


def subjects_of(fold: Fold, clips: pd.DataFrame) -> dict[str, list[str]]:
    """The subjects of each side of a fold, 'dataset/subject', ascending."""
    owner = owners_of(clips)
    return {side: sorted(owner.iloc[rows].unique().tolist()) for side, rows in sides(fold).items()}


def check_fold(fold: Fold, clips: pd.DataFrame) -> None:
    """Refuse a fold that shares a subject, and with it clips, between its sides.

    Raises:
        LeakError: naming the fold, the sides, and what they share; or there is no clip to train or to test.
    """
    for side, rows in sides(fold).items():
        if not rows and side != "inner":
            raise LeakError(f"fold {fold.name}: no clip to {side}")
    check_subjects(fold.name, subjects_of(fold, clips))


def check_subjects(fold: str, subjects: Mapping[str, Sequence[str]]) -> None:
    """Refuse a fold two of whose sides share a subject.

    Args:
        fold: its name.
        subjects: of each side of `SIDES`, as a finished fold keeps them too.

    Raises:
        LeakError: naming the fold, the sides and the subjects.
    """
    for one, other in combinations(SIDES, 2):
        if shared := sorted(set(subjects[one]) & set(subjects[other])):
            raise LeakError(f"fold {fold}: {one} and {other} share the subjects {', '.join(shared)}")


def check_statistics(fold: str, statistics: Statistics, frames: np.ndarray) -> None:
    """Refuse statistics that are not those of the training clips.

    Args:
        fold: its name.
        statistics: that the network normalises by.
        frames: sampled frames of the training clips alone, uint8.

    Raises:
        LeakError: naming the fold and both.
    """
    expected = Statistics.of(frames)
    if not np.allclose((statistics.mean, statistics.std), (expected.mean, expected.std), rtol=1e-6, atol=0):
        raise LeakError(
            f"fold {fold}: normalised by mean {statistics.mean:.6f} and deviation {statistics.std:.6f}, but its "
            f"training clips have {expected.mean:.6f} and {expected.std:.6f}: fitted on other clips too"
        )


def check_near_copies(clips: pd.DataFrame, store: ClipStore, aligned: bool) -> None:
    """Refuse a clip table in which clips of different subjects are near copies of one another, see `near_copies`.

    Args:
        clips: the clip table.
        store: that holds them.
        aligned: whether its frames are faces brought to one place, not whole pictures.

    Raises:
        UserError: naming the clips.
    """
    if min(store.frame_shape[:2]) < LEAST_SIDE:
        return
    pictures = []
    for row in store.rows(clips):
        frames = store.read(int(row), places(store.length(int(row))))
        pictures.append([thumbnail(frame) for frame in frames])
    pairs = near_copies(owners(clips).tolist(), pictures, ALIGNED if aligned else WHOLE)
    if pairs:
        names = [f"{clip_id(clips.iloc[pair.other])} of {clip_id(clips.iloc[pair.one])}" for pair in pairs]
        raise UserError(
            f"{len({pair.other for pair in pairs})} clips are near copies of another subject's: {some(names)}\n"
            "  Whoever trains on one has seen the other. Expected each recording once: task=check_data lists them; "
            "leave copies out by protocol.exclude."
        )


def check_clips(clips: pd.DataFrame, checksums: Sequence[str]) -> None:
    """Refuse a clip table that holds a clip twice, or the same frames under two subjects.

    A composite set holds a clip twice when two of its members are read from one copy, or when a dataset came with
    clips of another.

    Args:
        clips: the clip table.
        checksums: of each clip's frames.

    Raises:
        UserError: naming the clips.
    """
    if clips.duplicated(KEY).any():
        raise UserError(f"clips listed twice: {name_clips(clips[clips.duplicated(KEY)])}. Expected one row per clip.")
    table = clips[KEY].assign(owner=owners(clips), checksum=list(checksums))
    several = table.groupby("checksum")["owner"].transform("nunique") > 1
    if several.any():
        twice = table[several].sort_values(["checksum", *KEY])
        raise UserError(
            f"{len(twice)} clips are the same frames under different subjects: "
            f"{name_clips(twice.assign(subject=owners_of(twice)))}\n"
            "  Whoever trains on one has seen the other. Expected each recording once: see data.root and the members' "
            "folders, or leave copies out by protocol.exclude."
        )
