"""Sampling of T frames from a clip.

References:
    [1] Zhou, Zhao & Pietikäinen, "Towards a practical lipreading system", CVPR 2011: the temporal interpolation model.
    [2] Wang et al., "Temporal segment networks", ECCV 2016: one frame from each of T segments.
"""

from dataclasses import dataclass

import numpy as np

from fdp_lightning.console.option_values import require_settings

RULES = ("uniform", "floor", "around_apex", "onset_apex_offset", "random_phase")
BY_APEX = ("around_apex", "onset_apex_offset")
SHORT = ("repeat", "interpolate")


def uniform(n_frames: int, count: int) -> np.ndarray:
    """Return T integer positions spread evenly over a clip, including its first and last frame (ours)."""
    return np.linspace(0, n_frames - 1, count).round().astype(np.int64)


def floor(n_frames: int, count: int) -> np.ndarray:
    """Return every (n // T)-th position, `i * (n // T)`, as in the released code of FDP. For reproduction only: up to
    half of a clip is never seen, and a clip shorter than T yields no frames and is dropped.
    """
    return np.arange(count if n_frames >= count else 0) * (n_frames // count)


def around_apex(n_frames: int, count: int, apex: int) -> np.ndarray:
    """Return T real positions, evenly spaced in a window around the position `apex` that reaches the nearer end of the
    clip (ours). Near an end the window is extended inwards to hold T frames if the clip has them. T = 1 gives the apex.
    """
    reach = min(apex, n_frames - 1 - apex) if count > 1 else 0
    first, last = apex - reach, apex + reach
    if last - first + 1 < count:
        first = min(max(apex - (count - 1) // 2, 0), max(n_frames - count, 0))
        last = min(first + count, n_frames) - 1
    return np.linspace(first, last, count)


def onset_apex_offset(n_frames: int, count: int, apex: int) -> np.ndarray:
    """Return T real positions, evenly spaced from onset to apex and from apex to offset; T = 3 gives just these frames.

    The apex is at index T // 2: if T is even, one more frame precedes it than follows; T = 1 gives the apex. A phase
    with fewer frames than its share repeats some. (Ours.)
    """
    before = count // 2
    rise = np.linspace(apex, 0, before + 1)[::-1]  # backwards, so that a single position is the apex
    return np.concatenate([rise, np.linspace(apex, n_frames - 1, count - before)[1:]])


def random_phase(n_frames: int, count: int, draw: np.random.Generator) -> np.ndarray:
    """Draw one position from each of T ≤ n equal segments of the clip [2], `i·n // T` to `(i+1)·n // T - 1`."""
    edges = np.arange(count + 1) * n_frames // count
    return draw.integers(edges[:-1], edges[1:])


@dataclass(frozen=True)
class Sampling:
    """Rule for sampling frames from every clip.

    Attributes:
        frames: number of frames T.
        rule: one of `RULES`. The two of `BY_APEX` sample clips with unknown apex like 'uniform'. 'random_phase' is for
            training; without a random generator it is like 'uniform' too.
        short: treatment of clips shorter than T. 'repeat': frames are repeated; 'interpolate': the two neighbouring
            frames are blended linearly at the rule's even steps (ours; TIM [1] resamples a clip along a curve through
            its frames). The rule 'floor' ignores this and drops such clips.
    """

    frames: int = 8
    rule: str = "uniform"
    short: str = "repeat"

    def __post_init__(self) -> None:
        require_settings("data.sampling", self)

    @property
    def by_apex(self) -> bool:
        return self.rule in BY_APEX

    @property
    def at_random(self) -> bool:
        return self.rule == "random_phase"

    def positions(self, n_frames: int, apex: int | None = None, draw: np.random.Generator | None = None) -> np.ndarray:
        """Return the positions to sample in a clip, ascending, (T,), or (0,) if the rule yields none: int64, or float64
        if a clip shorter than T is interpolated. `apex` is the position of the apex frame, None if unknown;
        without `draw`, 'random_phase' uses fixed frames.
        """
        if self.rule == "floor":
            return floor(n_frames, self.frames)
        # With T frames or fewer there is no choice.
        if self.at_random and draw is not None and n_frames > self.frames:
            return random_phase(n_frames, self.frames, draw)
        if self.by_apex and apex is not None:
            by_apex = around_apex if self.rule == "around_apex" else onset_apex_offset
            places = by_apex(n_frames, self.frames, apex)
        else:
            places = np.linspace(0, n_frames - 1, self.frames)
        if self.short == "interpolate" and n_frames < self.frames:
            return places
        return places.round().astype(np.int64)
