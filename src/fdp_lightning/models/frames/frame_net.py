"""Shared by the recognisers on raw frames: their base class, which checks the input, and a small image network."""

from collections.abc import Sequence

from torch import nn

from fdp_lightning.models.staged_net import StagedNet


class FrameNet(StagedNet):
    """A network that maps sampled frames, (b, t, c, h, w) in 0..1, to logits.

    Args:
        in_channels: 1 for grey, 3 for colour.
        image_size: side of the frames, pixels.
        frames: frames per clip, t.
        least_size: smallest possible `image_size`, pixels.

    Raises:
        ValueError: the frames are too few or too small.

    Attributes:
        least_frames: smallest possible number of frames.
    """

    inputs = ("frames",)
    least_frames = 3

    def __init__(self, in_channels: int, image_size: int, frames: int, least_size: int = 1) -> None:
        super().__init__()
        if frames < self.least_frames:
            raise ValueError(f"{type(self).__name__} got {frames} frames per clip; it needs {self.least_frames}")
        if image_size < least_size:
            raise ValueError(f"{type(self).__name__} got frames of {image_size} pixels; it needs {least_size}")
        self.in_channels, self.image_size, self.frames = in_channels, image_size, frames

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one clip, (t, c, h, w)."""
        return self.frames, *super().shape


def image_stream(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Build a small image network: for each width a 3×3 convolution, batch norm, ReLU and max-pooling by 2."""
    layers: list[nn.Module] = []
    for before, width in zip([in_channels, *widths], widths, strict=False):
        convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)
