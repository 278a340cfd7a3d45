"""Training batches of several folds stacked for stacked training."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from fdp_lightning.data.loading.datamodule import FoldDataModule

_READ = ("frames", "frame_number", "apex", "target")

Batch = dict[str, Tensor]


class StackedBatches:
    """Batches of several folds, as each `FoldDataModule` would give them, stacked along a new first axis.

    Clips that are equal in every fold and epoch (no augmentation, no random frames, no per-fold scale) are held once on
    the device and gathered from there. Otherwise each fold makes its own items.

    Args:
        folds: DataModules with equally many and equally large batches.
        rows: rows of the clip table that each fold trains on.
        device: device of the batches.
        threads: threads that prepare the next step's items during the current step; 0: items are made on demand.
        limit: largest number of batches per epoch; None: all.
    """

    def __init__(
        self,
        folds: Sequence[FoldDataModule],
        rows: Sequence[Sequence[int]],
        device: torch.device,
        threads: int = 0,
        limit: int | None = None,
    ) -> None:
        self._limit = limit
        self._folds, self._device, self._threads = list(folds), device, threads
        self._rows = [torch.tensor(list(of_fold)) for of_fold in rows]
        self._shared = self._union() if all(data.train_set.is_fixed for data in folds) else None

    def __len__(self) -> int:
        """Return the number of steps per epoch."""
        steps = len(self._folds[0].epoch_batches(0))
        return steps if self._limit is None else min(steps, self._limit)

    def keep(self, indices: Sequence[int]) -> None:
        """Keep only some of the folds, in this order."""
        self._folds = [self._folds[index] for index in indices]
        self._rows = [self._rows[index] for index in indices]

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of one epoch; each entry has shape (folds, b, …)."""
        steps = list(zip(*(data.epoch_batches(epoch) for data in self._folds), strict=True))[: self._limit]
        if self._shared is not None:
            for step in steps:
                clips = torch.stack([rows[list(batch)] for rows, batch in zip(self._rows, step, strict=True)])
                yield {name: tensor[clips.to(self._device)] for name, tensor in self._shared.items()}
        elif self._threads == 0:
            for step in steps:
                yield self._stack([_made(data, batch) for data, batch in zip(self._folds, step, strict=True)])
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                yield from self._ahead(steps, pool)

    def _ahead(self, steps: Sequence[tuple[list[int], ...]], pool: ThreadPoolExecutor) -> Iterator[Batch]:
        # Never two items of one fold at a time: its augmentation holds a draw's state.
        coming: list[Future[Batch]] = []
        for step in [*steps, None]:
            batch = self._stack([one.result() for one in coming]) if coming else None
            if step is not None:
                coming = [pool.submit(_made, data, rows) for data, rows in zip(self._folds, step, strict=True)]
            if batch is not None:
                yield batch

    def _stack(self, batches: Sequence[Batch]) -> Batch:
        return {name: torch.stack([batch[name] for batch in batches]).to(self._device) for name in _READ}

    def _union(self) -> Batch:
        """Return the clips of all folds by their rows of the clip table; rows no fold trains on are not read."""
        length = 1 + max(int(rows.max()) for rows in self._rows)
        union: Batch = {}
        for data, rows in zip(self._folds, self._rows, strict=True):
            for name, values in data.train_set.all_clips().items():
                if name not in union:
                    union[name] = values.new_zeros(length, *values.shape[1:])
                union[name][rows] = values
        return {name: union[name].to(self._device) for name in _READ}


def _made(data: FoldDataModule, rows: Sequence[int]) -> Batch:
    return data.train_set.__getitems__(rows)
