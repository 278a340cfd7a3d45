"""The learning rate and the batch it is meant for."""

import pytest

from fdp_lightning.config import configuration
from fdp_lightning.engine.effective_batch import effective_batch
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import settings
from fdp_lightning.training.optimizer import OptimizerSettings

DDP = ["trainer=ddp_cpu", "trainer.devices=4", "data.batch_size=64"]


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1), ("sqrt", 2), ("linear", 4)])
def test_the_rate_follows_the_clips_per_step_and_is_scaled_once(scaling: str, factor: float) -> None:
    given = OptimizerSettings(lr=0.01, lr_scaling=scaling, lr_reference_batch=32)
    scaled = given.for_batch(128)
    assert scaled.lr == pytest.approx(0.01 * factor)
    assert scaled.for_batch(128) == scaled
    assert given.for_batch(32).lr == 0.01
    rules = OptimizerSettings(lr=0.01, lr_scaling=scaling, lr_reference_batch=32, weight_decay=0.5)
    assert rules.for_batch(128).weight_decay == 0.5


def test_a_scaled_rate_needs_the_batch_it_is_meant_for() -> None:
    with pytest.raises(ValueError, match=r"lr_scaling=sqrt with lr_reference_batch=None"):
        OptimizerSettings(lr_scaling="sqrt")
    with pytest.raises(ValueError, match=r"lr_reference_batch=0"):
        OptimizerSettings(lr_scaling="linear", lr_reference_batch=0)
    with pytest.raises(UserError, match=r"unknown lr_scaling 'cubic'; allowed are none, sqrt, linear"):
        settings(OptimizerSettings, configuration("model.optimizer.lr_scaling=cubic").model.optimizer)


def test_the_step_is_said_in_full() -> None:
    scaling = ["model.optimizer.lr_scaling=linear", "model.optimizer.lr_reference_batch=32"]
    config = configuration(*DDP, "+trainer.accumulate_grad_batches=2", *scaling, "model.optimizer.lr=1e-3")
    step = effective_batch(config, settings(OptimizerSettings, config.model.optimizer))
    assert step.facts() == {
        "batch_size": 64, "batch_per_device": 16, "devices": 4, "num_nodes": 1, "accumulate_grad_batches": 2,
        "effective_batch": 128, "sync_batchnorm": True, "lr": 4e-3, "lr_scaling": "linear",
    }  # fmt: skip
    said = "batch 64 = 4 × 16, 2 batches per step, 128 clips, batch norm over all, lr 0.004 (linear scaling)"
    assert str(step) == said
    alone = configuration("data.batch_size=36", "model.optimizer.lr=1e-3")
    assert str(effective_batch(alone, OptimizerSettings(lr=1e-3))) == "batch 36, lr 0.001"
    apart = configuration(*DDP, "trainer.sync_batchnorm=false")
    assert "batch norm of each device by itself" in str(effective_batch(apart, OptimizerSettings()))
