"""The ways of the released code, from the command to the report: what they leave out is counted and said."""

import json
from pathlib import Path

import pandas as pd
import pytest

from fdp_lightning.config import configuration
from fdp_lightning.engine.dataset import ready_data, write_expected
from fdp_lightning.engine.fold import run_fold
from fdp_lightning.engine.plan import plan_fold
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.runs.pooling import pool_run

pytestmark = pytest.mark.costly

SHORT = "data.sampling.rule=floor, fewer than 12 frames"


@pytest.fixture
def command(casme2_root: Path, store_folder_path: Path, tmp_path: Path) -> list[str]:
    """Three subjects with five clips of 10 to 12 frames each, aligned already."""
    data = ["data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", f"data.root={casme2_root}"]
    return [*data, f"data.store={store_folder_path.parent}", f"run={tmp_path}/run", "data.batch_size=4"]


def test_what_is_not_tested_or_left_out_is_pooled_nowhere_and_said_everywhere(
    command: list[str],
    casme2_clips: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
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
    assert f"({SHORT})" in caplog.text

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
    assert f"({SHORT}): {len(short)}, {short[0]}" in shown
    assert shown.index("oracle 0.") < shown.index("last 0.")
    page = (run / "report.html").read_text()
    assert f"({SHORT}): {len(short)} clips, {short[0]}" in page
