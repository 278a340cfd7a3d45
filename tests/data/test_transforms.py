"""Augmentation by a user's own transforms, in grey and colour: nothing may move that stood still, or change places."""

from typing import Any

import albumentations as A
import numpy as np
import pytest

from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.errors import UserError

NONE = {"flip": 0, "shift": 0, "scale": 0, "rotate": 0, "brightness": 0, "contrast": 0}
ONE_BY_ONE = {"flip": 0.5, "shift": 0.1, "scale": 0.2, "rotate": 20.0, "brightness": 0.3, "contrast": 0.3}
OWN = [A.GaussianBlur(p=0.5), A.GaussNoise(p=0.5), A.RandomGamma(p=0.5), A.CoarseDropout(p=0.5)]


def clip(colours: int = 0) -> np.ndarray:
    """Eight frames of texture, each brighter than the one before by two."""
    shape = (32, 32, colours) if colours else (32, 32)
    texture = np.random.default_rng(0).integers(60, 160, shape)
    return (texture + 2 * np.arange(8).reshape(8, *[1] * len(shape))).astype(np.uint8)


@pytest.mark.parametrize("colours", [0, 3])
@pytest.mark.parametrize(
    "options",
    [{}, *({**NONE, name: value} for name, value in ONE_BY_ONE.items()), {"transforms": OWN}],
    ids=["usual", *ONE_BY_ONE, "own too"],
)
def test_a_clip_that_does_not_move_stays_exactly_so_under_every_setting(options: dict[str, Any], colours: int) -> None:
    augmentation = ClipAugmentation(**options)
    still = np.repeat(clip(colours)[:1], 8, axis=0)
    changed = [augmentation(still, seed) for seed in range(12)]
    assert all((frames == frames[0]).all() for frames in changed)
    assert any(not np.array_equal(frames, still) for frames in changed)


def test_the_seed_decides_the_change_alone() -> None:
    augmentation = ClipAugmentation()
    first = augmentation(clip(), 7)
    assert not np.array_equal(augmentation(clip(), 8), first)
    assert np.array_equal(augmentation(clip(), 7), first) and np.array_equal(ClipAugmentation()(clip(), 7), first)
    assert np.array_equal(augmentation(clip()[2:5], 7), first[2:5])  # nor does the number of frames


class NoiseOfItsOwn(A.ImageOnlyTransform):
    """Noise for each frame."""

    def apply(self, img: np.ndarray, **params) -> np.ndarray:
        return np.clip(img + self.random_generator.integers(-9, 9, img.shape), 0, 255).astype(np.uint8)


class Backwards(NoiseOfItsOwn):
    """Time runs backwards."""

    def apply_to_images(self, images: np.ndarray, **params) -> np.ndarray:
        return images[::-1].copy()


class Unseeded(NoiseOfItsOwn):
    """One draw for all frames, which no seed decides."""

    def apply_to_images(self, images: np.ndarray, **params) -> np.ndarray:
        return images // np.random.randint(1, 200)


class Fails(A.ImageOnlyTransform):
    """Takes nothing."""

    def apply(self, img: np.ndarray, **params) -> np.ndarray:
        raise ValueError("no such picture")


@pytest.mark.parametrize(
    ("transform", "what"),
    [
        (NoiseOfItsOwn(p=0.01), "NoiseOfItsOwn draws anew for each frame"),
        (A.OneOf([NoiseOfItsOwn(p=1.0)], p=0.01), "OneOf draws anew for each frame"),
        (A.Sequential([NoiseOfItsOwn(p=0.01)], p=0.01), "Sequential draws anew for each frame"),
        (Backwards(p=0.01), "Backwards changes a frame depending on its neighbours"),
        (Unseeded(p=1.0), "Unseeded does not depend on the seed"),
        (Fails(p=1.0), "Fails accepts neither grey nor colour frames: no such picture"),
        ("albumentations.GaussianBlur", "expected transforms of albumentations"),
    ],
)
def test_a_transform_that_breaks_the_order_of_time_is_refused(transform: Any, what: str) -> None:
    with pytest.raises(UserError, match=rf"data\.augmentation\.transforms.*{what}"):
        ClipAugmentation(transforms=[transform])


def test_a_transform_for_colour_takes_colour_and_refuses_grey() -> None:
    augmentation = ClipAugmentation(**NONE, transforms=[A.ISONoise(p=1.0)])
    assert not np.array_equal(augmentation(clip(3), 0), clip(3))
    with pytest.raises(UserError, match=r"data\.augmentation does not accept frames of shape \(32, 32, 1\)"):
        augmentation(clip(), 0)
