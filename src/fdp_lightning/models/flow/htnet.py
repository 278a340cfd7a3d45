"""HTNet: a nested transformer on a mosaic of four facial regions, 139.58 M parameters at three classes.

Provenance: Wang, Zhang, Luo and Sankaranarayana, "HTNet for micro-expression recognition", Neurocomputing 602, 2024;
the authors' code (github.com/wangzhifengharrison/HTNet), whose transformer is a NesT (Zhang et al., "Nested
hierarchical transformer", AAAI 2022).

Input: STSTNet's flow image of 28×28 (strain, v, u in 0..255), rearranged into a mosaic, see `mosaic`.
Published, MEGC 2019: UF1 .860, UAR .848, with the epoch chosen on each test subject; the scores of the last epoch are
not known.
Unknown: how the coordinates of the mosaic are rounded (here they are truncated), and whether a norm precedes the mean
over positions (here it does, as in NesT).
Deviations: the points are the constants that the released code falls back on. It first runs MTCNN on a face of 28×28
pixels.

With the released settings, each attention sees a single token: the 4×4 grid of patches is split into 16 tiles, the 2×2
grid into 4, and the last one is 1×1. A softmax over one score is 1, so queries and keys (22.2 M parameters) never
matter, and their gradient is rounding error; two 3×3 convolutions with pooling do all the spatial mixing. The position
embedding is one number for all channels of a position, which the following norm over the channels removes again: no
attention sees it, and in the last level it has no effect at all. `HTNet` keeps all this.

`HTNetTokens` is the same network with tiles of 16, 16 and 4 tokens. Its patches are 4×4, on the mosaic with a border of
two zeros, so no patch contains pixels of two regions, and each tile of the first level is one region.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.staged_net import FlowNet

POINTS = ((9.5, 11.1), (21.4, 10.9), (10.3, 22.1), (20.6, 22.3))
"""x, y of the eyes and the corners of the mouth, pixels of a 28×28 image."""


def mosaic(maps: Float[Tensor, "b c 28 28"]) -> Float[Tensor, "b c 28 28"]:
    """Arrange the four 14×14 regions around `POINTS`: eye and mouth corner on top, the other eye and corner below.

    As in the released code, x is taken as the row and y as the column. The second eye and the first corner therefore
    swap places, and the mosaic shows both eyes on top and both corners below. Regions are moved inside the image.
    """
    eye, other_eye, corner, other_corner = (
        maps[..., row - 7 : row + 7, column - 7 : column + 7]
        for row, column in (tuple(min(max(int(place), 7), 21) for place in point) for point in POINTS)
    )
    return torch.cat([torch.cat([eye, corner], dim=-1), torch.cat([other_eye, other_corner], dim=-1)], dim=-2)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position."""

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return maps of the same shape."""
        return super().forward(maps.movedim(1, -1)).movedim(-1, 1)


class Attention(nn.Module):
    """Self-attention over all positions of a map; each head has c // heads channels, any remainder is left out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = width // heads * heads
        self.query = nn.Conv2d(width, inner, 1, bias=False)
        self.key = nn.Conv2d(width, inner, 1, bias=False)
        self.value = nn.Conv2d(width, inner, 1, bias=False)
        self.project = nn.Conv2d(inner, width, 1)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return maps of the same shape."""
        n, _, h, w = maps.shape
        query, key, value = (
            layer(maps).view(n, self.heads, -1, h * w).transpose(2, 3) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)  # n heads p c/heads
        return self.project(mixed.transpose(2, 3).reshape(n, -1, h, w))


class Block(nn.Module):
    """Pre-norm residual block: attention, then an MLP of width 4c."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = ChannelNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = ChannelNorm(width)
        self.mlp = nn.Sequential(nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1))

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return maps of the same shape."""
        maps = maps + self.attention(self.attention_norm(maps))
        return maps + self.mlp(self.mlp_norm(maps))


class Level(nn.Module):
    """Transformer blocks that see one tile of the grid at a time.

    Args:
        width: number of channels, c.
        heads: heads of each attention.
        depth: number of blocks.
        side: side of the grid, tokens.
        tiles: tiles along each side of the grid, a divisor of `side`.
    """

    def __init__(self, width: int, heads: int, depth: int, side: int, tiles: int) -> None:
        super().__init__()
        if side % tiles:
            raise ValueError(f"{tiles} tiles along a grid of {side} places; expected a divisor")
        self.tiles = tiles
        self.position = nn.Parameter(torch.randn(side // tiles, side // tiles))  # the same for all channels
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return maps of the same shape."""
        b, c, h, w = maps.shape
        g = self.tiles
        tiles = maps.view(b, c, g, h // g, g, w // g).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, h // g, w // g)
        tiles = self.blocks(tiles + self.position)
        return tiles.view(b, g, g, c, h // g, w // g).permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


class HTNet(FlowNet):
    """Map flow maps to logits.

    Args:
        classes: number of classes, k.
        in_channels: channels of the maps.
        width: channels of the first level; each further level doubles them.
        heads: attention heads of each level.
        depths: number of blocks of each level.
        patch: side of a patch, pixels.
        border: width of the zero padding around the mosaic, pixels.
        tiles: tiles along each side of the grid, for each level; an attention sees one tile.
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
        """Return the normalised maps of the last level."""
        return self.norm(self.levels(self.embed(mosaic(maps))))

    def forward_head(self, features: Float[Tensor, "b d h2 w2"]) -> Float[Tensor, "b k"]:
        """Average over the positions, then classify."""
        return self.classify(features.mean(dim=(2, 3)))


class HTNetTokens(HTNet):
    """`HTNet` whose attentions see 16, 16 and 4 tokens (ours); takes the other options of `HTNet`."""

    def __init__(self, classes: int = 3, **options: Any) -> None:
        super().__init__(classes, **options, patch=4, border=2, tiles=(2, 1, 1))
