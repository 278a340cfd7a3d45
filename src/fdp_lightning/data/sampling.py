"""Which T frames of a clip the model sees."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fdp_lightning.errors import UserError


def uniform(n_frames: int, count: int) -> np.ndarray:
    """`count` frame positions spread evenly over the whole clip, first and last frame included.

    A clip shorter than `count` repeats frames; order is never lost. (Ours; for the released code's rule see `floor`.)

    Args:
        n_frames: frames in the clip, at least 1.
        count: frames asked for, T >= 1.

    Returns:
        Integer positions, shape (T,), ascending, within 0..n_frames-1.
    """
    _require(n_frames, count)
    return np.linspace(0, n_frames - 1, count).round().astype(np.int64)


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


def _require(n_frames: int, count: int) -> None:
    if n_frames < 1 or count < 1:
        raise UserError(f"cannot sample {count} of {n_frames} frames (data.sampling.frames must be at least 1)")


RULES: dict[str, Callable[[int, int], np.ndarray]] = {"uniform": uniform, "floor": floor}


@dataclass(frozen=True)
class Sampling:
    """How frames are sampled from every clip.

    Args:
        frames: T.
        rule: a name of `RULES`.
    """

    frames: int = 8
    rule: str = "uniform"

    def __post_init__(self) -> None:
        if not isinstance(self.frames, int) or isinstance(self.frames, bool) or self.frames < 1:
            raise UserError(f"data.sampling.frames is {self.frames!r}; expected a whole number of at least 1")
        if self.rule not in RULES:
            raise UserError(f"data.sampling.rule is '{self.rule}'; expected one of {', '.join(RULES)}")

    def positions(self, n_frames: int) -> np.ndarray:
        """The positions in a clip of so many frames, shape (T,); shape (0,) where the rule has none for it."""
        return RULES[self.rule](n_frames, self.frames)
