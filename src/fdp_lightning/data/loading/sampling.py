"""Which T frames of a clip the model sees.

References:
    [1] Zhou, Zhao & Pietikäinen, "Towards a practical lipreading system", CVPR 2011: the temporal interpolation model.
    [2] Wang et al., "Temporal segment networks", ECCV 2016: one frame from each of T segments.
"""

from dataclasses import dataclass

import numpy as np

from fdp_lightning.errors import UserError

RULES = ("uniform", "floor", "around_apex", "onset_apex_offset", "random_phase")
BY_APEX = ("around_apex", "onset_apex_offset")
SHORT = ("repeat", "interpolate")


def uniform(n_frames: int, count: int) -> np.ndarray:
    """`count` frame positions spread evenly over the whole clip, first and last frame included.

    A clip shorter than `count` repeats frames; order is never lost. (Ours; for the released code's rule see `floor`.)

    Args:
        n_frames: frames in the clip, at least 1.
        count: frames asked for, T >= 1.

    Returns:
        Integer positions, shape (T,), ascending, within 0..n_frames-1.
    """
    return _whole(_evenly(n_frames, count))


def floor(n_frames: int, count: int) -> np.ndarray:
    """Every (n // T)-th frame from the first one, as the released code of FDP takes them. Only to reproduce it.

    The tail of a clip is never seen: up to half of it, where n is just below 2 T.
    A clip shorter than T has no such frames and vanishes.

    Args:
        n_frames: frames in the clip, n >= 1.
        count: frames asked for, T >= 1.

    Returns:
        Integer positions `i * (n // T)`, shape (T,), ascending; shape (0,) where the clip vanishes.
    """
    _require(n_frames, count)
    return np.arange(count if n_frames >= count else 0) * (n_frames // count)


def around_apex(n_frames: int, count: int, apex: int) -> np.ndarray:
    """Even steps over a window about the apex that reaches as far to either side as the nearer end of the clip.

    The window holds at least T frames where the clip does: near an end it is pushed inwards, and the apex is then not
    in its middle. T = 1 is the apex. (Ours.)

    Args:
        n_frames: frames in the clip, n >= 1.
        count: frames asked for, T >= 1.
        apex: position of the apex frame, 0..n-1.

    Returns:
        Real positions, shape (T,), ascending, within 0..n-1.
    """
    _require(n_frames, count)
    reach = min(apex, n_frames - 1 - apex) if count > 1 else 0
    first, last = apex - reach, apex + reach
    if last - first + 1 < count:
        first = min(max(apex - (count - 1) // 2, 0), max(n_frames - count, 0))
        last = min(first + count, n_frames) - 1
    return np.linspace(first, last, count)


def onset_apex_offset(n_frames: int, count: int, apex: int) -> np.ndarray:
    """Even steps from the onset to the apex, and from there to the offset: T = 3 is exactly these three frames.

    The apex is frame T // 2 of the T, counted from 0: the middle one of an odd T; an even T has one frame more before
    the apex than after it, so T = 2 is onset and apex. T = 1 is the apex. A phase with fewer frames than its share
    repeats some. (Ours.)

    Args:
        n_frames: frames in the clip, n >= 1.
        count: frames asked for, T >= 1.
        apex: position of the apex frame, 0..n-1.

    Returns:
        Real positions, shape (T,), ascending, within 0..n-1.
    """
    _require(n_frames, count)
    before = count // 2
    rise = np.linspace(apex, 0, before + 1)[::-1]  # backwards: a single step is then the apex
    return np.concatenate([rise, np.linspace(apex, n_frames - 1, count - before)[1:]])


def random_phase(n_frames: int, count: int, draw: np.random.Generator) -> np.ndarray:
    """One frame at random from each of T equal segments of the clip [2].

    Segment i is frames `i·n // T` to `(i+1)·n // T - 1`, so that every frame is in one and none is drawn twice.

    Args:
        n_frames: frames in the clip, n >= T.
        count: frames asked for, T >= 1.
        draw: where the randomness comes from.

    Returns:
        Integer positions, shape (T,), strictly ascending, within 0..n-1.
    """
    _require(n_frames, count)
    edges = np.arange(count + 1) * n_frames // count
    return draw.integers(edges[:-1], edges[1:])


def _evenly(n_frames: int, count: int) -> np.ndarray:
    _require(n_frames, count)
    return np.linspace(0, n_frames - 1, count)


def _whole(places: np.ndarray) -> np.ndarray:
    return places.round().astype(np.int64)


def _require(n_frames: int, count: int) -> None:
    if n_frames < 1 or count < 1:
        raise UserError(f"cannot sample {count} of {n_frames} frames (data.sampling.frames must be at least 1)")


@dataclass(frozen=True)
class Sampling:
    """How frames are sampled from every clip.

    Args:
        frames: T.
        rule: one of `RULES`. The two of `BY_APEX` sample a clip whose apex is unknown like 'uniform'.
            'random_phase' is for training: without a draw it is 'uniform' as well.
        short: what a clip shorter than T does. 'repeat': frames come more than once; 'interpolate': they are blended
            at the rule's even steps, in the manner of TIM [1], which resamples a clip along a curve through its
            frames; ours blends the two neighbouring frames linearly. 'floor' ignores it: there such clips vanish.
    """

    frames: int = 8
    rule: str = "uniform"
    short: str = "repeat"

    def __post_init__(self) -> None:
        if not isinstance(self.frames, int) or isinstance(self.frames, bool) or self.frames < 1:
            raise UserError(f"data.sampling.frames is {self.frames!r}; expected a whole number of at least 1")
        for name, value, allowed in (("rule", self.rule, RULES), ("short", self.short, SHORT)):
            if value not in allowed:
                raise UserError(f"data.sampling.{name} is '{value}'; expected one of {', '.join(allowed)}")

    @property
    def by_apex(self) -> bool:
        """Whether the rule asks where the apex is."""
        return self.rule in BY_APEX

    @property
    def at_random(self) -> bool:
        """Whether the rule draws other frames in every epoch of the training."""
        return self.rule == "random_phase"

    def positions(self, n_frames: int, apex: int | None = None, draw: np.random.Generator | None = None) -> np.ndarray:
        """The positions in a clip.

        Args:
            n_frames: frames in the clip.
            apex: position of its apex frame, 0..n_frames-1; None where it is unknown.
            draw: of 'random_phase'; None: its fixed frames.

        Returns:
            Shape (T,), ascending; shape (0,) where the rule has none for the clip. Whole numbers, int64, unless
            the clip is shorter than T and `short` is 'interpolate': float64, to be read by blending neighbours.
        """
        if self.rule == "floor":
            return floor(n_frames, self.frames)
        # A clip of T frames or fewer has one way alone to be cut into T.
        if self.at_random and draw is not None and n_frames > self.frames:
            return random_phase(n_frames, self.frames, draw)
        if self.by_apex and apex is not None:
            by_apex = around_apex if self.rule == "around_apex" else onset_apex_offset
            places = by_apex(n_frames, self.frames, apex)
        else:
            places = _evenly(n_frames, self.frames)
        return places if self.short == "interpolate" and n_frames < self.frames else _whole(places)
