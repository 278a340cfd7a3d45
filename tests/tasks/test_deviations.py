"""The ways of the released code, from the command to the report: what they leave out is counted and said."""

import json
from pathlib import Path

import pandas as pd
import pytest
from hydra.core.hydra_config import HydraConfig

from fdp_lightning.config import configuration
from fdp_lightning.engine.dataset import ready_data, write_expected
from fdp_lightning.engine.fold import run_fold
from fdp_lightning.engine.plan import plan_fold
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.runs.folder import run_folder
from fdp_lightning.runs.pooling import pool_run
from fdp_lightning.tasks.loso import loso
from tests.tasks.conftest import run_of, start

SHORT = "data.sampling.rule=floor, fewer than 12 frames"


@pytest.fixture
def command(casme2_root: Path, store_folder_path: Path, tmp_path: Path) -> list[str]:
    """Three subjects with five clips of 10 to 12 frames each, aligned already."""
    data = ["data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", f"data.root={casme2_root}"]
    return [*data, f"data.store={store_folder_path.parent}", f"run={tmp_path}/run", "data.batch_size=4"]


def test_what_is_not_tested_or_left_out_is_pooled_nowhere_and_said_everywhere(
    command: list[str], casme2_clips: pd.DataFrame, tmp_path: Path, capsys, caplog
) -> None:
    released = ["data.sampling.rule=floor", "data.sampling.frames=12", "data.normalisation=each_set"]
    released += ["protocol.untested=['03']", "report.headline=oracle", "data.augmentation=null"]
    config = configuration(*command, *released, "trainer.max_epochs=-1", "trainer.max_steps=1")
    data = ready_data(config)
    length = casme2_clips["offset"] - casme2_clips["onset"] + 1
    names = casme2_clips["subject"] + "/" + casme2_clips["clip"]
    assert 0 < (length < 12).sum() < 15
    short = names[length < 12].tolist()
    assert (data.left_out["subject"] + "/" + data.left_out["clip"]).tolist() == short
    assert set(data.left_out["why"]) == {SHORT}
    assert f"{len(short)} clips are left out ({SHORT})" in caplog.text

    run, splits = tmp_path / "run", data.folds()
    assert [split.name for split in splits] == ["01", "02"]
    run.mkdir()
    write_expected(run, data, splits)
    for split in splits:
        assert "03" in set(data.clips["subject"].iloc[list(split.train_rows)])
        run_fold(plan_fold(config, data, split, run))
    metrics = pool_run(run, config)

    table, _ = read_predictions(run / "predictions.csv")
    tested = names[(length >= 12) & (casme2_clips["subject"] != "03")].tolist()
    for _, part in table.groupby("selection"):
        assert (part["subject"] + "/" + part["clip"]).tolist() == tested
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert (metrics["n_clips"], metrics["n_subjects"]) == (len(tested), 2)
    assert (metrics["skipped_folds"], metrics["untested"]) == ([], ["03"])
    assert metrics["left_out"] == {SHORT: short}
    shown = " ".join(capsys.readouterr().out.split())
    assert "train and are not tested: 03" in shown
    assert f"clips left out ({SHORT}): {len(short)}, {short[0]}" in shown
    assert shown.index("oracle 0.") < shown.index("last 0.")
    page = (run / "report.html").read_text()
    assert "Not tested: 03." in page
    assert f"({SHORT}): {len(short)} clips, {short[0]}" in page


def test_a_subject_without_a_clip_may_be_called_untested_and_is_no_fold(command: list[str]) -> None:
    config = configuration(*command, "protocol.untested=['036']")
    assert [split.name for split in ready_data(config).folds()] == ["01", "02", "03"]


def test_a_rule_that_leaves_no_clip_is_refused(command: list[str]) -> None:
    config = configuration(*command, "data.sampling.rule=floor", "data.sampling.frames=13")
    with pytest.raises(UserError, match=r"no clip .* is left \(data\.sampling\.rule=floor, fewer than 13 frames\)"):
        ready_data(config)


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("data.sampling.rule=ceiling", "expected one of uniform, floor"),
        ("data.sampling.frames=many", "expected a whole number"),
        ("data.normalisation=test", "expected one of training, each_set"),
        ("data.faces.per_frame=sometimes", "expected true or false"),
        ("report.headline=best", "expected one of last, inner, oracle"),
        ("report.headline=inner", "selection.inner_subjects"),
        ("protocol.untested=[18]", "in quotes"),
    ],
)
def test_a_misspelt_deviation_is_refused_by_key_before_anything_is_done(
    command: list[str], tmp_path: Path, setting: str, allowed: str
) -> None:
    config = configuration(*command, setting)
    with pytest.raises(UserError, match=allowed) as caught:
        loso(config)
    assert setting.split("=")[0] in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_headline_is_no_part_of_the_run_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # put back as it was afterwards
    for overrides in ([], ["report.headline=oracle"], ["data.normalisation=each_set"]):
        config = configuration(*overrides, hydra=True)
        HydraConfig.instance().set_config(config)
        folders.append(run_folder(config))
    assert folders[0] == folders[1] != folders[2]


def test_a_report_with_another_headline_changes_the_order_and_no_number(workplace: Path) -> None:
    run = run_of(workplace)
    table, metrics = (run / "predictions.csv").read_bytes(), (run / "metrics.json").read_bytes()
    done = start(workplace, "task=report", f"run={run.relative_to(workplace)}", "report.headline=oracle")
    assert done.returncode == 0, done.stderr
    assert (run / "predictions.csv").read_bytes() == table
    assert (run / "metrics.json").read_bytes() == metrics
    assert done.stdout.index(" oracle ") < done.stdout.index(" last ")
