"""The base of published networks: the check of their input, and their two stages."""

from jaxtyping import Float
from torch import Tensor, nn


class StagedNet(nn.Module):
    """A network from clips of one shape to logits: `forward_features`, then `forward_head`.

    Attributes:
        inputs: kinds of `input` that it takes.
        representation: what the head reads.
        in_channels: of the maps or frames.
        image_size: their side, pixels.
    """

    inputs: tuple[str, ...]
    representation = "features"
    in_channels: int
    image_size: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a clip."""
        return self.in_channels, self.image_size, self.image_size

    def forward(self, clips: Float[Tensor, "b *input"]) -> Float[Tensor, "b k"]:
        """Clips to logits.

        Raises:
            ValueError: clips of another shape than the network was made for.
        """
        if clips.shape[1:] != self.shape:
            made_for, given = ("×".join(map(str, shape)) for shape in (self.shape, clips.shape[1:]))
            raise ValueError(f"{type(self).__name__} was made for clips of {made_for}, and got {given}")
        return self.forward_head(self.forward_features(clips))

    def forward_features(self, clips: Float[Tensor, "b *input"]) -> Float[Tensor, "b *d"]:
        """Clips to what the head reads."""
        raise NotImplementedError

    def represent(self, clips: Float[Tensor, "b *input"]) -> Float[Tensor, "b d"]:
        """Features in one row a clip."""
        return self.forward_features(clips).flatten(1)

    def forward_head(self, features: Float[Tensor, "b *d"]) -> Float[Tensor, "b k"]:
        """Features to logits."""
        raise NotImplementedError
