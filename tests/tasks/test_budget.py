"""Estimates of a training: steps, time, and remaining time."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from fdp_lightning.console import progress
from fdp_lightning.console.progress import TimeLeft
from fdp_lightning.data.protocols.splits import Fold
from fdp_lightning.engine.plan import FoldPlan, epochs_of, steps_of, time_needed
from fdp_lightning.training import callbacks
from fdp_lightning.training.callbacks import StepTimer


def plan(**trainer: Any) -> FoldPlan:
    config: dict[str, Any] = {"trainer": {"accelerator": "cpu", **trainer}, "data": {"batch_size": 36}}
    config["loso"] = {"quick_model": "fdp_tiny_long"}
    fold = Fold("01", tuple(range(100)), (100,))
    return FoldPlan(config, Path("run"), Path("store"), pd.DataFrame(), fold, "mark", "fdp")


@pytest.mark.parametrize(
    ("trainer", "epochs", "steps"),
    [
        ({"max_epochs": 16}, 16, 48),  # 100 clips in 3 batches of 36
        ({"max_epochs": -1, "max_steps": 501}, 167, 501),
        ({"max_epochs": -1, "max_steps": 502}, 168, 502),
        ({"max_epochs": 3, "max_steps": 500}, 3, 9),
        ({"max_epochs": 2, "limit_train_batches": 0.7}, 2, 4),
        ({"max_epochs": 4, "accumulate_grad_batches": 2}, 4, 8),
    ],
)
def test_epochs_and_steps_of_a_fold(trainer: dict[str, Any], epochs: int, steps: int) -> None:
    assert (epochs_of(plan(**trainer)), steps_of(plan(**trainer))) == (epochs, steps)


def test_a_long_run_is_announced_with_its_duration_and_a_quicker_model() -> None:
    folds = [plan(max_epochs=-1, max_steps=500)] * 26
    text = time_needed(4.1, folds, at_once=2)  # 4.1 s × 500 × 26 / 2 = 7.4 h
    assert "7.4 h" in text and "model=fdp_tiny_long trainer=cpu" in text
    assert "model=" not in time_needed(4.1, [replace(fold, model="fdp_tiny") for fold in folds], at_once=2)
    assert "15 h" in time_needed(4.1, folds, at_once=1) and "35 min" in time_needed(4.1, folds[:1], at_once=2)
    assert time_needed(0.2, folds, at_once=2) == ""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock set by the test."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    for module in (progress, callbacks):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_time_left_ignores_the_start_of_workers(clock: SimpleNamespace) -> None:
    left = TimeLeft()
    clock.now = 33.0  # the face detector is loaded and the first clip aligned
    first = left(1, 300)
    assert "left" in first and ":" not in first  # at the first clip's pace it would be 2:44:27
    clock.now = 66.0  # another worker is ready
    assert ":" not in left(2, 300)  # at the pace from the first clip to the second it would be 2:43:54
    for done in range(3, 40):
        clock.now += 0.4
        said = left(done, 300)
        assert ":" not in said or int(said.partition(":")[0]) < 2
    assert said == "1:44 left"  # 261 × 0.4 s
    clock.now = 150.0
    assert left(300, 300) == "in 2:30"


def test_a_step_is_timed_after_the_first_one(clock: SimpleNamespace) -> None:
    told: list[float] = []
    timer = StepTimer(told.append, steps=3)
    for step, now in [(5, 30.0), (6, 32.0), (6, 33.0), (7, 34.0), (8, 36.0), (9, 99.0)]:  # resumed after step 4
        clock.now = now
        timer.on_train_batch_end(SimpleNamespace(global_step=step))  # type: ignore[arg-type]
    assert told == [2.0]
