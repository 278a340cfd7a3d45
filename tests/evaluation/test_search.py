"""Inner scores and nested selection on random tables, against independent computations."""

import math

import numpy as np
import pandas as pd
import pytest
from random_runs import CLASSES, UNITS, last, make_predictions, make_unit_predictions
from sklearn.metrics import accuracy_score, f1_score, log_loss, recall_score

from fdp_lightning.evaluation.predictions import pool
from fdp_lightning.evaluation.search import inner_interval, inner_score, nested_choice, nested_frames

pytestmark = pytest.mark.costly

FOLDS = ["001", "002", "003", "004"]


def inner_table(fold: str, seed: int, skill: float = 0.5) -> pd.DataFrame:
    """Return the table that a fold keeps of two inner validation subjects, with two selections."""
    table = make_predictions(subjects=2, selections=("last", "inner"), skill=skill, seed=seed, balanced=False)
    return table.assign(fold=fold)


def by_scikit_learn(inner: pd.DataFrame) -> dict[str, float]:
    target, prediction = last(inner)["target"], last(inner)["prediction"]
    options = {"labels": CLASSES, "zero_division": 0}
    in_its_order = sorted(CLASSES)
    probabilities = last(inner)[[f"prob_{name}" for name in in_its_order]].to_numpy()
    return {
        "accuracy": accuracy_score(target, prediction),
        "uf1": f1_score(target, prediction, average="macro", **options),
        "uar": recall_score(target, prediction, average="macro", **options),
        "weighted_f1": f1_score(target, prediction, average="weighted", **options),
        "log_loss": log_loss(target, probabilities, labels=in_its_order),
    }


def test_inner_scores_equal_those_of_scikit_learn_over_all_rows_of_the_last_epoch() -> None:
    # the same clips in two folds, as if both folds had the same inner validation subject
    both = pd.concat([inner_table("001", 1), inner_table("002", 2)], ignore_index=True)
    for score, value in by_scikit_learn(both).items():
        assert inner_score(both, CLASSES, score) == pytest.approx(value)


def test_log_loss_of_units_is_the_mean_over_units_and_finite_for_certain_mistakes() -> None:
    table = make_unit_predictions(selections=("last",))
    shown = np.array([[unit in target.split("+") for unit in UNITS] for target in table["target"]])
    expected = [log_loss(shown[:, i], table[f"prob_{unit}"], labels=[False, True]) for i, unit in enumerate(UNITS)]
    assert inner_score(table, UNITS, "log_loss") == pytest.approx(np.mean(expected))
    sure = make_predictions(selections=("last",))
    sure[[f"prob_{name}" for name in CLASSES]] = (sure["target"].to_numpy()[:, None] != np.array(CLASSES)) / 4
    assert inner_score(sure, CLASSES, "log_loss") == pytest.approx(-math.log(np.finfo(float).eps))


def test_inner_intervals_are_over_subjects_and_contain_the_score() -> None:
    table = pd.concat([make_predictions(subjects=8, seed=s, selections=("last", "inner")) for s in (1, 2)])
    for score in ("uf1", "log_loss"):
        low, high = inner_interval(table, CLASSES, score)
        assert low < inner_score(table, CLASSES, score) < high
    # with identical clips per subject it is as wide as with one clip each
    one = last(table).drop_duplicates("subject")
    many = pd.concat([one] * 7, ignore_index=True)
    assert inner_interval(many, CLASSES, "log_loss") == pytest.approx(inner_interval(one, CLASSES, "log_loss"))


@pytest.mark.parametrize(("score", "seed"), [("uf1", 1), ("log_loss", 2)])
def test_nested_predictions_are_those_of_each_folds_best_trial(score: str, seed: int) -> None:
    trials = range(4)
    inner = {fold: {t: inner_table(fold, 1000 * seed + 10 * i + t) for t in trials} for i, fold in enumerate(FOLDS)}
    whole = {t: make_predictions(subjects=4, seed=100 * seed + t) for t in trials}
    test = {fold: {t: table[table["fold"] == fold] for t, table in whole.items()} for fold in FOLDS}
    choice = nested_choice(inner, CLASSES, score)
    for fold in FOLDS:
        scored = []
        for t in trials:
            found = by_scikit_learn(inner[fold][t])
            scored.append((round(-found[score] if score == "log_loss" else found[score], 12), -found["log_loss"]))
        assert choice[fold] == scored.index(max(scored))
    pooled = pool(nested_frames(choice, test), last(whole[0]), CLASSES)
    assert set(pooled["selection"]) == {"last"}
    for _, row in pooled.iterrows():
        source = last(whole[choice[row["fold"]]]).set_index("clip").loc[row["clip"]]
        assert row["prediction"] == source["prediction"] and row["prob_others"] == source["prob_others"]


def test_a_folds_choice_is_independent_of_other_folds() -> None:
    inner = {fold: {t: inner_table(fold, 10 * i + t) for t in range(3)} for i, fold in enumerate(FOLDS)}
    choice = nested_choice(inner, CLASSES, "uf1")
    for fold in FOLDS:
        others = {name: {t: inner_table(name, 77 + t) for t in range(3)} for name in FOLDS if name != fold}
        assert nested_choice({**inner, **others}, CLASSES, "uf1")[fold] == choice[fold]
