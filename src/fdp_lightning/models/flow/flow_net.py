"""What all recognisers on flow maps share: the check of their input."""

from jaxtyping import Float
from torch import Tensor, nn


class FlowNet(nn.Module):
    """A network from flow maps to logits: `forward_features`, then `forward_head`.

    Attributes:
        inputs: kinds of `input` that it takes.
        representation: what the head reads.
        in_channels: of the maps.
        image_size: side of the maps, pixels.
    """

    inputs = ("apex_flow", "maps")
    representation = "features"
    in_channels: int
    image_size: int

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Flow maps to logits.

        Raises:
            ValueError: maps of another shape than the network was made for.
        """
        _, c, h, w = maps.shape
        if (c, h, w) != (self.in_channels, self.image_size, self.image_size):
            raise ValueError(
                f"{type(self).__name__} was made for maps of "
                f"{self.in_channels}×{self.image_size}×{self.image_size}, and got {c}×{h}×{w}"
            )
        return self.forward_head(self.forward_features(maps))

    def forward_features(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b *d"]:
        """Flow maps to what the head reads."""
        raise NotImplementedError

    def represent(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Features in one row a clip."""
        return self.forward_features(maps).flatten(1)

    def forward_head(self, features: Float[Tensor, "b *d"]) -> Float[Tensor, "b k"]:
        """Features to logits."""
        raise NotImplementedError
