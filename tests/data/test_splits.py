"""Splits by subject, inner validation subjects, an epoch's batches, and the guard that detects every planted leak."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.data.loading.batches import EpochBatches
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.loading.statistics import Statistics
from fdp_lightning.data.protocols.leak_guard import LeakError, check_clips, check_fold, check_statistics
from fdp_lightning.data.protocols.splits import (
    Fold,
    leave_one_subject_out,
    make_folds,
    rows_under_test,
    with_inner_subjects,
)
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.engine.plan import steps_of_epoch
from fdp_lightning.errors import UserError
from fdp_lightning.labels import LabelKind


def table(subjects: list[str], datasets: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"dataset": datasets or ["casme2"] * len(subjects), "subject": subjects})


SUBJECTS = ["01", "1", "010", "10", "006", "spNO.1"]
OWNERS = st.lists(st.tuples(st.sampled_from(["casme2", "samm"]), st.sampled_from(SUBJECTS)), min_size=1, max_size=40)


@given(OWNERS, st.booleans(), st.lists(st.sampled_from([*SUBJECTS, "samm_01", "036"]), max_size=4))
def test_each_subject_is_tested_once_and_never_trained_on_in_its_fold(
    owners: list[tuple[str, str]], one_dataset: bool, untested: list[str]
) -> None:
    """Subjects with one name in two datasets are different; untested subjects are trained on in every fold."""
    owners = [("casme2", subject) for _, subject in owners] if one_dataset else owners
    clips = table([subject for _, subject in owners], [dataset for dataset, _ in owners])
    clips = clips.set_axis(range(100, 100 + len(clips)))  # rows are positions, not labels
    several = len({dataset for dataset, _ in owners}) > 1
    names = ["_".join(owner) if several else owner[1] for owner in owners]
    tested = sorted(set(names) - set(untested))
    if len(set(names)) < 2 or not tested:
        with pytest.raises(UserError, match="at least two subjects" if len(set(names)) < 2 else r"protocol\.untested"):
            leave_one_subject_out(clips, untested)
        return
    folds = leave_one_subject_out(clips, untested)
    assert [fold.name for fold in folds] == tested
    for fold in folds:
        assert [*fold.test_rows] == [row for row, name in enumerate(names) if name == fold.name]
        assert [*fold.train_rows] == [row for row, name in enumerate(names) if name != fold.name]
    assert rows_under_test(folds) == [row for row, name in enumerate(names) if name in tested]


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abc")), min_size=3, max_size=60), st.integers(2, 6))
def test_k_folds_keep_subjects_whole_and_test_every_clip_once(rows: list[tuple[int, str]], k: int) -> None:
    clips = pd.DataFrame([("casme2", f"{s:02d}", c) for s, c in rows], columns=["dataset", "subject", "target"])
    if clips["subject"].nunique() < k:
        with pytest.raises(UserError, match=r"protocol\.folds"):
            make_folds(clips, "kfold", folds=k)
        return
    folds = make_folds(clips, "kfold", folds=k)
    assert len(folds) == len({fold.name for fold in folds}) == k
    assert rows_under_test(folds) == list(range(len(clips)))
    for fold in folds:
        assert fold.test_rows and sorted(fold.train_rows + fold.test_rows) == list(range(len(clips)))
        train, test = (set(clips["subject"].iloc[list(rows)]) for rows in (fold.train_rows, fold.test_rows))
        assert not train & test
    assert make_folds(clips, "kfold", folds=k) == folds


def test_k_folds_are_stratified_by_class() -> None:
    clips = table([f"{n:02d}" for n in range(12) for _ in range(7)]).assign(target=[*["common"] * 6, "rare"] * 12)
    for fold in make_folds(clips, "kfold", folds=4):
        assert clips["target"].iloc[list(fold.test_rows)].value_counts().to_dict() == {"common": 18, "rare": 3}


def test_leave_one_dataset_out() -> None:
    clips = table(["01", "01", "02", "02"], ["samm", "casme2", "samm", "smic"])
    folds = make_folds(clips, "lodo")
    assert [(f.name, f.test_rows) for f in folds] == [("casme2", (1,)), ("samm", (0, 2)), ("smic", (3,))]
    assert [f.train_rows for f in folds] == [(0, 2, 3), (1, 3), (0, 1, 2)]
    with pytest.raises(UserError, match="at least two datasets"):
        make_folds(table(["01", "02"]), "lodo")


def test_a_fixed_split_trains_on_train_and_tests_every_other_part() -> None:
    parts = ["train", "test_a", "test_b", "train", "test_a", ""]  # the last clip belongs to no part
    clips = table(["a", "b", "c", "a", "d", "e"]).assign(split=parts)
    found = [(f.name, f.train_rows, f.test_rows) for f in make_folds(clips, "fixed")]
    assert found == [("test_a", (0, 3), (1, 4)), ("test_b", (0, 3), (2,))]
    with pytest.raises(AssertionError, match="trains on a subject it tests"):
        make_folds(clips.assign(subject="a"), "fixed")
    with pytest.raises(UserError, match="needs a part 'train'"):
        make_folds(clips.assign(split=""), "fixed")


def crowd() -> pd.DataFrame:
    """Return a table of subjects with one to four clips each, many with a single class."""
    random = np.random.default_rng(3)
    rows = [(f"{s:02}", "abc"[(s + c * (s % 2)) % 3]) for s in range(12) for c in range(1 + random.integers(4))]
    return pd.DataFrame(rows, columns=["subject", "target"]).assign(dataset="d")


@pytest.mark.parametrize("inner", [1, 3, 10])
def test_the_given_number_of_training_subjects_is_held_out_for_inner_validation(inner: int) -> None:
    clips = crowd()
    for fold in leave_one_subject_out(clips):
        split = with_inner_subjects(fold, clips, inner, seed=5)
        assert split.test_rows == fold.test_rows
        assert sorted(split.train_rows + split.inner_rows) == list(fold.train_rows)
        of = [set(clips["subject"].iloc[list(rows)]) for rows in (split.train_rows, split.inner_rows)]
        assert len(of[1]) == inner and not of[0] & of[1]
        assert with_inner_subjects(fold, clips, inner, seed=5) == split
        assert with_inner_subjects(fold, clips, 0, seed=0) is fold
    assert len({with_inner_subjects(fold, clips, 4, seed).inner_rows for seed in range(10)}) > 5


def test_inner_subjects_have_nearly_the_class_shares_of_the_training_clips() -> None:
    clips = crowd()
    fold = leave_one_subject_out(clips)[0]
    everyone = clips["target"].iloc[list(fold.train_rows)].value_counts(normalize=True)

    def distance(rows: tuple[int, ...]) -> float:
        shares = clips["target"].iloc[list(rows)].value_counts(normalize=True)
        return float(shares.reindex(everyone.index).fillna(0).sub(everyone).abs().sum())

    chosen = [distance(with_inner_subjects(fold, clips, 3, seed).inner_rows) for seed in range(20)]
    random = np.random.default_rng(0)
    names = clips["subject"].iloc[list(fold.train_rows)].unique()
    drawn = [
        distance(tuple(np.flatnonzero(clips["subject"].isin(random.choice(names, 3, replace=False))).tolist()))
        for _ in range(200)
    ]
    assert np.mean(chosen) < 0.5 * np.mean(drawn)


@given(st.integers(1, 120), st.integers(1, 40), st.integers(1, 4), st.integers(0, 10))
def test_the_batches_of_all_processes_together_are_those_of_one(clips: int, size: int, ranks: int, seed: int) -> None:
    whole = list(EpochBatches(clips, size, seed))
    shares = [list(EpochBatches(clips, size, seed, ranks, rank)) for rank in range(ranks)]
    assert len(whole) == steps_of_epoch(clips, size) == len(EpochBatches(clips, size, seed))
    assert {clip for batch in whole for clip in batch} == set(range(clips))
    assert len(whole) * min(size, clips) - clips < min(size, clips)  # no batch more than necessary
    for step, batch in enumerate(whole):
        assert len(set(batch)) == len(batch) == min(size, clips)
        assert Counter(batch) == Counter(clip for share in shares for clip in share[step])
        assert len({len(share[step]) for share in shares}) == 1 or len(batch) % ranks
    assert list(EpochBatches(clips, size, seed)) == whole
    in_order = [clip for batch in EpochBatches(clips, size, None) for clip in batch]
    assert in_order == [*range(clips), *range(len(in_order) - clips)]
    if clips > 20:
        assert list(EpochBatches(clips, size, seed + 1)) != whole


def test_k_folds_are_stratified_by_action_unit_not_by_combination() -> None:
    """If combinations were spread, one of these two folds would have more than half of some unit."""
    shows = {
        "0": ["AU1+AU2", "AU1+AU4", "AU2"], "1": ["AU4", "AU2+AU4", "AU2"], "2": ["AU1+AU4", "AU1+AU4", "AU1+AU2"],
        "3": ["AU1+AU2", "AU1+AU2", "AU1+AU2"], "4": ["AU2+AU4", "AU1+AU4", "AU1+AU4"],
        "5": ["AU2", "AU2+AU4", "AU2+AU4"],
    }  # fmt: skip
    rows = [(subject, target) for subject, targets in shows.items() for target in targets]
    clips = pd.DataFrame(rows, columns=["subject", "target"]).assign(dataset="d", split="")
    folds = make_folds(clips, "kfold", folds=2, kind=LabelKind.MULTI)
    assert rows_under_test(folds) == list(range(len(clips)))
    for fold in folds:
        test = clips.iloc[list(fold.test_rows)]
        assert test["target"].str.split("+").explode().value_counts().to_dict() == {"AU1": 5, "AU2": 6, "AU4": 5}
        assert not set(test["subject"]) & set(clips["subject"].iloc[list(fold.train_rows)])


@pytest.fixture
def fold(labelled: pd.DataFrame) -> Fold:
    return with_inner_subjects(leave_one_subject_out(labelled)[0], labelled, 1, seed=0)


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("train", "inner"), ("inner", "test")])
def test_a_subject_on_two_sides_is_detected(labelled: pd.DataFrame, fold: Fold, one: str, other: str) -> None:
    clips = labelled
    (clip, *_) = getattr(fold, f"{other}_rows")
    planted = replace(fold, **{f"{one}_rows": (*getattr(fold, f"{one}_rows"), clip)})
    name = clips["subject"].iloc[clip]
    with pytest.raises(LeakError, match=rf"fold 01: {one} and {other} share the subjects casme2/{name}"):
        check_fold(planted, clips)
    for side in ("train", "test"):
        with pytest.raises(LeakError, match=f"no clip to {side}"):
            check_fold(replace(fold, **{f"{side}_rows": ()}), clips)


def test_statistics_of_other_clips_are_detected(module: Callable[..., FoldDataModule], fold: Fold) -> None:
    honest = module(fold=fold)
    check_statistics("01", honest.fitted.statistics, honest.train_set.sampled_frames)
    for side in ("test", "inner"):
        others = getattr(honest, f"{side}_set").sampled_frames
        planted = Statistics.of(np.concatenate([honest.train_set.sampled_frames, others]))
        with pytest.raises(LeakError, match="fitted on other clips too"):
            check_statistics("01", planted, honest.train_set.sampled_frames)


def test_a_clip_under_two_datasets_is_detected(labelled: pd.DataFrame, store: ClipStore) -> None:
    clips = labelled
    checksums = store.index["checksum"].iloc[store.rows(clips)].tolist()
    check_clips(clips, checksums)
    copy = clips[clips["subject"] == "02"].assign(dataset="other", subject="s7", clip="renamed")
    planted = pd.concat([clips, copy], ignore_index=True)
    copied = [checksums[row] for row in copy.index]
    with pytest.raises(UserError, match=r"10 clips have the same frames under different subjects: .*other/s7/renamed"):
        check_clips(planted, [*checksums, *copied])
    with pytest.raises(UserError, match="listed twice: 02/"):
        check_clips(pd.concat([clips, clips.iloc[5:6]]), [*checksums, checksums[5]])
    # Duplicate frames of one subject leak nothing; check_data reports them.
    same = clips.iloc[5:6].assign(clip="again")
    check_clips(pd.concat([clips, same]), [*checksums, checksums[5]])


def test_held_out_clips_do_not_affect_what_is_fitted(
    module: Callable[..., FoldDataModule], labelled: pd.DataFrame, store_folder_path: Path, fold: Fold, tmp_path: Path
) -> None:
    """Frames become noise and classes change: training data stay the same bit for bit."""
    folder = Path(shutil.copytree(store_folder_path, tmp_path / "store"))
    store = open_store(folder)
    frames = np.memmap(folder / "frames.bin", dtype=np.uint8, mode="r+").reshape(-1, *store.frame_shape)
    changed = labelled.assign(emotion=labelled["emotion"].astype(object))
    for row in (*fold.test_rows, *fold.inner_rows):
        (place,) = store.rows(labelled.iloc[[row]])
        start, length = int(store.index["start"].iloc[place]), store.length(place)
        frames[start : start + length] = np.random.default_rng(row).integers(0, 256, (length, *store.frame_shape))
        changed.loc[row, "emotion"] = "others"
    frames.flush()
    before, after = module(fold=fold), module(changed, folder, fold=fold)
    assert after.fitted.statistics == before.fitted.statistics
    assert after.fitted.class_counts == before.fitted.class_counts
    np.testing.assert_array_equal(after.train_set.sampled_frames, before.train_set.sampled_frames)
    for one, other in zip(before.train_dataloader(), after.train_dataloader(), strict=True):
        assert all((one[name] == other[name]).all() for name in one)
    assert not np.array_equal(after.test_set.sampled_frames, before.test_set.sampled_frames)
