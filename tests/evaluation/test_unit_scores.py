"""Scores of action units against scikit-learn, floors by brute force, intervals by resampling row by row."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_units import UNITS, make_unit_predictions
from sklearn.metrics import f1_score, multilabel_confusion_matrix, precision_score, recall_score, roc_auc_score

from fdp_lightning.evaluation import metrics
from fdp_lightning.evaluation.intervals import subject_intervals
from fdp_lightning.evaluation.metrics import score_functions
from fdp_lightning.evaluation.outcomes import Outcomes
from fdp_lightning.evaluation.predictions import label_arrays, read_predictions, write_predictions
from fdp_lightning.evaluation.summary import summarise, unit_floors, write_metrics
from fdp_lightning.labels import LabelKind


def _last(**options: object) -> pd.DataFrame:
    return make_unit_predictions(selections=("last",), **options).reset_index(drop=True)  # type: ignore[arg-type]


@st.composite
def multi_hot(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Targets and predictions (n, k); at a share of 0 or 1 units that no clip or every clip shows are common."""
    shape = draw(st.integers(1, 20)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shares = draw(st.tuples(*[st.sampled_from([0.0, 0.2, 0.5, 1.0])] * 2))
    return random.random(shape) < shares[0], random.random(shape) < shares[1]


@settings(deadline=None, max_examples=80)
@given(multi_hot())
def test_equal_to_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    """Also where a unit is never shown, never predicted, or neither."""
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


@pytest.mark.parametrize("shown", [(0, 1, 3), (2, 4, 2), (6, 5, 0)])
def test_floors_by_brute_force(shown: tuple[int, ...]) -> None:
    total = 6
    target = np.stack([np.arange(total) < n for n in shown], axis=1)
    floors = unit_floors(np.array(shown), total, ["a", "b", "c"])
    guesses = {"constant": np.ones_like(target), "majority": np.broadcast_to(target.mean(axis=0) > 0.5, target.shape)}
    for name, guess in guesses.items():
        assert floors[name]["accuracy"] == pytest.approx((target == guess).mean())
        expected = f1_score(target, guess, average=None, zero_division=0)
        assert list(floors[name]["f1"].values()) == pytest.approx(expected.tolist())
        assert floors[name]["mean_f1"] == pytest.approx(expected.mean())
    every = np.array(list(product([False, True], repeat=total))).T  # (clips, all ways to guess)
    for name, column in zip("abc", target.T, strict=True):
        matrices = metrics.unit_confusions(np.repeat(column[:, None], every.shape[1], axis=1), every)
        assert floors["chance"]["f1"][name] == pytest.approx(metrics.unit_f1(matrices).mean())
    assert floors["chance"]["mean_f1"] == pytest.approx(np.mean(list(floors["chance"]["f1"].values())))
    assert floors["chance"]["accuracy"] == 0.5


def test_metrics_are_standard_json_and_predictions_alone_give_them_again(tmp_path: Path) -> None:
    table = make_unit_predictions(selections=("last", "inner", "oracle"))
    found = summarise(table, UNITS, "cd6me", ["024"], split="lodo")
    write_metrics(tmp_path / "metrics.json", found)
    write_predictions(tmp_path / "predictions.csv", table, UNITS)
    read = json.loads((tmp_path / "metrics.json").read_text())
    again = summarise(*read_predictions(tmp_path / "predictions.csv"), "cd6me", ["024"], split="lodo")
    assert read == found == again
    top = "protocol split multi_label classes n_clips n_subjects skipped_folds untested left_out caveats"
    assert list(read) == [*top.split(), "selections", "optimism_gap", "floors"]
    assert (read["multi_label"], read["classes"], read["n_clips"], read["n_subjects"]) == (True, UNITS, 60, 6)
    for name, part in table.groupby("selection"):
        row = read["selections"][name]
        assert list(row) == ["accuracy", "mean_f1", "auc", "f1", "unit_auc", "ci95", "confusion"]
        target, prediction = label_arrays(part, UNITS)
        assert row["accuracy"] == pytest.approx((target == prediction).mean())
        assert row["mean_f1"] == pytest.approx(f1_score(target, prediction, average="macro"))
        assert list(row["f1"].values()) == pytest.approx(f1_score(target, prediction, average=None).tolist())
        probabilities = part[[f"prob_{unit}" for unit in UNITS]].to_numpy()
        assert row["auc"] == pytest.approx(roc_auc_score(target, probabilities, average="macro"))
        areas = roc_auc_score(target, probabilities, average=None)
        assert list(row["unit_auc"].values()) == pytest.approx(areas.tolist())
        assert list(row["confusion"]) == list(row["f1"]) == list(row["ci95"]["f1"]) == UNITS
        assert list(row["confusion"].values()) == multilabel_confusion_matrix(target, prediction).tolist()
    gap = read["optimism_gap"]
    assert list(gap) == ["accuracy", "mean_f1", "auc"]
    assert gap["mean_f1"] == read["selections"]["oracle"]["mean_f1"] - read["selections"]["last"]["mean_f1"]
    assert list(read["floors"]) == ["constant", "majority", "chance"]


def test_intervals_contain_the_scores_whatever_the_order_of_rows() -> None:
    table = _last(subjects=20)
    intervals = subject_intervals(Outcomes.of(table, UNITS))
    assert intervals == subject_intervals(Outcomes.of(table.sample(frac=1, random_state=0), UNITS))
    matrices = Outcomes.of(table, UNITS).total
    for name, score in score_functions(LabelKind.MULTI).items():
        low, high = intervals[name]
        assert 0 <= low < score(matrices) < high <= 1
    for name, value in zip(UNITS, metrics.unit_f1(matrices), strict=True):
        low, high = intervals["f1"][name]
        assert 0 <= low < value < high <= 1
    # The mean of four units varies less than the least sure of them.
    assert np.diff(intervals["mean_f1"]) < max(np.diff(pair) for pair in intervals["f1"].values())


def test_a_unit_that_is_never_or_always_shown_hinders_no_interval() -> None:
    table = _last(subjects=4)
    target, _ = label_arrays(table, UNITS)
    target[:, 0], target[:, 1] = False, True
    table["target"] = ["+".join(u for u, there in zip(UNITS, row, strict=True) if there) for row in target]
    intervals = subject_intervals(Outcomes.of(table, UNITS))
    assert intervals["f1"]["AU1"] == [0.0, 0.0]
    last = summarise(table, UNITS, "p", [])["selections"]["last"]
    assert list(last["unit_auc"]) == UNITS[2:] and last["auc"] == pytest.approx(np.mean([*last["unit_auc"].values()]))
    assert intervals["mean_f1"][0] < intervals["mean_f1"][1]
