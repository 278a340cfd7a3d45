"""A fold as a model file, its card and scores, and a model as ONNX."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from sklearn.metrics import f1_score

from fdp_lightning import load_model
from fdp_lightning.config import configuration
from fdp_lightning.evaluation.metrics import SCORES, Score
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.inference.model import Model
from fdp_lightning.inference.packaging.card import model_card
from fdp_lightning.inference.packaging.onnx_file import INPUT, write_onnx
from fdp_lightning.inference.packaging.scores import check_scores, loso_scores, scores_of
from fdp_lightning.instantiate import build_model
from fdp_lightning.labels import LabelKind
from fdp_lightning.models.fdp.network import FDP
from fdp_lightning.runs.seal import sealed
from fdp_lightning.tasks.export import export
from tests.command import Run
from tests.tasks.conftest import run_of


def check_same_outputs(path: Path, model: Model, network: torch.nn.Module) -> None:
    """Check that the file computes the outputs of the network, for any number of clips."""
    session = onnxruntime.InferenceSession(path)
    for clips in (1, 2, 5):
        frames = torch.rand(clips, *session.get_inputs()[0].shape[1:], generator=torch.Generator().manual_seed(clips))
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
            # SegNet stores the position of each maximum, so rounding can move pixels. Its deep stack of random layers
            # amplifies rounding: the reference is the plain network, not the faster one of `Model`.
            assert near.all() or (name == "dynamic_image" and near.mean() > 0.95), name


def test_the_bundled_model_as_onnx_has_the_same_outputs(tmp_path: Path, run_cli: Run) -> None:
    done = run_cli("task=export", "export.checkpoint=synthetic", "export.to=onnx", "export.output=model.onnx", code=0)
    assert "Removed" not in done.stderr and "Replaced" not in done.stderr  # messages of the optimiser
    model = load_model()
    check_same_outputs(tmp_path / "model.onnx", model, model.network)
    metadata = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == model.classes
    assert json.loads(metadata["fdp_lightning"])["alignment"] == model.facts["alignment"]


@pytest.mark.slow  # the bundled model is always exported
@pytest.mark.parametrize(
    "options",
    [
        ["model=fdp_tiny", "model.pooling=soft_rank_arp", "data.faces.colour=rgb", "protocol=synthetic_au"],
        ["model=fdp_released", "model/backbone=fdp_tiny", "data.sampling.frames=5"],
        ["model/backbone=timm", "model.pooling=[attention,intensity]", "model/dic_head=segnet"],
    ],
)
def test_every_part_of_a_network_can_be_exported(tmp_path: Path, options: list[str]) -> None:
    config = configuration(*options)
    torch.manual_seed(1)
    network = build_model(config, len(config.protocol.classes))
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.running_mean)
    facts = copy.deepcopy(load_model().facts)
    frames, colour, classes = config.data.sampling.frames, config.data.faces.colour, list(config.protocol.classes)
    facts |= {"classes": classes, "multi_label": config.protocol.column == "action_units"}
    facts["input"] |= {"frames": frames, "channels": 3 if colour == "rgb" else 1}
    facts["alignment"]["colour"], facts["sampling"]["frames"] = str(colour), frames
    facts["training"]["class_counts"] = dict.fromkeys(classes, 1)
    facts["configuration"]["model"] = OmegaConf.to_container(config.model, resolve=True)
    facts["normalisation"] = {"mean": 0.5, "std": 0.25}
    loaded = Model(facts, network.state_dict(), "test")
    write_onnx(tmp_path / "model.onnx", loaded)
    check_same_outputs(tmp_path / "model.onnx", loaded, network.eval())


@pytest.mark.parametrize("to", ["model", "onnx"])
def test_an_export_beside_its_checkpoint_leaves_the_fold_finished(
    to: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold = run_of(workplace) / "folds" / "02"
    before = sealed(fold)
    for folder, checkpoint in {fold: ".", fold.parents[1]: "folds/02", fold / "checkpoints": "last.ckpt"}.items():
        monkeypatch.chdir(folder)  # the scores of the run are found from any working folder
        shutil.rmtree(fold / "model", ignore_errors=True)
        export(configuration(f"export.checkpoint={checkpoint}", f"export.to={to}", "export.licence=ask me"))
        assert (fold / ("model" if to == "model" else "model.onnx")).exists()
        assert sealed(fold) == before
        if to == "model":
            facts, card = load_model(fold / "model").facts, (fold / "model/README.md").read_text()
            assert (facts["licence"], facts["scores"]["n_clips"]) == ("ask me", 30)
            assert all(word in card for word in ("ask me", "without synthetic/02", f"{facts['scores']['uf1']:.3f}"))


def test_an_exported_model_file_is_that_of_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    export(configuration("export.checkpoint=synthetic"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert load_model("model").facts == load_model().facts


def facts(scores: dict[str, Any] | None, **changed: Any) -> dict[str, Any]:
    """Return the content of a model.json for a fit on the small synthetic set."""
    made: dict[str, Any] = load_model().facts
    training = made["training"] | {"class_counts": dict.fromkeys(made["classes"], 6)} | changed.pop("training", {})
    weights = {"file": "model.safetensors", "sha256": "0f" * 32, "tensors": 99, "numbers": 90123}
    return made | {"scores": scores, "weights": weights, "training": training, **changed}


@pytest.fixture
def run(workplace: Path) -> tuple[Path, str]:
    run = run_of(workplace)
    return run, json.loads((run / "folds/01/fold.json").read_text())["fingerprint"]


def test_scores_are_pooled_over_all_folds_at_the_last_epoch(run: tuple[Path, str]) -> None:
    scores, why = loso_scores(*run)
    assert scores is not None and why == ""
    metrics = json.loads((run[0] / "metrics.json").read_text())
    last = metrics["selections"]["last"]
    assert {name: scores[name] for name in ("uf1", "uar", "accuracy")}.items() <= last.items()
    table, classes = read_predictions(run[0] / "predictions.csv")
    rows = table[table["selection"] == "last"]
    each = f1_score(rows["target"], rows["prediction"], labels=classes, average=None, zero_division=0)
    assert scores["f1"] == pytest.approx(dict(zip(classes, each, strict=True)))
    assert (scores["selection"], scores["uf1_interval"]) == ("last", last["ci95"]["uf1"])
    assert (scores["n_clips"], scores["n_subjects"], scores["folds"]) == (30, 3, 3)
    assert scores["floors"] == metrics["floors"] and scores["run"] == "/".join(run[0].parts[-3:])
    assert "oracle" not in json.dumps(scores) and str(run[0].parents[3]) not in json.dumps(scores)


def test_a_model_with_a_score_of_its_maker_is_readable_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = np.array([[[3, 1], [0, 2]], [[1, 1], [2, 2]], [[4, 0], [1, 2]]])
    own = Score("First", of_counts=lambda matrix: matrix[..., 0, 0] / matrix.sum((-2, -1)))
    monkeypatch.setitem(SCORES, "first", own)
    written = scores_of(counts, ["a", "b"], LabelKind.SINGLE) | {"counts": counts.tolist()}
    monkeypatch.delitem(SCORES, "first")
    check_scores({"scores": written, "classes": ["a", "b"], "multi_label": False}, "model.json")


def test_without_all_folds_of_the_same_settings_there_is_no_score(run: tuple[Path, str]) -> None:
    folder, mark = run
    for_other, why = loso_scores(folder, "0" * 12)
    assert for_other is None and "3 of the 3 folds" in why
    metrics = (folder / "metrics.json").read_text()
    (folder / "metrics.json").write_text(metrics.replace('"uf1": 0.', '"uf1": 0.9'))  # not that of predictions.csv
    assert loso_scores(folder, mark)[0] is None
    (folder / "metrics.json").write_text(metrics)
    (folder / "folds/02/curves.csv").write_text("changed")
    assert loso_scores(folder, mark)[0] is None and "damaged" in loso_scores(folder, mark)[1]
    shutil.rmtree(folder / "folds/02")
    scores, why = loso_scores(folder, mark)
    assert scores is None and "20 of 30 clips" in why and str(folder) not in why
    assert why in (card := model_card(facts(None, no_scores=why))) and "macro-F1" not in card


def test_the_card_states_scores_caveats_and_limits(run: tuple[Path, str]) -> None:
    scores, _ = loso_scores(*run)
    assert scores is not None
    card = model_card(facts(scores | {"inner_subjects": 2, "caveats": ["A caveat."]}))
    _, header, body = card.split("---\n", 2)
    assert yaml.safe_load(header)["license"] == "apache-2.0" and "synthetic" in yaml.safe_load(header)["tags"]
    low, high = scores["uf1_interval"]
    chance, majority = (scores["floors"][name]["uf1"] for name in ("chance", "majority"))
    assert f"| {scores['uf1']:.3f} | {low:.3f}–{high:.3f} | {majority:.3f} | {chance:.3f} |" in body
    assert f"| happiness | {scores['f1']['happiness']:.3f} | 6 |" in body
    assert all(words in body for words in ("* A caveat.", "Not for judging people", "0f" * 32))
    assert not any(word in body for word in ("oracle", "None", "{"))
    foreign = {"model": {"_target_": "my.Net", "objective": {"_target_": "my.Mine"}}}
    assert FDP.about in card and FDP.about not in model_card(facts(None, configuration=foreign))
