"""A fold that is compiled or in bfloat16 learns what the plain one learns; the other ways are in tests/training."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fdp_lightning.config import configuration
from fdp_lightning.engine.preflight import check_options
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.intervals import paired_differences
from fdp_lightning.evaluation.predictions import read_predictions
from tests.tasks.conftest import start

EXACT = ["model.mer_head.dropout=0.0", "trainer.precision=64-true"]


@pytest.mark.slow  # a minute or two, nearly all of it torch's C++ compiler
def test_a_compiled_training_learns_what_the_plain_one_learns(workplace: Path) -> None:
    curves, names = [], []
    for way in ("plain", "compiled"):  # in processes of their own: checked functions cannot be compiled
        start(workplace, "task=fold", "fold=01", f"compute={way}", f"run=runs/{way}", *EXACT)
        fold = workplace / f"runs/{way}/folds/01"
        curves.append(pd.read_csv(fold / "curves.csv"))
        names.append(list(torch.load(fold / "checkpoints/last.ckpt", weights_only=True)["state_dict"]))
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5, atol=1e-6)
    assert names[1] == names[0]


def test_a_backbone_without_parts_is_not_silently_kept_whole() -> None:
    timm = ["model/backbone=timm", "model.backbone.name=resnet10t"]
    check_options(configuration("+experiment=synthetic_loso", *timm))
    with pytest.raises(UserError, match="TimmBackbone has no parts"):
        check_options(configuration("+experiment=synthetic_loso", *timm, "compute.checkpointing=blocks"))


# 160 clips in four folds are about the least from which the tiny model learns the five classes.
LEARNABLE = [
    "data.generate.subjects=8", "data.generate.clips_per_emotion=4", "data.generate.min_frames=18",
    "data.generate.max_frames=30", "data.generate.height=240", "data.generate.width=320", "data.batch_size=20",
    "trainer.max_epochs=16", "protocol.split=kfold", "protocol.folds=4",
]  # fmt: skip


@pytest.mark.slow  # two trainings that do learn, of a minute or two each
def test_bf16_on_the_cpu_learns_as_float32_does(tmp_path: Path) -> None:
    tables = []
    for precision in ("32-true", "bf16-mixed"):
        start(tmp_path, *LEARNABLE, f"trainer.precision={precision}", f"run={precision}")
        table, classes = read_predictions(tmp_path / precision / "predictions.csv")
        tables.append(table[table["selection"] == "last"])
        scores = json.loads((tmp_path / precision / "metrics.json").read_text())["selections"]["last"]
        assert scores["ci95"]["uf1"][0] > 0.4  # chance is 0.2: there was something to learn
    names = [f"prob_{name}" for name in classes]
    assert not tables[0][names].equals(tables[1][names])  # it was another precision
    differences = paired_differences([tables[0]], [tables[1]], classes)
    for name in ("accuracy", "uf1", "uar"):
        interval = differences[name].ci95
        assert interval is not None and interval[0] <= 0 <= interval[1], differences
