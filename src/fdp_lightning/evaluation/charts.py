"""The report's figures: matplotlib drawings as inline SVG, images as PNG data URIs.

The same numbers yield the same bytes. Drawings follow the page into dark mode: matplotlib draws with placeholder
colours, which become the page's CSS variables in the SVG. Words from data (class names, titles) stay in the HTML around
a drawing, where they are escaped and keep their size.
"""

import base64
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Placeholder colour -> the CSS variable that takes its place.
INK, QUIET, LINE, ACCENT, SECOND = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {INK: "--ink", QUIET: "--quiet", LINE: "--line", ACCENT: "--accent", SECOND: "--second"}

# Each part of the data looks the same in every drawing.
LINES = {"train": (ACCENT, "-"), "test": (SECOND, "--"), "inner": (INK, ":")}

MOST_LINES = 60  # folds drawn as single lines; if there are more, the first by name

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: selectable, and in the page's font
    "svg.hashsalt": "fdp_lightning",
    "text.parse_math": False,
    "font.size": 8,
    "text.color": INK,
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), LINE),
    **dict.fromkeys(("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), QUIET),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.5,
}


def curves_chart(curves: Mapping[str, pd.DataFrame], label: str) -> Markup:
    """Draw one quantity of `folds.Curves` over the epochs: mean over folds, lowest to highest fold as a band."""

    def draw(axes: "Axes") -> None:
        for name, values in curves.items():
            colour, dash = LINES.get(name, (QUIET, ":"))
            low, high = values.min(axis=1), values.max(axis=1)
            axes.fill_between(values.index, low, high, color=colour, alpha=0.12, linewidth=0)
            for edge in (low, high):  # the band alone is too faint for readers with low vision
                axes.plot(edge, color=colour, linestyle=dash, linewidth=0.6, alpha=0.75)
            axes.plot(values.mean(axis=1), color=colour, linestyle=dash, label=name)
        _over_epochs(axes, len(curves))

    return _svg(draw, label)


def clips_chart(
    mean: np.ndarray,
    clips: Sequence[tuple[np.ndarray, np.ndarray, float | None]],
    limits: tuple[float, float],
    quantity: str,
    label: str,
) -> Markup:
    """Draw a curve of the clips of one class against time.

    `mean` is the class mean on an even grid from first to last frame, (T,). `clips` holds, for each clip, the places of
    its values in 0..1, (T,), its values, (T,), and its apex or None. `limits` are the ends of the vertical axis, the
    same for every class.
    """

    def draw(axes: "Axes") -> None:
        for place, values, apex in clips:
            axes.plot(place, values, color=QUIET, linewidth=0.8, alpha=0.7)
            if apex is not None:
                axes.plot([apex], [np.interp(apex, place, values)], "D", color=SECOND, markersize=4.5)
        axes.plot(np.linspace(0, 1, len(mean)), mean, color=ACCENT, linewidth=2.2)
        axes.set(xlim=(-0.02, 1.02), xticks=[0, 0.5, 1], xticklabels=["first", "middle", "last"])
        axes.set(ylim=limits, xlabel="frame of the clip", ylabel=quantity)

    return _svg(draw, label)


def scores_chart(metrics: Mapping[str, Any], names: Mapping[str, str], baseline_names: Mapping[str, str]) -> Markup:
    """Draw `last` of metrics.json, with intervals, and the baselines in a row per score, all with printed names."""
    last, oracle = metrics["selections"]["last"], metrics["selections"].get("oracle")
    trained = metrics.get("baselines", {})
    baselines = metrics["floors"] | trained
    rows = np.arange(len(names))

    def draw(axes: "Axes") -> None:
        for row, name in zip(rows, names, strict=True):
            if (bar := last["ci95"][name]) is not None:
                axes.plot(bar, [row, row], color=ACCENT, linewidth=3.5, alpha=0.65, solid_capstyle="butt")
        looks = {"chance": (QUIET, "|"), "majority": (SECOND, "|"), "constant": (INK, "x")}
        looks |= dict(zip(trained, ((INK, "^"), (SECOND, "v")), strict=False))
        marks = [(baseline_names[name], baselines[name], *looks[name]) for name in reversed(list(baselines))]
        if oracle:
            marks.append(("oracle, not comparable", oracle, QUIET, "d"))
        marks.append(("last", last, ACCENT, "o"))
        for label, values, colour, marker in marks:
            size, edge = (11, 2) if marker == "|" else (6, 1)
            look: Any = {"color": colour, "markerfacecolor": "none" if marker in "d^v" else colour}
            look |= {"markersize": size, "markeredgewidth": edge, "clip_on": False}  # a score of 1 is on the edge
            axes.plot([values[name] for name in names], rows, marker, label=label, **look)
        axes.set(yticks=rows, yticklabels=list(names.values()), xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.figure.legend(loc="outside lower center", ncols=2, columnspacing=1.2, handletextpad=0.4)

    described = "; ".join(f"{names[name]} {last[name]:.3f}" for name in names)
    return _svg(draw, f"Scores of selection last and of the baselines: {described}.", size=(4.2, 2.5))


def folds_chart(curves: Mapping[str, pd.DataFrame], label: str) -> Markup:
    """Draw one quantity of `folds.Curves` over the epochs: a thin line for each of the first folds."""

    def draw(axes: "Axes") -> None:
        for name, values in curves.items():
            colour, dash = LINES.get(name, (QUIET, ":"))
            for number, fold in enumerate(values.columns[:MOST_LINES]):
                look: Any = {"color": colour, "linestyle": dash, "label": None if number else name}
                axes.plot(values[fold].dropna(), linewidth=0.8, alpha=0.8, **look)
        _over_epochs(axes, len(curves))

    return _svg(draw, label)


def _over_epochs(axes: "Axes", lines: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if lines > 1:
        axes.legend(loc="best", handlelength=2.4)


def reliability_chart(n: np.ndarray, accuracy: np.ndarray, confidence: np.ndarray, label: str) -> Markup:
    """Draw the accuracy in each bin of confidence, together with the line of perfect calibration.

    The number of clips `n`, accuracy and mean confidence have shape (bins,); bins without clips are omitted.
    """

    def draw(axes: "Axes") -> None:
        some = n > 0
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1, label="calibrated")
        axes.vlines(confidence[some], confidence[some], accuracy[some], color=SECOND, linewidth=1.2, label="gap")
        axes.plot(confidence[some], accuracy[some], color=ACCENT, linewidth=1.2)
        sizes = 12 + 90 * n[some] / n.max()
        axes.scatter(confidence[some], accuracy[some], s=sizes, color=ACCENT, label="clips of a bin")
        axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="probability of the predicted class", ylabel="accuracy")
        axes.figure.legend(loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.2)

    return _svg(draw, label, size=(3.7, 3.3))


MARKS = (
    (ACCENT, "o", "●"), (SECOND, "s", "■"), (INK, "^", "▲"), (QUIET, "D", "◆"), (ACCENT, "v", "▼"), (SECOND, "P", "✚"),
    (INK, "X", "✖"), (QUIET, "*", "★"),
)  # fmt: skip
"""Marks of classes in a drawing: colour, matplotlib's marker, and the character for the page's legend."""


def plane_chart(points: np.ndarray, groups: np.ndarray, label: str, by_colour: bool) -> Markup:
    """Draw clips as points of a plane, (n, 2), each of a group, (n,).

    Groups are distinguished by colour or, if there are too many for colours, by their mean and an ellipse of one
    standard deviation.
    """
    angle = np.linspace(0, 2 * np.pi, 49)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def draw(axes: "Axes") -> None:
        for group in np.unique(groups):
            own = points[groups == group]
            if by_colour:
                colour, marker, _ = MARKS[group % len(MARKS)]
                axes.plot(*own.T, marker, color=colour, markersize=4.5, alpha=0.85, linestyle="none")
                continue
            middle = own.mean(axis=0)
            # The singular vectors are the axes of the ellipse.
            _, sizes, directions = np.linalg.svd((own - middle) / np.sqrt(len(own)), full_matrices=False)
            axes.plot(*own.T, "o", color=ACCENT, markersize=1.5)
            ellipse = middle + (circle[:, : len(sizes)] * sizes) @ directions
            axes.plot(*ellipse.T, color=QUIET, linewidth=0.7, alpha=0.85)
            axes.plot(*middle, "D", color=SECOND, markersize=4.5, zorder=3)
        axes.set(xticklabels=[], yticklabels=[], xlabel="first component", ylabel="second component")

    return _svg(draw, label, size=(3.7, 3.0))


def image_uri(image: np.ndarray) -> str:
    """Encode an image as a PNG data URI; see `png`."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")


def png(image: np.ndarray) -> bytes:
    """Encode an image as PNG: grey, shape (h, w), or colour, (h, w, 3); values in [0, 1], or uint8."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels(image)).save(stream, format="png", optimize=True)
    return stream.getvalue()


def pixels(image: np.ndarray) -> np.ndarray:
    """Convert an image, values in [0, 1] or uint8, to uint8."""
    return image if image.dtype == np.uint8 else (255 * np.nan_to_num(image).clip(0, 1)).round().astype(np.uint8)


def over_face(heat: np.ndarray, frame: np.ndarray | None, least: int = 256) -> np.ndarray:
    """Paint a map in 0..1, (h, w), over an aligned frame, uint8, grey or colour; None: only the map.

    Returns a colour image, uint8, whose shorter side has at least `least` pixels.
    """
    import cv2
    import matplotlib

    factor = -(-least // min(heat.shape))
    size = (heat.shape[1] * factor, heat.shape[0] * factor)
    large = cv2.resize(heat.astype(np.float32), size, interpolation=cv2.INTER_CUBIC).clip(0, 1)[..., None]
    colours = matplotlib.colormaps["inferno"](large[..., 0])[..., :3]
    if frame is None:
        return pixels(colours)
    face = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
    face = np.dstack([face] * 3) if face.ndim == 2 else face
    opacity = 0.65 * large
    painted: np.ndarray = ((1 - opacity) * face + opacity * 255 * colours).round().astype(np.uint8)
    return painted


def _svg(draw: Any, label: str, size: tuple[float, float] = (3.7, 2.4)) -> Markup:
    """Run a drawing function on new axes; return SVG that can share an HTML page with other drawings.

    `label` describes the drawing for readers who cannot see it.
    """
    import matplotlib
    from matplotlib.figure import Figure  # no pyplot: no global state, no window system

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    # All drawings of a page share one space of ids: each gets its own prefix, derived from its content.
    own = "c" + hashlib.sha256((label + text).encode()).hexdigest()[:8]
    text = re.sub(r'\bid="', f'id="{own}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{own}-", text)
    # The page sets the size; inside HTML the namespaces are implied.
    about = f'role="img" aria-label="{escape(label)}"'
    text = re.sub(r'^<svg [^>]*(viewBox="[^"]*")[^>]*>', lambda found: f"<svg {found[1]} {about}>", text)
    return Markup(re.sub(r"\n\s*", "\n", text).strip())
