"""DataModule of one fold: training clips with augmentation, held-out clips without."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fdp_lightning.console.option_values import require_allowed
from fdp_lightning.data.annotations.clips import apex_numbers, apex_position, class_counts, target_numbers
from fdp_lightning.data.inputs.flow import FlowScale, InputSettings
from fdp_lightning.data.inputs.stage import ScaledMaps, input_maps, read_frames
from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.batches import EpochBatches, as_values
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.loading.statistics import Fitted, Statistics
from fdp_lightning.data.protocols.splits import Fold
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.labels import LabelKind


class ClipDataset(Dataset[dict[str, Tensor]]):
    """Sampled clips of a store as tensors.

    Args:
        store: store of aligned clips.
        rows: rows of the store's index, shape (n,).
        targets: targets from `target_numbers`, shape (n,) or multi-label (n, k).
        apexes: apex frame numbers from `apex_numbers`, shape (n,).
        sampling: rule for sampling frames.
        augmentation: augmentation of the frames; None for none.
        seed: seed of random sampling, augmentation and mirroring.
        training: True to redraw frames in every epoch if the sampling rule is random; False for its fixed frames.
        maps: maps of these clips, in this order, if the recogniser takes maps; None if it takes frames.
        flip: share of the clips whose maps are mirrored in an epoch of training.

    `sampled_frames` are the fixed frames of all clips as stored, uint8, (n, t, h, w) or (n, t, h, w, 3). An item holds
        `frames` (t, c, h, w), c = 1 or 3 colours, float32 in 0..1 (other values after `normalise_by_itself`), or maps,
        `frame_number` (t,), float32: the dataset's own numbers of these frames, fractional for blended frames,
        `apex`, float32: the annotated apex on the scale of `frame_number`, NaN if there is no usable one,
        `target`, a class number or multi-label (k,), and `index` (place in `rows`).
    """

    def __init__(
        self,
        store: ClipStore,
        rows: np.ndarray,
        targets: np.ndarray,
        apexes: np.ndarray,
        sampling: Sampling,
        augmentation: ClipAugmentation | None = None,
        seed: int = 0,
        training: bool = False,
        maps: ScaledMaps | None = None,
        flip: float = 0.0,
    ) -> None:
        self._maps, self._flip = maps, flip if training else 0.0
        self.augmentation, self.seed, self.epoch = augmentation, seed, 0
        self._store, self._rows, self._sampling = store, rows, sampling
        self._targets, self._apexes = targets, apexes
        self._draws = training and sampling.at_random
        self._mean, self._maximum = 0.0, 1.0
        places = [
            sampling.positions(store.length(row), apex_position(store.frame_numbers(row), apex))
            for row, apex in zip(rows, apexes, strict=True)
        ]
        # Only the sampled frames are kept: they fit in memory for all datasets of the field.
        read = [read_frames(store, row, place) for row, place in zip(rows, places, strict=True)]
        self.sampled_frames = np.stack([frames for frames, _ in read])
        self.frame_numbers = np.stack([numbers for _, numbers in read])

    def __len__(self) -> int:
        return len(self.sampled_frames)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch of items, gathered in one step; each equals the single item."""
        places = np.asarray(indices)
        if self._maps is not None:
            draws = [np.random.default_rng(self._stream(index)).random() for index in indices]
            mirrored = np.array(draws) < self._flip
            return self._batch(torch.from_numpy(self._maps.read(places, mirrored)), places)
        if not self._draws and self.augmentation is None:
            return self.all_frames(places)
        clips, numbers = zip(*map(self._drawn, indices), strict=True)
        return self._batch(self._values(np.stack(clips)), places, np.stack(numbers))

    def _batch(self, values: Tensor, places: Any, numbers: np.ndarray | None = None) -> dict[str, Tensor]:
        numbers = self.frame_numbers[places] if numbers is None else numbers
        return {
            "frames": values,
            "frame_number": torch.from_numpy(numbers).float(),
            "apex": torch.from_numpy(self._apexes[places]).float(),
            "target": torch.from_numpy(self._targets[places]),
            "index": torch.arange(len(self))[places],
        }

    def _stream(self, index: int) -> np.random.SeedSequence:
        # One seed per clip and epoch: neither the order nor the number of workers changes a draw.
        return np.random.SeedSequence([self.seed, self.epoch, index])

    def _drawn(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a clip's frames as sampled and augmented in this epoch, and their numbers."""
        stream = self._stream(index)
        clip, numbers = self.sampled_frames[index], self.frame_numbers[index]
        if self._draws:
            # From a child of the stream, so that the augmentation's draw does not depend on the rule.
            row, draw = self._rows[index], np.random.default_rng(stream.spawn(1)[0])
            places = self._sampling.positions(self._store.length(row), draw=draw)
            clip, numbers = read_frames(self._store, row, places)
        if self.augmentation is not None:
            clip = self.augmentation(clip, int(stream.generate_state(1)[0]))
        return clip, numbers

    def all_clips(self, places: Any = slice(None)) -> dict[str, Tensor]:
        """Return all clips, or those at some places, with their fixed frames and without augmentation, as one batch."""
        if self._maps is None:
            return self.all_frames(places)
        return self._batch(torch.from_numpy(self._maps.read(places)), places)

    def stills(self, places: Any) -> Tensor:
        """Return the input of clips (see `all_clips`) with nothing moving: the first frame repeated, or its maps."""
        if self._maps is not None:
            return torch.from_numpy(self._maps.still.read(places))
        values = self._values(self.sampled_frames[places])
        return values[:, :1].expand_as(values)

    def all_frames(self, places: Any = slice(None)) -> dict[str, Tensor]:
        """Return the same batch as `all_clips`, but always with frames, even if the recogniser takes maps."""
        return self._batch(self._values(self.sampled_frames[places]), places)

    def key_frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Return each clip's first frame, the one nearest to the apex (the middle one if unknown) and the last, as
        stored, uint8, (n, 3, h, w) or (n, 3, h, w, 3), and their numbers, (n, 3).
        """
        n, t = self.frame_numbers.shape
        distance = np.nan_to_num(np.abs(self.frame_numbers - self._apexes[:, None]))
        middle = np.where(np.isnan(self._apexes), t // 2, distance.argmin(axis=1))
        clips = np.arange(n)[:, None]
        places = np.stack([np.zeros(n, np.int64), middle, np.full(n, t - 1)], axis=1)
        return self.sampled_frames[clips, places], self.frame_numbers[clips, places]

    def _values(self, clips: np.ndarray) -> Tensor:
        values = as_values(clips)
        if (self._mean, self._maximum) != (0.0, 1.0):
            values.sub_(self._mean).div_(self._maximum)
        return values

    def normalise_by_itself(self) -> None:
        """Subtract the mean of these clips' sampled frames from all further items, and divide by the new maximum."""
        mean = float(self.sampled_frames.mean(dtype=np.float64))
        self._mean = mean / 255
        # If all values are equal, they become zero.
        self._maximum = (float(self.sampled_frames.max()) - mean) / 255 or 1.0


class FoldDataModule(L.LightningDataModule):
    """One fold of a protocol.

    Args:
        store: folder of the verified clip store.
        clips: clip table of the protocol with the column `target`.
        classes: class names in the order of the predictions' columns.
        fold: training and held-out rows; no rows are held out for a model trained on all subjects.
        sampling: rule for sampling each clip's frames.
        batch_size: clips per step.
        augmentation: augmentation of the training clips' frames; None for none.
        workers: number of loader processes; 0 is fastest if the clips are in memory.
        seed: seed of shuffling, augmentation and sampling.
        normalisation: 'training': the network normalises by mean and standard deviation of the training clips;
            'each_set': training and held-out clips are each centred by their own mean and divided by their own
            maximum, as in the released code of FDP. That fits statistics on the test subject, makes its clips depend on
            one another, and cannot predict a single clip: for reproduction only.
        label_kind: kind of the targets, single-label or multi-label.
        taken: settings of the recogniser's input, frames or maps.
        shuffle: True to redraw the order of the training clips in every epoch; False for the order of the clip table.
    """

    def __init__(
        self,
        store: Path,
        clips: pd.DataFrame,
        classes: Sequence[str],
        fold: Fold,
        sampling: Sampling | None = None,
        batch_size: int = 36,
        augmentation: ClipAugmentation | None = None,
        workers: int = 0,
        seed: int = 0,
        normalisation: str = "training",
        label_kind: LabelKind = LabelKind.SINGLE,
        taken: InputSettings | None = None,
        shuffle: bool = True,
    ) -> None:
        super().__init__()
        taken = taken or InputSettings()
        require_allowed({"data.normalisation": normalisation})
        sampling = sampling or Sampling()
        opened = open_store(store, verify=False)
        rows = opened.rows(clips)
        targets = target_numbers(clips["target"], classes, label_kind)
        train, inner, test = list(fold.train_rows), list(fold.inner_rows), list(fold.test_rows)
        apexes = apex_numbers(clips)
        scale: FlowScale | None = None

        def clips_at(places: list[int], **training: Any) -> ClipDataset:
            nonlocal scale
            maps = None
            if not taken.of_frames:
                unscaled = input_maps(opened, rows[places], apexes[places], sampling, taken)
                scale = scale or FlowScale.fit(taken, list(unscaled))  # the training clips come first
                maps = ScaledMaps(unscaled, scale, taken)
            return ClipDataset(
                opened, rows[places], targets[places], apexes[places], sampling, maps=maps, flip=taken.flip, **training
            )

        self.train_set = clips_at(train, augmentation=augmentation, seed=seed, training=True)
        self.test_set = clips_at(test) if test else None
        self.inner_set = clips_at(inner) if inner else None
        self.test_clips = clips.iloc[test].reset_index(drop=True)
        self.test_frame_numbers = None if self.test_set is None else self.test_set.frame_numbers
        statistics = Statistics(mean=0.0, std=1.0)
        if normalisation == "each_set":
            for one in (self.train_set, self.test_set, self.inner_set):
                if one is not None:
                    one.normalise_by_itself()
        elif taken.of_frames:  # maps have their own scale
            statistics = Statistics.of(self.train_set.sampled_frames)
        self.fitted = Fitted(statistics, scale, class_counts(targets[train], len(classes)), len(train))
        self.batch_size, self.workers, self.seed, self.shuffle = batch_size, workers, seed, shuffle

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the loader of the training clips, whose order depends only on seed and epoch."""
        trainer = self.trainer
        epoch, ranks, rank = (trainer.current_epoch, trainer.world_size, trainer.global_rank) if trainer else (0, 1, 0)
        return self._loader(self.train_set, batch_sampler=self.epoch_batches(epoch, ranks, rank))

    def epoch_batches(self, epoch: int, ranks: int = 1, rank: int = 0) -> EpochBatches:
        """Return the batches of training clips of an epoch, and set the training clips' random draws to that epoch."""
        self.train_set.epoch = epoch
        order = self.seed * 100_003 + epoch if self.shuffle else None
        return EpochBatches(len(self.train_set), self.batch_size, order, ranks, rank)

    def fixed_batches(self, most: int) -> Iterator[dict[str, Tensor]]:
        """Yield batches of up to `most` training clips, drawn by the fold's seed and not augmented: always the same."""
        # Drawn at random, because the clip table is ordered by subject, and batches of one subject are biased.
        order = np.random.default_rng(self.seed).permutation(len(self.train_set))[:most]
        for places in np.array_split(order, -(-len(order) // self.batch_size)):
            yield self.train_set.all_clips(places)

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]] | None:
        """Return the loader of the held-out clips in the order of the clip table; None if no subject is held out."""
        return None if self.test_set is None else self._loader(self.test_set, batch_size=self.batch_size)

    def inner_dataloader(self) -> DataLoader[dict[str, Tensor]] | None:
        """Return the loader of the inner validation subjects' clips; None if there are none."""
        return None if self.inner_set is None else self._loader(self.inner_set, batch_size=self.batch_size)

    def _loader(self, clips: ClipDataset, **batches: Any) -> DataLoader[dict[str, Tensor]]:
        # Pinned memory allows copying to a GPU while it computes; without a GPU it has no advantage.
        pinned = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        # In a fold's process, which a forkserver started, PyTorch would start workers by another forkserver and repeat
        # all imports in every epoch. Workers use neither the GPU nor our locks, so forking is safe, and it is fast.
        forked = {"multiprocessing_context": "fork"} if self.workers and sys.platform == "linux" else {}
        options: dict[str, Any] = {"num_workers": self.workers, "pin_memory": pinned, **forked}
        return DataLoader(clips, collate_fn=_unchanged, **options, **batches)


def _unchanged(batch: Any) -> Any:
    """Return the batch unchanged: `ClipDataset.__getitems__` already collates."""
    return batch
