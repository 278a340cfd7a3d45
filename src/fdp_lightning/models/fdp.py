"""FDP: fine-grained dynamic perception (Shao et al., arXiv 2509.06015, ACM TOMM 2025).

Raw frames in, no key frames, no optical flow: feature maps per frame, rank scores per frame, one dynamic representation
pooled by the scores, and two heads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fdp_lightning.models.frame_mask import Mask
from fdp_lightning.models.frame_norm import FrameBatchNorm, by_frame
from fdp_lightning.models.head_block import Map64, Spatial
from fdp_lightning.models.rank.pooling import READS
from fdp_lightning.models.rank.pooling_modules import MapShape, RankPooling
from fdp_lightning.models.released import scrambled

HEAD_BLOCKS: dict[str, type[Spatial] | type[Map64]] = {"spatial": Spatial, "map64": Map64}
FRAME_BATCHES = ("folded", "per_frame")


@dataclass(frozen=True)
class FDPOutput:
    """What FDP says of b clips of t frames.

    Attributes:
        logits: of the classes, (b, k).
        scores: of the rank scorers, by order ('chronological', 'intensity'), each (b, t); of those that the poolings
            read.
        representation: D at each resolution, fine to coarse, (b, c, h, w).
        dynamic_image: constructed, in [0, 1], (b, 1, h2, w2).
    """

    logits: Float[Tensor, "b k"]
    scores: dict[str, Float[Tensor, "b t"]]
    representation: Sequence[Float[Tensor, "b _ _ _"]]
    dynamic_image: Float[Tensor, "b 1 h2 w2"]

    @property
    def rank_scores(self) -> Float[Tensor, "b t"] | None:
        """The chronological scores, or those of intensity where they are the only ones; None without a scorer."""
        return self.scores.get("chronological", self.scores.get("intensity"))


class FDP(nn.Module):
    """The whole network.

    Args:
        backbone: frames to maps; has `in_channels`, `map_shapes(image_size)` and `forward_maps(frames, finer)`.
        scorer: makes a rank scorer from `in_channels`, `places`, `order` and `running_means`.
        mer_head: makes the MER head from `maps` (channels and side of D at each resolution) and `classes`.
        dic_head: makes the DIC head from `maps` and `image_side`.
        classes: k.
        image_size: side of the frames, pixels.
        frames: T, frames of a clip.
        head_block: 'spatial' or 'map64', see head_block.py.
        finer_maps: strides (image pixels per place) of the backbone's finer maps that D is pooled from besides the
            feature maps; none: D has the one resolution of the feature maps (ours).
        pooling: one or more of `rank.pooling_modules.POOLINGS`, whose D stand side by side.
        running_means: score and pool the chronological order on running means (Fernando et al., TPAMI 2017).
        gate_temperature: of the pooling 'gated'.
        scrambled_time: hand the pooling features whose time axis is scrambled, as the released code does.
        frame_batches: 'folded': one pass of the backbone over all b·t frames (ours), so that batch statistics are of
            all frames; 'per_frame': one pass for each frame index, as the released code does.
        mean: of all values of the training clips, subtracted from the frames; one for all colours.
        std: of all values of the training clips, the frames are divided by it.

    Attributes:
        about: what it is and where it is from, for the card of a model.
        inputs: kinds of `input` that it takes.
        frames_at_once: carry out `frame_batches='per_frame'` so many frames at a time, with the statistics of one pass
            each; None: all.
    """

    about = "FDP, fine-grained dynamic perception (Shao et al., arXiv 2509.06015)"
    inputs = ("frames",)
    frames_at_once: int | None = 1
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Any,
        scorer: Callable[..., nn.Module],
        mer_head: Callable[..., nn.Module],
        dic_head: Callable[..., nn.Module],
        classes: int,
        image_size: int,
        frames: int = 8,
        head_block: str = "spatial",
        finer_maps: Sequence[int] = (),
        pooling: str | Sequence[str] = "gated",
        running_means: bool = True,
        gate_temperature: float = 1.0,
        scrambled_time: bool = False,
        frame_batches: str = "folded",
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        if head_block not in HEAD_BLOCKS:
            raise ValueError(f"unknown head_block '{head_block}'; allowed are {', '.join(HEAD_BLOCKS)}")
        if frame_batches not in FRAME_BATCHES:
            raise ValueError(f"unknown frame_batches '{frame_batches}'; allowed are {', '.join(FRAME_BATCHES)}")
        if frames < 1:
            raise ValueError(f"T = {frames} frames (data.sampling.frames); at least 1 is needed")
        self.frame_batches, self.scrambled_time = frame_batches, scrambled_time
        if frame_batches == "per_frame":
            by_frame(backbone)
        self.backbone = backbone
        *finer, (channels, side) = self._maps_of(backbone, image_size, finer_maps)
        self.head_block = HEAD_BLOCKS[head_block](channels)
        feature = (self.head_block.out_channels, self.head_block.side or side)
        names = [pooling] if isinstance(pooling, str) else list(pooling)
        self.pooling = RankPooling(names, [*finer, feature], frames, running_means, gate_temperature)
        orders = sorted({READS[name] for name in names if name in READS})
        self.scorers = nn.ModuleDict(
            {
                order: scorer(in_channels=feature[0], places=feature[1] ** 2, order=order, running_means=running_means)
                for order in orders
            }
        )
        self.mer_head = mer_head(maps=self.pooling.maps, classes=classes)
        self.dic_head = dic_head(maps=self.pooling.maps, image_side=image_size)
        # Buffers: fitted on the training subjects of the fold, they travel with the checkpoint.
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(max(float(std), 1e-3)))

    def _maps_of(self, backbone: Any, image_size: int, finer: Sequence[int]) -> list[MapShape]:
        """The shapes of the maps that D is pooled from, fine to coarse."""
        *strides, last = shapes = backbone.map_shapes(image_size)
        self.finer_maps = sorted(finer)
        unknown = set(finer) - set(strides)
        if unknown or len(set(finer)) < len(finer):
            raise ValueError(
                f"finer_maps={list(finer)}: expected different ones of the backbone's strides "
                f"{', '.join(map(str, strides))} (image pixels per place; {last} is that of the feature maps)"
            )
        return [shapes[stride] for stride in (*self.finer_maps, last)]

    def forward_features(self, clips: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> list[Tensor]:
        """The maps of each frame at each resolution, fine to coarse, (b, t, d, h2, w2); zero for frames not real."""
        clips = (clips - self.mean) / self.std
        if clips.shape[2] == 1:
            clips = clips.expand(-1, -1, self.backbone.in_channels, -1, -1)  # grey to a backbone for colour
        if self.frame_batches == "per_frame":
            if mask is None and self._norms_by_frame(len(clips)):
                parts = clips.transpose(0, 1).split(self.frames_at_once or clips.shape[1])  # of (t b c h w)
                maps = [self._maps(part.flatten(0, 1)) for part in parts]
                return [
                    torch.cat(of_level).unflatten(0, (-1, len(clips))).transpose(0, 1)
                    for of_level in zip(*maps, strict=True)
                ]
            self._norms_by_frame(None)
            # A step without a real frame is an empty batch, of which batch norm takes no statistics.
            masks = [None] * clips.shape[1] if mask is None else mask.split(1, dim=1)
            steps = [self._frame_features(*step) for step in zip(clips.split(1, dim=1), masks, strict=True)]
            return [torch.cat(of_level, dim=1) for of_level in zip(*steps, strict=True)]
        return self._frame_features(clips, mask)

    def _norms_by_frame(self, clips: int | None) -> bool:
        """Let all batch norms of the backbone take statistics by frame index; False if they cannot, as those of DDP."""
        norms = [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            if not isinstance(norm, FrameBatchNorm):
                return False
            norm.clips = clips
        return True

    def _maps(self, frames: Tensor) -> list[Tensor]:
        """Of n frames at each resolution, (n, d, h2, w2)."""
        *finer, last = self.backbone.forward_maps(frames, self.finer_maps)
        return [*finer, self.head_block(last)]

    def _frame_features(self, clips: Tensor, mask: Tensor | None) -> list[Tensor]:
        b, t = clips.shape[:2]
        if mask is None:
            return [maps.unflatten(0, (b, t)) for maps in self._maps(clips.flatten(0, 1))]
        # Real frames alone, so that the others have no part in batch norm's statistics.
        return [
            real.new_zeros(b, t, *real.shape[1:]).masked_scatter(mask[:, :, None, None, None], real)
            for real in self._maps(clips[mask])
        ]

    def forward_head(self, maps: Sequence[Float[Tensor, "b t _ _ _"]], mask: Mask | None = None) -> FDPOutput:
        """Scores, the representation pooled by them, and both heads."""
        scores = {order: scorer(maps[-1], mask) for order, scorer in self.scorers.items()}
        if self.scrambled_time:
            maps = [scrambled(features) for features in maps]
        representation = self.pooling(maps, scores, mask)
        return FDPOutput(
            scores=scores,
            representation=representation,
            logits=self.mer_head(representation),
            dynamic_image=self.dic_head(representation),
        )

    def take_any_number_of_clips(self) -> None:
        """Pass all frames through the backbone at once: without batch statistics that gives the same."""
        self.frame_batches = "folded"

    def forward(self, clips: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> FDPOutput:
        """Clips of t frames with values in 0..1.

        Args:
            clips: frames of the clips.
            mask: of the real frames, at least one a clip; None: all are.
        """
        return self.forward_head(self.forward_features(clips, mask), mask)
