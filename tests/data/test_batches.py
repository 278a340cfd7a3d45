"""Batches: what they hold, gathered at once or item by item, the released code's ways, and a clip's key frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fold_data import CLASSES, fold_data, labelled
from torch.utils.data import default_collate

from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.datamodule import ClipDataset, FoldDataModule
from fdp_lightning.data.loading.sampling import Sampling, uniform
from fdp_lightning.data.loading.statistics import Statistics
from fdp_lightning.data.protocols.splits import Fold
from fdp_lightning.data.store.clip_store import ClipStore


@pytest.fixture
def module(store_folder_path: Path, casme2_clips: pd.DataFrame) -> Callable[..., FoldDataModule]:
    return lambda clips=casme2_clips, **options: fold_data(store_folder_path, clips, **options)


def items(dataset: ClipDataset) -> dict[str, torch.Tensor]:
    each = [dataset[i] for i in range(len(dataset))]
    return {name: torch.stack([item[name] for item in each]) for name in each[0]}


@pytest.mark.parametrize("rule", ["uniform", "floor"])
def test_pictures_and_frame_numbers_are_of_the_same_frames(
    module: Callable[..., FoldDataModule], store: ClipStore, casme2_clips: pd.DataFrame, rule: str
) -> None:
    data = module(sampling=Sampling(4, rule))
    held_out = casme2_clips[casme2_clips["subject"] == "02"].reset_index(drop=True)
    batch = items(data.test_set)
    for place, row in enumerate(store.rows(held_out)):
        length = store.length(row)
        expected = np.array([i * (length // 4) for i in range(4)]) if rule == "floor" else uniform(length, 4)
        pictures = torch.from_numpy(store.read(row, expected)).float() / 255
        assert torch.equal(batch["frames"][place, :, 0], pictures)
        assert batch["frame_number"][place].tolist() == (held_out["onset"][place] + expected).tolist()
        assert data.test_frame_numbers[place].tolist() == batch["frame_number"][place].tolist()
    assert batch["frame_number"].dtype == batch["apex"].dtype == torch.float32


def test_an_apex_is_given_where_it_is_known(module: Callable[..., FoldDataModule], casme2_clips: pd.DataFrame) -> None:
    clips = labelled(casme2_clips)
    held_out = clips.index[clips["subject"] == "02"]
    onset, offset = (clips.loc[held_out, name].tolist() for name in ("onset", "offset"))
    given = [pd.NA, onset[1] - 1, offset[2] + 1, onset[3], offset[4]]
    clips.loc[held_out, "apex"] = pd.array(given, dtype="Int64")
    apexes = items(module(clips).test_set)["apex"].numpy()
    np.testing.assert_array_equal(apexes, [np.nan, np.nan, np.nan, onset[3], offset[4]])
    assert items(module(clips).train_set)["apex"].isfinite().all()


def test_each_set_is_scaled_by_its_own_values(module: Callable[..., FoldDataModule]) -> None:
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
    assert abs(means[0] - means[1]) > 1e-3  # by each other's mean they would not be centred
    even = usual.test_set
    even._clips = np.full_like(even._clips, 77)
    even.normalise_by_itself()
    assert items(even)["frames"].abs().max() < 1e-6  # one grey value: not divided by zero


class Plain(torch.utils.data.Dataset):
    """Clip by clip, collated by PyTorch: the reference implementation."""

    def __init__(self, clips: ClipDataset) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        clips = self._clips
        seed = int(np.random.SeedSequence([clips.seed, clips.epoch, index]).generate_state(1)[0])
        frames = clips.augmentation(clips.sampled_frames[index], seed)
        return {
            "frames": torch.from_numpy(frames).unsqueeze(1).float().div_(255),
            "frame_number": torch.from_numpy(clips.frame_numbers[index]).float(),
            "apex": torch.tensor(clips._apexes[index], dtype=torch.float32),
            "target": torch.as_tensor(clips._targets[index]),
            "index": torch.tensor(index),
        }


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype and values.shape == other[name].shape
        assert torch.equal(values.nan_to_num(-1), other[name].nan_to_num(-1)), name


@pytest.mark.parametrize(("workers", "epoch"), [(0, 3), (1, 0)])
def test_the_loader_gives_the_batches_that_single_items_make(
    module: Callable[..., FoldDataModule], casme2_clips: pd.DataFrame, workers: int, epoch: int
) -> None:
    clips = labelled(casme2_clips)
    clips.loc[clips.index[2], "apex"] = pd.NA
    options = {"sampling": Sampling(5), "batch_size": 4, "augmentation": ClipAugmentation(), "seed": 7}
    data = module(clips, workers=workers, **options)
    data.train_set.epoch = epoch
    loader, plain = data.train_dataloader(), Plain(data.train_set)
    assert not loader.pin_memory
    batches = [[plain[row] for row in rows] for rows in loader.batch_sampler]
    for batch, items in zip(loader, batches, strict=True):
        assert_same(batch, default_collate(items))
        assert batch["frames"].is_contiguous()


@pytest.fixture
def held_out(store_folder_path: Path, casme2_clips: pd.DataFrame) -> Callable[..., tuple[FoldDataModule, pd.DataFrame]]:
    def make(apexes: Any, **options) -> tuple[FoldDataModule, pd.DataFrame]:
        clips = casme2_clips.assign(target=casme2_clips["emotion"], apex=pd.array(apexes, dtype="Int64"))
        fold = Fold("all", (0,), tuple(range(len(clips))))
        return FoldDataModule(store_folder_path, clips, CLASSES, fold, Sampling(5), **options), clips

    return make


def test_they_are_the_first_the_nearest_to_the_apex_and_the_last_that_the_model_sees(
    held_out: Callable[..., tuple[FoldDataModule, pd.DataFrame]], store: ClipStore, casme2_clips: pd.DataFrame
) -> None:
    onset, offset = (casme2_clips[name].astype(int).to_numpy() for name in ("onset", "offset"))
    apexes = onset + np.arange(len(onset)) % (offset - onset + 1)
    data, clips = held_out(apexes)
    frames, numbers = data.test_set.key_frames()
    assert frames.dtype == np.uint8 and frames.shape == (len(clips), 3, *store.read(0, np.array([0])).shape[1:])
    for place, row in enumerate(store.rows(clips)):
        seen = data.test_frame_numbers[place].tolist()
        nearest = min(seen, key=lambda number: abs(number - apexes[place]))
        assert numbers[place].tolist() == [seen[0], nearest, seen[-1]]
        among_all = [store.frame_numbers(row).tolist().index(number) for number in numbers[place]]
        np.testing.assert_array_equal(frames[place], store.read(row, np.array(among_all)))
    assert len({tuple(np.searchsorted(data.test_frame_numbers[i], numbers[i])) for i in range(len(clips))}) == 5


@pytest.mark.parametrize("options", [{}, {"normalisation": "each_set"}])
def test_without_an_apex_within_the_clip_it_is_the_middle_frame_and_pictures_are_as_stored(
    held_out: Callable[..., tuple[FoldDataModule, pd.DataFrame]], options: dict[str, Any]
) -> None:
    data, _ = held_out([pd.NA, *[1_000_000] * 14], **options)
    frames, numbers = data.test_set.key_frames()
    np.testing.assert_array_equal(numbers, data.test_frame_numbers[:, [0, 2, 4]])
    assert frames.max() > 100  # neither centred nor divided
