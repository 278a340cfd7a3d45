"""Why `last` is the headline: where labels mean nothing it is at chance, and `oracle` is not."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fdp_lightning.evaluation.metrics import confusion
from fdp_lightning.evaluation.predictions import class_indices, read_predictions
from tests.tasks.conftest import start

DEALS = 5000


@pytest.mark.slow  # eight folds of twenty epochs
def test_with_shuffled_labels_last_is_at_chance_and_oracle_above(tmp_path: Path) -> None:
    size = ["data.generate.subjects=8", "trainer.max_epochs=20", "model.optimizer.lr=0.01"]
    done = start(tmp_path, *size, "protocol.shuffled=0", "selection.inner_subjects=2", "loso.workers=2")
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/synthetic_loso/*/seed-0")
    metrics = json.loads((run / "metrics.json").read_text())
    table, classes = read_predictions(run / "predictions.csv")
    for name in ("last", "inner"):
        assert abs(surprise(table[table["selection"] == name], classes)) < 4
    # Of 20 epochs each fold takes the one that is best on its own clips: "above" chance where nothing can be learnt.
    last, oracle = metrics["selections"]["last"], metrics["selections"]["oracle"]
    assert oracle["accuracy"] >= last["accuracy"] + 0.05
    assert metrics["optimism_gap"]["accuracy"] == oracle["accuracy"] - last["accuracy"]
    assert any("shuffled" in caveat for caveat in metrics["caveats"])


def surprise(table: pd.DataFrame, classes: list[str]) -> float:
    """Hits above what deals of the labels give, in standard deviations of the deals.

    The labels are a random deal among the clips of each subject, and no network that was trained on other subjects can
    know it: whatever it predicts, its hits in a subject are those of one deal of many. Deals of different subjects are
    independent. Predictions are not quite, since a fold trains on the others' labels; if clips came in pairs that copy
    each other's label, the deviation would be √2 times this one. 4 is 2.8 of those, so both selections of a sound run
    fail less than once in a hundred, and once in 8,000 if predictions are independent. What has seen its labels is far
    beyond: 80 right clips of 80 are 18 standard deviations.
    """
    generator, hits, expected = np.random.default_rng(0), 0, np.zeros(DEALS)
    for _, rows in table.groupby(["dataset", "subject"]):
        target, prediction = class_indices(rows, classes)
        hits += np.trace(confusion(target, prediction, len(classes)))
        expected += (generator.permuted(np.tile(target, (DEALS, 1)), axis=1) == prediction).sum(axis=1)
    return float((hits - expected.mean()) / expected.std())
