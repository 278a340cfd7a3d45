"""How near the constructed dynamic images come to the true ones, beside two baselines that need no model.

A number of decibels says little alone: dynamic images of faces resemble one another, and a mean of them is near every
one. So the constructed image stands beside
    the mean training image, the same for all held-out clips of a fold, which has seen nothing of the clip, and
    the exact approximate rank pooling (ARP) of the clip's own frames, which has learnt nothing at all.

References:
    [1] Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment: from error visibility to structural similarity",
        IEEE TIP 2004: SSIM. Computed by scikit-image with its default window of 7 × 7 pixels, values of 0..1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fdp_lightning.evaluation.intervals import clip_mean_interval

ROWS = {
    "dynamic_image": "constructed by the model",
    "mean_training_image": "mean training image",
    "arp_of_input": "ARP of the input frames",
}
# A mean squared error that float32 rounding can leave: such images are the same, their PSNR is infinite.
SAME = 1e-12


def psnr(true: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio `-10 log10(mean squared error)` of each image, in dB.

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
    """Structural similarity [1] of each image; 1 where the two are the same.

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


def qualities(outputs: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Compare every held-out clip's images with its true dynamic image.

    Args:
        outputs: of `folds.read_outputs`, with its arrays `folds.COMPARED`.

    Returns:
        For each of `ROWS` its `psnr` and `ssim`, shape (n,).
    """
    true = outputs["true_dynamic_image"]
    images = {name: outputs[name] for name in ROWS} | {
        "mean_training_image": outputs["mean_training_image"][outputs["fold"]]
    }
    return {name: {"psnr": psnr(true, image), "ssim": ssim(true, image)} for name, image in images.items()}


def quality_table(outputs: Mapping[str, np.ndarray], values: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Average over all held-out clips, with intervals over subjects.

    Args:
        outputs: as in `qualities`.
        values: of `qualities`.

    Returns:
        `rows`: for each of `ROWS` its name, `psnr` (the mean over the clips where it is finite, or infinite if there
        is none) and `ssim`, each with `…_ci95` (a pair or None), and `same`, the number of clips whose image is the
        true one. `n`: clips. `nearer`: clips whose constructed image has a higher PSNR than the mean training image.
        `is_target`: whether the ARP of the input is the true image of every clip.
    """
    _, subjects = np.unique(np.stack([outputs["dataset"], outputs["subject"]]), axis=1, return_inverse=True)
    rows = []
    for key, name in ROWS.items():
        decibel, similarity = values[key]["psnr"], values[key]["ssim"]
        finite = np.isfinite(decibel)
        rows.append(
            {
                "name": name,
                "psnr": float(decibel[finite].mean()) if finite.any() else float("inf"),
                "psnr_ci95": clip_mean_interval(decibel[finite], subjects[finite]),
                "ssim": float(similarity.mean()),
                "ssim_ci95": clip_mean_interval(similarity, subjects),
                "same": int((~finite).sum()),
            }
        )
    n = len(subjects)
    return {
        "rows": rows,
        "n": n,
        "nearer": int((values["dynamic_image"]["psnr"] > values["mean_training_image"]["psnr"]).sum()),
        "is_target": rows[-1]["same"] == n,
    }
