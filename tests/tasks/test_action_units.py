"""Action units from the command line to the scores: a complete multi-label run on synthetic clips."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score

from fdp_lightning.config import configuration
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.evaluation.runs import read_run
from fdp_lightning.tracking.aggregate import pooled_scalars
from tests.command import command
from tests.tasks.conftest import SMALL

OPTIONS = [option for option in SMALL if not option.startswith("+experiment")]
CLASSES = list(configuration("+experiment=synthetic_au").protocol.classes)


@pytest.fixture(scope="module")
def place(finished_workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shared run's folder, whose clips and store this run uses too."""
    folder = Path(shutil.copytree(finished_workplace, tmp_path_factory.mktemp("units") / "place"))
    options = ["trainer.max_epochs=6", "model.objective.class_weighting=inverse", "model.optimizer.lr=0.003"]
    done = command("+experiment=synthetic_au", *OPTIONS, *options, "loso.workers=2", cwd=folder, code=0)
    assert "Aligning" not in done.stderr  # the store was found
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    (folder,) = place.glob("runs/synthetic_au/*/seed-0")
    return folder


def tables(run: Path) -> Iterator[tuple[str, pd.DataFrame, np.ndarray, np.ndarray]]:
    """Yield each selection, its rows, and multi-hot targets and predictions, read without the project's reader."""
    text = dict.fromkeys(["dataset", "subject", "clip", "fold", "target", "prediction"], str)
    table = pd.read_csv(run / "predictions.csv", dtype=text, keep_default_na=False)
    for selection, part in table.groupby("selection"):
        hot = [
            np.array([[name in cell.split("+") for name in CLASSES] for cell in part[side]])
            for side in ("target", "prediction")
        ]
        yield str(selection), part, *hot


def test_the_metrics_are_those_of_the_predictions(run: Path) -> None:
    metrics = read_run(run).metrics  # recomputed
    assert (metrics["multi_label"], metrics["classes"], metrics["n_clips"]) == (True, CLASSES, 30)
    rows, logged = metrics["selections"], pooled_scalars(metrics)
    for selection, _, target, prediction in tables(run):
        mean = f1_score(target, prediction, average="macro", zero_division=0)
        assert rows[selection]["mean_f1"] == logged[f"{selection}/mean_f1"] == pytest.approx(mean)
    assert rows["oracle"]["accuracy"] >= rows["last"]["accuracy"]
    assert 0 < rows["last"]["mean_f1"] < 1 and logged["last/f1/AU12"] == rows["last"]["f1"]["AU12"]


def test_targets_are_the_annotated_units_and_predictions_those_above_one_half(place: Path, run: Path) -> None:
    (root,) = (place / "data/synthetic").iterdir()
    annotated = CASME2(root).clips().set_index(["subject", "clip"])["action_units"]
    for _, part, target, prediction in tables(run):
        assert len(part) == 30 and (part["fold"] == part["subject"]).all() and (part["multi_label"] == 1).all()
        probabilities = part[[f"prob_{name}" for name in CLASSES]].to_numpy()
        np.testing.assert_array_equal(probabilities > 0.5, prediction)
        assert (np.abs(probabilities.sum(axis=1) - 1) > 0.01).any()
        for subject, clip, shown in zip(part["subject"], part["clip"], target, strict=True):
            cell = annotated[subject, clip].replace("L", "").replace("R", "")
            wanted = {f"AU{unit}" for unit in cell.split("+")}
            assert {name for name, there in zip(CLASSES, shown, strict=True) if there} == wanted


def test_a_fold_has_the_accuracy_of_its_curves_and_the_positive_weights_of_its_training_clips(run: Path) -> None:
    parts = {name: (part, target == prediction) for name, part, target, prediction in tables(run)}
    ((_, part, target, _), *_) = tables(run)
    for fold in sorted((run / "folds").iterdir()):
        curve = pd.read_csv(fold / "curves.csv")["test/accuracy"]
        right = {name: hits[(rows["fold"] == fold.name).to_numpy()].mean() for name, (rows, hits) in parts.items()}
        assert (right["last"], right["oracle"]) == pytest.approx((curve.iloc[-1], curve.max()))
        saved = torch.load(fold / "checkpoints/last.ckpt", weights_only=True)
        assert (saved["fdp_lightning"]["multi_label"], saved["fdp_lightning"]["classes"]) == (True, CLASSES)
        shown = target[(part["fold"] != fold.name).to_numpy()]
        counts = shown.sum(axis=0)
        expected = np.where(counts > 0, (len(shown) - counts) / np.maximum(counts, 1), 1)
        np.testing.assert_allclose(saved["state_dict"]["objective.class_weights"], expected, rtol=1e-6)
