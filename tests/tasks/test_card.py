"""The card of a model, and the scores of the run that has its settings."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.metrics import f1_score

from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.inference.packaging.card import model_card
from fdp_lightning.inference.packaging.scores import loso_scores
from fdp_lightning.models.fdp.network import FDP
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.models.parts import name_of
from tests.tasks.conftest import run_of

FINGERPRINT = "15abc15d7fb5"


def facts(scores: dict[str, Any] | None, **changed: Any) -> dict[str, Any]:
    """The content of a model.json of a fit on the small synthetic set."""
    classes = ["happiness", "disgust", "repression", "surprise", "others"]
    training = {
        "task": "fit", "fold": "all", "dataset": "synthetic", "protocol": "synthetic_5c",
        "subjects": ["synthetic/01", "synthetic/02", "synthetic/03"], "held_out": [], "clips": 30,
        "class_counts": dict.fromkeys(classes, 6), "epochs": 2, "steps": 6, "seed": 0, "fingerprint": FINGERPRINT,
        "made_with": {"python": "3.11.7", "torch": "2.15.0", "git_revision": "abc"},
    }  # fmt: skip
    return {
        "format": 1, "name": "FDP on synthetic_5c, all subjects", "synthetic": True, "licence": "Apache-2.0",
        "classes": classes, "multi_label": False,
        "input": {"frames": 8, "channels": 1, "size": 64}, "normalisation": {"mean": 0.41, "std": 0.2},
        "alignment": {"method": "mtcnn", "per_frame": False, "margin": 0.0},
        "sampling": {"frames": 8, "rule": "uniform", "short": "repeat"}, "fitted": {"image_rms": 0.2},
        "configuration": {"model": {"_target_": name_of(FDP), "objective": {"_target_": name_of(Objective)}}},
        "weights": {"file": "model.safetensors", "sha256": "0f" * 32, "tensors": 99, "numbers": 90123},
        "training": training | changed.pop("training", {}), "scores": scores, **changed,
    }  # fmt: skip


@pytest.fixture
def run(workplace: Path) -> tuple[Path, str]:
    run = run_of(workplace)
    return run, json.loads((run / "folds/01/fold.json").read_text())["fingerprint"]


def test_the_scores_are_the_pooled_ones_of_the_last_epoch(run: tuple[Path, str]) -> None:
    scores, why = loso_scores(*run)
    assert scores is not None and why == ""
    table, classes = read_predictions(run[0] / "predictions.csv")
    last = table[table["selection"] == "last"]
    each = f1_score(last["target"], last["prediction"], labels=classes, average=None, zero_division=0)
    assert scores["f1"] == pytest.approx(dict(zip(classes, each, strict=True)))
    assert scores["uf1"] == pytest.approx(np.mean(each)) and scores["selection"] == "last"
    assert scores["accuracy"] == pytest.approx((last["target"] == last["prediction"]).mean())
    metrics = json.loads((run[0] / "metrics.json").read_text())
    assert scores["uf1_interval"] == metrics["selections"]["last"]["ci95"]["uf1"]
    assert (scores["n_clips"], scores["n_subjects"], scores["folds"]) == (30, 3, 3)
    assert scores["floors"] == metrics["floors"] and scores["run"] == "/".join(run[0].parts[-3:])
    assert "oracle" not in json.dumps(scores) and str(run[0].parents[3]) not in json.dumps(scores)


def test_without_all_folds_of_these_settings_there_is_no_score_and_it_says_why(run: tuple[Path, str]) -> None:
    folder, mark = run
    for_other, why = loso_scores(folder, "0" * 12)
    assert for_other is None and "3 of the 3 folds" in why
    (folder / "folds/02/curves.csv").write_text("changed")
    assert loso_scores(folder, mark)[0] is None and "damaged" in loso_scores(folder, mark)[1]
    shutil.rmtree(folder / "folds/02")
    assert loso_scores(folder, mark)[0] is None
    assert "20 of 30 clips" in loso_scores(folder, mark)[1]
    (folder / "expected.json").unlink()
    scores, why = loso_scores(folder, mark)
    assert scores is None and str(folder) not in why
    card = model_card(facts(None, no_scores=why))
    assert why in card and "macro-F1" not in card


def test_scores_that_are_not_of_the_predictions_are_no_scores(run: tuple[Path, str]) -> None:
    metrics = json.loads((run[0] / "metrics.json").read_text())
    metrics["selections"]["last"]["uf1"] += 0.1
    (run[0] / "metrics.json").write_text(json.dumps(metrics))
    assert loso_scores(*run)[0] is None


def test_the_card_of_a_fit_says_what_it_is_worth_and_what_it_is_not_for(run: tuple[Path, str]) -> None:
    scores, _ = loso_scores(*run)
    assert scores is not None
    card = model_card(facts(scores | {"inner_subjects": 2, "caveats": ["A caveat."]}))
    _, header, body = card.split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "apache-2.0" and "synthetic" in yaml.safe_load(header)["tags"]
    top = body.split("## ")[0]
    assert "all 3 subjects of synthetic" in top
    assert "3 other models" in body
    low, high = scores["uf1_interval"]
    chance, majority = (scores["floors"][name]["uf1"] for name in ("chance", "majority"))
    row = f"| macro-F1 (UF1) | {scores['uf1']:.3f} | {low:.3f}–{high:.3f} | {majority:.3f} | {chance:.3f} |"
    assert row in body and "majority class | chance |" in body
    assert "| happiness | 6 |" in body and f"| happiness | {scores['f1']['happiness']:.3f} | 6 |" in body
    assert "* A caveat." in body
    for words in ("Not for judging people", "Article 5(1)(f)", "0f" * 32, "task=predict", "load_model(", "2.15.0"):
        assert words in body
    assert "oracle" not in body and "None" not in body and "{" not in body


def test_the_card_names_the_class_and_what_is_declared() -> None:
    top = model_card(facts(None, training={"model": "fdp_tiny"})).split("## ")[0]
    assert FDP.about in top and "not the paper's" in top and "dynamic images (true, constructed" in top
    foreign = {"model": {"_target_": "my.Net", "objective": {"_target_": "my.Mine"}}}
    top = model_card(facts(None, training={"model": "mine"}, configuration=foreign)).split("## ")[0]
    assert "`mine`" in top and "FDP, " not in top and "also gives" not in top
