"""Draws the pictures of README and documentation: python docs/images/make.py [<picture> …] [--run <folder>].

The only faces in them are drawn from a photograph in the public domain (see data/synthetic/identity.py).

    pipeline    frames → rank scores → dynamic image → class, by the bundled model
    prediction  what task=predict draws of a clip
    selections  last, inner and oracle in one fold, and pooled; of a run with selection.inner_subjects (--run)
    report      four parts of a run's report.html, by Chromium (--run)
    chosen      what choosing the epoch on test subjects adds, from the tables of the study on real flow maps

Most are drawn for light and dark pages, all are kept below 150 kB.
"""

import argparse
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from fdp_lightning import load_model
from fdp_lightning.data.synthetic.film import draw_clip, write_frames
from fdp_lightning.inference.figures import overview

HERE = Path(__file__).resolve().parent
MOST_BYTES = 150_000
COLOURS = {
    "light": {"ground": "#ffffff", "ink": "#1b1f24", "quiet": "#57606a", "line": "#d0d7de", "accent": "#0b5cad",
              "second": "#b3541e", "third": "#1a7f37"},
    "dark": {"ground": "#0d1117", "ink": "#e6edf3", "quiet": "#9198a1", "line": "#3d444d", "accent": "#79b8ff",
             "second": "#f0883e", "third": "#56d364"},
}  # fmt: skip


def style(c: dict[str, str]) -> dict[Any, Any]:
    """The settings of a drawing."""
    return {
        "figure.facecolor": c["ground"], "axes.facecolor": c["ground"], "savefig.facecolor": c["ground"],
        "text.color": c["ink"], "axes.labelcolor": c["quiet"], "axes.edgecolor": c["line"], "xtick.color": c["quiet"],
        "ytick.color": c["quiet"], "axes.spines.top": False, "axes.spines.right": False, "font.size": 11,
        "axes.titlesize": 11.5, "axes.titleweight": "bold", "axes.titlecolor": c["ink"],
    }  # fmt: skip


def save(name: str, picture: Image.Image) -> None:
    """Write a picture with few colours, and refuse a large one."""
    path = HERE / f"{name}.png"
    # By octree: it keeps rare colours, as those of a heat map.
    picture.convert("RGB").quantize(192, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path}: {path.stat().st_size} bytes; expected {MOST_BYTES} at most")
    print(f"{path}  {picture.width}×{picture.height}, {path.stat().st_size // 1000} kB")


def drawn(figure: Figure, dpi: int = 125) -> Image.Image:
    """A figure as a picture."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=dpi)
    return Image.open(stream)


def in_schemes(
    name: str,
    draw: Callable[[Figure, dict[str, str]], None],
    size: tuple[float, float],
    schemes: Iterable[str] = COLOURS,
) -> None:
    """Draw for light and dark pages."""
    for scheme in schemes:
        colours = COLOURS[scheme]
        with mpl.rc_context(style(colours)):
            figure = Figure(figsize=size)
            draw(figure, colours)
            save(name if scheme == "light" else f"{name}-dark", drawn(figure))


def predicted(emotion: str = "happiness", seed: int = 5) -> Any:
    """What the bundled model says of a drawn clip."""
    with tempfile.TemporaryDirectory() as folder:
        write_frames(Path(folder) / "clip", draw_clip(emotion, seed).images)
        return load_model().predict(Path(folder) / "clip")


def pipeline(options: argparse.Namespace) -> None:
    """Frames, their scores, the dynamic image and the class, from left to right."""
    prediction = predicted()
    frames, scores = prediction.frames, prediction.extras["rank_scores"]
    n = len(frames)

    def draw(figure: Figure, c: dict[str, str]) -> None:
        def place(x: float, y: float, w: float, h: float) -> Any:
            return figure.add_axes((x, y, w, h))

        def step(x: float, title: str, words: str) -> None:
            figure.text(x, 0.93, title, fontsize=12.5, fontweight="bold", color=c["ink"])
            figure.text(x, 0.865, words, fontsize=9.5, color=c["quiet"])

        def picture(axes: Any, image: np.ndarray, **how: Any) -> None:
            axes.imshow(image, interpolation="bicubic", **how)
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(visible=True, color=c["line"])

        step(0.015, "1  A clip", "aligned once, eight frames")
        side, across = 0.0795, 12 / 3.6
        for i in range(n):
            x, y = 0.015 + (i % 4) * (side + 0.005), 0.47 - (i // 4) * (side * across + 0.075)
            picture(place(x, y, side, side * across), frames[i], cmap="gray", vmin=0, vmax=255)
            figure.text(x + side / 2, y - 0.045, f"t = {i + 1}", ha="center", fontsize=8.5, color=c["quiet"])
        step(0.415, "2  Rank scores", "the network orders the frames")
        axes = place(0.43, 0.16, 0.165, 0.6)
        axes.plot(np.arange(1, n + 1), scores, "-o", color=c["accent"], lw=2, ms=5)
        axes.set(xlabel="frame", xticks=range(1, n + 1), yticks=[])
        axes.set_ylabel("score")
        step(0.63, "3  Dynamic image", "frames summed by their rank")
        image = prediction.extras["true_dynamic_image"]
        picture(place(0.63, 0.16, 0.18, 0.18 * across), image, cmap="gray", vmin=0, vmax=1)
        figure.text(0.72, 0.075, "what is still cancels, motion stays", ha="center", fontsize=8.5, color=c["quiet"])
        step(0.845, "4  Emotion", "a probability for each class")
        names, values = zip(*sorted(prediction.probabilities.items(), key=lambda pair: pair[1]), strict=True)
        axes = place(0.915, 0.16, 0.07, 0.6)
        colours = [c["line"]] * (len(names) - 1) + [c["accent"]]
        axes.barh(names, values, color=colours)
        axes.set(xlim=(0, 1), xticks=[0, 1])
        axes.tick_params(labelsize=9.5, length=0)
        for x in (0.375, 0.612, 0.828):
            figure.text(x, 0.46, "→", fontsize=20, ha="center", va="center", color=c["quiet"])

    in_schemes("pipeline", draw, (12, 3.6))


def prediction(options: argparse.Namespace) -> None:
    """The overview of a clip, as task=predict writes it."""
    picture = Image.open(io.BytesIO(overview(predicted("surprise", 0), "the bundled model", synthetic=True)))
    save("prediction", picture.resize((1000, round(picture.height * 1000 / picture.width)), Image.Resampling.LANCZOS))


def selections(options: argparse.Namespace) -> None:
    """Accuracy of one fold over the epochs with the three choices, and the pooled scores of the run."""
    run = Path(options.run)
    facts = json.loads((run / "metrics.json").read_text())
    metrics, chance = facts["selections"], facts["floors"]["chance"]
    fold = max(run.glob("folds/*"), key=_spread) if options.fold is None else run / "folds" / options.fold
    curves = pd.read_csv(fold / "curves.csv")
    test, aside = curves["test/accuracy"], curves["inner/accuracy"]
    chosen = {
        "last": len(curves) - 1,
        "inner": curves.sort_values(["inner/accuracy", "inner/emotion_loss"], ascending=[False, True]).index[0],
        "oracle": int(test.idxmax()),
    }

    def draw(figure: Figure, c: dict[str, str]) -> None:
        colours = {"last": c["accent"], "inner": c["third"], "oracle": c["second"]}
        left, right = figure.subplots(1, 2, width_ratios=[1.75, 1])
        left.plot(curves["epoch"], aside, "--", color=c["quiet"], lw=1.3)
        left.plot(curves["epoch"], test, "-", color=c["ink"], lw=1.8)
        left.axhline(chance["accuracy"], color=c["line"], lw=1.5, zorder=0)
        right.axvline(chance["uf1"], color=c["line"], lw=1.5, zorder=0)
        right.text(chance["uf1"], -0.35, " chance", fontsize=9.5, color=c["quiet"])
        for name, at in chosen.items():
            left.plot(curves["epoch"][at], test[at], "o", ms=11, color=colours[name], mec=c["ground"], zorder=5)
        offsets = {"last": (0, 14), "inner": (0, -24), "oracle": (0, 15)}
        for name, at in chosen.items():
            left.annotate(
                name, (curves["epoch"][at], test[at]), offsets[name], textcoords="offset points", ha="center",
                color=colours[name], fontweight="bold", fontsize=12,
            )  # fmt: skip
        left.set(xlabel="epoch", ylabel="accuracy", title=f"One fold: subject {fold.name} held out")
        left.text(
            0.985, 0.04, "solid: held-out subject\ndashed: inner validation subjects", transform=left.transAxes,
            ha="right", va="bottom", fontsize=9.5, color=c["quiet"],
        )  # fmt: skip
        left.set_ylim(min(test.min(), aside.min()) - 0.1, max(test.max(), aside.max()) + 0.1)
        names = ["last", "inner", "oracle"]
        for place, name in enumerate(reversed(names)):
            score, (lower, upper) = metrics[name]["uf1"], metrics[name]["ci95"]["uf1"]
            right.plot([lower, upper], [place, place], color=colours[name], lw=4, solid_capstyle="round")
            right.plot(score, place, "o", ms=9, color=colours[name], mec=c["ground"])
            right.text(score, place + 0.2, f"{score:.3f}", ha="center", fontsize=11, color=c["ink"])
        right.set(yticks=range(3), xlabel="UF1, all clips pooled, 95 % over subjects", title="All folds")
        right.set_yticklabels(reversed(names), fontweight="bold", fontsize=12)
        right.set_ylim(-0.5, 2.6)
        for label, name in zip(right.get_yticklabels(), reversed(names), strict=True):
            label.set_color(colours[name])
        right.text(1, -0.3, "not comparable", transform=right.get_yaxis_transform(), ha="right", fontsize=9.5,
                   color=colours["oracle"])  # fmt: skip
        figure.tight_layout(w_pad=3)

    in_schemes("selections", draw, (11, 3.7))


def _spread(fold: Path) -> float:
    """By how much the best epoch of a fold is above its last: the larger, the more a picture shows."""
    accuracy = pd.read_csv(fold / "curves.csv")["test/accuracy"]
    return float(accuracy.max() - accuracy.iloc[-1])


def report(options: argparse.Namespace) -> None:
    """Four parts of a report as a browser shows them, beside each other."""
    for name, page, colours in _in_browser(Path(options.run) / "report.html", "report"):
        shown = ("#scores", "#confusion", "#what_moved_and_counted .faces", "#embedding .key")
        parts = [_part(page, section, colours["line"]) for section in shown]
        sheet = Image.new("RGB", (2 * PART[0] + 20, 2 * PART[1] + 20), colours["ground"])
        for i, part in enumerate(parts):
            sheet.paste(part, (i % 2 * (PART[0] + 20), i // 2 * (PART[1] + 20)))
        save(name, sheet.resize((1000, round(sheet.height * 1000 / sheet.width)), Image.Resampling.LANCZOS))


def chosen(options: argparse.Namespace) -> None:
    """UF1 of the last epoch and of the oracle for each network of the study on real flow maps, from its tables."""
    study = (HERE.parents[1] / "experiments/megc2019_flow/README.md").read_text()
    table = study[study.index("| | epochs to choose from |") :].split("\n\n")[0]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    rows.sort(key=lambda row: row[4], reverse=True)

    def draw(figure: Figure, c: dict[str, str]) -> None:
        axes = figure.subplots()
        for place, (_, epochs, interval, best, gain, _) in enumerate(rows):
            last, lower, upper = map(float, re.findall(r"\d\.\d+", interval))
            oracle = float(best)
            axes.plot([lower, upper], [place] * 2, color=c["accent"], alpha=0.3, lw=7, solid_capstyle="butt")
            axes.plot([last, oracle], [place] * 2, color=c["second"], lw=1.5)
            axes.plot(last, place, "o", ms=8, color=c["accent"])
            axes.plot(oracle, place, "o", ms=8, mfc=c["ground"], mec=c["second"], mew=1.8)
            axes.annotate(
                gain.replace("*", ""), (1.02, place), xycoords=("axes fraction", "data"),
                va="center", fontsize=10,
            )  # fmt: skip
            axes.annotate(f"best of {epochs}", (oracle, place), (9, 0), textcoords="offset points", va="center",
                          fontsize=9, color=c["quiet"])  # fmt: skip
        axes.set(yticks=range(len(rows)), xlim=(0.6, 0.92), xlabel="UF1 over 68 folds; bar: 95 % over subjects")
        axes.set_yticklabels([row[0].replace(", ", "\n", 1) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.7)
        axes.tick_params(axis="y", length=0, labelcolor=c["ink"])
        axes.set_title("last epoch (filled), best epoch on held-out subjects (hollow)", loc="left", fontsize=10.5)
        axes.set_title("difference (95 %)", loc="right", x=1.3, fontsize=10.5)
        figure.subplots_adjust(left=0.23, right=0.79, bottom=0.15, top=0.9)

    in_schemes("chosen", draw, (10, 0.6 + 0.5 * len(rows)), schemes=["light"])  # the only one that the page shows


def _in_browser(path: Path, name: str) -> Iterator[tuple[str, Any, dict[str, str]]]:
    """Open a page in each colour scheme; yields the picture's name, the page and the colours."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for scheme, colours in COLOURS.items():
            context = browser.new_context(viewport={"width": PART[0], "height": 900}, color_scheme=scheme)
            page = context.new_page()
            page.goto(path.resolve().as_uri(), wait_until="load")
            yield (name if scheme == "light" else f"{name}-dark"), page, colours
        browser.close()


PART = (800, 540)


def _part(page: Any, section: str, line: str) -> Image.Image:
    """The upper part of a section, in a frame."""
    box = page.locator(section).bounding_box()
    clip = {"x": 0, "y": box["y"], "width": PART[0], "height": PART[1]}
    picture = Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True))).convert("RGB")
    return ImageOps.expand(picture.crop((2, 2, picture.width - 2, picture.height - 2)), 2, line)


PICTURES = {draw.__name__: draw for draw in (pipeline, prediction, selections, report, chosen)}


def main() -> None:
    """Draw the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="*", default=["pipeline", "prediction"], choices=[*PICTURES])
    parser.add_argument("--run", help="folder of a finished run, for selections and report")
    parser.add_argument("--fold", help="held-out subject of selections; without it the fold with the largest gap")
    options = parser.parse_args()
    for name in options.pictures:
        PICTURES[name](options)


if __name__ == "__main__":
    main()
