"""An interrupted fold is resumed from its last checkpoint and ends as if it had not been interrupted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fdp_lightning.config import configuration
from fdp_lightning.data.protocols.splits import choose_fold
from fdp_lightning.engine import train_fold
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.plan import FoldPlan, plan_fold
from fdp_lightning.engine.process import run_fold
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.training.callbacks import newest

Plan = Callable[..., FoldPlan]


class CutError(Exception):
    """Stand-in for anything that ends a process."""


def cut_at(epoch: int) -> Callable[[int], None]:
    def on_epoch(done: int) -> None:
        if done == epoch:
            raise CutError

    return on_epoch


FOUR_EPOCHS = ["data.batch_size=4", "loso.checkpoint_seconds=0", "trainer.max_epochs=4"]
"""Overrides that write a checkpoint after each of four epochs."""


@pytest.fixture
def plan(on_casme2: list[str], tmp_path: Path) -> Plan:
    """Function that plans fold 02 of three subjects, or the fit of all of them."""

    def make(name: str, *overrides: str, fit: bool = False) -> FoldPlan:
        config = configuration(*on_casme2, *FOUR_EPOCHS, *overrides)
        ready = ready_data(config)
        return plan_fold(config, ready, None if fit else choose_fold(ready.folds(), "02"), tmp_path / name)

    return make


def content(plan: FoldPlan) -> dict[str, bytes]:
    """Return all results of a fold's training, bit for bit."""
    files = {path.name: path.read_bytes() for path in plan.folder.glob("*.csv")}
    if plan.fold.test_rows:
        with np.load(plan.folder / "outputs.npz") as arrays:
            files |= {name: arrays[name].tobytes() for name in arrays.files}
    weights = torch.load(plan.folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return files | {name: value.numpy().tobytes() for name, value in weights.items()}


INNER = ["selection.inner_subjects=1", "model.optimizer.ema=0.7"]
TRAININGS = {
    "epochs": [*INNER, "data.sampling.rule=random_phase"],
    "steps": ["trainer.max_epochs=-1", "model.optimizer.steps=11", "model.objective.image_scale=min_max"],
    "fit": INNER,
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_fold_cut_after_any_epoch_ends_bit_for_bit(plan: Plan, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides, fit = TRAININGS[kind], kind == "fit"
    whole = plan("whole", *overrides, fit=fit)
    assert not fit or len(whole.fold.train_rows) == len(whole.clips)  # no inner validation subjects
    run_fold(whole)
    expected = content(whole)
    assert {"curves.csv"} | (set() if fit else {"predictions.csv"}) <= set(expected)
    cut = plan("cut", *overrides, fit=fit)
    for epoch in (2, 3, 4):
        with pytest.raises(CutError):
            run_fold(cut, cut_at(epoch))
        path, remarks = newest(cut.unfinished, cut.fingerprint)
        assert path is not None and f"-epoch{epoch - 1:06}-" in path.name and remarks == []
        assert torch.load(path, weights_only=True)["epoch"] == epoch - 2  # only plain data
        assert newest(cut.unfinished, "0" * 12)[0] is None  # checkpoints of other settings are not used
        assert len(list(cut.unfinished.glob("*.ckpt"))) == 1
        assert not cut.folder.exists()
    with monkeypatch.context() as patch, pytest.raises(CutError):
        patch.setattr(train_fold, "_predict_and_write", lambda *_: cut_at(0)(0))  # after all epochs
        run_fold(cut)
    seen: list[int] = []
    run_fold(cut, seen.append)
    assert seen == [4]  # no earlier epoch is repeated
    if kind == "steps":
        assert torch.load(cut.folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 11
    assert content(cut) == expected
    assert not cut.unfinished.exists()
    assert json.loads((cut.folder / "fold.json").read_text())["resumed_from_epoch"] == 3


def test_predictions_of_inner_clips_agree_with_the_curves(plan: Plan) -> None:
    fold = plan("run", "selection.inner_subjects=1", "model.optimizer.lr=0.01")
    run_fold(fold)
    table, _ = read_predictions(fold.folder / "inner.csv")
    curves = pd.read_csv(fold.folder / "curves.csv")[["inner/accuracy", "inner/emotion_loss"]]
    best = curves.sort_values(["inner/accuracy", "inner/emotion_loss"], ascending=[False, True]).iloc[0]
    inner = fold.clips.iloc[list(fold.fold.inner_rows)]
    table["loss"] = [-np.log(row[f"prob_{row['target']}"]) for _, row in table.iterrows()]
    for selection, epoch in {"last": curves.iloc[-1], "inner": best}.items():
        part = table[table["selection"] == selection]
        assert part[["clip", "target"]].to_numpy().tolist() == inner[["clip", "target"]].to_numpy().tolist()
        assert (part["prediction"] == part["target"]).mean() == pytest.approx(epoch["inner/accuracy"])
        assert part["loss"].mean() == pytest.approx(epoch["inner/emotion_loss"], rel=1e-4)
    assert "inner.csv" in json.loads((fold.folder / "fold.json").read_text())["checksums"]
