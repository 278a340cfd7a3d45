"""Draws the architecture: python experiments/figures/architecture.py [file.svg or file.png].

Stage numbers, widths and map sizes are read from the configuration `model=fdp`; drawn again, the file is the same.
"""

import sys
from math import prod
from pathlib import Path
from typing import Any

import matplotlib as mpl
from canvas import PART, SMALL, Canvas
from matplotlib.figure import Figure

from fdp_lightning.config import configuration

TARGET = Path(__file__).resolve().parents[2] / "src" / "fdp_lightning" / "models" / "architecture.svg"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "fdp",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
}


def plan() -> dict[str, Any]:
    """What the configuration says: sizes of frames, stem, of each stage's parts, and of the maps D is pooled from."""
    config = configuration("model=fdp")
    backbone, size = config.model.backbone, int(config.data.faces.size)
    stride, channels, stages = 1, {}, []  # channels of the last map of each stride
    for width, factor in zip(backbone.stem_widths, backbone.stem_strides, strict=True):
        stride *= factor
        channels[stride] = width
    for stage in backbone.stages:
        stride *= stage.get("stride", 2)
        channels[stride] = stage.global_width
        stages.append({"stride": 2, "repeats": 1, **stage, "side": size // stride})
    maps = [(channels[at], size // at) for at in (*sorted(config.model.finer_maps), stride)]
    return {
        "size": size,
        "stem": list(backbone.stem_widths),
        "strides": list(backbone.stem_strides),
        "stages": stages,
        "mix": float(backbone.mix_ratio),
        "maps": maps,
        "reads": int(config.model.mer_head.reads),
    }


def backbone(c: Canvas, numbers: dict[str, Any]) -> None:
    """The upper row: frames, stem, four stages, feature maps at each resolution."""
    middle, size = 5.1, numbers["size"]
    for i in reversed(range(3)):
        c.face(0.12 + 0.11 * i, middle - 0.4 + 0.11 * i, 0.6, (0.0, 0.5, 1.0)[i], order=2.3 - 0.1 * i)
    c.text(0.53, 6.0, "frames", weight="bold")
    c.text(0.53, 5.77, "$I_1,\\ldots,I_T$")
    c.text(0.53, 4.45, f"$T$ × 1×{size}×{size}", SMALL)
    c.box(1.2, 4.02, 5.92, 2.55, "group")
    c.text(1.32, 6.42, "local-global feature-aware transformer", ha="left", weight="bold")
    c.text(7.0, 6.42, "each frame by itself, one set of weights", SMALL, ha="right", style="italic")
    c.path((0.96, middle), (1.32, middle))
    side = size // prod(numbers["strides"])
    c.text(1.72, 5.87, "stem")
    c.box(1.32, middle - 0.55, 0.8, 1.1, "embed", f"{len(numbers['stem'])} × conv\n3×3,\nBN, ReLU", SMALL)
    c.text(1.72, 4.31, f"{numbers['stem'][-1]} channels\n{side}×{side}", SMALL)
    x, step, wide = 2.35, 1.19, 0.96
    c.path((2.12, middle), (x, middle))
    for i, stage in enumerate(numbers["stages"]):
        c.text(x + wide / 2, 5.87, f"stage {i + 1}" + (f" (× {stage['repeats']})" if stage["repeats"] > 1 else ""))
        c.box(x, middle - 0.62, wide, 1.24, "stage")
        c.box(x + 0.08, middle + 0.24, wide - 0.16, 0.3, "embed", "PE" + (" ↓2" if stage["stride"] == 2 else ""))
        c.box(x + 0.08, middle - 0.15, wide - 0.16, 0.3, "local", f"LRA × {stage['n_local']}")
        c.box(x + 0.08, middle - 0.54, wide - 0.16, 0.3, "global", f"GRA × {stage['n_global']}")
        c.text(
            x + wide / 2, 4.31, f"{stage['width']} → {stage['global_width']}\n{stage['side']}×{stage['side']}", SMALL
        )
        if i:
            c.path((x - step + wide, middle), (x, middle))
        x += step
    end = x - step + wide
    # Where a finer map leaves: within the stem, or after the last stage of its size. The finest line is the highest.
    sides = [stage["side"] for stage in numbers["stages"]]
    c.text(8.3, 6.42, "feature maps of $I_t$", weight="bold")
    for i, (channels, of_map) in enumerate(numbers["maps"]):
        left, length, y = 7.5, (0.4, 0.28, 0.16)[i], (5.98, 5.52, middle)[i]
        if i < len(numbers["maps"]) - 1:
            after = [k for k, one in enumerate(sides) if one == of_map]
            start = (2.35 + step * after[-1] + wide + 0.115, middle) if after else (2.0, middle + 0.55)
            over = 6.22 - 0.14 * i
            c.path(start, (start[0], over), (7.3, over), (7.3, y), (left, y))
        else:
            c.path((end, middle), (left, y))
        c.maps(left, y - length / 2, length, step=0.05)
        c.text(
            8.08,
            y,
            ("$F_t$  " if i == len(numbers["maps"]) - 1 else "") + f"{channels}×{of_map}×{of_map}",
            SMALL,
            "left",
        )
        c.path((8.98, y), (9.1, y), arrow=False)
    c.path((9.1, 5.98), (9.1, middle), arrow=False)


def ranking_and_heads(c: Canvas, numbers: dict[str, Any]) -> None:
    """The lower right: scorers, pooling, heads and losses, in columns: loss, output, part."""
    down, row = 8.74, {"rank": 3.4, "pool": 2.5, "mer": 1.2, "dic": 0.52}
    c.box(5.18, 0.1, 4.12, 3.82, "group")
    c.path((9.1, 5.1), (9.1, row["pool"] + 0.34))
    c.path((7.61, 5.0), (7.61, row["rank"] + 0.25))
    c.box(7.1, row["rank"] - 0.25, 1.02, 0.5, "rank", "rank scorers")
    c.path((7.1, row["rank"]), (6.95, row["rank"]))
    c.bars(6.05, row["rank"] - 0.17, (0.06, 0.12, 0.2, 0.29, 0.38), "rank", 0.06)
    c.bars(6.54, row["rank"] - 0.17, (0.04, 0.22, 0.38, 0.24, 0.08), "rank", 0.06)
    c.text(6.24, row["rank"] + 0.33, "time", 7)
    c.text(6.73, row["rank"] + 0.33, "intensity", 7)
    c.path((6.02, row["rank"]), (5.98, row["rank"]))
    c.text(6.48, row["rank"] - 0.32, "scores of each order", SMALL)
    c.box(5.28, row["rank"] - 0.22, 0.7, 0.44, "loss", "rank\nlosses", SMALL)
    c.path((6.48, row["rank"] - 0.45), (6.48, row["pool"]), (7.7, row["pool"]))
    c.text(7.09, row["pool"] + 0.13, "weights $w_t$", SMALL)
    c.box(7.7, row["pool"] - 0.34, 1.5, 0.68, "rank")
    c.text(8.45, row["pool"] + 0.2, "rank pooling")
    c.text(8.45, row["pool"] - 0.01, "$D=\\Sigma_t\\,w_t F_t\\,/\\,T$", SMALL)
    c.text(8.45, row["pool"] - 0.22, "at each resolution", 7)
    c.path((down, row["pool"] - 0.34), (down, 2.04))
    sides = [side for _, side in numbers["maps"]]
    for x, length in ((8.35, 0.4), (8.83, 0.22), (9.1, 0.1)):
        c.maps(x, 1.6, length, count=1)
    c.text(8.2, 1.8, "$D$")
    for name, label, column in (("mer", "MER head", "cross-\nentropy"), ("dic", "DIC head", "MSE to\nARP of $I_t$")):
        c.box(7.1, row[name] - 0.25, 1.02, 0.5, "head", label)
        c.path((7.1, row[name]), (6.85, row[name]))
        c.path((6.12, row[name]), (5.98, row[name]))
        c.box(5.28, row[name] - 0.22, 0.7, 0.44, "loss", column, SMALL)
    c.path((down, 1.54), (down, row["mer"]), (8.12, row["mer"]))
    c.path((down, row["mer"]), (down, row["dic"]), (8.12, row["dic"]))
    c.text(down + 0.08, row["mer"], "\n".join(f"{side}×{side}" for side in sides[-numbers["reads"] :]), 7, ha="left")
    c.text(down + 0.08, row["dic"] + 0.02, "\n".join(f"{side}×{side}" for side in sides), 7, ha="left")
    c.bars(6.22, row["mer"] - 0.16, (0.1, 0.36, 0.06, 0.16, 0.12), "head", 0.085)
    c.text(6.48, row["mer"] - 0.3, "logits", SMALL)
    c.motion(6.2, row["dic"] - 0.19, 0.46)
    c.text(6.48, row["dic"] - 0.3, "dynamic image", SMALL)


def local_block(c: Canvas) -> None:
    """The upper inset: inside the local relational aggregator."""
    line, over = 2.98, 3.56
    c.box(0.1, 2.1, 4.92, 1.82, "group")
    c.text(0.22, 3.77, "LRA", ha="left", weight="bold", color=PART["local"][1])
    c.text(0.62, 3.77, "local relational aggregator", SMALL, ha="left")
    c.path((0.18, line), (0.44, line))
    c.box(0.44, line - 0.2, 0.46, 0.4, "embed", "PE")
    c.path((0.9, line), (1.3, line))
    c.box(1.3, line - 0.42, 1.34, 0.84, "local", "MHCA: conv 3×3\nper head, BN, ReLU;\njoin, conv 1×1", SMALL)
    c.path((2.64, line), (2.88, line))
    c.plus(2.98, line)
    c.path((1.1, line), (1.1, over), (2.98, over), (2.98, line + 0.1))
    c.path((3.08, line), (3.48, line))
    c.box(3.48, line - 0.2, 0.74, 0.4, "local", "BN, MLP")
    c.path((4.22, line), (4.46, line))
    c.plus(4.56, line)
    c.path((3.28, line), (3.28, over), (4.56, over), (4.56, line + 0.1))
    c.path((4.66, line), (4.94, line))
    c.text(0.22, 2.4, "MHCA multi-head convolutional attention · MLP two conv 1×1, ReLU between", 7, ha="left")
    c.text(0.22, 2.22, "PE patch embedding: mean of 2×2 at ↓2, conv 1×1, BN; none if nothing changes", 7, ha="left")


def global_block(c: Canvas, numbers: dict[str, Any]) -> None:
    """The lower inset: inside the global relational aggregator."""
    line, low, over = 1.22, 0.46, 1.64
    c.box(0.1, 0.1, 4.92, 1.86, "group")
    c.text(0.22, 1.81, "GRA", ha="left", weight="bold", color=PART["global"][1])
    c.text(0.62, 1.81, "global relational aggregator, $c$ channels", SMALL, ha="left")
    c.path((0.18, line), (0.34, line))
    c.box(0.34, line - 0.2, 0.4, 0.4, "embed", "PE")
    c.path((0.74, line), (1.06, line))
    c.box(1.06, line - 0.28, 0.92, 0.56, "global", "BN, self-\nattention", SMALL)
    c.path((1.98, line), (2.12, line))
    c.plus(2.22, line)
    c.path((0.9, line), (0.9, over), (2.22, over), (2.22, line + 0.1))
    c.path((2.32, line), (3.84, line))
    c.text(3.1, line + 0.13, f"{numbers['mix']:g} $c$", SMALL)
    c.path((2.44, line), (2.44, low), (2.58, low))
    c.box(2.58, low - 0.18, 0.34, 0.36, "embed", "PE", SMALL)
    c.path((2.92, low), (3.16, low))
    c.box(3.16, low - 0.18, 0.5, 0.36, "local", "MHCA", SMALL)
    c.path((3.66, low), (3.84, low))
    c.plus(3.94, low)
    c.path((3.03, low), (3.03, 0.82), (3.94, 0.82), (3.94, low + 0.1))
    c.path((4.04, low), (4.18, low), (4.18, 0.98), (3.94, 0.98), (3.94, line - 0.1))
    c.text(4.24, low, f"{1 - numbers['mix']:g} $c$", SMALL, ha="left")
    c.plus(3.94, line, "‖")
    c.path((4.04, line), (4.26, line))
    c.box(4.26, line - 0.24, 0.36, 0.48, "global", "BN,\nMLP", 7)
    c.path((4.62, line), (4.7, line), arrow=False)
    c.plus(4.78, line)
    c.path((4.15, line), (4.15, over), (4.78, over), (4.78, line + 0.1))
    c.path((4.88, line), (5.0, line))
    reductions = ", ".join(str(stage["sr_ratio"]) for stage in numbers["stages"] if stage["n_global"])
    c.text(0.22, 0.6, "keys and values: means of $r^2$ places,", 7, ha="left")
    c.text(0.22, 0.42, f"$r$ = {reductions}", 7, ha="left")
    c.text(0.22, 0.24, "‖ concatenation of channels", 7, ha="left")


def draw() -> Figure:
    """The whole figure."""
    with mpl.rc_context(STYLE):
        canvas = Canvas(9.4, 6.67)
        backbone(canvas, plan())
        local_block(canvas)
        global_block(canvas, plan())
        ranking_and_heads(canvas, plan())
    return canvas.figure


def save(path: Path) -> None:
    """Write it; no date and no version goes into the file, so that only a change of the figure changes it."""
    with mpl.rc_context(STYLE):
        if path.suffix == ".svg":
            draw().savefig(path, metadata={"Date": None, "Creator": None})
        else:
            draw().savefig(path, dpi=160)


if __name__ == "__main__":
    save(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
