import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from random_runs import CLASSES, make_predictions
from sklearn.metrics import f1_score

from fdp_lightning.evaluation.metrics import confusion, score_functions
from fdp_lightning.evaluation.predictions import read_predictions, write_predictions
from fdp_lightning.evaluation.summary import chance, class_floors, summarise, write_metrics
from fdp_lightning.labels import LabelKind


def test_metrics_are_standard_json_and_predictions_alone_give_them_again(tmp_path: Path) -> None:
    table = make_predictions(selections=("last", "inner", "oracle"))
    metrics = summarise(table, CLASSES, "casme2_5c_246", ["024"])
    write_metrics(tmp_path / "metrics.json", metrics)
    write_predictions(tmp_path / "predictions.csv", table, CLASSES)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert read == metrics == summarise(*read_predictions(tmp_path / "predictions.csv"), "casme2_5c_246", ["024"])
    facts = "protocol split multi_label classes n_clips n_subjects skipped_folds untested left_out caveats"
    assert list(read) == [*facts.split(), "selections", "optimism_gap", "floors"]
    assert read["multi_label"] is False
    assert (read["n_clips"], read["n_subjects"]) == (60, 6)
    assert list(read["selections"]) == ["last", "inner", "oracle"]
    scores = ["accuracy", "uf1", "uar", "weighted_f1", "auc", "ece"]
    assert list(read["selections"]["last"]) == [*scores, "ci95", "confusion"]


def test_scores_are_pooled_not_averaged_over_folds() -> None:
    table = make_predictions(balanced=False)
    last = table[table["selection"] == "last"]
    score = summarise(table, CLASSES, "p", [])["selections"]["last"]["uf1"]
    pooled = f1_score(last["target"], last["prediction"], labels=CLASSES, average="macro", zero_division=0)
    folds = [
        f1_score(part["target"], part["prediction"], labels=CLASSES, average="macro", zero_division=0)
        for _, part in last.groupby("fold")
    ]
    assert score == pytest.approx(pooled)
    assert abs(score - np.mean(folds)) > 0.02


def test_selections_of_different_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="same clips"):
        summarise(make_predictions().iloc[:-1], CLASSES, "p", [])
    with pytest.raises(ValueError, match="'last'"):
        summarise(make_predictions(selections=("oracle",)), CLASSES, "p", [])


@pytest.mark.parametrize(("counts", "share"), [((32, 63, 27, 28, 99), 0.398), ((57, 26, 26, 15, 12), 0.419)])
def test_majority_floor_is_the_known_one(counts: tuple[int, ...], share: float) -> None:
    """CASME II and SAMM, five classes: the floors of the evaluation rules."""
    names = [f"class {place}" for place in range(5)]
    majority = class_floors(np.array(counts), names)["majority"]
    assert majority["class"] == names[int(np.argmax(counts))]
    assert majority["accuracy"] == pytest.approx(share, abs=5e-4)
    assert majority["uar"] == pytest.approx(0.2)
    assert majority["uf1"] == pytest.approx(2 * share / (1 + share) / 5, abs=5e-4)


@pytest.mark.parametrize("counts", [(1, 2, 4), (0, 3, 3), (6, 1)])
def test_chance_is_the_mean_of_all_guesses(counts: tuple[int, ...]) -> None:
    target = np.repeat(np.arange(len(counts)), counts)
    guesses = product(range(len(counts)), repeat=len(target))
    matrices = np.stack([confusion(target, np.array(guess), len(counts)) for guess in guesses])
    assert chance(np.array(counts)) == pytest.approx(
        {n: score(matrices).mean() for n, score in score_functions(LabelKind.SINGLE).items()}
    )


def test_each_dataset_of_a_composite_is_scored_alone_and_by_all_classes() -> None:
    table = make_predictions(balanced=False)
    table["dataset"] = np.where(table["subject"].isin(["001", "002"]), "smic", "samm")
    table.loc[table["dataset"] == "smic", "target"] = CLASSES[0]  # which lacks the other classes
    whole = summarise(table, CLASSES, "p", [])
    assert list(whole["datasets"]) == ["samm", "smic"]
    for name, found in whole["datasets"].items():
        alone = summarise(table[table["dataset"] == name], CLASSES, "p", [])
        assert "datasets" not in alone
        assert found == {key: alone[key] for key in ("n_clips", "n_subjects", "selections")}
    assert whole["datasets"]["smic"]["selections"]["last"]["uar"] <= 1 / len(CLASSES)
