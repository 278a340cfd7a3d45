"""Scores against scikit-learn or values computed by hand, and where they are shown."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_runs import CLASSES, last, table_of, write_run
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    multilabel_confusion_matrix,
    precision_score,
    recall_score,
    roc_auc_score,
)

from fdp_lightning.evaluation import metrics
from fdp_lightning.evaluation.metrics import score_functions
from fdp_lightning.evaluation.report import build_report
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.evaluation.summary import summarise
from fdp_lightning.evaluation.tables.comparison import Variant, compare
from fdp_lightning.evaluation.tables.render import write_comparison
from fdp_lightning.labels import LabelKind


@settings(max_examples=80)
@given(
    st.integers(2, 8).flatmap(
        lambda c: st.tuples(st.just(c), st.lists(st.tuples(*[st.integers(0, c - 1)] * 2), min_size=1))
    )
)
def test_scores_equal_those_of_scikit_learn(case: tuple[int, list[tuple[int, int]]]) -> None:
    """Includes classes without clips, without predictions, or without both."""
    classes, pairs = case
    target, prediction = np.array(pairs).T
    matrix = metrics.confusion(target, prediction, classes)
    kept = {"labels": range(classes), "zero_division": 0}
    assert (matrix == confusion_matrix(target, prediction, labels=range(classes))).all()
    assert metrics.accuracy(matrix) == pytest.approx(accuracy_score(target, prediction))
    assert metrics.uf1(matrix) == pytest.approx(f1_score(target, prediction, average="macro", **kept))
    assert metrics.uar(matrix) == pytest.approx(recall_score(target, prediction, average="macro", **kept))
    assert metrics.weighted_f1(matrix) == pytest.approx(f1_score(target, prediction, average="weighted", **kept))
    assert metrics.f1(matrix) == pytest.approx(f1_score(target, prediction, average=None, **kept))
    assert metrics.precision(matrix) == pytest.approx(precision_score(target, prediction, average=None, **kept))


@st.composite
def multi_hot(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and predictions (n, k); shares near 0 or 1 yield units that no clip or every clip shows."""
    shape = draw(st.integers(1, 20)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shares = draw(st.tuples(*[st.sampled_from([0.0, 0.2, 0.5, 1.0])] * 2))
    return random.random(shape) < shares[0], random.random(shape) < shares[1]


@settings(max_examples=80)
@given(multi_hot())
def test_scores_of_units_equal_those_of_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    """Includes units that are never shown, never predicted, or both."""
    target, prediction = case
    matrices = metrics.unit_confusions(target, prediction)
    assert (matrices == multilabel_confusion_matrix(target, prediction)).all()
    kept = {"average": None, "zero_division": 0}
    assert metrics.unit_f1(matrices) == pytest.approx(f1_score(target, prediction, **kept))
    assert metrics.precision(matrices)[:, 1] == pytest.approx(precision_score(target, prediction, **kept))
    assert metrics.recall(matrices)[:, 1] == pytest.approx(recall_score(target, prediction, **kept))
    assert metrics.mean_f1(matrices) == pytest.approx(f1_score(target, prediction, average="macro", zero_division=0))
    assert metrics.unit_accuracy(matrices) == pytest.approx((target == prediction).mean())
    assert (metrics.unit_support(matrices) == target.sum(axis=0)).all()


def test_scores_of_a_batch_equal_those_of_each_matrix() -> None:
    for kind, shape in ((LabelKind.SINGLE, (4, 4)), (LabelKind.MULTI, (6, 2, 2))):
        matrices = np.random.default_rng(0).integers(0, 4, (3, 5, *shape))
        for name, score in score_functions(kind).items():
            assert score(matrices).shape == (3, 5), name
            assert score(matrices)[2, 1] == pytest.approx(score(matrices[2, 1])), name


@settings(max_examples=60)
@given(st.integers(2, 6), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_auc_is_the_mean_of_scikit_learns_over_classes_present(classes: int, clips: int, seed: int) -> None:
    """Includes ties and classes without clips."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes, clips)
    probabilities = random.integers(1, 5, (clips, classes)) / 1.0
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    present = [place for place in range(classes) if 0 < (targets == place).sum() < clips]
    single = [roc_auc_score(targets == place, probabilities[:, place]) for place in present]
    found = metrics.auc(targets, probabilities)
    assert found == (pytest.approx(np.mean(single)) if present else None)
    assert metrics.auc(targets[:, None] == np.arange(classes), probabilities) == found


def test_the_calibration_error_equals_that_by_hand() -> None:
    """Three of 15 bins are used: confidences 0.5 and 0.52 in one, 0.9 in another, 1 in the last."""
    probabilities = np.array([[0.5, 0.3, 0.2], [0.28, 0.52, 0.2], [0.05, 0.05, 0.9], [0.0, 1.0, 0.0]])
    # (0.4667, 0.5333]: accuracy 1/2, confidence 0.51; (0.8667, 0.9333]: 1 and 0.9; (0.9333, 1]: 0 and 1.
    by_hand = 2 / 4 * abs(0.5 - 0.51) + 1 / 4 * abs(1 - 0.9) + 1 / 4 * abs(0 - 1)
    found = metrics.expected_calibration_error(np.array([0, 2, 2, 0]), probabilities)
    assert found == pytest.approx(by_hand)
    edge = np.array([[0.5, 0.5], [0.6, 0.4]])  # 0.5 belongs to the lower bin, so that two bins have a clip each
    assert metrics.expected_calibration_error(np.array([0, 1]), edge, bins=2) == pytest.approx((0.5 + 0.6) / 2)


def test_a_registered_score_has_an_interval_and_is_in_every_table(tmp_path: Path) -> None:
    def brier(targets: np.ndarray, probabilities: np.ndarray) -> float:
        return float(((probabilities - np.eye(probabilities.shape[1])[targets]) ** 2).sum(axis=1).mean() / 2)

    metrics.register("brier", metrics.Score("Brier", brier), metrics.SCORES)
    try:
        run = read_run(write_run(tmp_path / "run"))
        page, lines, _ = write_comparison(tmp_path, compare([Variant("a", (run,))], []), {})
        report = build_report(run.folder, "title", show_faces=False, synthetic=True).read_text()
    finally:
        del metrics.SCORES["brier"], metrics.SCORE_NAMES["brier"]
    scores = run.metrics["selections"]["last"]
    assert 0 < scores["ci95"]["brier"][0] < scores["brier"] < scores["ci95"]["brier"][1] < 1
    assert f"{scores['brier']:.3f}" in report and ">Brier</th>" in report and ">Brier</th>" in page.read_text()
    assert ",brier," in lines.read_text()


def test_metrics_have_the_auc_with_an_interval() -> None:
    table = table_of()
    scores, part = summarise(table, CLASSES, "p", [])["selections"]["last"], last(table)
    probabilities = part[[f"prob_{name}" for name in sorted(CLASSES)]].to_numpy()
    assert scores["auc"] == pytest.approx(roc_auc_score(part["target"], probabilities, multi_class="ovr"))
    assert scores["ci95"]["auc"][0] < scores["auc"] < scores["ci95"]["auc"][1] and "ece" not in scores["ci95"]
