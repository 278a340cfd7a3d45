"""A fold as a model file, and a model as ONNX."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from omegaconf import OmegaConf

from fdp_lightning import load_model
from fdp_lightning.config import configuration
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.packaging.onnx_file import INPUT, write_onnx
from fdp_lightning.instantiate import build_model
from fdp_lightning.runs.seal import sealed
from fdp_lightning.tasks.export import export
from tests.tasks.conftest import run_of

pytestmark = pytest.mark.costly

SLOW = pytest.mark.slow
Run = Callable[..., subprocess.CompletedProcess[str]]


def equal_to_pytorch(path: Path, model: Model, network: torch.nn.Module) -> None:
    """The file gives what a network gives, for any number of clips."""
    session = onnxruntime.InferenceSession(path)
    shape = session.get_inputs()[0].shape
    generator = torch.Generator().manual_seed(0)
    for clips in (1, 2, 5):
        frames = torch.rand(clips, *shape[1:], generator=generator)
        names = [one.name for one in session.get_outputs()]
        given = dict(zip(names, session.run(None, {INPUT: frames.numpy()}), strict=True))
        with torch.no_grad():
            output = network(frames)
        expected = {
            "probabilities": (output.logits.sigmoid() if model.facts["multi_label"] else output.logits.softmax(1)),
            **({} if output.rank_scores is None else {"rank_scores": output.rank_scores}),
            "dynamic_image": output.dynamic_image[:, 0],
        }
        assert list(given) == list(expected)
        for name, value in expected.items():
            near = np.isclose(given[name], value, atol=1e-5, rtol=1e-4)
            # SegNet remembers where each maximum was: rounding that moves one moves pixels. Its deep stack of random
            # layers magnifies rounding, so that the plain network is compared with, not the faster one of `Model`.
            assert near.all() or (name == "dynamic_image" and near.mean() > 0.95), name


def test_the_shipped_model_as_onnx(tmp_path: Path, run_cli: Run) -> None:
    done = run_cli("task=export", "export.checkpoint=synthetic", "export.to=onnx", "export.output=model.onnx")
    assert done.returncode == 0, done.stderr
    assert "Removed" not in done.stderr and "Replaced" not in done.stderr  # each node that the optimiser touches
    model = load_model()
    equal_to_pytorch(tmp_path / "model.onnx", model, model.network)
    metadata = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == model.classes
    assert json.loads(metadata["fdp_lightning"])["alignment"] == model.facts["alignment"]


@pytest.mark.parametrize(
    "options",
    [
        ["model=fdp_tiny", "model.pooling=soft_rank_arp", "data.faces.colour=rgb", "protocol=synthetic_au"],
        pytest.param(["model=fdp_released", "model/backbone=fdp_tiny", "data.sampling.frames=5"], marks=SLOW),
        pytest.param(
            ["model/backbone=timm", "model.pooling=[attention,intensity]", "model/dic_head=segnet"], marks=SLOW
        ),
    ],
)
def test_every_part_of_a_network_can_be_exported(tmp_path: Path, options: list[str]) -> None:
    config = configuration(*options)
    shipped = load_model()
    torch.manual_seed(1)
    network = build_model(config, len(config.protocol.classes))
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean)
    colours = 3 if config.data.faces.colour == "rgb" else 1
    model = OmegaConf.to_container(config.model, resolve=True)
    facts = {
        **shipped.facts,
        "classes": list(config.protocol.classes),
        "multi_label": config.protocol.column == "action_units",
        "input": {**shipped.facts["input"], "frames": config.data.sampling.frames, "channels": colours},
        "alignment": {**shipped.facts["alignment"], "colour": str(config.data.faces.colour)},
        "sampling": {**shipped.facts["sampling"], "frames": config.data.sampling.frames},
        "training": {**shipped.facts["training"], "class_counts": dict.fromkeys(config.protocol.classes, 1)},
        "configuration": {**shipped.facts["configuration"], "model": model},
        "normalisation": {"mean": 0.5, "std": 0.25},
    }
    loaded = Model(facts, network.state_dict(), "test")
    write_onnx(tmp_path / "model.onnx", loaded)
    equal_to_pytorch(tmp_path / "model.onnx", loaded, network.eval())


def test_a_fold_as_a_model_file(finished_workplace: Path, run_cli: Run, tmp_path: Path) -> None:
    fold = run_of(finished_workplace) / "folds" / "02"
    done = run_cli("task=export", f"export.checkpoint={fold}", "export.output=mine", "export.licence=ask me")
    assert done.returncode == 0, done.stderr
    facts = load_model(tmp_path / "mine").facts
    assert facts["licence"] == "ask me"
    metrics = json.loads((run_of(finished_workplace) / "metrics.json").read_text())
    assert facts["scores"]["uf1"] == metrics["selections"]["last"]["uf1"]
    assert facts["scores"]["n_clips"] == 30
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "ask me" in card and "without synthetic/02" in card
    assert f"{facts['scores']['uf1']:.3f}" in card


@pytest.mark.parametrize("to", ["model", "onnx"])
def test_an_export_beside_its_checkpoint_leaves_the_fold_finished(to: str, workplace: Path) -> None:
    fold = run_of(workplace) / "folds" / "02"
    before = sealed(fold)
    export(configuration(f"export.checkpoint={fold}", f"export.to={to}"))
    assert (fold / ("model" if to == "model" else "model.onnx")).exists()
    assert sealed(fold) == before
    export(configuration(f"export.checkpoint={fold / 'checkpoints' / 'last.ckpt'}", f"export.to={to}"))


def test_what_cannot_be_exported(run_cli: Run, tmp_path: Path) -> None:
    for arguments, words in (
        ([], "export.checkpoint is missing"),
        (["export.checkpoint=nowhere"], "there is no such file"),
    ):
        done = run_cli("task=export", *arguments)
        assert done.returncode == 2 and words in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_shipped_model_is_copied_to_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    export(configuration("export.checkpoint=synthetic"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert load_model("model").facts == load_model().facts
    assert load_model(Path("model/model.json")).facts == load_model().facts
