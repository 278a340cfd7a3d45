"""Input videos as frames in time: the common interface of video files and folders of frames."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

import numpy as np

from fdp_lightning.errors import UserError


@dataclass(frozen=True)
class Frame:
    """One frame of an input video, decoded to pixels on demand.

    Attributes:
        number: frame number, counted from 0 in a video file, from the file name in a folder.
        seconds: time since the first frame, seconds; None if the frame rate is unknown.
        read: function that returns the upright picture, RGB, uint8, shape (h, w, 3).
    """

    number: int
    seconds: float | None
    read: Callable[[], np.ndarray]


class InputVideo(Protocol):
    """An input video, a clip or a long recording.

    Attributes:
        name: name for messages and files.
        warnings: sentences on non-fatal problems, complete after an iteration over all frames.
    """

    name: str
    warnings: list[str]

    def frames(self) -> Iterator[Frame]:
        """Yield all frames in order of time, from the beginning at each call; few are in memory at once.

        Raises UserError if the video cannot be read or holds no frame, or a frame cannot be decoded.
        """


def frame_rate(fps: float | None, source: object) -> float | None:
    """Return a frame rate, frames per second; raises UserError if it is not a positive number."""
    is_number = isinstance(fps, Real) and not isinstance(fps, bool)  # NumPy's numbers too
    if fps is not None and not (is_number and math.isfinite(fps) and fps > 0):
        raise UserError(f"predict.fps={fps!r}: expected the frames per second of {source}, a number above 0.")
    return fps


LONGEST_NAME = 100
_UNUSABLE = re.compile(r"[^\w.()+@ -]")  # all characters but those allowed in folder names on every system


def folder_name(name: str) -> str:
    """Turn a name into a safe folder name: never empty, hidden, or a path to elsewhere."""
    return _UNUSABLE.sub("_", name)[:LONGEST_NAME].strip(". ") or "clip"
