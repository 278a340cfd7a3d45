"""Figures of predictions: one of a clip, one of a scan, and the aligned clip as an animation."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from PIL import Image

from fdp_lightning.evaluation.charts import over_face
from fdp_lightning.extras import number_format, sections
from fdp_lightning.inference.explanation import displayed_image
from fdp_lightning.inference.prediction import Prediction, differences_from_first
from fdp_lightning.inference.scan import NOTICE, Scan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FALLIBLE = "Reading emotion from faces is fallible: nothing here may be used to judge a person."
SYNTHETIC = "The model was trained on synthetic faces and knows nothing of real ones."

INK, QUIET, ACCENT, SECOND = "#1b1f24", "#57606a", "#0b5cad", "#b3541e"
_EAST_ASIAN = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei",
    "PingFang SC", "Hiragino Sans GB",
)  # fmt: skip
"""Fonts with the glyphs of Chinese and Japanese file names, which DejaVu Sans lacks; those installed are used."""

STYLE: Any = {
    "font.family": ["DejaVu Sans", *sorted({font.name for font in fontManager.ttflist} & set(_EAST_ASIAN))],
    "font.size": 9,
    "axes.edgecolor": "#8c959f",
    "axes.labelcolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": QUIET,
    "ytick.color": INK,
}
_MOST_FRAMES, _MOST_NOTES, _LONGEST_NAME = 12, 5, 60
_MOST_EXTRAS = 3  # curves or images that are drawn; predict.json and the folder of the clip have all


def overview(prediction: Prediction, model: str, synthetic: bool) -> bytes:
    """Draw the frames a model saw, its probabilities, and the curves, images and numbers it declares, as PNG."""
    with matplotlib.rc_context(STYLE):
        t = len(prediction.frames)
        shown = np.unique(np.linspace(0, t - 1, min(t, _MOST_FRAMES)).round().astype(int))
        figure = Figure(figsize=(9.6, 6.7), layout="constrained")
        rows: Any = figure.subfigures(3, 1, height_ratios=[0.95, 1.75, 0.34])
        labels = moment_labels(prediction)
        for axes, i in zip(rows[0].subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            draw_image(axes, prediction.frames[i], labels[i])
        curves, images = (prediction.of_kind(kind)[:_MOST_EXTRAS] for kind in ("curve", "image"))
        widths = [*([1.25] if curves else []), 1.25, *([0.8] if images else [])]
        panels = list(rows[1].subfigures(1, len(widths), width_ratios=widths, squeeze=False)[0])
        if curves:
            column = panels.pop(0).subplots(len(curves), 1, squeeze=False)[:, 0]
            for axes, (extra, values) in zip(column, curves, strict=True):
                draw_curve(axes, prediction, extra.title, values, "o-")
        draw_probabilities(panels.pop(0).subplots(), prediction)
        if images:
            column = panels.pop(0).subplots(len(images), 1, squeeze=False)[:, 0]
            for axes, (extra, _) in zip(column, images, strict=True):
                title = f"{extra.heading}: {extra.title}" if extra.heading else extra.title
                draw_image(axes, displayed_image(prediction, extra), title)
        draw_heading(figure, prediction.name, prediction.label, 13)
        sentences = []
        for heading, scalars in sections(extra for extra, _ in prediction.of_kind("scalar")).items():
            numbers = {extra.title: float(prediction.extras[extra.name]) for extra in scalars}
            form = number_format(numbers.values())
            written = ", ".join(f"{title} {form % number}" for title, number in numbers.items())
            sentences.append(f"{heading}: {written}" if scalars[0].heading else written)
        footnotes(rows[2], [*sentences, f"Model: {model}", *notes(synthetic), *prediction.warnings])
        return _png(figure)


def timeline(scan: Scan, classes: Sequence[str], model: str, synthetic: bool) -> bytes:
    """Draw the probability of each class and the motion over the windows of a scan, as PNG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 2.6 + 0.3 * len(classes)), layout="constrained")
        rows: Any = figure.subfigures(2, 1, height_ratios=[1 + 0.14 * len(classes), 0.3])
        top, bottom = rows[0].subplots(2, 1, sharex=True, height_ratios=[1.5 + 0.2 * len(classes), 1])
        windows = scan.windows
        # Each window is drawn up to the start of the next, because windows overlap.
        edges = np.array([*(window.start for window in windows), windows[-1].end])
        empty = dict.fromkeys(classes, np.nan)
        values = np.array([[(window.probabilities or empty)[name] for name in classes] for window in windows]).T
        mesh = top.pcolormesh(edges, np.arange(len(classes) + 1), values, cmap="cividis", vmin=0, vmax=1)
        top.set(yticks=np.arange(len(classes)) + 0.5, yticklabels=list(classes), facecolor="#d8dee4")
        top.invert_yaxis()
        rows[0].colorbar(mesh, ax=top, label="probability", pad=0.01)
        bottom.stairs([np.nan if w.motion is None else w.motion for w in windows], edges, color=ACCENT, linewidth=1.4)
        bottom.set(xlabel="seconds", ylabel="motion", xlim=(edges[0], edges[-1]))
        bottom.set_ylim(bottom=0)
        draw_heading(figure, scan.name, "a scan", 13)
        grey = ["Grey: no face on the first frame of the window."] if np.isnan(values).any() else []
        footnotes(rows[1], [NOTICE, f"Model: {model}", *grey, *notes(synthetic), *scan.warnings])
        return _png(figure)


def draw_heading(figure: Figure, name: str, label: str, size: int) -> None:
    """Write name and label over a figure; a long name is shortened, so that the label is visible."""
    shown = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
    figure.suptitle(f"{shown}: {label or 'no action unit'}", x=0.01, ha="left", fontsize=size, fontweight="bold")


def draw_image(axes: "Axes", image: np.ndarray, title: str) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
    axes.set_title(title, fontsize=8, color=QUIET)
    axes.set_axis_off()


def moment_labels(prediction: Prediction) -> list[str]:
    """Return the time of each frame, or its number where the frame rate is unknown."""
    if prediction.seconds is None:
        return [f"frame {number:g}" for number in prediction.frame_numbers]
    return [f"{second:.2f} s" for second in prediction.seconds]


def draw_curve(axes: "Axes", prediction: Prediction, title: str, values: np.ndarray, style: str) -> np.ndarray:
    """Draw values over the time (or the frame numbers) of a clip, and return the x coordinate of each value.

    If there is not one value per frame, the values are spaced evenly.
    """
    axes.set_title(title, loc="left", fontsize=9)
    x = prediction.frame_numbers if prediction.seconds is None else prediction.seconds
    if len(x) != len(values):
        x = np.linspace(x[0], x[-1], len(values))
    axes.plot(x, values, style, color=ACCENT, markersize=4)
    axes.set_xlabel("frame" if prediction.seconds is None else "seconds")
    axes.grid(color="#d8dee4", linewidth=0.6)
    return x


def draw_probabilities(axes: "Axes", prediction: Prediction) -> None:
    axes.set_title("probabilities", loc="left", fontsize=9)
    names, values = list(prediction.probabilities), list(prediction.probabilities.values())
    chosen = {prediction.label, *prediction.label.split("+")}
    rows = np.arange(len(names))
    axes.barh(rows, values, color=[SECOND if name in chosen else ACCENT for name in names])
    for row, value in enumerate(values):
        inside = value > 0.8
        axes.text(value + (-0.02 if inside else 0.02), row, f"{value:.2f}", va="center", fontsize=8,
                  ha="right" if inside else "left", color="white" if inside else INK)  # fmt: skip
    axes.set(yticks=rows, yticklabels=names, xlim=(0, 1))
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()


def notes(synthetic: bool) -> list[str]:
    return [*([SYNTHETIC] if synthetic else []), FALLIBLE]


def footnotes(place: Any, sentences: Sequence[str]) -> None:
    if (more := len(sentences) - _MOST_NOTES) > 0:
        sentences = [*sentences[:_MOST_NOTES], f"and {more} more, see predict.json"]
    place.text(0.01, 0.98, "\n".join(sentences), va="top", fontsize=8, color=QUIET, wrap=True)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()


SLOWER = 6  # slow-motion factor: a micro-expression lasts half a second at most

_UNKNOWN_RATE_MS = 300
_SHORTEST_MS, _LONGEST_MS, _REST_MS = 40, 1500, 900
"""Limits of the display time of a frame, and additional time of the last one, which makes the end visible."""


def overlay(prediction: Prediction, model: str, synthetic: bool, heat: np.ndarray | None = None) -> bytes:
    """Draw an animated WebP of the frames that a model saw, in slow motion.

    The curve is the first that the recogniser declares, or else the difference of each frame from the first. A heat map
    over the aligned face, values in [0, 1], shape (h, w), is blended over every frame.
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
        face, (curve, bars) = left.subplots(), right.subplots(2, 1)
        face.set_axis_off()
        face.set_title(
            "aligned face" + (", with the motion that counted" if heat is not None else ""), loc="left", fontsize=9
        )
        heights = np.interp(places, draw_curve(curve, prediction, title, values, "-"), values)
        draw_probabilities(bars, prediction)
        draw_heading(figure, prediction.name, prediction.label, 12)
        footnotes(rows[1], [f"Not at the speed of the recording. Model: {model}", *notes(synthetic)])
        frames = prediction.frames if heat is None else [over_face(heat, frame) for frame in prediction.frames]
        image = face.imshow(frames[0], cmap="gray", vmin=0, vmax=255, interpolation="bicubic", animated=True)
        moment = face.text(0, -0.04, " ", transform=face.transAxes, fontsize=10, va="top", color=QUIET, animated=True)
        line = curve.axvline(places[0], color=SECOND, linewidth=1.3, animated=True)
        (dot,) = curve.plot([], [], "o", color=SECOND, markersize=7, animated=True)
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)
        images = []
        for frame, x, y, label in zip(frames, places, heights, moment_labels(prediction), strict=True):
            image.set_data(frame)
            moment.set_text(label)
            line.set_xdata([x, x])
            dot.set_data([x], [y])
            canvas.restore_region(still)
            for artist in (image, moment, line, dot):
                artist.axes.draw_artist(artist)
            images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
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
