"""Augmentation by a user's own transforms, in grey and colour: nothing may move that stood still, or change places."""

import albumentations as A
import numpy as np
import pytest

from fdp_lightning.data.loading.augment import ClipAugmentation, check_transform
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
    [
        {},
        *({**NONE, name: value} for name, value in ONE_BY_ONE.items()),
        {**NONE, "transforms": OWN},
        {"transforms": OWN},
    ],
    ids=["usual", *ONE_BY_ONE, "own alone", "own too"],
)
def test_a_clip_that_does_not_move_stays_exactly_so_under_every_setting(options, colours):
    augmentation = ClipAugmentation(**options)
    still = np.repeat(clip(colours)[:1], 8, axis=0)
    changed = [augmentation(still, seed) for seed in range(12)]
    assert all((frames == frames[0]).all() for frames in changed)
    assert any(not np.array_equal(frames, still) for frames in changed)


@pytest.mark.parametrize("colours", [0, 3])
def test_frames_keep_their_order_shape_and_type(colours):
    augmentation = ClipAugmentation(transforms=[A.GaussianBlur(p=0.5), A.RandomGamma(p=0.5)])
    for seed in range(12):
        frames = augmentation(clip(colours), seed)
        assert (frames.shape, frames.dtype) == (clip(colours).shape, np.uint8)
        assert (np.diff(frames.reshape(8, -1).mean(axis=1)) > 0.5).all()


def test_colours_are_changed_together():
    grey = clip()
    coloured = np.repeat(grey[..., None], 3, axis=-1)
    augmentation = ClipAugmentation()
    for seed in range(5):
        assert np.array_equal(augmentation(coloured, seed), np.repeat(augmentation(grey, seed)[..., None], 3, axis=-1))


def test_own_transforms_are_drawn_by_the_seed():
    first, second = (ClipAugmentation(**NONE, transforms=[A.GaussNoise(p=1.0)]) for _ in range(2))
    assert np.array_equal(first(clip(), 3), second(clip(), 3))
    assert not np.array_equal(first(clip(), 3), first(clip(), 4))


class NoiseOfItsOwn(A.ImageOnlyTransform):
    """Noise for each frame."""

    def apply(self, img, **params):
        return np.clip(img + self.random_generator.integers(-9, 9, img.shape), 0, 255).astype(np.uint8)


class Backwards(A.ImageOnlyTransform):
    """Time runs backwards."""

    def apply(self, img, **params):
        return img

    def apply_to_images(self, images, **params):
        return images[::-1].copy()


class Unseeded(A.ImageOnlyTransform):
    """One draw for all frames, which no seed decides."""

    def apply(self, img, **params):
        return img

    def apply_to_images(self, images, **params):
        return images // np.random.randint(1, 200)


class Fails(A.ImageOnlyTransform):
    """Takes nothing."""

    def apply(self, img, **params):
        raise ValueError("no such picture")


@pytest.mark.parametrize(
    ("transform", "what"),
    [
        (NoiseOfItsOwn(p=0.01), "NoiseOfItsOwn draws for each frame"),
        (A.OneOf([NoiseOfItsOwn(p=1.0)], p=0.01), "OneOf draws for each frame"),
        (A.Sequential([NoiseOfItsOwn(p=0.01)], p=0.01), "Sequential draws for each frame"),
        (Backwards(p=0.01), "Backwards changes a frame by the frames around it, or their order"),
        (Unseeded(p=1.0), "Unseeded draws from elsewhere than the seed"),
        (Fails(p=1.0), "Fails takes neither grey nor coloured frames: no such picture"),
        ("albumentations.GaussianBlur", "expected transforms of albumentations"),
    ],
)
def test_a_transform_that_breaks_the_order_of_time_is_refused(transform, what):
    with pytest.raises(UserError, match=rf"data\.augmentation\.transforms.*{what}"):
        ClipAugmentation(transforms=[transform])


def test_the_probe_leaves_a_transform_as_it_was():
    seldom = A.GaussianBlur(p=0.25)
    check_transform(seldom)
    assert seldom.p == 0.25


@pytest.mark.parametrize("transform", [A.RandomCrop(16, 16, p=1.0), A.Normalize(p=1.0)])
def test_a_transform_that_gives_other_frames_back_is_refused(transform):
    augmentation = ClipAugmentation(**NONE, transforms=[transform])
    with pytest.raises(UserError, match=r"data\.augmentation turns frames of \(32, 32, 1\) uint8 into"):
        augmentation(clip(), 0)


def test_a_transform_for_colour_takes_colour_and_refuses_grey():
    augmentation = ClipAugmentation(**NONE, transforms=[A.ISONoise(p=1.0)])
    assert not np.array_equal(augmentation(clip(3), 0), clip(3))
    with pytest.raises(UserError, match=r"data\.augmentation does not take frames of shape \(32, 32, 1\)"):
        augmentation(clip(), 0)
