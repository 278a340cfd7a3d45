"""Scores of a recogniser's extras on the held-out clips: means, and the similarity of images to their reference.

A PSNR means little by itself: images of faces resemble one another, and their mean resembles each of them. An image is
therefore reported together with everything else that the recogniser compares with the same reference, such as the mean
image of the training clips, and, if one value means "nothing" (`Extra.neutral`), with a uniform image of that value.
The correlation compares patterns regardless of their strength: it is 0 for an image that is unrelated to the clip.

References:
    [1] Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment: from error visibility to structural similarity",
        IEEE TIP 2004: SSIM. Computed by scikit-image with its default window of 7 × 7 pixels, values of 0..1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from fdp_lightning.evaluation.folds import Outputs, known_rows, mean_tau, read_outputs
from fdp_lightning.evaluation.intervals import clip_mean_interval
from fdp_lightning.extras import SAME, Extra, number_format

EVEN = "even"  # key of the uniform image

QUALITIES = ("psnr", "ssim", "correlation")
# Smaller differences between grey values are rounding to float32.
FLAT = 1e-6


def psnr(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute the peak signal-to-noise ratio `-10 log10(mean squared error)` of each image, in dB, shape (n,).

    Both arguments have shape (n, h, w) and values in 0..1; the PSNR of two equal images is infinite.
    """
    from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

    pairs = zip(true.astype(np.float64), images.astype(np.float64), strict=True)
    psnrs = [
        np.inf if mean_squared_error(*pair) < SAME else peak_signal_noise_ratio(*pair, data_range=1) for pair in pairs
    ]
    return np.array(psnrs)


def ssim(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute the structural similarity [1] of each image, shape (n,); 1 if the two are equal.

    Both arguments have shape (n, h, w) and values in 0..1. Images below 7 pixels use the largest odd window that fits.
    """
    from skimage.metrics import structural_similarity

    side = min(7, *true.shape[1:])
    window = side if side % 2 else side - 1
    pairs = zip(true.astype(np.float64), images.astype(np.float64), strict=True)
    return np.array([structural_similarity(*pair, data_range=1, win_size=window) for pair in pairs])


def correlation(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation of the pixels of each image with the true one's, −1 to 1, shape (n,).

    Both arguments have shape (n, h, w); the correlation is 0 if either image is uniform.
    """
    one, other = (part.reshape(len(part), -1).astype(np.float64) for part in (true, images))
    flat = (np.ptp(one, axis=1) < FLAT) | (np.ptp(other, axis=1) < FLAT)
    one, other = (part - part.mean(axis=1, keepdims=True) for part in (one, other))
    norms = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.divide((one * other).sum(axis=1), norms, out=np.zeros(len(one)), where=~flat).clip(-1, 1)


def references(extras: Sequence[Extra]) -> dict[str, list[Extra]]:
    """Return the images to be compared, grouped by the name of their reference, in the order of declaration."""
    found: dict[str, list[Extra]] = {}
    names = {extra.name for extra in extras if extra.kind == "image"}
    for extra in extras:
        if extra.kind == "image" and extra.reference in names:
            found.setdefault(extra.reference, []).append(extra)
    return found


def qualities(outputs: Outputs, reference: str) -> dict[str, dict[str, np.ndarray]]:
    """Compare the images of every held-out clip with a reference, a key of `references`.

    Returns the `QUALITIES`, (n,) each, of every image that names this reference, and of `EVEN` if the reference has a
    neutral value; NaN for clips that lack one of the two images.
    """
    true = outputs[reference]
    images = {extra.name: outputs.of(extra) for extra in references(outputs.extras)[reference]}
    (neutral,) = (extra.neutral for extra in outputs.extras if extra.name == reference)
    if neutral is not None:
        images[EVEN] = np.full_like(true, neutral)
    return {
        name: {"psnr": psnr(true, image), "ssim": ssim(true, image), "correlation": correlation(true, image)}
        for name, image in images.items()
    }


def quality_table(outputs: Outputs, reference: str, values: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Average `qualities` over all held-out clips, with intervals over subjects.

    `rows` has, for each image that any clip has, its `title`; the number `n_clips` of clips that have it; the means of
    `QUALITIES`, `psnr` over clips for which it is finite and None if there are none; their intervals in `ci95`, None if
    unknown; and `same`, the number of clips whose image equals the reference. `n_clips` counts all clips; `reference`
    is a title.
    """
    extras = {extra.name: extra for extra in outputs.extras}
    everyone = subjects_of(outputs)
    rows = {}
    for key, whole in values.items():
        known = ~np.isnan(whole["psnr"])
        if not known.any():
            continue
        finite = {score: known & np.isfinite(whole[score]) for score in QUALITIES}
        rows[key] = {
            "title": f"uniform image of {extras[reference].neutral:g}" if key == EVEN else extras[key].title,
            "n_clips": int(known.sum()),
            **{name: float(whole[name][rows].mean()) if rows.any() else None for name, rows in finite.items()},
            "ci95": {name: clip_mean_interval(whole[name][rows], everyone[rows]) for name, rows in finite.items()},
            "same": int((known & ~finite["psnr"]).sum()),
        }
    return {"reference": extras[reference].title, "rows": rows, "n_clips": len(everyone)}


def subjects_of(outputs: Outputs) -> np.ndarray:
    """Return the index of each clip's subject, (n,); the same id in two datasets is two subjects."""
    _, subjects = np.unique(np.stack([outputs["dataset"], outputs["subject"]]), axis=1, return_inverse=True)
    return subjects


def extra_scores(run: Path) -> dict[str, Any]:
    """Return the entry `extras` of metrics.json: extra → its scores, with `title` and `n_clips`.

    A scalar has its `mean` over the clips, with `ci95` over subjects, and its `heading`; a curve that should rise its
    mean Kendall's `tau` with time; an image with a reference the means of its `QUALITIES`, with intervals. A reference
    with a neutral value has those of the uniform image in `even`. An infinite PSNR, of images equal to the reference,
    is None.
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
        for name, row in table["rows"].items():
            del row["same"]
            if name == EVEN:
                scores[reference] = {"title": table["reference"], "n_clips": table["n_clips"], EVEN: row}
            else:
                scores[name] = {**row, "reference": table["reference"]}
    return scores


def scalar_mean(outputs: Outputs, name: str, rows: np.ndarray | slice = slice(None)) -> dict[str, Any]:
    """Average a scalar over those of the clips `rows` that have one, with an interval over subjects."""
    values, subjects = outputs[name][rows].astype(np.float64), subjects_of(outputs)[rows]
    known = np.isfinite(values)
    if not known.any():
        return {"mean": None, "ci95": None}
    return {"mean": float(values[known].mean()), "ci95": clip_mean_interval(values[known], subjects[known])}


def extras_note(scores: Mapping[str, Any]) -> Text:
    """Format `extra_scores` for below the scores: a line per curve and image, and one per heading of scalars."""
    lines, means = list[str](), dict[str, dict[str, float]]()
    for row in scores.values():
        if row.get("mean") is not None:
            means.setdefault(row["heading"], {})[row["title"]] = row["mean"]
        if "tau" in row:
            lines.append(f"{row['title']}: Kendall’s τ with time {row['tau']:.2f}" if row["tau"] is not None else "")
        if "psnr" in row:
            decibel = "∞" if row["psnr"] is None else f"{row['psnr']:.1f}"
            lines.append(
                f"image “{row['title']}” compared with “{row['reference']}”: correlation {row['correlation']:.2f}, "
                f"PSNR {decibel} dB, SSIM {row['ssim']:.2f}"
            )
    for heading, of_heading in means.items():
        form = number_format(of_heading.values())
        lines.append(f"{heading}, means: {', '.join(f'{title} {form % mean}' for title, mean in of_heading.items())}")
    return Text("\n".join(line for line in lines if line))
