"""The aligned clip as an animation: its frames, a curve with a moving cursor, and the probabilities."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from fdp_lightning.inference.figures import (
    ACCENT,
    QUIET,
    SECOND,
    STYLE,
    footnotes,
    moment_labels,
    notes,
    probability_bars,
)
from fdp_lightning.inference.prediction import Prediction

SLOWER = 6
"""How many times slower than it was a clip is played: a micro-expression lasts half a second at most."""

_UNKNOWN_RATE_MS = 300
_SHORTEST_MS, _LONGEST_MS, _REST_MS = 40, 1500, 900
"""Of one frame, and what the last one is shown longer, so that the end can be seen."""

_HEAT_MAP, _HEAT_SHARE = "inferno", 0.6
"""Where the heat map is 1, this share of a pixel is the colour of the map."""

_DPI, _LONGEST_NAME = 110, 60


def overlay(prediction: Prediction, model: str, synthetic: bool, heat: np.ndarray | None = None) -> bytes:
    """Make an animated WebP of the frames that a model saw, in slow motion.

    The curve is the first that the recogniser declares, or else how far each frame is from the first.

    Args:
        prediction: of a clip.
        model: its name.
        synthetic: True if it was trained on synthetic faces.
        heat: what of the face counted, values of 0..1 over the aligned face, shape (h, w), blended over every frame.

    Raises:
        ValueError: the heat map has another shape, or values outside 0..1.
    """
    if heat is not None and (heat.ndim != 2 or not (np.isfinite(heat).all() and 0 <= heat.min() <= heat.max() <= 1)):
        raise ValueError(f"a heat map has shape {heat.shape}; expected (h, w) with values of 0 to 1")
    ground, face_box, cursors, top, bottom = _ground(prediction, model, synthetic, heat is not None)
    left, upper, right, lower = face_box
    warm = None if heat is None else _warm(heat, (right - left, lower - upper))
    images = []
    for frame, (x, y) in zip(prediction.frames, cursors, strict=True):
        image = ground.copy()
        face = Image.fromarray(frame).convert("RGB").resize((right - left, lower - upper), Image.Resampling.BICUBIC)
        if warm is not None:
            face = Image.composite(warm[0], face, warm[1])
        image.paste(face, (left, upper))
        pen = ImageDraw.Draw(image)
        pen.line([(x, top), (x, bottom)], fill=SECOND, width=2)
        pen.ellipse([(x - 5, y - 5), (x + 5, y + 5)], fill=SECOND)
        images.append(image)
    for image, label in zip(images, moment_labels(prediction), strict=True):
        ImageDraw.Draw(image).text((left, lower + 6), label, fill=QUIET, font_size=15)
    stream = io.BytesIO()
    images[0].save(
        stream, "webp", save_all=True, append_images=images[1:], duration=durations(prediction), loop=0, quality=88
    )
    return stream.getvalue()


def durations(prediction: Prediction) -> list[int]:
    """How long each frame is shown, milliseconds."""
    if prediction.seconds is None:
        shown = np.full(len(prediction.frames), _UNKNOWN_RATE_MS)
    else:
        gaps = np.diff(prediction.seconds)
        shown = np.append(gaps, np.median(gaps)) * 1000 * SLOWER
    shown = shown.clip(_SHORTEST_MS, _LONGEST_MS).round().astype(int)
    shown[-1] += _REST_MS
    return shown.tolist()  # type: ignore[no-any-return]


def curve_of(prediction: Prediction) -> tuple[str, np.ndarray]:
    """The title and the values of the curve that is drawn, shape (n,): evenly over the clip, if not one per frame."""
    if curves := prediction.of_kind("curve"):
        extra, values = curves[0]
        return extra.title, values
    frames = prediction.frames.astype(np.float32) / 255
    away = np.abs(frames - frames[:1]).reshape(len(frames), -1).mean(1)
    return "difference from the first frame", away


def _ground(prediction: Prediction, model: str, synthetic: bool, has_heat: bool) -> tuple[Any, Any, Any, float, float]:
    """Draw all that stands still.

    Returns:
        The picture; left, top, right and bottom of the face in it; x and y of the cursor for each frame; top and
        bottom of the cursor's line.
    """
    title, values = curve_of(prediction)
    by_time = prediction.seconds is not None
    places = prediction.frame_numbers if prediction.seconds is None else prediction.seconds
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.5), dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        rows: Any = figure.subfigures(2, 1, height_ratios=[1, 0.24])
        left, right = rows[0].subfigures(1, 2, width_ratios=[0.92, 1])
        face = left.subplots()
        face.imshow(np.zeros((2, 2, 3)))
        face.set_axis_off()
        face.set_title("aligned face" + (", and what of it counted" if has_heat else ""), loc="left", fontsize=9)
        face.text(0, -0.06, " ", transform=face.transAxes, fontsize=10, va="top")  # keeps the place of the moment
        curve, bars = right.subplots(2, 1)
        curve.set_title(title, loc="left", fontsize=9)
        along = places if len(places) == len(values) else np.linspace(places[0], places[-1], len(values))
        curve.plot(along, values, "-", color=ACCENT)
        curve.set_xlabel("seconds" if by_time else "frame")
        curve.grid(color="#d8dee4", linewidth=0.6)
        probability_bars(bars, prediction)
        name = prediction.name if len(prediction.name) <= _LONGEST_NAME else f"{prediction.name[: _LONGEST_NAME - 1]}…"
        heading = f"{name}: {prediction.label or 'no action unit'}"
        figure.suptitle(heading, x=0.01, ha="left", fontsize=12, fontweight="bold")
        footnotes(rows[1], [f"Not at the speed of the recording. Model: {model}", *notes(synthetic)])
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        height = picture.height
        box = face.get_window_extent()
        corners = [round(edge) for edge in (box.x0, height - box.y1, box.x1, height - box.y0)]
        cursors = curve.transData.transform(np.column_stack([places, np.interp(places, along, values)]))
        line = curve.get_window_extent()
    return picture, corners, [(x, height - y) for x, y in cursors], height - line.y1, height - line.y0


def _warm(heat: np.ndarray, size: tuple[int, int]) -> tuple[Any, Any]:
    """The colours of a heat map, and how much of each shows."""
    large = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    colours = (255 * matplotlib.colormaps[_HEAT_MAP](large)[..., :3]).round().astype(np.uint8)
    return Image.fromarray(colours), Image.fromarray((255 * _HEAT_SHARE * large).round().astype(np.uint8))
