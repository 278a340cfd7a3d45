"""FDP: class logits and a dynamic image from raw frames, without key frames or optical flow.

Provenance: P, arXiv 2509.06015. Shape letters and sources (P, R, O) are those of `fdp_lightning.models.fdp`.
Input: 8 aligned frames, 64×64, grey, values in 0..1 (by default).
Published (abstract): F1 above the best earlier result by 4.05 points on CASME II, 2.50 on SAMM, 7.71 on CAS(ME)² and
2.11 on CAS(ME)³; the released code chooses the epoch on the held-out subject. No absolute scores are on record here.
Unknown: the form of the scorer, the rank loss and its weight, how scores become weights, the inner layers of both heads
and the scale of the dynamic image; ours (O).
Deviations: a second order, poolings on running means and D at several resolutions (O); see README.md.

In the order of the data flow:
    Backbone     frames I_1..I_T → maps of each frame, at one or more resolutions         backbone.py, blocks.py
    head block   the coarsest map → F_t: the map itself, or one of 64×64                  `Map64`
    RankScorer   F_t → s_t, trained so that s_1 < … < s_T                                 rank_losses.py
    RankPooling  maps and s → D, the dynamic representation, at each resolution           rank_pooling.py
    MERHead      D → logits
    UNet         D → dynamic image                                                        image_head.py
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fdp_lightning.models.fdp.blocks import MapShape
from fdp_lightning.models.fdp.rank_pooling import READS, RankPooling
from fdp_lightning.models.frame_mask import Mask, masked, mean_over_time, onset_frames, running_means

HEAD_BLOCKS = ("spatial", "map64")


@dataclass(frozen=True)
class FDPOutput:
    """Output of FDP for b clips of t frames.

    Attributes:
        logits: logits of the classes, (b, k).
        scores: rank scores, (b, t), by order ('chronological', 'intensity'), for the orders that the poolings read.
        representation: D at each resolution, fine to coarse, (b, c, h, w).
        dynamic_image: constructed dynamic image in [0, 1], (b, 1, h2, w2).
    """

    logits: Float[Tensor, "b k"]
    scores: dict[str, Float[Tensor, "b t"]]
    representation: Sequence[Float[Tensor, "b _ _ _"]]
    dynamic_image: Float[Tensor, "b 1 h2 w2"]

    @property
    def rank_scores(self) -> Float[Tensor, "b t"] | None:
        """Chronological scores; None if they are not computed."""
        return self.scores.get("chronological")


class FDP(nn.Module):
    """The complete network.

    Args:
        backbone: module that maps frames to maps, with `in_channels`, `map_shapes(image_size)` and
            `forward_maps(frames, finer)`.
        scorer: factory of a rank scorer from `in_channels`, `places`, `order` and `running_means`.
        mer_head: factory of the MER head from `maps` (channels and side of D at each resolution) and `classes`.
        dic_head: factory of the DIC head from `maps` and `image_side`.
        classes: number of classes or action units, k.
        image_size: side of the frames, pixels.
        frames: number of frames per clip, T.
        head_block: 'spatial' to keep the last map with its spatial layout (O), or 'map64' (R).
        finer_maps: strides (image pixels per position) of finer maps of the backbone that D is pooled from, in addition
            to the feature maps (O); if empty, D has only the resolution of the feature maps.
        pooling: one or more of `rank_pooling.POOLINGS`; their D are concatenated.
        running_means: score and pool the chronological order on running means (Fernando et al., TPAMI 2017; O).
        gate_temperature: temperature of the pooling 'gated'.
        mean: mean of all values of the training clips, subtracted from all colours of the frames.
        std: standard deviation of all values of the training clips, by which the frames are divided.

    Attributes:
        about: name and source, for the model card.
        inputs: kinds of `input` that it takes.
        representation: name of D.
    """

    about = "FDP, fine-grained dynamic perception (Shao et al., arXiv 2509.06015)"
    inputs = ("frames", "flow")
    representation = "dynamic representation"
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
        mean: float = 0.5,
        std: float = 0.25,
    ) -> None:
        super().__init__()
        if head_block not in HEAD_BLOCKS:
            raise ValueError(f"unknown head_block '{head_block}'; allowed are {', '.join(HEAD_BLOCKS)}")
        if frames < 1:
            raise ValueError(f"T = {frames} frames (data.sampling.frames); expected at least 1")
        self.backbone = backbone
        *finer, (channels, side) = self._maps_of(backbone, image_size, finer_maps)
        mapped = head_block == "map64"
        self.head_block = Map64(channels) if mapped else nn.Identity()
        feature = (1, Map64.side) if mapped else (channels, side)
        names = [pooling] if isinstance(pooling, str) else list(pooling)
        self.pooling = self.make_pooling(names, [*finer, feature], frames, running_means, gate_temperature)
        orders = sorted({READS[name] for name in names if name in READS})
        self.scorers = nn.ModuleDict(
            {
                order: scorer(in_channels=feature[0], places=feature[1] ** 2, order=order, running_means=running_means)
                for order in orders
            }
        )
        self.mer_head = mer_head(maps=self.pooling.maps, classes=classes)
        self.dic_head = dic_head(maps=self.pooling.maps, image_side=image_size)
        # Buffers, because they are fitted on the fold's training subjects and have to be in the checkpoint.
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(max(float(std), 1e-3)))
        shape = f"(b, {frames}, {backbone.in_channels}, {image_size}, {image_size})"
        self._summary = f"{type(self).__name__}: input {shape}, {classes} classes"

    make_pooling: Callable[..., nn.Module] = RankPooling
    """Factory of the pooling from names, maps, T, `running_means` and `gate_temperature`."""

    def _maps_of(self, backbone: Any, image_size: int, finer: Sequence[int]) -> list[MapShape]:
        """Return the shapes of the maps that D is pooled from, fine to coarse."""
        *strides, last = shapes = backbone.map_shapes(image_size)
        self.finer_maps = sorted(finer)
        unknown = set(finer) - set(strides)
        if unknown or len(set(finer)) < len(finer):
            raise ValueError(
                f"finer_maps={list(finer)}; expected different ones of the backbone's strides "
                f"{', '.join(map(str, strides))} (image pixels per position; {last} is that of the feature maps)"
            )
        return [shapes[stride] for stride in (*self.finer_maps, last)]

    def forward(self, clips: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> FDPOutput:
        """Map clips of t frames to logits, scores, D and dynamic image.

        Args:
            clips: frames with values in 0..1.
            mask: real frames, at least one per clip; None if all are.
        """
        return self.forward_head(self.forward_features(clips, mask), mask)

    def forward_features(self, clips: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> list[Tensor]:
        """Return the maps at each resolution, fine to coarse, (b, t, d, h2, w2); zero at frames that are not real."""
        b, t, c, _, _ = clips.shape
        clips = (clips - self.mean) / self.std
        if c == 1:
            clips = clips.expand(-1, -1, self.backbone.in_channels, -1, -1)  # grey frames for a colour backbone
        # One pass over all frames, so that batch statistics cover all of them (O), but only over real frames, so that
        # padding does not affect the statistics.
        *finer, last = self.backbone.forward_maps(clips.flatten(0, 1) if mask is None else clips[mask], self.finer_maps)
        maps = [*finer, self.head_block(last)]  # n d h2 w2
        if mask is None:
            return [of_level.unflatten(0, (b, t)) for of_level in maps]
        return [
            real.new_zeros(b, t, *real.shape[1:]).masked_scatter(mask[:, :, None, None, None], real) for real in maps
        ]

    def forward_head(self, maps: Sequence[Float[Tensor, "b t _ _ _"]], mask: Mask | None = None) -> FDPOutput:
        """Score the frames, pool D by the scores, and apply both heads."""
        scores = {order: scorer(maps[-1], mask) for order, scorer in self.scorers.items()}
        representation = self.forward_pooling(maps, scores, mask)
        return FDPOutput(
            scores=scores,
            representation=representation,
            logits=self.mer_head(representation),
            dynamic_image=self.dic_head(representation),
        )

    def represent(self, clips: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b d"]:
        """Return D of all resolutions as one row per clip."""
        return torch.cat([of_level.flatten(1) for of_level in self.forward(clips).representation], dim=1)

    def forward_pooling(
        self, maps: Sequence[Float[Tensor, "b t _ _ _"]], scores: dict[str, Tensor], mask: Mask | None = None
    ) -> list[Tensor]:
        """Return D at each resolution, fine to coarse, (b, d, h2, w2)."""
        return self.pooling(maps, scores, mask)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        """Return one line for the network and one for each part, with their numbers of parameters."""

        def count(module: nn.Module) -> str:
            return f"{sum(parameter.numel() for parameter in module.parameters()):,}"

        parts = [f"\n  {name}: {type(part).__name__}, {count(part)}" for name, part in self.named_children()]
        return f"{self._summary}, {count(self)} parameters{''.join(parts)}"


class Map64(nn.Module):
    """Global average, then a linear layer to 4096 values, read as one 64×64 map (R)."""

    side = 64

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_channels, self.side**2)
        nn.init.trunc_normal_(self.project.weight, std=0.02)  # like the backbone (R)
        nn.init.zeros_(self.project.bias)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 64 64"]:
        """Return one map per frame, whose positions are outputs of the linear layer."""
        return self.project(maps.mean(dim=(2, 3))).unflatten(1, (1, self.side, self.side))


ORDERS = ("chronological", "intensity")


class RankScorer(nn.Module):
    """`s_t = g(X_t)`, one score per frame (P; form O): 1×1 convolution to few channels, ReLU, linear over positions.

    `X_t` is the frame relative to its clip, so the scorer never sees the identity, and a still clip has flat scores
    even before training:
        chronological   `V_t - mean_t V_t` with V the running means, or `F_t - mean_t F_t` (with which a reversed clip
                        has reversed scores, even before training)
        intensity       `F_t - F_1`, the change since the onset frame

    On running means, a score also depends on the number of averaged frames, because their noise falls with t: τ of
    reversed clips is lower than τ of forward ones, but not its negative. `running_means=False` removes this cue.

    Positions matter here as in the MER head: averaged over the face, a rising brow is lost among all that does not
    move. (Measured on the synthetic set: with an average over positions, Kendall's τ stayed at 0, see
    experiments/LOG.md.)

    Args:
        in_channels: channels of the frame features, c.
        places: number of positions of the frame features, h·w.
        hidden: channels per position after the convolution.
        order: 'chronological' or 'intensity'.
        running_means: score the chronological order on running means.
        centred: False to score the chronological order on uncentred features, which include the identity (ablation).
    """

    def __init__(
        self,
        in_channels: int,
        places: int,
        hidden: int = 8,
        order: str = "chronological",
        running_means: bool = True,
        centred: bool = True,
    ) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden={hidden} of the scorer; expected at least 1")
        self.order, self.running_means, self.centred = order, running_means, centred
        self.mix = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True), nn.Flatten()
        )
        # No bias: adding a constant to all scores changes neither the loss nor the pooling.
        self.score = nn.Linear(hidden * places, 1, bias=False)

    def forward(self, features: Float[Tensor, "b t c h w"], mask: Mask | None = None) -> Float[Tensor, "b t"]:
        """Score each frame; scores are 0 at frames that are not real."""
        # In the precision of the weights, without autocast, because the scores of a clip are close together.
        features = features.to(torch.promote_types(features.dtype, self.score.weight.dtype))
        with torch.autocast(features.device.type, enabled=False):
            return self._scores(self._relative(features, mask), mask)

    def _relative(self, features: Tensor, mask: Mask | None) -> Tensor:
        if self.order == "intensity":
            return features - onset_frames(features, mask)
        if self.running_means:
            features = running_means(features, mask)
        return features - mean_over_time(features, mask) if self.centred else features

    def _scores(self, features: Tensor, mask: Mask | None) -> Tensor:
        b, t = features.shape[:2]
        if mask is None:
            return self.score(self.mix(features.flatten(0, 1))).reshape(b, t)
        # Only real frames, so that padding does not affect the batch statistics.
        scores = features.new_zeros(b, t)
        scored = self.score(self.mix(features[mask])).squeeze(1)
        return masked(scores.masked_scatter(mask, scored), mask)


class MERHead(nn.Module):
    """Micro-expression recognition: class logits from D (P; the layers are O).

    Each resolution that is read has a batch norm, a 1×1 convolution to few channels and one linear layer over all
    positions; the logits are summed. Positions matter: a brow and a mouth corner differ in where they move.

    Args:
        maps: channels and side of D at each resolution, fine to coarse.
        classes: number of classes, k.
        reads: number of resolutions to read, starting from the coarsest.
        hidden: channels per position after the convolution.
        dropout: dropout probability before the linear layers.
    """

    def __init__(
        self, maps: Sequence[MapShape], classes: int, reads: int = 2, hidden: int = 16, dropout: float = 0.3
    ) -> None:
        super().__init__()
        check_mer_head(classes, hidden, dropout)
        if reads < 1:
            raise ValueError(f"reads={reads} of the MER head; expected at least 1")
        self.readings = nn.ModuleList(
            nn.Sequential(
                # D is a difference over time and small; batch norm rescales it for the layers.
                nn.BatchNorm2d(channels),
                nn.Conv2d(channels, hidden, 1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU(inplace=True),
                nn.Flatten(),
                nn.Dropout(dropout),
                nn.Linear(hidden * side**2, classes),
            )
            for channels, side in maps[-reads:]
        )

    def forward(self, representation: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b k"]:
        """Map D of all resolutions to logits."""
        maps = representation[-len(self.readings) :]
        return torch.stack([reading(d) for reading, d in zip(self.readings, maps, strict=True)]).sum(dim=0)


def check_mer_head(classes: int, hidden: int, dropout: float) -> None:
    """Raise ValueError for sizes that are invalid for any MER head."""
    if classes < 2 or hidden < 1:
        raise ValueError(f"MER head of {classes} classes and {hidden} hidden channels; expected at least 2 and 1")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout} of the MER head; expected at least 0 and below 1")
