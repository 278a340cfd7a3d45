"""Conversion of decoded video frames to upright images with square pixels in standard dynamic range, and their times.

PyAV's FFmpeg does not convert high dynamic range (HLG, PQ), which phones record: faces become flat and dim. The curves
and the white are those of ITU-R BT.2100 and BT.2408.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorPrimaries, ColorTrc, Interpolation

HDR = {ColorTrc.ARIB_STD_B67: "HLG", ColorTrc.SMPTE2084: "PQ"}  # converted transfer curves and their names

# Transfer curves that differ strongly from a screen's and are not converted, with their names.
UNUSUAL = {
    ColorTrc.LINEAR: "linear",
    ColorTrc.LOG: "log",
    ColorTrc.LOG_SQRT: "log sqrt",
    ColorTrc.SMPTE428: "SMPTE 428",
}

_WHITE = 203.0  # luminance of white in both, cd/m² (BT.2408); linear light 1 here
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2  # peak luminance of HLG's reference screen, cd/m², and its system gamma (BT.2100)
_KNEE = 0.75  # linear light up to which values are unchanged; brighter ones are compressed into the rest (ours)
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)  # BT.2020
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


def to_sdr(frame: av.VideoFrame, width: int, height: int, interpolation: Any) -> np.ndarray:
    """Convert a frame with a curve of `HDR` to sRGB, uint8, (height, width, 3); raises FFmpegError on failure."""
    codes = frame.reformat(width, height, "rgb48le", interpolation=interpolation, threads=1).to_ndarray()
    light = _curve(int(frame.color_trc))[codes]
    if frame.color_trc == ColorTrc.ARIB_STD_B67:
        light *= (_HLG_PEAK / _WHITE) * np.maximum(light @ _LUMA, 1e-6)[..., None] ** (_HLG_GAMMA - 1)
    if frame.color_primaries in (ColorPrimaries.BT2020, ColorPrimaries.UNSPECIFIED):
        light = cv2.transform(light, _TO_709)
    light = np.maximum(light, 0)
    room = 1 - _KNEE
    light = np.where(light > _KNEE, 1 - room * room / np.maximum(light - _KNEE + room, room), light)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray((encoded * 255).round().astype(np.uint8))


@cache
def _curve(transfer: int) -> np.ndarray:
    """Return the linear light of each 16-bit code, shape (65536,): relative to white for PQ, scene light for HLG."""
    signal = np.arange(2**16) / (2**16 - 1)
    if transfer == ColorTrc.SMPTE2084:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
        root = signal ** (1 / m2)
        light = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * 10000 / _WHITE
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return light.astype(np.float32)


MOST_STRETCH = 4  # largest accepted pixel aspect ratio, in either direction (ours; anamorphic film is 2)
# Without these, FFmpeg's fast conversion is one or two grey levels too dark (measured on synthetic faces).
UNBIASED = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class Orientation:
    """Turn and flip that make a frame upright; see `orientation`."""

    angle: int  # FFmpeg's rotation, degrees counter-clockwise
    turned: bool  # True if rows become columns
    flipped: tuple[bool, bool]  # True if the order of columns, and of rows, is reversed
    crooked: bool  # True if the angle is not a multiple of 90°: the nearest one is used


def orientation(frame: av.VideoFrame) -> Orientation:
    """Return the orientation by a frame's display matrix; it is valid as long as `frame.rotation` stays the same.

    Do not call this for every frame: accessing a frame's side data creates a reference cycle, which keeps its pixels in
    memory until the next garbage collection (av 18.1; measured: all of 120 frames of 3840x2160, 1.4 GB).
    """
    # x' = ax + cy, y' = bx + dy, with y pointing down: the display matrix of ISO/IEC 14496-12, 16.16 fixed point, with
    # rows (a, b, u), (c, d, v), (x, y, w).
    sides: Any = frame.side_data  # wrongly typed as a mapping of strings
    matrix = sides.get(Type.DISPLAYMATRIX)
    entries = (1, 0, 0, 0, 1) if matrix is None else np.frombuffer(bytes(matrix), np.int32)[:5]
    a, b, _, c, d = (int(entry) for entry in entries)
    turned = abs(b) > abs(a)
    crooked = min(abs(a), abs(b)) > max(abs(a), abs(b)) / 100
    return Orientation(frame.rotation, turned, (c < 0, b < 0) if turned else (a < 0, d < 0), crooked)


class Upright:
    """Conversion of a frame to an upright image; `size` (width, height) and `transfer` are known beforehand."""

    def __init__(self, frame: av.VideoFrame, way: Orientation, pixel: Fraction | None) -> None:
        width, height = frame.width, frame.height
        if pixel and Fraction(1, MOST_STRETCH) <= pixel <= MOST_STRETCH:
            one = Fraction(1)
            width, height = round(width * max(pixel, one)), round(height / min(pixel, one))  # nothing is lost
        self._frame, self._way, self._scaled = frame, way, (width, height)
        self.size = (height, width) if way.turned else (width, height)
        self.transfer = int(frame.color_trc)

    def read(self) -> np.ndarray:
        """Return RGB, uint8, (h, w, 3), in standard range, by the stream's colour matrix and range, or by BT.601 if
        they are unknown; raises av.FFmpegError if the pixel format cannot be converted.
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
    """Times of consecutive frames in seconds since the first, strictly increasing. `unit` is the length of a tick in
    seconds, `rate` the average number of frames per second, from which the times of frames without a usable time stamp
    are estimated; `guessed` counts these frames.
    """

    def __init__(self, unit: Fraction, rate: Fraction | None) -> None:
        self._unit, self._step = unit, 1 / rate if rate else None
        self._start: Fraction | None = None
        self._last: Fraction | None = None
        self.guessed = 0

    def seconds(self, stamp: int | None) -> float | None:
        """Return the time of the next frame, or None if neither a time stamp nor a rate is known."""
        guess = Fraction(0) if self._last is None else None if self._step is None else self._last + self._step
        if stamp is not None and self._start is None and guess is not None:
            self._start = stamp * self._unit - guess
        now = None if stamp is None or self._start is None else stamp * self._unit - self._start
        if now is None or (self._last is not None and now <= self._last):
            self.guessed += 1
            now = guess
        self._last = self._last if now is None else now
        return None if now is None else float(now)
