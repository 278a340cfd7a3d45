"""`task=fit`: one model of all subjects, trained by the engine of the folds but never counted among them."""

from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from fdp_lightning import load_model
from fdp_lightning.evaluation.runs import find_runs
from fdp_lightning.runs.pooling import pool_run
from fdp_lightning.runs.seal import sealed
from tests.tasks.conftest import run_of, start


def test_a_fit_beside_a_finished_run_trains_on_all_subjects_and_leaves_the_run_unchanged(workplace: Path) -> None:
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
    # This identifies the score of "the same configuration":
    assert facts["fingerprint"] == sealed(run / "folds/01")["fingerprint"]
    curves = pd.read_csv(folder / "curves.csv")
    assert curves["epoch"].tolist() == [1, 2] and all(name == "epoch" or name[:6] == "train/" for name in curves)
    assert not list(run.glob("fit/**/predictions.csv")) and not (run / "fit/unfinished").exists()
    assert list(find_runs(workplace / "runs")) == [run] and list(find_runs(run / "fit")) == []

    stamp = (folder / "fold.json").stat().st_mtime_ns
    pool_run(run, OmegaConf.load(run / "config.yaml"))  # only the three folds
    assert (run / "predictions.csv").read_bytes() == before[run / "predictions.csv"]
    again = start(workplace, "task=fit")
    assert "fit is finished" in again.stdout and "0 of 1 trainings to run" in again.stderr
    assert (folder / "fold.json").stat().st_mtime_ns == stamp


def test_options_without_a_usable_model_are_refused_before_anything_is_prepared(tmp_path: Path) -> None:
    for option, instead in (("data.normalisation=each_set", "training"), ("protocol.shuffled=1", "null")):
        done = start(tmp_path, "task=fit", option, code=2)
        assert f"{option.partition('=')[0]}={instead}" in done.stderr and not list(tmp_path.iterdir())
