"""Preparation of a clip, from image files to aligned frames: the unit of work of a store build."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fdp_lightning.console.option_values import require_settings
from fdp_lightning.data.checks.problems import Problem, remark
from fdp_lightning.data.faces import alignment as faces
from fdp_lightning.data.faces.frames import (
    FrameFile,
    UnreadableImageError,
    bits_of,
    eight_bits,
    range_remark,
    read_image,
    read_samples,
)
from fdp_lightning.errors import UserError

METHODS = ("mtcnn", "official_crops", "box", "none")
DETECTED = ("mtcnn", "box")
COLOURS = ("grey", "rgb")
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class FaceSettings:
    """Settings of face detection and alignment; part of the store's identity.

    Attributes:
        size: side of the aligned frames, pixels.
        margin: border around the template or the box as a fraction of the side, see `faces.alignment` and
            `faces.square`; must be 0 if `method` detects no face.
        least_confidence: lowest accepted detection probability.
        per_frame: True to align every frame by its own detection, as in the released code of FDP. Landmarks jitter
            between frames by as much as a micro-expression moves a face: for reproduction only.
        method: one of `METHODS`. 'mtcnn': a similarity transform of MTCNN's landmarks to a template; 'box': MTCNN's
            box, extended to a square and scaled without rotation; 'none': the whole image; 'official_crops': the whole
            of the face crops published with a dataset. A whole image that is not square is stretched to a square, so
            that none of it is lost; the crops are nearly square.
        colour: 'grey' or 'rgb'.
        batch: images per MTCNN batch: the first frames of this many clips, or frames of one clip with `per_frame`. In a
            batch larger than 1, the other images shift a face by up to a hundredth of a pixel, so a resumed build may
            differ by that much from an uninterrupted one. On two cores, batches save a sixth of the detection time.
        device: device of MTCNN, 'cpu' or 'cuda'; recorded in the store if it is not the CPU.
        bits: bits used by 16-bit images, 8 to 16; None: the smallest camera bit depth that holds a clip's values.
    """

    size: int = 64
    margin: float = 0.0
    least_confidence: float = 0.9
    per_frame: bool = False
    method: str = "mtcnn"
    colour: str = "grey"
    batch: int = 1
    device: str = "cpu"
    bits: int | None = None

    def __post_init__(self) -> None:
        require_settings("data.faces", self)
        if self.method not in DETECTED:
            for name, without in (("per_frame", False), ("margin", 0), ("batch", 1), ("device", "cpu")):
                if getattr(self, name) != without:
                    raise UserError(
                        f"data.faces.{name} is {getattr(self, name)!r}, but data.faces.method={self.method} detects "
                        f"no face; expected {str(without).lower()}, or one of the methods {', '.join(DETECTED)}"
                    )

    def facts(self) -> dict[str, Any]:
        """Return the settings that identify a store; newer options only if set, so older stores keep their names."""
        usual = {"batch": 1, "device": "cpu", "bits": None}
        return {name: value for name, value in asdict(self).items() if usual.get(name) != value}

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of an aligned frame: (size, size), or (size, size, 3) in colour."""
        return (self.size, self.size) if self.colour == "grey" else (self.size, self.size, 3)


@dataclass
class PreparedClip:
    """Aligned frames of a clip, uint8, (n, *frame_shape), with n = 0 if it cannot be used, and their provenance.
    `detected_on` (frame number), `box` and `matrix` are those of the face, or of the whole image, by which the first
    frame is aligned; `detections` is the number of images searched for a face.
    """

    frames: np.ndarray
    frame_numbers: list[int] = field(default_factory=list)
    detected_on: int = -1
    detections: int = 0
    box: tuple[float, ...] = ()
    matrix: list[float] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def prepare_clips(clips: Sequence[tuple[str, list[FrameFile]]], settings: FaceSettings) -> Iterator[PreparedClip]:
    """Prepare up to `settings.batch` clips as `prepare_clip` does, with MTCNN on their first frames together."""
    together = settings.method in DETECTED and settings.batch > 1 and not settings.per_frame
    images = [_first_image(files, settings.bits) if together else None for _, files in clips]
    found = iter(_find_faces([image for image in images if image is not None], settings))
    for (clip, files), image in zip(clips, images, strict=True):
        yield prepare_clip(clip, files, settings, () if image is None else [next(found)])


def prepare_clip(
    clip: str, files: list[FrameFile], settings: FaceSettings, first: Sequence[faces.Face | None] = ()
) -> PreparedClip:
    """Decode a clip, find the face on the first frame, and align every frame by the same transform.

    The first frame is the onset, unless that cannot be read. If it shows no face, the nearest later frame with one is
    used, with a remark. With `settings.per_frame`, a frame without a face is aligned by the nearest frame with one (the
    earlier of two). `first` holds MTCNN's result on the first frame, if it is known.
    """
    prepared = PreparedClip(np.empty((0, *settings.frame_shape), np.uint8))
    images, used = _decode(clip, files, prepared, settings.bits)
    if not images:
        return prepared
    numbers = [file.number for file in used]
    if settings.method not in DETECTED:
        height, width = images[0].shape[:2]
        boxes: dict[int, tuple[float, ...]] = {0: (0.0, 0.0, float(width), float(height))}
        matrices = {0: faces.stretch(boxes[0], settings.size)}
    else:
        found = _find(images, settings, prepared, first)
        if not found:
            where = f"in any frame of {used[0].path.parent}, upright or after quarter turns"
            prepared.problems.append(Problem(clip, "no_face", f"MTCNN finds no face {where}"))
            return prepared
        prepared.problems += _remarks(clip, numbers, found, settings.per_frame)
        boxes = {place: face.box for place, face in found.items()}
        matrices = {place: transform_of(face, settings) for place, face in found.items()}
    nearest = [min(boxes, key=lambda place: abs(numbers[place] - number)) for number in numbers]
    prepared.frame_numbers, prepared.detected_on = numbers, numbers[nearest[0]]
    by = [matrices[place] for place in nearest]
    aligned = [faces.align(*pair, settings.size, settings.colour) for pair in zip(images, by, strict=True)]
    prepared.frames = np.stack(aligned)
    prepared.box, prepared.matrix = boxes[nearest[0]], matrices[nearest[0]].ravel().tolist()
    return prepared


def _find(
    images: list[np.ndarray], settings: FaceSettings, prepared: PreparedClip, first: Sequence[faces.Face | None]
) -> dict[int, faces.Face]:
    """Return frame position → its face, for the first frame that has one or for all; count the images searched."""
    found: dict[int, faces.Face] = {}
    # One by one if the first face ends the search: the rest of a batch would be wasted.
    size, turn = settings.batch if settings.per_frame else 1, None
    for begin in range(0, len(images), size):
        if begin < len(first):
            seen = list(first[begin : begin + size])
        else:
            seen = _find_faces(images[begin : begin + size], settings, faces.turns_at(begin // size, turn))
        for place, face in enumerate(seen, start=begin):
            prepared.detections += 1
            if face is not None:
                found[place] = face
                turn = face.turn if turn is None else turn
                if not settings.per_frame:
                    return found
    return found


def _find_faces(
    images: list[np.ndarray], settings: FaceSettings, turns: Sequence[int] = faces.QUARTER_TURNS
) -> list[faces.Face | None]:
    upright = not settings.per_frame  # per frame, landmarks are used as detected, as in the released code
    return faces.find_faces(images, settings.least_confidence, upright, settings.device, turns)


def transform_of(face: faces.Face, settings: FaceSettings, template: np.ndarray = faces.TEMPLATE) -> np.ndarray:
    """Return the transform that aligns a face under the settings, shape (2, 3), see `square` and `alignment`."""
    if settings.method == "box":
        return faces.turn_aligned(faces.square(face.box, settings.size, settings.margin), face.turn, settings.size)
    return faces.alignment(face.landmarks, settings.size, settings.margin, template)


def _remarks(clip: str, numbers: list[int], found: dict[int, faces.Face], per_frame: bool) -> Iterator[Problem]:
    total = len(numbers)
    if turned := sorted({face.turn for face in found.values()} - {0}):
        detail = f"the face is sideways or upside down; turning it {turned[0] * 90}° counter-clockwise makes it upright"
        yield remark(clip, "turned_face", detail)
    if per_frame and len(found) < total:
        detail = f"no face on {total - len(found)} of {total} frames; each is aligned by the nearest frame with one"
        yield remark(clip, "face_on_other_frame", detail)
    if not per_frame and 0 not in found:
        detail = f"no face on the first frame {numbers[0]}; aligned by frame {numbers[min(found)]}"
        yield remark(clip, "face_on_other_frame", detail)
    if several := [face.count for face in found.values() if face.count > 1]:
        where = f" on {len(several)} of {total} frames" if per_frame else ""
        yield remark(clip, "several_faces", f"{max(several)} faces{where}; the largest is used")


def _decode(
    clip: str, files: list[FrameFile], prepared: PreparedClip, bits: int | None
) -> tuple[list[np.ndarray], list[FrameFile]]:
    """Return the readable images that have the first one's size, with their files; the others become problems."""
    images: list[np.ndarray] = []
    used = []
    for file in files:
        try:
            image = read_samples(file.path)
        except UnreadableImageError as error:
            prepared.problems.append(Problem(clip, "unreadable_frame", str(error)))
            continue
        if images and image.shape != images[0].shape:
            (height, width), (first_height, first_width) = image.shape[:2], images[0].shape[:2]
            detail = f"{file.path} is {width}x{height}, the clip began with {first_width}x{first_height}"
            prepared.problems.append(Problem(clip, "odd_size", detail))
            continue
        images.append(image)
        used.append(file)
    if any(image.dtype == np.uint16 for image in images):
        # One range for all frames, because the brightness would flicker otherwise.
        found = bits_of(images)
        if scaled := range_remark(bits or found, "data.faces.bits" if bits else ""):
            above = f"; values above that (up to {found} bits) become white" if bits and found > bits else ""
            prepared.problems.append(remark(clip, "sample_range", scaled + above))
        images = [eight_bits(image, bits or found) for image in images]
    return images, used


def _first_image(files: list[FrameFile], bits: int | None) -> np.ndarray | None:
    for file in files:
        with suppress(UnreadableImageError):
            return read_image(file.path, bits)
    return None
