"""The rows that measure the engine and the statistics, as task=benchmark runs them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def quick(run_cli: Callable[..., subprocess.CompletedProcess[str]], folder: Path, row: str) -> dict[str, Any]:
    """What `task=benchmark` keeps of a row at its smallest."""
    done = run_cli("task=benchmark", f"benchmark.rows=[{row}]", "benchmark.quick=true", f"benchmark.output={folder}")
    assert done.returncode == 0, done.stdout + done.stderr
    (facts,) = json.loads((folder / "benchmark.json").read_text())
    assert facts["row"] == row
    return facts


@pytest.mark.slow
def test_predictions_are_measured(tmp_path: Path, run_cli: Callable[..., Any]) -> None:
    facts = quick(run_cli, tmp_path / "out", "prediction")
    assert len(facts["measurements"]) == 5
    assert all(one["unit"] == "clips/s" and min(one["values"]) > 0 for one in facts["measurements"])


def test_each_statistic_is_measured(tmp_path: Path, run_cli: Callable[..., Any]) -> None:
    facts = quick(run_cli, tmp_path / "out", "evaluation_statistics")
    names = [one["name"].split(";")[0] for one in facts["measurements"]]
    assert names == [
        "intervals over subjects", "paired differences", "paired differences, 3 seeds each",
        "metrics.json, last and oracle", "read predictions.csv",
    ]  # fmt: skip
    assert all(one["values"] and min(one["values"]) > 0 for one in facts["measurements"])


@pytest.mark.slow
def test_the_overhead_is_the_command_less_the_training(tmp_path: Path, run_cli: Callable[..., Any]) -> None:
    facts = quick(run_cli, tmp_path / "out", "engine_overhead")
    plain, command, folds, own, fit = facts["measurements"]
    assert [len(one["values"]) for one in (plain, command, folds, own, fit)] == [4, 1, 1, 4, 4]
    assert fit["median"] < own["median"] < command["median"]
    assert folds["median"] < command["median"]
    (goal,) = facts["goals"]
    assert goal["measured"] == pytest.approx(command["median"] - plain["median"])
    assert not (tmp_path / "data").exists()  # a quick row leaves nothing behind
