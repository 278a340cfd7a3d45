"""Augmentation of whole clips: one draw for all frames, so that no motion is added and no order is lost.

Flip, framing and light are drawn and computed as albumentations does, to the last bit, without its way of calling,
which takes most of the time (benchmarks/loading.py).
"""

import os
import random
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import cv2
import numpy as np

from fdp_lightning.errors import UserError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the network for its newest version
import albumentations as A
from albumentations.augmentations.geometric import functional as geometry


class ClipAugmentation:
    """Small changes of framing and light, drawn once per clip (albumentations' `images` target).

    Args:
        flip: probability of a mirrored face.
        shift: largest translation, as a fraction of the picture.
        scale: largest change of size, as a fraction.
        rotate: largest rotation, degrees.
        brightness: largest change of brightness, as a fraction of the full range.
        contrast: largest change of contrast, as a fraction.
        transforms: further transforms of albumentations, done after these.

    Raises:
        UserError: one of `transforms` does not act alike on all frames of a clip, see `check_transform`.
    """

    def __init__(
        self,
        flip: float = 0.5,
        shift: float = 0.03,
        scale: float = 0.05,
        rotate: float = 4.0,
        brightness: float = 0.1,
        contrast: float = 0.1,
        transforms: Sequence[Any] = (),
    ) -> None:
        for transform in transforms:
            check_transform(transform)
        self._flip = A.HorizontalFlip(p=flip)
        self._framing = A.Affine(
            translate_percent=(-shift, shift),
            scale=(1 - scale, 1 + scale),
            rotate=(-rotate, rotate),
            interpolation=cv2.INTER_LINEAR,
            border_mode=cv2.BORDER_REPLICATE,
            p=1.0,
        )
        self._light = A.RandomBrightnessContrast(brightness_limit=brightness, contrast_limit=contrast, p=1.0)
        self._all = A.Compose([self._flip, self._framing, self._light, *transforms])
        self._further = A.Compose([*transforms]) if transforms else None

    def __call__(self, frames: np.ndarray, seed: int) -> np.ndarray:
        """Change a clip.

        Args:
            frames: uint8, shape (t, h, w), or (t, h, w, 3) in colour.
            seed: the draw depends on it alone, so loader workers and their number change nothing.

        Returns:
            uint8, of the same shape.

        Raises:
            UserError: one of the transforms does not take such frames, or gives others back.
        """
        changed = self._built_in(frames, seed)
        return changed if self._further is None else _by_library(self._further, changed, seed)

    def by_library(self, frames: np.ndarray, seed: int) -> np.ndarray:
        """The same, all of it by albumentations: what tests and benchmarks compare with."""
        return _by_library(self._all, frames, seed)

    def _built_in(self, frames: np.ndarray, seed: int) -> np.ndarray:
        """Flip, framing and light as albumentations draws and computes them."""
        height, width = frames.shape[1:3]
        # Each transform of albumentations has a generator of its own, all seeded alike: each begins with these numbers.
        generator = random.Random(seed)
        drawn = [generator.random() for _ in range(7)]
        flipped = drawn[0] < self._flip.p
        matrix = self._matrix(drawn, height, width)
        coloured = frames.ndim == 4
        planes = [plane for frame in frames for plane in cv2.split(frame)] if coloured else list(frames)
        changed: list[np.ndarray] = []
        for few in _grouped(planes):
            # Frames lie as channels of a picture, so that one warp does for four.
            picture = cv2.merge(few)
            if flipped:
                picture = cv2.flip(picture, 1)
            changed += cv2.split(picture if matrix is None else _warp(picture, matrix))
        table = self._table(drawn)
        if coloured:
            return cv2.LUT(np.stack([cv2.merge(changed[i : i + 3]) for i in range(0, len(changed), 3)]), table)
        return cv2.LUT(np.stack(changed), table)

    def _matrix(self, drawn: list[float], height: int, width: int) -> np.ndarray | None:
        """Of shift, scale and rotation about the middle, shape (2, 3), as `A.Affine` has them; None: no change."""
        framing = self._framing
        shift, scale = framing.translate_percent, framing.scale
        whole = {
            "x": int(_between(shift["x"], drawn[0]) * width),
            "y": int(_between(shift["y"], drawn[1]) * height),
        }
        shear = {axis: -_between(framing.shear[axis], drawn[2 + i]) for i, axis in enumerate("xy")}
        scales = {axis: _between(scale[axis], drawn[4 + i]) for i, axis in enumerate("xy")}
        rotate = _between(framing.rotate, drawn[6])
        middle = geometry.center((height, width))
        matrix = geometry.create_affine_transformation_matrix(whole, shear, scales, rotate, middle)
        # An exact comparison takes longer than the rest; a matrix that shifts is none.
        return None if abs(matrix[0, 2]) < 1e-7 and geometry.is_identity_matrix(matrix) else matrix[:2]

    def _table(self, drawn: list[float]) -> np.ndarray:
        """Grey value → grey value, uint8, shape (256,), as `A.RandomBrightnessContrast` has it."""
        contrast = 1.0 + _between(self._light.contrast_limit, drawn[0])
        brightness = _between(self._light.brightness_limit, drawn[1]) * 255
        return np.clip(np.arange(256, dtype=np.float32) * contrast + brightness, 0, 255).astype(np.uint8)


def _between(limits: Any, drawn: float) -> float:
    """As `random.uniform` makes it of a number of 0..1."""
    least, most = limits
    return float(least + (most - least) * drawn)


_CHANNELS = 4
"""OpenCV warps pictures of up to so many channels alike, but for two: then and beyond that the last bit differs."""


def _grouped(planes: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Planes to warp together, as albumentations puts them together."""
    for first in range(0, len(planes), _CHANNELS):
        few = planes[first : first + _CHANNELS]
        if first and len(few) == 2:
            yield from ([plane] for plane in few)
        else:
            yield few


def _warp(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    sides = picture.shape[1::-1]
    return cv2.warpAffine(picture, matrix, sides, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _by_library(draw: A.Compose, frames: np.ndarray, seed: int) -> np.ndarray:
    draw.set_random_seed(seed)
    given = frames if frames.ndim == 4 else frames[..., None]
    try:
        changed = draw(images=given)["images"]
    except (ValueError, cv2.error) as error:
        raise UserError(f"data.augmentation does not take frames of shape {given.shape[1:]}: {error}") from error
    if changed.shape != given.shape or changed.dtype != np.uint8:
        raise UserError(
            f"data.augmentation turns frames of {given.shape[1:]} uint8 into {changed.shape[1:]} {changed.dtype}; "
            "expected transforms that keep size and type"
        )
    return np.asarray(changed.reshape(frames.shape))


def check_transform(transform: Any) -> None:
    """Refuse a transform that would add motion to a clip or change its order, by trying it on small clips.

    A clip that does not move must stay exactly so, a part of a clip must become the same as within the whole, and the
    seed alone must decide: a transform that draws for each frame, or looks at a frame's neighbours, fails.

    Args:
        transform: of albumentations.

    Raises:
        UserError: naming the transform and what it does.
    """
    name = type(transform).__name__
    if not isinstance(transform, A.BasicTransform | A.BaseCompose):
        raise UserError(
            f"data.augmentation.transforms holds {transform!r}; expected transforms of albumentations, "
            "for example [{_target_: albumentations.GaussianBlur, p: 0.2}]"
        )
    draw = A.Compose([_always(deepcopy(transform))])

    def changed(frames: np.ndarray, seed: int) -> np.ndarray:
        draw.set_random_seed(seed)
        return np.asarray(draw(images=frames)["images"])

    moving = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    trouble: Exception | None = None
    tried = 0
    for clip in (moving[..., :1], moving):
        still = np.repeat(clip[:1], 6, axis=0)
        for seed in range(8):
            try:
                stays, whole, part, again = (changed(c, seed) for c in (still, clip, clip[2:5], clip))
            except (ValueError, cv2.error) as error:  # some know grey or colour alone
                trouble = error
                break
            tried += 1
            if not (stays == stays[0]).all():
                raise UserError(f"{_WHERE}: {name} draws for each frame, which moves a face that is still")
            if not np.array_equal(whole, again):
                raise UserError(f"{_WHERE}: {name} draws from elsewhere than the seed; no run could be repeated")
            if not np.array_equal(part, whole[2:5]):
                raise UserError(f"{_WHERE}: {name} changes a frame by the frames around it, or their order")
    if not tried:
        raise UserError(f"{_WHERE}: {name} takes neither grey nor coloured frames: {trouble}") from trouble


def _always(transform: Any) -> Any:
    """The transform, and those within it, with probability 1: a rare one would seldom show what it does."""
    transform.p = 1.0
    for inner in getattr(transform, "transforms", ()):
        _always(inner)
    return transform


_WHERE = "data.augmentation.transforms"
