"""Time courses of clips: the activation of each part in each frame."""

from __future__ import annotations

from math import ceil, floor
from typing import Protocol

import numpy as np

# Fractions of the clip and of its peak (ours).
APEX_RANGE, RESIDUAL_RANGE = (0.4, 0.7), (0.3, 0.8)
WILD_APEX_RANGE, WILD_SHARE = (0.2, 0.8), (0.45, 0.6)
WILD_RISE = (0.25, 0.75)  # of the motion's frames
WILD_SPEED, WILD_HESITATION = (0.6, 1.4), (0.0, 0.8)


class Course(Protocol):
    """Time course of a clip, drawn on construction.

    Attributes:
        residual: motion left in the last frame, as a fraction of its peak.
    """

    residual: float

    def __init__(self, frames: int, rng: np.random.Generator) -> None: ...

    def part(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the activation 0..1 of a unit over time, (frames,)."""
        ...


class PlainCourse:
    """Moves from the first frame to the last, with the apex near the middle.

    The coded offset is rarely a neutral face: if an expression fades slowly, CASME's coders took the last frame that
    changes visibly (Yan et al., "CASME database", FG 2013). The residual motion distinguishes the end of a clip from
    its beginning: it is the only signal in the order of the frames.
    """

    def __init__(self, frames: int, rng: np.random.Generator) -> None:
        self.frames = frames
        self.residual = float(rng.uniform(*RESIDUAL_RANGE))
        self.apex = rng.uniform(*APEX_RANGE) * (frames - 1)

    def part(self, rng: np.random.Generator) -> np.ndarray:
        """Rise smoothly from 0 to 1 at the unit's own apex, then fall to the residual."""
        apex = float(np.clip(round(self.apex + 0.04 * self.frames * rng.uniform(-1, 1)), 2, self.frames - 3))
        sharpness = rng.uniform(0.9, 1.4)
        time = np.arange(self.frames)
        rise = _ease(np.clip(time / apex, 0, 1) ** sharpness)
        fall = _ease(np.clip((time - apex) / (self.frames - 1 - apex), 0, 1))
        return np.where(time <= apex, rise, 1 - (1 - self.residual) * fall)


class WildCourse:
    """Rests, moves for at most 60 % of the frames, and rests again, without any motion left at the end.

    The apex is anywhere in the middle 60 % of the clip, so that neither a fixed frame nor a fixed weight of each frame
    finds the motion. Rise and fall differ in length and speed and may hesitate midway.

    Attributes:
        start: last frame at rest before the motion.
        end: first frame at rest after it.
    """

    residual = 0.0

    def __init__(self, frames: int, rng: np.random.Generator) -> None:
        self.frames = frames
        last = frames - 1
        moving = floor(rng.uniform(*WILD_SHARE) * frames)
        least, most = ceil(WILD_APEX_RANGE[0] * last), floor(WILD_APEX_RANGE[1] * last)
        self.apex = int(rng.integers(least, most + 1))
        rise = round(rng.uniform(*WILD_RISE) * (moving + 1))
        # At least two frames at rest at either end; possible for any apex of a clip of eight frames or more.
        rise = int(np.clip(rise, max(1, moving + 2 + self.apex - last), min(moving, self.apex - 1)))
        self.start = self.apex - rise
        self.end = self.start + moving + 1

    def part(self, rng: np.random.Generator) -> np.ndarray:
        """Rise from 0 to 1 at the apex and fall to 0 again, up to a frame later and earlier than the clip's window."""
        start, end = self.start + rng.uniform(0, 0.9), self.end - rng.uniform(0, 0.9)
        time = np.arange(self.frames)
        rise = _ease(_uneven(np.clip((time - start) / (self.apex - start), 0, 1), rng))
        fall = _ease(_uneven(np.clip((time - self.apex) / (end - self.apex), 0, 1), rng))
        return np.where(time <= self.apex, rise, 1 - fall)


COURSES: dict[str, type[Course]] = {"plain": PlainCourse, "wild": WildCourse}


def _ease(progress: np.ndarray) -> np.ndarray:
    """Ease from 0 to 1 with a soft start and a soft end."""
    return 0.5 - 0.5 * np.cos(np.pi * progress)


def _uneven(progress: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return progress at a varying speed, slow or fast at first and slow midway, still monotone from 0 to 1."""
    bent = progress ** rng.uniform(*WILD_SPEED)
    return bent + rng.uniform(*WILD_HESITATION) * np.sin(2 * np.pi * bent) / (2 * np.pi)
