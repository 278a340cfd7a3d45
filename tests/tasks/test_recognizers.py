"""Recognisers that are not FDP, and one from outside this package, through leave-one-subject-out and its report."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fdp_lightning.config import configuration
from fdp_lightning.engine.preflight import check_options
from fdp_lightning.errors import UserError
from tests.command import command, new_process
from tests.data.test_megc2019_flow import CLIPS, drawn, write
from tests.tasks.conftest import SMALL, fold_here, run_of, start

MY = """
from torch import nn


class Net(nn.Module):
    def __init__(self, classes, in_channels, image_size):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, classes))

    def forward(self, maps):
        return self.layers(maps)
"""


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (["model=own", "model._target_=my.Net", "model.name=mine", "input=apex_flow"], 5 * (3 * 28 * 28 + 1)),
        (["model=ststnet", "model.optimizer.steps=3"], 448 + 32 + 401 * 5),
        (["model=svc"], None),
    ],
    ids=["own", "ststnet", "svc"],
)
def test_any_recogniser_on_flow(
    finished_workplace: Path, tmp_path: Path, options: list[str], parameters: int | None
) -> None:
    (tmp_path / "my.py").write_text(MY)
    for shared in ("data", "stores"):
        (tmp_path / shared).symlink_to(finished_workplace / shared)
    if "model=own" in options:  # whose module a user has beside the command
        path = os.pathsep.join([str(tmp_path), *sys.path])
        done = new_process(*SMALL, "loso.workers=2", *options, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})
    else:
        done = start(tmp_path, "loso.workers=2", *options)
    assert done.returncode == 0, done.stderr
    run = run_of(tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["n_subjects"] == 3
    assert "extras" not in metrics
    facts = [json.loads(path.read_text()) for path in run.glob("folds/*/fold.json")]
    assert {fact.get("parameters") for fact in facts} == {parameters}
    assert len(pd.read_csv(run / "predictions.csv").query("selection == 'last'")) == 30
    outputs = dict(np.load(next(run.glob("folds/*/outputs.npz"))))
    assert not {"rank_scores", "dynamic_image", "mean_training_image"} & set(outputs)
    assert str(outputs["extras"]) == "[]"
    assert (run / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(("model", "kind"), [("fdp_tiny", "apex_flow"), ("ststnet", "frames"), ("ststnet", "flow")])
def test_an_input_that_a_network_does_not_take(model: str, kind: str) -> None:
    with pytest.raises(UserError, match=f"input={kind}"):
        check_options(configuration(f"model={model}", f"input={kind}"))


def test_a_classical_recogniser_has_no_model_file() -> None:
    with pytest.raises(UserError, match="task=fit"):
        check_options(configuration("model=svc", "task=fit"))


def test_published_maps(tmp_path: Path) -> None:
    root = write(tmp_path / "HTNet", CLIPS, drawn(1))
    plan = fold_here(
        "+experiment=megc2019_flow", f"data.root={root}", "+data.adapter.expected=null", "protocol.strict=false",
        "model.optimizer.steps=2", "fold=casme2_01", f"data.store={tmp_path}/stores", f"run={tmp_path}/run",
    )  # fmt: skip
    table = pd.read_csv(plan.folder / "predictions.csv", dtype=str)
    assert set(zip(table["dataset"], table["subject"], table["target"], strict=True)) == {("casme2", "01", "positive")}
    assert {"prob_negative", "prob_positive", "prob_surprise"} <= set(table)


def test_a_copy_of_the_published_maps_is_looked_at_whole(tmp_path: Path) -> None:
    root = write(tmp_path / "HTNet", CLIPS, drawn(1))
    done = command(
        "task=check_data", "data=megc2019_flow", f"data.root={root}", "+data.adapter.expected=null",
        "protocol.strict=false", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{len(CLIPS)} clips looked at" in done.stdout
