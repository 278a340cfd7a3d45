"""Pseudo-subjects: many faces from one normalised photograph, by changes of shape, tone, light and framing."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fdp_lightning.data.faces.frames import IMAGE_SUFFIXES, read_image
from fdp_lightning.data.synthetic.action_units import Warp, gaussian, warp_field
from fdp_lightning.errors import UserError

# Measured with MTCNN (facenet-pytorch 2.5.3) on skimage.data.astronaut(): eyes, nose, mouth corners, the left first.
ASTRONAUT_LANDMARKS = ((205.0, 101.7), (246.8, 103.7), (224.7, 129.0), (201.7, 139.2), (245.3, 141.9))
ASTRONAUT_CREDIT = "Eileen Collins, NASA (Great Images in NASA), public domain; scikit-image data.astronaut()"

# Canvas: pixels per face unit, and extent in face units (left, top, right, bottom), large enough for every framing.
CANVAS_UNIT = 80.0
CANVAS_EXTENT = (-4.4, -3.1, 4.4, 4.0)
MOUTH_Y = 0.9  # the mouth centre in face units, by definition


@dataclass(frozen=True)
class Photograph:
    """A portrait with its five landmarks (x, y) in pixels; with `path` None, the astronaut."""

    landmarks: tuple[tuple[float, float], ...] = ASTRONAUT_LANDMARKS
    path: str | None = None

    def read(self) -> np.ndarray:
        """Return the image, (h, w, 3) uint8 BGR."""
        if self.path is None:
            from skimage import data

            return np.ascontiguousarray(data.astronaut()[..., ::-1])
        return np.ascontiguousarray(read_image(Path(self.path))[..., ::-1])


def _draw_canvas(photograph: Photograph, mirror: bool) -> tuple[np.ndarray, np.ndarray]:
    """Level and scale a portrait so that its eyes are CANVAS_UNIT apart, mirrored on request. Return its pixels,
    (h, w, 3) float32 BGR, 0..255, and the 2×3 matrix from face units to pixels.
    """
    image = photograph.read()
    points = np.array(photograph.landmarks, np.float64)
    if mirror:
        image = np.ascontiguousarray(image[:, ::-1])
        points[:, 0] = image.shape[1] - 1 - points[:, 0]
        points = points[[1, 0, 2, 4, 3]]
    left, right = points[0], points[1]
    axis = right - left
    scale = CANVAS_UNIT / np.hypot(*axis)
    if scale < 1:  # a large portrait is smoothed before it is subsampled
        image = cv2.GaussianBlur(image, (0, 0), 0.5 / scale)
    angle = np.arctan2(axis[1], axis[0])
    rotation = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    x0, y0, x1, y1 = (side * CANVAS_UNIT for side in CANVAS_EXTENT)
    origin = np.array([-x0, -y0])
    matrix = np.column_stack([rotation, origin - rotation @ ((left + right) / 2)])
    size = (round(x1 - x0), round(y1 - y0))
    border = cv2.BORDER_REFLECT_101
    pixels = cv2.warpAffine(image.astype(np.float32), matrix, size, flags=cv2.INTER_CUBIC, borderMode=border)
    mouth = rotation @ (points[3:5].mean(axis=0) - (left + right) / 2)
    # The vertical face unit puts this portrait's mouth at MOUTH_Y: long faces get long units.
    from_face = np.array([[CANVAS_UNIT, 0.0, origin[0]], [0.0, mouth[1] / MOUTH_Y, origin[1]]])
    return np.clip(pixels, 0, 255), from_face


def portrait_files(folder: Path) -> list[Path]:
    """Return the images in a folder, sorted by name; raises UserError if there is no folder or no image in it."""
    wanted = f"portraits={folder}: expected a folder of images ({', '.join(sorted(IMAGE_SUFFIXES))}) with one face each"
    if not folder.is_dir():
        raise UserError(f"{wanted}; there is no such folder.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise UserError(f"{wanted}; it contains no image.")
    return files


def find_portraits(folder: Path) -> tuple[Photograph, ...]:
    """Find the face in each of the user's images by MTCNN; raises UserError if one is unreadable or shows no face."""
    from facenet_pytorch import MTCNN

    detector = MTCNN(select_largest=True, post_process=False)
    photographs = []
    for path in portrait_files(folder):
        _, _, landmarks = detector.detect(read_image(path), landmarks=True)
        if landmarks is None:
            raise UserError(f"portraits={folder}: no face found in {path.name}; use another image.")
        points = np.asarray(landmarks[0], dtype=float)  # detect() can return object arrays
        photographs.append(Photograph(tuple((float(x), float(y)) for x, y in points), str(path)))
    return tuple(photographs)


# Face width between the temples divided by the distance between the eyes, measured on the astronaut.
FACE_WIDTH = 2.15
FACE_BOX = np.array([(-0.7, 0.0), (0.7, 0.9)])  # skin only, face units
# Frame size to which all numbers of pixels in this package refer.
REFERENCE_HEIGHT, REFERENCE_WIDTH = 240, 320

# Shape of the face: (mean, standard deviation, warps), in face units; a tenth of a unit is about 5 px. Ours.
SHAPE_MODES: tuple[tuple[float, float, tuple[Warp, ...]], ...] = (
    (0.0, 0.060, (Warp(0.80, 1.25, 1.0, 0.0, 0.35, 0.45),)),  # jaw width
    (0.0, 0.070, (Warp(0.00, 1.70, 0.0, 1.0, 0.70, 0.40),)),  # chin length
    (0.0, 0.060, (Warp(0.95, 0.50, 1.0, 0.0, 0.35, 0.40),)),  # cheek width
    (0.0, 0.040, (Warp(0.50, 0.00, 1.0, 0.0, 0.30, 0.25),)),  # eye distance
    (0.0, 0.030, (Warp(0.75, 0.00, 0.0, 1.0, 0.20, 0.15),)),  # eye slant
    (0.0, 0.022, (Warp(0.50, -0.10, 0.0, -1.0, 0.24, 0.10), Warp(0.50, 0.10, 0.0, 1.0, 0.24, 0.10))),  # eye size
    (0.0, 0.045, (Warp(0.50, -0.30, 0.0, 1.0, 0.50, 0.16),)),  # brow height
    (0.0, 0.050, (Warp(0.00, 0.60, 0.0, 1.0, 0.28, 0.28),)),  # nose length
    (0.0, 0.035, (Warp(0.20, 0.60, 1.0, 0.0, 0.14, 0.18),)),  # nose width
    (-0.02, 0.040, (Warp(0.50, 0.98, 1.0, 0.0, 0.28, 0.25),)),  # mouth width
    (0.0, 0.035, (Warp(0.00, 1.02, 0.0, 1.0, 0.60, 0.25),)),  # mouth height
    (-0.02, 0.04, (Warp(0.50, 0.92, 0.2, -1.0, 0.24, 0.20),)),  # mouth corners; the astronaut smiles
    (0.0, 0.120, (Warp(0.00, -0.80, 0.0, -1.0, 1.20, 0.30),)),  # hairline
    (0.0, 0.160, (Warp(1.40, -0.40, 1.0, 0.0, 0.50, 0.70),)),  # hair width
)
SHAPE_LIMIT = 1.6  # standard deviations beyond which faces stop looking natural
FREE_WARPS, FREE_SPREAD = 8, 0.04  # number and size of low-frequency bumps at random places, which break the symmetry


@dataclass(frozen=True)
class Framing:
    """Position of the head: pixels per face unit, rotation in radians, midpoint of the eyes in pixels."""

    unit: float
    angle: float
    x: float
    y: float

    def to_face(self) -> np.ndarray:
        """Return the 2×3 matrix from frame pixels to face units."""
        cos, sin = np.cos(self.angle) * self.unit, np.sin(self.angle) * self.unit
        return cv2.invertAffineTransform(np.array([[cos, -sin, self.x], [sin, cos, self.y]]))


@dataclass(frozen=True)
class Identity:
    """A pseudo-subject."""

    pixels: np.ndarray  # the subject's portrait on the canvas, (h, w, 3) float32 BGR, with colour and light applied
    from_face: np.ndarray  # 2×3 matrix from face units to canvas pixels
    shape: np.ndarray  # the subject's coefficients of SHAPE_MODES, in face units
    bumps: tuple[Warp, ...]  # further warps of the shape
    framing: Framing  # the subject's usual place in the frame

    def photograph_points(self, points: np.ndarray) -> np.ndarray:
        """Map points (h, w, 2) of this subject to points of the photograph, both in face units."""
        warped = points.copy()
        for coefficient, (_, _, warps) in zip(self.shape, SHAPE_MODES, strict=True):
            warped -= np.float32(coefficient) * warp_field(points, warps)
        for bump in self.bumps:
            weight = gaussian(points, bump.x, bump.y, bump.sx, bump.sy)[..., None]
            warped -= np.array([bump.dx, bump.dy], np.float32) * weight
        return warped


def draw_identity(photograph: Photograph, mirror: bool, height: int, width: int, rng: np.random.Generator) -> Identity:
    canvas, from_face = _draw_canvas(photograph, mirror)
    draws = np.clip(rng.standard_normal(len(SHAPE_MODES)), -SHAPE_LIMIT, SHAPE_LIMIT)
    shape = np.array([mean + spread * d for (mean, spread, _), d in zip(SHAPE_MODES, draws, strict=True)])
    bumps = tuple(
        Warp(
            *(rng.uniform((-1.2, -0.8), (1.2, 1.8))),
            *(FREE_SPREAD * np.clip(rng.standard_normal(2), -SHAPE_LIMIT, SHAPE_LIMIT)),
            *rng.uniform(0.55, 1.0, 2),
        )
        for _ in range(FREE_WARPS)
    )
    pixels = _light(_tone(canvas, from_face, rng), from_face, rng)
    zoom = zoom_of(height, width)
    framing = Framing(
        unit=zoom * rng.uniform(103, 126) / FACE_WIDTH,
        angle=np.deg2rad(rng.uniform(-4.5, 4.5)),
        x=0.5 * width + zoom * rng.uniform(-18, 18),
        y=0.42 * height + zoom * rng.uniform(-8, 8),
    )
    return Identity(pixels, from_face, shape, bumps, framing)


def zoom_of(height: int, width: int) -> float:
    """Return the size of a frame relative to the reference size."""
    return min(height / REFERENCE_HEIGHT, width / REFERENCE_WIDTH)


def draw_framing(usual: Framing, zoom: float, rng: np.random.Generator) -> Framing:
    """Draw the subject's position in one clip, near its usual one."""
    return Framing(
        unit=usual.unit * rng.uniform(0.97, 1.03),
        angle=usual.angle + np.deg2rad(rng.uniform(-1.5, 1.5)),
        x=usual.x + zoom * rng.uniform(-5, 5),
        y=usual.y + zoom * rng.uniform(-4, 4),
    )


def _tone(pixels: np.ndarray, from_face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change skin and hair by a tone curve per channel (blue falls fastest in dark skin), saturation, white balance."""
    depth = rng.uniform(-0.25, 0.9)
    warmth = rng.uniform(0.0, 0.35) * depth
    curve = np.exp([depth + warmth, depth + 0.4 * warmth, depth - 0.4 * warmth])
    toned = 255 * (pixels / 255) ** curve.astype(np.float32)
    grey = cv2.cvtColor(toned, cv2.COLOR_BGR2GRAY)
    toned = grey[..., None] + np.float32(rng.uniform(0.7, 1.1)) * (toned - grey[..., None])
    toned *= rng.uniform(0.94, 1.06, 3).astype(np.float32)
    # Exposure brings the mean of the face between eyes and mouth close to mid-grey, as a camera would.
    (x0, y0), (x1, y1) = np.rint(from_face[:, :2] @ FACE_BOX.T + from_face[:, 2:]).astype(int).T
    return toned * np.float32(rng.uniform(105, 155) / toned[y0:y1, x0:x1].mean())


def _light(pixels: np.ndarray, from_face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add light from one side: a smooth ramp across the head, up to ±25 % at the cheeks."""
    height, width = pixels.shape[:2]
    x = (np.arange(width, dtype=np.float32) - np.float32(from_face[0, 2])) / np.float32(from_face[0, 0])
    y = (np.arange(height, dtype=np.float32) - np.float32(from_face[1, 2])) / np.float32(from_face[1, 1])
    slope_x, slope_y = rng.normal(0, 0.16), rng.normal(0, 0.08)
    ramp = np.tanh(np.float32(slope_x) * x)[None, :] + np.tanh(np.float32(slope_y) * (y - 0.6))[:, None]
    return np.clip(pixels * (1 + ramp)[..., None], 0, 255)
