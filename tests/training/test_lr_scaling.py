"""The learning rate and the batch it is meant for."""

import pytest

from fdp_lightning.training.optimizer import OptimizerSettings


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
