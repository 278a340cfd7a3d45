"""Micro-expression recognition (MER) heads: the dynamic representation to class logits (P; layers are ours or R)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fdp_lightning.models.dropout import Dropout
from fdp_lightning.models.rank.pooling_modules import MapShape


class MERHead(nn.Module):
    """At each resolution that is read: batch norm, 1×1 convolution to few channels, one linear layer over all places;
    the logits are summed (ours).

    Place matters: a brow and a mouth corner are told apart by where they move.

    Args:
        maps: channels and side of D at each resolution, fine to coarse.
        classes: k.
        reads: how many resolutions are read, the coarsest ones.
        hidden: channels kept per place.
        dropout: before the linear layers.
    """

    def __init__(
        self, maps: Sequence[MapShape], classes: int, reads: int = 2, hidden: int = 16, dropout: float = 0.3
    ) -> None:
        super().__init__()
        _check(classes, hidden, dropout)
        if reads < 1:
            raise ValueError(f"reads={reads} of the MER head must be at least 1")
        self.readings = nn.ModuleList(_reading(*shape, classes, hidden, dropout) for shape in maps[-reads:])

    def forward(self, representation: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b k"]:
        """Logits of the classes."""
        maps = representation[-len(self.readings) :]
        return torch.stack([reading(d) for reading, d in zip(self.readings, maps, strict=True)]).sum(dim=0)


def _reading(channels: int, side: int, classes: int, hidden: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        # D is a difference over time and small; batch norm brings it to the scale the layers expect.
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        Dropout(dropout),
        nn.Linear(hidden * side**2, classes),
    )


class PooledMERHead(nn.Module):
    """Max pool 3×3, one hidden layer, ReLU, logits: the released code's head.

    Args:
        maps: channels and side of D at each resolution, fine to coarse; the coarsest of at least 3×3 places is read.
        classes: k.
        hidden: units of the hidden layer.
        normalised: batch norm first (ours). The released head takes the output of a convolution, which has a scale of
            its own; a D pooled by rank is a difference over time and small.
        dropout: before the last layer.
    """

    def __init__(
        self,
        maps: Sequence[MapShape],
        classes: int,
        hidden: int = 256,
        normalised: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(classes, hidden, dropout)
        large = [index for index, (_, side) in enumerate(maps) if side >= 3]
        if not large:
            raise ValueError(
                f"model/mer_head=pooled needs maps of at least 3×3 places, got sides {[side for _, side in maps]}; "
                "take model/mer_head=linear, or finer maps (model.finer_maps)"
            )
        self.reads = large[-1]
        channels, side = maps[self.reads]
        self.norm = nn.BatchNorm2d(channels) if normalised else nn.Identity()
        self.pool = nn.Sequential(nn.MaxPool2d(3), nn.Flatten())
        self.hidden = nn.Linear(channels * (side // 3) ** 2, hidden)
        self.act = nn.Sequential(nn.ReLU(inplace=True), Dropout(dropout))
        self.classify = nn.Linear(hidden, classes)

    def forward(self, representation: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b k"]:
        """Logits of the classes."""
        return self.classify(self.act(self.hidden(self.pool(self.norm(representation[self.reads])))))


def _check(classes: int, hidden: int, dropout: float) -> None:
    if classes < 2 or hidden < 1:
        raise ValueError(f"a MER head needs at least 2 classes and 1 hidden channel, got {classes} and {hidden}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout} of the MER head; allowed is 0 up to, not including, 1")
