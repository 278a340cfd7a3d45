"""Figures of predictions: one of a clip, one of a scan."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from fdp_lightning.extras import number_format
from fdp_lightning.inference.explanation import displayed_image
from fdp_lightning.inference.prediction import Prediction
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
_MOST_EXTRAS = 3
"""Curves or images that are drawn; predict.json and the folder of the clip have all of them."""

_MOST_CLASSES = 20
"""Classes that are drawn, the most probable ones; predict.json has all of them."""


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
            for axes, (extra, values) in zip(_column(panels.pop(0), curves), curves, strict=True):
                draw_curve(axes, prediction, extra.title, values, "o-")
        draw_probabilities(panels.pop(0).subplots(), prediction)
        if images:
            for axes, (extra, _) in zip(_column(panels.pop(0), images), images, strict=True):
                title = f"{extra.heading}: {extra.title}" if extra.heading else extra.title
                draw_image(axes, displayed_image(prediction, extra), title)
        draw_heading(figure, prediction.name, prediction.label, 13)
        numbers: dict[str, dict[str, float]] = {}
        for extra, value in prediction.of_kind("scalar"):
            numbers.setdefault(extra.heading, {})[extra.title] = float(value)
        sentences = []
        for heading, of in numbers.items():
            form = number_format(of.values())
            written = ", ".join(f"{title} {form % number}" for title, number in of.items())
            sentences.append(": ".join(filter(None, [heading, written])))
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
    """Write name and label over a figure; a long name is shortened, so that the label is seen."""
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


def _column(place: Any, extras: Sequence[object]) -> Sequence[Any]:
    return list(place.subplots(len(extras), 1, squeeze=False)[:, 0])


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
    shown = list(prediction.probabilities.items())
    if len(shown) > _MOST_CLASSES:
        shown = sorted(shown, key=lambda item: -item[1])[:_MOST_CLASSES]
        axes.set_title(f"probabilities, the {_MOST_CLASSES} highest", loc="left", fontsize=9)
    chosen = prediction.label.split("+")
    rows = np.arange(len(shown))
    colours = [SECOND if name in chosen or name == prediction.label else ACCENT for name, _ in shown]
    axes.barh(rows, [value for _, value in shown], color=colours)
    for row, (_, value) in enumerate(shown):
        inside = value > 0.8
        axes.text(value + (-0.02 if inside else 0.02), row, f"{value:.2f}", va="center", fontsize=8,
                  ha="right" if inside else "left", color="white" if inside else INK)  # fmt: skip
    axes.set(yticks=rows, yticklabels=[name for name, _ in shown], xlim=(0, 1))
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
