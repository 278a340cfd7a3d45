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
        per_frame: align every frame by its own landmarks, as the released code of FDP does. Landmarks tremble from
            frame to frame by as much as a micro-expression moves a face: only to reproduce.
    """

    size: int = 64
    margin: float = 0.0
    least_confidence: float = 0.9
    per_frame: bool = False

    def __post_init__(self) -> None:
        _require("size", self.size, int, 8, 1024)
        _require("margin", self.margin, int | float, -0.4, 2)
        _require("least_confidence", self.least_confidence, int | float, 0, 1)
        if not isinstance(self.per_frame, bool):
            raise UserError(f"data.faces.per_frame is {self.per_frame!r}; expected true or false")


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
    """Aligned frames of a clip (uint8, shape (n, size, size); n = 0 if it cannot be used) and how they came about.

    `detected_on`, `box` and `matrix` are of the face that the first frame is aligned by.
    """

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
    With `settings.per_frame` a face is looked for on every frame, and a frame without one is aligned by the nearest
    frame that has one (the earlier of two).

    Args:
        clip: the clip's name in messages.
        files: its frames, onset first.
        settings: of the faces.
    """
    prepared = PreparedClip(np.empty((0, settings.size, settings.size), np.uint8))
    images, used = _decode(clip, files, prepared)
    found: dict[int, faces.Face] = {}
    for place, image in enumerate(images):
        prepared.detections += 1
        face = faces.find_face(image, settings.least_confidence)
        if face is not None:
            found[place] = face
            if not settings.per_frame:
                break
    if not found:
        if images:
            where = Path(used[0].path).parent
            prepared.problems.append(Problem(clip, "no_face", f"MTCNN finds no face in any frame of {where}"))
        return prepared
    prepared.numbers = [file.number for file in used]
    nearest = [min(found, key=lambda place: abs(prepared.numbers[place] - number)) for number in prepared.numbers]
    prepared.detected_on = prepared.numbers[nearest[0]]
    prepared.problems += _remarks(clip, prepared, found, settings.per_frame)
    matrices = {place: faces.alignment(face.landmarks, settings.size, settings.margin) for place, face in found.items()}
    prepared.frames = np.stack(
        [faces.align(image, matrices[place], settings.size) for image, place in zip(images, nearest, strict=True)]
    )
    prepared.box, prepared.matrix = found[nearest[0]].box, matrices[nearest[0]].ravel().tolist()
    return prepared


def _remarks(clip: str, prepared: PreparedClip, found: dict[int, faces.Face], per_frame: bool) -> list[Problem]:
    """What is unusual about the faces found (place of the frame → face), without being in the way."""
    total, remarks = len(prepared.numbers), []
    several = [face.count for face in found.values() if face.count > 1]
    if per_frame and len(found) < total:
        detail = f"no face on {total - len(found)} of {total} frames; each is aligned by the nearest frame with one"
        remarks.append(Problem(clip, "face_on_other_frame", detail, fatal=False))
    if not per_frame and 0 not in found:
        detail = f"no face on the first frame {prepared.numbers[0]}; aligned by frame {prepared.detected_on}"
        remarks.append(Problem(clip, "face_on_other_frame", detail, fatal=False))
    if several:
        where = f" on {len(several)} of {total} frames" if per_frame else ""
        detail = f"{max(several)} faces{where}; the largest is used"
        remarks.append(Problem(clip, "several_faces", detail, fatal=False))
    return remarks


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
