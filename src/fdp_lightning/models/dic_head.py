"""Dynamic-image construction (DIC): the dynamic representation to the clip's dynamic image (P; layers are ours)."""

from jaxtyping import Float
from torch import Tensor, nn


class DICHead(nn.Module):
    """A small decoder: convolutions between nearest-neighbour enlargements, a sigmoid at the end.

    Args:
        in_channels: c of D.
        map_side: h = w of D.
        image_side: of the dynamic image; `map_side` times a power of two.
        width: channels after the first convolution; halved at each enlargement, at least 8.
    """

    def __init__(self, in_channels: int, map_side: int, image_side: int, width: int = 32) -> None:
        super().__init__()
        steps = (image_side // map_side).bit_length() - 1
        if map_side << steps != image_side:
            raise ValueError(f"the image side {image_side} must be the map side {map_side} times a power of two")
        layers: list[nn.Module] = [nn.BatchNorm2d(in_channels), *_block(in_channels, width)]
        for _ in range(steps):
            narrower = max(8, width // 2)
            layers += [nn.Upsample(scale_factor=2), *_block(width, narrower)]
            width = narrower
        self.decode = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, representation: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h2 w2"]:
        """The constructed dynamic image, in [0, 1]."""
        return self.decode(representation)


def _block(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
