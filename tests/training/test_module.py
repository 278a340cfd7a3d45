"""The LightningModule and the recorder in real trainings."""

from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from scipy.stats import kendalltau

from fdp_lightning.config import CONF_DIR, register_schema
from fdp_lightning.data.datamodule import FoldDataModule
from fdp_lightning.data.splits import Fold
from fdp_lightning.models.objective import Objective
from fdp_lightning.tasks.build import build_model
from fdp_lightning.training.module import FDPModule, kendall_tau
from fdp_lightning.training.optimizer import OptimizerSettings
from fdp_lightning.training.recorder import HeldOutRecorder

torch.set_num_threads(1)  # several test processes and workers share two cores

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]


def make_module(optimizer: OptimizerSettings, provenance: dict | None = None) -> FDPModule:
    register_schema()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("config", overrides=["model.mer_head.dropout=0.0"])
    return FDPModule(build_model(config, len(CLASSES)), Objective(), optimizer, provenance)


def make_data(store_folder_path: Path, clips: pd.DataFrame, fold: Fold) -> FoldDataModule:
    return FoldDataModule(store_folder_path, clips.assign(target=clips["emotion"]), CLASSES, fold, batch_size=8)


def make_trainer(epochs: int, folder: Path, *callbacks: L.Callback, **options: object) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        **options,
    )


def test_tau_is_that_of_scipy() -> None:
    scores = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    expected = [kendalltau(np.arange(8), row).statistic for row in scores.numpy()]
    np.testing.assert_allclose(kendall_tau(scores).numpy(), expected, atol=1e-6)
    assert kendall_tau(torch.arange(8.0)[None]) == 1
    assert kendall_tau(torch.arange(8.0).flip(0)[None]) == -1
    assert kendall_tau(torch.zeros(1, 8)) == 0


def test_eight_clips_can_be_learnt_by_heart(
    store_folder_path: Path, casme2_clips: pd.DataFrame, tmp_path: Path
) -> None:
    L.seed_everything(0, verbose=False)
    rows = tuple(range(8))
    data = make_data(store_folder_path, casme2_clips, Fold("all", rows, rows))
    recorder = HeldOutRecorder(data.test_dataloader, lambda done: None)
    module = make_module(OptimizerSettings("adamw", lr=3e-3))
    make_trainer(100, tmp_path, recorder).fit(module, datamodule=data)
    first, last = recorder.curves[0], recorder.curves[-1]
    assert last["test/accuracy"] == 1.0
    assert last["train/emotion_loss"] < 0.05
    assert last["train/rank_loss"] < 0.5 * first["train/rank_loss"]
    assert last["train/kendall_tau"] > 0.8
    assert last["train/dynamic_image_loss"] < first["train/dynamic_image_loss"]


def test_the_recorder_keeps_the_first_best_epoch_and_changes_no_weight(
    store_folder_path: Path, casme2_clips: pd.DataFrame, tmp_path: Path
) -> None:
    fold = Fold("03", tuple(range(10)), tuple(range(10, 15)))
    seen: list[int] = []
    weights = []
    for with_recorder in (True, False):
        L.seed_everything(0, verbose=False)
        data = make_data(store_folder_path, casme2_clips, fold)
        recorder = HeldOutRecorder(data.test_dataloader, seen.append)
        module = make_module(OptimizerSettings("adam", lr=1e-3))
        trainer = make_trainer(4, tmp_path, *([recorder] if with_recorder else []))
        trainer.fit(module, datamodule=data)
        weights.append({name: value.clone() for name, value in module.state_dict().items()})
        if with_recorder:
            batches = trainer.predict(module, dataloaders=data.test_dataloader())
            final = np.concatenate([batch["probabilities"].numpy() for batch in batches])
            kept = recorder
    assert seen == [1, 2, 3, 4]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    accuracies = [row["test/accuracy"] for row in kept.curves]
    targets = np.array([CLASSES.index(emotion) for emotion in casme2_clips["emotion"].iloc[10:15]])
    assert kept.oracle is not None
    assert (kept.oracle.argmax(axis=1) == targets).mean() == max(accuracies)
    assert (final.argmax(axis=1) == targets).mean() == accuracies[-1]


def test_a_checkpoint_is_read_without_running_pickled_code_and_predicts_the_same(
    store_folder_path: Path, casme2_clips: pd.DataFrame, tmp_path: Path
) -> None:
    fold = Fold("03", tuple(range(10)), tuple(range(10, 15)))
    data = make_data(store_folder_path, casme2_clips, fold)
    module = make_module(OptimizerSettings(), {"classes": CLASSES, "fold": "03"})
    trainer = make_trainer(1, tmp_path)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["fdp_lightning"] == {"classes": CLASSES, "fold": "03"}
    other = make_module(OptimizerSettings())
    other.load_state_dict(checkpoint["state_dict"])
    batch = next(iter(data.test_dataloader()))
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(batch["frames"]).logits, module.eval()(batch["frames"]).logits)


def test_norms_and_biases_do_not_decay_and_the_cosine_ends_at_zero() -> None:
    module = make_module(OptimizerSettings("adamw", lr=0.1, weight_decay=0.5, schedule="cosine", warmup=0.1))
    built = module.optimizer_settings.build(module.model, steps=100)
    decaying, other = built["optimizer"].param_groups
    assert {p.ndim for p in other["params"]} == {1}
    assert other["weight_decay"] == 0 and decaying["weight_decay"] == 0.5
    schedule, rates = built["lr_scheduler"]["scheduler"], []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        built["optimizer"].step()
        schedule.step()
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.1)
    assert schedule.get_last_lr()[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("options", [{"name": "sgd9"}, {"schedule": "step"}])
def test_unknown_optimizer_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"unknown .* allowed are"):
        OptimizerSettings(**options)
