"""HTNet: a nested transformer on a mosaic of four facial regions, 139.58 M parameters at three classes.

Provenance: Wang, Zhang, Luo and Sankaranarayana, "HTNet for micro-expression recognition", Neurocomputing 602, 2024;
the authors' code (github.com/wangzhifengharrison/HTNet), whose transformer is a NesT (Zhang et al., "Nested
hierarchical transformer", AAAI 2022).

Input: STSTNet's flow image of 28×28 (strain, v, u in 0..255), cut into a mosaic, see `mosaic`.
Published with the epoch chosen on each test subject; that of the last epoch is not known.

With the released settings each attention sees one token: the 4×4 grid of patches is split into 16 tiles, the 2×2 grid
into 4, and the last one is 1×1. A softmax over one score is 1, so that queries and keys (22.2 M parameters) never
matter and get no gradient but rounding; two 3×3 convolutions with pooling do all mixing of places. The position
embedding is one number for all channels of a place, which the next norm over the channels takes away again: no
attention sees it, and that of the last level has no effect at all. `HTNet` keeps all this.

`HTNetTokens` is the same network with tiles of 16, 16 and 4 tokens: patches of 4×4 on the mosaic with a border of two
zeros, so that no patch holds pixels of two regions, and a tile of the first level is one region.

Unknown: the rounding of the points of the mosaic (here the fraction is cut off), and if there is a norm before the mean
over places (here, as in NesT, there is).
Deviations: the points are the constants that the released code falls back on; it looks for them by MTCNN first, on a
face of 28×28 pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.flow.flow_net import FlowNet

POINTS = ((9.5, 11.1), (21.4, 10.9), (10.3, 22.1), (20.6, 22.3))
"""x, y of the eyes and the corners of the mouth in an image of 28×28."""


def mosaic(maps: Float[Tensor, "b c 28 28"]) -> Float[Tensor, "b c 28 28"]:
    """Return the four regions of 14×14 around `POINTS`: eye beside mouth corner, the other eye and corner below.

    As in the released code x is taken for the row and y for the column; so the second eye and the first corner change
    places, and the mosaic shows both eyes above, both corners below. Regions are moved inside the image.
    """
    eye, other_eye, corner, other_corner = (
        maps[..., row - 7 : row + 7, column - 7 : column + 7]
        for row, column in (tuple(min(max(int(place), 7), 21) for place in point) for point in POINTS)
    )
    return torch.cat([torch.cat([eye, corner], dim=-1), torch.cat([other_eye, other_corner], dim=-1)], dim=-2)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place."""

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Maps to maps."""
        return super().forward(maps.movedim(1, -1)).movedim(-1, 1)


class Attention(nn.Module):
    """Self-attention over all places of a map; each head has c // heads channels, what is left over is not attended."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = width // heads * heads
        self.query = nn.Conv2d(width, inner, 1, bias=False)
        self.key = nn.Conv2d(width, inner, 1, bias=False)
        self.value = nn.Conv2d(width, inner, 1, bias=False)
        self.project = nn.Conv2d(inner, width, 1)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Maps to maps."""
        n, _, h, w = maps.shape
        query, key, value = (
            layer(maps).view(n, self.heads, -1, h * w).transpose(2, 3) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)  # n heads p c/heads
        return self.project(mixed.transpose(2, 3).reshape(n, -1, h, w))


class Block(nn.Module):
    """Attention and a perceptron of width 4c, each on normalised maps and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = ChannelNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = ChannelNorm(width)
        self.mlp = nn.Sequential(nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1))

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Maps to maps."""
        maps = maps + self.attention(self.attention_norm(maps))
        return maps + self.mlp(self.mlp_norm(maps))


class Level(nn.Module):
    """Blocks of a transformer that see one tile of the grid at a time.

    Args:
        width: c.
        heads: of each attention.
        depth: blocks one after another.
        side: of the grid.
        tiles: along a side of the grid.
    """

    def __init__(self, width: int, heads: int, depth: int, side: int, tiles: int) -> None:
        super().__init__()
        if side % tiles:
            raise ValueError(f"{tiles} tiles along a grid of {side} places; expected a divisor")
        self.tiles = tiles
        self.position = nn.Parameter(torch.randn(side // tiles, side // tiles))  # the same for all channels
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Maps to maps."""
        b, c, h, w = maps.shape
        g = self.tiles
        tiles = maps.view(b, c, g, h // g, g, w // g).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, h // g, w // g)
        tiles = self.blocks(tiles + self.position)
        return tiles.view(b, g, g, c, h // g, w // g).permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


class HTNet(FlowNet):
    """Flow maps to logits.

    Args:
        classes: k.
        in_channels: of the maps.
        width: channels of the first level; each further level has twice as many.
        heads: of the attentions of each level.
        depths: blocks of each level.
        patch: side of a patch, pixels.
        border: zeros around the mosaic, pixels.
        tiles: along a side of the grid of each level; an attention sees one tile.
    """

    image_size = 28

    def __init__(
        self,
        classes: int = 3,
        in_channels: int = 3,
        width: int = 256,
        heads: Sequence[int] = (3, 6, 12),
        depths: Sequence[int] = (2, 2, 10),
        patch: int = 7,
        border: int = 0,
        tiles: Sequence[int] = (4, 2, 1),
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.embed = nn.Conv2d(in_channels, width, patch, stride=patch, padding=border)
        side = (self.image_size + 2 * border) // patch
        levels: list[nn.Module] = []
        for i, (n_heads, depth, n_tiles) in enumerate(zip(heads, depths, tiles, strict=True)):
            if i:
                narrow, width, side = width, 2 * width, (side + 1) // 2
                convolution = nn.Conv2d(narrow, width, 3, padding=1)
                levels.append(nn.Sequential(convolution, ChannelNorm(width), nn.MaxPool2d(3, 2, padding=1)))
            levels.append(Level(width, n_heads, depth, side, n_tiles))
        self.levels = nn.Sequential(*levels)
        self.norm = ChannelNorm(width)
        self.classify = nn.Linear(width, classes)

    def forward_features(self, maps: Float[Tensor, "b c 28 28"]) -> Float[Tensor, "b d h2 w2"]:
        """The maps of the last level."""
        return self.norm(self.levels(self.embed(mosaic(maps))))

    def forward_head(self, features: Float[Tensor, "b d h2 w2"]) -> Float[Tensor, "b k"]:
        """Mean over places, then logits."""
        return self.classify(features.mean(dim=(2, 3)))


class HTNetTokens(HTNet):
    """HTNet whose attentions see 16, 16 and 4 tokens (ours); the other options are those of `HTNet`."""

    def __init__(self, classes: int = 3, **options: Any) -> None:
        super().__init__(classes, **options, patch=4, border=2, tiles=(2, 1, 1))
