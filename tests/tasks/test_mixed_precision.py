"""bfloat16 learns what float32 learns, on the synthetic set."""

import json
from pathlib import Path

import pytest

from fdp_lightning.evaluation.paired import paired_differences
from fdp_lightning.evaluation.predictions import read_predictions
from tests.tasks.conftest import start

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
        done = start(tmp_path, *LEARNABLE, f"trainer.precision={precision}", f"run={precision}")
        assert done.returncode == 0, done.stderr
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
