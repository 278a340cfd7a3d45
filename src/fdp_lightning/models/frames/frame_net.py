"""What the recognisers on raw frames share: the check of their input, and a small network on one image."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class FrameNet(nn.Module):
    """A network from sampled frames to logits: `forward_features`, then `forward_head`.

    Args:
        in_channels: 1 for grey, 3 for colour.
        image_size: side of the frames, pixels.
        frames: of a clip.
        least_size: side that it needs, pixels.

    Raises:
        ValueError: too few frames, or too small ones.

    Attributes:
        inputs: kinds of `input` that it takes.
        representation: what the head reads.
        least_frames: that it needs.
    """

    inputs = ("frames",)
    representation = "features"
    least_frames = 3

    def __init__(self, in_channels: int, image_size: int, frames: int, least_size: int = 1) -> None:
        super().__init__()
        if frames < self.least_frames:
            raise ValueError(f"{type(self).__name__} got {frames} frames of a clip; it needs {self.least_frames}")
        if image_size < least_size:
            raise ValueError(f"{type(self).__name__} got frames of {image_size} pixels; it needs {least_size}")
        self.in_channels, self.image_size, self.frames = in_channels, image_size, frames

    def forward(self, frames: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b k"]:
        """Frames of 0..1 to logits.

        Raises:
            ValueError: frames of another number or shape than the network was made for.
        """
        expected = (self.frames, self.in_channels, self.image_size, self.image_size)
        if tuple(frames.shape[1:]) != expected:
            shapes = ("×".join(map(str, shape)) for shape in (expected, frames.shape[1:]))
            raise ValueError("{} was made for clips of {}, and got {}".format(type(self).__name__, *shapes))
        return self.forward_head(self.forward_features(frames))

    def forward_features(self, frames: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b *d"]:
        """Frames to what the head reads."""
        raise NotImplementedError

    def represent(self, frames: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b d"]:
        """Features in one row a clip."""
        return self.forward_features(frames).flatten(1)

    def forward_head(self, features: Float[Tensor, "b *d"]) -> Float[Tensor, "b k"]:
        """Features to logits."""
        raise NotImplementedError


def image_stream(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Return a small network on one image: for each width a 3×3 convolution, batch norm, ReLU, max-pooling by 2."""
    layers: list[nn.Module] = []
    for before, width in zip([in_channels, *widths], widths, strict=False):
        convolution = nn.Conv2d(before, width, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)
