"""The rows of benchmarks/ about start-up and whole LOSO runs."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from fdp_lightning.config import BENCHMARKS, configuration
from fdp_lightning.tasks.benchmark import benchmark
from tests.tasks.conftest import SMALL, fold_here

pytestmark = pytest.mark.costly


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_naive_engine_learns_what_the_engine_learns(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    plain = [*SMALL, "compute=plain"]
    plan = fold_here(*plain, "fold=02", "run=plain")
    table = pd.read_csv(plan.folder / "predictions.csv")
    ours = table[table["selection"] == "last"]
    torch.set_num_threads(1)  # sums in another order would differ
    probabilities, target, losses = script("_naive_fold").train("02", plain)
    np.testing.assert_allclose(losses, pd.read_csv(plan.folder / "curves.csv")["train/loss"], atol=1e-4)
    # Adam's first steps are as large as the learning rate: on an AMD CPU, rounding moved these by .004.
    np.testing.assert_allclose(probabilities, ours.filter(like="prob_"), rtol=0, atol=1e-2)
    classes = list(configuration(*plain).protocol.classes)
    assert [classes[i] for i in target] == ours["target"].to_list()
    assert "epoch 2" in capsys.readouterr().out


def test_start_up_counts_slow_imports_and_refuses_a_crash() -> None:
    start_up = script("start_up")
    assert start_up.imported(["--help"]) == "none"
    answer, code = start_up.ANSWERS["a misspelt task"]
    with pytest.raises(AssertionError):
        start_up.answer(answer, code - 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row",
    ["start_up", "loso", "prediction", "evaluation_statistics", "engine_overhead", "optical_flow", "flow_networks"],
)
def test_a_row_runs(row: str, tmp_path: Path) -> None:
    benchmark(configuration(f"benchmark.rows=[{row}]", "benchmark.quick=true", f"benchmark.output={tmp_path}"))
    (facts,) = json.loads((tmp_path / "benchmark.json").read_text())
    assert facts["row"] == row
    assert all(min(side["values"]) > 0 for side in facts["measurements"])
    assert sys.version_info[:2] == tuple(map(int, facts["environment"]["python"].split(".")[:2]))
