"""Published recognisers on raw frames other than FDP, one per file, and a small image network that two of them use."""

from collections.abc import Sequence

from torch import nn


def image_stream(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Build a small image network: for each width a 3×3 convolution, batch norm, ReLU and max-pooling by 2."""
    layers: list[nn.Module] = []
    for before, width in zip([in_channels, *widths], widths, strict=False):
        convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)
