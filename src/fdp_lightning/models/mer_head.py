"""Micro-expression recognition (MER) heads: the dynamic representation to class logits (P; layers are ours or R)."""

from jaxtyping import Float
from torch import Tensor, nn

from fdp_lightning.models.dropout import Dropout


class MERHead(nn.Module):
    """Batch norm, 1×1 convolution to few channels, then one linear layer over all places (O).

    Place matters: a brow and a mouth corner are told apart by where they move.

    Args:
        in_channels: c of D.
        places: h·w of D.
        classes: k.
        hidden: channels kept per place.
        dropout: before the linear layer.
    """

    def __init__(self, in_channels: int, places: int, classes: int, hidden: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        _check(classes, hidden, dropout)
        # D is a difference over time and small; batch norm brings it to the scale the layers expect.
        self.norm = nn.BatchNorm2d(in_channels)
        self.mix = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)
        )
        self.classify = nn.Sequential(nn.Flatten(), Dropout(dropout), nn.Linear(hidden * places, classes))

    def forward(self, representation: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Logits of the classes."""
        return self.classify(self.mix(self.norm(representation)))


class PooledMERHead(nn.Module):
    """Max pool 3×3, one hidden layer, ReLU, logits: the released code's head (R).

    Args:
        in_channels: c of D.
        places: h·w of D, at least 3×3 and square.
        classes: k.
        hidden: units of the hidden layer.
        normalised: batch norm first (O). The released head takes the output of a convolution, which has a scale of its
            own; a D pooled by rank is a difference over time and small.
        dropout: before the last layer.
    """

    def __init__(
        self,
        in_channels: int,
        places: int,
        classes: int,
        hidden: int = 256,
        normalised: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(classes, hidden, dropout)
        side = round(places**0.5) // 3
        if side == 0:
            raise ValueError(f"model/mer_head=pooled needs maps of at least 3×3 places, got {places}; take linear")
        self.norm = nn.BatchNorm2d(in_channels) if normalised else nn.Identity()
        self.pool = nn.Sequential(nn.MaxPool2d(3), nn.Flatten())
        self.hidden = nn.Linear(in_channels * side**2, hidden)
        self.act = nn.Sequential(nn.ReLU(inplace=True), Dropout(dropout))
        self.classify = nn.Linear(hidden, classes)

    def forward(self, representation: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Logits of the classes."""
        return self.classify(self.act(self.hidden(self.pool(self.norm(representation)))))


def _check(classes: int, hidden: int, dropout: float) -> None:
    if classes < 2 or hidden < 1:
        raise ValueError(f"a MER head needs at least 2 classes and 1 hidden channel, got {classes} and {hidden}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout} of the MER head; allowed is 0 up to, not including, 1")
