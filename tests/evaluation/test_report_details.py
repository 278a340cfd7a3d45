"""Subjects, folds, calibration, the map of clips and the worst errors agree with the table of predictions."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_runs import CLASSES, UNITS, make_predictions, make_run, make_unit_predictions
from random_runs import last as last_of
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from fdp_lightning.evaluation import metrics
from fdp_lightning.evaluation.folds import fold_curves, read_key_frames, read_outputs
from fdp_lightning.evaluation.report_details import (
    calibration,
    embedding,
    fold_rows,
    mistakes_of,
    subject_rows,
)


@pytest.fixture(scope="module")
def last() -> pd.DataFrame:
    return last_of(make_predictions(subjects=4, clips=7))


def test_rows_of_subjects_add_up_to_the_confusion_matrix(last: pd.DataFrame) -> None:
    rows = subject_rows(last, CLASSES)
    assert [row["name"] for row in rows] == ["001", "002", "003", "004"]
    for place, name in enumerate(CLASSES):
        of_class = last[last["target"] == name]
        right = (of_class["target"] == of_class["prediction"]).sum()
        assert np.sum([row["classes"][place] for row in rows], axis=0).tolist() == [right, len(of_class)]
    assert all(sum(n for _, n in row["classes"]) == row["n"] == 7 for row in rows)
    assert all(sum(right for right, _ in row["classes"]) == row["right"] for row in rows)


def test_bins_of_the_calibration_diagram_give_the_error(last: pd.DataFrame) -> None:
    found = calibration(last, CLASSES)
    by_hand = sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in found["bins"]) / len(last)
    assert found["ece"] == pytest.approx(by_hand)
    assert sum(row["n"] for row in found["bins"]) == len(last)
    assert all(row["from"] < row["confidence"] <= row["to"] for row in found["bins"])
    assert found["accuracy"] == pytest.approx((last["target"] == last["prediction"]).mean())
    empty = metrics.reliability(np.array([0, 0]), np.array([[1.0, 0], [0.6, 0.4]]), bins=5)
    assert [part.tolist() for part in empty] == [[0, 0, 1, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0.6, 0, 1]]


def test_rows_of_folds_have_the_last_epoch_and_the_steps(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", subjects=2, clips=4)
    (run / "folds" / "001" / "curves.csv").write_text("no,numbers\nat,all\n")
    curves, _ = fold_curves(run)
    last = last_of(pd.read_csv(run / "predictions.csv", dtype={"fold": str}))
    damaged, whole = fold_rows(last, CLASSES, curves, {"001": None, "002": 56})
    assert (damaged["epochs"], damaged["steps"], damaged["train"]) == (None, None, None)
    assert (whole["name"], whole["epochs"], whole["steps"]) == ("002", 6, 56)
    assert whole["test"] == pytest.approx(curves["002"]["test/loss"].iloc[-1])


def test_a_fold_name_cannot_lead_out_of_the_folder_of_folds(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", subjects=3, clips=4)
    shutil.copytree(run / "folds" / "001", run / "outside")
    key = ("synthetic", "001", "001_1", 1)
    found = [read_key_frames(run, name, key) is not None for name in ("001", "../outside", str(run / "outside"))]
    assert found == [True, False, False]


def test_the_map_shows_the_principal_components(tmp_path: Path) -> None:
    outputs = read_outputs(make_run(tmp_path / "run", subjects=3, clips=5))

    def with_similarities(values: np.ndarray) -> dict:
        return embedding(replace(outputs, arrays={**outputs.arrays, "similarities": values}), CLASSES)

    values = np.nan_to_num(outputs["similarities"])
    found = with_similarities(values)
    assert found["variance"] == pytest.approx(PCA(2).fit(values).explained_variance_ratio_)
    assert found["of_class"] == pytest.approx(silhouette_score(values, outputs["target"]))
    # A clip is placed although it is not compared with other clips of its subject.
    assert np.isnan(outputs["similarities"]).any(axis=1).all()
    found = embedding(outputs, CLASSES)
    assert 0 < found["variance"][1] <= found["variance"][0] < 1
    assert found == embedding(outputs, CLASSES)  # deterministic
    assert with_similarities(np.where(np.eye(15), 0.5, np.nan)) == {}  # no two clips share a value


def test_the_worst_mistakes_are_the_most_confident_wrong_predictions() -> None:
    table = make_predictions(8, 10, selections=["last"])
    wrong = table[table["prediction"] != table["target"]]
    confidence = [row[f"prob_{row['prediction']}"] for _, row in wrong.iterrows()]
    expected = sorted(zip(confidence, wrong.index, strict=True), reverse=True)[:8]
    assert [(one.confidence, one.row) for one in mistakes_of(table, CLASSES)] == expected


def test_with_several_labels_a_clip_counts_by_its_most_confident_wrong_unit() -> None:
    table = make_unit_predictions(selections=["last"])
    expected = []
    for row, clip in enumerate(table.to_dict("records")):
        target, prediction = (set(clip[name].split("+")) for name in ("target", "prediction"))
        wrong = [unit for unit in UNITS if (unit in target) != (unit in prediction)]
        sure = {max(clip[f"prob_{unit}"], 1 - clip[f"prob_{unit}"]): UNITS.index(unit) for unit in wrong}
        expected += [(max(sure), row, sure[max(sure)])] if wrong else []
    given = mistakes_of(table, UNITS, limit=1000)
    assert [(one.confidence, one.row, one.label) for one in given] == sorted(expected, reverse=True)
