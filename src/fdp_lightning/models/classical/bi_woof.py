"""Bi-WOOF: doubly weighted histograms of the directions of onset→apex flow, and a support vector classifier.

Provenance: Liong, See, Wong and Phan, "Less is more: micro-expression recognition from video using apex frame", Signal
Processing: Image Communication 62, 2018; the authors' code (github.com/christy1206/biwoof). The face is divided into
5×5 blocks. In each, the directions of the flow are counted in 8 bins over -π..π, weighted by the magnitude of the flow
(local weighting); the histogram, normalised to a sum of 1, is multiplied by the sum of the block's optical strain
(global weighting). The resulting 200 values are normalised to unit Euclidean length.

Input: u, v and strain of the flow, unscaled: min-max scaling would shift the zero that directions refer to. The public
maps of `data=megc2019_flow` are therefore unsuitable.
Published, MEGC 2019: UF1 .6296, UAR .6227.
Unknown: the classifier's kernel and penalty; a linear kernel with C = 1 is ours.
Deviations: the original flow is TV-L1; ours is DIS by default (`input.method`), on faces of `data.faces.size`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from fdp_lightning.models.classical.svc import LINEAR, FeatureClassifier, SVCSettings

CHANNELS = ("u", "v", "strain")


class BiWOOFClassifier(FeatureClassifier):
    """A support vector classifier on Bi-WOOF features.

    Args:
        classes: number of classes of the protocol, k.
        settings: settings of the classifier.
        blocks: blocks along each side of the face.
        bins: bins of the directions.
        channels: channels of the maps, which must be u, v and strain, in this order.
        scale: scaling of the maps (`input.scale`), any but 'clip_minmax'.
        in_channels: number of channels, all phases together.
        image_size: side of the maps, pixels.

    Raises:
        ValueError: the maps are others than these three, have lost their zero, or are too small.
    """

    inputs = ("apex_flow",)

    def __init__(
        self,
        classes: int = 3,
        settings: SVCSettings = LINEAR,
        blocks: int = 5,
        bins: int = 8,
        channels: Sequence[str] = CHANNELS,
        scale: str = "none",
        in_channels: int = 3,
        image_size: int = 64,
    ) -> None:
        super().__init__(classes, settings)
        if tuple(channels) != CHANNELS or in_channels != len(CHANNELS) or image_size < blocks:
            raise ValueError(
                f"Bi-WOOF of {blocks}×{blocks} blocks got {in_channels} maps of {image_size} pixels, "
                f"input.channels={list(channels)}; expected input.channels=[u,v,strain] of one phase, and a pixel for "
                "each block"
            )
        if scale == "clip_minmax":
            raise ValueError("Bi-WOOF got input.scale=clip_minmax, which moves the zero of directions; expected none")
        self.blocks, self.bins = blocks, bins

    def features(self, x: Shaped[np.ndarray, "n 3 h w"]) -> Float[np.ndarray, "n d"]:
        """Compute the Bi-WOOF features of each clip from u, v and strain; d = bins · blocks²."""
        return np.stack([bi_woof(u, v, strain, self.blocks, self.bins) for u, v, strain in x.astype(np.float64)])


def bi_woof(
    u: Float[np.ndarray, "h w"], v: Float[np.ndarray, "h w"], strain: Float[np.ndarray, "h w"], blocks: int, bins: int
) -> Float[np.ndarray, " d"]:
    """Compute the features of one clip, block after block; all zero if it has no motion or no strain.

    Args:
        u: displacement to the right, pixels.
        v: displacement downwards, pixels.
        strain: optical strain.
        blocks: blocks along each side.
        bins: bins of the directions, of which the first begins at -π.
    """
    magnitude = np.hypot(u, v)
    turn = (np.arctan2(v, u) + np.pi) / (2 * np.pi)  # 0..1; 1 is the same direction as 0
    direction = np.floor(turn * bins).astype(np.int64) % bins
    rows, columns = (np.arange(side) * blocks // side for side in u.shape)
    block = rows[:, None] * blocks + columns
    counts = np.bincount((block * bins + direction).ravel(), magnitude.ravel(), blocks**2 * bins)
    histograms = counts.reshape(-1, bins).astype(np.float64)
    motion = histograms.sum(axis=1, keepdims=True)
    histograms = histograms / np.where(motion > 0, motion, 1)
    weighted = (histograms * np.bincount(block.ravel(), strain.ravel(), blocks**2)[:, None]).ravel()
    length = np.linalg.norm(weighted)
    return weighted / length if length > 0 else weighted
