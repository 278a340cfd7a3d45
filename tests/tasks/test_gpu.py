"""The trainers of GPUs, on a machine that has some: `python -m pytest tests/tasks/test_gpu.py`. Skipped elsewhere."""

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
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-9)  # made in double precision
    assert pd.read_csv(fold / "curves.csv").notna().all(axis=None)


def test_deterministic_is_bit_for_bit(workplace: Path) -> None:
    folds = [train(workplace, run, "trainer=deterministic") for run in ("first", "second")]
    first, second = [(fold / "predictions.csv").read_bytes() for fold in folds]
    assert first == second


def test_a_gpu_learns_what_the_cpu_learns(workplace: Path) -> None:
    exact = ["model.mer_head.dropout=0.0", "trainer.precision=64-true"]
    here = pd.read_csv(train(workplace, "here", *exact) / "curves.csv")
    there = pd.read_csv(train(workplace, "there", "trainer=deterministic", *exact) / "curves.csv")
    np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", ["compiled", "cuda_graphs"])
def test_a_compiled_training_learns_what_the_eager_one_learns(workplace: Path, way: str) -> None:
    exact = ["model.mer_head.dropout=0.0", "trainer=gpu", "trainer.precision=64-true"]
    eager, compiled = (
        pd.read_csv(train(workplace, name, *exact, f"compute={name}") / "curves.csv") for name in ("fast", way)
    )
    np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(GPUS < 2, reason="needs two GPUs")
def test_two_gpus_learn_what_one_learns(workplace: Path) -> None:
    exact = ["model.mer_head.dropout=0.0", "trainer.precision=64-true"]
    one = pd.read_csv(train(workplace, "one", "trainer=gpu", *exact) / "curves.csv")
    two = pd.read_csv(train(workplace, "two", "trainer=ddp", *exact) / "curves.csv")
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
