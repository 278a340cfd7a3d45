"""Motion of a drawn clip over time: the activation of each part, and meaningless events (a blink, a turn)."""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from fdp_lightning.data.synthetic.action_units import Shade, Warp, gaussian, shade_field, warp_field

# Fractions of the clip and of its peak (ours).
APEX_RANGE, RESIDUAL_RANGE = (0.4, 0.7), (0.3, 0.8)
WILD_APEX_RANGE, WILD_SHARE = (0.2, 0.8), (0.45, 0.6)
WILD_RISE = (0.25, 0.75)  # of the motion's frames
WILD_SPEED, WILD_HESITATION = (0.6, 1.4), (0.0, 0.8)


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


COURSES: dict[str, type[PlainCourse | WildCourse]] = {"plain": PlainCourse, "wild": WildCourse}


def _ease(progress: np.ndarray) -> np.ndarray:
    """Ease from 0 to 1 with a soft start and a soft end."""
    return 0.5 - 0.5 * np.cos(np.pi * progress)


def _uneven(progress: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return progress at a varying speed, slow or fast at first and slow midway, still monotone from 0 to 1."""
    bent = progress ** rng.uniform(*WILD_SPEED)
    return bent + rng.uniform(*WILD_HESITATION) * np.sin(2 * np.pi * bent) / (2 * np.pi)


KINDS = {"none": 0.5, "blink": 0.25, "turn": 0.25}  # kind → share of the clips (ours)

# Both upper lids come down over the eyes (action unit 45); face units.
LIDS = (Warp(0.50, -0.08, 0.00, 0.10, 0.22, 0.10),)
LASHES = (Shade(0.50, 0.01, 0.17, 0.05, -0.10),)
BLINK_FRAMES = (3, 5)  # smallest and largest number of frames that differ from open eyes
BLINK_DEPTH = (0.7, 1.0)

# A turn moves the middle of the face but not the background: one half is compressed, the other stretched.
HEAD = (0.0, 0.5, 1.0, 1.4)  # centre and widths of a Gaussian, face units
TURN_SHIFT, TURN_TILT = (0.015, 0.035), 0.3  # of the middle of the face, face units; nodding as a fraction of it


@dataclass(frozen=True)
class Nuisance:
    """One event in a clip, a blink or a turn, and its strength 0..1 in each frame, 0 at the first.

    `shift` is that of the middle of the face at full strength, face units; (0, 0) for a blink.
    """

    kind: str
    course: np.ndarray
    shift: tuple[float, float] = (0.0, 0.0)

    def fields(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return displacement (h, w, 2) and relative brightness change (h, w) at full strength, at points (h, w, 2)."""
        if self.kind == "blink":
            return warp_field(points, LIDS), shade_field(points, LASHES)
        return gaussian(points, *HEAD)[..., None] * np.array(self.shift, np.float32), np.zeros(
            points.shape[:2], np.float32
        )


def draw_nuisance(frames: int, rng: np.random.Generator) -> Nuisance | None:
    """Draw the event of a clip and its time; None for no event."""
    kind = rng.choice([*KINDS], p=[*KINDS.values()])
    if kind == "none":
        return None
    return _blink(frames, rng) if kind == "blink" else _turn(frames, rng)


def _blink(frames: int, rng: np.random.Generator) -> Nuisance:
    """Draw a blink at any time except in the first and the last frame."""
    length = int(rng.integers(BLINK_FRAMES[0], BLINK_FRAMES[1] + 1))
    first = int(rng.integers(1, frames - length))
    course = np.zeros(frames)
    closing = np.sin(np.pi * np.arange(1, length + 1) / (length + 1))
    course[first : first + length] = rng.uniform(*BLINK_DEPTH) * closing
    return Nuisance("blink", course)


def _turn(frames: int, rng: np.random.Generator) -> Nuisance:
    """Draw a turn over the whole clip, to the left or right and a little up or down; every second one returns."""
    way = np.linspace(0, 1, frames) ** rng.uniform(0.7, 1.4)
    back = rng.random() < 0.5
    course = np.sin(np.pi * way) if back else 0.5 - 0.5 * np.cos(np.pi * way)
    shift = float(rng.uniform(*TURN_SHIFT) * rng.choice([-1, 1]))
    return Nuisance("turn", course, (shift, shift * float(rng.uniform(-TURN_TILT, TURN_TILT))))
