"""The report's map of clips: what the recogniser makes of each, brought to a plane by principal components.

Networks of different folds share no features, so that their inner vectors cannot lie in one plane. Images can, which
all folds are trained to give on one scale: a recogniser that constructs one (compared with a reference) has a map.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdp_lightning.evaluation import charts
from fdp_lightning.evaluation.folds import Outputs
from fdp_lightning.evaluation.report_extras import images_of

SIDE = 32
"""Images are averaged down to about this many pixels a side."""

FEWEST = 4
"""Clips, below which there is nothing to see."""


def embedding(outputs: Outputs, classes: Sequence[str]) -> dict[str, Any]:
    """Draw the clips of a single-label run in the plane of two principal components, by class and by subject.

    Args:
        outputs: of `folds.read_outputs`.
        classes: the protocol's classes, in order.

    Returns:
        `title` of the image, `heading` of its section, the drawings `by_class` and `by_subject`, the `legend` of the
        first, the shares of the `variance` that the components have, and the silhouettes `of_class` and `of_subject`
        (None where they are not defined); nothing where no image is constructed.
    """
    made = [extra for extra in outputs.extras if extra.kind == "image" and extra.of == "clip" and extra.reference]
    if not made or len(outputs["clip"]) < FEWEST:
        return {}
    images = [images_of(outputs, made[:1], row) for row in range(len(outputs["clip"]))]
    if not all(images):
        return {}
    from sklearn.decomposition import PCA

    values = np.stack([_small(found[0][1]).ravel() for found in images]).astype(np.float64)
    model = PCA(2, svd_solver="full")
    points = model.fit_transform(values)
    if not np.isfinite(model.explained_variance_ratio_).all():  # all images are the same
        return {}
    order = {name: place for place, name in enumerate(classes)}
    of_class = np.array([order[target] for target in outputs["target"]])
    people = [f"{d} {s}" for d, s in zip(outputs["dataset"], outputs["subject"], strict=True)]
    of_subject = np.unique(people, return_inverse=True)[1]
    present = np.unique(of_class)
    marks = [charts.MARKS[place % len(charts.MARKS)] for place in present]
    return {
        "title": made[0].title,
        "heading": made[0].section,
        "n": len(points),
        "variance": model.explained_variance_ratio_.tolist(),
        "of_class": _silhouette(values, of_class),
        "of_subject": _silhouette(values, of_subject),
        "legend": [
            {"name": classes[place], "sign": sign, "variable": charts.VARIABLES[colour]}
            for place, (colour, _, sign) in zip(present, marks, strict=True)
        ],
        "by_class": charts.plane_chart(points, of_class, "Clips in two principal components, by class"),
        "by_subject": charts.plane_chart(points, of_subject, "Clips in two principal components, by subject", True),
    }


def _small(image: np.ndarray) -> np.ndarray:
    step = max(1, min(image.shape) // SIDE)
    height, width = (side // step * step for side in image.shape)
    return image[:height, :width].reshape(height // step, step, width // step, step).mean((1, 3))


def _silhouette(values: np.ndarray, groups: np.ndarray) -> float | None:
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(groups)) < len(groups):
        return None
    return float(silhouette_score(values, groups))
