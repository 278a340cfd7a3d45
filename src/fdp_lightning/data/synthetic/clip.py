"""Planning and drawing of one clip: its motion and its frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from fdp_lightning.data.synthetic.action_units import ACTION_UNITS, Action, Emotion, is_midline, shade_field, warp_field
from fdp_lightning.data.synthetic.identity import FACE_WIDTH, Framing, Identity, draw_framing
from fdp_lightning.data.synthetic.motion import COURSES, Nuisance, draw_nuisance

# Largest displacement in a clip at amplitude 1: log-normal, in pixels on a face 110 px wide (ours: sub-pixel
# to a few pixels, as micro-expressions look at this size).
PEAK_MEDIAN, PEAK_SIGMA, PEAK_RANGE = 2.5, 0.35, (0.8, 4.5)
REFERENCE_UNIT = 110 / FACE_WIDTH  # pixels per face unit on that face

# Each clip starts from a slightly different resting face: small constant amounts of the units that carry the
# emotions, about as large as the average motion, so that the position of a brow is uninformative unless it
# moves. Unit -> standard deviation in face units; less around the mouth, where many of them add up.
REST = {1: 0.04, 2: 0.04, 4: 0.04, 6: 0.04, 7: 0.035, 9: 0.035}
REST |= {10: 0.025, 12: 0.03, 14: 0.03, 15: 0.03, 17: 0.03, 25: 0.02}
REST_LIMIT = 1.6  # standard deviations

# Nuisances at noise 1, as standard deviations.
DRIFT_SHIFT, DRIFT_ANGLE, DRIFT_SCALE = 0.005, 0.0015, 0.0015  # face units, radians, ratio
DRIFT_SMOOTHNESS = 5.0  # frames
FLICKER, SENSOR_NOISE = 0.007, 1.5  # relative brightness, grey levels
NOISE_MARGIN = 48  # pixels by which the pre-drawn noise exceeds a frame


@dataclass(frozen=True)
class ClipPlan:
    """Everything about a clip except its pixels.

    Attributes:
        emotion: class name.
        actions: units shown.
        frames: number of frames, onset and offset included.
        framing: position of the head.
        rest: constant amount of each unit of REST, in face units.
        parts: moving parts, one unit on one side each.
        course: activation 0..1 of each part over time, shape (parts, frames).
        peak: the clip's largest displacement at amplitude 1, in pixels on a face 110 px wide.
        residual: motion left at the offset, as a fraction of its peak.
        nuisance: meaningless additional event in some wild clips.
    """

    emotion: str
    actions: tuple[Action, ...]
    frames: int
    framing: Framing
    rest: np.ndarray
    parts: tuple[Action, ...]
    course: np.ndarray
    peak: float
    residual: float
    nuisance: Nuisance | None = None

    @property
    def moving(self) -> tuple[int, int]:
        """Return the indices of the first and the last frame in which a unit is not at rest."""
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
    """Draw the plan of a clip of `frames` (least, most) frames; the order of draws is part of the data set's version.

    `usual` is the usual position of the subject's head, `zoom` the size of a frame relative to the reference. A wild
    clip (`course`) may also have a nuisance.
    """
    length = int(rng.integers(frames[0], frames[1] + 1))
    actions = emotion.draw(rng)
    framing = draw_framing(usual, zoom, rng)
    rest = np.array([*REST.values()]) * np.clip(rng.standard_normal(len(REST)), -REST_LIMIT, REST_LIMIT)
    peak = float(np.clip(PEAK_MEDIAN * np.exp(PEAK_SIGMA * rng.standard_normal()), *PEAK_RANGE))
    when = COURSES[course](length, rng)
    parts, gains, courses = [], [], []
    for action in actions:
        own_course = when.part(rng)
        gain = rng.uniform(0.75, 1.0)
        for part in _sides(action):
            parts.append(part)
            gains.append(gain * rng.uniform(0.85, 1.0))
            courses.append(own_course)
    strength = np.array(gains)[:, None] * np.stack(courses)
    nuisance = draw_nuisance(length, rng) if course == "wild" else None
    return ClipPlan(emotion.name, actions, length, framing, rest, tuple(parts), strength, peak, when.residual, nuisance)


def _sides(action: Action) -> tuple[Action, ...]:
    """Split a unit on both sides into two parts, because the halves of a face never move quite alike."""
    if action.side or is_midline(action.unit):
        return (action,)
    return Action(action.unit, "L"), Action(action.unit, "R")


@dataclass(frozen=True)
class Scene:
    """A clip ready to be drawn.

    Attributes:
        points: (h, w, 2) float32, the neutral frame's pixels in the photograph's face units.
        motion: (parts, h, w, 2) float32, displacement of each part at full activation, face units.
        shade: (parts, h, w) float32, relative change of brightness at full activation.
        displacement: (frames,), the largest displacement by a unit in each frame, in pixels.
        nuisance: displacement and change of brightness by the plan's nuisance at full strength, shaped like those of
            one part in `motion` and `shade`; None if the plan has none.
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
        """Displacement of each pixel by the units at the apex, (h, w) float32, in pixels, without nuisances."""
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

    # Overlapping units add up: measure the sum and scale it, so that the stated peak is the true one.
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
    # Every frame uses the noise at another offset.
    offsets = rng.choice((NOISE_MARGIN + 1) ** 2, plan.frames, replace=False)
    for frame in range(plan.frames):
        points, head, gain = scene.points, np.eye(3), None
        if not static:
            points = points - _blend(plan.course[:, frame], scene.motion)
            head = _head(drift[:, frame])
            shade = _blend(plan.course[:, frame], scene.shade)
            if plan.nuisance is not None and scene.nuisance is not None:
                # No more than at noise 1: eyes can close no further.
                strength = np.float32(min(noise, 1.0) * plan.nuisance.course[frame])
                points = points - strength * scene.nuisance[0]
                shade = shade + strength * scene.nuisance[1]
            gain = np.float32(flicker[frame]) * (1 + shade)[..., None]
        where = cv2.transform(points, identity.from_face @ head)
        picture = _look_up(identity.pixels, where)
        if gain is not None:
            picture *= gain
        top, left = divmod(offsets[frame], NOISE_MARGIN + 1)
        # One pass for sum, rounding and saturation to 0..255.
        yield cv2.add(picture, grain[top : top + height, left : left + width], dtype=cv2.CV_8U)


def _look_up(pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the values of (h, w, 3) `pixels` at positions (h, w, 2)."""
    # The stubs forbid None for the unused second map; an empty array in its place hangs OpenCV 5.0.
    no_map: Any = None
    return cv2.remap(pixels, where, no_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _blend(weights: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Return the weighted sum over the first axis; einsum, because BLAS threads of several workers would compete."""
    return np.einsum("p,p...->...", weights.astype(np.float32), fields)


def _drift(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw head motion (shift x, y, angle, log scale), (4, frames): stationary, so without a trend on average."""
    margin = int(4 * DRIFT_SMOOTHNESS)
    white = rng.standard_normal((4, frames + 2 * margin))
    smooth = gaussian_filter1d(white, DRIFT_SMOOTHNESS, axis=1)[:, margin : margin + frames]
    smooth *= np.sqrt(2 * np.sqrt(np.pi) * DRIFT_SMOOTHNESS)  # unit variance again
    return smooth * np.array([DRIFT_SHIFT, DRIFT_SHIFT, DRIFT_ANGLE, DRIFT_SCALE])[:, None]


def _head(drift: np.ndarray) -> np.ndarray:
    """Return the 3×3 matrix of one frame's head motion, about the middle of the face at (0, 0.5)."""
    cos, sin = np.exp(drift[3]) * np.cos(drift[2]), np.exp(drift[3]) * np.sin(drift[2])
    return np.array([[cos, -sin, drift[0] + sin * 0.5], [sin, cos, drift[1] + 0.5 - cos * 0.5], [0, 0, 1]])
