"""Rank pooling as a module: maps of all frames at one or more resolutions, and the rank scores, to D at each."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fdp_lightning.models.frame_mask import Mask, masked, real_frames
from fdp_lightning.models.rank import pooling
from fdp_lightning.models.wide import wide

Scores = Mapping[str, Float[Tensor, "b t"]]
"""By order, 'chronological' and 'intensity'."""
MapShape = tuple[int, int]
"""Channels and side of a square map."""


class FrameAttention(nn.Module):
    """A softmax over frames of one learned linear reading of each (ours)."""

    def __init__(self, channels: int, places: int) -> None:
        super().__init__()
        # No bias: the softmax cancels it.
        self.read = nn.Linear(channels * places, 1, bias=False)

    def forward(self, features: Float[Tensor, "b t c h w"], mask: Mask) -> Float[Tensor, "b t"]:
        """The weights of the frames."""
        return pooling.attention(self.read(masked(features, mask).flatten(2)).squeeze(2), mask)


class ConvPooling(nn.Module):
    """A learned convolution over all frames at once, kernel 3×3×T, to 8 channels (the released code's pooling).

    Attributes:
        rewritten: carry it out as a 3×3 convolution of c·T channels, which it is.
    """

    out_channels = 8
    rewritten = False

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv3d(channels, self.out_channels, (3, 3, frames), padding=(1, 1, 0))

    def forward(self, features: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> Float[Tensor, "b d h w"]:
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


class RankPooling(nn.Module):
    """One or more poolings of the same frames, their D side by side; each uses the same weights at all resolutions.

    Args:
        names: some of `POOLINGS`.
        maps: channels and side of the frames' maps, fine to coarse; the coarsest is F.
        frames: T.
        running_means: poolings by chronological scores pool the running means of the frames.
        temperature: of 'gated'.

    Attributes:
        maps: channels and side of D at each resolution.
    """

    def __init__(
        self,
        names: Sequence[str],
        maps: Sequence[MapShape],
        frames: int,
        running_means: bool = True,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        if not names or len(set(names)) < len(names):
            raise ValueError(f"pooling={list(names)}; expected one or more different ones of {', '.join(POOLINGS)}")
        for name in names:
            if name not in POOLINGS:
                raise ValueError(f"unknown pooling '{name}'; allowed are {', '.join(POOLINGS)}")
        if temperature <= 0:
            raise ValueError(f"gate_temperature={temperature}; it must be above 0")
        self.names, self.running_means = tuple(names), running_means
        self._weights: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            **pooling.WEIGHTS,
            "gated": partial(pooling.gated, temperature=temperature),
        }
        channels, side = maps[-1]
        self.attention = FrameAttention(channels, side**2) if "attention" in names else None
        self.conv = nn.ModuleList(ConvPooling(c, frames) for c, _ in maps) if "conv" in names else None
        self.maps = [
            (sum(ConvPooling.out_channels if name == "conv" else c for name in names), side) for c, side in maps
        ]

    def forward(
        self, maps: Sequence[Float[Tensor, "b t _ _ _"]], scores: Scores, mask: Mask | None = None
    ) -> list[Tensor]:
        """D at each resolution, (b, d, h, w)."""
        real = real_frames(maps[-1], mask)
        weights = [self._weights_of(name, maps[-1], scores, real) for name in self.names if name not in ("max", "conv")]
        stacked = torch.stack(weights, dim=1) if weights else None
        return [self._pool(i, features, stacked, mask) for i, features in enumerate(maps)]

    def _weights_of(self, name: str, features: Tensor, scores: Scores, mask: Mask) -> Tensor:
        if name == "attention":
            assert self.attention is not None
            return wide(self.attention(features, mask))
        order = pooling.READS.get(name)
        # A pooling without a scorer reads of the scores their shape and precision alone.
        of_order = wide(features.new_zeros(features.shape[:2])) if order is None else scores[order]
        weights = self._weights[name](of_order, mask)
        on_means = self.running_means and order == "chronological"
        return pooling.over_running_means(weights, mask) if on_means else weights

    def _pool(self, index: int, features: Tensor, weights: Tensor | None, mask: Mask | None) -> Tensor:
        by_weights = iter(() if weights is None else pooling.pool(features, weights, mask).unbind(1))
        parts = []
        for name in self.names:
            if name == "max":
                parts.append(pooling.max_over_time(features, mask))
            elif name == "conv":
                assert self.conv is not None
                parts.append(self.conv[index](features, mask))
            else:
                parts.append(next(by_weights))
        return torch.cat(parts, dim=1)
