"""The DataModule of one fold: training clips with augmentation, held-out clips as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fdp_lightning.data.augment import ClipAugmentation
from fdp_lightning.data.sampling import uniform
from fdp_lightning.data.splits import Fold
from fdp_lightning.data.store import ClipStore, open_store


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the grey values (of 0..1) of the training clips."""

    mean: float
    std: float


class ClipDataset(Dataset[dict[str, Tensor]]):
    """Sampled clips as tensors.

    Args:
        store: of aligned clips.
        rows: the store's rows, shape (n,).
        targets: class numbers, shape (n,).
        frames: T, the frames sampled from each clip.
        augmentation: applied to each clip, or None.
        seed: of the augmentation.

    Each item holds `frames` (t, 1, h, w), float32 in 0..1, `target` (class number) and `index` (place in `rows`).
    """

    def __init__(
        self,
        store: ClipStore,
        rows: np.ndarray,
        targets: np.ndarray,
        frames: int,
        augmentation: ClipAugmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0
        self._targets = targets
        # Only the sampled frames are kept: all datasets of the field fit in memory at this size.
        self._clips = np.stack([store.read(row, uniform(store.length(row), frames)) for row in rows])

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        clip = self._clips[index]
        if self.augmentation is not None:
            # One seed per clip and epoch: neither the order nor the number of workers changes a draw.
            draw = np.random.SeedSequence([self.seed, self.epoch, index]).generate_state(1)[0]
            clip = self.augmentation(clip, int(draw))
        frames = torch.from_numpy(clip).unsqueeze(1).float().div_(255)
        return {
            "frames": frames,
            "target": torch.tensor(int(self._targets[index])),
            "index": torch.tensor(index),
        }

    def statistics(self) -> Statistics:
        """Of these clips without augmentation."""
        values = self._clips.astype(np.float32) / 255
        return Statistics(float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)))


class FoldDataModule(L.LightningDataModule):
    """One fold of a protocol.

    Args:
        store: the folder of the verified clip store.
        clips: the protocol's clip table with its column `target`.
        classes: class names in the order of the predictions' columns.
        fold: which rows train and which are held out.
        frames: T.
        batch_size: clips per step.
        augmentation: of the training clips, or None.
        workers: loader processes; 0 is fastest where clips are resident in memory.
        seed: of shuffling and augmentation.
    """

    def __init__(
        self,
        store: Path,
        clips: pd.DataFrame,
        classes: Sequence[str],
        fold: Fold,
        frames: int = 8,
        batch_size: int = 36,
        augmentation: ClipAugmentation | None = None,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        opened = open_store(store, verify=False)
        number = {name: i for i, name in enumerate(classes)}
        rows = opened.rows(clips)
        targets = clips["target"].map(number).to_numpy(dtype=np.int64)
        train, test = list(fold.train_rows), list(fold.test_rows)
        self.train_set = ClipDataset(opened, rows[train], targets[train], frames, augmentation, seed)
        self.test_set = ClipDataset(opened, rows[test], targets[test], frames)
        self.test_clips = clips.iloc[test].reset_index(drop=True)
        numbers = [opened.frame_numbers(row) for row in rows[test]]
        self.test_frame_numbers = np.stack([n[uniform(len(n), frames)] for n in numbers])
        self.statistics = self.train_set.statistics()
        self.batch_size, self.workers, self.seed = batch_size, workers, seed

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Shuffled training clips. The order depends on seed and epoch alone, so a resumed run repeats it."""
        epoch = self.trainer.current_epoch if self.trainer is not None else 0
        self.train_set.epoch = epoch
        order = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        # A last batch of a clip or two would give batch norm useless statistics.
        keep_last = len(self.train_set) < self.batch_size
        return DataLoader(
            self.train_set,
            self.batch_size,
            shuffle=True,
            drop_last=not keep_last,
            num_workers=self.workers,
            generator=order,
        )

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """The held-out subject's clips in the order of the clip table, for the recorder and for the predictions."""
        return DataLoader(self.test_set, self.batch_size, num_workers=self.workers)

    predict_dataloader = test_dataloader
