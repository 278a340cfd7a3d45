"""Planning and drawing of a clip: its motion, meaningless events (a blink or a turn of the head), and its frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from fdp_lightning.data.synthetic.action_units import (
    ACTION_UNITS,
    Action,
    Emotion,
    Shade,
    Warp,
    gaussian,
    is_midline,
    shade_field,
    warp_field,
)
from fdp_lightning.data.synthetic.identity import FACE_WIDTH, Framing, Identity, draw_framing

# Largest displacement in a clip at amplitude 1: log-normal, in pixels on a face 110 px wide (ours: a few pixels).
PEAK_MEDIAN, PEAK_SIGMA, PEAK_RANGE = 2.5, 0.35, (0.8, 4.5)
REFERENCE_UNIT = 110 / FACE_WIDTH  # pixels per face unit on that face

# Each clip starts from a slightly different resting face: small constant amounts of the units that carry the emotions,
# about as large as the average motion, so that the position of a brow is uninformative unless it moves. Unit → standard
# deviation in face units; less around the mouth, where many units add up.
REST = {1: 0.04, 2: 0.04, 4: 0.04, 6: 0.04, 7: 0.035, 9: 0.035}
REST |= {10: 0.025, 12: 0.03, 14: 0.03, 15: 0.03, 17: 0.03, 25: 0.02}
REST_LIMIT = 1.6  # standard deviations

# Standard deviations of nuisances at noise 1.
DRIFT_SHIFT, DRIFT_ANGLE, DRIFT_SCALE = 0.005, 0.0015, 0.0015  # face units, radians, ratio
DRIFT_SMOOTHNESS = 5.0  # frames
FLICKER, SENSOR_NOISE = 0.007, 1.5  # relative brightness, grey levels
NOISE_MARGIN = 48  # pixels by which the pre-drawn noise exceeds a frame

# Fractions of the clip and of its peak (ours).
APEX_RANGE, RESIDUAL_RANGE = (0.4, 0.7), (0.3, 0.8)
WILD_APEX_RANGE, WILD_SHARE = (0.2, 0.8), (0.45, 0.6)
WILD_RISE = (0.25, 0.75)  # fraction of the motion's frames
WILD_SPEED, WILD_HESITATION = (0.6, 1.4), (0.0, 0.8)


class PlainCourse:
    """Motion from the first frame to the last, with the apex near the middle.

    The coded offset is rarely neutral: CASME's coders took the last frame that changes visibly (Yan et al., FG 2013).
    The residual motion distinguishes the end of a clip from its beginning: it is the only signal in the frame order.
    """

    def __init__(self, frames: int, rng: np.random.Generator) -> None:
        self.frames = frames
        self.residual = float(rng.uniform(*RESIDUAL_RANGE))
        self.apex = rng.uniform(*APEX_RANGE) * (frames - 1)

    def part(self, rng: np.random.Generator) -> np.ndarray:
        """Return a smooth rise from 0 to 1 at the unit's own apex, followed by a fall to the residual."""
        apex = float(np.clip(round(self.apex + 0.04 * self.frames * rng.uniform(-1, 1)), 2, self.frames - 3))
        sharpness = rng.uniform(0.9, 1.4)
        time = np.arange(self.frames)
        rise = _ease(np.clip(time / apex, 0, 1) ** sharpness)
        fall = _ease(np.clip((time - apex) / (self.frames - 1 - apex), 0, 1))
        return np.where(time <= apex, rise, 1 - (1 - self.residual) * fall)


class WildCourse:
    """Rest, motion in at most 60 % of the frames, and rest again, without any residual motion.

    The apex is anywhere in the middle 60 % of the clip, so that neither a fixed frame nor a fixed weighting of frames
    captures the motion. `start` is the last frame at rest before the motion, `end` the first one after it.
    """

    residual = 0.0

    def __init__(self, frames: int, rng: np.random.Generator) -> None:
        self.frames = frames
        last = frames - 1
        moving = floor(rng.uniform(*WILD_SHARE) * frames)
        least, most = ceil(WILD_APEX_RANGE[0] * last), floor(WILD_APEX_RANGE[1] * last)
        self.apex = int(rng.integers(least, most + 1))
        rise = round(rng.uniform(*WILD_RISE) * (moving + 1))
        # At least two frames at rest at either end, which is possible for any apex in a clip of eight frames or more.
        rise = int(np.clip(rise, max(1, moving + 2 + self.apex - last), min(moving, self.apex - 1)))
        self.start = self.apex - rise
        self.end = self.start + moving + 1

    def part(self, rng: np.random.Generator) -> np.ndarray:
        """Return a rise from 0 to 1 at the apex and a fall back to 0, up to one frame inside the clip's window at
        either end.
        """
        start, end = self.start + rng.uniform(0, 0.9), self.end - rng.uniform(0, 0.9)
        time = np.arange(self.frames)
        rise = _ease(_uneven(np.clip((time - start) / (self.apex - start), 0, 1), rng))
        fall = _ease(_uneven(np.clip((time - self.apex) / (end - self.apex), 0, 1), rng))
        return np.where(time <= self.apex, rise, 1 - fall)


COURSES: dict[str, type[PlainCourse | WildCourse]] = {"plain": PlainCourse, "wild": WildCourse}


def _ease(progress: np.ndarray) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(np.pi * progress)


def _uneven(progress: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return progress at varying speed, slow or fast at first and slow midway, but monotone from 0 to 1."""
    bent = progress ** rng.uniform(*WILD_SPEED)
    return bent + rng.uniform(*WILD_HESITATION) * np.sin(2 * np.pi * bent) / (2 * np.pi)


KINDS = {"none": 0.5, "blink": 0.25, "turn": 0.25}  # kind → share of the clips (ours)

# Both upper lids move down over the eyes (action unit 45); face units.
LIDS = (Warp(0.50, -0.08, 0.00, 0.10, 0.22, 0.10),)
LASHES = (Shade(0.50, 0.01, 0.17, 0.05, -0.10),)
BLINK_FRAMES = (3, 5)  # smallest and largest number of frames in which the eyes are not fully open
BLINK_DEPTH = (0.7, 1.0)

# A turn moves the middle of the face but not the background: one half is compressed, the other is stretched.
HEAD = (0.0, 0.5, 1.0, 1.4)  # centre and widths of a Gaussian, face units
TURN_SHIFT, TURN_TILT = (0.015, 0.035), 0.3  # shift of the middle of the face, face units; nod as a fraction of it


@dataclass(frozen=True)
class Nuisance:
    """A blink or turn, its strength (0..1) in each frame, and its shift of the middle of the face in face units."""

    kind: str
    course: np.ndarray
    shift: tuple[float, float] = (0.0, 0.0)

    def fields(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return displacement (h, w, 2) and relative brightness change (h, w) at full strength, at points (h, w, 2)."""
        if self.kind == "blink":
            return warp_field(points, LIDS), shade_field(points, LASHES)
        moved = gaussian(points, *HEAD)[..., None] * np.array(self.shift, np.float32)
        return moved, np.zeros(points.shape[:2], np.float32)


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
    """Draw a turn over the whole clip, to the left or right and slightly up or down; half of the turns return."""
    progress = np.linspace(0, 1, frames) ** rng.uniform(0.7, 1.4)
    returns = rng.random() < 0.5
    course = np.sin(np.pi * progress) if returns else 0.5 - 0.5 * np.cos(np.pi * progress)
    shift = float(rng.uniform(*TURN_SHIFT) * rng.choice([-1, 1]))
    return Nuisance("turn", course, (shift, shift * float(rng.uniform(-TURN_TILT, TURN_TILT))))


@dataclass(frozen=True)
class ClipPlan:
    """Everything about a clip except its pixels."""

    emotion: str  # class name
    actions: tuple[Action, ...]  # units shown
    frames: int  # number of frames, onset and offset included
    framing: Framing  # position of the head
    rest: np.ndarray  # constant amount of each unit of REST, in face units
    parts: tuple[Action, ...]  # moving parts, one unit on one side each
    course: np.ndarray  # activation 0..1 of each part over time, shape (parts, frames)
    peak: float  # the clip's largest displacement at amplitude 1, in pixels on a face 110 px wide
    residual: float  # motion left at the offset, as a fraction of its peak
    nuisance: Nuisance | None = None  # meaningless additional event in some wild clips

    @property
    def moving(self) -> tuple[int, int]:
        """Indices of the first and the last frame in which a unit is not at rest."""
        frames = np.flatnonzero(self.course.max(axis=0))
        return int(frames[0]), int(frames[-1])


def plan_clip(
    emotion: Emotion,
    frames: tuple[int, int],
    usual: Framing,
    zoom: float,
    rng: np.random.Generator,
    course: str = "plain",
) -> ClipPlan:
    """Draw the plan of a clip of `frames` (least, most) frames; the order of draws is part of `GENERATOR_VERSION`.
    `usual` is the usual position of the subject's head, `zoom` the size of a frame relative to the reference.
    """
    length = int(rng.integers(frames[0], frames[1] + 1))
    actions = emotion.draw(rng)
    framing = draw_framing(usual, zoom, rng)
    rest = np.array([*REST.values()]) * np.clip(rng.standard_normal(len(REST)), -REST_LIMIT, REST_LIMIT)
    peak = float(np.clip(PEAK_MEDIAN * np.exp(PEAK_SIGMA * rng.standard_normal()), *PEAK_RANGE))
    when = COURSES[course](length, rng)
    parts, strengths = [], []
    for action in actions:
        own_course = when.part(rng)
        gain = rng.uniform(0.75, 1.0)
        for part in _sides(action):
            parts.append(part)
            strengths.append(gain * rng.uniform(0.85, 1.0) * own_course)
    strength = np.stack(strengths)
    nuisance = draw_nuisance(length, rng) if course == "wild" else None
    return ClipPlan(emotion.name, actions, length, framing, rest, tuple(parts), strength, peak, when.residual, nuisance)


def _sides(action: Action) -> tuple[Action, ...]:
    """Split a two-sided unit into two parts, because the halves of a face never move in exactly the same way."""
    if action.side or is_midline(action.unit):
        return (action,)
    return Action(action.unit, "L"), Action(action.unit, "R")


@dataclass(frozen=True)
class Scene:
    """A clip ready to be drawn.

    Attributes:
        identity: pseudo-subject.
        plan: plan of the clip.
        points: the neutral frame's pixels in face units of the photograph, (h, w, 2) float32.
        motion: displacement of each part at full activation, face units, (parts, h, w, 2) float32.
        shade: relative change of brightness by each part at full activation, (parts, h, w) float32.
        displacement: largest displacement by a unit in each frame, pixels, (frames,).
        nuisance: displacement and change of brightness by the plan's nuisance at full strength, shaped like those of
            one part in `motion` and `shade`; None if the plan has no nuisance.
    """

    identity: Identity
    plan: ClipPlan
    points: np.ndarray
    motion: np.ndarray
    shade: np.ndarray
    displacement: np.ndarray
    nuisance: tuple[np.ndarray, np.ndarray] | None

    @property
    def apex(self) -> int:
        """Index of the frame with the largest displacement, known even if amplitude 0 hides it."""
        return int(self.displacement.argmax())

    def moved(self) -> np.ndarray:
        """Return each pixel's displacement by the units at the apex, without nuisances, in pixels, (h, w) float32."""
        field = _blend(self.plan.course[:, self.apex], self.motion)
        return np.hypot(field[..., 0], field[..., 1]) * np.float32(self.plan.framing.unit)


def stage(identity: Identity, plan: ClipPlan, height: int, width: int, amplitude: float) -> Scene:
    """Compute a clip's displacement fields on its pixel grid; the peak is exactly `amplitude` × plan.peak."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    grid = cv2.transform(np.dstack([columns, rows]), plan.framing.to_face())
    points = identity.photograph_points(grid)
    resting = points.copy()
    for unit, amount in zip(REST, plan.rest, strict=True):
        resting -= np.float32(amount) * warp_field(points, ACTION_UNITS[unit].warps)

    motion = np.stack([warp_field(points, ACTION_UNITS[part.unit].warps, part.side) for part in plan.parts])
    shade = np.stack([shade_field(points, ACTION_UNITS[part.unit].shades, part.side) for part in plan.parts])

    # Overlapping units add up: the sum is measured and scaled, so that the stated peak is the true one.
    coarse = motion[:, ::2, ::2]
    largest = np.array([np.hypot(*_blend(now, coarse).T).max() for now in plan.course.T])
    peak = plan.peak / REFERENCE_UNIT
    motion *= np.float32(amplitude * peak / largest.max())
    shade *= np.float32(amplitude * plan.peak / PEAK_MEDIAN)
    displacement = largest / largest.max() * peak * plan.framing.unit
    nuisance = None if plan.nuisance is None else plan.nuisance.fields(points)
    return Scene(identity, plan, resting, motion, shade, displacement, nuisance)


def render(scene: Scene, noise: float, static: bool, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw the frames, (h, w, 3) uint8 BGR, in order of time; `static` repeats the neutral one."""
    plan, identity = scene.plan, scene.identity
    height, width = scene.points.shape[:2]
    drift = _drift(plan.frames, rng) * noise
    flicker = 1 + noise * FLICKER * rng.standard_normal(plan.frames)
    grain = rng.standard_normal((height + NOISE_MARGIN, width + NOISE_MARGIN, 3), np.float32)
    grain *= np.float32(noise * SENSOR_NOISE)
    # Every frame uses the noise at a different offset.
    offsets = rng.choice((NOISE_MARGIN + 1) ** 2, plan.frames, replace=False)
    for frame in range(plan.frames):
        points, head, gain = scene.points, np.eye(3), None
        if not static:
            points = points - _blend(plan.course[:, frame], scene.motion)
            head = _head(drift[:, frame])
            shade = _blend(plan.course[:, frame], scene.shade)
            if plan.nuisance is not None and scene.nuisance is not None:
                # Not stronger than at noise 1, because eyes cannot close any further.
                strength = np.float32(min(noise, 1.0) * plan.nuisance.course[frame])
                points = points - strength * scene.nuisance[0]
                shade = shade + strength * scene.nuisance[1]
            gain = np.float32(flicker[frame]) * (1 + shade)[..., None]
        where = cv2.transform(points, identity.from_face @ head)
        image = _look_up(identity.pixels, where)
        if gain is not None:
            image *= gain
        top, left = divmod(offsets[frame], NOISE_MARGIN + 1)
        # Adds, rounds and saturates to 0..255 in one pass.
        yield cv2.add(image, grain[top : top + height, left : left + width], dtype=cv2.CV_8U)


def _look_up(pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    # The stubs forbid None for the unused second map, but OpenCV 5.0 hangs on an empty array.
    no_map: Any = None
    return cv2.remap(pixels, where, no_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _blend(weights: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Return the weighted sum over the first axis, by einsum because BLAS threads of several workers would compete."""
    return np.einsum("p,p...->...", weights.astype(np.float32), fields)


def _drift(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw head motion (shift x, shift y, angle, log scale), (4, frames), stationary and so without a mean trend."""
    margin = int(4 * DRIFT_SMOOTHNESS)
    white = rng.standard_normal((4, frames + 2 * margin))
    smooth = gaussian_filter1d(white, DRIFT_SMOOTHNESS, axis=1)[:, margin : margin + frames]
    smooth *= np.sqrt(2 * np.sqrt(np.pi) * DRIFT_SMOOTHNESS)  # unit variance again
    return smooth * np.array([DRIFT_SHIFT, DRIFT_SHIFT, DRIFT_ANGLE, DRIFT_SCALE])[:, None]


def _head(drift: np.ndarray) -> np.ndarray:
    """Return the 3×3 matrix of one frame's head motion around the middle of the face at (0, 0.5)."""
    cos, sin = np.exp(drift[3]) * np.cos(drift[2]), np.exp(drift[3]) * np.sin(drift[2])
    return np.array([[cos, -sin, drift[0] + sin * 0.5], [sin, cos, drift[1] + 0.5 - cos * 0.5], [0, 0, 1]])
