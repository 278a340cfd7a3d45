"""Augmentation of whole clips: one draw for all frames, so that no motion is added and no order is lost."""

import os

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the network for its newest version
import albumentations as A


class ClipAugmentation:
    """Small changes of framing and light, drawn once per clip (albumentations' `images` target).

    Args:
        flip: probability of a mirrored face.
        shift: largest translation, as a fraction of the picture.
        scale: largest change of size, as a fraction.
        rotate: largest rotation, degrees.
        brightness: largest change of brightness, as a fraction of the full range.
        contrast: largest change of contrast, as a fraction.
    """

    def __init__(
        self,
        flip: float = 0.5,
        shift: float = 0.03,
        scale: float = 0.05,
        rotate: float = 4.0,
        brightness: float = 0.1,
        contrast: float = 0.1,
    ) -> None:
        self._draw = A.Compose(
            [
                A.HorizontalFlip(p=flip),
                A.Affine(
                    translate_percent=(-shift, shift),
                    scale=(1 - scale, 1 + scale),
                    rotate=(-rotate, rotate),
                    interpolation=cv2.INTER_LINEAR,
                    border_mode=cv2.BORDER_REPLICATE,
                    p=1.0,
                ),
                A.RandomBrightnessContrast(brightness_limit=brightness, contrast_limit=contrast, p=1.0),
            ]
        )

    def __call__(self, frames: np.ndarray, seed: int) -> np.ndarray:
        """Change a clip.

        Args:
            frames: uint8, shape (t, h, w).
            seed: the draw depends on it alone, so loader workers and their number change nothing.

        Returns:
            uint8, shape (t, h, w).
        """
        self._draw.set_random_seed(seed)
        return self._draw(images=frames[..., None])["images"][..., 0]
