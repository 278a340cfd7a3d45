"""Each kind of leak is planted, and seen to be caught."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fold_data import CLASSES, labelled

from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.loading.statistics import Statistics
from fdp_lightning.data.protocols.leak_guard import LeakError, check_clips, check_fold, check_statistics
from fdp_lightning.data.protocols.splits import Fold, leave_one_subject_out, set_aside
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.errors import UserError


@pytest.fixture
def clips(casme2_clips: pd.DataFrame) -> pd.DataFrame:
    return labelled(casme2_clips)


@pytest.fixture
def fold(clips: pd.DataFrame) -> Fold:
    return set_aside(leave_one_subject_out(clips)[0], clips, 1, seed=0)


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("train", "inner"), ("inner", "test")])
def test_a_subject_on_two_sides_is_caught(clips: pd.DataFrame, fold: Fold, one: str, other: str) -> None:
    (clip, *_) = getattr(fold, f"{other}_rows")
    planted = replace(fold, **{f"{one}_rows": (*getattr(fold, f"{one}_rows"), clip)})
    name = clips["subject"].iloc[clip]
    with pytest.raises(LeakError, match=rf"fold 01: {one} and {other} share the subjects casme2/{name}"):
        check_fold(planted, clips)
    for side in ("train", "test"):
        with pytest.raises(LeakError, match=f"no clip to {side}"):
            check_fold(replace(fold, **{f"{side}_rows": ()}), clips)


def test_statistics_of_other_clips_are_caught(clips: pd.DataFrame, store_folder_path: Path, fold: Fold) -> None:
    honest = FoldDataModule(store_folder_path, clips, CLASSES, fold)
    check_statistics("01", honest.fitted.statistics, honest.train_set.sampled_frames)
    for side in ("test", "inner"):
        others = getattr(honest, f"{side}_set").sampled_frames
        planted = Statistics.of(np.concatenate([honest.train_set.sampled_frames, others]))
        with pytest.raises(LeakError, match="fitted on other clips too"):
            check_statistics("01", planted, honest.train_set.sampled_frames)


def test_a_clip_under_two_datasets_is_caught(clips: pd.DataFrame, store: ClipStore) -> None:
    checksums = store.index["checksum"].iloc[store.rows(clips)].tolist()
    check_clips(clips, checksums)
    copy = clips[clips["subject"] == "02"].assign(dataset="other", subject="s7", clip="renamed")
    planted = pd.concat([clips, copy], ignore_index=True)
    copied = [checksums[row] for row in copy.index]
    with pytest.raises(UserError, match=r"10 clips are the same frames under different subjects: .*other/s7/renamed"):
        check_clips(planted, [*checksums, *copied])
    with pytest.raises(UserError, match="listed twice: 02/"):
        check_clips(pd.concat([clips, clips.iloc[5:6]]), [*checksums, checksums[5]])
    # Under one subject the same frames twice leak nothing; check_data names them.
    same = clips.iloc[5:6].assign(clip="again")
    check_clips(pd.concat([clips, same]), [*checksums, checksums[5]])


def test_nothing_held_out_is_fitted_on(
    clips: pd.DataFrame, store_folder_path: Path, fold: Fold, tmp_path: Path
) -> None:
    """Their frames become noise and their classes others: all that training sees stays bit for bit the same."""
    folder = Path(shutil.copytree(store_folder_path, tmp_path / "store"))
    store = open_store(folder)
    frames = np.memmap(folder / "frames.bin", dtype=np.uint8, mode="r+").reshape(-1, *store.frame_shape)
    changed = clips.copy()
    changed["target"] = changed["target"].astype(object)
    for row in (*fold.test_rows, *fold.inner_rows):
        (place,) = store.rows(clips.iloc[[row]])
        start, length = int(store.index["start"].iloc[place]), store.length(place)
        frames[start : start + length] = np.random.default_rng(row).integers(0, 256, (length, *store.frame_shape))
        changed.loc[row, "target"] = "others"
    frames.flush()
    before = FoldDataModule(store_folder_path, clips, CLASSES, fold)
    after = FoldDataModule(folder, changed, CLASSES, fold)
    assert after.fitted.statistics == before.fitted.statistics
    assert after.fitted.class_counts == before.fitted.class_counts
    np.testing.assert_array_equal(after.train_set.sampled_frames, before.train_set.sampled_frames)
    for one, other in zip(before.train_dataloader(), after.train_dataloader(), strict=True):
        assert all((one[name] == other[name]).all() for name in one)
    assert not np.array_equal(after.test_set.sampled_frames, before.test_set.sampled_frames)
