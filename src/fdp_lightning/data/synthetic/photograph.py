"""Photographs for pseudo-subjects, normalised in size, position and angle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fdp_lightning.data.faces.frames import UnreadableImageError, read_image
from fdp_lightning.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")

# Measured with MTCNN (facenet-pytorch 2.5.3) on skimage.data.astronaut(), 512×512 pixels: eyes, nose, mouth
# corners, the picture's left first.
ASTRONAUT_LANDMARKS = ((205.0, 101.7), (246.8, 103.7), (224.7, 129.0), (201.7, 139.2), (245.3, 141.9))
ASTRONAUT_CREDIT = "Eileen Collins, NASA (Great Images in NASA), public domain; scikit-image data.astronaut()"

# Canvas: pixels per face unit, and extent in face units (left, top, right, bottom): room for every framing.
CANVAS_UNIT = 80.0
CANVAS_EXTENT = (-4.4, -3.1, 4.4, 4.0)
MOUTH_Y = 0.9  # the mouth centre in face units, by definition


@dataclass(frozen=True)
class Photograph:
    """A portrait with its five landmarks (x, y) in pixels; path None is the astronaut."""

    landmarks: tuple[tuple[float, float], ...] = ASTRONAUT_LANDMARKS
    path: str | None = None

    def read(self) -> np.ndarray:
        """Return the picture, (h, w, 3) uint8 BGR."""
        if self.path is None:
            from skimage import data

            return np.ascontiguousarray(data.astronaut()[..., ::-1])
        return _read(Path(self.path))


@dataclass(frozen=True)
class Canvas:
    """A portrait with level eyes at a fixed place and distance.

    Attributes:
        pixels: (h, w, 3) float32 BGR, 0..255.
        from_face: 2×3 matrix from face units to canvas pixels.
    """

    pixels: np.ndarray
    from_face: np.ndarray


def draw_canvas(photograph: Photograph, mirror: bool) -> Canvas:
    """Level and scale a portrait so that its eyes are CANVAS_UNIT apart; mirrored on request."""
    picture = photograph.read()
    points = np.array(photograph.landmarks, np.float64)
    if mirror:
        picture = np.ascontiguousarray(picture[:, ::-1])
        points[:, 0] = picture.shape[1] - 1 - points[:, 0]
        points = points[[1, 0, 2, 4, 3]]
    left, right = points[0], points[1]
    axis = right - left
    scale = CANVAS_UNIT / np.hypot(*axis)
    if scale < 1:  # a large portrait: smooth before thinning out its pixels
        picture = cv2.GaussianBlur(picture, (0, 0), 0.5 / scale)
    angle = np.arctan2(axis[1], axis[0])
    rotation = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    x0, y0, x1, y1 = (side * CANVAS_UNIT for side in CANVAS_EXTENT)
    origin = np.array([-x0, -y0])
    matrix = np.column_stack([rotation, origin - rotation @ ((left + right) / 2)])
    size = (round(x1 - x0), round(y1 - y0))
    pixels = cv2.warpAffine(
        picture.astype(np.float32), matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    mouth = rotation @ (points[3:5].mean(axis=0) - (left + right) / 2)
    # Vertically one face unit is whatever puts this portrait's mouth at MOUTH_Y: long faces get long units.
    from_face = np.array([[CANVAS_UNIT, 0.0, origin[0]], [0.0, mouth[1] / MOUTH_Y, origin[1]]])
    return Canvas(np.clip(pixels, 0, 255), from_face)


def portrait_files(folder: Path) -> list[Path]:
    """Return the pictures in a folder, by name.

    Raises:
        UserError: there is no such folder, or no picture in it can be read.
    """
    suffixes = ", ".join(IMAGE_SUFFIXES)
    wanted = f"portraits={folder}: expected a folder of pictures ({suffixes}) with one face each"
    if not folder.is_dir():
        raise UserError(f"{wanted}; there is no such folder.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not any(cv2.haveImageReader(str(path)) for path in files):
        raise UserError(f"{wanted}; it holds no picture that can be read.")
    return files


def find_portraits(folder: Path) -> tuple[Photograph, ...]:
    """Find the face in each of the user's pictures with MTCNN (Zhang et al., IEEE SPL 23(10), 2016).

    Raises:
        UserError: a picture cannot be read or shows no face.
    """
    from facenet_pytorch import MTCNN

    detector = MTCNN(select_largest=True, post_process=False)
    photographs = []
    for path in portrait_files(folder):
        rgb = np.ascontiguousarray(_read(path)[..., ::-1])
        _, _, landmarks = detector.detect(rgb, landmarks=True)
        if landmarks is None:
            raise UserError(f"portraits={folder}: no face found in {path.name}; use another picture.")
        points = np.asarray(landmarks[0], dtype=float)  # detect() can return object arrays
        photographs.append(Photograph(tuple((float(x), float(y)) for x, y in points), str(path)))
    return tuple(photographs)


def _read(path: Path) -> np.ndarray:
    try:
        return np.ascontiguousarray(read_image(path)[..., ::-1])
    except UnreadableImageError as error:
        raise UserError(f"portraits: {error}; expected a picture. Replace or remove it.") from error
