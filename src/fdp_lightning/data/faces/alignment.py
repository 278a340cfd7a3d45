"""Face alignment: MTCNN on one frame, and one transform for the whole clip.

Aligning each frame by its own landmarks adds jitter as large as a micro-expression, so all frames of a clip share one
transform (`data.faces.per_frame=true` aligns each frame separately, to reproduce the released code).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cv2
import numpy as np
from skimage.transform import SimilarityTransform

from fdp_lightning.processes import one_thread

# Positions of the eyes, the nose and the mouth corners, the image's left first, (x, y) as fractions of a side. Ours:
# the proportions of an average frontal face, with brows and chin inside the image (both carry action units).
TEMPLATE = np.array([[0.32, 0.38], [0.68, 0.38], [0.50, 0.585], [0.35, 0.79], [0.65, 0.79]])


@dataclass(frozen=True)
class Face:
    """A detected face, in pixels of its image."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    landmarks: np.ndarray  # eyes, nose and mouth corners as (x, y), left in the upright image first, shape (5, 2)
    confidence: float  # MTCNN's probability
    count: int  # number of faces found in the image, of which this is the largest
    turn: int = 0  # number of counter-clockwise quarter turns that make the image upright


QUARTER_TURNS = (0, 1, 3, 2)  # quarter turns in which a face is searched for; the first is the usual one
_LEAST_SIDE = 20  # smallest face that MTCNN detects, pixels; it fails on smaller images
# Number of pixels above which an image is shrunk for MTCNN, whose time and memory grow with it; faces only 20 pixels
# wide in such an image are of no use.
_MOST_SEARCHED = 1920 * 1080

_SURE, _SURELY_UPRIGHT, _MOST_TILT, _UPRIGHT = 0.99, 0.95, 45, 0.5
"""Confidence, uprightness (see `_read_upright`) and tilt (degrees) at which no other turn is tried, and the uprightness
below which a detection is rejected (ours). Measured on 220 variants of the astronaut and of drawn faces: all upright
ones meet the first three criteria, none of the 53 detections in the same images turned sideways or upside down does."""


@cache
def _mtcnn(device: str = "cpu") -> Any:
    # Built on demand, once per process: importing torch takes seconds, and most tasks find a finished store.
    from facenet_pytorch import MTCNN

    return MTCNN(keep_all=True, select_largest=True, device=device).eval()


def find_face(image: np.ndarray) -> Face | None:
    """Return the largest face of one image, RGB, uint8, (h, w, 3), or None; see `find_faces`."""
    return find_faces([image])[0]


def find_faces(
    images: Sequence[np.ndarray],
    least_confidence: float = 0.9,
    upright: bool = True,
    device: str = "cpu",
    turns: Sequence[int] = QUARTER_TURNS,
) -> list[Face | None]:
    """Return the largest upright face of each RGB image, uint8, (h, w, 3); images of one size are processed together.

    MTCNN may be as confident of a sideways face as of an upright one, and place the landmarks as on an upright face.
    Each detection is therefore verified: unless it is clearly upright, the other turns are tried, and the detection
    with the highest product of confidence and uprightness (`_read_upright`) is used. With `upright`, its landmarks are
    re-read, see `read_landmarks`.

    In a batch, or on a GPU, sums are accumulated in another order than for a single image: results differ from
    `find_face` in the last bits, and occasionally by a hundredth of a pixel, if such a bit decides what MTCNN crops.
    """
    found: list[Face | None] = [None] * len(images)
    scores = [0.0] * len(images)
    remaining = list(range(len(images)))
    for turn in turns:
        turned = [np.ascontiguousarray(np.rot90(images[place], turn)) for place in remaining]
        unsure = []
        for place, image, face in zip(remaining, turned, _detect(turned, least_confidence, device), strict=True):
            if face is None:
                unsure.append(place)
                continue
            if upright:
                face = replace(face, landmarks=read_landmarks(image, face.landmarks, device))
            # Once the turn is known, MTCNN's own landmarks are kept, as in the released code.
            known = not upright and len(turns) == 1
            score = 1.0 if known else _read_upright(image, face.landmarks, device)[1]
            if score >= _UPRIGHT and face.confidence * score > scores[place]:
                scores[place] = face.confidence * score
                found[place] = _turned_back(face, turn, images[place].shape)
            across, down = face.landmarks[1] - face.landmarks[0]
            tilt = abs(np.degrees(np.arctan2(down, across)))
            if face.confidence < _SURE or score < _SURELY_UPRIGHT or tilt > _MOST_TILT:
                unsure.append(place)
        remaining = unsure
    return found


def turns_at(place: int, turn: int | None) -> tuple[int, ...]:
    """Return the turns to try on a clip's frame at `place`; `turn` is that of a face in an earlier frame, None without
    one. As long as no face is found, all turns are tried at increasing intervals, because that takes four times as
    long.
    """
    if turn is not None:
        return (turn,)
    return QUARTER_TURNS if place & (place + 1) == 0 else QUARTER_TURNS[:1]


def _detect(images: Sequence[np.ndarray], least_confidence: float, device: str) -> list[Face | None]:
    """Return the largest face of each image as MTCNN detects it, upright or not."""
    found: list[Face | None] = [None] * len(images)
    for shape in dict.fromkeys(image.shape for image in images if min(image.shape[:2]) >= _LEAST_SIDE):
        places = [place for place, image in enumerate(images) if image.shape == shape]
        searched = [images[place] for place in places]
        height, width = shape[:2]
        scale = np.ones(2)
        if height * width > _MOST_SEARCHED:
            factor = (_MOST_SEARCHED / (height * width)) ** 0.5
            size = max(_LEAST_SIDE, round(width * factor)), max(_LEAST_SIDE, round(height * factor))
            searched = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in searched]
            scale = np.array([width, height]) / size
        with one_thread():
            detected = _mtcnn(device).detect(np.stack(searched), landmarks=True)
        for place, boxes, confidences, landmarks in zip(places, *detected, strict=True):
            # The largest face comes first. facenet-pytorch may return arrays of dtype object.
            sure: Any = () if boxes is None else np.flatnonzero(confidences.astype(np.float64) >= least_confidence)
            if len(sure):
                box, points = (of_all[sure[0]].astype(np.float64) for of_all in (boxes, landmarks))
                left, top, right, bottom = (box.reshape(2, 2) * scale).ravel().tolist()
                points = (points + 0.5) * scale - 0.5
                found[place] = Face((left, top, right, bottom), points, float(confidences[sure[0]]), len(sure))
    return found


def _turned_back(face: Face, turn: int, shape: tuple[int, ...]) -> Face:
    """Return a face found in an image turned by np.rot90, in pixels of the unturned image, whose shape is `shape`."""
    (left, top, right, bottom), landmarks = face.box, face.landmarks
    for step in reversed(range(turn)):
        width = shape[1 - step % 2]
        left, top, right, bottom = width - bottom, left, width - top, right
        landmarks = np.stack([width - 1 - landmarks[:, 1], landmarks[:, 0]], axis=1)
    return replace(face, box=(left, top, right, bottom), landmarks=landmarks, turn=turn)


_READER_SIDE = 48  # side of the input of MTCNN's last network, pixels
_MOST_MOVED = 0.3  # largest accepted shift of a re-read landmark, in units of the distance between the eyes

# Landmarks of an upright face in that network's input, for a box fitted by MTCNN (ours, placed by eye).
_READER_TEMPLATE = np.array([[0.32, 0.42], [0.68, 0.42], [0.50, 0.60], [0.35, 0.76], [0.65, 0.76]]) * _READER_SIDE
_MIRRORED = [1, 0, 2, 4, 3]  # order of the landmarks in a mirrored face


def read_landmarks(image: np.ndarray, landmarks: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Re-read landmarks, (5, 2), with MTCNN's last network on the upright face at a fixed size and its mirror image.

    MTCNN reads them in a box that does not follow a face's tilt, and misplaces those of a turned face by more than an
    aligned pixel. Ours: two rounds, each on the face as aligned by the previous one; if the re-read landmarks differ
    too much, the detected ones are returned.
    """
    points = landmarks
    for _ in range(2):
        points, _ = _read_upright(image, points, device)
    moved = np.linalg.norm(points - landmarks, axis=1).max()
    return points if moved < _MOST_MOVED * np.linalg.norm(landmarks[1] - landmarks[0]) else landmarks


def _read_upright(image: np.ndarray, landmarks: np.ndarray, device: str) -> tuple[np.ndarray, float]:
    """Return landmarks and uprightness according to MTCNN's last network on an RGB image aligned by landmarks, (5, 2).
    Uprightness (ours) is the face probability, 0..1, averaged over the face and its mirror image: MTCNN itself
    evaluates an unaligned box, in which a sideways face may pass.
    """
    import torch

    matrix = np.asarray(SimilarityTransform.from_estimate(landmarks, _READER_TEMPLATE).params[:2])
    face = align(image, matrix, _READER_SIDE, "rgb")
    both = np.stack([face, face[:, ::-1]]).astype(np.float32).transpose(0, 3, 1, 2)
    with one_thread(), torch.no_grad():
        # Values are normalised as in MTCNN; the points are fractions, first all x, then all y.
        _, points, probabilities = _mtcnn(device).onet((torch.from_numpy(both).to(device) - 127.5) / 128)
    read = points.cpu().numpy().astype(np.float64)
    straight, mirrored = read.reshape(2, 2, 5).transpose(0, 2, 1) * _READER_SIDE - 0.5
    mirrored = np.stack([_READER_SIDE - 1 - mirrored[:, 0], mirrored[:, 1]], axis=1)[_MIRRORED]
    back = cv2.invertAffineTransform(matrix)
    return (straight + mirrored) / 2 @ back[:, :2].T + back[:, 2], float(probabilities[:, 1].mean())


def alignment(landmarks: np.ndarray, size: int, margin: float = 0.0, template: np.ndarray = TEMPLATE) -> np.ndarray:
    """Return the least-squares similarity transform (Umeyama 1991), (2, 3), from landmarks, (5, 2), to the template, in
    pixels of an aligned image of side `size`. `margin` is a border around the template, as a fraction of its side.
    """
    target = (template + margin) / (1 + 2 * margin) * size
    return np.asarray(SimilarityTransform.from_estimate(landmarks, target).params[:2])


def square(box: tuple[float, ...], size: int, margin: float = 0.0) -> np.ndarray:
    """Return the transform from a box, extended to a square, to the aligned image; see `stretch` and `alignment`."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (1 + 2 * margin) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return stretch((x - half, y - half, x + half, y + half), size)


def turn_aligned(matrix: np.ndarray, turn: int, size: int) -> np.ndarray:
    """Return a transform from `square` or `stretch` that also turns the image by `turn` counter-clockwise quarters."""
    for _ in range(turn):
        matrix = np.array([matrix[1], [-matrix[0, 0], -matrix[0, 1], size - 1 - matrix[0, 2]]])
    return matrix


def stretch(box: tuple[float, ...], size: int) -> np.ndarray:
    """Return the transform, (2, 3), with one scale per axis, from a box (left, top, right, bottom; 0 is the outer edge
    of the image's first pixel) to the whole aligned image.
    """
    left, top, right, bottom = box
    across, down = size / (right - left), size / (bottom - top)
    # The origin of a matrix's coordinates is the centre of the first pixel, that of a box's coordinates its edge.
    return np.array([[across, 0, across * (0.5 - left) - 0.5], [0, down, down * (0.5 - top) - 0.5]])


def align(image: np.ndarray, matrix: np.ndarray, size: int, colour: str = "grey") -> np.ndarray:
    """Warp an RGB image, uint8, (h, w, 3), by a matrix, (2, 3), to uint8, (size, size), 'grey' (luma, ITU-R BT.601),
    or (size, size, 3), 'rgb'. It is warped at an integer multiple of the size and averaged down: otherwise a large face
    would be aliased, and aliasing changes from frame to frame like an expression.
    """
    across, down = (max(1, round(1 / float(np.hypot(*row[:2])))) for row in matrix)
    factors = np.array([across, down])
    # Pixel centres are at half pixels: enlarging about the corner keeps them in place.
    enlarged = matrix * factors[:, None]
    enlarged[:, 2] += (factors - 1) / 2
    source = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if colour == "grey" else image
    sides = (size * across, size * down)
    warped = cv2.warpAffine(source, enlarged, sides, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return warped if (across, down) == (1, 1) else cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)
