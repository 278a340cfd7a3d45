"""The micro-expression recognition (MER) head: the dynamic representation to class logits (P; layers are ours)."""

from jaxtyping import Float
from torch import Tensor, nn


class MERHead(nn.Module):
    """Batch norm, 1×1 convolution to few channels, then one linear layer over all places.

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
        # D is a difference over time and small; batch norm brings it to the scale the layers expect.
        self.norm = nn.BatchNorm2d(in_channels)
        self.mix = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)
        )
        self.classify = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(hidden * places, classes))

    def forward(self, representation: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Logits of the classes."""
        return self.classify(self.mix(self.norm(representation)))
