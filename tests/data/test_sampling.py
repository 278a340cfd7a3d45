"""What the model sees of a clip: rules keep the order, a clip is changed as one, and all follows from the seed."""

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
    """Frames of a clip, and the position of its apex."""
    n_frames = draw(st.integers(1, 200))
    return n_frames, draw(st.integers(0, n_frames - 1))


@given(clips(), counts, st.sampled_from(RULES), st.sampled_from(SHORT), st.booleans(), st.integers(0, 2**32))
def test_no_rule_loses_the_order_or_leaves_the_clip(
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
        assert np.allclose(places + places[::-1], 2 * apex)  # the same on both sides
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


def test_random_phases_reach_every_frame_evenly_and_are_drawn_one_by_one() -> None:
    draw, sampling = np.random.default_rng(0), Sampling(4, "random_phase")
    places = np.stack([sampling.positions(20, draw=draw) for _ in range(2000)])
    shares = np.bincount(places.ravel(), minlength=20) / 2000
    assert shares == pytest.approx(0.2, abs=0.04)
    assert np.abs(np.corrcoef(places.T) - np.eye(4)).max() < 0.1
    assert sampling.positions(20).tolist() == uniform(20, 4).tolist()  # held-out clips
    assert sampling.positions(4, draw=draw).tolist() == [0, 1, 2, 3]
    assert sampling.positions(2, draw=draw).tolist() == uniform(2, 4).tolist()


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "floor"])
def test_a_clip_shorter_than_asked_for_is_blended_evenly_or_repeated(rule: str) -> None:
    # Apex in the middle: there every rule spreads its frames evenly over the clip.
    blended = Sampling(9, rule, "interpolate").positions(5, apex=2, draw=np.random.default_rng(0))
    assert blended.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    repeated = Sampling(9, rule).positions(5, apex=2)
    assert repeated.tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4]
    assert Sampling(5, rule, "interpolate").positions(5, apex=2).tolist() == [0, 1, 2, 3, 4]
    assert Sampling(9, rule, "interpolate").positions(1).tolist() == [0] * 9
    with pytest.raises(UserError, match=r"data\.sampling\.frames"):
        Sampling(8, rule).positions(0)


def test_an_apex_is_placed_among_the_frames_that_are_there() -> None:
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


def test_flip_framing_and_light_are_drawn_independently_of_one_another() -> None:
    rows, columns = np.mgrid[:64, :64]
    still = np.repeat((60 + rows + 40 * (columns >= 32)).astype(np.uint8)[None], 2, axis=0)
    augmentation = ClipAugmentation(0.5, shift=0.2, scale=0, rotate=0, brightness=0, contrast=0.3)
    # The seeds of clips in an epoch, as the loader makes them.
    seeds = [int(np.random.SeedSequence([3, 0, clip]).generate_state(1)[0]) for clip in range(1000)]
    left, right = (np.array([augmentation(still, seed)[0] for seed in seeds]).astype(float)[:, :, c] for c in (0, 63))
    flipped = right[:, 32] < left[:, 32]
    contrast = (right[:, 43] - right[:, 20]) / 23
    downwards = 32 - (np.minimum(left, right)[:, 32] / contrast - 60)
    assert 0.45 < flipped.mean() < 0.55
    assert contrast.std() > 0.15 and downwards.std() > 6
    between = np.corrcoef([flipped, contrast, downwards])[np.triu_indices(3, 1)]
    assert np.abs(between).max() < 0.1  # three standard errors; 0.87 where one number decides two of them
