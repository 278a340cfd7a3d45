"""Action units as local warps of the face, and the combinations of units that form each emotion.

Face coordinates: origin midway between the eyes, x to the image's right (the person's left), y down, one unit = the
distance between the eyes; the mouth's centre is at (0, 0.9). Displacements are relative: each clip sets the size of its
largest one in pixels. What moves where is taken from Ekman, Friesen & Hager, Facial Action Coding System, 2002; centres
and widths were fitted by eye (ours).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Warp(NamedTuple):
    """A Gaussian displacement: centre (x, y), vector (dx, dy), widths (sx, sy); with x > 0 for both sides, mirrored."""

    x: float
    y: float
    dx: float
    dy: float
    sx: float
    sy: float


class Shade(NamedTuple):
    """A Gaussian change of brightness, e.g. a furrow: centre, widths, relative depth (negative: darker)."""

    x: float
    y: float
    sx: float
    sy: float
    depth: float


@dataclass(frozen=True)
class ActionUnit:
    """Effect of one unit on one side of the face; parts at x = 0 are on the midline and belong to no side."""

    warps: tuple[Warp, ...]
    shades: tuple[Shade, ...] = ()


ACTION_UNITS: dict[int, ActionUnit] = {
    1: ActionUnit((Warp(0.27, -0.32, 0.00, -1.00, 0.17, 0.13),)),  # inner brow raiser (frontalis, pars medialis)
    2: ActionUnit((Warp(0.70, -0.34, 0.05, -1.00, 0.22, 0.13),)),  # outer brow raiser (frontalis, pars lateralis)
    4: ActionUnit(  # brow lowerer: down and together, with the furrow between the brows
        (Warp(0.27, -0.27, -0.60, 0.80, 0.20, 0.13), Warp(0.60, -0.31, -0.10, 0.55, 0.20, 0.12)),
        (Shade(0.07, -0.18, 0.04, 0.10, -0.06),),
    ),
    5: ActionUnit((Warp(0.50, -0.10, 0.00, -0.70, 0.20, 0.08),)),  # upper lid raiser
    6: ActionUnit(  # cheek raiser: cheek and lower lid up, skin gathers at the outer corner of the eye
        (Warp(0.60, 0.36, -0.08, -1.00, 0.26, 0.18), Warp(0.80, 0.06, -0.35, -0.25, 0.12, 0.12)),
        (Shade(0.52, 0.17, 0.16, 0.03, -0.05),),
    ),
    7: ActionUnit(  # lid tightener: the lower lid rises, the upper one falls a little
        (Warp(0.50, 0.12, 0.00, -0.85, 0.20, 0.08), Warp(0.50, -0.13, 0.00, 0.55, 0.20, 0.08)),
        (Shade(0.50, 0.16, 0.15, 0.03, -0.04),),
    ),
    9: ActionUnit(  # nose wrinkler: wings of the nose and the skin around them up, nose root and inner brow down
        (Warp(0.22, 0.52, 0.00, -1.00, 0.14, 0.20), Warp(0.15, -0.12, -0.15, 0.55, 0.14, 0.14)),
        (Shade(0.13, 0.18, 0.05, 0.08, -0.06),),
    ),
    10: ActionUnit(  # upper lip raiser: lip up, nasolabial furrow deeper in its middle
        (Warp(0.24, 0.86, 0.00, -1.00, 0.20, 0.12), Warp(0.40, 0.62, 0.10, -0.60, 0.14, 0.16)),
        (Shade(0.40, 0.62, 0.05, 0.10, -0.05),),
    ),
    12: ActionUnit(  # lip corner puller: corners up and out, with the cheek
        (Warp(0.50, 0.90, 0.62, -0.78, 0.20, 0.18), Warp(0.62, 0.58, 0.20, -0.45, 0.22, 0.18)),
        (Shade(0.56, 0.78, 0.05, 0.10, -0.04),),
    ),
    14: ActionUnit(  # dimpler: corners tightened outwards and in, with a dimple next to them
        (Warp(0.50, 0.94, 1.00, 0.10, 0.15, 0.15), Warp(0.78, 0.92, -0.55, 0.00, 0.14, 0.18)),
        (Shade(0.66, 0.92, 0.05, 0.09, -0.06),),
    ),
    # lip corner depressor
    15: ActionUnit((Warp(0.48, 0.98, 0.10, 1.00, 0.20, 0.16), Warp(0.45, 1.25, 0.10, 0.40, 0.18, 0.16))),
    17: ActionUnit(  # chin raiser: chin boss and lower lip up
        (Warp(0.00, 1.48, 0.00, -1.00, 0.30, 0.20), Warp(0.00, 1.22, 0.00, -0.55, 0.34, 0.10)),
        (Shade(0.00, 1.45, 0.18, 0.10, -0.04),),
    ),
    # lip presser: lips towards each other
    24: ActionUnit((Warp(0.00, 0.95, 0.00, 0.75, 0.34, 0.10), Warp(0.00, 1.22, 0.00, -1.00, 0.34, 0.11))),
    25: ActionUnit((Warp(0.00, 1.22, 0.00, 1.00, 0.34, 0.14),)),  # lips part: the lower lip falls
}


class Action(NamedTuple):
    """A unit as coded: its number, and its side: "" (both), "L" or "R" (the person's left or right)."""

    unit: int
    side: str = ""

    def __str__(self) -> str:
        return f"{self.side}{self.unit}"


def code(actions: tuple[Action, ...]) -> str:
    """Return the units of a clip as written in the annotation tables, e.g. `4+R10`."""
    return "+".join(str(action) for action in actions)


@dataclass(frozen=True)
class Emotion:
    """A class: weighted combinations of units, and the probability that only one side of the face moves."""

    name: str
    combinations: tuple[tuple[float, tuple[int, ...]], ...]
    one_sided: float = 0.15

    def draw(self, rng: np.random.Generator) -> tuple[Action, ...]:
        """Draw one combination of units and its side; midline units have no side."""
        weights = np.array([weight for weight, _ in self.combinations])
        units = self.combinations[rng.choice(len(weights), p=weights / weights.sum())][1]
        side = str(rng.choice(["L", "R"])) if rng.random() < self.one_sided else ""
        return tuple(Action(unit, "" if is_midline(unit) else side) for unit in units)


def is_midline(unit: int) -> bool:
    """Return True if all of the unit's warps lie on the midline, so that it has no sides."""
    return all(warp.x == 0 for warp in ACTION_UNITS[unit].warps)


# Criteria: Yan et al., "CASME II", PLoS ONE 9(1), 2014, table of action units per emotion, and combinations listed in
# EMFACS (Friesen & Ekman, 1983) and the FACS Investigator's Guide (2002); the weights are ours. AU 4 and AU 7 occur in
# both disgust and others, as in the real table.
CASME2_EMOTIONS: tuple[Emotion, ...] = (
    Emotion("happiness", ((0.5, (12,)), (0.4, (6, 12)), (0.1, (6,)))),
    Emotion("disgust", ((0.3, (9,)), (0.25, (10,)), (0.25, (4, 9)), (0.2, (4, 7, 10)))),
    Emotion("repression", ((0.3, (15,)), (0.3, (17,)), (0.25, (15, 17)), (0.15, (14,)))),
    Emotion("surprise", ((0.6, (1, 2)), (0.2, (1, 2, 5)), (0.1, (1, 2, 25)), (0.1, (2,))), one_sided=0.1),
    Emotion("others", ((0.5, (4,)), (0.2, (7,)), (0.3, (4, 7)))),
)

# Classes: Davison et al., "SAMM", IEEE Trans. Affective Computing 9(1), 2018; combinations as above. Contempt
# is one-sided (EMFACS: R12 + R14, L14).
SAMM_EMOTIONS: tuple[Emotion, ...] = (
    Emotion("Anger", ((0.5, (4, 7)), (0.3, (4,)), (0.2, (7,)))),
    Emotion("Happiness", ((0.6, (12,)), (0.4, (6, 12)))),
    Emotion("Surprise", ((0.6, (1, 2)), (0.2, (1, 2, 5)), (0.2, (1, 2, 25))), one_sided=0.1),
    Emotion("Contempt", ((0.6, (14,)), (0.4, (12, 14))), one_sided=1.0),
    Emotion("Other", ((0.3, (17,)), (0.3, (15, 17)), (0.2, (15,)), (0.2, (24,)))),
)


def gaussian(points: np.ndarray, x: float, y: float, sx: float, sy: float) -> np.ndarray:
    """Return exp(-((px-x)/sx)²/2 - ((py-y)/sy)²/2) for points (h, w, 2) in face units, (h, w) float32."""
    u = (points[..., 0] - np.float32(x)) * np.float32(1 / sx)
    v = (points[..., 1] - np.float32(y)) * np.float32(1 / sy)
    return np.exp(np.float32(-0.5) * (u * u + v * v))


def warp_field(points: np.ndarray, warps: tuple[Warp, ...], side: str = "") -> np.ndarray:
    """Return the sum of the warps on a side ("": both) at points (h, w, 2), (h, w, 2) float32 in face units."""
    field = np.zeros_like(points)
    for warp in warps:
        for sign in _signs(warp.x, side):
            bump = gaussian(points, sign * warp.x, warp.y, warp.sx, warp.sy)
            field[..., 0] += np.float32(sign * warp.dx) * bump
            field[..., 1] += np.float32(warp.dy) * bump
    return field


def shade_field(points: np.ndarray, shades: tuple[Shade, ...], side: str = "") -> np.ndarray:
    """Return the sum of the relative brightness changes on a side at points (h, w, 2), (h, w) float32."""
    field = np.zeros(points.shape[:2], np.float32)
    for shade in shades:
        for sign in _signs(shade.x, side):
            field += np.float32(shade.depth) * gaussian(points, sign * shade.x, shade.y, shade.sx, shade.sy)
    return field


def _signs(x: float, side: str) -> tuple[float, ...]:
    return (1.0,) if x == 0 else {"": (1.0, -1.0), "L": (1.0,), "R": (-1.0,)}[side]
