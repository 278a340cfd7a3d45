"""LOSO of a classical recogniser on the public flow maps of MEGC 2019."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score

from tests.megc2019_arrays import FOLDER


def loso_scores(name: str, make: Callable[[], Any]) -> tuple[float, float, float]:
    """Return UF1, UAR and accuracy of the pooled predictions."""
    arrays = np.load(FOLDER / f"{name}.npz")
    maps = arrays["flow"][:, 0] if arrays["flow"].ndim == 5 else arrays["flow"]
    x, y = maps.transpose(0, 3, 1, 2) / np.float32(255), arrays["label"]
    subjects = np.unique(np.char.add(arrays["dataset"], arrays["subject"]), return_inverse=True)[1]
    assert subjects.max() == 67
    predicted = np.full(442, -1)
    for subject in range(68):
        out = subjects == subject
        fitted = make().fit(x[~out], y[~out], subjects[~out])
        predicted[out] = fitted.predict_proba(x[out]).argmax(axis=1)
    macro = [score(y, predicted, average="macro") for score in (f1_score, recall_score)]
    return macro[0], macro[1], accuracy_score(y, predicted)
