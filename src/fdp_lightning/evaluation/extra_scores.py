"""Numbers of what a recogniser keeps of the held-out clips: means, and how near images come to their reference.

A number of decibels says little alone: images of faces resemble one another, and a mean of them is near every one. So
beside an image that a recogniser makes stands whatever else it declares to be compared with the same reference, such as
the mean image of the training clips, and, where a value stands for nothing (`Extra.neutral`), an even image of it.
Correlation asks for the pattern alone, whatever its strength: an image that is unrelated to the clip has 0.

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

EVEN = "even"  # key of the even image

QUALITIES = ("psnr", "ssim", "correlation")
# Grey values that differ by less are float32 rounding of one value.
FLAT = 1e-6


def psnr(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute the peak signal-to-noise ratio `-10 log10(mean squared error)` of each image, in dB, shape (n,).

    Both are of shape (n, h, w), values of 0..1; it is infinite where the two are the same.
    """
    from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

    pairs = zip(true.astype(np.float64), images.astype(np.float64), strict=True)
    psnrs = [
        np.inf if mean_squared_error(*pair) < SAME else peak_signal_noise_ratio(*pair, data_range=1) for pair in pairs
    ]
    return np.array(psnrs)


def ssim(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute the structural similarity [1] of each image, shape (n,); 1 where the two are the same.

    Both are of shape (n, h, w), values of 0..1. Below 7 pixels the window is the largest odd one that fits.
    """
    from skimage.metrics import structural_similarity

    side = min(7, *true.shape[1:])
    window = side if side % 2 else side - 1
    pairs = zip(true.astype(np.float64), images.astype(np.float64), strict=True)
    return np.array([structural_similarity(*pair, data_range=1, win_size=window) for pair in pairs])


def correlation(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation of the pixels of each image with the true one's, −1 to 1, shape (n,).

    Both are of shape (n, h, w); it is 0 where one of the two is flat.
    """
    one, other = (part.reshape(len(part), -1).astype(np.float64) for part in (true, images))
    flat = (np.ptp(one, axis=1) < FLAT) | (np.ptp(other, axis=1) < FLAT)
    one, other = (part - part.mean(axis=1, keepdims=True) for part in (one, other))
    norms = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.divide((one * other).sum(axis=1), norms, out=np.zeros(len(one)), where=~flat).clip(-1, 1)


def references(extras: Sequence[Extra]) -> dict[str, list[Extra]]:
    """Return the images that are compared, by the name of their reference, the recogniser's own first."""
    found: dict[str, list[Extra]] = {}
    names = {extra.name for extra in extras if extra.kind == "image"}
    for extra in extras:
        if extra.kind == "image" and extra.reference in names:
            found.setdefault(extra.reference, []).append(extra)
    return found


def qualities(outputs: Outputs, reference: str) -> dict[str, dict[str, np.ndarray]]:
    """Compare every held-out clip's images with their reference, a key of `references`.

    Each image that names it, and `EVEN` where it has a neutral value, gets its `QUALITIES`, (n,) each; NaN for clips
    that lack one of the two images.
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

    `rows` has for each image that some clips have its `key` and `name`, the number `n` of these clips, `psnr` (the mean
    over the clips where it is finite, or infinite if there is none), `ssim` and `correlation`, each with `…_ci95` (a
    pair or None), and `same`, the number of clips whose image is the reference itself; `n` are all clips. `nearer` has
    for each image of the training its `name`, and the number `n` of clips whose first image has a higher PSNR.
    """
    extras = {extra.name: extra for extra in outputs.extras}
    neutral = extras[reference].neutral
    everyone = subjects_of(outputs)
    rows = []
    for key, whole in values.items():
        known = ~np.isnan(whole["psnr"])
        if not known.any():
            continue
        each, subjects = {score: of_clips[known] for score, of_clips in whole.items()}, everyone[known]
        decibel = each["psnr"]
        finite = np.isfinite(decibel)
        row = {
            "key": key,
            "name": f"even image of {neutral:g}" if key == EVEN else extras[key].title,
            "n": len(subjects),
            "psnr": float(decibel[finite].mean()) if finite.any() else float("inf"),
            "psnr_ci95": clip_mean_interval(decibel[finite], subjects[finite]),
            "same": int((~finite).sum()),
        }
        for score in ("ssim", "correlation"):
            row |= {score: float(each[score].mean()), f"{score}_ci95": clip_mean_interval(each[score], subjects)}
        rows.append(row)
    first, *others = references(outputs.extras)[reference]
    nearer = [
        {"name": other.title, "n": int((values[first.name]["psnr"] > values[other.name]["psnr"]).sum())}
        for other in others
        if other.of == "training"
    ]
    titles = {"reference": extras[reference].title, "first": first.title}
    return {**titles, "rows": rows, "n": len(everyone), "nearer": nearer}


def subjects_of(outputs: Outputs) -> np.ndarray:
    """Return a number of the subject of each clip, (n,): one id in two datasets is two subjects."""
    _, subjects = np.unique(np.stack([outputs["dataset"], outputs["subject"]]), axis=1, return_inverse=True)
    return subjects


def extra_scores(run: Path) -> dict[str, Any]:
    """Return what metrics.json has under `extras`, by the name of the extra, each with `title` and `n_clips`.

    Of a number its `mean` over the clips, with `ci95` over subjects, and its `heading`; of a curve that is meant to
    rise its mean Kendall's `tau` with time; of an image with a reference its mean `QUALITIES` with their intervals, and
    in `even` those of an even image, where a value of the reference stands for nothing. A PSNR that is infinite, that
    of the reference itself, is None.
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
        rows = {}
        for row in table["rows"]:
            means = {score: row[score] if np.isfinite(row[score]) else None for score in QUALITIES}
            intervals = {score: row[f"{score}_ci95"] for score in QUALITIES}
            rows[row["key"]] = {"title": row["name"], "n_clips": row["n"], **means, "ci95": intervals}
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
