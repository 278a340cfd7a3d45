"""The local relational aggregator (LRA), FDP's convolutional block (P: arXiv 2509.06015; lineage Next-ViT's NCB)."""

from jaxtyping import Float
from torch import Tensor, nn

from fdp_lightning.models.dropout import DropPath
from fdp_lightning.models.feed_forward import FeedForward
from fdp_lightning.models.patch_embed import PatchEmbed
from fdp_lightning.models.small_maps import Conv3x3


class MultiHeadConvAttention(nn.Sequential):
    """`PWConv(concat_h ReLU(BN(conv3x3_h(X_h))))` over groups of channels, one group a head (P).

    Args:
        channels: c.
        head_channels: channels of one head; must divide c.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        if head_channels < 1 or channels % head_channels:
            raise ValueError(f"head_channels={head_channels} must divide the width {channels} of the local aggregator")
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels // head_channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)
        self.project = nn.Conv2d(channels, channels, 1, bias=False)


class DenseConv(nn.Sequential):
    """What the released code has instead (R): one dense 3×3 convolution; no heads, norm, ReLU or pointwise one."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.conv = Conv3x3(channels, channels, bias=False)


LOCAL_MIXERS: dict[str, type[nn.Module]] = {"heads": MultiHeadConvAttention, "dense": DenseConv}


class LocalRelationalAggregator(nn.Module):
    """`X' = X + MHCA(X)`, then `X' + MLP(BN(X'))`, after a patch embedding.

    Args:
        in_channels: of the maps that come in.
        out_channels: of the maps that go out.
        stride: of the patch embedding.
        head_channels: of one convolution head.
        mlp_ratio: hidden width of the perceptron over c.
        drop_path: probability of dropping a branch for a sample.
        mixer: 'heads', or 'dense' as in the released code.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        head_channels: int = 8,
        mlp_ratio: float = 3.0,
        drop_path: float = 0.0,
        mixer: str = "heads",
    ) -> None:
        super().__init__()
        if mixer not in LOCAL_MIXERS:
            raise ValueError(f"unknown local_mixer '{mixer}'; allowed are {', '.join(LOCAL_MIXERS)}")
        self.patch_embed = PatchEmbed(in_channels, out_channels, stride)
        self.attention = LOCAL_MIXERS[mixer](out_channels, head_channels)
        self.norm = nn.BatchNorm2d(out_channels)
        self.mlp = FeedForward(out_channels, mlp_ratio)
        self.drop_path = DropPath(drop_path)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """Maps to maps; h2 = h / stride."""
        x = self.patch_embed(maps)
        x = x + self.drop_path(self.attention(x))
        return x + self.drop_path(self.mlp(self.norm(x)))
