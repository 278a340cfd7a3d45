"""Test batches of clips of different lengths: scattered masks, and garbage at frames that are not real."""

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

GARBAGE = (float("nan"), float("inf"), -1e30)

seeds = st.integers(0, 2**31 - 1)


@st.composite
def masks(draw: st.DrawFn, max_frames: int = 9) -> Tensor:
    """Draw masks of 1 to 3 clips of t frames with at least one real frame each, at any position."""
    t = draw(st.integers(1, max_frames))
    row = st.lists(st.booleans(), min_size=t, max_size=t).filter(any)
    return torch.tensor(draw(st.lists(row, min_size=1, max_size=3)))


def normal(seed: int, *shape: int) -> Tensor:
    """Return float64 random numbers that depend only on the seed."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def spoiled(values: Tensor, mask: Tensor, garbage: float) -> Tensor:
    """Return a copy with garbage at the frames that are not real."""
    values = values.clone()
    values[~mask] = garbage
    return values


def alone(values: Tensor, mask: Tensor, clip: int) -> Tensor:
    """Return the real frames of one clip as a batch of one, without padding."""
    return values[clip][mask[clip]].unsqueeze(0)


def double_sum(t: int) -> np.ndarray:
    """Return the ARP weights of t frames as Bilen et al. define them, `Σ_{i=k..T} (2i - T - 1)/i`, term by term."""
    return np.array([sum((2 * i - t - 1) / i for i in range(k, t + 1)) for k in range(1, t + 1)])
