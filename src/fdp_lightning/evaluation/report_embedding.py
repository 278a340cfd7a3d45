"""The report's map of clips: held-out clips by what their recogniser makes of them, brought to a plane.

Each fold compares its clips with training clips (`engine.explanations`), so that those of different networks can lie in
one plane. Clips are as far from each other as these comparisons differ; the plane is that of classical
multidimensional scaling, which are principal components where every clip is compared with the same ones.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdp_lightning.evaluation import charts
from fdp_lightning.evaluation.folds import Outputs

FEWEST, MOST, MOST_JOINED = 4, 1000, 60
"""Clips: below, there is nothing to see; of more, as many are drawn, evenly spread; of more, lines to the mean of a
subject hide everything."""


def embedding(outputs: Outputs, classes: Sequence[str]) -> dict[str, Any]:
    """Draw the clips of a single-label run in a plane, by class and by subject.

    Returns:
        `title` of what is compared, the number of clips `n` and `of` how many, the drawings `by_class` and
        `by_subject`, whether the latter has `ellipses`, the `legend` of the first, the shares of the `variance` that
        the plane's axes have, and the silhouettes `of_class` and `of_subject` (None where they are not defined);
        nothing where clips are not compared.
    """
    extra = next((extra for extra in outputs.extras if extra.kind == "vector"), None)
    if extra is None or len(outputs["clip"]) < FEWEST:
        return {}
    from sklearn.decomposition import KernelPCA
    from sklearn.metrics import pairwise

    rows = np.unique(np.linspace(0, len(outputs["clip"]) - 1, MOST).round().astype(np.int64))
    distances = pairwise.nan_euclidean_distances(outputs[extra.name][rows].astype(np.float64))
    if not np.isfinite(distances).all() or not distances.any():  # none in common, or all the same
        return {}
    squares = -np.square(distances) / 2
    model = KernelPCA(2, kernel="precomputed", eigen_solver="dense")
    points = model.fit_transform(squares)
    total = np.trace(squares) - squares.mean() * len(squares)  # the trace of the centred kernel
    order = {name: place for place, name in enumerate(classes)}
    of_class = np.array([order[target] for target in outputs["target"][rows]])
    people = [f"{d} {s}" for d, s in zip(outputs["dataset"][rows], outputs["subject"][rows], strict=True)]
    of_subject = np.unique(people, return_inverse=True)[1]
    present = np.unique(of_class)
    ellipses = len(points) > MOST_JOINED
    grouped_by = "ellipse" if ellipses else "lines"
    marks = [charts.MARKS[place % len(charts.MARKS)] for place in present]
    return {
        "title": extra.title,
        "n": len(points),
        "of": len(outputs["clip"]),
        "variance": (model.eigenvalues_ / total).tolist(),
        "of_class": _silhouette(distances, of_class),
        "of_subject": _silhouette(distances, of_subject),
        "legend": [
            {"name": classes[place], "sign": sign, "variable": charts.VARIABLES[colour]}
            for place, (colour, _, sign) in zip(present, marks, strict=True)
        ],
        "by_class": charts.plane_chart(points, of_class, "Clips in a plane, by class"),
        "by_subject": charts.plane_chart(points, of_subject, "Clips in a plane, by subject", grouped_by),
        "ellipses": ellipses,
    }


def _silhouette(distances: np.ndarray, groups: np.ndarray) -> float | None:
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(groups)) < len(groups):
        return None
    return float(silhouette_score(distances, groups, metric="precomputed"))
