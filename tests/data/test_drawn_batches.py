"""Batches by other ways of sampling, and in colour."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fold_data import fold_data
from torch.utils.data import default_collate

from fdp_lightning.config import configuration
from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.datamodule import FoldDataModule, read_frames
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.engine.dataset import ready_data

pytestmark = pytest.mark.costly


RANDOM = Sampling(4, "random_phase")


@pytest.fixture(scope="module")
def coloured(casme2_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """The store of the same clips in colour, by the whole picture, which needs no detection."""
    options = ["data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", f"data.root={casme2_root}"]
    options += [f"data.store={tmp_path_factory.mktemp('stores')}", "data.workers=1"]
    options += ["data.faces.method=none", "data.faces.colour=rgb", "data.faces.size=32"]
    return open_store(ready_data(configuration(*options)).store)


def drawn(store: ClipStore, clips: pd.DataFrame, **options: object) -> FoldDataModule:
    return fold_data(store.folder, clips, batch_size=4, **options)


def epoch(data: FoldDataModule, number: int) -> dict[int, dict[str, torch.Tensor]]:
    """Every training clip as it comes in an epoch."""
    data.train_set.epoch = number
    return {i: data.train_set[i] for i in range(len(data.train_set))}


def test_positions_between_frames_are_read_as_their_blend(store: ClipStore) -> None:
    row = 0
    whole = store.read(row, np.arange(store.length(row))).astype(float)
    frames, numbers = read_frames(store, row, np.array([0, 0.25, 1.5, store.length(row) - 1]))
    expected = [whole[0], 0.75 * whole[0] + 0.25 * whole[1], (whole[1] + whole[2]) / 2, whole[-1]]
    assert frames.dtype == np.uint8
    assert np.abs(frames - np.stack(expected)).max() <= 0.5
    first, last = store.frame_numbers(row)[[0, -1]]
    assert numbers.tolist() == [first, first + 0.25, first + 1.5, last]
    frames, numbers = read_frames(store, row, np.array([2, 3]))
    assert np.array_equal(frames, whole[2:4]) and numbers.dtype == np.int64


@pytest.mark.parametrize("rule", ["around_apex", "onset_apex_offset"])
def test_the_apex_frame_is_among_those_sampled_by_it(store: ClipStore, casme2_clips: pd.DataFrame, rule: str) -> None:
    known = casme2_clips.assign(apex=(casme2_clips["onset"] + 3).astype("Int64"))
    data = drawn(store, known, sampling=Sampling(5, rule))
    for items in (data.train_set, data.test_set):
        for i in range(len(items)):
            assert items[i]["apex"] in items[i]["frame_number"]
    if rule == "onset_apex_offset":
        assert (data.test_frame_numbers[:, 2] == known["apex"].iloc[5:10].astype(int)).all()
    unknown = casme2_clips.assign(apex=pd.array([None] * len(casme2_clips), dtype="Int64"))
    plain = drawn(store, unknown, sampling=Sampling(5)).test_frame_numbers
    assert np.array_equal(drawn(store, unknown, sampling=Sampling(5, rule)).test_frame_numbers, plain)


def test_random_frames_are_of_training_alone_and_new_each_epoch(store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    data, fixed = (drawn(store, casme2_clips, sampling=s) for s in (RANDOM, Sampling(4)))
    assert np.array_equal(data.test_frame_numbers, fixed.test_frame_numbers)
    assert all(torch.equal(data.test_set[i]["frames"], fixed.test_set[i]["frames"]) for i in range(5))
    assert data.fitted.statistics == fixed.fitted.statistics
    assert torch.equal(data.train_set.all_clips()["frames"], fixed.train_set.all_clips()["frames"])
    seen = [epoch(data, number) for number in range(3)]
    numbers = [torch.stack([item["frame_number"] for item in items.values()]) for items in seen]
    assert all((n.diff(dim=1) > 0).all() for n in numbers)
    assert not torch.equal(numbers[0], numbers[1]) and not torch.equal(numbers[1], numbers[2])
    assert len({tuple((n - n[:1]).tolist()) for n in numbers[0]}) > 1  # nor do all clips get the same places
    rows = data.train_set._rows
    for i, item in seen[0].items():
        places = np.searchsorted(store.frame_numbers(rows[i]), item["frame_number"].numpy())
        pictures = torch.from_numpy(store.read(rows[i], places)).float() / 255
        assert torch.equal(item["frames"][:, 0], pictures)


def test_random_frames_follow_from_seed_and_epoch(store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    options = {"sampling": RANDOM, "augmentation": ClipAugmentation()}
    alone, helped = (drawn(store, casme2_clips, workers=w, seed=5, **options) for w in (0, 2))
    for one, other in zip(alone.train_dataloader(), helped.train_dataloader(), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    again, other = (epoch(drawn(store, casme2_clips, seed=seed, **options), 2) for seed in (5, 6))
    for i, item in epoch(alone, 2).items():
        assert torch.equal(item["frames"], again[i]["frames"])
    assert any(not torch.equal(again[i]["frame_number"], other[i]["frame_number"]) for i in again)


def test_colour_comes_as_three_channels_with_common_statistics(coloured: ClipStore, casme2_clips: pd.DataFrame) -> None:
    data = drawn(coloured, casme2_clips, augmentation=ClipAugmentation(flip=1.0))
    item = data.test_set[0]
    assert item["frames"].shape == (8, 3, 32, 32)
    row = coloured.rows(data.test_clips)[0]
    pictures = coloured.read(row, Sampling().positions(coloured.length(row)))
    assert torch.equal(item["frames"], torch.from_numpy(pictures).movedim(-1, -3).float() / 255)
    everything = data.train_set.all_clips()["frames"]
    assert everything.shape == (10, 8, 3, 32, 32)
    assert data.fitted.statistics.mean == pytest.approx(everything.mean().item(), abs=1e-5)
    assert data.fitted.statistics.std == pytest.approx(everything.std(correction=0).item(), abs=1e-5)
    frames = next(iter(data.train_dataloader()))["frames"]
    assert frames.shape == (4, 8, 3, 32, 32)
    # How a batch lies in memory decides how networks sum: as PyTorch's own collation lays it.
    assert frames.stride() == default_collate([data.train_set[i]["frames"] for i in range(4)]).stride()
