"""FDP: fine-grained dynamic perception (P: Shao et al., arXiv 2509.06015, ACM TOMM 2025).

Raw frames in, no key frames, no optical flow: a feature map per frame, a rank score per frame, one dynamic
representation pooled by the scores, and two heads.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fdp_lightning.models.backbone import Backbone
from fdp_lightning.models.head_block import Map64, Spatial
from fdp_lightning.models.rank.pooling import POOLINGS, pool, pooling_weights

HEAD_BLOCKS = {"spatial": Spatial, "map64": Map64}


@dataclass(frozen=True)
class FDPOutput:
    """What FDP says of b clips of t frames.

    Attributes:
        logits: of the classes, (b, k).
        scores: the rank scorer's, (b, t).
        representation: D, (b, c, h, w).
        dynamic_image: constructed, in [0, 1], (b, 1, h2, w2).
    """

    logits: Float[Tensor, "b k"]
    scores: Float[Tensor, "b t"]
    representation: Float[Tensor, "b c h w"]
    dynamic_image: Float[Tensor, "b 1 h2 w2"]


class FDP(nn.Module):
    """The whole network.

    Args:
        backbone: frames to maps.
        scorer: makes the rank scorer from `in_channels` and `places`.
        mer_head: makes the MER head from `in_channels`, `places` and `classes`.
        dic_head: makes the DIC head from `in_channels`, `map_side` and `image_side`.
        classes: k.
        image_size: side of the frames, pixels.
        head_block: 'spatial' or 'map64', see head_block.py.
        pooling: one of `rank.pooling.POOLINGS`.
        mean: of the grey values of the training clips, subtracted from the frames.
        std: of the grey values of the training clips, the frames are divided by it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        scorer: Callable[..., nn.Module],
        mer_head: Callable[..., nn.Module],
        dic_head: Callable[..., nn.Module],
        classes: int,
        image_size: int,
        head_block: str = "spatial",
        pooling: str = "score",
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        if head_block not in HEAD_BLOCKS:
            raise ValueError(f"unknown head_block '{head_block}'; allowed are {', '.join(HEAD_BLOCKS)}")
        if pooling not in POOLINGS:
            raise ValueError(f"unknown pooling '{pooling}'; allowed are {', '.join(POOLINGS)}")
        if image_size % backbone.stride:
            raise ValueError(f"image size {image_size} is no multiple of the backbone's stride {backbone.stride}")
        self.pooling = pooling
        self.backbone = backbone
        self.head_block = HEAD_BLOCKS[head_block](backbone.out_channels)
        channels = self.head_block.out_channels
        side = image_size // backbone.stride if head_block == "spatial" else Map64.side
        self.scorer = scorer(in_channels=channels, places=side**2)
        self.mer_head = mer_head(in_channels=channels, places=side**2, classes=classes)
        self.dic_head = dic_head(in_channels=channels, map_side=side, image_side=image_size)
        # Buffers: fitted on the training subjects of the fold, they travel with the checkpoint.
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(max(float(std), 1e-3)))

    def forward_features(self, clips: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t d h2 w2"]:
        """A feature map for each frame. Time is folded into the batch: one pass over all b·t frames (O)."""
        b, t = clips.shape[:2]
        frames = (clips.flatten(0, 1) - self.mean) / self.std  # b·t c h w
        return self.head_block(self.backbone(frames)).unflatten(0, (b, t))

    def forward_head(self, features: Float[Tensor, "b t d h2 w2"]) -> FDPOutput:
        """Scores, the representation pooled by them, and both heads."""
        scores = self.scorer(features)
        representation = pool(features, pooling_weights(self.pooling, scores))
        return FDPOutput(
            scores=scores,
            representation=representation,
            logits=self.mer_head(representation),
            dynamic_image=self.dic_head(representation),
        )

    def forward(self, clips: Float[Tensor, "b t c h w"]) -> FDPOutput:
        """Clips of t frames with values in 0..1."""
        return self.forward_head(self.forward_features(clips))
