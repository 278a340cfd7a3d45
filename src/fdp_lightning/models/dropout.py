"""Dropout and drop path whose random masks are drawn in one place, or given from outside.

The formulas are those of torch's own dropout and of timm's `DropPath`, and so are the draws: on the CPU the same seed
gives the same masks. Theirs cannot take a mask that was drawn elsewhere, which networks trained as one stack
(`loso.engine=stacked`) need: each has its own random numbers, as if it were trained alone.

References:
    [1] Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 2014.
    [2] Huang et al., "Deep networks with stochastic depth", ECCV 2016: drop path.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class RandomMask(nn.Module):
    """Multiply by a random mask in training: 1 / (1 - p) with probability 1 - p, else 0.

    Args:
        p: probability of 0, at least 0 and below 1.

    Attributes:
        handed: masks to use, one for each call, instead of drawing them; None: masks are drawn.
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"a probability of dropping of {p}; allowed is 0 up to, not including, 1")
        self.p = p
        self.handed: Iterator[Tensor] | None = None

    @property
    def draws(self) -> bool:
        """Return True if a call uses a mask."""
        return self.training and self.p > 0

    def mask_like(self, x: Tensor) -> Tensor:
        """Return uninitialised memory of the mask's shape and type for values `x`."""
        return torch.empty_like(x)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by a mask in training."""
        if not self.draws:
            return x
        return x * (drawn(self.mask_like(x), self.p) if self.handed is None else next(self.handed))

    def extra_repr(self) -> str:
        """Return the probability for print."""
        return f"p={self.p}"


class Dropout(RandomMask):
    """Drop each value by itself [1]."""


class DropPath(RandomMask):
    """Drop each sample (the first axis) as a whole [2]."""

    def mask_like(self, x: Tensor) -> Tensor:
        """Return uninitialised memory of one number for each sample."""
        return x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1))


def drawn(mask: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """Fill a mask with 0 at probability `p`, else 1 / (1 - p), in place; without a generator by torch's global one."""
    return mask.bernoulli_(1 - p, generator=generator).div_(1 - p)
