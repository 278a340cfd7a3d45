"""A support vector classifier on the values of a clip's flow maps: the baseline that a network has to beat.

Provenance: ours; nothing is tuned. Scores on the MEGC 2019 flow maps published by STSTNet's authors, values in 0..1,
leave-one-subject-out over 68 subjects: `RBF` UF1 .7115, UAR .6981, accuracy .7466; `LINEAR` .6832, .6881, .7149.

Everything, including the standardisation, is fitted on the training clips only. The same input gives bit-identical
results on any number of cores, because sums are computed by one thread.

With three or more classes, each pair of classes votes. The probabilities are **not calibrated**: they are the softmax
of scikit-learn's one-against-rest decision values (the votes, adjusted by the margins by less than half a vote). If all
votes are tied, libsvm predicts the first class, whatever the margins; its value is then swapped with the largest, so
the predicted class always has the largest probability. Platt scaling is not used: it needs five further fits, and its
largest probability may belong to another class.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from threadpoolctl import threadpool_limits

from fdp_lightning.models.classical.fitted_svc import FittedSVC


@dataclass(frozen=True)
class SVCSettings:
    """Settings of a support vector classifier.

    Attributes:
        kernel: 'rbf', with the width that scikit-learn calls 'scale', or 'linear'.
        c: penalty of errors, C.
        standardised: standardise each value to mean 0 and standard deviation 1 over the training clips first.
        balanced: weight classes by the inverse of their counts.
    """

    kernel: str = "rbf"
    c: float = 10.0
    standardised: bool = True
    balanced: bool = True

    def __post_init__(self) -> None:
        if self.kernel not in ("rbf", "linear"):
            raise ValueError(f"SVC kernel={self.kernel}; expected rbf or linear")
        if not self.c > 0:
            raise ValueError(f"SVC c={self.c}; expected a number above 0")


RBF = SVCSettings()
LINEAR = SVCSettings("linear", 1.0, standardised=False)


class FeatureClassifier:
    """A support vector classifier on the rows of `features`; call `fit`, then `predict_proba`.

    Args:
        classes: number of classes of the protocol, k; a class without training clips is never predicted.
        settings: settings of the classifier.
    """

    def __init__(self, classes: int = 3, settings: SVCSettings = RBF) -> None:
        self.classes, self.settings = classes, settings

    def fit(
        self, x: Shaped[np.ndarray, "n ..."], y: Int[np.ndarray, " n"], subjects: Int[np.ndarray, " n"] | None = None
    ) -> "FeatureClassifier":
        """Fit on training clips.

        Args:
            x: values of each clip, of any shape.
            y: class numbers, 0..k-1.
            subjects: subject of each clip; unused here.
        """
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        rows = self.features(x)
        self._known = np.unique(y)
        self._scaler = StandardScaler(with_mean=self.settings.standardised, with_std=self.settings.standardised)
        with threadpool_limits(1, user_api="blas"):
            self._training = self._scaler.fit_transform(rows)
            self._gamma = 1 / max(self._training.shape[1] * self._training.var(), 1e-300)
            if len(self._known) > 1:
                # One matrix product: libsvm's own kernel, value by value, takes eight times as long.
                weight = "balanced" if self.settings.balanced else None
                self._svc = SVC(C=self.settings.c, kernel="precomputed", class_weight=weight)
                self._svc.fit(self._kernel(self._training), y)
        return self

    def predict_proba(self, x: Shaped[np.ndarray, "m ..."]) -> Float[np.ndarray, "m k"]:
        """Return uncalibrated probabilities, largest for libsvm's class; 0 for classes without training clips."""
        from scipy.special import softmax

        probabilities = np.zeros((len(x), self.classes))
        if len(self._known) == 1:
            probabilities[:, self._known[0]] = 1
            return probabilities
        kernel = self._kernel_of(x)
        values = self._svc.decision_function(kernel)
        if values.ndim == 1:  # with two classes, the margin of the second
            values = np.stack([-values, values], axis=1)
        row, largest = np.arange(len(x)), values.argmax(axis=1)
        voted = np.searchsorted(self._known, self._svc.predict(kernel))
        values[row, largest], values[row, voted] = values[row, voted], values[row, largest]
        probabilities[:, self._known] = softmax(values, axis=1)
        return probabilities

    def features(self, x: Shaped[np.ndarray, "n ..."]) -> Float[np.ndarray, "n d"]:
        """Return the values of each clip that are classified."""
        raise NotImplementedError

    def _kernel_of(self, x: np.ndarray) -> np.ndarray:
        with threadpool_limits(1, user_api="blas"):
            return self._kernel(self._scaler.transform(self.features(x)))

    def _kernel(self, rows: np.ndarray) -> np.ndarray:
        """Return the kernel between clips and the training clips, shape (m, n)."""
        from sklearn.metrics.pairwise import linear_kernel, rbf_kernel

        if self.settings.kernel == "linear":
            return np.asarray(linear_kernel(rows, self._training))
        return np.asarray(rbf_kernel(rows, self._training, self._gamma))


class SupportVectorClassifier(FeatureClassifier):
    """A support vector classifier on the unchanged values of a clip."""

    def features(self, x: Shaped[np.ndarray, "n ..."]) -> Float[np.ndarray, "n d"]:
        """Return the values of each clip in one row."""
        return x.reshape(len(x), -1).astype(np.float64)

    def as_network(self) -> tuple[FittedSVC, dict[str, object]]:
        """Return the fitted classifier as a network, and the options that build a network of the same form."""
        features, support = self._training.shape[1], [0] * self.classes
        if len(self._known) == 1:  # the prediction is constant, and no machine was fitted
            support[self._known[0]] = 1
            vectors, weights, intercepts = np.zeros((1, features)), np.zeros((0, 1)), np.zeros(0)
        else:
            for number, count in zip(self._known, self._svc.n_support_, strict=True):
                support[number] = int(count)
            vectors = self._training[self._svc.support_]
            weights, intercepts = _pairs(self._svc)
        options: dict[str, object] = {"features": features, "support": support, "kernel": self.settings.kernel}
        network = FittedSVC(self.classes, features, support, self.settings.kernel)
        standardised = self.settings.standardised
        arrays = {
            "mean": self._scaler.mean_ if standardised else np.zeros(features),
            "scale": self._scaler.scale_ if standardised else np.ones(features),
            "vectors": vectors, "weights": weights, "intercepts": intercepts, "gamma": np.array(self._gamma),
        }  # fmt: skip
        network.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()})
        return network.eval(), options


def _pairs(svc: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return weights of the support vectors and intercepts for each pair of classes i < j, positive for i.

    scikit-learn keeps the weights of a class's vectors in k−1 rows, one for each other class, and reverses all signs if
    there are two classes.
    """
    ends = np.cumsum(svc.n_support_)
    of_class = [slice(end - count, end) for end, count in zip(ends, svc.n_support_, strict=True)]
    pairs = list(combinations(range(len(of_class)), 2))
    weights = np.zeros((len(pairs), ends[-1]))
    for row, (i, j) in zip(weights, pairs, strict=True):
        row[of_class[i]], row[of_class[j]] = svc.dual_coef_[j - 1, of_class[i]], svc.dual_coef_[i, of_class[j]]
    sign = -1.0 if len(of_class) == 2 else 1.0
    return sign * weights, sign * svc.intercept_
