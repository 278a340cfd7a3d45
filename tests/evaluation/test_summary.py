"""metrics.json, single- and multi-label: pooled scores against scikit-learn, and baselines computed by hand."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from random_runs import CLASSES, UNITS, last, make_predictions, make_unit_predictions
from sklearn.metrics import f1_score, multilabel_confusion_matrix, roc_auc_score

from fdp_lightning.evaluation import metrics
from fdp_lightning.evaluation.intervals import subject_intervals
from fdp_lightning.evaluation.metrics import confusion, score_functions
from fdp_lightning.evaluation.predictions import Outcomes, label_arrays, read_predictions, write_predictions
from fdp_lightning.evaluation.summary import chance, class_baselines, summarise, unit_baselines, write_metrics
from fdp_lightning.labels import LabelKind

ALL = ("last", "inner", "oracle")


def read_again(table: pd.DataFrame, classes: list[str], place: Path) -> dict:
    """Return a table's metrics.json, checked to be standard JSON that the predictions alone reproduce."""
    made = summarise(table, classes, "casme2_5c_246", ["024"], split="lodo")
    write_metrics(place / "metrics.json", made)
    write_predictions(place / "predictions.csv", table, classes)
    read: dict = json.loads((place / "metrics.json").read_text())
    json.dumps(read, allow_nan=False)
    again = summarise(*read_predictions(place / "predictions.csv"), "casme2_5c_246", ["024"], split="lodo")
    assert read == made == again
    assert (read["classes"], read["n_clips"], read["n_subjects"]) == (classes, 60, 6)
    assert list(read["selections"]) == list(ALL)
    return read


def test_metrics_of_one_label_equal_those_of_scikit_learn(tmp_path: Path) -> None:
    table = make_predictions(selections=ALL, balanced=False)
    read = read_again(table, CLASSES, tmp_path)
    scores = ["accuracy", "uf1", "uar", "weighted_f1", "auc", "ece"]
    assert list(read["selections"]["last"]) == [*scores, "ci95", "confusion"]
    pooled = f1_score(last(table)["target"], last(table)["prediction"], labels=CLASSES, average="macro")
    assert read["selections"]["last"]["uf1"] == pytest.approx(pooled)


def test_metrics_of_several_labels_equal_those_of_scikit_learn(tmp_path: Path) -> None:
    table = make_unit_predictions(selections=ALL)
    read = read_again(table, UNITS, tmp_path)
    for name, part in table.groupby("selection"):
        row = read["selections"][name]
        assert list(row) == ["accuracy", "mean_f1", "auc", "f1", "unit_auc", "ci95", "confusion"]
        target, prediction = label_arrays(part, UNITS)
        probabilities = part[[f"prob_{unit}" for unit in UNITS]].to_numpy()
        f1, areas = f1_score(target, prediction, average=None), roc_auc_score(target, probabilities, average=None)
        found = row["accuracy"], row["mean_f1"], row["auc"]
        assert found == pytest.approx(((target == prediction).mean(), f1.mean(), areas.mean()))
        assert row["f1"] == pytest.approx(dict(zip(UNITS, f1, strict=True)))
        assert row["unit_auc"] == pytest.approx(dict(zip(UNITS, areas, strict=True)))
        of_units = ((row["f1"][unit], row["ci95"]["f1"][unit]) for unit in UNITS)
        for value, (low, high) in [*((row[name], row["ci95"][name]) for name in ("accuracy", "mean_f1")), *of_units]:
            assert 0 <= low < value < high <= 1
        assert list(row["confusion"].values()) == multilabel_confusion_matrix(target, prediction).tolist()
    assert list(read["optimism_gap"]) == ["accuracy", "mean_f1", "auc"]
    oracle, final = (read["selections"][name]["mean_f1"] for name in ("oracle", "last"))
    assert read["optimism_gap"]["mean_f1"] == oracle - final


def test_the_majority_baseline_of_casme2_equals_that_of_the_evaluation_rules() -> None:
    majority = class_baselines(np.array((32, 63, 27, 28, 99)), [*"abcde"])["majority"]
    assert (majority["class"], majority["uar"]) == ("e", pytest.approx(0.2))
    assert majority["accuracy"] == pytest.approx(0.398, abs=5e-4)
    assert majority["uf1"] == pytest.approx(2 * 0.398 / 1.398 / 5, abs=5e-4)


@pytest.mark.parametrize("counts", [(1, 2, 4), (0, 3, 3)])
def test_chance_is_the_mean_over_all_guesses(counts: tuple[int, ...]) -> None:
    target = np.repeat(np.arange(len(counts)), counts)
    guesses = product(range(len(counts)), repeat=len(target))
    matrices = np.stack([confusion(target, np.array(guess), len(counts)) for guess in guesses])
    assert chance(np.array(counts)) == pytest.approx(
        {n: score(matrices).mean() for n, score in score_functions(LabelKind.SINGLE).items()}
    )


@pytest.mark.parametrize("shown", [(0, 1, 3), (6, 4, 2)])
def test_baselines_of_units_equal_those_of_all_guesses(shown: tuple[int, ...]) -> None:
    total = 6
    target = np.stack([np.arange(total) < n for n in shown], axis=1)
    found = unit_baselines(np.array(shown), total, ["a", "b", "c"])
    guesses = {"constant": np.ones_like(target), "majority": np.broadcast_to(target.mean(axis=0) > 0.5, target.shape)}
    for name, guess in guesses.items():
        expected = f1_score(target, guess, average=None, zero_division=0)
        assert found[name]["accuracy"] == pytest.approx((target == guess).mean())
        assert found[name]["f1"] == pytest.approx(dict(zip("abc", expected, strict=True)))
        assert found[name]["mean_f1"] == pytest.approx(expected.mean())
    every = np.array(list(product([False, True], repeat=total))).T  # (clips, all possible guesses)
    of_unit = [metrics.unit_f1(metrics.unit_confusions(every * 0 + column[:, None] > 0, every)) for column in target.T]
    assert list(found["chance"]["f1"].values()) == pytest.approx([f1.mean() for f1 in of_unit])
    assert found["chance"]["mean_f1"] == pytest.approx(np.mean(of_unit))
    assert found["chance"]["accuracy"] == 0.5


def test_units_shown_never_or_always_have_no_auc_and_do_not_prevent_intervals() -> None:
    table = make_unit_predictions(subjects=4, selections=("last",))
    target, _ = label_arrays(table, UNITS)
    target[:, 0], target[:, 1] = False, True
    table["target"] = ["+".join(np.array(UNITS)[row]) for row in target]
    intervals = subject_intervals(Outcomes.of(table, UNITS))
    assert intervals["f1"]["AU1"] == [0.0, 0.0]
    scores = summarise(table, UNITS, "p", [])["selections"]["last"]
    assert list(scores["unit_auc"]) == UNITS[2:]
    assert scores["auc"] == pytest.approx(np.mean([*scores["unit_auc"].values()]))
    assert intervals["mean_f1"][0] < intervals["mean_f1"][1]


def test_each_dataset_of_a_composite_is_scored_alone_over_all_classes() -> None:
    table = make_predictions(balanced=False)
    table["dataset"] = np.where(table["subject"].isin(["001", "002"]), "smic", "samm")
    table.loc[table["dataset"] == "smic", "target"] = CLASSES[0]  # which lacks the other classes
    whole = summarise(table, CLASSES, "p", [])
    assert list(whole["datasets"]) == ["samm", "smic"]
    for name, found in whole["datasets"].items():
        alone = summarise(table[table["dataset"] == name], CLASSES, "p", [])
        assert "datasets" not in alone
        assert found == {key: alone[key] for key in ("n_clips", "n_subjects", "selections")}
    # One id in two datasets means two people, also in every interval.
    assert summarise(table.replace({"subject": {"001": "003", "002": "004"}}), CLASSES, "p", []) == whole
