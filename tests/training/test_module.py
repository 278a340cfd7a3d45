"""The LightningModule and the recorder in real training runs, and the dynamic image that needs no model."""

from itertools import product
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.plugins import MixedPrecision, Precision
from scipy.stats import kendalltau

from fdp_lightning.config import configuration
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.protocols.splits import Fold
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.dynamic_image import apex_index, dynamic_image
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.models.fdp.rank_losses import kendall_tau
from fdp_lightning.training.compute import PLAIN, Compute
from fdp_lightning.training.module import RecognitionModule, clips_of
from fdp_lightning.training.optimizer import OptimizerSettings
from fdp_lightning.training.recorder import Recorder
from tests.models.padding import double_sum

pytestmark = pytest.mark.costly

torch.set_num_threads(1)  # several test processes and workers share two cores

CLASSES = ["happiness", "disgust", "repression", "surprise", "others"]


def make_module(optimizer: OptimizerSettings, compute: Compute = PLAIN) -> RecognitionModule:
    network = build_model(configuration("model.mer_head.dropout=0.0"), len(CLASSES))
    return RecognitionModule(network, Objective(), optimizer, compute=compute)


def make_data(store_folder_path: Path, clips: pd.DataFrame, fold: Fold) -> FoldDataModule:
    return FoldDataModule(store_folder_path, clips.assign(target=clips["emotion"]), CLASSES, fold, batch_size=8)


@pytest.fixture
def targets(casme2_clips: pd.DataFrame) -> np.ndarray:
    """Classes of the clips that `held_out` tests."""
    return np.array([CLASSES.index(emotion) for emotion in casme2_clips["emotion"].iloc[10:15]])


@pytest.fixture
def held_out(store_folder_path: Path, casme2_clips: pd.DataFrame) -> FoldDataModule:
    """Two training subjects, and the third held out."""
    return make_data(store_folder_path, casme2_clips, Fold("03", tuple(range(10)), tuple(range(10, 15))))


def make_trainer(epochs: int, folder: Path, *callbacks: L.Callback, **options: object) -> L.Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return L.Trainer(
        accelerator="cpu", max_epochs=epochs, callbacks=list(callbacks), default_root_dir=folder,
        reload_dataloaders_every_n_epochs=1, **quiet, **options,
    )  # fmt: skip


def predicted(trainer: L.Trainer, module: RecognitionModule, data: FoldDataModule) -> np.ndarray:
    batches = trainer.predict(module, dataloaders=data.test_dataloader())
    return np.concatenate([batch["probabilities"].numpy() for batch in batches])


def test_kendall_tau_equals_scipys() -> None:
    scores = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    expected = [kendalltau(np.arange(8), row).statistic for row in scores.numpy()]
    time = torch.arange(8.0).expand(20, 8)
    np.testing.assert_allclose(kendall_tau(scores, time).numpy(), expected, atol=1e-6)
    assert (kendall_tau(torch.zeros(20, 8), time) == 0).all()
    # Two frames equally far from the apex have no order, so their pair does not count.
    assert kendall_tau(torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0]])) == 1


Learnt = tuple[RecognitionModule, FoldDataModule, list[dict[str, float]]]


@pytest.fixture(scope="module")
def learnt(store_folder_path: Path, casme2_clips: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    """A network that has memorised eight synthetic clips, the clips, and its curves."""
    L.seed_everything(0, verbose=False)
    data = make_data(store_folder_path, casme2_clips, Fold("all", tuple(range(8)), tuple(range(8))))
    recorder = Recorder(data.test_dataloader, lambda done: None)
    module = make_module(OptimizerSettings("adamw", lr=3e-3))
    make_trainer(100, tmp_path_factory.mktemp("learnt"), recorder).fit(module, datamodule=data)
    return module.eval(), data, recorder.curves


def test_eight_clips_can_be_memorised(learnt: Learnt) -> None:
    first, last = learnt[2][0], learnt[2][-1]
    assert last["test/accuracy"] == 1.0
    assert last["train/emotion_loss"] < 0.05
    assert last["train/rank_loss"] < 0.5 * first["train/rank_loss"]
    assert last["train/kendall_tau"] > 0.8
    assert last["train/dynamic_image_loss"] < first["train/dynamic_image_loss"]


@torch.no_grad()
def test_trained_rank_scores_reverse_with_the_clip_and_are_flat_for_static_clips(learnt: Learnt) -> None:
    module, data, _ = learnt
    frames = next(iter(data.test_dataloader()))["frames"]
    time = torch.arange(8.0).expand(len(frames), 8)
    moving = module(frames).rank_scores
    assert kendall_tau(moving, time).mean() > 0.8
    assert kendall_tau(module(frames.flip(1)).rank_scores, time).mean() < -0.8
    # The noise over time of aligned synthetic frames in which nothing moves (control=static).
    noise = 0.0024 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    static = module((frames[:, :1] + noise).clamp(0, 1)).rank_scores
    assert static.std(dim=1).mean() < 0.2 * moving.std(dim=1).mean()
    assert kendall_tau(static, time).mean().abs() < 0.3


def test_the_recorder_keeps_the_best_epoch_and_changes_no_weight(
    held_out: FoldDataModule, targets: np.ndarray, tmp_path: Path
) -> None:
    seen: list[int] = []
    weights, recorders = [], [Recorder(held_out.test_dataloader, seen.append) for _ in range(2)]
    for recorder, every in ((recorders[0], 1), (recorders[1], 3), (None, 1)):
        L.seed_everything(0, verbose=False)
        module = make_module(OptimizerSettings("adam", lr=1e-3))
        trainer = make_trainer(4, tmp_path, *filter(None, [recorder]))
        trainer.check_val_every_n_epoch = every
        trainer.fit(module, datamodule=held_out)
        weights.append({name: value.clone() for name, value in module.state_dict().items()})
    assert seen == [1, 2, 3, 4] * 2
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]) and torch.equal(value, weights[2][name]), name
    kept, few = recorders
    final = predicted(trainer, module, held_out)
    accuracies = [row["test/accuracy"] for row in kept.curves]
    assert kept.oracle is not None
    assert (kept.oracle.argmax(axis=1) == targets).mean() == max(accuracies)
    assert (final.argmax(axis=1) == targets).mean() == accuracies[-1]
    assert few.curves[-1] == kept.curves[-1]
    assert [row["epoch"] for row in few.curves if "test/accuracy" in row] == [3, 4]
    few.offer_to_oracle(np.array([[0.8, 0.2]]), 1.0)
    assert few.oracle is None


def test_inner_is_the_best_epoch_on_the_inner_subjects_and_sees_no_test_clip(
    store_folder_path: Path, casme2_clips: pd.DataFrame, tmp_path: Path
) -> None:
    data = make_data(store_folder_path, casme2_clips, Fold("03", tuple(range(5)), tuple(range(10, 15)), (5, 6, 7, 8)))
    captured: list[np.ndarray] = []

    def capture(epoch: int) -> None:
        assert recorder.inner is not None
        captured.append(recorder.inner.copy())

    recorder = Recorder(data.test_dataloader, capture, data.inner_dataloader)
    L.seed_everything(0, verbose=False)
    make_trainer(8, tmp_path, recorder).fit(make_module(OptimizerSettings("adam", lr=1e-2)), datamodule=data)
    assert recorder.inner is not None
    scores = [(row["inner/accuracy"], -row["inner/emotion_loss"]) for row in recorder.curves]
    best = scores.index(max(scores))
    assert len(set(scores)) > 1  # there was something to choose
    np.testing.assert_array_equal(recorder.inner, captured[best])
    assert all((one == recorder.inner).all() for one in captured[best:])


def test_the_oracle_is_never_worse_than_the_final_predictions_and_is_restored_from_a_checkpoint() -> None:
    recorder = Recorder(lambda: None, lambda done: None)
    recorder.curves, recorder.oracle, recorder._best = [{"epoch": 1}], np.array([[0.1, 0.9]]), {"oracle": [0.5]}
    again = Recorder(lambda: None, lambda done: None)
    again.load_state_dict(recorder.state_dict())
    np.testing.assert_array_equal(again.oracle, recorder.oracle)
    again.offer_to_oracle(np.array([[0.7, 0.3]]), 0.5)
    np.testing.assert_array_equal(again.oracle, recorder.oracle)
    again.offer_to_oracle(np.array([[0.8, 0.2]]), 0.6)  # possible if arithmetic is not reproducible
    np.testing.assert_array_equal(again.oracle, [[0.8, 0.2]])


def test_averaged_weights_predict_and_are_recorded(
    held_out: FoldDataModule, targets: np.ndarray, tmp_path: Path
) -> None:
    L.seed_everything(0, verbose=False)
    module = make_module(OptimizerSettings("adam", lr=1e-3))
    raw: dict[str, torch.Tensor] = {}

    class Last(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object) -> None:
            raw.update({name: p.detach().clone() for name, p in pl_module.named_parameters()})

    recorder = Recorder(held_out.test_dataloader, lambda done: None)
    trainer = make_trainer(4, tmp_path, Last(), EMAWeightAveraging(decay=0.8), recorder)
    trainer.fit(module, datamodule=held_out)
    assert any(not torch.allclose(raw[name], p) for name, p in module.named_parameters())
    loss = -np.log(predicted(trainer, module, held_out)[np.arange(5), targets]).mean()
    assert recorder.curves[-1]["test/emotion_loss"] == pytest.approx(loss, rel=1e-4)


def test_the_signed_target_is_scaled_by_training_clips_and_restored_from_a_checkpoint(held_out: FoldDataModule) -> None:
    clips = clips_of(held_out.train_set.all_clips())
    objective = Objective(image_scale="signed", image_kind="onset_apex")
    objective.fit(clips)
    image = dynamic_image(clips.frames, "onset_apex", apex=apex_index(clips.frames, clips.frame_number, clips.apex))
    shown = 0.5 + image / (8 * image.square().mean().sqrt())
    torch.testing.assert_close(objective.true_dynamic_image(clips), shown.clamp(0, 1))
    assert ((shown < 0) | (shown > 1)).float().mean() < 0.03  # four standard deviations clip few values
    again = Objective(image_scale="signed", image_kind="onset_apex")
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.true_dynamic_image(clips), objective.true_dynamic_image(clips))


SCALER = torch.amp.GradScaler("cpu", init_scale=1.0)


@pytest.mark.parametrize(
    "precision", [Precision(), MixedPrecision("bf16-mixed", "cpu"), MixedPrecision("16-mixed", "cpu", SCALER)]
)
def test_gradients_are_clipped_in_every_precision(
    precision: Precision, held_out: FoldDataModule, tmp_path: Path
) -> None:
    """An SGD step with a learning rate of 1 has the norm of the clipped gradient."""
    settings = OptimizerSettings("sgd", lr=1.0, weight_decay=0.0)
    module = make_module(settings, compute=Compute(freed_memory="default"))
    before = torch.cat([value.detach().flatten().clone() for value in module.model.parameters()])
    make_trainer(1, tmp_path, plugins=[precision], gradient_clip_val=1e-3, max_steps=1).fit(module, held_out)
    step = (torch.cat([value.detach().flatten() for value in module.model.parameters()]) - before).norm()
    assert step == pytest.approx(1e-3, rel=0.01)


def test_the_arp_of_the_input_is_the_weighted_sum_of_frames_on_the_scale_of_the_target() -> None:
    torch.manual_seed(0)
    frames = torch.rand(3, 8, 1, 64, 64)
    batch = {"frames": frames, "target": torch.tensor([0, 1, 2]), "index": torch.arange(3)}
    images = torch.einsum("t,bthw->bhw", torch.from_numpy(double_sum(8)), frames[:, :, 0].double())
    low, high = images.amin(dim=(1, 2), keepdim=True), images.amax(dim=(1, 2), keepdim=True)
    expected = {"min_max": (images - low) / (high - low), "signed": (0.5 + images / 16).clamp(0, 1)}
    network = build_model(configuration(), 5)
    for kind, scale in product(("exact", "simple", "onset_apex"), expected):
        objective = Objective(image_kind=kind, image_scale=scale)
        objective.image_rms.fill_(2.0)
        with torch.no_grad():
            found = RecognitionModule(network, objective, OptimizerSettings()).eval().predict_step(batch)
        torch.testing.assert_close(found["arp_of_input"].double(), expected[scale], atol=1e-5, rtol=0)
        assert torch.equal(found["arp_of_input"], found["true_dynamic_image"]) == (kind == "exact"), (kind, scale)
