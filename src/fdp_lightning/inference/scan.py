"""A long video, scanned with a sliding window as long as a micro-expression.

Every window gets a class, whether or not it shows an expression; `motion` measures how much moved. Each window is
aligned by the face on its first frame. Frames are decoded once and aligned by every window that contains them; memory
holds the aligned frames of the open windows and of one batch, however long the video is.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from fdp_lightning.console.option_values import require_settings
from fdp_lightning.data.faces.alignment import turns_at
from fdp_lightning.data.faces.frames import blended
from fdp_lightning.data.input_video.source import InputVideo
from fdp_lightning.errors import UserError
from fdp_lightning.inference.clip import LONGEST, Preparation, ReadClip, frame_positions, interpolated, turned_remark
from fdp_lightning.inference.prediction import FaceUsed, Prediction

NOTICE = "A scan, not a spotting result: every window gets a class, whether or not it shows an expression."

_BATCH = 32  # number of windows per forward pass of the network


@dataclass(frozen=True)
class ScanSettings:
    """The windows of a scan, in seconds; UserError for a value out of range.

    A micro-expression lasts half a second at most (Yan et al., "How fast are the leaked facial expressions", Journal of
    Nonverbal Behavior 2013). `Model.look` treats a video of up to `longest_clip` as one clip.
    """

    window: float = 0.5
    step: float = 0.25
    longest_clip: float = LONGEST

    def __post_init__(self) -> None:
        require_settings("predict", self)
        if self.step > self.window:
            raise UserError(f"predict.step={self.step} leaves gaps between windows of predict.window={self.window} s")


@dataclass(frozen=True)
class Window:
    """One window of a scan: times since the first frame of the video, seconds, and numbers of its first and last frame.

    The other fields are as in `Prediction`, or None if its first frame shows no face.
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
    """Predictions of a long video: its windows in order of time, and the prediction of the one with the most motion.

    `seconds` is the time of the last frame; `length` counts frames; `timing` is as in `Prediction`.
    """

    name: str
    windows: list[Window]
    strongest: Prediction
    seconds: float
    length: int
    timing: dict[str, float]
    warnings: list[str]

    def facts(self) -> dict[str, Any]:
        """Return plain data: an entry of predict.json. The windows are in timeline.csv."""
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


def scan(
    video: InputVideo,
    preparation: Preparation,
    predict: Callable[[Sequence[ReadClip], str], Iterator[Prediction]],
    settings: ScanSettings,
) -> Scan:
    """See `Model.scan`; `predict` is `Model.predict_clips`."""
    start, reader = time.perf_counter(), _Reader(video, preparation, settings)
    windows = reader.windows()
    done: list[Window] = []
    strongest: Prediction | None = None
    network = 0.0
    while batch := list(islice(windows, _BATCH)):
        before = time.perf_counter()
        clips = [clip for _, clip in batch if clip is not None]
        predictions = list(predict(clips, video.name)) if clips else []
        strongest = max(filter(None, [strongest, *predictions]), key=lambda one: one.motion, default=None)
        found = iter(predictions)
        done += [window if clip is None else _filled(window, next(found)) for window, clip in batch]
        network += time.perf_counter() - before
    if not done:
        raise UserError(
            f"{video.name} lasts {reader.seconds:.2f} s and has no window of {settings.window} s with at least two "
            "frames. Use another predict.window, or predict.mode=clip, which treats it as one clip"
        )
    if strongest is None:
        raise UserError(f"{video.name}: no face on the first frame of any of its {len(done)} windows")
    reading = time.perf_counter() - start - reader.face_seconds - network
    timing = {"reading": reading, "face": reader.face_seconds, "network": network}
    warnings = [*video.warnings, *reader.remarks()]
    return Scan(video.name, done, strongest, reader.seconds, reader.frames, timing, warnings)


def _filled(window: Window, found: Prediction) -> Window:
    return replace(window, label=found.label, probabilities=found.probabilities, motion=found.motion, face=found.face)


@dataclass
class _Open:
    """A window that is being filled."""

    start: float
    face: tuple[FaceUsed, np.ndarray] | None
    frames: list[np.ndarray] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class _Reader:
    """Reader that goes through a video once and yields its windows."""

    def __init__(self, video: InputVideo, preparation: Preparation, settings: ScanSettings) -> None:
        self._video, self._preparation, self._settings = video, preparation, settings
        self.face_seconds, self.seconds, self.frames = 0.0, 0.0, 0
        self._several, self._searched = 0, 0
        self._turn: int | None = None

    def windows(self) -> Iterator[tuple[Window, ReadClip | None]]:
        """Yield each window with its frames, or with None if its first frame shows no face."""
        settings, begin = self._settings, 0.0
        open_: list[_Open] = []
        for frame in self._video.frames():
            if frame.seconds is None:
                raise UserError(
                    f"{self._video.name}: a scan needs the time of each frame, which a folder of frames does not "
                    "contain. Set predict.fps=200 (for example); predict.mode=clip treats all frames as one clip"
                )
            now, self.seconds, self.frames = frame.seconds, frame.seconds, self.frames + 1
            while open_ and now >= open_[0].start + settings.window - _ROUNDING:
                yield from self._closed(open_.pop(0))
            image = None
            if now >= begin - _ROUNDING:
                image = frame.read()
                open_.append(_Open(now, self._face(image, frame.number)))
                while begin <= now + _ROUNDING:  # continues after a gap in time
                    begin += settings.step
            for window in open_:
                window.numbers.append(frame.number)
                window.seconds.append(now)
                if window.face is not None:
                    image = frame.read() if image is None else image
                    window.frames.append(self._preparation.align(image, window.face[1]))
        for window in open_:  # complete if, at its own frame rate, no further frame would belong to it
            gaps = max(1, len(window.seconds) - 1)
            if (self.seconds - window.start) * (gaps + 1) / gaps >= settings.window - _ROUNDING:
                yield from self._closed(window)

    def remarks(self) -> list[str]:
        """Return a warning for everything unusual about the video."""
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
        found = self._preparation.face(image, number, turns_at(self._searched, self._turn))
        self.face_seconds += time.perf_counter() - start
        self._searched += 1
        if found is not None:
            self._turn = found[0].turned
            self._several += found[0].count > 1
        return found

    def _closed(self, window: _Open) -> Iterator[tuple[Window, ReadClip | None]]:
        if len(window.numbers) < 2:  # a gap in the video follows its first frame
            return
        made = Window(window.start, window.seconds[-1], window.numbers[0], window.numbers[-1])
        if window.face is None:
            yield made, None
            return
        numbers, seconds = np.array(window.numbers), np.array(window.seconds)
        positions = frame_positions(self._video.name, self._preparation.sampling, numbers, seconds)
        frames = np.stack(window.frames)
        clip = ReadClip(
            frames=blended(lambda whole: frames[whole], positions),
            frame_numbers=interpolated(numbers, positions),
            seconds=interpolated(seconds, positions),
            face=window.face[0],
            transform=window.face[1],
            length=len(frames),
            timing={},
        )
        yield made, clip


_ROUNDING = 1e-6  # tolerance of time stamps, seconds
