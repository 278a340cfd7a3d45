"""Somebody's own footage, as frames in time: a video file, or a folder of frames."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np


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
