"""One clip from image files to aligned grey frames: the unit of work of a store build."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fdp_lightning.data import faces
from fdp_lightning.data.frames import FrameFile, UnreadableImageError, read_image
from fdp_lightning.errors import UserError


@dataclass(frozen=True)
class FaceSettings:
    """How faces are cut out; part of the store's identity.

    Args:
        size: side of the aligned frames, pixels.
        margin: border around the template, see `faces.alignment`.
        least_confidence: of a detection.
    """

    size: int = 64
    margin: float = 0.0
    least_confidence: float = 0.9

    def __post_init__(self) -> None:
        _require("size", self.size, int, 8, 1024)
        _require("margin", self.margin, int | float, -0.4, 2)
        _require("least_confidence", self.least_confidence, int | float, 0, 1)


def _require(name: str, value: object, kind: Any, least: float, most: float) -> None:
    if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:
        what = "a whole number" if kind is int else "a number"
        raise UserError(f"data.faces.{name} is {value!r}; expected {what} from {least} to {most}")


@dataclass(frozen=True)
class Problem:
    """Something a user should know of a clip. `fatal`: the clip cannot be used as it is annotated."""

    clip: str
    kind: str
    detail: str
    fatal: bool = True


@dataclass
class PreparedClip:
    """Aligned frames of a clip (uint8, shape (n, size, size); n = 0 if it cannot be used) and how they came about."""

    frames: np.ndarray
    numbers: list[int] = field(default_factory=list)
    detected_on: int = -1
    detections: int = 0
    box: tuple[float, ...] = ()
    matrix: list[float] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def prepare_clip(clip: str, files: list[FrameFile], settings: FaceSettings) -> PreparedClip:
    """Decode, find the face on the first frame, and align every frame by that one transform.

    The first frame is the onset, unless that cannot be read.
    Without a face there the nearest later frame with one is used, and noted.

    Args:
        clip: the clip's name in messages.
        files: its frames, onset first.
        settings: of the faces.
    """
    prepared = PreparedClip(np.empty((0, settings.size, settings.size), np.uint8))
    images, used = _decode(clip, files, prepared)
    face = None
    for image, file in zip(images, used, strict=True):
        prepared.detections += 1
        face = faces.find_face(image, settings.least_confidence)
        if face is not None:
            prepared.detected_on = file.number
            break
    if face is None:
        if images:
            where = Path(used[0].path).parent
            prepared.problems.append(Problem(clip, "no_face", f"MTCNN finds no face in any frame of {where}"))
        return prepared
    if prepared.detected_on != used[0].number:
        detail = f"no face on the first frame {used[0].number}; aligned by frame {prepared.detected_on}"
        prepared.problems.append(Problem(clip, "face_on_other_frame", detail, fatal=False))
    if face.count > 1:
        detail = f"{face.count} faces; the largest is used"
        prepared.problems.append(Problem(clip, "several_faces", detail, fatal=False))
    matrix = faces.alignment(face.landmarks, settings.size, settings.margin)
    prepared.frames = np.stack([faces.align(image, matrix, settings.size) for image in images])
    prepared.numbers = [file.number for file in used]
    prepared.box, prepared.matrix = face.box, matrix.ravel().tolist()
    return prepared


def _decode(clip: str, files: list[FrameFile], prepared: PreparedClip) -> tuple[list[np.ndarray], list[FrameFile]]:
    """The images that can be read and are of the first one's size; the others become problems."""
    images: list[np.ndarray] = []
    used = []
    for file in files:
        try:
            image = read_image(file.path)
        except UnreadableImageError as error:
            prepared.problems.append(Problem(clip, "unreadable_image", str(error)))
            continue
        if images and image.shape != images[0].shape:
            (height, width), (first_height, first_width) = image.shape[:2], images[0].shape[:2]
            detail = f"{file.path} is {width}x{height}, the clip began with {first_width}x{first_height}"
            prepared.problems.append(Problem(clip, "odd_size", detail))
            continue
        images.append(image)
        used.append(file)
    return images, used
