"""What is handed from the backbone to the ranking: the frame feature F_t as a map."""

from jaxtyping import Float
from torch import Tensor, nn


class Spatial(nn.Module):
    """Keep the last feature map, so that place is not lost (ours)."""

    side = None
    """As the map that comes in."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = in_channels

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The maps themselves."""
        return maps


class Map64(nn.Module):
    """Global average, then a linear layer to 4096 entries read as one 64×64 map (R)."""

    side = 64

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_channels, self.side**2)
        nn.init.trunc_normal_(self.project.weight, std=0.02)  # like the backbone (R)
        nn.init.zeros_(self.project.bias)
        self.out_channels = 1

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 64 64"]:
        """Place within the map is whatever the linear layer makes of it."""
        return self.project(maps.mean(dim=(2, 3))).unflatten(1, (1, self.side, self.side))
