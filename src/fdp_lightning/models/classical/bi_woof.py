"""Bi-WOOF: histograms of the directions of the flow onset→apex, weighted twice, and a support vector classifier.

Provenance: Liong, See, Wong and Phan, "Less is more: micro-expression recognition from video using apex frame", Signal
Processing: Image Communication 62, 2018; the authors' code (github.com/christy1206/biwoof). The face is cut into 5×5
blocks. In each, the directions of the flow are counted in 8 bins over -π..π, weighted by the flow's magnitude
(locally); the histogram, brought to a sum of 1, is weighted by the sum of the block's optical strain (globally). The
200 numbers are brought to a Euclidean length of 1.

Input: u, v and strain of the flow, not scaled: min-max would move the zero that directions are counted from. So the
public maps of `data=megc2019_flow` do not serve.
Published, MEGC 2019: UF1 .6296, UAR .6227.
Unknown: the classifier's kernel and penalty; a linear one with C = 1 is ours. The flow there is TV-L1, ours by default
DIS (`input.method`), on faces of `data.faces.size`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from fdp_lightning.models.classical.svc import LINEAR, FeatureClassifier, SVCSettings

CHANNELS = ("u", "v", "strain")


class BiWOOFClassifier(FeatureClassifier):
    """The features and a classifier on them.

    Args:
        classes: k, of the protocol.
        settings: of the classifier.
        blocks: along each side of the face.
        bins: of the directions.
        channels: of the maps, in order: u, v and strain.
        scale: of the maps, not by their extremes.
        in_channels: of the maps of all phases.
        image_size: side of the maps, pixels.

    Raises:
        ValueError: other maps than these three, maps without a zero, or too small ones.
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
        """Bi-WOOF of each clip, d = bins · blocks², from u, v and strain."""
        return np.stack([bi_woof(u, v, strain, self.blocks, self.bins) for u, v, strain in x.astype(np.float64)])


def bi_woof(
    u: Float[np.ndarray, "h w"], v: Float[np.ndarray, "h w"], strain: Float[np.ndarray, "h w"], blocks: int, bins: int
) -> Float[np.ndarray, " d"]:
    """Return the features of one clip, block after block; zero for a clip without motion or without strain.

    `u` and `v` are the displacements to the right and downwards; the first of the bins of directions begins at -π.
    """
    magnitude = np.hypot(u, v)
    turn = (np.arctan2(v, u) + np.pi) / (2 * np.pi)  # 0..1; 1 is the direction of 0
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
