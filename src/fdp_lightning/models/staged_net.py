"""The base class of published networks, with the check of their input and their two stages."""

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
        """Map features to logits."""
        raise NotImplementedError
