"""Input video given as a folder with one picture per frame."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from fdp_lightning.data.faces.frames import (
    FrameFile,
    UnreadableImageError,
    bits_of,
    eight_bits,
    frames_between,
    list_frames,
    range_remark,
    read_samples,
)
from fdp_lightning.data.input_video.frame import Frame, folder_name, frame_rate
from fdp_lightning.errors import UserError

_MOST_RANGED = 100
"""Number of 16-bit frames decoded to find the range of all."""


class FrameFolder:
    """A folder of pictures with frame numbers in their names; other files in it are skipped.

    Times follow the numbers, so that missing frames leave a gap; without `fps` they are unknown. `remarks` are the
    caller's warnings, repeated at each iteration. Raises UserError if `fps` is not a positive number.
    """

    def __init__(self, folder: Path, fps: float | None = None) -> None:
        self.folder, self.fps = folder, frame_rate(fps, folder)
        self.name = folder_name(folder.resolve().name)
        self.remarks: list[str] = []
        self.warnings: list[str] = []

    def frames(self) -> Iterator[Frame]:
        """See `frame.Footage.frames`; a frame that is damaged or differs in size from the first fails when read."""
        self.warnings = [*self.remarks]
        try:
            files = list_frames(self.folder)
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be listed ({error.strerror}); expected a folder of frames."
            ) from error
        if not files:
            raise UserError(f"{self.folder} holds no frames; expected pictures with numbers in their names: img1.jpg …")
        first, last = files[0].number, files[-1].number
        files, trouble = frames_between(files, first, last)
        if trouble:
            self.warnings.append(f"{self.folder}: {trouble}; the first file of a repeated number is used")
        pictures = _Pictures(files, self.warnings)
        for file in files:
            seconds = None if self.fps is None else (file.number - first) / self.fps
            yield Frame(file.number, seconds, partial(pictures.read, file))


class _Pictures:
    """Frames of one folder, all of the first one's size and of one range."""

    def __init__(self, files: Sequence[FrameFile], warnings: list[str]) -> None:
        self.files, self.first, self._warnings = files, files[0], warnings
        self.shape: tuple[int, ...] | None = None
        self._clipped = False

    def read(self, file: FrameFile) -> np.ndarray:
        picture = _read(file)
        if self.shape is None:
            self.shape = picture.shape if file is self.first else _read(self.first).shape
        if picture.shape != self.shape:
            (height, width), (first_height, first_width) = picture.shape[:2], self.shape[:2]
            raise UserError(
                f"{file.path} is {width}x{height} and {self.first.path.name} {first_width}x{first_height}; expected "
                "frames of one size. Remove the files that do not belong to the clip."
            )
        if picture.dtype == np.uint8:
            return picture
        if not self._clipped and bits_of([picture]) > self._bits:
            self._clipped = True
            self._warnings.append(f"{file.path} and possibly others have values above that range; they become white")
        return eight_bits(picture, self._bits)

    @cached_property
    def _bits(self) -> int:
        """Bit depth of all frames, from a sample of the folder; one range for all, or the brightness would flicker."""
        step = math.ceil(len(self.files) / _MOST_RANGED)
        bits = bits_of(_read(file) for file in self.files[::step])
        if bits < 16:
            self._warnings.append(range_remark(bits))
        return bits


def _read(file: FrameFile) -> np.ndarray:
    try:
        return read_samples(file.path)
    except UnreadableImageError as error:
        raise UserError(
            f"{error}; expected a picture. Replace it, or remove it to continue without that frame."
        ) from error
