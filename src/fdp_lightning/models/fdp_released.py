"""The code released with FDP (R): where it deviates from the paper, and the conversion of its checkpoints.

Provenance: the behaviour of the authors' released code, none of its text. `model=fdp_released` sets all deviations of
the network, 85,304,206 parameters; each is an option and can be undone separately. README.md lists all options.

     1  no attention: an indexing slip builds local blocks only              `backbone.attention=false`
     2  no rank scorer, no rank loss, no pooling by scores                   follows from 5, which reads no scores
     3  a reshape scrambles the time axis                                    `scrambled_time`, `scrambled`
     4  the local block has a dense 3×3 convolution and nothing after it     `ReleasedBackbone(local_mixer)`
     5  "temporal pooling" is a Conv3d to 8 maps                             `pooling='conv'`, `ReleasedPooling`
     6  DIC is a full SegNet                                                 `SegNet`
     7  batch statistics are computed per frame index                        `frame_batches='per_frame'`
     8  the epoch is chosen by accuracy on the held-out subject              outside the network: `report.headline`
     9  training and test sets are each normalised by their own values       `data.normalisation`
    10  the end of a clip is never seen, short clips are dropped             `data.sampling.rule`
    11  every frame is aligned by its own landmarks                          `data.faces.per_frame`
    12  CASME II's subject 18 is never tested                                `protocol.untested`

Its head block is `network.Map64`, its MER head `PooledMERHead`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from fdp_lightning.models.fdp.backbone import Backbone, recomputed
from fdp_lightning.models.fdp.blocks import LocalRelationalAggregator, MapShape
from fdp_lightning.models.fdp.network import FDP, check_mer_head
from fdp_lightning.models.fdp.rank_pooling import RankPooling, Scores
from fdp_lightning.models.frame_mask import Mask, masked
from fdp_lightning.models.small_maps import Conv3x3

FRAME_BATCHES = ("folded", "per_frame")


class FDPReleased(FDP):
    """FDP with those deviations of the released code that concern the network.

    Args:
        scrambled_time: scramble the time axis of the maps before the pooling (3).
        frame_batches: 'per_frame' for one pass of the backbone per frame index (7); 'folded' for a single pass, as in
            `FDP`.
        options: options of `FDP`; `pooling` may also be 'conv' (5).

    Attributes:
        frames_at_once: number of frames that 'per_frame' computes together, each with its own statistics; None for all.
    """

    frames_at_once: int | None = 1

    def __init__(self, scrambled_time: bool = True, frame_batches: str = "per_frame", **options: Any) -> None:
        if frame_batches not in FRAME_BATCHES:
            raise ValueError(f"unknown frame_batches '{frame_batches}'; allowed are {', '.join(FRAME_BATCHES)}")
        super().__init__(**options)
        self.scrambled_time, self.frame_batches = scrambled_time, frame_batches
        if frame_batches == "per_frame":
            by_frame(self.backbone)

    def take_any_number_of_clips(self) -> None:
        """Pass all frames through the backbone together, which is equivalent without batch statistics."""
        self.frame_batches = "folded"

    @staticmethod
    def make_pooling(names: Sequence[str], maps: Sequence[MapShape], frames: int, *options: Any) -> nn.Module:
        """Build the convolution for 'conv', otherwise a `RankPooling`."""
        return ReleasedPooling(maps, frames) if names == ["conv"] else RankPooling(names, maps, frames, *options)

    def forward_features(self, clips: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> list[Tensor]:
        """Return the maps of each frame at each resolution, as `FDP` does."""
        b, t, _, _, _ = clips.shape
        features = super().forward_features
        if self.frame_batches == "folded":
            return features(clips, mask)
        # With padding, frame indices differ in their number of maps.
        together = self._norms_by_frame(b if mask is None else None) and mask is None
        parts = clips.transpose(0, 1).split((self.frames_at_once or t) if together else 1)  # t2 b c h w
        # A step without a real frame is an empty batch, from which batch norm computes no statistics.
        masks = [None] * len(parts) if mask is None else mask.T.split(1)
        maps = [[m.flatten(0, 1) for m in features(*part)] for part in zip(parts, masks, strict=True)]
        return [torch.cat(of_level).unflatten(0, (t, b)).transpose(0, 1) for of_level in zip(*maps, strict=True)]

    def _norms_by_frame(self, clips: int | None) -> bool:
        """Make the backbone's batch norms use statistics per frame index; return False if one cannot (under DDP)."""
        norms = [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            if not isinstance(norm, FrameBatchNorm):
                return False
            norm.clips = clips
        return True

    def forward_pooling(
        self, maps: Sequence[Float[Tensor, "b t _ _ _"]], scores: dict[str, Tensor], mask: Mask | None = None
    ) -> list[Tensor]:
        """Return D at each resolution, fine to coarse, (b, d, h2, w2)."""
        return super().forward_pooling([scrambled(m) for m in maps] if self.scrambled_time else maps, scores, mask)


def scrambled(features: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t c h w"]:
    """Reinterpret the memory of (t, c, h, w) as (c, h, w, t), as the released code does (R).

    The time axis then holds t neighbouring features of one frame; with eight frames of 1×64×64, frame k fills rows 8k
    to 8k+7.
    """
    b, t, c, h, w = features.shape
    return features.reshape(b, c, h, w, t).permute(0, 4, 1, 2, 3)


class FrameBatchNorm(_BatchNorm):
    """Batch norm that, in training, computes statistics for each frame index in turn (7).

    With time folded into the batch as the outer axis, every `clips` consecutive maps have the same frame index. The
    statistics, including the running ones, are those of one pass of the network per frame (R), while everything between
    the norms is computed in a single pass.

    Args:
        norm: layer whose parameters and running statistics are shared under the same names.

    Attributes:
        clips: number of maps per frame index, b; None for all.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.clips: int | None = None

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any shape (n, c, …)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise maps (n, c, …)."""
        if self.clips is None or not self.training or self.clips == len(input):
            return super().forward(input)
        return torch.cat([super(FrameBatchNorm, self).forward(frame) for frame in input.split(self.clips)])


def by_frame(module: nn.Module) -> None:
    """Replace each plain batch norm in a module by a `FrameBatchNorm`."""
    for name, child in module.named_children():
        # timm's subclasses do more than normalise.
        if isinstance(child, _BatchNorm) and type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
            setattr(module, name, FrameBatchNorm(child))
        else:
            by_frame(child)


class DenseConv(nn.Sequential):
    """One dense 3×3 convolution, without heads, norm, ReLU or pointwise convolution."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.conv = Conv3x3(channels, channels, bias=False)


class DenseAggregator(LocalRelationalAggregator):
    """The local block with `DenseConv` (4)."""

    mixer = DenseConv


LOCAL_MIXERS = {"heads": LocalRelationalAggregator, "dense": DenseAggregator}


class ReleasedBackbone(Backbone):
    """The backbone with the local blocks of the released code (4).

    Args:
        options: arguments of `Backbone`.
        local_mixer: 'dense' as released, or 'heads' as in the paper.
    """

    def __init__(self, *options: Any, local_mixer: str = "dense", **named: Any) -> None:
        if local_mixer not in LOCAL_MIXERS:
            raise ValueError(f"unknown local_mixer '{local_mixer}'; allowed are {', '.join(LOCAL_MIXERS)}")
        self.local_aggregator = LOCAL_MIXERS[local_mixer]
        super().__init__(*options, **named)


class ConvPooling(nn.Module):
    """A learned convolution over all frames, kernel 3×3×T, to 8 channels: the pooling of the released code.

    Attributes:
        rewritten: compute it as the equivalent 3×3 convolution of c·T channels.
    """

    out_channels = 8
    rewritten = False

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.conv = nn.Conv3d(channels, self.out_channels, (3, 3, frames), padding=(1, 1, 0))

    def forward(self, features: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> Float[Tensor, "b d h w"]:
        """Return D with 8 channels; frames that are not real count as zero.

        Raises:
            ValueError: the number of frames differs from that of the kernel.
        """
        if features.shape[1] != self.frames:
            raise ValueError(f"pooling=conv was built for T = {self.frames} frames; got {features.shape[1]}")
        if mask is not None:
            features = masked(features, mask)
        if self.rewritten:
            weight = self.conv.weight.permute(0, 4, 1, 2, 3).flatten(1, 2)  # d (t c) 3 3
            return F.conv2d(features.flatten(1, 2), weight, self.conv.bias, padding=1)
        return self.conv(features.permute(0, 2, 3, 4, 1)).squeeze(4)


class ReleasedPooling(nn.Module):
    """`ConvPooling` at each resolution, with `maps` as in `RankPooling`; ignores the scores (2, 5)."""

    def __init__(self, maps: Sequence[MapShape], frames: int) -> None:
        super().__init__()
        self.conv = nn.ModuleList(ConvPooling(channels, frames) for channels, _ in maps)
        self.maps = [(ConvPooling.out_channels, side) for _, side in maps]

    def forward(
        self, maps: Sequence[Float[Tensor, "b t _ _ _"]], scores: Scores, mask: Mask | None = None
    ) -> list[Tensor]:
        """Return D at each resolution, (b, 8, h, w)."""
        return [conv(features, mask) for conv, features in zip(self.conv, maps, strict=True)]


class PooledMERHead(nn.Module):
    """The MER head of the released code: 3×3 max-pooling, one hidden layer, ReLU, classifier.

    Args:
        maps: channels and side of D at each resolution, fine to coarse; the head reads the coarsest map of at least
            3×3 positions.
        classes: number of classes, k.
        hidden: units of the hidden layer.
        normalised: apply batch norm first (O). The released head follows a convolution, which learns a suitable scale;
            a D from rank pooling is a difference over time and small.
        dropout: dropout probability before the last layer.
    """

    def __init__(
        self,
        maps: Sequence[MapShape],
        classes: int,
        hidden: int = 256,
        normalised: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_mer_head(classes, hidden, dropout)
        large = [index for index, (_, side) in enumerate(maps) if side >= 3]
        if not large:
            raise ValueError(
                f"model/mer_head=pooled needs maps of at least 3×3 positions; got sides {[side for _, side in maps]}. "
                "Use model/mer_head=linear, or finer maps (model.finer_maps)"
            )
        self.reads = large[-1]
        channels, side = maps[self.reads]
        self.norm = nn.BatchNorm2d(channels) if normalised else nn.Identity()
        self.pool = nn.Sequential(nn.MaxPool2d(3), nn.Flatten())
        self.hidden = nn.Linear(channels * (side // 3) ** 2, hidden)
        self.act = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(dropout))
        self.classify = nn.Linear(hidden, classes)

    def forward(self, representation: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b k"]:
        """Map D to logits."""
        return self.classify(self.act(self.hidden(self.pool(self.norm(representation[self.reads])))))


_ENCODER = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Widths of VGG16's convolutions."""


class SegNet(nn.Module):
    """The DIC network of the released code (6), 29.45 M parameters.

    SegNet (Badrinarayanan et al., TPAMI 2017): a VGG16-shaped encoder, a mirrored decoder, and unpooling by the
    encoder's indices. Layers are named as in checkpoints of the released code: `conv11`, `bn11`, … `conv53d`, `bn53d`.

    Args:
        maps: channels and side of D at each resolution; all are resized to the side of the image and concatenated.
        image_side: side of the dynamic image, a multiple of 32 pixels.

    Attributes:
        checkpointing: keep only the inputs of stages, see `backbone.recomputed`; None to keep everything.
    """

    checkpointing: str | None = None

    def __init__(self, maps: Sequence[MapShape], image_side: int) -> None:
        super().__init__()
        if image_side % 32:
            raise ValueError(f"model/dic_head=segnet needs an image side that is a multiple of 32; got {image_side}")
        self.image_side = image_side
        width = sum(channels for channels, _ in maps)
        for stage, widths in enumerate(_ENCODER, 1):
            for layer, out in enumerate(widths, 1):
                self._add(f"{stage}{layer}", width, out)
                width = out
        for stage, widths in reversed(list(enumerate(_ENCODER, 1))):
            narrower = _ENCODER[stage - 2][-1] if stage > 1 else 1
            for layer in range(len(widths), 0, -1):
                out = narrower if layer == 1 else widths[0]
                self._add(f"{stage}{layer}d", width, out)
                width = out

    def _add(self, name: str, in_channels: int, out_channels: int) -> None:
        self.add_module(f"conv{name}", Conv3x3(in_channels, out_channels))
        if name != "11d":
            self.add_module(f"bn{name}", nn.BatchNorm2d(out_channels, momentum=0.1))

    def _layer(self, name: str, x: Tensor) -> Tensor:
        x = self.get_submodule(f"conv{name}")(x)
        return x if name == "11d" else F.relu(self.get_submodule(f"bn{name}")(x))

    def _encode(self, stage: int, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in range(1, len(_ENCODER[stage - 1]) + 1):
            x = self._layer(f"{stage}{layer}", x)
        return F.max_pool2d(x, 2, return_indices=True)

    def _decode(self, stage: int, x: Tensor, places: Tensor) -> Tensor:
        x = _unpool(x, places)
        for layer in range(len(_ENCODER[stage - 1]), 0, -1):
            x = self._layer(f"{stage}{layer}d", x)
        return x

    def forward(self, representation: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b 1 h2 w2"]:
        """Map D of all resolutions to the dynamic image, in [0, 1]."""
        size = (self.image_side, self.image_side)
        x = torch.cat([d if d.shape[-2:] == size else F.interpolate(d, size) for d in representation], dim=1)
        places = []
        for stage in range(1, len(_ENCODER) + 1):
            x, indices = recomputed(self, partial(self._encode, stage), x, when=self.checkpointing is not None)
            places.append(indices)
        for stage in range(len(_ENCODER), 0, -1):
            x = recomputed(self, partial(self._decode, stage), x, places.pop(), when=self.checkpointing is not None)
        return x.sigmoid()


def _unpool(maps: Float[Tensor, "b c h w"], places: Int[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
    """Put each value back where the 2×2 pooling took it from, with zero elsewhere.

    `F.max_unpool2d` does the same but has no deterministic form; this is deterministic, since windows do not overlap.
    """
    b, c, h, w = maps.shape
    empty = maps.new_zeros(b, c, 4 * h * w)
    return empty.scatter_(2, places.flatten(2), maps.flatten(2)).view(b, c, 2 * h, 2 * w)


_NAMES = (
    ("frame_rep.stem.", "backbone.stem."),
    ("frame_rep.features.", "backbone.blocks."),
    ("frame_rep.norm.", "backbone.norm."),
    ("frame_rep.proj_head.0.", "head_block.project."),
    ("mer.conv3d.", "pooling.conv.0.conv."),
    ("mer.fc1.", "mer_head.hidden."),
    ("mer.fc2.", "mer_head.classify."),
    ("dyimg_net.", "dic_head."),
)
_IN_BLOCK = (
    (".mhca.group_conv3x3.", ".attention.conv."),
    (".mlp.conv1.", ".mlp.expand."),
    (".mlp.conv2.", ".mlp.project."),
)
_OURS_ALONE = {"mean": 0.0, "std": 1.0}
"""Our buffers that have no counterpart: the released network expects normalised frames."""


def from_released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict from the released layout to that of `model=fdp_released`, for strict loading.

    Raises:
        ValueError: a name is not part of the released layout.
    """
    return {_renamed(name, _NAMES, _IN_BLOCK): value for name, value in state.items()} | {
        name: torch.tensor(value) for name, value in _OURS_ALONE.items()
    }


def to_released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a state dict of `model=fdp_released` to the released layout.

    The normalisation of the frames (`mean`, `std`) has no counterpart there and is left out: the released network
    expects normalised frames.

    Raises:
        ValueError: a name has no counterpart in the released layout, because it belongs to another model.
    """
    names, in_block = (tuple((ours, theirs) for theirs, ours in table) for table in (_NAMES, _IN_BLOCK))
    return {_renamed(name, names, in_block): value for name, value in state.items() if name not in _OURS_ALONE}


def _renamed(name: str, names: tuple[tuple[str, str], ...], in_block: tuple[tuple[str, str], ...]) -> str:
    for old, new in names:
        if name.startswith(old):
            renamed = new + name.removeprefix(old)
            for old_part, new_part in in_block:  # these occur only in the names of blocks
                renamed = renamed.replace(old_part, new_part)
            return renamed
    beginnings = ", ".join(old for old, _ in names)
    raise ValueError(f"'{name}' is not in the layout of the released code; expected names that begin with {beginnings}")
