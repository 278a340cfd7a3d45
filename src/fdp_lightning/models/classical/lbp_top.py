"""LBP-TOP: local binary patterns on three orthogonal planes of a clip, and a support vector classifier.

Provenance: Zhao and Pietikäinen, "Dynamic texture recognition using local binary patterns with an application to facial
expressions", TPAMI 29, 2007. The defaults are the settings of the CASME II baseline (Yan et al., PLoS ONE 9, 2014): 5×5
blocks, radii 1, 1, 4 in x, y and time, 4,425 values, a linear classifier. The MEB suite (arXiv 2211.11425) has 8×8
blocks that overlap by .7, radii 3, 3, 3, ten frames of 112×112, 11,328 values and a polynomial kernel. Except for the
kernel: `model.blocks=8 model.overlap=0.7 model.radii=[3,3,3] data.sampling.frames=10 data.faces.size=112`.

Each pixel is compared with 8 neighbours on an ellipse in its plane (xy, xt or yt), by bilinear interpolation between
pixels; a neighbour that is not darker sets a bit. Of the 256 patterns, the 58 with at most two changes around the
circle have a bin each; all others share one. Each histogram (one per block and plane) is normalised to a sum of 1.

Input: 16 frames, 64×64, by default.
Published: MEGC 2019 UF1 .5882, UAR .5785; CD6ME, by MEB, mean F1 .137. Scores on CASME II that leave out one clip
rather than one subject are not comparable.
Unknown: the penalty C; 1 is ours.
Deviations: faces have `data.faces.size` pixels; frames are sampled evenly, and short clips are interpolated linearly,
where the original uses TIM, a graph embedding.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from fdp_lightning.models.classical.svc import LINEAR, FeatureClassifier, SVCSettings

NEIGHBOURS = 8
BINS = NEIGHBOURS * (NEIGHBOURS - 1) + 3
_PLANES = ((1, 2), (0, 2), (0, 1))
"""Axes of (t, h, w) that span each plane: xy, xt, yt."""


class LBPTOPClassifier(FeatureClassifier):
    """A support vector classifier on LBP-TOP features.

    Args:
        classes: number of classes of the protocol, k.
        settings: settings of the classifier.
        blocks: blocks along each side of the face.
        overlap: overlap of neighbouring blocks as a fraction of their side, at least 0 and below 1.
        radii: radii of the neighbours in x and y, pixels, and in time, frames.
        frames: frames per clip, t.
        image_size: side of the frames, pixels.

    Raises:
        ValueError: blocks, overlap or radii are out of range, or the frames too few or too small for them.
    """

    inputs = ("frames",)

    def __init__(
        self,
        classes: int = 3,
        settings: SVCSettings = LINEAR,
        blocks: int = 5,
        overlap: float = 0.0,
        radii: Sequence[int] = (1, 1, 4),
        frames: int = 16,
        image_size: int = 64,
    ) -> None:
        super().__init__(classes, settings)
        if not 0 <= overlap < 1 or blocks < 1 or len(radii) != 3 or min(radii) < 1:
            raise ValueError(
                f"LBP-TOP blocks={blocks}, overlap={overlap}, radii={list(radii)}; expected at least one block, an "
                "overlap from 0 to below 1, and three radii of at least 1"
            )
        least = 2 * max(radii[:2]) + blocks
        if frames <= 2 * radii[2] or image_size < least:
            raise ValueError(
                f"LBP-TOP with radii {list(radii)} and {blocks} blocks per side got {frames} frames of {image_size} "
                f"pixels; expected data.sampling.frames of at least {2 * radii[2] + 1}, and {least} pixels"
            )
        self.blocks, self.overlap, self.radii = blocks, overlap, tuple(radii)

    def features(self, x: Shaped[np.ndarray, "n t c h w"]) -> Float[np.ndarray, "n d"]:
        """Compute the LBP-TOP features of each clip from its frames, with colours averaged; d = 3 · 59 · blocks²."""
        return np.stack([self._of_clip(clip.mean(axis=1, dtype=np.float64)) for clip in x])

    def _of_clip(self, clip: Float[np.ndarray, "t h w"]) -> Float[np.ndarray, " d"]:
        radius_x, radius_y, radius_t = self.radii
        codes = [patterns(clip, plane, (radius_t, radius_y, radius_x)) for plane in _PLANES]
        _, h, w = codes[0].shape
        return np.concatenate(
            [
                np.bincount(of_plane[:, rows, columns].ravel(), minlength=BINS) / of_plane[:, rows, columns].size
                for rows in self._blocks(h)
                for columns in self._blocks(w)
                for of_plane in codes
            ]
        )

    def _blocks(self, side: int) -> list[slice]:
        """Return the blocks along one side; together they cover it."""
        length = side / (1 + (self.blocks - 1) * (1 - self.overlap))
        starts = np.arange(self.blocks) * length * (1 - self.overlap)
        return [slice(round(start), max(round(start) + 1, round(start + length))) for start in starts]


def patterns(
    clip: Float[np.ndarray, "t h w"], plane: tuple[int, int], radii: tuple[int, int, int]
) -> Int[np.ndarray, "t2 h2 w2"]:
    """Return the bins, 0..58, of the pixels whose neighbours in all planes are inside the clip.

    Args:
        clip: grey values.
        plane: its two axes, numbers of the axes of `clip`.
        radii: radius along each axis of `clip`, frames or pixels.
    """
    inner = tuple(slice(radius, size - radius) for radius, size in zip(radii, clip.shape, strict=True))
    centre, first, second = clip[inner], *plane
    codes = np.zeros(centre.shape, np.int64)
    for k in range(NEIGHBOURS):
        angle = 2 * np.pi * k / NEIGHBOURS
        down, right = -radii[first] * np.sin(angle), radii[second] * np.cos(angle)
        # Interpolate differences, not values: where all pixels are equal, the sum is exactly 0.
        difference = np.zeros(centre.shape)
        for step_down, weight_down in _between(down):
            for step_right, weight_right in _between(right):
                shift = [0, 0, 0]
                shift[first], shift[second] = step_down, step_right
                there = tuple(
                    slice(part.start + step, part.stop + step) for part, step in zip(inner, shift, strict=True)
                )
                difference += weight_down * weight_right * (clip[there] - centre)
        codes |= (difference >= 0).astype(np.int64) << k
    return _BIN_OF[codes]


def _between(place: float) -> list[tuple[int, float]]:
    """Return the whole steps around a position, and their interpolation weights."""
    place = round(place, 9)  # the cosine of a right angle is not quite 0
    low = int(np.floor(place))
    return [(low, 1.0)] if place == low else [(low, low + 1 - place), (low + 1, place - low)]


def _uniform_bins() -> Int[np.ndarray, " 256"]:
    """Return the bin of each pattern: one for each pattern with at most two changes, the last for all others."""
    bits = np.arange(2**NEIGHBOURS)[:, None] >> np.arange(NEIGHBOURS) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(axis=1) <= 2
    return np.where(uniform, np.cumsum(uniform) - 1, BINS - 1)


_BIN_OF = _uniform_bins()
