"""The pointwise two-layer perceptron at the end of both aggregators (lineage Next-ViT, arXiv 2207.05501)."""

from jaxtyping import Float
from torch import Tensor, nn


class FeedForward(nn.Sequential):
    """1×1 convolution to `ratio` times the width, ReLU, 1×1 convolution back."""

    def __init__(self, channels: int, ratio: float) -> None:
        hidden = round(channels * ratio)
        if hidden < 1:
            raise ValueError(f"an MLP ratio of {ratio} leaves no hidden channel of {channels}; it must be above 0")
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = nn.ReLU(inplace=True)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Maps to maps of the same shape."""
        return super().forward(maps)
