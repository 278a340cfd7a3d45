"""Linear baselines: a linear classifier on one image of each clip, which a network has to beat (O).

There are two such images, both weighted sums of the network's input frames with fixed weights:

    linear_arp    the exact ARP dynamic image of the frames (dynamic_image.py); uses no annotation.
    linear_apex   the frame nearest to the annotated apex minus the first frame; uses the annotation. Without an apex,
                  the frame that differs most from the first takes its place.

The classifier has three steps, all fitted on the training clips only: the first 60 principal components, each scaled
to unit variance, then logistic regression with an L2 penalty, C = 0.1. Each action unit has a regression of its own.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from threadpoolctl import threadpool_limits
from torch import Tensor

from fdp_lightning.models.dynamic_image import apex_index, dynamic_image
from fdp_lightning.models.recognizer import Clips

COMPONENTS = 60
C = 0.1
_NOTHING = 1e-10
"""Share of the largest variance below which a component is only floating-point error and is dropped."""


def arp_image(clips: Clips) -> Float[Tensor, "b c h w"]:
    """Return the exact ARP dynamic image of each clip."""
    return dynamic_image(clips.frames, "exact", clips.mask)


def apex_image(clips: Clips) -> Float[Tensor, "b c h w"]:
    """Return the frame nearest to the apex minus the first frame, for each clip."""
    rows = torch.arange(len(clips.frames))
    apex = apex_index(clips.frames, clips.frame_number, clips.apex, clips.mask)
    return clips.frames[rows, apex] - clips.frames[:, 0]


BASELINE_IMAGES: dict[str, Callable[[Clips], Tensor]] = {"linear_arp": arp_image, "linear_apex": apex_image}


def linear_probabilities(
    images: np.ndarray, targets: np.ndarray, others: np.ndarray, n_classes: int
) -> Float[np.ndarray, "m k"]:
    """Fit the classifier on training clips and apply it to others.

    The result is bit-identical on any number of cores, because sums are computed by one thread.

    Args:
        images: images of the training clips, shape (n, …).
        targets: class numbers of the training clips, (n,); multi-label (n, k): 1 for each unit that is shown.
        others: images of the clips to predict, shape (m, …).
        n_classes: number of classes, k.

    Returns:
        Probabilities of the classes, 0 for classes without training clips; multi-label: that each unit is shown.
    """
    with threadpool_limits(1, user_api="blas"):
        features, of_others = _standardised(images, others)
        if targets.ndim == 1:
            return _logistic(features, targets, of_others, n_classes)
        units = [_logistic(features, unit.astype(np.int64), of_others, 2)[:, 1] for unit in targets.T]
        return np.stack(units, axis=1)


def _standardised(images: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the principal components of both, standardised by the mean and standard deviation of the first.

    They come from the eigenvectors U and eigenvalues λ of the n×n Gram matrix XXᵀ of the centred images X, because
    there are far fewer images than pixels: component i of a centred image y is yXᵀu_i / √λ_i, and its standard
    deviation is √(λ_i / n).
    """
    from scipy.linalg import eigh

    n = len(images)
    rows = images.reshape(n, -1).astype(np.float64)
    mean = rows.mean(axis=0)
    rows -= mean
    gram = rows @ rows.T
    values, vectors = eigh(gram, subset_by_index=(max(0, n - COMPONENTS), n - 1))
    kept = values > max(values[-1], 0) * _NOTHING
    scale = np.divide(np.sqrt(n), values, out=np.zeros_like(values), where=kept)
    projection = vectors * scale
    return gram @ projection, (others.reshape(len(others), -1).astype(np.float64) - mean) @ rows.T @ projection


def _logistic(features: np.ndarray, labels: np.ndarray, others: np.ndarray, n_classes: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    probabilities = np.zeros((len(others), n_classes))
    known = np.unique(labels)
    if len(known) == 1:
        probabilities[:, known[0]] = 1.0
        return probabilities
    probabilities[:, known] = LogisticRegression(C=C, max_iter=1000).fit(features, labels).predict_proba(others)
    return probabilities
