"""Augmentation of whole clips with albumentations: one draw for all frames, so that no motion is added."""

import os
import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import cv2
import numpy as np

from fdp_lightning.errors import UserError

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import looks for a newer version online
import albumentations as A

_WHERE = "data.augmentation.transforms"


class ClipAugmentation:
    """Small changes of framing and lighting, drawn once per clip (albumentations' `images` target).

    Args:
        flip: probability of mirroring the face.
        shift: largest translation, as a fraction of the image.
        scale: largest change of size, as a fraction.
        rotate: largest rotation, degrees.
        brightness: largest change of brightness, as a fraction of the full range.
        contrast: largest change of contrast, as a fraction.
        transforms: further albumentations transforms, applied after these; see `check_transform`.
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
        # Flip and framing come first and always consume the same number of random values, so that their draws depend
        # neither on the other options nor on further transforms.
        move = {"translate_percent": (-shift, shift), "scale": (1 - scale, 1 + scale), "rotate": (-rotate, rotate)}
        framing = A.Affine(**move, interpolation=cv2.INTER_LINEAR, border_mode=cv2.BORDER_REPLICATE, p=1.0)
        light = A.RandomBrightnessContrast(brightness_limit=brightness, contrast_limit=contrast, p=1.0)
        self._draw = A.Compose([A.HorizontalFlip(p=flip), framing, light, *transforms])

    def __call__(self, frames: np.ndarray, seed: int) -> np.ndarray:
        """Return a clip, uint8, (t, h, w) or (t, h, w, 3), augmented as determined by the seed; UserError if a
        transform fails.
        """
        _reseed(self._draw, seed)
        given = frames if frames.ndim == 4 else frames[..., None]
        try:
            changed = self._draw(images=given)["images"]
        except (ValueError, cv2.error) as error:
            raise UserError(f"data.augmentation does not accept frames of shape {given.shape[1:]}: {error}") from error
        if changed.shape != given.shape or changed.dtype != np.uint8:
            raise UserError(
                f"data.augmentation turns frames of {given.shape[1:]} uint8 into {changed.shape[1:]} {changed.dtype}; "
                "expected transforms that keep size and type"
            )
        return np.asarray(changed.reshape(frames.shape))


def _reseed(draw: A.Compose, seed: int) -> None:
    """Let all transforms draw in turn from the same two generators. `Compose.set_random_seed` gives each transform its
    own generator with the same seed, so that a flipped clip would always have low contrast.
    """
    draw.set_random_state(np.random.default_rng(seed), random.Random(seed))


def check_transform(transform: Any) -> None:
    """Raise UserError if a transform adds motion to a clip or changes its order, by trying it on small clips.

    A still clip must stay exactly still, each part of a clip must be transformed as it is within the whole clip, and
    the result must depend on nothing but the seed.
    """
    name = type(transform).__name__
    if not isinstance(transform, A.BasicTransform | A.BaseCompose):
        raise UserError(
            f"data.augmentation.transforms holds {transform!r}; expected transforms of albumentations, "
            "for example [{_target_: albumentations.GaussianBlur, p: 0.2}]"
        )
    draw = A.Compose([_always(deepcopy(transform))])

    def changed(frames: np.ndarray, seed: int) -> np.ndarray:
        _reseed(draw, seed)
        return np.asarray(draw(images=frames)["images"])

    moving = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    trouble: Exception | None = None
    tried = 0
    for clip in (moving[..., :1], moving):
        still = np.repeat(clip[:1], 6, axis=0)
        for seed in range(8):
            try:
                stays, whole, part, again = (changed(c, seed) for c in (still, clip, clip[2:5], clip))
            except (ValueError, cv2.error) as error:  # some support only grey or only colour
                trouble = error
                break
            tried += 1
            if not (stays == stays[0]).all():
                raise UserError(f"{_WHERE}: {name} draws separately for each frame, which adds motion to a still face")
            if not np.array_equal(whole, again):
                raise UserError(f"{_WHERE}: {name} depends on more than the seed; no run could be repeated")
            if not np.array_equal(part, whole[2:5]):
                raise UserError(f"{_WHERE}: {name} changes a frame depending on its neighbours, or the frames' order")
    if not tried:
        raise UserError(f"{_WHERE}: {name} accepts neither grey nor colour frames: {trouble}") from trouble


def _always(transform: Any) -> Any:
    """Set the probability of the transform, and of those within it, to 1, so that every trial applies it; return it."""
    transform.p = 1.0
    for inner in getattr(transform, "transforms", ()):
        _always(inner)
    return transform
