"""What the model sees of a clip: the whole of it, in order, changed as one; and batches that follow from the seed."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.loading.sampling import uniform
from fdp_lightning.data.protocols.splits import leave_one_subject_out
from fdp_lightning.data.store.clip_store import FRAMES, ClipStore

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]


@given(st.integers(1, 400), st.integers(2, 64))
def test_sampling_spans_the_clip_in_order_and_evenly(n_frames: int, count: int) -> None:
    places = uniform(n_frames, count)
    assert places.shape == (count,)
    assert (places[0], places[-1]) == (0, n_frames - 1)
    steps = np.diff(places)
    assert (steps >= 0).all()
    assert steps.max() - steps.min() <= 1
    assert len(set(places.tolist())) == min(n_frames, count)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """A clip of texture that gets brighter by two grey levels per frame."""
    texture = np.random.default_rng(0).integers(60, 160, (16, 16)).repeat(4, axis=0).repeat(4, axis=1)
    return (texture + 2 * np.arange(8)[:, None, None]).astype(np.uint8)


def test_all_frames_of_a_clip_are_changed_alike(frames: np.ndarray) -> None:
    still = np.repeat(frames[:1], 8, axis=0)
    augmentation = ClipAugmentation()
    for seed in range(20):
        changed = augmentation(still, seed)
        assert (changed == changed[0]).all()
        assert not np.array_equal(changed[0], still[0])


def test_the_seed_decides_the_change_alone(frames: np.ndarray) -> None:
    augmentation = ClipAugmentation()
    first = augmentation(frames, 7)
    different = augmentation(frames, 8)
    assert not np.array_equal(first, different)
    assert np.array_equal(augmentation(frames, 7), first)
    assert np.array_equal(ClipAugmentation()(frames, 7), first)
    assert np.array_equal(augmentation(frames[2:5], 7), first[2:5])  # nor does the number of frames


def test_flip_framing_and_light_are_drawn_independently_of_one_another() -> None:
    rows, columns = np.mgrid[:64, :64]
    still = np.repeat((60 + rows + 40 * (columns >= 32)).astype(np.uint8)[None], 2, axis=0)
    augmentation = ClipAugmentation(0.5, shift=0.2, scale=0, rotate=0, brightness=0, contrast=0.3)
    # The seeds of clips in an epoch, as the loader makes them.
    seeds = [int(np.random.SeedSequence([3, 0, clip]).generate_state(1)[0]) for clip in range(1000)]
    left, right = (np.array([augmentation(still, seed)[0] for seed in seeds]).astype(float)[:, :, c] for c in (0, 63))
    flipped = right[:, 32] < left[:, 32]
    contrast = (right[:, 43] - right[:, 20]) / 23
    downwards = 32 - (np.minimum(left, right)[:, 32] / contrast - 60)
    assert 0.45 < flipped.mean() < 0.55
    assert contrast.std() > 0.15 and downwards.std() > 6
    between = np.corrcoef([flipped, contrast, downwards])[np.triu_indices(3, 1)]
    assert np.abs(between).max() < 0.1  # three standard errors; 0.87 where one number decides two of them


@pytest.fixture(scope="module")
def module(store_folder_path: Path, casme2_clips: pd.DataFrame) -> Callable[..., FoldDataModule]:
    clips = casme2_clips.assign(target=casme2_clips["emotion"])
    fold = leave_one_subject_out(clips)[1]

    def make(
        folder: Path = store_folder_path, augmentation: ClipAugmentation | None = None, **options
    ) -> FoldDataModule:
        return FoldDataModule(folder, clips, CLASSES, fold, batch_size=4, augmentation=augmentation, **options)

    return make


def batches(loader: Iterable[dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
    return list(loader)


def assert_same(left: list[dict[str, torch.Tensor]], right: list[dict[str, torch.Tensor]]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_items_hold_the_sampled_frames_of_their_clip(
    module: Callable[..., FoldDataModule], store: ClipStore, casme2_clips: pd.DataFrame
) -> None:
    data = module()
    held_out = casme2_clips[casme2_clips["subject"] == "02"].reset_index(drop=True)
    assert data.test_clips["clip"].tolist() == held_out["clip"].tolist()
    (batch, rest) = batches(data.test_dataloader())
    assert batch["frames"].shape == (4, 8, 1, 64, 64)
    assert len(rest["index"]) == 1
    row = store.rows(held_out)[2]
    expected = store.read(row, uniform(store.length(row), 8))
    assert torch.equal(batch["frames"][2, :, 0], torch.from_numpy(expected).float() / 255)
    assert [CLASSES[t] for t in batch["target"]] == held_out["emotion"][:4].tolist()
    assert batch["index"].tolist() == [0, 1, 2, 3]
    first = held_out["onset"][2]
    assert data.test_frame_numbers[2].tolist() == (first + uniform(store.length(row), 8)).tolist()


def test_batches_do_not_depend_on_the_number_of_loader_workers(module: Callable[..., FoldDataModule]) -> None:
    alone, helped = (module(augmentation=ClipAugmentation(), workers=workers, seed=5) for workers in (0, 2))
    assert_same(batches(alone.train_dataloader()), batches(helped.train_dataloader()))
    assert_same(batches(alone.test_dataloader()), batches(helped.test_dataloader()))


def test_held_out_clips_are_never_augmented(module: Callable[..., FoldDataModule]) -> None:
    plain, augmented = module(), module(augmentation=ClipAugmentation())
    assert_same(batches(plain.test_dataloader()), batches(augmented.test_dataloader()))
    one, other = (next(iter(data.train_dataloader())) for data in (plain, augmented))
    assert torch.equal(one["index"], other["index"])
    assert not torch.equal(one["frames"], other["frames"])


def repainted(
    module: Callable[..., FoldDataModule], store: ClipStore, clips: pd.DataFrame, tmp_path: Path, subject: str
) -> FoldDataModule:
    """The data of a store in which the clips of one subject are black."""
    folder = shutil.copytree(store.folder, tmp_path / subject)
    pixels = np.memmap(folder / FRAMES, np.uint8, "r+").reshape(-1, store.size, store.size)
    for row in store.rows(clips[clips["subject"] == subject]):
        start = int(store.index["start"].iloc[row])
        pixels[start : start + store.length(row)] = 0
    pixels.flush()
    return module(folder)


def test_statistics_are_of_the_training_clips_only(
    module: Callable[..., FoldDataModule], store: ClipStore, casme2_clips: pd.DataFrame, tmp_path: Path
) -> None:
    before = module().fitted.statistics
    assert 0.2 < before.mean < 0.8
    assert 0.05 < before.std < 0.5
    assert repainted(module, store, casme2_clips, tmp_path, "02").fitted.statistics == before
    assert repainted(module, store, casme2_clips, tmp_path, "01").fitted.statistics != before


class Watcher(L.LightningModule):
    """A model that learns nothing and notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[int, list[dict[str, torch.Tensor]]] = {}

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        self.seen.setdefault(self.current_epoch, []).append(batch)
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def watch(data: FoldDataModule, epochs: int) -> dict[int, list[dict[str, torch.Tensor]]]:
    options = {"accelerator": "cpu", "max_epochs": epochs, "logger": False, "enable_checkpointing": False}
    options |= {"enable_progress_bar": False, "enable_model_summary": False, "reload_dataloaders_every_n_epochs": 1}
    watcher = Watcher()
    L.Trainer(**options).fit(watcher, datamodule=data)
    return watcher.seen


def test_order_and_augmentation_differ_from_epoch_to_epoch_and_repeat_from_run_to_run(
    module: Callable[..., FoldDataModule],
) -> None:
    seen = watch(module(augmentation=ClipAugmentation(), seed=5), 3)
    orders = [torch.cat([batch["index"] for batch in seen[epoch]]).tolist() for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert all(len(order) == 12 and set(order) == set(range(10)) for order in orders)  # three batches of ten clips
    pictures = [
        {int(i): frames for batch in seen[epoch] for i, frames in zip(batch["index"], batch["frames"], strict=True)}
        for epoch in range(2)
    ]
    shared = set(pictures[0]) & set(pictures[1])
    assert not any(torch.equal(pictures[0][i], pictures[1][i]) for i in shared)
    again = watch(module(augmentation=ClipAugmentation(), seed=5), 3)
    for epoch in range(3):
        assert_same(seen[epoch], again[epoch])
