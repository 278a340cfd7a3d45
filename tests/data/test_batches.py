"""Batches: their content for each sampling rule and in colour, the released code's variants, and key frames."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import default_collate

from fdp_lightning.config import configuration
from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.datamodule import ClipDataset, FoldDataModule, read_frames
from fdp_lightning.data.loading.sampling import Sampling, uniform
from fdp_lightning.data.loading.statistics import Statistics
from fdp_lightning.data.protocols.splits import Fold
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.labels import LabelKind

RANDOM = Sampling(4, "random_phase")
Module = Callable[..., FoldDataModule]


def items(dataset: ClipDataset) -> dict[str, torch.Tensor]:
    each = [dataset[i] for i in range(len(dataset))]
    return {name: torch.stack([item[name] for item in each]) for name in each[0]}


@pytest.mark.parametrize("rule", ["uniform", "floor"])
def test_frames_and_frame_numbers_belong_together(module: Module, store: ClipStore, rule: str) -> None:
    data = module(sampling=Sampling(4, rule))
    batch, held_out = items(data.test_set), data.test_clips
    for place, row in enumerate(store.rows(held_out)):
        length = store.length(row)
        expected = np.array([i * (length // 4) for i in range(4)]) if rule == "floor" else uniform(length, 4)
        pictures = torch.from_numpy(store.read(row, expected)).float() / 255
        assert torch.equal(batch["frames"][place, :, 0], pictures)
        assert batch["frame_number"][place].tolist() == (held_out["onset"][place] + expected).tolist()
        assert data.test_frame_numbers[place].tolist() == batch["frame_number"][place].tolist()
    assert batch["frame_number"].dtype == batch["apex"].dtype == torch.float32


def test_the_apex_is_given_where_it_is_annotated_within_the_clip(module: Module, casme2_clips: pd.DataFrame) -> None:
    clips = casme2_clips.copy()
    held_out = clips.index[clips["subject"] == "02"]
    onset, offset = (clips.loc[held_out, name].tolist() for name in ("onset", "offset"))
    given = [pd.NA, onset[1] - 1, offset[2] + 1, onset[3], offset[4]]
    clips.loc[held_out, "apex"] = pd.array(given, dtype="Int64")
    apexes = items(module(clips).test_set)["apex"].numpy()
    np.testing.assert_array_equal(apexes, [np.nan, np.nan, np.nan, onset[3], offset[4]])
    assert items(module(clips).train_set)["apex"].isfinite().all()


def test_each_set_normalisation_uses_the_values_of_the_set_itself(module: Module) -> None:
    usual, released = module(), module(normalisation="each_set")
    assert released.fitted.statistics == Statistics(mean=0.0, std=1.0) != usual.fitted.statistics
    means = []
    for ours, theirs in ((usual.train_set, released.train_set), (usual.test_set, released.test_set)):
        plain, changed = items(ours)["frames"].double(), items(theirs)["frames"].double()
        assert changed.mean().item() == pytest.approx(0, abs=1e-6)
        assert changed.max().item() == pytest.approx(1, abs=1e-6)
        centred = plain - plain.mean()
        torch.testing.assert_close(changed, centred / centred.max(), atol=1e-5, rtol=0)
        means.append(plain.mean().item())
    assert abs(means[0] - means[1]) > 1e-3  # the other set's mean would not centre them
    even = usual.test_set
    even.sampled_frames = np.full_like(even.sampled_frames, 77)
    even.normalise_by_itself()
    assert items(even)["frames"].abs().max() < 1e-6  # constant frames: no division by zero


def plain(clips: ClipDataset, index: int) -> dict[str, torch.Tensor]:
    """Return one clip, to be collated by PyTorch: the reference implementation."""
    seed = int(np.random.SeedSequence([clips.seed, clips.epoch, index]).generate_state(1)[0])
    frames = clips.augmentation(clips.sampled_frames[index], seed)
    return {
        "frames": torch.from_numpy(frames).unsqueeze(1).float().div_(255),
        "frame_number": torch.from_numpy(clips.frame_numbers[index]).float(),
        "apex": torch.tensor(clips._apexes[index], dtype=torch.float32),
        "target": torch.as_tensor(clips._targets[index]),
        "index": torch.tensor(index),
    }


def loader_of(data: FoldDataModule, epoch: int) -> torch.utils.data.DataLoader:
    """Return the loader that a trainer gets for an epoch."""
    device = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(current_epoch=epoch, world_size=1, global_rank=0, strategy=device)
    return data.train_dataloader()


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype and values.shape == other[name].shape
        assert torch.equal(values.nan_to_num(-1), other[name].nan_to_num(-1)), name


@pytest.mark.parametrize(("workers", "epoch"), [(0, 3), (1, 0)])
def test_batches_of_the_loader_equal_collated_items(
    module: Module, casme2_clips: pd.DataFrame, workers: int, epoch: int
) -> None:
    clips = casme2_clips.copy()
    clips.loc[clips.index[2], "apex"] = pd.NA
    data = module(clips, workers=workers, sampling=Sampling(5), augmentation=ClipAugmentation(), seed=7)
    loader = loader_of(data, epoch)
    assert not loader.pin_memory
    for batch, rows in zip(loader, loader.batch_sampler, strict=True):
        assert_same(batch, default_collate([plain(data.train_set, row) for row in rows]))
        assert batch["frames"].is_contiguous()


@pytest.mark.parametrize(("sampling", "helpers"), [(Sampling(4), 0), (RANDOM, 2)], ids=["fixed", "drawn"])
def test_epochs_differ_and_runs_are_reproducible(module: Module, sampling: Sampling, helpers: int) -> None:
    options = {"sampling": sampling, "augmentation": ClipAugmentation()}
    seen, again = ([[*loader_of(module(seed=seed, workers=workers, **options), epoch)]
                    for seed, epoch in ((5, 0), (5, 1), (6, 0))] for workers in (0, helpers))  # fmt: skip
    clips = []
    for epoch, repeated in zip(seen, again, strict=True):
        for one, same in zip(epoch, repeated, strict=True):
            assert_same(one, same)
        order = torch.cat([batch["index"] for batch in epoch]).tolist()
        assert len(order) == 12 and set(order) == set(range(10))  # three batches of ten clips
        clips.append(dict(zip(order, torch.cat([batch["frames"] for batch in epoch]), strict=True)))
    assert len({tuple(batch["index"].tolist()) for batch, *_ in seen}) == 3
    for others in clips[1:]:
        assert not any(torch.equal(clips[0][i], others[i]) for i in range(10))


def test_held_out_clips_are_never_augmented(module: Module) -> None:
    usual, augmented = module(), module(augmentation=ClipAugmentation())
    for one, other in zip(usual.test_dataloader(), augmented.test_dataloader(), strict=True):
        assert_same(one, other)
    one, other = (next(iter(data.train_dataloader())) for data in (usual, augmented))
    assert torch.equal(one["index"], other["index"]) and not torch.equal(one["frames"], other["frames"])


def test_key_frames_are_first_apex_and_last(module: Module, store: ClipStore, casme2_clips: pd.DataFrame) -> None:
    onset, offset = (casme2_clips[name].astype(int).to_numpy() for name in ("onset", "offset"))
    clips = casme2_clips.assign(apex=onset + np.arange(len(onset)) % (offset - onset + 1))
    dataset = module(clips, sampling=Sampling(5)).train_set
    clips = clips[clips["subject"] != "02"].reset_index(drop=True)
    frames, numbers = dataset.key_frames()
    assert frames.dtype == np.uint8 and frames.shape == (len(clips), 3, *store.frame_shape)
    positions = set()
    for place, row in enumerate(store.rows(clips)):
        seen = dataset.frame_numbers[place].tolist()
        nearest = min(seen, key=lambda number: abs(number - clips["apex"][place]))
        assert numbers[place].tolist() == [seen[0], nearest, seen[-1]]
        among_all = [store.frame_numbers(row).tolist().index(number) for number in numbers[place]]
        np.testing.assert_array_equal(frames[place], store.read(row, np.array(among_all)))
        positions.add(seen.index(nearest))
    assert {0, 4} < positions


def test_without_a_usable_apex_the_middle_frame_is_the_key_frame(module: Module, casme2_clips: pd.DataFrame) -> None:
    clips = casme2_clips.assign(apex=pd.array([pd.NA, *[1_000_000] * 14], dtype="Int64"))
    dataset = module(clips, sampling=Sampling(5), normalisation="each_set").train_set
    frames, numbers = dataset.key_frames()
    np.testing.assert_array_equal(numbers, dataset.frame_numbers[:, [0, 2, 4]])
    assert frames.max() > 100  # as stored: neither centred nor divided


def test_positions_between_frames_are_interpolated(store: ClipStore) -> None:
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
def test_rules_based_on_the_apex_include_it(module: Module, casme2_clips: pd.DataFrame, rule: str) -> None:
    known = casme2_clips.assign(apex=(casme2_clips["onset"] + 3).astype("Int64"))
    data = module(known, sampling=Sampling(5, rule))
    for items in (data.train_set, data.test_set):
        for i in range(len(items)):
            assert items[i]["apex"] in items[i]["frame_number"]
    if rule == "onset_apex_offset":
        assert (data.test_frame_numbers[:, 2] == known["apex"].iloc[5:10].astype(int)).all()


def test_random_frames_are_drawn_only_in_training_and_anew_each_epoch(module: Module, store: ClipStore) -> None:
    data, fixed = (module(sampling=s) for s in (RANDOM, Sampling(4)))
    assert np.array_equal(data.test_frame_numbers, fixed.test_frame_numbers)
    assert all(torch.equal(data.test_set[i]["frames"], fixed.test_set[i]["frames"]) for i in range(5))
    assert data.fitted.statistics == fixed.fitted.statistics
    assert torch.equal(data.train_set.all_clips()["frames"], fixed.train_set.all_clips()["frames"])
    numbers = []
    for data.train_set.epoch in (2, 1, 0):
        numbers.append(items(data.train_set)["frame_number"])
    assert all((n.diff(dim=1) > 0).all() for n in numbers)
    assert not torch.equal(numbers[0], numbers[1]) and not torch.equal(numbers[1], numbers[2])
    assert len({tuple((n - n[:1]).tolist()) for n in numbers[0]}) > 1  # the positions differ between clips
    item, row = data.train_set[0], data.train_set._rows[0]
    places = np.searchsorted(store.frame_numbers(row), item["frame_number"].numpy())
    assert torch.equal(item["frames"][:, 0], torch.from_numpy(store.read(row, places)).float() / 255)


@pytest.mark.costly
def test_colour_has_three_channels_and_common_statistics(module: Module, casme2_root: Path, tmp_path: Path) -> None:
    options = ["data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", f"data.root={casme2_root}"]
    options += [f"data.store={tmp_path}", "data.workers=1"]
    options += ["data.faces.method=none", "data.faces.colour=rgb", "data.faces.size=32"]
    coloured = open_store(ready_data(configuration(*options)).store)
    data = module(folder=coloured.folder, augmentation=ClipAugmentation(flip=1.0))
    item = data.test_set[0]
    assert item["frames"].shape == (8, 3, 32, 32)
    row = coloured.rows(data.test_clips)[0]
    pictures = coloured.read(row, Sampling().positions(coloured.length(row)))
    assert torch.equal(item["frames"], torch.from_numpy(pictures).movedim(-1, -3).float() / 255)
    everything = data.train_set.all_clips()["frames"]
    assert data.fitted.statistics.mean == pytest.approx(everything.mean().item(), abs=1e-5)
    assert data.fitted.statistics.std == pytest.approx(everything.std(correction=0).item(), abs=1e-5)
    frames = next(iter(data.train_dataloader()))["frames"]
    # Memory layout affects the order of summation: it must be that of PyTorch's collation.
    assert frames.stride() == default_collate([data.train_set[i]["frames"] for i in range(4)]).stride()


def test_multi_label_batches_hold_the_units_of_their_clips(store_folder_path: Path, casme2_clips: pd.DataFrame) -> None:
    clips = casme2_clips.assign(target=["AU4", "AU12", "", "AU4+AU12", ""] * 3)
    fold = Fold("f", tuple(range(10)), tuple(range(10, 15)))
    data = FoldDataModule(store_folder_path, clips, ["AU4", "AU12"], fold, batch_size=3, label_kind=LabelKind.MULTI)
    expected = torch.tensor([[1.0, 0], [0, 1], [0, 0], [1, 1], [0, 0]])
    assert torch.equal(torch.cat([batch["target"] for batch in data.test_dataloader()]), expected)
    assert torch.equal(data.train_set.all_clips()["target"], expected.repeat(2, 1))
    assert data.fitted.class_counts == [4, 4]
    assert data.train_set[3]["target"].dtype == torch.float32
