"""The blocks of FDP's transformer: stem, patch embedding, local and global relational aggregators.

Provenance: P (arXiv 2509.06015, the section on the backbone); lineage: Next-ViT (arXiv 2207.05501), whose NCB and NTB
are the local and the global aggregator.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

MapShape = tuple[int, int]
"""Channels and side of a square map."""


class ConvNormAct(nn.Sequential):
    """3×3 convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU(inplace=True)


class Stem(nn.Sequential):
    """3×3 convolutions with batch norm and ReLU, from frames to the first stage's resolution.

    Args:
        in_channels: 1 for grey, 3 for colour.
        widths: channels of each convolution.
        strides: strides of each convolution; their product is the stem's stride.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], strides: Sequence[int]) -> None:
        if in_channels not in (1, 3):
            raise ValueError(f"in_channels={in_channels}; allowed are 1 (grey) and 3 (colour)")
        if len(widths) != len(strides) or not widths:
            raise ValueError(
                f"stem widths {list(widths)} and strides {list(strides)} must be of equal number, at least one each"
            )
        if min(widths) < 1 or min(strides) < 1:
            raise ValueError(f"stem widths {list(widths)} and strides {list(strides)} must all be at least 1")
        before = [in_channels, *widths[:-1]]
        super().__init__(*(ConvNormAct(*layer) for layer in zip(before, widths, strides, strict=True)))

    def forward(self, frames: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Map frames to maps; h2 = h / product of the strides."""
        return super().forward(frames)


class PatchEmbed(nn.Sequential):
    """Patch embedding (PE): halve the resolution, change the width, or do nothing.

    With stride 2: 2×2 average pooling (odd sides rounded up, padding not counted), 1×1 convolution, batch norm. With
    only a change of width: 1×1 convolution, batch norm. Otherwise: identity.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        if stride not in (1, 2):
            raise ValueError(f"stride of a patch embedding is {stride}; allowed are 1 and 2")
        super().__init__()
        if stride == 2:
            self.pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
        if stride == 2 or in_channels != out_channels:
            self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Return maps of the new width and resolution; h2 = ceil(h / stride)."""
        return super().forward(maps)


class FeedForward(nn.Sequential):
    """MLP of both aggregators: 1×1 convolution to `ratio` times the width, ReLU, 1×1 convolution back."""

    def __init__(self, channels: int, ratio: float) -> None:
        hidden = round(channels * ratio)
        if hidden < 1:
            raise ValueError(f"an MLP ratio of {ratio} leaves no hidden channel from {channels}; expected a larger one")
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.act = nn.ReLU(inplace=True)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return maps of the same shape."""
        return super().forward(maps)


class MultiHeadConvAttention(nn.Sequential):
    """`PWConv(concat_h ReLU(BN(conv3x3_h(X_h))))` over groups of channels, one group per head (P).

    Args:
        channels: number of channels, c.
        head_channels: channels of one head, a divisor of c.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        if head_channels < 1 or channels % head_channels:
            raise ValueError(f"head_channels={head_channels} must divide the width {channels} of the local aggregator")
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels // head_channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)
        self.project = nn.Conv2d(channels, channels, 1, bias=False)


class LocalRelationalAggregator(nn.Module):
    """LRA, the convolutional block: `X' = X + MHCA(X)`, then `X' + MLP(BN(X'))`, after a patch embedding of `stride`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the patch embedding.
        head_channels: channels of one head.
        mlp_ratio: hidden width of the MLP relative to `out_channels`.
        drop_path: probability of dropping a branch for a sample.

    Attributes:
        mixer: class of the multi-head convolution.
    """

    mixer: type[nn.Module] = MultiHeadConvAttention

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        head_channels: int = 8,
        mlp_ratio: float = 3.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(in_channels, out_channels, stride)
        self.attention = self.mixer(out_channels, head_channels)
        self.norm = nn.BatchNorm2d(out_channels)
        self.mlp = FeedForward(out_channels, mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Return maps of the new width and resolution; h2 = h / stride."""
        x = self.patch_embed(maps)
        x = x + self.drop_path(self.attention(x))
        return x + self.drop_path(self.mlp(self.norm(x)))


class ReducedSelfAttention(nn.Module):
    """Multi-head self-attention over positions; keys and values are means of `sr_ratio`² neighbours in scan order.

    Args:
        channels: number of channels, c.
        head_channels: channels of one head, a divisor of c.
        sr_ratio: spatial reduction of keys and values.
    """

    def __init__(self, channels: int, head_channels: int, sr_ratio: int = 1) -> None:
        super().__init__()
        if head_channels < 1 or channels % head_channels:
            raise ValueError(f"head_channels={head_channels} must divide the width {channels} of the global aggregator")
        if sr_ratio < 1:
            raise ValueError(f"sr_ratio={sr_ratio} of a global aggregator must be at least 1")
        self.heads = channels // head_channels
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.project = nn.Linear(channels, channels)
        self.reduction = sr_ratio**2
        self.norm = nn.BatchNorm1d(channels) if sr_ratio > 1 else nn.Identity()

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Attend from each position to all positions of the same frame."""
        n, c, h, w = maps.shape
        tokens = maps.flatten(2)  # n c p
        context = tokens
        if self.reduction > 1:
            # Rounded up: if the reduction does not divide the positions, the last ones are averaged, not dropped.
            context = self.norm(F.avg_pool1d(tokens, self.reduction, ceil_mode=True))  # n c p/r
        tokens, context = tokens.transpose(1, 2), context.transpose(1, 2)  # n p c
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # n heads p c/heads
            for layer, x in ((self.query, tokens), (self.key, context), (self.value, context))
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = self.project(mixed.transpose(1, 2).flatten(2))  # n p c
        return mixed.transpose(1, 2).reshape(n, c, h, w)


class GlobalRelationalAggregator(nn.Module):
    """GRA, the transformer block: attention on a share of the channels, joined with a local branch on its result.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the patch embedding.
        mix_ratio: share of `out_channels` that the attention gets; the rest is the local branch.
        head_channels: channels of one head, in both branches.
        sr_ratio: spatial reduction of keys and values.
        mlp_ratio: hidden width of the MLP relative to `out_channels`.
        drop_path: probability of dropping a branch for a sample, split between the two joined branches by `mix_ratio`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        mix_ratio: float = 0.75,
        head_channels: int = 8,
        sr_ratio: int = 1,
        mlp_ratio: float = 2.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        # Both branches need whole heads.
        attended = round(out_channels * mix_ratio / head_channels) * head_channels if head_channels > 0 else 0
        local = out_channels - attended
        if not 0 < attended < out_channels or local % head_channels:
            raise ValueError(
                f"mix_ratio={mix_ratio} of {out_channels} channels leaves no whole heads of {head_channels} "
                "for attention or for the local branch"
            )
        self.patch_embed = PatchEmbed(in_channels, attended, stride)
        self.norm = nn.BatchNorm2d(attended)
        self.attention = ReducedSelfAttention(attended, head_channels, sr_ratio)
        self.to_local = PatchEmbed(attended, local)
        self.local = MultiHeadConvAttention(local, head_channels)
        self.mlp_norm = nn.BatchNorm2d(out_channels)
        self.mlp = FeedForward(out_channels, mlp_ratio)
        self.attention_drop_path = DropPath(drop_path * mix_ratio)
        self.local_drop_path = DropPath(drop_path * (1 - mix_ratio))
        self.mlp_drop_path = DropPath(drop_path)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Return maps of the new width and resolution; h2 = h / stride."""
        x = self.patch_embed(maps)
        x = x + self.attention_drop_path(self.attention(self.norm(x)))
        local = self.to_local(x)
        local = local + self.local_drop_path(self.local(local))
        x = torch.cat([x, local], dim=1)  # n d h2 w2
        return x + self.mlp_drop_path(self.mlp(self.mlp_norm(x)))
