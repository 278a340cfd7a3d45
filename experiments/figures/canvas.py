"""What figures are drawn with: boxes, lines, and small pictures of faces, maps and scores."""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Arc, Ellipse, FancyBboxPatch, Rectangle

# Fill and edge of each kind of part: lightened colours of Okabe and Ito's palette, told apart by every kind of sight.
PART = {
    "embed": ("#e6e6e6", "#6b6b6b"),
    "local": ("#cfe5f6", "#1f6fa8"),
    "global": ("#fbdfb3", "#b06a00"),
    "rank": ("#ecd2e2", "#94457a"),
    "head": ("#cdeadf", "#00735a"),
    "loss": ("#ffffff", "#6b6b6b"),
    "stage": ("#ffffff", "#c3c8cf"),
    "group": ("#f7f8fa", "#c3c8cf"),
}
INK, LINE = "#1d232b", "#4a525c"
SMALL, NORMAL = 7.9, 8.8


class Canvas:
    """Boxes, lines and small pictures on an axis measured in inches."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height), facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.axis("off")

    def box(self, x: float, y: float, w: float, h: float, part: str, text: str = "", size: float = NORMAL) -> None:
        """A box with its lower left corner at x, y."""
        fill, edge = PART[part]
        style: dict[str, Any] = {
            "facecolor": fill,
            "edgecolor": edge,
            "linewidth": 0.9,
            "linestyle": "--" if part == "loss" else "-",
        }
        order = {"group": 0, "stage": 0.5}.get(part, 2)
        shape = FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.06", zorder=order, **style)
        self.axes.add_patch(shape)
        self.text(x + w / 2, y + h / 2, text, size)

    def text(self, x: float, y: float, text: str, size: float = NORMAL, ha: str = "center", **style: Any) -> None:
        """Text with its middle at height y."""
        if text:
            style = {"color": INK, "linespacing": 1.25, **style}
            self.axes.text(x, y, text, fontsize=size, ha=ha, va="center_baseline", zorder=4, **style)

    def path(self, *points: tuple[float, float], arrow: bool = True) -> None:
        """A line through the points, with an arrow head at its end."""
        if len(points) > 2:
            self.axes.plot(*zip(*points[:-1], strict=True), color=LINE, lw=1.0, zorder=1, solid_joinstyle="round")
        head: dict[str, Any] = {
            "arrowstyle": "-|>,head_width=0.16,head_length=0.32" if arrow else "-",
            "shrinkA": 0,
            "shrinkB": 0,
        }
        head |= {"color": LINE, "lw": 1.0, "mutation_scale": 10}
        self.axes.annotate("", points[-1], points[-2], arrowprops=head, zorder=1)

    def plus(self, x: float, y: float, sign: str = "+") -> None:
        """A circle where two lines are added, or concatenated."""
        self.axes.add_patch(Ellipse((x, y), 0.2, 0.2, facecolor="white", edgecolor=LINE, linewidth=0.9, zorder=3))
        if sign == "+":
            for dx, dy in ((0.06, 0), (0, 0.06)):
                self.axes.plot([x - dx, x + dx], [y - dy, y + dy], color=LINE, lw=1.0, zorder=4)
        else:
            self.text(x, y, sign, SMALL)

    def face(self, x: float, y: float, side: float, smile: float, order: float) -> None:
        """A frame with a face in it; `smile` from 0 to 1, `order` from back to front."""
        cx, cy, height = x + side / 2, y + side / 2, (0.06 + 0.2 * smile) * side
        thin: dict[str, Any] = {"edgecolor": LINE, "linewidth": 0.8, "zorder": order}
        shapes = [
            Rectangle((x, y), side, side, facecolor="#dfe3e8", **thin),
            Ellipse((cx, cy), 0.62 * side, 0.82 * side, facecolor="#f9f3ea", **thin),
            Arc((cx, cy - 0.14 * side + height / 4), 0.3 * side, height, theta1=180, theta2=360, **thin),
        ]
        eyes = [(cx + way * 0.13 * side, cy + 0.08 * side) for way in (-1, 1)]
        shapes += [Ellipse(eye, 0.06 * side, 0.06 * side, facecolor=LINE, **thin) for eye in eyes]
        for shape in shapes:
            self.axes.add_patch(shape)

    def motion(self, x: float, y: float, side: float) -> None:
        """A dynamic image: grey, but for what has moved."""
        add = self.axes.add_patch
        add(Rectangle((x, y), side, side, facecolor="#b4b8bd", edgecolor=LINE, linewidth=0.8, zorder=2))
        cx, cy = x + side / 2, y + side / 2
        add(Ellipse((cx, cy), 0.62 * side, 0.82 * side, facecolor="none", edgecolor="#a3a7ac", linewidth=1, zorder=2))
        for dy, colour in ((0.0, "#3c4147"), (0.07, "#f5f5f5")):
            mouth = (cx, cy - 0.16 * side + dy * side)
            add(Arc(mouth, 0.34 * side, 0.24 * side, theta1=180, theta2=360, color=colour, linewidth=1.5, zorder=3))
            for way in (-1, 1):
                brow = (cx + way * 0.14 * side, cy + (0.1 + dy) * side)
                add(Arc(brow, 0.16 * side, 0.1 * side, theta1=20, theta2=160, color=colour, linewidth=1.3, zorder=3))

    def maps(self, x: float, y: float, side: float, count: int = 3, step: float = 0.09) -> None:
        """A pile of feature maps, the first in front."""
        fill, edge = "#fdf6c9", "#8a7a1c"
        for i in reversed(range(count)):
            at = (x + i * step, y + i * step)
            self.axes.add_patch(Rectangle(at, side, side, facecolor=fill, edgecolor=edge, linewidth=0.8, zorder=2))
        for k in range(1, 4):
            for line in (([x + side * k / 4] * 2, [y, y + side]), ([x, x + side], [y + side * k / 4] * 2)):
                self.axes.plot(*line, color=edge, lw=0.35, zorder=2)

    def bars(self, x: float, y: float, heights: tuple[float, ...], part: str, width: float = 0.07) -> None:
        """Bars of scores on a base line."""
        fill, edge = PART[part]
        for i, height in enumerate(heights):
            at = (x + i * width * 1.3, y)
            self.axes.add_patch(Rectangle(at, width, height, facecolor=fill, edgecolor=edge, linewidth=0.7, zorder=2))
