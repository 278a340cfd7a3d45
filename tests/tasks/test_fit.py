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
from fdp_lightning.config import apply_debug_last, configuration
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.fold import run_fold
from fdp_lightning.engine.plan import FoldPlan, clear_the_way, plan_fit
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.runs import find_runs
from fdp_lightning.runs.pooling import pool_run
from fdp_lightning.runs.seal import sealed
from fdp_lightning.tasks.fit import _check
from tests.tasks.conftest import SMALL, run_of, start
from tests.tasks.test_resume import FOUR_EPOCHS, CutError, cut_at

pytestmark = pytest.mark.costly

Plan = Callable[..., FoldPlan]


@pytest.fixture
def plan(on_casme2: list[str], tmp_path: Path) -> Plan:
    """Plans the fit of three subjects."""

    def make(name: str, *overrides: str) -> FoldPlan:
        config = configuration(*on_casme2, *FOUR_EPOCHS, *overrides)
        return plan_fit(config, ready_data(config), tmp_path / name / "fit")

    return make


def weights(folder: Path) -> dict[str, bytes]:
    """The trained network, bit for bit, and its curves."""
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    curves = (folder / "curves.csv").read_bytes()
    return {"curves": curves, **{name: value.numpy().tobytes() for name, value in state.items()}}


def fitted_here(*overrides: str, debug: str | None = None) -> FoldPlan:
    """The fit of the small configuration, in this process, which has the slow imports behind it."""
    config = configuration(*SMALL, *overrides)
    apply_debug_last(config, debug)
    fit = plan_fit(config, ready_data(config), Path("here/fit"))
    run_fold(fit)
    return fit


def test_a_fit_beside_a_finished_run_trains_on_everybody_and_changes_nothing_of_the_run(workplace: Path) -> None:
    run = run_of(workplace)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = start(workplace, "task=fit")
    assert done.returncode == 0, done.stderr
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
    assert again.returncode == 0 and "fit is finished" in again.stdout and "0 of 1 trainings to run" in again.stderr
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
    done = start(tmp_path, "task=fit", "data.normalisation=each_set")
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert "data.normalisation=training" in done.stderr
    with pytest.raises(UserError, match=r"protocol\.shuffled=1: .* Expected protocol\.shuffled=null"):
        _check(configuration("protocol.shuffled=1"))


@pytest.mark.slow
def test_two_processes_fit_what_one_fits(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # In double precision, since Adam turns noise in the last bit into steps; each process drops neurons of its own.
    exact = ["model.mer_head.dropout=0.0", "trainer.precision=64-true"]
    done = start(workplace, "task=fit", *exact, "trainer=ddp_cpu", "trainer.max_epochs=2", "run=two")
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(workplace)
    folders = [workplace / "two/fit/folds/all", fitted_here(*exact).folder]
    states = [torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for folder in folders]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-6, atol=1e-9, msg=name)
    curves = [pd.read_csv(folder / "curves.csv") for folder in folders]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-6, atol=1e-9)


def test_a_damaged_fit_is_named_kept_and_made_anew(plan: Plan, caplog: pytest.LogCaptureFixture) -> None:
    fit = plan("run", "trainer.max_epochs=1")
    run_fold(fit)
    made, checkpoint = weights(fit.folder), fit.folder / "checkpoints/last.ckpt"
    assert fit.is_done and clear_the_way(fit)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert not clear_the_way(fit)
    assert "checksum differs" in caplog.text
    assert (fit.run / "superseded/all-1").is_dir()
    run_fold(fit)
    assert fit.is_done and weights(fit.folder) == made
