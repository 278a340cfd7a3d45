"""Numbers of what a recogniser keeps of the held-out clips, for metrics.json and the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from fdp_lightning.evaluation.folds import Outputs, known_rows, mean_tau, read_outputs
from fdp_lightning.evaluation.image_quality import EVEN, QUALITIES, qualities, quality_table, references, subjects_of
from fdp_lightning.evaluation.intervals import clip_mean_interval
from fdp_lightning.extras import number_format


def extra_scores(run: Path) -> dict[str, Any]:
    """Return what metrics.json has under `extras`, by the name of the extra.

    Returns:
        Of a number its `mean` over the clips, with `ci95` over subjects, and its `heading`; of a curve that is meant
        to rise its mean Kendall's `tau` with time; of an image with a reference its mean `QUALITIES` with their
        intervals, and in `even` those of an even image, where a value of the reference stands for nothing. A PSNR
        that is infinite, that of the reference itself, is None. Each has `title`, and `n_clips` that it was made of.
    """
    outputs, scores = read_outputs(run), dict[str, Any]()
    for extra in outputs.extras:
        about = {"title": extra.title, "n_clips": len(outputs["clip"])}
        if extra.kind == "scalar" and extra.of == "clip":
            n = int(np.isfinite(outputs[extra.name].astype(np.float64)).sum())
            scores[extra.name] = about | {"n_clips": n, "heading": extra.section} | scalar_mean(outputs, extra.name)
        if extra.kind == "curve" and extra.rises and extra.of == "clip":
            curves = outputs[extra.name][known_rows(outputs, extra)]
            tau = mean_tau(list(curves))
            scores[extra.name] = {**about, "n_clips": len(curves), "tau": tau if np.isfinite(tau) else None}
    for reference in references(outputs.extras):
        table = quality_table(outputs, reference, qualities(outputs, reference))
        rows = {row["key"]: {"title": row["name"], "n_clips": row["n"], **_quality(row)} for row in table["rows"]}
        even = rows.pop(EVEN, None)
        scores |= {name: {**row, "reference": table["reference"]} for name, row in rows.items()}
        if even is not None:
            scores[reference] = {"title": table["reference"], "n_clips": table["n"], EVEN: even}
    return scores


def scalar_mean(outputs: Outputs, name: str, rows: np.ndarray | slice = slice(None)) -> dict[str, Any]:
    """Average a number over those of the clips `rows` that have one, with its interval over subjects."""
    values, subjects = outputs[name][rows].astype(np.float64), subjects_of(outputs)[rows]
    known = np.isfinite(values)
    if not known.any():
        return {"mean": None, "ci95": None}
    return {"mean": float(values[known].mean()), "ci95": clip_mean_interval(values[known], subjects[known])}


def extras_note(scores: Mapping[str, Any]) -> Text:
    """Write a line on each of `extra_scores`, and one on all numbers of a heading, to stand below the scores."""
    lines, means = list[str](), dict[str, dict[str, float]]()
    for row in scores.values():
        if row.get("mean") is not None:
            means.setdefault(row["heading"], {})[row["title"]] = row["mean"]
        if "tau" in row:
            lines.append(f"{row['title']}: Kendall’s τ with time {row['tau']:.2f}" if row["tau"] is not None else "")
        if "psnr" in row:
            decibel = "∞" if row["psnr"] is None else f"{row['psnr']:.1f}"
            lines.append(
                f"image “{row['title']}” beside “{row['reference']}”: correlation {row['correlation']:.2f}, "
                f"PSNR {decibel} dB, SSIM {row['ssim']:.2f}"
            )
    for heading, of_heading in means.items():
        form = number_format(of_heading.values())
        lines.append(f"{heading}, means: {', '.join(f'{title} {form % mean}' for title, mean in of_heading.items())}")
    return Text("\n".join(line for line in lines if line))


def _quality(row: Mapping[str, Any]) -> dict[str, Any]:
    values = {score: row[score] if np.isfinite(row[score]) else None for score in QUALITIES}
    return {**values, "ci95": {score: row[f"{score}_ci95"] for score in QUALITIES}}
