"""Regions of an aligned face: brows, eyes, nose, mouth, cheeks and chin, at the same place in all faces."""

from collections.abc import Mapping

import numpy as np
from skimage.draw import polygon2mask

from fdp_lightning.data.faces.alignment import TEMPLATE, alignment
from fdp_lightning.data.faces.prepare_clip import FaceSettings

Outline = tuple[tuple[float, float], ...]


def _box(left: float, top: float, right: float, bottom: float) -> Outline:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


OUTLINES: Mapping[str, Outline] = {
    "brows": _box(0.12, 0.18, 0.88, 0.36),
    "nose": (
        (0.42, 0.36), (0.58, 0.36), (0.60, 0.50), (0.67, 0.58),
        (0.67, 0.66), (0.33, 0.66), (0.33, 0.58), (0.40, 0.50),
    ),
    "eyes": _box(0.12, 0.36, 0.88, 0.50),
    "mouth": ((0.28, 0.66), (0.72, 0.66), (0.78, 0.74), (0.76, 0.86), (0.24, 0.86), (0.22, 0.74)),
    "chin": ((0.24, 0.86), (0.76, 0.86), (0.72, 1.00), (0.28, 1.00)),
    "cheeks": ((0.12, 0.50), (0.88, 0.50), (0.88, 0.66), (0.76, 0.86), (0.24, 0.86), (0.12, 0.66)),
}  # fmt: skip
"""Region → corners (x, y) of its outline, as fractions of an image aligned to `TEMPLATE`. A pixel belongs to the first
outline that contains it: the cheeks are what nose and mouth leave of the lower half. Ours, drawn by eye on synthetic
faces: the brow region covers raised brows too, and the mouth includes its corners."""

ELSEWHERE = "elsewhere"  # hair, neck and background: pixels in no outline


def face_regions(settings: FaceSettings, template: np.ndarray = TEMPLATE) -> dict[str, np.ndarray] | None:
    """Return disjoint masks, bool, (size, size), of `OUTLINES` and `ELSEWHERE`; None without landmarks."""
    if settings.method != "mtcnn":
        return None
    matrix = alignment(TEMPLATE, settings.size, settings.margin, template)
    free = np.ones((settings.size, settings.size), bool)
    masks = {}
    for name, outline in OUTLINES.items():
        x, y = matrix[:, :2] @ np.array(outline).T + matrix[:, 2:] - 0.5  # from edges to centres of pixels
        masks[name] = free & polygon2mask(free.shape, np.column_stack([y, x]))
        free &= ~masks[name]
    return {**masks, ELSEWHERE: free}


def shares(heat: np.ndarray, regions: Mapping[str, np.ndarray] | None) -> dict[str, float] | None:
    """Return the share of each region in a heat map, (h, w); None without regions, or if the map is all zero."""
    total = float(heat.sum(dtype=np.float64))
    if regions is None or total == 0:
        return None
    return {name: float(heat[mask].sum(dtype=np.float64)) / total for name, mask in regions.items()}
