"""The pointwise two-layer perceptron at the end of both aggregators (lineage Next-ViT, arXiv 2207.05501)."""

from jaxtyping import Float
from torch import Tensor, nn


class FeedForward(nn.Sequential):
    """1×1 convolution to `ratio` times the width, ReLU, 1×1 convolution back."""

    def __init__(self, channels: int, ratio: float, dropout: float = 0.0) -> None:
        hidden = round(channels * ratio)
        super().__init__(
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(hidden, channels, 1),
            nn.Dropout(dropout),
        )

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Maps to maps of the same shape."""
        return super().forward(maps)
