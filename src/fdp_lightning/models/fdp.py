"""FDP: fine-grained dynamic perception (P: Shao et al., arXiv 2509.06015, ACM TOMM 2025).

Raw frames in, no key frames, no optical flow: a feature map per frame, a rank score per frame, one dynamic
representation pooled by the scores, and two heads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fdp_lightning.models.frame_mask import Mask
from fdp_lightning.models.frame_norm import FrameBatchNorm, by_frame
from fdp_lightning.models.head_block import Map64, Spatial
from fdp_lightning.models.rank.pooling import BY_SCORES
from fdp_lightning.models.rank.pooling_modules import make_pooling
from fdp_lightning.models.released import scrambled

HEAD_BLOCKS: dict[str, type[Spatial] | type[Map64]] = {"spatial": Spatial, "map64": Map64}
FRAME_BATCHES = ("folded", "per_frame")


@dataclass(frozen=True)
class FDPOutput:
    """What FDP says of b clips of t frames.

    Attributes:
        logits: of the classes, (b, k).
        scores: the rank scorer's, (b, t); None without a scorer.
        representation: D, (b, c, h, w).
        dynamic_image: constructed, in [0, 1], (b, 1, h2, w2).
    """

    logits: Float[Tensor, "b k"]
    scores: Float[Tensor, "b t"] | None
    representation: Float[Tensor, "b c h w"]
    dynamic_image: Float[Tensor, "b 1 h2 w2"]


class FDP(nn.Module):
    """The whole network.

    Args:
        backbone: frames to maps; has `in_channels`, `out_channels` and `map_side(image_size)`.
        scorer: makes the rank scorer from `in_channels` and `places`.
        mer_head: makes the MER head from `in_channels`, `places` and `classes`.
        dic_head: makes the DIC head from `in_channels`, `map_side` and `image_side`.
        classes: k.
        image_size: side of the frames, pixels.
        frames: T, frames of a clip.
        head_block: 'spatial' or 'map64', see head_block.py.
        ranking: with the rank scorer, and so with a rank loss; the released code has neither (R).
        pooling: one of `rank.pooling_modules.POOLINGS`.
        scrambled_time: hand the pooling features whose time axis is scrambled, as the released code does (R).
        frame_batches: 'folded': one pass of the backbone over all b·t frames (O), so that batch statistics are of all
            frames; 'per_frame': one pass for each frame index, as the released code does (R).
        mean: of all values of the training clips, subtracted from the frames; one for all colours.
        std: of all values of the training clips, the frames are divided by it.

    Attributes:
        frames_at_once: carry out `frame_batches='per_frame'` so many frames at a time, with the statistics of one pass
            each; None: all.
    """

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
        ranking: bool = True,
        pooling: str = "score",
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
        if pooling in BY_SCORES and not ranking:
            raise ValueError(f"pooling={pooling} pools by rank scores and needs model.ranking=true")
        if frames < 1:
            raise ValueError(f"T = {frames} frames (data.sampling.frames); at least 1 is needed")
        self.frame_batches, self.scrambled_time = frame_batches, scrambled_time
        if frame_batches == "per_frame":
            by_frame(backbone)
        self.backbone = backbone
        head = HEAD_BLOCKS[head_block](backbone.out_channels)
        map_side = backbone.map_side(image_size)
        side = map_side if head_block == "spatial" else Map64.side
        pool = make_pooling(pooling, head.out_channels, side**2, frames)
        self.head_block = head
        self.scorer = scorer(in_channels=head.out_channels, places=side**2) if ranking else None
        self.pooling = pool
        self.mer_head = mer_head(in_channels=pool.out_channels, places=side**2, classes=classes)
        self.dic_head = dic_head(in_channels=pool.out_channels, map_side=side, image_side=image_size)
        # Buffers: fitted on the training subjects of the fold, they travel with the checkpoint.
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(max(float(std), 1e-3)))

    def forward_features(
        self, clips: Float[Tensor, "b t c h w"], mask: Mask | None = None
    ) -> Float[Tensor, "b t d h2 w2"]:
        """A feature map for each frame; zero for frames that are not real."""
        clips = (clips - self.mean) / self.std
        if clips.shape[2] == 1:
            clips = clips.expand(-1, -1, self.backbone.in_channels, -1, -1)  # grey to a backbone for colour
        if self.frame_batches == "per_frame":
            if mask is None and self._norms_by_frame(len(clips)):
                parts = clips.transpose(0, 1).split(self.frames_at_once or clips.shape[1])  # of (t b c h w)
                maps = [self.head_block(self.backbone(part.flatten(0, 1))) for part in parts]
                return torch.cat(maps).unflatten(0, (-1, len(clips))).transpose(0, 1)
            self._norms_by_frame(None)
            # A step without a real frame is an empty batch, of which batch norm takes no statistics.
            masks = [None] * clips.shape[1] if mask is None else mask.split(1, dim=1)
            steps = zip(clips.split(1, dim=1), masks, strict=True)
            return torch.cat([self._frame_features(*step) for step in steps], dim=1)
        return self._frame_features(clips, mask)

    def _norms_by_frame(self, clips: int | None) -> bool:
        """Let all batch norms of the backbone take statistics by frame index; False if they cannot, as those of DDP."""
        norms = [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]
        for norm in norms:
            if not isinstance(norm, FrameBatchNorm):
                return False
            norm.clips = clips
        return True

    def _frame_features(self, clips: Tensor, mask: Tensor | None) -> Tensor:
        b, t = clips.shape[:2]
        if mask is None:
            return self.head_block(self.backbone(clips.flatten(0, 1))).unflatten(0, (b, t))
        # Real frames alone, so that the others have no part in batch norm's statistics.
        real = self.head_block(self.backbone(clips[mask]))  # n d h2 w2
        features = real.new_zeros(b, t, *real.shape[1:])
        return features.masked_scatter(mask[:, :, None, None, None], real)

    def forward_head(self, features: Float[Tensor, "b t d h2 w2"], mask: Mask | None = None) -> FDPOutput:
        """Scores, the representation pooled by them, and both heads."""
        scores = None if self.scorer is None else self.scorer(features, mask)
        if self.scrambled_time:
            features = scrambled(features)
        representation = self.pooling(features, scores, mask)
        return FDPOutput(
            scores=scores,
            representation=representation,
            logits=self.mer_head(representation),
            dynamic_image=self.dic_head(representation),
        )

    def forward(self, clips: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> FDPOutput:
        """Clips of t frames with values in 0..1.

        Args:
            clips: frames of the clips.
            mask: of the real frames, at least one a clip; None: all are.
        """
        return self.forward_head(self.forward_features(clips, mask), mask)
