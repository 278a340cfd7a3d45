"""The GPU trainers: `python -m pytest tests/tasks/test_gpu.py`. Skipped on machines without a GPU."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fdp_lightning.evaluation.predictions import read_predictions
from tests.tasks.conftest import start

GPUS = torch.cuda.device_count()
pytestmark = pytest.mark.skipif(GPUS == 0, reason="needs a GPU")


def train(folder: Path, run: str, *arguments: str) -> Path:
    start(folder, "task=fold", "fold=01", f"run={run}", *arguments)
    return folder / run / "folds/01"


@pytest.mark.parametrize("trainer", ["gpu", "gpu_fp16", "deterministic"])
def test_a_fold_trains_on_a_gpu(workplace: Path, trainer: str) -> None:
    fold = train(workplace, trainer, f"trainer={trainer}")
    table, classes = read_predictions(fold / "predictions.csv")
    probabilities = table[[f"prob_{name}" for name in classes]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)  # computed in double precision
    assert pd.read_csv(fold / "curves.csv").notna().all(axis=None)


def test_deterministic_is_bit_for_bit(workplace: Path) -> None:
    folds = [train(workplace, run, "trainer=deterministic") for run in ("first", "second")]
    first, second = [(fold / "predictions.csv").read_bytes() for fold in folds]
    assert first == second


PAIRS = {
    "cpu and gpu": ("trainer=cpu", "trainer=deterministic"),
    "eager and compiled": ("trainer=gpu", "trainer=gpu compute=compiled"),
    "eager and cuda graphs": ("trainer=gpu", "trainer=gpu compute=cuda_graphs"),
    "one gpu and two": ("trainer=gpu", "trainer=ddp"),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_both_ways_learn_the_same(workplace: Path, pair: str) -> None:
    if pair == "one gpu and two" and GPUS < 2:
        pytest.skip("needs two GPUs")
    exact = ["model.mer_head.dropout=0.0", "trainer.precision=64-true"]
    folds = [train(workplace, str(run), *way.split(), *exact) for run, way in enumerate(PAIRS[pair])]
    one, other = (pd.read_csv(fold / "curves.csv") for fold in folds)
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)
