"""Sampling and augmentation: frames stay in order, a clip is changed as a whole, and the seed determines everything."""

from typing import Any

import albumentations as A
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdp_lightning.data.annotations.clips import apex_numbers, apex_position
from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.sampling import (
    BY_APEX,
    RULES,
    SHORT,
    Sampling,
    around_apex,
    onset_apex_offset,
    random_phase,
    uniform,
)
from fdp_lightning.errors import UserError

counts = st.integers(1, 24)


@st.composite
def clips(draw: st.DrawFn) -> tuple[int, int]:
    """Draw the number of frames of a clip and the position of its apex."""
    n_frames = draw(st.integers(1, 200))
    return n_frames, draw(st.integers(0, n_frames - 1))


@given(clips(), counts, st.sampled_from(RULES), st.sampled_from(SHORT), st.booleans(), st.integers(0, 2**32))
def test_every_rule_keeps_the_order_and_stays_within_the_clip(
    clip: tuple[int, int], count: int, rule: str, short: str, knows_apex: bool, seed: int
) -> None:
    n_frames, apex = clip
    places = Sampling(count, rule, short).positions(n_frames, apex if knows_apex else None, np.random.default_rng(seed))
    if rule == "floor" and n_frames < count:
        assert places.shape == (0,)
        return
    assert places.shape == (count,)
    assert (np.diff(places) >= 0).all()
    assert places[0] >= 0 and places[-1] <= n_frames - 1
    blends = short == "interpolate" and n_frames < count and rule != "floor"
    assert places.dtype == (np.float64 if blends else np.int64)
    if rule in BY_APEX:
        plain = Sampling(count, "uniform", short).positions(n_frames)
        assert np.array_equal(Sampling(count, rule, short).positions(n_frames), plain)  # without an apex


@given(clips(), counts)
def test_a_window_around_the_apex_reaches_as_far_as_the_nearer_end(clip: tuple[int, int], count: int) -> None:
    n_frames, apex = clip
    places = around_apex(n_frames, count, apex)
    reach = min(apex, n_frames - 1 - apex)
    if count == 1:
        assert places == [apex]
    elif 2 * reach + 1 >= count:
        assert (places[0], places[-1]) == (apex - reach, apex + reach)
        assert np.allclose(places + places[::-1], 2 * apex)  # symmetric about the apex
    else:
        assert places.tolist() == pytest.approx(
            np.linspace(places[0], places[0] + min(count, n_frames) - 1, count).tolist()
        )
        assert places[0] <= apex <= places[-1]
    if n_frames >= count:
        assert len(set(Sampling(count, "around_apex").positions(n_frames, apex).tolist())) == count


@given(clips(), st.integers(3, 24))
def test_phases_are_each_spread_evenly_and_meet_at_the_apex(clip: tuple[int, int], count: int) -> None:
    n_frames, apex = clip
    few = [Sampling(n, "onset_apex_offset").positions(n_frames, apex).tolist() for n in (3, 2, 1)]
    assert few == [[0, apex, n_frames - 1], [0, apex], [apex]]
    places = onset_apex_offset(n_frames, count, apex)
    assert (places[0], places[count // 2], places[-1]) == (0, apex, n_frames - 1)
    for phase in (places[: count // 2 + 1], places[count // 2 :]):
        assert np.diff(phase) == pytest.approx(np.ptp(phase) / (len(phase) - 1), abs=1e-9)


@given(counts, st.integers(0, 180), st.integers(0, 2**32))
def test_random_phases_are_one_frame_of_each_segment(count: int, more: int, seed: int) -> None:
    n_frames = count + more
    for i, place in enumerate(random_phase(n_frames, count, np.random.default_rng(seed))):
        assert i * n_frames // count <= place < (i + 1) * n_frames // count


def test_random_phases_are_uniform_and_independent() -> None:
    draw, sampling = np.random.default_rng(0), Sampling(4, "random_phase")
    places = np.stack([sampling.positions(20, draw=draw) for _ in range(2000)])
    shares = np.bincount(places.ravel(), minlength=20) / 2000
    assert shares == pytest.approx(0.2, abs=0.04)
    assert np.abs(np.corrcoef(places.T) - np.eye(4)).max() < 0.1
    assert sampling.positions(20).tolist() == uniform(20, 4).tolist()  # held-out clips
    assert sampling.positions(4, draw=draw).tolist() == [0, 1, 2, 3]
    assert sampling.positions(2, draw=draw).tolist() == uniform(2, 4).tolist()


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "floor"])
def test_frames_of_a_short_clip_are_interpolated_or_repeated(rule: str) -> None:
    # With the apex in the middle, every rule spreads its frames evenly over the clip.
    blended = Sampling(9, rule, "interpolate").positions(5, apex=2, draw=np.random.default_rng(0))
    assert blended.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    repeated = Sampling(9, rule).positions(5, apex=2)
    assert repeated.tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4]
    assert Sampling(5, rule, "interpolate").positions(5, apex=2).tolist() == [0, 1, 2, 3, 4]
    assert Sampling(9, rule, "interpolate").positions(1).tolist() == [0] * 9


def test_the_apex_is_assigned_to_the_nearest_existing_frame() -> None:
    numbers = np.array([46, 47, 50, 51])
    assert [apex_position(numbers, apex) for apex in (46, 48, 49, 50, 51, np.nan)] == [0, 1, 2, 2, 3, None]
    table = pd.DataFrame({"onset": [46, 46, 46], "apex": pd.array([48, None, 52], dtype="Int64"), "offset": [51] * 3})
    np.testing.assert_array_equal(apex_numbers(table), [48, np.nan, np.nan])


@given(st.integers(1, 400), st.integers(2, 64))
def test_sampling_spans_the_clip_in_order_and_evenly(n_frames: int, count: int) -> None:
    places = uniform(n_frames, count)
    assert places.shape == (count,)
    assert (places[0], places[-1]) == (0, n_frames - 1)
    steps = np.diff(places)
    assert (steps >= 0).all()
    assert steps.max() - steps.min() <= 1
    assert len(set(places.tolist())) == min(n_frames, count)


def test_flip_shift_and_contrast_are_drawn_independently() -> None:
    rows, columns = np.mgrid[:64, :64]
    still = np.repeat((60 + rows + 40 * (columns >= 32)).astype(np.uint8)[None], 2, axis=0)
    augmentation = ClipAugmentation(0.5, shift=0.2, scale=0, rotate=0, brightness=0, contrast=0.3)
    # Seeds of the clips of an epoch, derived as in the loader.
    seeds = [int(np.random.SeedSequence([3, 0, clip]).generate_state(1)[0]) for clip in range(1000)]
    left, right = (np.array([augmentation(still, seed)[0] for seed in seeds]).astype(float)[:, :, c] for c in (0, 63))
    flipped = right[:, 32] < left[:, 32]
    contrast = (right[:, 43] - right[:, 20]) / 23
    downwards = 32 - (np.minimum(left, right)[:, 32] / contrast - 60)
    assert 0.45 < flipped.mean() < 0.55
    assert contrast.std() > 0.15 and downwards.std() > 6
    between = np.corrcoef([flipped, contrast, downwards])[np.triu_indices(3, 1)]
    assert np.abs(between).max() < 0.1  # three standard errors; 0.87 if one draw decides two of them


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
def test_a_still_clip_stays_still_under_every_augmentation(options: dict[str, Any], colours: int) -> None:
    augmentation = ClipAugmentation(**options)
    still = np.repeat(clip(colours)[:1], 8, axis=0)
    changed = [augmentation(still, seed) for seed in range(12)]
    assert all((frames == frames[0]).all() for frames in changed)
    assert any(not np.array_equal(frames, still) for frames in changed)


def test_augmentation_depends_only_on_the_seed() -> None:
    augmentation = ClipAugmentation()
    first = augmentation(clip(), 7)
    assert not np.array_equal(augmentation(clip(), 8), first)
    assert np.array_equal(augmentation(clip(), 7), first) and np.array_equal(ClipAugmentation()(clip(), 7), first)
    assert np.array_equal(augmentation(clip()[2:5], 7), first[2:5])  # independent of the number of frames


class NoiseOfItsOwn(A.ImageOnlyTransform):
    """Add different noise to each frame."""

    def apply(self, img: np.ndarray, **params) -> np.ndarray:
        return np.clip(img + self.random_generator.integers(-9, 9, img.shape), 0, 255).astype(np.uint8)


class Backwards(NoiseOfItsOwn):
    """Reverse the order of the frames."""

    def apply_to_images(self, images: np.ndarray, **params) -> np.ndarray:
        return images[::-1].copy()


class Unseeded(NoiseOfItsOwn):
    """Use one draw for all frames, independent of the seed."""

    def apply_to_images(self, images: np.ndarray, **params) -> np.ndarray:
        return images // np.random.randint(1, 200)


@pytest.mark.parametrize(
    ("transform", "what"),
    [
        (NoiseOfItsOwn(p=0.01), "NoiseOfItsOwn draws separately for each frame"),
        (A.OneOf([NoiseOfItsOwn(p=1.0)], p=0.01), "OneOf draws separately for each frame"),
        (Backwards(p=0.01), "Backwards changes a frame depending on its neighbours"),
        (Unseeded(p=1.0), "Unseeded depends on more than the seed"),
        ("albumentations.GaussianBlur", "expected transforms of albumentations"),
    ],
)
def test_transforms_that_treat_frames_differently_are_refused(transform: Any, what: str) -> None:
    with pytest.raises(UserError, match=rf"data\.augmentation\.transforms.*{what}"):
        ClipAugmentation(transforms=[transform])
