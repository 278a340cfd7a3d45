"""Subjects, folds, calibration, the map of clips and the worst errors agree with the table of predictions."""

import re
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

from fdp_lightning.evaluation import charts, metrics
from fdp_lightning.evaluation.folds import fold_curves, read_key_frames, read_outputs
from fdp_lightning.evaluation.learning import read_trainings
from fdp_lightning.evaluation.report_details import (
    calibration,
    embedding,
    fold_charts,
    fold_rows,
    mistakes_of,
    subject_rows,
)


@pytest.fixture(scope="module")
def last() -> pd.DataFrame:
    return last_of(make_predictions(subjects=4, clips=7))


def test_the_rows_of_subjects_add_up_to_the_confusion_matrix(last: pd.DataFrame) -> None:
    rows = subject_rows(last, CLASSES)
    assert [row["name"] for row in rows] == ["001", "002", "003", "004"]
    for place, name in enumerate(CLASSES):
        of_class = last[last["target"] == name]
        right = (of_class["target"] == of_class["prediction"]).sum()
        assert np.sum([row["classes"][place] for row in rows], axis=0).tolist() == [right, len(of_class)]
    assert all(sum(n for _, n in row["classes"]) == row["n"] == 7 for row in rows)
    assert all(sum(right for right, _ in row["classes"]) == row["right"] for row in rows)


def test_the_bins_of_the_diagram_give_the_calibration_error(last: pd.DataFrame) -> None:
    found = calibration(last, CLASSES)
    by_hand = sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in found["bins"]) / len(last)
    assert found["ece"] == pytest.approx(by_hand)
    assert sum(row["n"] for row in found["bins"]) == len(last)
    assert all(row["from"] < row["confidence"] <= row["to"] for row in found["bins"])
    assert found["accuracy"] == pytest.approx((last["target"] == last["prediction"]).mean())
    empty = metrics.reliability(np.array([0, 0]), np.array([[1.0, 0], [0.6, 0.4]]), bins=5)
    assert [part.tolist() for part in empty] == [[0, 0, 1, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0.6, 0, 1]]


def test_a_fold_whose_files_are_missing_or_damaged_still_has_a_row(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", subjects=3, clips=4)
    (run / "folds" / "001" / "curves.csv").write_text("no,numbers\nat,all\n")
    (run / "folds" / "001" / "fold.json").write_text("{")
    (run / "folds" / "002" / "fold.json").write_text('{"steps": 56}')
    last = last_of(pd.read_csv(run / "predictions.csv", dtype={"fold": str}))
    curves, unread = fold_curves(run)
    assert re.findall(r"\d{3} \(", unread) == ["001 ("]
    steps = {fold.name: fold.steps for fold in read_trainings(run)}
    rows = fold_rows(last, CLASSES, curves, steps)
    assert [(row["name"], row["epochs"], row["steps"]) for row in rows] == [
        ("001", None, None), ("002", 6, 56), ("003", 6, None)
    ]  # fmt: skip
    assert rows[0]["train"] is None
    table = pd.read_csv(run / "folds" / "002" / "curves.csv")
    assert rows[1]["test"] == pytest.approx(table["test/loss"].iloc[-1])
    assert [name for name, _ in fold_charts(curves)] == ["loss", "accuracy", "kendall tau"]


def test_a_fold_named_in_a_table_is_looked_for_among_the_folds_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", subjects=3, clips=4)
    shutil.copytree(run / "folds" / "001", run / "outside")
    key = ("synthetic", "001", "001_1", 1)
    assert read_key_frames(run, "001", key) is not None
    assert read_key_frames(run, "../outside", key) is None
    assert read_key_frames(run, str(run / "outside"), key) is None


def test_the_map_of_clips_is_that_of_their_principal_components(tmp_path: Path) -> None:
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
    assert [mark["name"] for mark in found["legend"]] == CLASSES
    assert -1 <= found["of_class"] <= 1 and -1 <= found["of_subject"] <= 1
    assert found == embedding(outputs, CLASSES)  # deterministic
    assert embedding(replace(outputs, extras=outputs.extras[:-1]), CLASSES) == {}
    assert with_similarities(np.where(np.eye(15), 0.5, np.nan)) == {}  # no two clips share a value


def test_of_many_clips_the_map_draws_an_ellipse_for_each_subject_instead_of_a_line_to_each_clip(tmp_path: Path) -> None:
    few, many = (
        embedding(read_outputs(make_run(tmp_path / str(clips), subjects=4, clips=clips)), CLASSES) for clips in (15, 16)
    )
    assert not few["ellipses"] and many["ellipses"]
    alone = charts.plane_chart(np.eye(2), np.arange(2), "two subjects of a clip each", "ellipse")
    assert "nan" not in alone


def test_with_one_label_they_are_the_wrong_rows_by_their_probability() -> None:
    table = make_predictions(8, 10, selections=["last"])
    expected = sorted(
        (
            (-row[f"prob_{row['prediction']}"], place, CLASSES.index(row["prediction"]))
            for place, row in enumerate(table.to_dict("records"))
            if row["prediction"] != row["target"]
        )
    )[:8]
    given = [(-one.confidence, one.row, one.label) for one in mistakes_of(table, CLASSES)]
    assert given == expected and len(given) == 8


def test_with_several_labels_it_is_the_most_confident_single_decision_of_a_clip() -> None:
    table = make_unit_predictions(selections=["last"])
    right, best = [], dict[int, tuple[float, int]]()
    for row, clip in enumerate(table.to_dict("records")):
        target, prediction = (set(clip[name].split("+")) for name in ("target", "prediction"))
        for label, unit in enumerate(UNITS):
            if (unit in target) != (unit in prediction):
                sure = max(clip[f"prob_{unit}"], 1 - clip[f"prob_{unit}"])
                best[row] = max(best.get(row, (0.0, -1)), (sure, label))
        right += [row] if target == prediction else []
    expected = sorted((-sure, row, label) for row, (sure, label) in best.items())
    given = mistakes_of(table, UNITS, limit=1000)
    assert [(-one.confidence, one.row, one.label) for one in given] == expected
    assert right and not {*right} & {one.row for one in given}
