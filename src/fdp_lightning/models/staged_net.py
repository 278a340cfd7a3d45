"""The base classes of published networks, on flow maps and on frames: the check of their input, and two stages."""

from jaxtyping import Float
from torch import Tensor, nn


class StagedNet(nn.Module):
    """A network that maps clips of a fixed shape to logits: `forward_features`, then `forward_head`.

    Attributes:
        inputs: kinds of `input` that it takes.
        representation: name of what the head reads.
        in_channels: channels of the maps or frames.
        image_size: side of the maps or frames, pixels.
    """

    inputs: tuple[str, ...]
    representation = "features"
    in_channels: int
    image_size: int
    classify: nn.Linear

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one clip."""
        return self.in_channels, self.image_size, self.image_size

    def forward(self, clips: Float[Tensor, "b *input"]) -> Float[Tensor, "b k"]:
        """Map clips to logits.

        Raises:
            ValueError: the clips have a shape that the network was not built for.
        """
        if clips.shape[1:] != self.shape:
            expected, found = ("×".join(map(str, shape)) for shape in (self.shape, clips.shape[1:]))
            raise ValueError(f"{type(self).__name__} was built for clips of {expected}, but got {found}")
        return self.forward_head(self.forward_features(clips))

    def forward_features(self, clips: Float[Tensor, "b *input"]) -> Float[Tensor, "b *d"]:
        """Map clips to what the head reads."""
        raise NotImplementedError

    def represent(self, clips: Float[Tensor, "b *input"]) -> Float[Tensor, "b d"]:
        """Return the features as one row per clip."""
        return self.forward_features(clips).flatten(1)

    def forward_head(self, features: Float[Tensor, "b *d"]) -> Float[Tensor, "b k"]:
        """Map features to logits, by default with the linear layer `classify` over all of them."""
        return self.classify(features.flatten(1))


class FlowNet(StagedNet):
    """A network that maps flow maps, (b, c, h, w), to logits."""

    inputs = ("apex_flow", "maps")


class FrameNet(StagedNet):
    """A network that maps sampled frames, (b, t, c, h, w) in 0..1, to logits.

    Args:
        in_channels: 1 for grey, 3 for colour.
        image_size: side of the frames, pixels.
        frames: frames per clip, t.
        least_size: smallest possible `image_size`, pixels.

    Raises:
        ValueError: there are fewer than three frames, or they are too small.
    """

    inputs = ("frames",)

    def __init__(self, in_channels: int, image_size: int, frames: int, least_size: int = 1) -> None:
        super().__init__()
        if frames < 3:
            raise ValueError(f"{type(self).__name__} got {frames} frames per clip; it needs 3")
        if image_size < least_size:
            raise ValueError(f"{type(self).__name__} got frames of {image_size} pixels; it needs {least_size}")
        self.in_channels, self.image_size, self.frames = in_channels, image_size, frames

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one clip, (t, c, h, w)."""
        return self.frames, *super().shape
