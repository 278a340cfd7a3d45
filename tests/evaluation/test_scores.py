import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from fdp_lightning.evaluation import metrics


@settings(deadline=None, max_examples=80)
@given(
    st.integers(2, 8).flatmap(
        lambda c: st.tuples(st.just(c), st.lists(st.tuples(*[st.integers(0, c - 1)] * 2), min_size=1))
    )
)
def test_equal_to_scikit_learn(case: tuple[int, list[tuple[int, int]]]) -> None:
    """Also where a class has no clip, no prediction, or neither."""
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


def test_batches_score_like_single_matrices() -> None:
    matrices = np.random.default_rng(0).integers(0, 4, (3, 5, 4, 4))
    for name, score in metrics.SCORES.items():
        assert score(matrices).shape == (3, 5), name
        assert score(matrices)[2, 1] == score(matrices[2, 1]), name


def test_rows_are_targets() -> None:
    assert metrics.confusion(np.array([0, 0]), np.array([1, 1]), 2).tolist() == [[0, 2], [0, 0]]


@pytest.mark.parametrize("bad", [-1, 3])
def test_unknown_class_is_refused(bad: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        metrics.confusion(np.array([0]), np.array([bad]), 3)
