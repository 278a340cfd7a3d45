"""Meaningless events in some clips, independent of class and subject: a blink or a slow turn of the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fdp_lightning.data.synthetic.action_units import Shade, Warp, gaussian, shade_field, warp_field

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
    """One event in a clip.

    Attributes:
        kind: blink or turn.
        course: strength 0..1 in each frame, 0 at the first, shape (frames,).
        shift: shift of the middle of the face at full strength, face units; (0, 0) for a blink.
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
