"""The poolings as modules of one signature: features (b, t, c, h, w), scores (b, t) or None, and the mask, to D."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.frame_mask import Mask, masked, real_frames
from fdp_lightning.models.rank import pooling
from fdp_lightning.models.wide import wide


class WeightedPooling(nn.Module):
    """A pooling by one of the weight functions `rank.pooling.WEIGHTS`."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.name, self.out_channels = name, channels

    def forward(
        self, features: Float[Tensor, "b t c h w"], scores: Float[Tensor, "b t"] | None, mask: Mask | None = None
    ) -> Float[Tensor, "b c h w"]:
        """D of the same channels."""
        if scores is None:
            # Only shape and precision are read: FDP asks for a scorer otherwise.
            scores = wide(features.new_zeros(features.shape[:2]))
        weights = pooling.WEIGHTS[self.name](scores, real_frames(features, mask))
        return pooling.pool(features, weights, mask)


class MaxPooling(nn.Module):
    """The largest value over time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels

    def forward(
        self, features: Float[Tensor, "b t c h w"], scores: Float[Tensor, "b t"] | None, mask: Mask | None = None
    ) -> Float[Tensor, "b c h w"]:
        """D of the same channels."""
        return pooling.max_over_time(features, mask)


class AttentionPooling(nn.Module):
    """A softmax over frames of one learned linear reading of each (O)."""

    def __init__(self, channels: int, places: int) -> None:
        super().__init__()
        self.out_channels = channels
        # No bias: the softmax cancels it.
        self.read = nn.Linear(channels * places, 1, bias=False)

    def forward(
        self, features: Float[Tensor, "b t c h w"], scores: Float[Tensor, "b t"] | None, mask: Mask | None = None
    ) -> Float[Tensor, "b c h w"]:
        """D of the same channels."""
        mask = real_frames(features, mask)
        logits = self.read(masked(features, mask).flatten(2)).squeeze(2)  # b t
        return pooling.pool(features, pooling.attention(logits, mask), mask)


class ConvPooling(nn.Module):
    """A learned convolution over all frames at once, kernel 3×3×T, to 8 channels (R: the released code's pooling).

    Attributes:
        rewritten: carry it out as a 3×3 convolution of c·T channels, which it is.
    """

    out_channels = 8
    rewritten = False

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv3d(channels, self.out_channels, (3, 3, frames), padding=(1, 1, 0))

    def forward(
        self, features: Float[Tensor, "b t c h w"], scores: Float[Tensor, "b t"] | None, mask: Mask | None = None
    ) -> Float[Tensor, "b d h w"]:
        """D of 8 channels; frames that are not real count as zero.

        Raises:
            ValueError: another number of frames than the kernel was made for.
        """
        if features.shape[1] != self.frames:
            raise ValueError(f"pooling=conv was made for T = {self.frames} frames, got {features.shape[1]}")
        if mask is not None:
            features = masked(features, mask)
        if self.rewritten:
            weight = self.conv.weight.permute(0, 4, 1, 2, 3).flatten(1, 2)  # d (t c) 3 3
            return F.conv2d(features.flatten(1, 2), weight, self.conv.bias, padding=1)
        return self.conv(features.permute(0, 2, 3, 4, 1)).squeeze(4)


POOLINGS = (*pooling.WEIGHTS, "max", "attention", "conv")


def make_pooling(
    name: str, channels: int, places: int, frames: int
) -> WeightedPooling | MaxPooling | AttentionPooling | ConvPooling:
    """The pooling of this name, for features of `channels` on `places` places and clips of `frames` frames."""
    if name in pooling.WEIGHTS:
        return WeightedPooling(name, channels)
    if name == "max":
        return MaxPooling(channels)
    if name == "attention":
        return AttentionPooling(channels, places)
    if name == "conv":
        return ConvPooling(channels, frames)
    raise ValueError(f"unknown pooling '{name}'; allowed are {', '.join(POOLINGS)}")
