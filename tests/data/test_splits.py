"""Splits by subject, inner validation subjects, and an epoch's batches: no score is worth anything without these."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdp_lightning.data.loading.batches import EpochBatches
from fdp_lightning.data.protocols.splits import leave_one_subject_out, make_folds, rows_under_test, set_aside
from fdp_lightning.engine.budget import steps_of_epoch
from fdp_lightning.errors import UserError

SUBJECTS = st.lists(st.sampled_from(["01", "1", "010", "10", "006", "6", "spNO.1"]), min_size=2, max_size=40)


def table(subjects: list[str], datasets: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"dataset": datasets or ["casme2"] * len(subjects), "subject": subjects})


@given(SUBJECTS.filter(lambda subjects: len(set(subjects)) > 1))
def test_folds_test_every_clip_once_and_never_train_on_their_own_subject(subjects: list[str]) -> None:
    clips = table(subjects).set_axis(range(100, 100 + len(subjects)))  # rows are places, not labels
    folds = leave_one_subject_out(clips)
    assert sorted(row for fold in folds for row in fold.test_rows) == list(range(len(clips)))
    assert [fold.name for fold in folds] == sorted(set(subjects))
    for fold in folds:
        assert set(clips["subject"].iloc[list(fold.test_rows)]) == {fold.name}
        assert fold.name not in set(clips["subject"].iloc[list(fold.train_rows)])
        assert sorted(fold.train_rows + fold.test_rows) == list(range(len(clips)))


@given(st.lists(st.tuples(st.sampled_from(["casme2", "samm"]), st.sampled_from(["01", "02"])), min_size=2))
def test_subjects_of_two_datasets_that_share_a_name_are_two_folds(owners: list[tuple[str, str]]) -> None:
    clips = table([subject for _, subject in owners], [dataset for dataset, _ in owners])
    if len(set(owners)) < 2:
        with pytest.raises(UserError, match="at least two subjects"):
            leave_one_subject_out(clips)
        return
    folds = leave_one_subject_out(clips)
    assert len(folds) == len(set(owners))
    for fold in folds:
        assert len({owners[row] for row in fold.test_rows}) == 1
        assert not {owners[row] for row in fold.test_rows} & {owners[row] for row in fold.train_rows}


@given(SUBJECTS.filter(lambda subjects: len(set(subjects)) > 1), st.data())
def test_subjects_that_are_not_tested_train_every_fold(subjects: list[str], data: st.DataObject) -> None:
    untested = data.draw(st.lists(st.sampled_from([*subjects, "036"]), min_size=1))
    clips = table(subjects)
    if set(subjects) <= set(untested):
        with pytest.raises(UserError, match=r"protocol\.untested names every subject"):
            leave_one_subject_out(clips, untested)
        return
    folds = leave_one_subject_out(clips, untested)
    assert [fold.name for fold in folds] == sorted(set(subjects) - set(untested))
    tested = [row for row, subject in enumerate(subjects) if subject not in untested]
    assert rows_under_test(folds) == tested == sorted(row for fold in folds for row in fold.test_rows)
    for fold in folds:
        assert sorted(fold.train_rows + fold.test_rows) == list(range(len(clips)))


def labelled(**clips_of: dict[str, int]) -> pd.DataFrame:
    """A table of so many clips of each class for each subject."""
    rows = [("casme2", s, c) for s, counts in clips_of.items() for c, n in counts.items() for _ in range(n)]
    return pd.DataFrame(rows, columns=["dataset", "subject", "target"]).assign(split="")


@settings(deadline=None)  # the first call imports scikit-learn
@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), min_size=3, max_size=60), st.integers(2, 6))
def test_k_folds_hold_whole_subjects_and_test_every_clip_once(rows: list[tuple[int, str]], k: int) -> None:
    clips = pd.DataFrame([("casme2", f"{s:02d}", c) for s, c in rows], columns=["dataset", "subject", "target"])
    if clips["subject"].nunique() < k:
        with pytest.raises(UserError, match=r"protocol\.folds"):
            make_folds(clips, "kfold", folds=k)
        return
    folds = make_folds(clips, "kfold", folds=k)
    assert len(folds) == len({fold.name for fold in folds}) == k
    assert rows_under_test(folds) == list(range(len(clips)))
    for fold in folds:
        assert fold.test_rows
        assert sorted(fold.train_rows + fold.test_rows) == list(range(len(clips)))
        train, test = (set(clips["subject"].iloc[list(rows)]) for rows in (fold.train_rows, fold.test_rows))
        assert not train & test
    assert make_folds(clips, "kfold", folds=k) == folds


def test_k_folds_spread_the_classes_evenly_where_subjects_allow() -> None:
    clips = labelled(**{f"{n:02d}": {"common": 6, "rare": 1} for n in range(12)})
    for fold in make_folds(clips, "kfold", folds=4):
        assert clips["target"].iloc[list(fold.test_rows)].value_counts().to_dict() == {"common": 18, "rare": 3}


def test_one_dataset_is_left_out_at_a_time() -> None:
    clips = table(["01", "01", "02", "02"], ["samm", "casme2", "samm", "smic"])
    folds = make_folds(clips, "lodo")
    assert [(f.name, f.test_rows) for f in folds] == [("casme2", (1,)), ("samm", (0, 2)), ("smic", (3,))]
    assert [f.train_rows for f in folds] == [(0, 2, 3), (1, 3), (0, 1, 2)]
    with pytest.raises(UserError, match="at least two datasets"):
        make_folds(table(["01", "02"]), "lodo")


def test_the_published_split_trains_on_train_and_tests_each_other_part() -> None:
    parts = ["train", "test_a", "test_b", "train", "test_a", ""]  # the last clip is of none
    clips = table(["a", "b", "c", "a", "d", "e"]).assign(split=parts)
    found = [(f.name, f.train_rows, f.test_rows) for f in make_folds(clips, "fixed")]
    assert found == [("test_a", (0, 3), (1, 4)), ("test_b", (0, 3), (2,))]
    with pytest.raises(AssertionError, match="trains on a subject it tests"):
        make_folds(clips.assign(subject="a"), "fixed")
    with pytest.raises(UserError, match="needs a part 'train'"):
        make_folds(clips.assign(split=""), "fixed")


def crowd(subjects: int = 12) -> pd.DataFrame:
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
    clips = crowd()
    for fold in leave_one_subject_out(clips):
        split = set_aside(fold, clips, inner, seed=5)
        assert split.test_rows == fold.test_rows
        assert sorted(split.train_rows + split.inner_rows) == list(fold.train_rows)
        of = [set(clips["subject"].iloc[list(rows)]) for rows in (split.train_rows, split.inner_rows)]
        assert len(of[1]) == inner and not of[0] & of[1]
        assert set_aside(fold, clips, inner, seed=5) == split
        assert set_aside(fold, clips, 0, seed=0) is fold
    assert len({set_aside(fold, clips, 4, seed).inner_rows for seed in range(10)}) > 5


def test_classes_among_those_set_aside_are_shared_as_in_training_better_than_by_chance() -> None:
    clips = crowd()
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
def test_processes_together_see_the_batches_of_one(clips: int, size: int, ranks: int, seed: int) -> None:
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
