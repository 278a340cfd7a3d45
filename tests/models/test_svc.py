"""The support vector classifier: agreement with scikit-learn's, its probabilities, and its scores on real data."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from fdp_lightning.models.classical.fitted_svc import FittedSVC
from fdp_lightning.models.classical.svc import LINEAR, RBF, SupportVectorClassifier, SVCSettings
from tests.megc2019_arrays import FOLDER, needs_arrays


def clips(n: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise with a weak trace of the class, and the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    maps = rng.normal(size=(n, 3, 4, 4)) * 3 + 1
    maps[np.arange(n), labels % 3, labels // 3] += 2
    return maps.astype(np.float32), labels


@pytest.mark.parametrize("settings", [RBF, LINEAR, SVCSettings(c=0.5, balanced=False)])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_is_scikit_learns_classifier(settings: SVCSettings, classes: int) -> None:
    x, y = clips(60, classes, 0)
    others, _ = clips(200, classes, 1)
    weight = "balanced" if settings.balanced else None
    plain = SVC(C=settings.c, kernel=settings.kernel, class_weight=weight)
    reference = make_pipeline(StandardScaler(), plain) if settings.standardised else plain
    reference.fit(x.reshape(60, -1).astype(np.float64), y)
    found = SupportVectorClassifier(classes, settings).fit(x, y)
    np.testing.assert_array_equal(found.predict(others), reference.predict(others.reshape(200, -1).astype(np.float64)))


def test_what_cannot_be_fitted_is_refused() -> None:
    x, y = clips(10, 3, 5)
    for wrong in (y + 1, y - 1, y[:0]):
        with pytest.raises(ValueError, match="expected classes within"):
            SupportVectorClassifier(3).fit(x[: len(wrong)], wrong)
    for settings in ({"kernel": "poly"}, {"c": 0.0}):
        with pytest.raises(ValueError, match=str(*settings.values())):
            SVCSettings(**settings)


@needs_arrays
@pytest.mark.parametrize(
    ("settings", "expected"), [(RBF, (0.7115, 0.6981, 0.7466)), (LINEAR, (0.6832, 0.6881, 0.7149))]
)
def test_the_public_maps_give_the_known_numbers(settings: SVCSettings, expected: tuple[float, ...]) -> None:
    arrays = np.load(FOLDER / "composite442_ststnet_flow28.npz")
    x, y = arrays["flow"] / 255, arrays["label"]
    subjects = np.char.add(arrays["dataset"], arrays["subject"])
    predicted = np.full(442, -1)
    assert len(np.unique(subjects)) == 68
    for subject in np.unique(subjects):
        held_out = subjects == subject
        fitted = SupportVectorClassifier(3, settings).fit(x[~held_out], y[~held_out])
        predicted[held_out] = fitted.predict_proba(x[held_out]).argmax(axis=1)
    found = (f1_score(y, predicted, average="macro"), recall_score(y, predicted, average="macro"))
    assert (*found, accuracy_score(y, predicted)) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("settings", [RBF, LINEAR])
@pytest.mark.parametrize("kept", [[0, 1, 2], [0, 2], [1], [0, 1, 2, 3, 4]])
def test_probabilities_and_its_network_agree_with_predictions(settings: SVCSettings, kept: list[int]) -> None:
    classes = max(3, len(kept))
    x, y = clips(60, classes, 5)
    some = np.isin(y, kept)
    others, _ = clips(500, classes, 6)
    fitted = SupportVectorClassifier(classes, settings).fit(x[some], y[some])
    found, predicted = fitted.predict_proba(others), fitted.predict(others)
    np.testing.assert_array_equal(found.argmax(axis=1), predicted)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert not found[:, sorted({*range(classes)} - {*kept})].any()  # a class without training clips
    if settings is RBF and kept == [0, 1, 2]:  # the set must contain ties for the test to show anything
        plain = make_pipeline(StandardScaler(), SVC(C=RBF.c, class_weight="balanced")).fit(x.reshape(60, -1), y)
        assert (plain.decision_function(others.reshape(500, -1)).argmax(axis=1) != predicted).any()
    network, options = fitted.as_network()
    again = FittedSVC(classes, **options)
    again.load_state_dict(network.state_dict())
    probabilities = again(torch.from_numpy(others)).softmax(1).numpy()
    np.testing.assert_array_equal(probabilities.argmax(axis=1), predicted)
    np.testing.assert_allclose(probabilities, found, atol=1e-9)
