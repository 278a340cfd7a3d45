"""Composition of batches, the same for any number of processes, and their conversion to network input."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


class EpochBatches(Sampler[list[int]]):
    """Batches of one epoch of `clips` clips, or the share of one DDP process in each; in the given order if `seed` is
    None.

    Clip i of a batch goes to process i modulo the number of processes: together they see the same batches as a single
    process, whereas Lightning's distributed sampler repeats clips to give all processes equally many. With fewer clips
    than a batch holds, the shares of two processes may differ by one.

    Every clip is in at least one batch of each epoch, and all batches are equally large: the last is filled up from the
    start of the epoch's order, because the statistics of batch norm would be useless in a small batch.
    """

    def __init__(self, clips: int, batch_size: int, seed: int | None, ranks: int = 1, rank: int = 0) -> None:
        self._seed, self._clips, self._size = seed, clips, min(batch_size, clips)
        self._ranks, self._rank = ranks, rank

    def __len__(self) -> int:
        return -(-self._clips // self._size)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self._clips))
        if self._seed is not None:
            order = torch.randperm(self._clips, generator=torch.Generator().manual_seed(self._seed)).tolist()
        order += order[: len(self) * self._size - self._clips]
        for step in range(len(self)):
            batch = order[step * self._size : (step + 1) * self._size]
            yield batch[self._rank :: self._ranks]


def as_values(clips: np.ndarray) -> Tensor:
    """Convert frames, uint8, (b, t, h, w) or, in colour, (b, t, h, w, 3), to values in 0..1, (b, t, c, h, w)."""
    pixels = torch.from_numpy(clips)
    return (pixels.movedim(-1, -3) if clips.ndim == 5 else pixels.unsqueeze(-3)).float().div_(255)
