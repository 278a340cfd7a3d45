"""Somebody's own footage, as frames in time: what a video file and a folder of frames have in common."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fdp_lightning.errors import UserError


@dataclass(frozen=True)
class Frame:
    """One frame of footage, decoded to pixels by need.

    Attributes:
        number: counted from 0 in a video, as its file is numbered in a folder.
        seconds: since the first frame; None where the frame rate is unknown.
        read: its picture the right way up, RGB, uint8, shape (h, w, 3).
    """

    number: int
    seconds: float | None
    read: Callable[[], np.ndarray]


class Footage(Protocol):
    """A clip or a long video.

    Attributes:
        name: for messages and file names.
        warnings: sentences on what is wrong with it and could be got over, complete once the frames have been gone
            through.
    """

    name: str
    warnings: list[str]

    def frames(self) -> Iterator[Frame]:
        """All frames in order of time, from the beginning each time it is called; few are in memory at once.

        Raises:
            UserError: it cannot be read, holds no frame, or a frame cannot be decoded.
        """


def frame_rate(fps: float | None, source: object) -> float | None:
    """Frames per second as somebody gives them, checked.

    Raises:
        UserError: it is no positive number.
    """
    is_number = isinstance(fps, int | float) and not isinstance(fps, bool)
    if fps is not None and not (is_number and math.isfinite(fps) and fps > 0):
        raise UserError(f"predict.fps={fps!r}: expected the frames per second of {source}, a number above 0.")
    return fps


LONGEST_NAME = 100
_UNUSABLE = re.compile(r"[^\w.()+@ -]")  # of these a folder's name may hold each, on every system


def folder_name(name: str) -> str:
    """A name for messages made fit to be that of a folder: never empty, hidden, or leading elsewhere."""
    return _UNUSABLE.sub("_", name)[:LONGEST_NAME].strip(". ") or "clip"
