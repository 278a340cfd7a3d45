"""Conversion of high-dynamic-range video (HLG, PQ), as phones record it, to the grey levels of standard video.

PyAV's FFmpeg does not convert such values (it lacks zscale, and its own scaler makes a picture of 203 cd/m² in PQ a
third too dark), so faces would look flat and dim. The curves and the white are those of ITU-R BT.2100 and BT.2408.
"""

from functools import cache
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc

HDR = {ColorTrc.ARIB_STD_B67: "HLG", ColorTrc.SMPTE2084: "PQ"}
"""Transfer curves that are converted, and their names."""

UNUSUAL = {
    ColorTrc.LINEAR: "linear",
    ColorTrc.LOG: "log",
    ColorTrc.LOG_SQRT: "log sqrt",
    ColorTrc.SMPTE428: "SMPTE 428",
}
"""Transfer curves that differ strongly from a screen's and are not converted, and their names."""

_WHITE = 203.0
"""Luminance of a white page in both, cd/m² (BT.2408); linear light 1 here."""

_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2
"""Peak luminance of HLG's reference screen, cd/m², and the exponent of its system gamma (BT.2100)."""

_KNEE = 0.75
"""Linear light up to which values are unchanged; all brighter values are compressed into the rest (ours)."""

_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)  # BT.2020
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


def to_sdr(frame: av.VideoFrame, width: int, height: int, interpolation: Any) -> np.ndarray:
    """Convert a frame with one of the curves of `HDR` to RGB (sRGB), uint8, shape (height, width, 3).

    Args:
        frame: decoded frame.
        width: width of the picture, pixels.
        height: height of the picture, pixels.
        interpolation: interpolation of the conversion to RGB.

    Raises:
        av.FFmpegError: the pixel format cannot be converted.
    """
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
