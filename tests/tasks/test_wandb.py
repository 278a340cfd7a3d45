"""Weights & Biases for real, offline: a run is killed, goes on, is read back; loggers that cannot work are refused."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, open_dict
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.tasks.report import config_of
from fdp_lightning.tracking.aggregate import log_pooled
from fdp_lightning.tracking.check import check_loggers, tags_of, try_logger
from fdp_lightning.tracking.loggers import names_of, shortened
from tests.command import new_process
from tests.tasks.conftest import run_of
from tests.tasks.logged_runs import LOGGERS, go_on
from tests.tasks.wandb_files import OfflineRun, offline_runs

pytestmark = pytest.mark.costly

HEAT_MAPS = "What moved and counted"


@pytest.fixture
def place(logged_workplace: Path) -> Path:
    return logged_workplace


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    return shutil.copytree(place, tmp_path / "copy")


def folds_of(run: Path) -> list[OfflineRun]:
    return [of for of in offline_runs(run) if of.job_type == "fold"]


def pooled_of(run: Path) -> list[OfflineRun]:
    return [of for of in offline_runs(run) if of.job_type == "aggregate"]


def test_each_fold_is_a_run_of_the_group_and_a_killed_one_goes_on_in_its_own(place: Path) -> None:
    run = run_of(place)
    experiment, variant, seed = run.parts[-3:]
    group = f"{experiment}/{shortened(variant, 80)}/{seed}"
    ended = [of for of in folds_of(run) if of.exit_code == 0]
    assert sorted(of.config["fold"] for of in ended) == ["01", "02", "03"]
    for of in ended:
        assert (of.group, of.name, of.project) == (group, f"{group}/{of.config['fold']}", "fdp_lightning")
        assert of.tags == ["synthetic", "synthetic_5c", "fdp_tiny", "mine"]
    cut = json.loads((place / "cut.json").read_text())
    assert 1 <= len(cut) <= 2 and set(cut) <= {of.id for of in ended}
    assert len(offline_runs(run)) == 4 + len(cut)  # three folds, the pooled scores, and what was cut off
    assert len({of.id for of in offline_runs(run)}) == 4


def test_a_fold_says_what_it_was_made_of_and_not_where(place: Path) -> None:
    *_, fold = folds_of(run_of(place))
    assert fold.config["data"]["batch_size"] == 10 and fold.config["trainer"]["max_epochs"] == 4
    assert fold.config["subjects"] == {"train": 2, "inner": 0, "test": 1}
    assert fold.config["clips"] == {"train": 20, "inner": 0, "test": 10}
    assert fold.config["experiment"] == "synthetic_loso" and fold.config["variant"] == run_of(place).parent.name
    facts = json.loads((run_of(place) / "folds" / fold.config["fold"] / "fold.json").read_text())
    assert fold.config["fingerprint"] == facts["fingerprint"]
    made_with = json.loads((run_of(place) / "environment.json").read_text())
    assert fold.config["made_with"]["git_revision"] == made_with["git_revision"]
    assert fold.config["made_with"]["torch"] == made_with["torch"]
    told = json.dumps({key: value for key, value in fold.config.items() if key != "_wandb"})
    assert str(place) not in told and "stores" not in told


@pytest.mark.parametrize("fold", ["01", "02", "03"])
def test_all_loggers_hold_the_same_numbers_of_every_epoch_also_where_a_fold_was_cut_off(place: Path, fold: str) -> None:
    run = run_of(place)
    curves = pd.read_csv(run / "folds" / fold / "curves.csv").set_index("epoch").sort_index(axis=1)
    assert list(curves.index) == [1, 2, 3, 4]
    (of_fold,) = [of for of in folds_of(run) if of.config["fold"] == fold and of.exit_code == 0]
    board = EventAccumulator(str(run / "folds" / fold / "log")).Reload()
    table = pd.read_csv(run / "folds" / fold / "log/metrics.csv")
    assert len(table) == 8
    for name in curves.columns:
        in_board = [event.value for event in board.Scalars(name)]
        assert in_board == pytest.approx(curves[name].tolist(), rel=1e-6), name
        assert table[name].dropna().tolist() == pytest.approx(curves[name].tolist(), rel=1e-6), name
        in_wandb = [row[name] for row in of_fold.rows if name in row]
        assert in_wandb == pytest.approx(curves[name].tolist(), rel=1e-6), name
    steps = table["step"].tolist()
    assert steps == [2, 1, 4, 3, 6, 5, 8, 7]  # two batches per epoch, as Lightning counts them
    assert table["epoch"].dropna().tolist() == [0, 1, 2, 3]


def test_the_aggregate_run_holds_the_pooled_scores_and_tables(place: Path) -> None:
    run = run_of(place)
    (pooled,) = pooled_of(run)
    metrics = json.loads((run / "metrics.json").read_text())
    assert pooled.group == folds_of(run)[0].group and pooled.exit_code == 0 and "mine" in pooled.tags
    for selection in ("last", "oracle"):
        for score in ("accuracy", "uf1", "uar", "weighted_f1"):
            of_score = metrics["selections"][selection]
            assert pooled.summary[f"{selection}/{score}"] == of_score[score]
            ends = [pooled.summary[f"{selection}/{score}_{end}"] for end in ("low", "high")]
            assert ends == of_score["ci95"][score]
    assert pooled.summary["optimism_gap/uf1"] == metrics["optimism_gap"]["uf1"]
    assert pooled.summary["floors/majority/accuracy"] == metrics["floors"]["majority"]["accuracy"]
    assert (pooled.config["n_clips"], pooled.config["n_subjects"], pooled.config["n_folds"]) == (30, 3, 3)
    table, classes = read_predictions(run / "predictions.csv")
    assert pooled.table("predictions")["columns"] == table.columns.tolist()
    for name in table.columns:
        assert pooled.column("predictions", name) == table[name].tolist(), name
    confusion = pooled.table("confusion_table")
    counts = {(actual, predicted): n for actual, predicted, n in confusion["data"]}
    matrix = [[counts[actual, predicted] for predicted in classes] for actual in classes]
    assert matrix == metrics["selections"]["last"]["confusion"]
    assert pooled.column("scores", "value")[1] == metrics["selections"]["last"]["uf1"]


def test_the_report_page_is_an_artifact_and_galleries_show_what_may_be_shown(place: Path) -> None:
    run = run_of(place)
    (pooled,) = pooled_of(run)
    for name in ("report.html", "metrics.json", "predictions.csv"):
        assert pooled.artifacts["report"][name].read_bytes() == (run / name).read_bytes()
    assert b"data:image/png" in (run / "report.html").read_bytes()
    assert pooled.summary["dynamic_images/count"] == 10  # two clips of each class
    assert (pooled.summary["dynamic_images/width"], pooled.summary["dynamic_images/height"]) == (128, 64)
    assert pooled.summary["what_moved_and_counted/count"] == 10
    pictures = list(pooled.folder.rglob("*.png"))
    assert len(pictures) == 20
    heat = [np.asarray(Image.open(path)) for path in pictures if "what_moved_and_counted" in path.name]
    assert len(heat) == 10 and all(np.ptp(pixels, axis=2).max() > 50 for pixels in heat)  # in colours
    # All of it lies with the run; nothing of it in the user's home.
    assert not list((place / "home").rglob("*staging/*"))


@pytest.mark.slow  # a command of its own, in which W&B starts anew
def test_without_leave_no_face_goes_up_though_the_local_page_shows_faces(copy: Path) -> None:
    run = run_of(copy)
    shutil.rmtree(run / "folds" / "02")
    go_on(copy, *LOGGERS, "report.upload_faces=false")
    first, second = pooled_of(run)
    assert first.id == second.id  # pooled again: the same run goes on
    maps = list(second.folder.rglob("*.png"))
    assert len(maps) == second.summary["what_moved_and_counted/count"] == 10
    assert "dynamic_images/count" not in second.summary
    uploaded = second.artifacts["report"]["report.html"].read_text()
    assert set(re.findall('<img src="data:image/png;base64,[^"]*" alt="([^,]*),', uploaded)) == {HEAT_MAPS}
    assert "data:image/png" in (run / "report.html").read_text()
    ids = [of.id for of in folds_of(run) if of.config["fold"] == "02"]
    assert ids[-1] != ids[0]  # a fold made anew is another run
    assert {of.id for of in folds_of(run) if of.config["fold"] != "02"} == {
        of.id for of in folds_of(run_of(copy)) if of.config["fold"] in ("01", "03")
    }


@pytest.mark.slow  # as above
def test_pooled_scores_are_logged_once_and_again_when_asked(copy: Path) -> None:
    run = run_of(copy)
    before = len(offline_runs(run))
    log_pooled(configuration("logger=[csv,wandb,tensorboard]"), run, {}, anew=False)
    assert len(offline_runs(run)) == before
    # That the run was logged to W&B does not send it there when another command pools it.
    assert list(config_of(run, configuration()).logger) == ["csv"]
    go_on(copy, "task=report", f"run={run}", "logger=wandb", "report.show_faces=false", "report.upload_faces=true")
    first, second = pooled_of(run)
    assert (second.id, second.group, second.tags) == (first.id, first.group, first.tags)
    assert second.summary["dynamic_images/count"] == 10
    assert "data:image/png" in second.artifacts["report"]["report.html"].read_text()
    page = (run / "report.html").read_text()
    assert set(re.findall('<img src="data:image/png;base64,[^"]*" alt="([^,]*),', page)) == {HEAT_MAPS}


KEY = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "NETRC")


@pytest.mark.slow  # a process of its own: W&B looks for a key once
def test_online_without_a_key_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in KEY} | {"HOME": str(tmp_path)}
    options = ["+experiment=synthetic_loso", "logger=wandb", "logger.wandb.offline=false"]
    done = new_process(*options, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert "logger.wandb.offline=false" in done.stderr
    assert "wandb login" in done.stderr and "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {".config", ".cache"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("logger.wandb.project=a/b", "Invalid project name"),
        ("+logger.wandb.nonsense=1", "logger.wandb has no option nonsense"),
        (f"logger.wandb.tags=[{'x' * 65}]", "65 characters"),
        ("+logger.wandb.settings={nonsense: 1}", "nonsense"),
    ],
)
def test_what_wandb_would_refuse_in_every_fold_is_refused_at_once(override: str, message: str) -> None:
    config = configuration("logger=wandb", override)
    with pytest.raises(UserError, match=message):
        try_logger("wandb", config.logger.wandb)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("logger.wandb.offline=flase", "expected true or false"),
        ("+logger.wandb.mode=online", "no option mode"),
        ("+logger.wandb.settings={mode: online}", "no option mode"),
    ],
)
def test_nothing_but_the_switch_puts_wandb_online(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_loggers(configuration("logger=wandb", override), [])


def test_tensorboard_without_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdp_lightning.tracking.check.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"logger=tensorboard needs .* pip install fdp-lightning\[tensorboard\]"):
        check_loggers(configuration("logger=tensorboard"), [])


def test_tags_tell_synthetic_from_real_data() -> None:
    assert tags_of(configuration("data=synthetic_samm")) == ["synthetic_samm", "synthetic_samm_5c", "synthetic"]
    real = configuration("data=casme2", "protocol=casme2_5c_247")
    assert tags_of(real) == ["casme2", "casme2_5c_247", "real"]


def test_names_of_a_run_and_its_group() -> None:
    config: DictConfig = configuration()
    assert names_of(config, Path("runs/e/v/seed-0")) == ("e", "v")
    with open_dict(config):
        config.run = "somewhere/else"
    assert names_of(config, Path("somewhere/else")) == ("synthetic_5c", "else")
    long = {shortened(f"{'x' * 150}{end}", 100) for end in "ab"}
    assert len(long) == 2 and {len(name) for name in long} == {100}
