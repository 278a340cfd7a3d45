"""How near the constructed dynamic images come to the true ones, beside baselines that need no model.

A number of decibels says little alone: dynamic images of faces resemble one another, and a mean of them is near every
one. On the signed scale, where most of a face does not move, an even grey is near every one, too. So the constructed
image stands beside
    the mean training image, the same for all held-out clips of a fold, which has seen nothing of the clip,
    on the signed scale the even mid grey, which stands for no motion, and
    the exact approximate rank pooling (ARP) of the clip's own frames, which has learnt nothing at all. It is the upper
    end of the scale where it is itself the target (image_kind=exact), and the report then states it.
Correlation asks for the pattern alone, whatever its strength: an image that is unrelated to the clip has 0.

References:
    [1] Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment: from error visibility to structural similarity",
        IEEE TIP 2004: SSIM. Computed by scikit-image with its default window of 7 × 7 pixels, values of 0..1.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fdp_lightning.evaluation.folds import COMPARED, read_outputs
from fdp_lightning.evaluation.intervals import clip_mean_interval

ROWS = {
    "dynamic_image": "constructed by the model",
    "mean_training_image": "mean training image",
    "nothing_moved": "mid grey: nothing moved",
    "arp_of_input": "ARP of the input frames",
}
"""Rows of the table; `nothing_moved` on the signed scale alone: where each image has its own, no grey stands for it."""

QUALITIES = ("psnr", "ssim", "correlation")
MID_GREY = 0.5
# A mean squared error that float32 rounding can leave: such images are the same, their PSNR is infinite.
SAME = 1e-12
# Grey values that differ by less are float32 rounding of one value.
FLAT = 1e-6


def psnr(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute the peak signal-to-noise ratio `-10 log10(mean squared error)` of each image, in dB.

    Args:
        true: shape (n, h, w), values of 0..1.
        images: of the same shape.

    Returns:
        Shape (n,); infinite where the two are the same.
    """
    from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

    return np.array(
        [
            np.inf if mean_squared_error(one, other) < SAME else peak_signal_noise_ratio(one, other, data_range=1)
            for one, other in zip(true.astype(np.float64), images.astype(np.float64), strict=True)
        ]
    )


def ssim(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute the structural similarity [1] of each image; 1 where the two are the same.

    Args:
        true: shape (n, h, w), values of 0..1. Below 7 pixels the window is the largest odd one that fits.
        images: of the same shape.

    Returns:
        Shape (n,).
    """
    from skimage.metrics import structural_similarity

    side = min(7, *true.shape[1:])
    window = side if side % 2 else side - 1
    return np.array(
        [
            structural_similarity(one, other, data_range=1, win_size=window)
            for one, other in zip(true.astype(np.float64), images.astype(np.float64), strict=True)
        ]
    )


def correlation(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Compute Pearson's correlation of the pixels of each image with the true one's; 0 where one of the two is flat.

    Args:
        true: shape (n, h, w).
        images: of the same shape.

    Returns:
        Shape (n,), from -1 to 1.
    """
    one, other = (part.reshape(len(part), -1).astype(np.float64) for part in (true, images))
    flat = (np.ptp(one, axis=1) < FLAT) | (np.ptp(other, axis=1) < FLAT)
    one, other = (part - part.mean(axis=1, keepdims=True) for part in (one, other))
    norms = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.divide((one * other).sum(axis=1), norms, out=np.zeros(len(one)), where=~flat).clip(-1, 1)


def is_signed(outputs: Mapping[str, np.ndarray]) -> bool:
    """Return True if the images of all folds are on the signed scale, where mid grey is no motion."""
    return bool(np.isfinite(outputs.get("image_rms", np.array([np.nan]))).all())


def qualities(outputs: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Compare every held-out clip's images with its true dynamic image.

    Args:
        outputs: of `folds.read_outputs`, with its arrays `folds.COMPARED`.

    Returns:
        For each of `ROWS` its `QUALITIES`, each of shape (n,).
    """
    true = outputs["true_dynamic_image"]
    images = {
        "dynamic_image": outputs["dynamic_image"],
        "mean_training_image": outputs["mean_training_image"][outputs["fold"]],
        "nothing_moved": np.full_like(true, MID_GREY),
        "arp_of_input": outputs["arp_of_input"],
    }
    if not is_signed(outputs):
        images.pop("nothing_moved")
    return {
        name: {"psnr": psnr(true, image), "ssim": ssim(true, image), "correlation": correlation(true, image)}
        for name, image in images.items()
    }


def quality_table(outputs: Mapping[str, np.ndarray], values: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Average over all held-out clips, with intervals over subjects.

    Args:
        outputs: as in `qualities`.
        values: of `qualities`.

    Returns:
        `rows`: for each of `ROWS` its `key` and `name`, `psnr` (the mean over the clips where it is finite, or infinite
        if there is none), `ssim` and `correlation`, each with `…_ci95` (a pair or None), and `same`, the number of
        clips whose image is the true one. `n`: clips. `nearer`: clips whose constructed image has a higher PSNR than
        the mean training image. `is_target`: True if the ARP of the input is the true image of every clip. `signed`:
        see `is_signed`.
    """
    _, subjects = np.unique(np.stack([outputs["dataset"], outputs["subject"]]), axis=1, return_inverse=True)
    rows = []
    for key, each in values.items():
        decibel = each["psnr"]
        finite = np.isfinite(decibel)
        row = {
            "key": key,
            "name": ROWS[key],
            "psnr": float(decibel[finite].mean()) if finite.any() else float("inf"),
            "psnr_ci95": clip_mean_interval(decibel[finite], subjects[finite]),
            "same": int((~finite).sum()),
        }
        for score in ("ssim", "correlation"):
            row |= {score: float(each[score].mean()), f"{score}_ci95": clip_mean_interval(each[score], subjects)}
        rows.append(row)
    n = len(subjects)
    return {
        "rows": rows,
        "n": n,
        "nearer": int((values["dynamic_image"]["psnr"] > values["mean_training_image"]["psnr"]).sum()),
        "is_target": rows[-1]["same"] == n,
        "signed": is_signed(outputs),
    }


def image_scores(run: Path) -> dict[str, Any] | None:
    """Return the means of `quality_table` as metrics.json has them; None where the folds of a run lack what it needs.

    Args:
        run: the run folder.

    Returns:
        `scale`, 'signed' or 'min_max'; `n_clips`; and `images`, for each of `ROWS` its `QUALITIES` with their 95 %
        intervals. A PSNR that is infinite, that of the true image itself, is None.
    """
    outputs, _ = read_outputs(run)
    if not all(name in outputs for name in COMPARED):
        return None
    table = quality_table(outputs, qualities(outputs))
    images = {
        row["key"]: {score: row[score] if np.isfinite(row[score]) else None for score in QUALITIES}
        | {"ci95": {score: row[f"{score}_ci95"] for score in QUALITIES}}
        for row in table["rows"]
    }
    return {"scale": "signed" if table["signed"] else "min_max", "n_clips": table["n"], "images": images}
