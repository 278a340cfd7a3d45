"""Published predictions give the published scores, and a published recall that is no recall."""

import json

import numpy as np
import pandas as pd
import pytest
from tests.megc2019_arrays import FOLDER, needs_arrays

from fdp_lightning.evaluation.metrics import accuracy, confusion, precision, uar, uf1

STSTNET = {
    "full": ([[219, 22, 9], [40, 62, 7], [21, 3, 59]], 0.7353, 0.7186, 0.7605),
    "smic": ([[54, 10, 6], [17, 30, 4], [14, 1, 28]], 0.6801, 0.6703, 0.7013),
    "casme2": ([[83, 5, 0], [12, 19, 1], [2, 0, 23]], 0.8382, 0.8190, 0.8686),
    "samm": ([[82, 7, 3], [11, 13, 2], [5, 2, 8]], 0.6588, 0.6415, 0.6810),
}
"""Counts of STSTNet's Matlab log, its published UF1, the recall of these counts, and its published UAR."""


@pytest.mark.parametrize("dataset", STSTNET)
def test_the_published_uar_of_ststnet_is_its_mean_precision(dataset: str) -> None:
    counts, published_uf1, recall, published_uar = STSTNET[dataset]
    matrix = np.array(counts)
    found = uf1(matrix), uar(matrix), precision(matrix).mean()
    assert found == pytest.approx((published_uf1, recall, published_uar), abs=5e-5)


@needs_arrays
@pytest.mark.parametrize("system", ["ststnet_matlab_442", "ststnet_python_442", "capsulenet_435"])
def test_published_predictions_give_the_published_scores(system: str) -> None:
    expected = json.loads((FOLDER / "expected_metrics.json").read_text())[system.rpartition("_")[0]]
    table = pd.read_csv(FOLDER / f"predictions_{system}.csv")
    for dataset, scores in expected.items():
        clips = table if dataset == "full" else table[table["dataset"] == dataset]
        matrix = confusion(clips["label"].to_numpy(), clips["prediction"].to_numpy(), 3)
        assert matrix.tolist() == scores["confusion_rows_true"]
        found = len(clips), uf1(matrix), uar(matrix), precision(matrix).mean(), accuracy(matrix)
        wanted = [scores[name] for name in ("n", "UF1", "UAR", "mean_precision", "accuracy")]
        assert found == pytest.approx(wanted, abs=5e-5), dataset
