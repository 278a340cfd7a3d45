"""Batches gathered at once are, to the last bit, those of single items."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import default_collate

from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.datamodule import ClipDataset, FoldDataModule
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.protocols.splits import leave_one_subject_out

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]


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


@pytest.fixture
def module(store_folder_path: Path, casme2_clips: pd.DataFrame) -> Callable[..., FoldDataModule]:
    clips = casme2_clips.assign(target=casme2_clips["emotion"])
    clips.loc[clips.index[2], "apex"] = pd.NA

    def make(**options) -> FoldDataModule:
        fold = leave_one_subject_out(clips)[1]
        return FoldDataModule(store_folder_path, clips, CLASSES, fold, Sampling(5), batch_size=4, **options)

    return make


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert list(one) == list(other)
    for name, values in one.items():
        assert values.dtype == other[name].dtype and values.shape == other[name].shape
        assert torch.equal(values.nan_to_num(-1), other[name].nan_to_num(-1)), name


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_batch_gathered_at_once_is_that_of_single_items(module: Callable[..., FoldDataModule], epoch: int) -> None:
    data = module(augmentation=ClipAugmentation(), seed=7)
    data.train_set.epoch = epoch
    plain = Plain(data.train_set)
    seen = 0
    for rows in ([6, 0, 3], [2], list(range(len(plain)))):
        batch = data.train_set.__getitems__(rows)
        assert_same(batch, default_collate([plain[row] for row in rows]))
        seen += batch["apex"].isnan().sum().item()
        assert batch["frames"].is_contiguous()
    assert seen


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_gives_the_batches_that_single_items_make(
    module: Callable[..., FoldDataModule], workers: int
) -> None:
    data = module(augmentation=ClipAugmentation(), seed=7, workers=workers)
    loader = data.train_dataloader()
    plain = Plain(data.train_set)
    assert not loader.pin_memory
    batches = [[plain[row] for row in rows] for rows in loader.batch_sampler]
    for batch, items in zip(loader, batches, strict=True):
        assert_same(batch, default_collate(items))
