"""3×3 convolutions on small maps as matrix products (ours; lineage: Winograd; Lavin and Gray, CVPR 2016).

A padded 3×3 convolution on a 2×2 map multiplies mostly by the zeros of its border, and libraries reach only a fraction
of the machine's matrix throughput on such small maps. Along one side s of a map, each tile of m outputs costs r
products instead of 3m: 3 instead of 6 for a whole side of 2 (whose border is known to be zero), 6 instead of 12 for
every 4 outputs of longer sides. With `into` (r·s/m × s), `filters` (r × 3) and `out` (s × r·s/m)

    y = out [(filters w) · (into x)]

and, over both sides of a map, r² matrix products of (clips · tiles) × c with c × d. Outputs and gradients equal those
of the convolution up to floating-point differences: the test compares both in double precision to 1e-12.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""Points where polynomials are evaluated for tiles of 4, in addition to infinity. Of the usual sets, this one has the
smallest error: 5e-6 of the largest output in float32, measured; 0, ±1, ±2 and 0, ±1, ±½ have 1e-5, the convolution
itself up to 3e-6."""

_LEAST_CHANNELS = {2: 64, 4: 64, 8: 64, 16: 128, 32: 128}
"""By the side of the map. With fewer channels the transforms cost more than they save (measured on two cores with
AVX-512: on 16×16 maps, the rewritten convolution takes 0.95 of the time with 96 channels, 0.48 with 256)."""


class Conv3x3(nn.Conv2d):
    """A dense 3×3 convolution, padding 1, stride 1; computed as matrix products on small maps if `rewritten` is set.

    Attributes:
        rewritten: use matrix products, in float32 and float64 on the CPU. GPU libraries have such kernels already, and
            half precision would round too much.
    """

    rewritten = False

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Return maps of the same side."""
        if not (self.rewritten and _pays(self, maps)):
            return super().forward(maps)
        convolved = conv3x3(maps, self.weight)
        if self.bias is not None:
            convolved = convolved + self.bias[:, None, None]
        return convolved


def conv3x3(maps: Float[Tensor, "n c s s"], weight: Float[Tensor, "d c 3 3"]) -> Float[Tensor, "n d s s"]:
    """Compute `F.conv2d(maps, weight, padding=1)` by matrix products, channels last; s is 2, 4, 8, 16 or 32."""
    n, c, s = maps.shape[:3]
    d = weight.shape[0]
    into, filters, out = (matrix.to(maps) for matrix in _transforms(s))
    r, ends = filters.shape[0], into.shape[0]
    tiles = ends // r
    # From here on, positions come first and channels last, so each transform of a side is one matrix product.
    x = (into @ maps.permute(2, 3, 0, 1).reshape(s, s * n * c)).view(ends, s, n * c)
    x = torch.bmm(into.expand(ends, ends, s), x)  # (r tiles) (r tiles) (n c)
    x = x.view(r, tiles, r, tiles, n * c).transpose(1, 2).reshape(r * r, tiles * tiles * n, c)
    w = (torch.kron(filters, filters) @ weight.permute(2, 3, 1, 0).reshape(9, c * d)).view(r * r, c, d)
    y = torch.bmm(x, w)
    y = y.view(r, r, tiles, tiles, n * d).transpose(1, 2).reshape(ends, ends, n * d)
    y = torch.bmm(out.expand(ends, s, ends), y)  # (r tiles) s (n d)
    y = (out @ y.view(ends, s * n * d)).view(s, s, n, d)
    return y.permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


def _pays(layer: Conv3x3, maps: Tensor) -> bool:
    h, w = maps.shape[-2:]
    return (
        h == w
        and h in _LEAST_CHANNELS
        and min(layer.in_channels, layer.out_channels) >= _LEAST_CHANNELS[h]
        and maps.device.type == "cpu"
        and maps.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
    )


@cache
def _transforms(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return `into`, `filters` and `out` of a side, double precision; along (r tiles), the tile varies fastest."""
    if side == 2:
        # y0 = w1 (x0 + x1) + (w2 - w1) x1 and y1 = w1 (x0 + x1) + (w0 - w1) x0.
        into_maps = torch.tensor([[1, 1], [0, 1], [1, 0]], dtype=torch.float64)
        filters = torch.tensor([[0, 1, 0], [0, -1, 1], [1, -1, 0]], dtype=torch.float64)
        return into_maps, filters, torch.tensor([[1, 1, 0], [1, 0, 1]], dtype=torch.float64)
    m = 4
    r, tiles = m + 2, side // m
    # Filtering is the transpose of polynomial multiplication, done on values at r points, the last of them infinity.
    tile_into, tile_out = np.linalg.inv(_values(r)).T, _values(m).T
    into, out = np.zeros((r, tiles, side + 2)), np.zeros((side, r, tiles))
    for tile in range(tiles):
        into[:, tile, tile * m : tile * m + r] = tile_into
        out[tile * m : tile * m + m, :, tile] = tile_out
    within = into[:, :, 1:-1]  # the border is zero
    matrices = (within.reshape(r * tiles, side), _values(3), out.reshape(side, r * tiles))
    into_maps, filters, out_of = (torch.from_numpy(matrix.copy()) for matrix in matrices)
    return into_maps, filters, out_of


def _values(terms: int) -> np.ndarray:
    """Return powers of the points, (r, terms), which evaluate a polynomial with this many terms at each point."""
    return np.array([[point**i for i in range(terms)] for point in _POINTS] + [[0.0] * (terms - 1) + [1.0]])
