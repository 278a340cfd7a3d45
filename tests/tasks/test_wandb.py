"""Weights & Biases, offline: a run is killed, resumed and read back; unusable loggers are rejected."""

import json
import os
import re
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.tasks.report import config_of
from fdp_lightning.tracking import loggers
from fdp_lightning.tracking.aggregate import log_pooled
from fdp_lightning.tracking.loggers import check_loggers, names_of, shortened, tags_of
from tests.command import new_process
from tests.tasks.conftest import run_of
from tests.tasks.wandb_files import LOGGERS, OfflineRun, go_on, offline_runs


@pytest.fixture
def copied(logged_workplace: Path, tmp_path: Path) -> Path:
    """The run in a copy of the folder."""
    return run_of(shutil.copytree(logged_workplace, tmp_path / "copy"))


def runs_of(run: Path, job_type: str) -> list[OfflineRun]:
    return [of for of in offline_runs(run) if of.job_type == job_type]


def faces_on(page: str) -> bool:
    """Return True if a report shows more than heat maps."""
    shown = set(re.findall('<img src="data:image/png;base64,[^"]*" alt="([^,]*),', page))
    assert "What moved and counted" in shown
    return len(shown) > 1


def test_each_fold_is_a_run_of_the_group_and_a_killed_one_is_resumed(logged_workplace: Path) -> None:
    run = run_of(logged_workplace)
    experiment, variant, seed = run.parts[-3:]
    group = f"{experiment}/{shortened(variant, 80)}/{seed}"
    ended = [of for of in runs_of(run, "fold") if of.exit_code == 0]
    assert sorted(of.config["fold"] for of in ended) == ["01", "02", "03"]
    for of in ended:
        assert (of.group, of.name, of.project) == (group, f"{group}/{of.config['fold']}", "fdp_lightning")
        assert of.tags == ["synthetic", "synthetic_5c", "fdp_tiny", "mine"]
    cut = json.loads((logged_workplace / "cut.json").read_text())
    assert 1 <= len(cut) <= 2 and set(cut) <= {of.id for of in ended}
    # three folds, the pooled scores, and the interrupted folds
    assert len(offline_runs(run)) == 4 + len(cut) and len({of.id for of in offline_runs(run)}) == 4


def test_a_fold_logs_its_configuration_and_data_without_local_paths(logged_workplace: Path) -> None:
    run = run_of(logged_workplace)
    said = runs_of(run, "fold")[-1].config
    assert (said["data"]["batch_size"], said["trainer"]["max_epochs"]) == (10, 4)
    assert said["subjects"] == {"train": 2, "inner": 0, "test": 1}
    assert said["clips"] == {"train": 20, "inner": 0, "test": 10}
    assert (said["experiment"], said["variant"]) == ("synthetic_loso", run.parent.name)
    assert said["fingerprint"] == json.loads((run / "folds" / said["fold"] / "fold.json").read_text())["fingerprint"]
    made_with = json.loads((run / "environment.json").read_text())
    assert {name: said["made_with"][name] for name in ("git_revision", "torch")}.items() <= made_with.items()
    told = json.dumps({key: value for key, value in said.items() if key != "_wandb"})
    assert str(logged_workplace) not in told and "stores" not in told


@pytest.mark.parametrize("fold", ["01", "02", "03"])
def test_all_loggers_have_the_same_numbers_of_every_epoch(logged_workplace: Path, fold: str) -> None:
    run = run_of(logged_workplace)
    curves = pd.read_csv(run / "folds" / fold / "curves.csv").set_index("epoch").sort_index(axis=1)
    assert list(curves.index) == [1, 2, 3, 4]
    (of_fold,) = [of for of in runs_of(run, "fold") if of.config["fold"] == fold and of.exit_code == 0]
    board = EventAccumulator(str(run / "folds" / fold / "log")).Reload()
    table = pd.read_csv(run / "folds" / fold / "log/metrics.csv")
    assert len(table) == 8
    for name in curves.columns:
        in_board = [event.value for event in board.Scalars(name)]
        in_wandb = [row[name] for row in of_fold.rows if name in row]
        for found in (in_board, in_wandb, table[name].dropna().tolist()):
            assert found == pytest.approx(curves[name].tolist(), rel=1e-6), name


def test_the_aggregate_run_has_the_pooled_scores_and_tables(logged_workplace: Path) -> None:
    run = run_of(logged_workplace)
    (pooled,) = runs_of(run, "aggregate")
    metrics = json.loads((run / "metrics.json").read_text())
    assert pooled.group == runs_of(run, "fold")[0].group and pooled.exit_code == 0 and "mine" in pooled.tags
    for selection, score in product(("last", "oracle"), ("accuracy", "uf1", "uar", "weighted_f1")):
        of_score, name = metrics["selections"][selection], f"{selection}/{score}"
        logged = [pooled.summary[f"{name}{end}"] for end in ("", "_low", "_high")]
        assert logged == [of_score[score], *of_score["ci95"][score]]
    assert pooled.summary["optimism_gap/uf1"] == metrics["optimism_gap"]["uf1"]
    assert pooled.summary["floors/majority/accuracy"] == metrics["floors"]["majority"]["accuracy"]
    assert (pooled.config["n_clips"], pooled.config["n_subjects"], pooled.config["n_folds"]) == (30, 3, 3)
    table, classes = read_predictions(run / "predictions.csv")
    assert pooled.table("predictions")["columns"] == table.columns.tolist()
    for name in table.columns:
        assert pooled.column("predictions", name) == table[name].tolist(), name
    counts = {(actual, predicted): n for actual, predicted, n in pooled.table("confusion_table")["data"]}
    matrix = [[counts[actual, predicted] for predicted in classes] for actual in classes]
    assert matrix == metrics["selections"]["last"]["confusion"]
    assert pooled.column("scores", "value")[1] == metrics["selections"]["last"]["uf1"]


def test_the_report_is_an_artifact_and_galleries_are_logged(logged_workplace: Path) -> None:
    run = run_of(logged_workplace)
    (pooled,) = runs_of(run, "aggregate")
    for name in ("report.html", "metrics.json", "predictions.csv"):
        assert pooled.artifacts["report"][name].read_bytes() == (run / name).read_bytes()
    # two clips of each class
    assert pooled.summary["dynamic_images/count"] == pooled.summary["what_moved_and_counted/count"] == 10
    assert (pooled.summary["dynamic_images/width"], pooled.summary["dynamic_images/height"]) == (128, 64)
    images = list(pooled.folder.rglob("*.png"))
    heat = [np.asarray(Image.open(path)) for path in images if "what_moved_and_counted" in path.name]
    assert (len(images), len(heat)) == (20, 10) and all(np.ptp(each, axis=2).max() > 50 for each in heat)  # in colour
    assert not list((logged_workplace / "home").rglob("*staging/*"))  # all files are in the run folder


@pytest.mark.slow  # a separate command that starts W&B again
def test_without_permission_no_face_is_uploaded(copied: Path) -> None:
    shutil.rmtree(copied / "folds" / "02")
    go_on(copied.parents[3], *LOGGERS, "report.upload_faces=false")
    first, second = runs_of(copied, "aggregate")
    assert first.id == second.id  # pooled again, into the same run
    assert len(list(second.folder.rglob("*.png"))) == second.summary["what_moved_and_counted/count"] == 10
    assert "dynamic_images/count" not in second.summary
    assert not faces_on(second.artifacts["report"]["report.html"].read_text())
    assert faces_on((copied / "report.html").read_text())
    of_02 = [of.id for of in runs_of(copied, "fold") if of.config["fold"] == "02"]
    assert of_02[-1] != of_02[0]  # a fold that is trained again is a new run


@pytest.mark.slow  # as above
def test_pooled_scores_are_logged_once_and_again_on_request(copied: Path) -> None:
    before = len(offline_runs(copied))
    log_pooled(configuration("logger=[csv,wandb,tensorboard]"), copied, {}, again=False)
    assert len(offline_runs(copied)) == before
    # Another command that pools a run does not send it to W&B.
    assert list(config_of(copied, configuration()).logger) == ["csv"]
    faces = ["report.show_faces=false", "report.upload_faces=true"]
    go_on(copied.parents[3], "task=report", f"run={copied}", "logger=wandb", *faces)
    first, second = runs_of(copied, "aggregate")
    assert (second.id, second.group, second.tags) == (first.id, first.group, first.tags)
    assert second.summary["dynamic_images/count"] == 10
    assert faces_on(second.artifacts["report"]["report.html"].read_text())
    assert not faces_on((copied / "report.html").read_text())


@pytest.mark.slow  # a separate process: W&B looks for a key only once
def test_online_without_a_key_is_rejected_before_any_file_is_written(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "NETRC" and not key.startswith("WANDB_")}
    options = ["+experiment=synthetic_loso", "logger=wandb", "logger.wandb.offline=false"]
    done = new_process(*options, cwd=tmp_path, env=environment | {"HOME": str(tmp_path)}, code=2)
    assert "wandb login" in done.stderr and "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {".config", ".cache"}


@pytest.mark.parametrize(
    ("override", "named"),
    [
        # W&B would reject these in every fold
        ("logger.wandb.project=a/b", "project"), ("+logger.wandb.nonsense=1", "nonsense"),
        (f"logger.wandb.tags=[{'x' * 65}]", "65"), ("+logger.wandb.settings={nonsense: 1}", "nonsense"),
        # only the switch enables online mode
        ("logger.wandb.offline=flase", "flase"), ("+logger.wandb.settings={mode: online}", "mode"),
    ],
)  # fmt: skip
def test_options_of_wandb_are_checked_early(override: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "in_worker", lambda function, *arguments: function(*arguments))
    with pytest.raises(UserError, match=named):
        check_loggers(configuration("logger=wandb", override), [])


def test_names_and_tags_of_a_run() -> None:
    assert tags_of(configuration("data=casme2", "protocol=casme2_5c_247")) == ["casme2", "casme2_5c_247", "real"]
    assert names_of(configuration("run=somewhere/else"), Path("somewhere/else")) == ("synthetic_5c", "else")
    long = {shortened(f"{'x' * 150}{end}", 100) for end in "ab"}
    assert len(long) == 2 and {len(name) for name in long} == {100}
