"""Recognisers other than FDP, one of them from outside this package, in leave-one-subject-out and its report."""

import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from fdp_lightning import load_model
from fdp_lightning.config import configuration
from fdp_lightning.data.synthetic.film import draw_film
from fdp_lightning.engine.preflight import check_options
from fdp_lightning.errors import UserError
from fdp_lightning.inference.demo.app import answer_of
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.packaging.building import shape_of
from fdp_lightning.inference.packaging.onnx_file import INPUT, write_onnx
from fdp_lightning.inference.packaging.sources import read_source
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.result_files import write_prediction
from fdp_lightning.models.classical.svc import SupportVectorClassifier
from fdp_lightning.models.flow.ststnet import STSTNet
from fdp_lightning.runs.folder import recorded_config
from fdp_lightning.tracking.aggregate import log_pooled
from tests.command import new_process
from tests.data.test_megc2019_flow import CLIPS, drawn, write
from tests.tasks.conftest import SMALL, beside, fold_here, run_of, start
from tests.tasks.wandb_files import offline_runs

MY = """
from torch import nn

from fdp_lightning.models.recognizer import Extra, Objective


class Net(nn.Module):
    def __init__(self, classes, in_channels, image_size):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, classes))

    def forward(self, maps):
        return self.layers(maps)


class Mine(Objective):
    extras = (
        Extra("strength", "scalar", "strength of the flow"),
        Extra("profile", "curve", "flow by height"),
        Extra("strain", "image", "map of strain", note="Where the face is stretched."),
    )

    def record(self, output, clips):
        rows = clips.frames.abs().mean(dim=(1, 3))
        return {"strength": rows.mean(dim=1), "profile": rows, "strain": clips.frames[:, 0].clamp(0, 1)}
"""
COMMON = {"scores", "seeds", "confusion", "classes", "calibration", "subjects", "curves", "mistakes", "origin"}
OWN = ["model=own", "model._target_=my.Net", "model.objective._target_=my.Mine", "model.name=mine", "input=apex_flow"]


def loso_of(finished: Path, folder: Path, parameters: int | None, *options: str) -> tuple[Path, dict[str, str]]:
    """Return a run on the shared data: its folder and the sections of its report that other reports lack, by id."""
    beside(finished, folder)
    if "model=own" in options:  # its module is in the user's working folder
        own = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
        new_process(*SMALL, "loso.workers=2", *options, cwd=folder, code=0, env=own)
    else:
        start(folder, "loso.workers=2", *options)
    run = run_of(folder)
    assert json.loads((run / "metrics.json").read_text())["n_subjects"] == 3
    facts = [json.loads(path.read_text()) for path in run.glob("folds/*/fold.json")]
    assert {fact.get("parameters") for fact in facts} == {parameters}
    assert len(pd.read_csv(run / "predictions.csv").query("selection == 'last'")) == 30
    sections = dict(re.findall(r'<section id="(\w+)"(.*?)</section>', (run / "report.html").read_text(), re.DOTALL))
    return run, {name: section for name, section in sections.items() if name not in COMMON}


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (["model=svc"], None),
        pytest.param(["model=ststnet", "model.optimizer.steps=3"], 448 + 32 + 401 * 5, marks=pytest.mark.slow),
        pytest.param(["model=lbp_top", "data.sampling.frames=9", "model.blocks=2"], None, marks=pytest.mark.slow),
    ],
)  # tests/models fits the slow ones, which differ here only in their arithmetic
def test_others_on_flow(finished_workplace: Path, tmp_path: Path, options: list[str], parameters: int | None) -> None:
    run, drawn = loso_of(finished_workplace, tmp_path, parameters, *options)
    assert set(drawn) == {"what_moved_and_counted", "embedding"}
    extras = json.loads((run / "metrics.json").read_text())["extras"]
    assert all(name.startswith("share_") for name in extras) and len(extras) == 7
    if options[0] != "model=lbp_top":  # it has no model file
        assert predicted(load_model(next(run.glob("folds/*"))), tmp_path).facts()["extras"] == {}


def test_one_from_outside_this_package(
    finished_workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.py").write_text(MY)
    run, drawn = loso_of(finished_workplace, tmp_path, 5 * (3 * 28 * 28 + 1), *OWN)
    elements = {"strength_of_the_flow": "<td>", "flow_by_height": "<svg", "map_of_strain": "<img"}
    assert set(drawn) == {*elements, "what_moved_and_counted"}
    assert all(element in drawn[name] for name, element in elements.items())
    assert "Where the face is stretched." in drawn["map_of_strain"]
    metrics, config = json.loads((run / "metrics.json").read_text()), recorded_config(run)
    config.logger = configuration("logger=wandb").logger
    log_pooled(config, run, metrics, again=True)
    (logged,) = offline_runs(run)
    assert logged.summary["extras/strength/mean"] == metrics["extras"]["strength"]["mean"] > 0
    assert logged.summary["map_of_strain/count"] == 10
    assert len(logged.table("profile_table")["data"]) == 5 * 28
    fold = next(run.glob("folds/*"))
    with pytest.raises(UserError, match=r"my\.Net"):
        load_model(fold)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my", raising=False)
    my = import_module("my")
    monkeypatch.delitem(sys.modules, "my")
    prediction = predicted(load_model(fold, own=[my.Net, my.Mine]), tmp_path)
    told = prediction.facts()["extras"]
    assert len(told["profile"]["values"]) == 28 and told["strength"]["values"] > 0
    sent = {part["heading"]: [extra["kind"] for extra in part["extras"]] for part in answer_of(prediction)["sections"]}
    assert sent == {"Strength of the flow": ["scalar"], "Flow by height": ["curve"], "Map of strain": ["image"]}


def predicted(model: Model, folder: Path) -> Prediction:
    """Return the prediction of a synthetic clip after checking its files."""
    draw_film(folder / "clip.mp4", "surprise")
    prediction = model.predict(folder / "clip.mp4")
    write_prediction(folder / "files", prediction, model)
    images = {extra.name for extra, _ in prediction.of_kind("image")}
    assert {path.stem for path in (folder / "files").glob("*.png")} == images | {"overview"}
    return prediction


def test_fdp_on_a_sequence_of_flow_maps(finished_workplace: Path, tmp_path: Path) -> None:
    beside(finished_workplace, tmp_path)
    start(tmp_path, "task=fold", "fold=01", "input=flow")
    folds = [run_of(folder) / "folds/01" for folder in (finished_workplace, tmp_path)]
    frames, flow = (np.load(fold / "outputs.npz") for fold in folds)
    parameters = [json.loads((fold / "fold.json").read_text())["parameters"] for fold in folds]
    assert parameters[1] == parameters[0] + 2 * 8 * 9  # the first convolution takes u, v and strain instead of grey
    assert flow["rank_scores"].shape == frames["rank_scores"].shape and np.isfinite(flow["rank_scores"]).all()
    # The image to construct is computed from the network's maps, not from the frames behind them.
    assert np.abs(flow["true_dynamic_image"] - frames["true_dynamic_image"]).mean() > 0.02
    model = load_model(folds[1] / "checkpoints/last.ckpt")
    draw_film(tmp_path / "clip.mp4", "surprise")
    assert model.predict(tmp_path / "clip.mp4").extras["rank_scores"].shape == (8,)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["model=fdp_tiny", "input=apex_flow"], "input=apex_flow"), (["model=ststnet", "input=flow"], "input=flow"),
        (["model=dianet", "+model.heads=5"], r"\(1, 9, 1, 64, 64\)"),
        (["+experiment=megc2019_flow", "data.root=x", "model=svc", "task=fit"], "task=fit"),  # no maps of videos
    ],
)  # fmt: skip
def test_an_input_that_does_not_fit_the_network_is_refused(options: list[str], word: str) -> None:
    with pytest.raises(UserError, match=word):
        check_options(configuration(*options))


def test_options_are_checked_before_any_work_on_clips(tmp_path: Path) -> None:
    done = start(tmp_path, "model=ststnet", "input=frames", code=2)
    assert "input=frames" in done.stderr and not list(tmp_path.glob("data/**/*.*"))


def test_a_network_with_unsuitable_outputs_or_without_a_model_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STSTNet, "forward_head", lambda self, features: features.flatten(1)[:, :4])
    with pytest.raises(UserError, match=r"\(1, 4\)"):
        check_options(configuration("model=ststnet"))
    monkeypatch.delattr(SupportVectorClassifier, "as_network")
    with pytest.raises(UserError, match="as_network"):
        check_options(configuration("model=svc", "task=fit"))


def test_a_classical_recogniser_has_a_model_file(finished_workplace: Path, tmp_path: Path) -> None:
    beside(finished_workplace, tmp_path)
    start(tmp_path, "model=svc", "task=fit")
    folder = run_of(tmp_path) / "model"
    model = load_model(folder)
    assert model.facts["training"]["model"] == "svc"
    assert "This file holds the support vectors" in (folder / "README.md").read_text()  # derived from licensed data
    prediction = predicted(model, tmp_path)
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    write_onnx(tmp_path / "svc.onnx", model)
    maps = torch.rand(4, *shape_of(model.facts), generator=torch.Generator().manual_seed(0))
    (given,) = onnxruntime.InferenceSession(tmp_path / "svc.onnx").run(None, {INPUT: maps.numpy()})
    np.testing.assert_allclose(given, model.network(maps).softmax(1).numpy(), atol=1e-6)


@pytest.mark.parametrize("model", ["ststnet", "rcn_a", "capsulenet_flow"])  # unchanged maps, resized maps, margin loss
def test_published_maps(model: str, tmp_path: Path) -> None:
    root = write(tmp_path / "HTNet", CLIPS, drawn(1))
    on_maps = [f"data.root={root}", "+data.adapter.expected=null", "protocol.strict=false"]
    options = [f"model={model}", "model.optimizer.steps=2", f"data.store={tmp_path}/stores", f"run={tmp_path}/run"]
    plan = fold_here("+experiment=megc2019_flow", *on_maps, *options, "fold=casme2_01")
    table = pd.read_csv(plan.folder / "predictions.csv", dtype=str)
    assert set(zip(table["dataset"], table["subject"], table["target"], strict=True)) == {("casme2", "01", "positive")}
    assert {"prob_negative", "prob_positive", "prob_surprise"} <= set(table)
    with pytest.raises(UserError, match="input=maps"):  # frames cannot yield such maps
        read_source(plan.folder)
