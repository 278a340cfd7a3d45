"""Subjects set aside from training, and the batches of an epoch."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.data.loading.batches import EpochBatches
from fdp_lightning.data.protocols.splits import leave_one_subject_out, set_aside
from fdp_lightning.engine.budget import steps_of_epoch


def table(subjects: int = 12) -> pd.DataFrame:
    """Subjects with one to four clips each, many of a single class."""
    random = np.random.default_rng(3)
    rows = [
        {"dataset": "d", "subject": f"{s:02}", "clip": f"c{c}", "target": "abc"[(s + c * (s % 2)) % 3]}
        for s in range(subjects)
        for c in range(1 + random.integers(4))
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("inner", [1, 3, 10])
def test_exactly_so_many_training_subjects_are_set_aside_whole(inner: int) -> None:
    clips = table()
    for fold in leave_one_subject_out(clips):
        split = set_aside(fold, clips, inner, seed=5)
        assert split.test_rows == fold.test_rows
        assert sorted(split.train_rows + split.inner_rows) == list(fold.train_rows)
        of = [set(clips["subject"].iloc[list(rows)]) for rows in (split.train_rows, split.inner_rows)]
        assert len(of[1]) == inner and not of[0] & of[1]
        assert set_aside(fold, clips, inner, seed=5) == split


def test_the_choice_depends_on_the_seed_and_none_is_the_fold_itself() -> None:
    clips = table()
    fold = leave_one_subject_out(clips)[0]
    assert len({set_aside(fold, clips, 4, seed).inner_rows for seed in range(10)}) > 5
    assert set_aside(fold, clips, 0, seed=0) is fold


def test_classes_among_those_set_aside_are_shared_as_in_training_better_than_by_chance() -> None:
    clips = table()
    fold = leave_one_subject_out(clips)[0]
    everyone = clips["target"].iloc[list(fold.train_rows)].value_counts(normalize=True)

    def distance(rows: tuple[int, ...]) -> float:
        shares = clips["target"].iloc[list(rows)].value_counts(normalize=True)
        return float(shares.reindex(everyone.index).fillna(0).sub(everyone).abs().sum())

    chosen = [distance(set_aside(fold, clips, 3, seed).inner_rows) for seed in range(20)]
    random = np.random.default_rng(0)
    names = clips["subject"].iloc[list(fold.train_rows)].unique()
    drawn = [
        distance(tuple(np.flatnonzero(clips["subject"].isin(random.choice(names, 3, replace=False))).tolist()))
        for _ in range(200)
    ]
    assert np.mean(chosen) < 0.5 * np.mean(drawn)


@given(st.integers(1, 120), st.integers(1, 40), st.integers(1, 4), st.integers(0, 10))
def test_each_clip_is_in_every_epoch_and_processes_together_see_the_batches_of_one(
    clips: int, size: int, ranks: int, seed: int
) -> None:
    whole = list(EpochBatches(clips, size, seed))
    shares = [list(EpochBatches(clips, size, seed, ranks, rank)) for rank in range(ranks)]
    assert len(whole) == steps_of_epoch(clips, size) == len(EpochBatches(clips, size, seed))
    assert {clip for batch in whole for clip in batch} == set(range(clips))
    assert len(whole) * min(size, clips) - clips < min(size, clips)  # not a batch more than that takes
    for step, batch in enumerate(whole):
        assert len(set(batch)) == len(batch) == min(size, clips)
        assert Counter(batch) == Counter(clip for share in shares for clip in share[step])
        assert len({len(share[step]) for share in shares}) == 1 or len(batch) % ranks
    assert list(EpochBatches(clips, size, seed)) == whole
    in_order = [clip for batch in EpochBatches(clips, size, None) for clip in batch]
    assert in_order == [*range(clips), *range(len(in_order) - clips)]
    if clips > 20:
        assert list(EpochBatches(clips, size, seed + 1)) != whole
