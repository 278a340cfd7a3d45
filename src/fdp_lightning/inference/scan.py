"""A long video through a window of the length of a micro-expression: a scan, and no spotting.

Every window gets a class, whether or not anything is shown in it; `motion` says how much moved. Each window is aligned
by the face on its first frame. Frames are decoded once and aligned by every window they are in; memory holds the
aligned frames of the open windows and of one batch, however long the video is.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from fdp_lightning.data.faces.alignment import turns_at
from fdp_lightning.data.faces.frames import blended
from fdp_lightning.data.input_video.source import Footage
from fdp_lightning.errors import UserError
from fdp_lightning.inference.clip import LONGEST, Preparation, ReadClip, at, places_of, turned_remark
from fdp_lightning.inference.prediction import FaceUsed, Prediction

NOTICE = "A scan, not a spotting result: every window gets a class, whether or not anything is shown in it."

_TOGETHER = 32
"""Windows that go through the network at once."""


@dataclass(frozen=True)
class ScanSettings:
    """The windows of a scan.

    Attributes:
        window: their length, seconds. A micro-expression lasts half a second at most (Yan et al., "How fast are the
            leaked facial expressions", Journal of Nonverbal Behavior 2013).
        step: from one to the next, seconds.
        longest_clip: what `Model.look` takes for one clip, seconds.

    Raises:
        UserError: a value that cannot be.
    """

    window: float = 0.5
    step: float = 0.25
    longest_clip: float = LONGEST

    def __post_init__(self) -> None:
        for name in ("window", "step", "longest_clip"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
                raise UserError(f"predict.{name} is {value!r}; expected seconds, a number above 0")
        if self.step > self.window:
            raise UserError(f"predict.step={self.step} leaves gaps between windows of predict.window={self.window} s")


@dataclass(frozen=True)
class Window:
    """One window of a scan.

    Attributes:
        start: seconds since the first frame of the video.
        end: seconds, of its last frame.
        first: number of its first frame.
        last: number of its last frame.
        label: as of `Prediction`; None, as all that follows, where its first frame shows no face.
        probabilities: likewise.
        motion: likewise.
        face: likewise.
    """

    start: float
    end: float
    first: int
    last: int
    label: str | None = None
    probabilities: dict[str, float] | None = None
    motion: float | None = None
    face: FaceUsed | None = None


@dataclass(frozen=True)
class Scan:
    """What a model says of a long video.

    Attributes:
        name: of the video.
        windows: in order of time.
        strongest: all that is said of the window in which most moved.
        seconds: the time of the last frame.
        length: frames of the video.
        timing: seconds of reading, of finding faces, and of the network.
        warnings: sentences on what makes it worth less.
    """

    name: str
    windows: list[Window]
    strongest: Prediction
    seconds: float
    length: int
    timing: dict[str, float]
    warnings: list[str]

    def facts(self) -> dict[str, Any]:
        """Plain data: an entry of predict.json. The windows themselves are in timeline.csv."""
        return {
            "clip": self.name,
            "scan": NOTICE,
            "seconds": self.seconds,
            "length": self.length,
            "windows": len(self.windows),
            "windows_without_face": sum(window.label is None for window in self.windows),
            "most_motion": self.strongest.facts(),
            "timing": self.timing,
            "warnings": self.warnings,
        }


def _batched(items: Iterator[tuple[Window, ReadClip | None]]) -> Iterator[list[tuple[Window, ReadClip | None]]]:
    while batch := list(islice(items, _TOGETHER)):
        yield batch


class Predictor(Protocol):
    """What a scan needs of a model."""

    preparation: Preparation

    def of_clips(self, clips: Sequence[ReadClip], names: Sequence[str]) -> Iterator[Prediction]:
        """Predictions of clips that have been read, in their order."""


def scan(footage: Footage, model: Predictor, settings: ScanSettings) -> Scan:
    """See `Model.scan`."""
    start, reader = time.perf_counter(), _Reader(footage, model.preparation, settings)
    done: list[Window] = []
    strongest: Prediction | None = None
    network = 0.0
    for batch in _batched(reader.windows()):
        before = time.perf_counter()
        clips = [clip for _, clip in batch if clip is not None]
        predictions = list(model.of_clips(clips, [footage.name] * len(clips))) if clips else []
        strongest = max(filter(None, [strongest, *predictions]), key=lambda one: one.motion, default=None)
        found = iter(predictions)
        done += [window if clip is None else _filled(window, next(found)) for window, clip in batch]
        network += time.perf_counter() - before
    if not done and reader.blinks:
        raise UserError(
            f"{footage.name}: its windows of {settings.window} s hold one frame each, and an expression is a motion; "
            "a larger predict.window, or predict.mode=clip"
        )
    if not done:
        raise UserError(
            f"{footage.name} lasts {reader.seconds:.2f} s, less than one window of {settings.window} s; "
            "predict.mode=clip takes it for one clip"
        )
    if strongest is None:
        raise UserError(f"{footage.name}: no face on the first frame of any of its {len(done)} windows")
    reading = time.perf_counter() - start - reader.face_seconds - network
    timing = {"reading": reading, "face": reader.face_seconds, "network": network}
    warnings = [*footage.warnings, *reader.remarks()]
    return Scan(footage.name, done, strongest, reader.seconds, reader.frames, timing, warnings)


def _filled(window: Window, prediction: Prediction) -> Window:
    names = ("label", "probabilities", "motion", "face")
    return replace(window, **{name: getattr(prediction, name) for name in names})


@dataclass
class _Open:
    """A window that is being filled."""

    start: float
    face: tuple[FaceUsed, np.ndarray] | None
    frames: list[np.ndarray] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def reach(self) -> float:
        """Seconds from its first frame to the one after its last, at its own rate."""
        gaps = max(1, len(self.seconds) - 1)
        return (self.seconds[-1] - self.start) * (gaps + 1) / gaps


class _Reader:
    """Goes through footage once and hands out its windows.

    Attributes:
        face_seconds: spent on finding faces.
        seconds: of the last frame.
        frames: seen.
        blinks: windows of a single frame, in front of a pause of the video: nothing moves in them: left out.
    """

    def __init__(self, footage: Footage, preparation: Preparation, settings: ScanSettings) -> None:
        self._footage, self._preparation, self._settings = footage, preparation, settings
        self.face_seconds, self.seconds, self.frames, self.blinks, self._several = 0.0, 0.0, 0, 0, 0
        self._searched = 0
        self._turn: int | None = None

    def windows(self) -> Iterator[tuple[Window, ReadClip | None]]:
        """Each window with its frames; None instead of them where its first frame shows no face."""
        settings, begin = self._settings, 0.0
        open_: list[_Open] = []
        for frame in self._footage.frames():
            if frame.seconds is None:
                raise UserError(
                    f"{self._footage.name}: a scan counts seconds, and frames in a folder do not say theirs. Give "
                    "predict.fps=200, say; predict.mode=clip takes all of them for one clip"
                )
            now, self.seconds, self.frames = frame.seconds, frame.seconds, self.frames + 1
            while open_ and now >= open_[0].start + settings.window - _ROUNDING:
                yield from self._closed(open_.pop(0))
            image = None
            if now >= begin - _ROUNDING:
                image = frame.read()
                open_.append(_Open(now, self._face(image, frame.number)))
                while begin <= now + _ROUNDING:  # after a gap in time it goes on behind it
                    begin += settings.step
            for window in open_:
                window.numbers.append(frame.number)
                window.seconds.append(now)
                if window.face is not None:
                    image = frame.read() if image is None else image
                    window.frames.append(self._preparation.align(image, window.face[1]))
        # A window that the end of the video leaves open is whole if its last frame was the last that belonged to it.
        for window in open_:
            if window.reach >= settings.window - _ROUNDING:
                yield from self._closed(window)

    def remarks(self) -> list[str]:
        """What is unusual about the video."""
        remarks = []
        if self._several:
            remarks.append(
                f"There are several faces on the first frame of {self._several} windows; the largest is used."
            )
        if self._turn:
            remarks.append(turned_remark(self._turn))
        if self._preparation.faces.per_frame:
            remarks.append(
                "The model was trained on frames aligned one by one; a window is aligned by its first frame."
            )
        return remarks

    def _face(self, image: np.ndarray, number: int) -> tuple[FaceUsed, np.ndarray] | None:
        start = time.perf_counter()
        found = self._preparation.face(image, turns_at(self._searched, self._turn))
        self.face_seconds += time.perf_counter() - start
        self._searched += 1
        if found is None:
            return None
        self._turn = found[0].turned
        self._several += found[0].count > 1
        return replace(found[0], frame=number), found[1]

    def _closed(self, window: _Open) -> Iterator[tuple[Window, ReadClip | None]]:
        if len(window.numbers) < 2:
            self.blinks += 1
            return
        made = Window(window.start, window.seconds[-1], window.numbers[0], window.numbers[-1])
        if window.face is None:
            yield made, None
            return
        numbers, seconds = np.array(window.numbers), np.array(window.seconds)
        places = places_of(self._footage.name, self._preparation.sampling, numbers, seconds)
        frames = np.stack(window.frames)
        clip = ReadClip(
            frames=blended(lambda whole: frames[whole], places),
            frame_numbers=at(numbers, places),
            seconds=at(seconds, places),
            face=window.face[0],
            transform=window.face[1],
            length=len(frames),
            timing={},
            warnings=[],
        )
        yield made, clip


_ROUNDING = 1e-6
"""Seconds by which time stamps may be off."""
