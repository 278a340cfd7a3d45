"""The support vector classifier: agreement with scikit-learn's, its probabilities, and its scores on real data."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from fdp_lightning.models.classical.fitted_svc import FittedSVC
from fdp_lightning.models.classical.svc import LINEAR, RBF, SupportVectorClassifier, SVCSettings
from tests.megc2019_arrays import needs_arrays
from tests.models.public_maps import loso_scores


def clips(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise with a weak trace of the class, and the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    maps = rng.normal(size=(n, 3, 4, 4)) * 3 + 1
    maps[np.arange(n), labels % 3, labels // 3] += 2
    return maps.astype(np.float32), labels


@pytest.mark.parametrize("settings", [RBF, LINEAR, SVCSettings(c=0.5, balanced=False)])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_predictions_are_those_of_scikit_learn(settings: SVCSettings, classes: int) -> None:
    x, y = clips(60, classes, 0)
    others, _ = clips(200, classes, 1)
    weight = "balanced" if settings.balanced else None
    plain = SVC(C=settings.c, kernel=settings.kernel, class_weight=weight)
    reference = make_pipeline(StandardScaler(), plain) if settings.standardised else plain
    reference.fit(x.reshape(60, -1).astype(np.float64), y)
    found = SupportVectorClassifier(classes, settings).fit(x, y)
    predicted = found.predict_proba(others).argmax(axis=1)
    np.testing.assert_array_equal(predicted, reference.predict(others.reshape(200, -1).astype(np.float64)))


@needs_arrays
@pytest.mark.parametrize(
    ("settings", "expected"), [(RBF, (0.7115, 0.6981, 0.7466)), (LINEAR, (0.6832, 0.6881, 0.7149))]
)
def test_the_public_maps_give_the_known_scores(settings: SVCSettings, expected: tuple[float, ...]) -> None:
    found = loso_scores("composite442_ststnet_flow28", lambda: SupportVectorClassifier(3, settings))
    assert found == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("settings", [RBF, LINEAR])
@pytest.mark.parametrize("kept", [[0, 1, 2], [0, 2], [1], [0, 1, 2, 3, 4]])
def test_probabilities_and_the_network_agree_with_predictions(settings: SVCSettings, kept: list[int]) -> None:
    classes = max(3, len(kept))
    x, y = clips(60, classes, 5)
    some = np.isin(y, kept)
    others, _ = clips(500, classes, 6)
    fitted = SupportVectorClassifier(classes, settings).fit(x[some], y[some])
    found = fitted.predict_proba(others)
    predicted = found.argmax(axis=1)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert not found[:, sorted({*range(classes)} - {*kept})].any()  # a class without training clips
    if settings is RBF and kept == [0, 1, 2]:  # the set must contain ties for the test to show anything
        plain = make_pipeline(StandardScaler(), SVC(C=RBF.c, class_weight="balanced")).fit(x.reshape(60, -1), y)
        assert (plain.decision_function(others.reshape(500, -1)).argmax(axis=1) != predicted).any()
        np.testing.assert_array_equal(plain.predict(others.reshape(500, -1)), predicted)
    network, options = fitted.as_network()
    again = FittedSVC(classes, **options)
    again.load_state_dict(network.state_dict())
    probabilities = again(torch.from_numpy(others)).softmax(1).numpy()
    np.testing.assert_array_equal(probabilities.argmax(axis=1), predicted)
    np.testing.assert_allclose(probabilities, found, atol=1e-9)
