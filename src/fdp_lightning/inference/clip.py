"""From footage to the frames that a model sees: one clip, by the very steps of a clip store.

Two passes. The first looks how long the clip is and finds the face; the second decodes to pixels the frames that the
sampling rule asks for, and nothing else. Memory holds these, however long the footage is.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fdp_lightning.data.faces import alignment as faces
from fdp_lightning.data.faces.alignment import QUARTER_TURNS
from fdp_lightning.data.faces.frames import blended
from fdp_lightning.data.faces.prepare_clip import DETECTED, FaceSettings, transform_of
from fdp_lightning.data.input_video.source import Footage, Frame
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.errors import UserError
from fdp_lightning.inference.prediction import FaceUsed

_UNEVEN = 0.5
"""Frames are even in time if no gap differs from the median one by more than this share of it."""


@dataclass(frozen=True)
class Preparation:
    """How a model wants its clips.

    Attributes:
        faces: settings.
        template: where landmarks come to lie, see `faces.TEMPLATE`.
        sampling: of the frames.
    """

    faces: FaceSettings
    template: np.ndarray
    sampling: Sampling

    def face(self, image: np.ndarray, turns: Sequence[int] = QUARTER_TURNS) -> tuple[FaceUsed, np.ndarray] | None:
        """The face of a picture and the transform that aligns it; None where there is none.

        Without a method that looks for faces it is the whole picture.

        Args:
            image: RGB.
            turns: see `faces.find_faces`.
        """
        settings = self.faces
        if settings.method not in DETECTED:
            height, width = image.shape[:2]
            whole = (0.0, 0.0, float(width), float(height))
            return FaceUsed(whole, None, 0, 1), faces.stretch(whole, settings.size)
        upright = not settings.per_frame
        (found,) = faces.find_faces([image], settings.least_confidence, upright, settings.device, turns)
        if found is None:
            return None
        face = FaceUsed(found.box, found.confidence, 0, found.count, found.turn)
        return face, transform_of(found, settings, self.template)

    def align(self, image: np.ndarray, transform: np.ndarray) -> np.ndarray:
        """An aligned frame, uint8, of `faces.frame_shape`."""
        return faces.align(image, transform, self.faces.size, self.faces.colour)


@dataclass(frozen=True)
class ReadClip:
    """The frames of a clip that a model sees; attributes as of `Prediction`."""

    frames: np.ndarray
    frame_numbers: np.ndarray
    seconds: np.ndarray | None
    face: FaceUsed
    transform: np.ndarray
    length: int
    timing: dict[str, float]
    warnings: list[str]


@dataclass
class FirstLook:
    """What a pass over footage sees.

    Attributes:
        numbers: of all frames.
        seconds: of all frames.
        face: on the first frame that has one, with its transform.
        ended: whether all of it was seen.
        warnings: of the footage; only a whole pass knows all of them.
        timing: seconds spent on the pass.
        face_timing: seconds of these spent on looking for the face.
    """

    numbers: list[int] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    face: tuple[FaceUsed, np.ndarray] | None = None
    ended: bool = True
    warnings: list[str] = field(default_factory=list)
    timing: float = 0.0
    face_timing: float = 0.0

    @property
    def times(self) -> np.ndarray | None:
        """Seconds of all frames; None where they are unknown."""
        return None if None in self.seconds else np.array(self.seconds, dtype=np.float64)


def first_look(
    footage: Footage, preparation: Preparation, until: Callable[[Frame], bool] = lambda _: False
) -> FirstLook:
    """Go through footage once: how many frames, when, and where the first face is.

    Args:
        footage: a clip.
        preparation: of the model.
        until: ends the pass at the first frame it is true of; the clip is then another matter.
    """
    begin, look = time.perf_counter(), FirstLook()
    for frame in footage.frames():
        if until(frame):
            look.ended = False
            break
        look.numbers.append(frame.number)
        look.seconds.append(frame.seconds)
        if look.face is None:
            image = frame.read()
            start = time.perf_counter()
            turns = faces.turns_at(len(look.numbers) - 1, None)
            if (found := preparation.face(image, turns)) is not None:
                look.face = replace(found[0], frame=frame.number), found[1]
            look.face_timing += time.perf_counter() - start
    look.warnings, look.timing = list(footage.warnings), time.perf_counter() - begin
    return look


def read_clip(footage: Footage, preparation: Preparation, look: FirstLook | None = None) -> ReadClip:
    """The frames of a clip that a model sees.

    Args:
        footage: the clip, onset to offset.
        preparation: of the model.
        look: of `first_look`, where there has been one.

    Raises:
        UserError: it cannot be read, shows no face, or has too few frames.
    """
    look = look or first_look(footage, preparation)
    start = time.perf_counter()
    if look.face is None:
        raise UserError(
            f"{footage.name}: no face in any of its {len(look.numbers)} frames: no upright face, and none after the "
            "picture is turned by quarters. Expected one seen from the front, at least 20 pixels wide, better 100"
        )
    numbers, seconds = np.array(look.numbers), look.times
    places = places_of(footage.name, preparation.sampling, numbers, seconds)
    needed = np.unique(np.concatenate([np.floor(places), np.ceil(places)]).astype(np.int64))
    aligned, face, transform = _aligned(footage, preparation, look, needed)
    frames = blended(lambda whole: np.stack([aligned[int(place)] for place in whole]), places)
    reading = look.timing - look.face_timing + time.perf_counter() - start
    return ReadClip(
        frames=frames,
        frame_numbers=at(numbers, places),
        seconds=None if seconds is None else at(seconds, places),
        face=face,
        transform=transform,
        length=len(numbers),
        timing={"reading": reading, "face": look.face_timing},
        warnings=[*look.warnings, *_remarks(preparation, look, face)],
    )


def places_of(name: str, sampling: Sampling, numbers: np.ndarray, seconds: np.ndarray | None) -> np.ndarray:
    """`places_in_time` of a clip.

    Raises:
        UserError: it has too few frames.
    """
    if len(numbers) < 2:
        raise UserError(f"{name} is a single picture: an expression is a motion, of two frames at least")
    places = places_in_time(sampling, len(numbers), seconds)
    if not len(places):
        raise UserError(
            f"{name} has {len(numbers)} frames; the model was trained by data.sampling.rule={sampling.rule}, which "
            f"takes {sampling.frames} at least"
        )
    return places


def places_in_time(sampling: Sampling, length: int, seconds: np.ndarray | None) -> np.ndarray:
    """The positions of a rule in a clip whose frames need not come at one rate (ours).

    A rule counts frames, which at one rate is to count time. At a variable rate it is asked for a clip as long at the
    median rate, and its positions are brought back by their times.

    Args:
        sampling: the rule.
        length: frames of the clip, at least 2.
        seconds: of each, ascending, shape (length,); None: at one rate.

    Returns:
        As `Sampling.positions`.
    """
    if seconds is None:
        return sampling.positions(length)
    gaps = np.diff(seconds)
    usual = float(np.median(gaps))
    if np.abs(gaps - usual).max() <= _UNEVEN * usual:
        return sampling.positions(length)
    duration = float(seconds[-1] - seconds[0])
    even = max(2, round(duration / usual) + 1)
    places = sampling.positions(even)
    back = np.interp(places / (even - 1) * duration, seconds - seconds[0], np.arange(length))
    return back.round().astype(np.int64) if places.dtype.kind == "i" else back


def _aligned(
    footage: Footage, preparation: Preparation, look: FirstLook, needed: np.ndarray
) -> tuple[dict[int, np.ndarray], FaceUsed, np.ndarray]:
    """Place → aligned frame, and the face and transform of the first of them."""
    assert look.face is not None
    if not preparation.faces.per_frame:
        images = {place: preparation.align(frame.read(), look.face[1]) for place, frame in _some(footage, needed)}
        return images, *look.face
    # Each by its own face; one without by that of the nearest of these frames that has one (the earlier of two).
    images, found = {}, {}
    for place, frame in _some(footage, needed):
        images[place] = frame.read()
        if (face := preparation.face(images[place], (look.face[0].turned,))) is not None:
            found[place] = replace(face[0], frame=frame.number), face[1]
    found = found or {int(needed[0]): look.face}
    nearest = {place: found[min(found, key=lambda other: abs(other - place))] for place in images}
    aligned = {place: preparation.align(image, nearest[place][1]) for place, image in images.items()}
    return aligned, *nearest[min(nearest)]


def _some(footage: Footage, places: np.ndarray) -> Iterator[tuple[int, Frame]]:
    """The frames at these places."""
    wanted = set(places.tolist())
    for place, frame in enumerate(footage.frames()):
        if place in wanted:
            yield place, frame
        if place >= places[-1]:
            return


def at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values at positions that need not be whole, between two of them by distance."""
    return values[places] if places.dtype.kind == "i" else np.interp(places, np.arange(len(values)), values)


def _remarks(preparation: Preparation, look: FirstLook, face: FaceUsed) -> list[str]:
    """What is unusual about a clip without being in the way."""
    remarks, sampling, settings = [], preparation.sampling, preparation.faces
    if face.count > 1:
        remarks.append(f"There are {face.count} faces on frame {face.frame}; the largest is used.")
    if face.turned:
        remarks.append(turned_remark(face.turned))
    if settings.method in DETECTED and not settings.per_frame and face.frame != look.numbers[0]:
        remarks.append(f"There is no face on the first frame; the clip is aligned by frame {face.frame}.")
    if settings.method == "official_crops":
        remarks.append("The model was trained on the owners' face crops; the whole picture was taken for one.")
    if len(look.numbers) < sampling.frames:
        what = "repeated" if sampling.short == "repeat" else "blended"
        remarks.append(f"It has {len(look.numbers)} frames and the model looks at {sampling.frames}: some are {what}.")
    if sampling.by_apex:
        remarks.append(
            "The model was trained on frames chosen by the apex, which is unknown here: they are chosen evenly."
        )
    if (times := look.times) is None and len(look.numbers) > MANY:
        remarks.append(
            f"{len(look.numbers)} frames of unknown rate are taken for one clip; with predict.fps=200, say, what is "
            "longer than a clip is scanned."
        )
    if times is not None and times[-1] - times[0] > LONGEST:
        remarks.append(
            f"It lasts {times[-1] - times[0]:.1f} s. A micro-expression lasts half a second at most, and the model "
            "knows clips from onset to offset alone; predict.mode=scan looks at windows of that length."
        )
    return remarks


def turned_remark(turned: int) -> str:
    """The warning of footage that lies on its side, or upside down, and whose file does not say so."""
    return (
        f"The face is upright only after the picture is turned by {turned * 90}° counter-clockwise, which its file "
        "does not say: it is aligned so. Turn the video if that is wrong."
    )


LONGEST = 2.0
"""Seconds from which on footage is hardly one micro-expression: four times its limit."""

MANY = 400
"""Frames likewise, at the 200 per second of the field's fastest usual cameras."""
