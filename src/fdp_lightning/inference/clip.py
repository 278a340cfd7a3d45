"""From an input video to the frames that a model sees, prepared exactly like the clips of a clip store.

There are two passes: the first determines the clip's length and finds the face, the second decodes only the frames that
the sampling rule selects. Only these are held in memory, however long the video is.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fdp_lightning.data.faces import alignment as faces
from fdp_lightning.data.faces.frames import blended
from fdp_lightning.data.faces.prepare_clip import DETECTED, FaceSettings, transform_of
from fdp_lightning.data.input_video.source import Frame, InputVideo
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.errors import UserError
from fdp_lightning.inference.prediction import FaceUsed, ReadClip

_UNEVEN = 0.5  # A clip has a constant frame rate if no gap differs from the median gap by more than this fraction of it


@dataclass(frozen=True)
class Preparation:
    """Preparation of the clips of a model: face settings, landmarks to align to, and the rule that selects frames."""

    faces: FaceSettings
    template: np.ndarray
    sampling: Sampling

    def face(self, image: np.ndarray, number: int, turns: Sequence[int]) -> tuple[FaceUsed, np.ndarray] | None:
        """Return the face in the RGB image of a frame and the transform that aligns it; None if no face is found.

        For a method without face detection it is the whole image. `turns` are quarter turns to try, see
        `faces.find_faces`.
        """
        settings = self.faces
        if settings.method not in DETECTED:
            height, width = image.shape[:2]
            whole = (0.0, 0.0, float(width), float(height))
            return FaceUsed(whole, None, number, 1), faces.stretch(whole, settings.size)
        upright = not settings.per_frame
        (found,) = faces.find_faces([image], settings.least_confidence, upright, settings.device, turns)
        if found is None:
            return None
        face = FaceUsed(found.box, found.confidence, number, found.count, found.turn)
        return face, transform_of(found, settings, self.template)

    def align(self, image: np.ndarray, transform: np.ndarray) -> np.ndarray:
        """Return the aligned frame, uint8, of shape `faces.frame_shape`."""
        return faces.align(image, transform, self.faces.size, self.faces.colour)


@dataclass(frozen=True)
class FirstLook:
    """Result of the first pass over a video.

    `numbers` and `seconds` are those of all frames; `seconds` is None if the time of any is unknown. `face` is the
    first face found, with the transform that aligns it. `ended` is True if the pass reached the end of the video; only
    then are `warnings` complete. `timing` is as in `ReadClip`.
    """

    numbers: np.ndarray
    seconds: np.ndarray | None
    face: tuple[FaceUsed, np.ndarray] | None
    ended: bool
    warnings: list[str]
    timing: dict[str, float]


def first_look(video: InputVideo, preparation: Preparation, longest: float = math.inf) -> FirstLook:
    """Read a video, up to the first frame later than `longest` seconds, to count frames and find the first face."""
    begin, searching, face, ended = time.perf_counter(), 0.0, None, True
    numbers: list[int] = []
    seconds: list[float | None] = []
    for frame in video.frames():
        if (frame.seconds or 0) > longest:
            ended = False
            break
        numbers.append(frame.number)
        seconds.append(frame.seconds)
        if face is None:
            image = frame.read()
            start = time.perf_counter()
            face = preparation.face(image, frame.number, faces.turns_at(len(numbers) - 1, None))
            searching += time.perf_counter() - start
    times = None if None in seconds else np.array(seconds, dtype=np.float64)
    timing = {"reading": time.perf_counter() - begin - searching, "face": searching}
    return FirstLook(np.array(numbers), times, face, ended, list(video.warnings), timing)


def read_clip(video: InputVideo, preparation: Preparation, look: FirstLook | None = None) -> ReadClip:
    """Read the frames of a clip, from onset to offset, that a model sees; `look` avoids a second `first_look`.

    UserError if the video cannot be read, shows no face, or has too few frames.
    """
    look = look or first_look(video, preparation)
    start = time.perf_counter()
    if look.face is None:
        raise UserError(
            f"{video.name}: no face in any of its {len(look.numbers)} frames, upright or in quarter turns. "
            "Expected a frontal face, at least 20 pixels wide, preferably 100"
        )
    numbers, seconds = look.numbers, look.seconds
    positions = frame_positions(video.name, preparation.sampling, numbers, seconds)
    needed = np.unique(np.concatenate([np.floor(positions), np.ceil(positions)]).astype(np.int64))
    aligned, face, transform = _aligned(video, preparation, look, needed)
    frames = blended(lambda whole: np.stack([aligned[int(index)] for index in whole]), positions)
    return ReadClip(
        frames=frames,
        frame_numbers=interpolated(numbers, positions),
        seconds=None if seconds is None else interpolated(seconds, positions),
        face=face,
        transform=transform,
        length=len(numbers),
        timing={**look.timing, "reading": look.timing["reading"] + time.perf_counter() - start},
        warnings=[*look.warnings, *_remarks(preparation, look, face)],
    )


def frame_positions(name: str, sampling: Sampling, numbers: np.ndarray, seconds: np.ndarray | None) -> np.ndarray:
    """Return `positions_in_time` of a clip; UserError if it has too few frames."""
    if len(numbers) < 2:
        raise UserError(f"{name} is a single image: an expression is a motion and needs at least two frames")
    positions = positions_in_time(sampling, len(numbers), seconds)
    if not len(positions):
        raise UserError(
            f"{name} has {len(numbers)} frames; the model was trained with data.sampling.rule={sampling.rule}, which "
            f"needs at least {sampling.frames}"
        )
    return positions


def positions_in_time(sampling: Sampling, length: int, seconds: np.ndarray | None) -> np.ndarray:
    """Return positions like `Sampling.positions`, but in a clip whose frame rate may vary (ours).

    A rule counts frames, which at a constant rate is the same as measuring time. For a variable rate it is applied to a
    clip of the same duration at the median rate, and its positions are mapped back by their times. `seconds` are the
    ascending times of at least two frames; None: constant rate.
    """
    if seconds is None:
        return sampling.positions(length)
    gaps = np.diff(seconds)
    usual = float(np.median(gaps))
    if np.abs(gaps - usual).max() <= _UNEVEN * usual:
        return sampling.positions(length)
    duration = float(seconds[-1] - seconds[0])
    even = max(2, round(duration / usual) + 1)
    positions = sampling.positions(even)
    back = np.interp(positions / (even - 1) * duration, seconds - seconds[0], np.arange(length))
    return back.round().astype(np.int64) if positions.dtype.kind == "i" else back


def _aligned(
    video: InputVideo, preparation: Preparation, look: FirstLook, needed: np.ndarray
) -> tuple[dict[int, np.ndarray], FaceUsed, np.ndarray]:
    """Return index → aligned frame, and the face and transform of the first of these frames."""
    assert look.face is not None
    if not preparation.faces.per_frame:
        images = {index: preparation.align(frame.read(), look.face[1]) for index, frame in _selected(video, needed)}
        return images, *look.face
    # Align each frame by its own face, and one without a face by that of the nearest frame (the earlier of two).
    images, found = {}, {}
    for index, frame in _selected(video, needed):
        images[index] = frame.read()
        if (face := preparation.face(images[index], frame.number, (look.face[0].turned,))) is not None:
            found[index] = face
    found = found or {int(needed[0]): look.face}
    nearest = {index: found[min(found, key=lambda other: abs(other - index))] for index in images}
    aligned = {index: preparation.align(image, nearest[index][1]) for index, image in images.items()}
    return aligned, *nearest[min(nearest)]


def _selected(video: InputVideo, indices: np.ndarray) -> Iterator[tuple[int, Frame]]:
    wanted = set(indices.tolist())
    for index, frame in enumerate(video.frames()):
        if index in wanted:
            yield index, frame
        if index >= indices[-1]:
            return
    raise UserError(f"{video.name} became shorter while it was read; predict it again when it is complete")


def interpolated(values: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return values at positions, linearly interpolated where a position is not a whole number."""
    return values[positions] if positions.dtype.kind == "i" else np.interp(positions, np.arange(len(values)), values)


def _remarks(preparation: Preparation, look: FirstLook, face: FaceUsed) -> list[str]:
    """Return a warning for everything unusual about a clip that does not prevent a prediction."""
    remarks, sampling, settings = [], preparation.sampling, preparation.faces
    if face.count > 1:
        remarks.append(f"There are {face.count} faces on frame {face.frame}; the largest is used.")
    if face.turned:
        remarks.append(turned_remark(face.turned))
    if settings.method in DETECTED and not settings.per_frame and face.frame != look.numbers[0]:
        remarks.append(f"There is no face on the first frame; the clip is aligned by frame {face.frame}.")
    if settings.method == "official_crops":
        remarks.append("The model was trained on the owners' face crops; the whole image is treated as such a crop.")
    if len(look.numbers) < sampling.frames:
        what = "repeated" if sampling.short == "repeat" else "blended"
        remarks.append(f"It has {len(look.numbers)} frames, but the model takes {sampling.frames}: some are {what}.")
    if sampling.by_apex:
        remarks.append(
            "The model was trained on frames around the apex; here it is unknown, so they are spaced evenly."
        )
    if (times := look.seconds) is None and len(look.numbers) > MANY:
        remarks.append(
            f"{len(look.numbers)} frames at an unknown rate are treated as one clip; with predict.fps=200 (for "
            "example) an input longer than a clip is scanned."
        )
    if times is not None and times[-1] - times[0] > LONGEST:
        remarks.append(
            f"It lasts {times[-1] - times[0]:.1f} s. A micro-expression lasts half a second at most, and the model "
            "only knows clips from onset to offset; predict.mode=scan uses windows of that length."
        )
    return remarks


def turned_remark(turned: int) -> str:
    """Return the warning for a video that is rotated without stating it in its file."""
    return (
        f"The face is upright only after the image is rotated by {turned * 90}° counter-clockwise, which the file does "
        "not state: the clip is aligned that way. Rotate the video if this is wrong."
    )


LONGEST = 2.0  # duration in seconds above which a video is hardly one micro-expression: four times their limit

MANY = 400  # the same in frames, at the 200 frames per second of the fastest cameras in common use
