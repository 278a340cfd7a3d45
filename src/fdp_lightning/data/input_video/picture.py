"""Presentation of decoded video frames: upright, with square pixels, at their times."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation

from fdp_lightning.data.input_video.hdr import HDR, to_sdr

MOST_STRETCH = 4
"""Largest accepted pixel aspect ratio, in either direction; more is taken for an error (ours; anamorphic film is 2)."""

# Without these, FFmpeg's fast conversion is a grey level or two too dark (measured on drawn faces).
UNBIASED = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class Orientation:
    """Turn and flip that make a frame upright.

    Attributes:
        angle: counter-clockwise angle that FFmpeg reports for a frame, degrees.
        turned: True if rows become columns.
        flipped: True for a reversed order of columns, and of rows.
        crooked: True if the angle is no multiple of 90°; the nearest one is used.
    """

    angle: int
    turned: bool
    flipped: tuple[bool, bool]
    crooked: bool


def orientation(frame: av.VideoFrame) -> Orientation:
    """Return the orientation by a frame's display matrix; it holds for the next frames while `frame.rotation` is equal.

    Do not call it for every frame: accessing a frame's side data makes it refer to itself, so that its pixels stay in
    memory until the next garbage collection (av 18.1; measured: all of 120 frames of 3840x2160, 1.4 GB).
    """
    # x' = ax + cy, y' = bx + dy, with y downwards: the display matrix of ISO/IEC 14496-12, 16.16 fixed point, whose
    # rows are (a, b, u), (c, d, v), (x, y, w).
    sides: Any = frame.side_data  # typed as a mapping of strings, which it is not
    matrix = sides.get(Type.DISPLAYMATRIX)
    entries = (1, 0, 0, 0, 1) if matrix is None else np.frombuffer(bytes(matrix), np.int32)[:5]
    a, b, _, c, d = (int(entry) for entry in entries)
    turned = abs(b) > abs(a)
    crooked = min(abs(a), abs(b)) > max(abs(a), abs(b)) / 100
    return Orientation(frame.rotation, turned, (c < 0, b < 0) if turned else (a < 0, d < 0), crooked)


class Upright:
    """A frame's conversion to an upright picture, whose size is known before any pixel is converted.

    Attributes:
        size: width and height of the picture, pixels.
        transfer: transfer curve of its grey levels, see `av.video.reformatter.ColorTrc`.

    Args:
        frame: decoded frame, whose pixels stay in memory as long as this object lives.
        way: orientation of the frame.
        pixel: pixel aspect ratio, width over height; None: unknown, taken as square.
    """

    def __init__(self, frame: av.VideoFrame, way: Orientation, pixel: Fraction | None) -> None:
        width, height = frame.width, frame.height
        if pixel and 1 <= pixel <= MOST_STRETCH:  # enlarge one direction, so that nothing is lost
            width = round(width * pixel)
        elif pixel and Fraction(1, MOST_STRETCH) <= pixel < 1:
            height = round(height / pixel)
        self._frame, self._way, self._scaled = frame, way, (width, height)
        self.size = (height, width) if way.turned else (width, height)
        self.transfer = int(frame.color_trc)

    def read(self) -> np.ndarray:
        """Return the picture in RGB, uint8, shape (h, w, 3), by the stream's colour matrix and range, else BT.601.

        High dynamic range is converted to standard range, see `hdr`.

        Raises:
            av.FFmpegError: the pixel format cannot be converted.
        """
        width, height = self._scaled
        if self._frame.color_trc in HDR:
            rgb = to_sdr(self._frame, width, height, UNBIASED)
        else:
            rgb = self._frame.reformat(width, height, "rgb24", interpolation=UNBIASED, threads=1).to_ndarray()
        if self._way.turned:
            rgb = rgb.transpose(1, 0, 2)
        across, down = (-1 if flipped else 1 for flipped in self._way.flipped)
        return np.ascontiguousarray(rgb[::down, ::across])


class Clock:
    """Times of consecutive frames in seconds since the first, strictly increasing.

    Attributes:
        guessed: number of frames without a usable time stamp; they follow the previous one at the average rate.

    Args:
        unit: length of a time stamp's tick, seconds.
        rate: average frames per second; None: unknown.
    """

    def __init__(self, unit: Fraction, rate: Fraction | None) -> None:
        self._unit, self._step = unit, 1 / rate if rate else None
        self._start: Fraction | None = None
        self._last: Fraction | None = None
        self.guessed = 0

    def seconds(self, stamp: int | None) -> float | None:
        """Return the time of the next frame; None if neither a time stamp nor a rate is known."""
        guess = Fraction(0) if self._last is None else None if self._step is None else self._last + self._step
        if stamp is not None:
            if self._start is None and guess is not None:
                self._start = stamp * self._unit - guess
            now = None if self._start is None else stamp * self._unit - self._start
            if now is not None and (self._last is None or now > self._last):
                self._last = now
                return float(now)
        self.guessed += 1
        if guess is not None:
            self._last = guess
        return None if guess is None else float(guess)
