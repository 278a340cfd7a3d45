"""`task=fit`: one model of all subjects, by the engine of the folds, and never among them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from fdp_lightning import load_model
from fdp_lightning.config import configuration
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.plan import FoldPlan, plan_fold
from fdp_lightning.engine.process import run_fold
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.runs import find_runs
from fdp_lightning.runs.pooling import pool_run
from fdp_lightning.runs.seal import sealed
from fdp_lightning.tasks.fit import _check
from tests.tasks.conftest import run_of, start
from tests.tasks.test_resume import FOUR_EPOCHS, CutError, cut_at

Plan = Callable[..., FoldPlan]


@pytest.fixture
def plan(on_casme2: list[str], tmp_path: Path) -> Plan:
    """Plans the fit of three subjects."""

    def make(name: str, *overrides: str) -> FoldPlan:
        config = configuration(*on_casme2, *FOUR_EPOCHS, *overrides)
        return plan_fold(config, ready_data(config), None, tmp_path / name / "fit")

    return make


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def weights(folder: Path) -> dict[str, bytes]:
    """The trained network, bit for bit, and its curves."""
    curves = {"curves": (folder / "curves.csv").read_bytes()}
    return curves | {name: value.numpy().tobytes() for name, value in state_of(folder).items()}


def test_a_fit_beside_a_finished_run_trains_on_everybody_and_changes_nothing_of_the_run(workplace: Path) -> None:
    run = run_of(workplace)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = start(workplace, "task=fit")
    assert "1 of 1 trainings to run" in done.stderr
    assert {path: path.read_bytes() for path in before} == before
    model = load_model(run / "model").facts
    assert (model["training"]["task"], model["training"]["held_out"]) == ("fit", [])
    assert (model["scores"]["n_clips"], model["scores"]["folds"]) == (30, 3)
    folder = run / "fit/folds/all"
    facts = sealed(folder)
    assert facts["subjects"] == {"train": [f"synthetic/0{i}" for i in (1, 2, 3)], "inner": [], "test": []}
    assert (facts["train_clips"], facts["test_clips"], facts["epochs"]) == (30, 0, 2)
    # What the score of "the same configuration" is known by:
    assert facts["fingerprint"] == sealed(run / "folds/01")["fingerprint"]
    curves = pd.read_csv(folder / "curves.csv")
    assert curves["epoch"].tolist() == [1, 2] and all(name == "epoch" or name[:6] == "train/" for name in curves)
    assert not list(run.glob("fit/**/predictions.csv")) and not (run / "fit/unfinished").exists()
    assert list(find_runs(workplace / "runs")) == [run] and list(find_runs(run / "fit")) == []

    stamp = (folder / "fold.json").stat().st_mtime_ns
    pool_run(run, OmegaConf.load(run / "config.yaml"))  # the three folds alone
    assert (run / "predictions.csv").read_bytes() == before[run / "predictions.csv"]
    again = start(workplace, "task=fit")
    assert "fit is finished" in again.stdout and "0 of 1 trainings to run" in again.stderr
    assert (folder / "fold.json").stat().st_mtime_ns == stamp


def test_a_fit_cut_after_any_epoch_ends_bit_for_bit_as_one_that_was_not(plan: Plan) -> None:
    options = ["selection.inner_subjects=1", "model.optimizer.ema=0.7"]
    whole, cut = plan("whole", *options), plan("cut", *options)
    run_fold(whole)
    assert len(whole.fold.train_rows) == len(whole.clips)  # nobody is set aside
    with pytest.raises(CutError):
        run_fold(cut, cut_at(3))
    run_fold(cut)
    assert json.loads((cut.folder / "fold.json").read_text())["resumed_from_epoch"] == 2
    assert weights(cut.folder) == weights(whole.folder)


def test_what_no_model_can_come_of_is_refused_before_anything_is_prepared(tmp_path: Path) -> None:
    done = start(tmp_path, "task=fit", "data.normalisation=each_set", code=2)
    assert "data.normalisation=training" in done.stderr and not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"protocol\.shuffled=1: .* Expected protocol\.shuffled=null"):
        _check(configuration("protocol.shuffled=1"))


@pytest.mark.slow
def test_two_processes_fit_what_one_fits(workplace: Path) -> None:
    # In double precision, since Adam turns noise in the last bit into steps; each process drops neurons of its own.
    exact = ["model.mer_head.dropout=0.0", "trainer.precision=64-true"]
    for trainer in ("cpu", "ddp_cpu"):
        start(workplace, "task=fit", *exact, f"trainer={trainer}", "trainer.max_epochs=2", f"run={trainer}")
    one, two = (workplace / trainer / "fit/folds/all" for trainer in ("cpu", "ddp_cpu"))
    torch.testing.assert_close(state_of(two), state_of(one), rtol=1e-6, atol=1e-9)
    curves = [pd.read_csv(folder / "curves.csv") for folder in (one, two)]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-6, atol=1e-9)
