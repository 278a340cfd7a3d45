"""The aligned clip as an animation: its frames, a curve with a moving marker, and the probabilities."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from fdp_lightning.inference.figures import (
    QUIET,
    SECOND,
    STYLE,
    draw_curve,
    draw_heading,
    draw_probabilities,
    footnotes,
    moment_labels,
    notes,
)  # fmt: skip
from fdp_lightning.inference.prediction import Prediction, differences_from_first

SLOWER = 6
"""Slow-motion factor: a micro-expression lasts half a second at most."""

_UNKNOWN_RATE_MS = 300
_SHORTEST_MS, _LONGEST_MS, _REST_MS = 40, 1500, 900
"""Limits of the display time of a frame, and additional time of the last one, which makes the end visible."""

_HEAT_MAP, _HEAT_SHARE = "inferno", 0.6
"""Colour map of the heat map, and its opacity where the heat is 1."""


def overlay(prediction: Prediction, model: str, synthetic: bool, heat: np.ndarray | None = None) -> bytes:
    """Make an animated WebP of the frames that a model saw, in slow motion.

    The curve is the first that the recogniser declares, or else the difference of each frame from the first.

    A heat map over the aligned face, values in [0, 1], shape (h, w), is blended over every frame.

    Raises:
        ValueError: the heat map has another shape, or values outside [0, 1].
    """
    if heat is not None and (heat.ndim != 2 or not (np.isfinite(heat).all() and 0 <= heat.min() <= heat.max() <= 1)):
        raise ValueError(f"a heat map has shape {heat.shape}; expected (h, w) with values of 0 to 1")
    background, (left, upper, right, lower), markers, (top, bottom) = _background(
        prediction, model, synthetic, heat is not None
    )
    size = (right - left, lower - upper)
    if heat is not None:
        large = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
        colours = Image.fromarray((255 * matplotlib.colormaps[_HEAT_MAP](large)[..., :3]).round().astype(np.uint8))
        opacity = Image.fromarray((255 * _HEAT_SHARE * large).round().astype(np.uint8))
    images = []
    for frame, (x, y), label in zip(prediction.frames, markers, moment_labels(prediction), strict=True):
        image = background.copy()
        face = Image.fromarray(frame).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        image.paste(face if heat is None else Image.composite(colours, face, opacity), (left, upper))
        pen = ImageDraw.Draw(image)
        pen.line([(x, top), (x, bottom)], fill=SECOND, width=2)
        pen.ellipse([(x - 5, y - 5), (x + 5, y + 5)], fill=SECOND)
        pen.text((left, lower + 6), label, fill=QUIET, font_size=15)
        images.append(image)
    stream = io.BytesIO()
    images[0].save(
        stream, "webp", save_all=True, append_images=images[1:], duration=durations(prediction), loop=0, quality=88
    )
    return stream.getvalue()


def durations(prediction: Prediction) -> list[int]:
    """Return how long each frame is displayed, in milliseconds."""
    if prediction.seconds is None:
        shown = np.full(len(prediction.frames), _UNKNOWN_RATE_MS)
    else:
        gaps = np.diff(prediction.seconds)
        shown = np.append(gaps, np.median(gaps)) * 1000 * SLOWER
    shown = shown.clip(_SHORTEST_MS, _LONGEST_MS).round().astype(int)
    shown[-1] += _REST_MS
    return shown.tolist()  # type: ignore[no-any-return]


def _background(prediction: Prediction, model: str, synthetic: bool, has_heat: bool) -> tuple[Any, Any, Any, Any]:
    """Draw everything that does not move.

    Returns:
        The image; left, top, right and bottom of the face in it; x and y of the marker for each frame; top and bottom
        of the marker's line.
    """
    if curves := prediction.of_kind("curve"):
        title, values = curves[0][0].title, curves[0][1]
    else:
        title, values = "difference from the first frame", differences_from_first(prediction) / 255
    places = prediction.frame_numbers if prediction.seconds is None else prediction.seconds
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.5), dpi=110, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        rows: Any = figure.subfigures(2, 1, height_ratios=[1, 0.24])
        left, right = rows[0].subfigures(1, 2, width_ratios=[0.92, 1])
        face = left.subplots()
        face.imshow(np.zeros((2, 2, 3)))
        face.set_axis_off()
        face.set_title("aligned face" + (", with the motion that counted" if has_heat else ""), loc="left", fontsize=9)
        face.text(0, -0.06, " ", transform=face.transAxes, fontsize=10, va="top")  # reserves the place of the label
        curve, bars = right.subplots(2, 1)
        along = draw_curve(curve, prediction, title, values, "-")
        draw_probabilities(bars, prediction)
        draw_heading(figure, prediction.name, prediction.label, 12)
        footnotes(rows[1], [f"Not at the speed of the recording. Model: {model}", *notes(synthetic)])
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        height = image.height
        box = face.get_window_extent()
        corners = [round(edge) for edge in (box.x0, height - box.y1, box.x1, height - box.y0)]
        markers = curve.transData.transform(np.column_stack([places, np.interp(places, along, values)]))
        line = curve.get_window_extent()
    return image, corners, [(x, height - y) for x, y in markers], (height - line.y1, height - line.y0)
