"""The optimizer: weight decay and learning rate of each parameter, and the rate by step and batch size."""

import pytest
import torch

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.fdp.network import FDP
from fdp_lightning.training.optimizer import OptimizerSettings


@pytest.fixture(scope="module")
def network() -> FDP:
    return build_model(configuration(), 5)


def test_norms_and_biases_do_not_decay_and_the_cosine_ends_at_zero(network: FDP) -> None:
    settings = OptimizerSettings("adamw", lr=0.1, weight_decay=0.5, schedule="cosine", warmup=0.1)
    built = settings.build(network, steps=100)
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


@pytest.mark.parametrize(
    ("schedule", "lowest", "expected"),
    [
        ("step", 0.0, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]),
        ("exponential", 0.0, [0.5 ** (step / 3) for step in range(10)]),
        ("step", 0.4, [1, 1, 1, 0.5, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4]),
    ],
)
def test_step_and_exponential_schedules(schedule: str, lowest: float, expected: list[float]) -> None:
    settings = OptimizerSettings("sgd", 0.9, lr=0.1, schedule=schedule, gamma=0.5, every=3, lowest=lowest)
    built = settings.build(torch.nn.Linear(2, 1), steps=10)
    optimizer, rates = built["optimizer"], []
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["momentum"] == 0.9
    for _ in range(10):
        rates.append(built["lr_scheduler"]["scheduler"].get_last_lr()[0])
        optimizer.step()
        built["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([0.1 * factor for factor in expected])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"name": "adam", "momentum": 0.9}, "momentum"), ({"schedule": "step"}, "every"),
        ({"lr_scaling": "sqrt"}, "lr_reference_batch"), ({"rules": {"stem": {"rate": 1}}}, "rate"),
        ({"rules": {"stem": {"lr": -1.0}}}, "stem"),
    ],
)  # fmt: skip
def test_impossible_combinations_are_rejected(wrong: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        OptimizerSettings(**wrong)


def test_rules_set_rate_and_decay_of_a_part_and_the_longest_name_applies(network: FDP) -> None:
    rules = {"backbone": {"lr": 0.1}, "backbone.stem": {"lr": 0.01, "weight_decay": 0.0}}
    groups = OptimizerSettings("adamw", lr=1.0, weight_decay=0.5, rules=rules).groups(network)
    of = {p: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(of) == len(list(network.parameters()))
    for name, p in network.named_parameters():
        rate = 0.01 if name.startswith("backbone.stem.") else 0.1 if name.startswith("backbone.") else 1.0
        decay = 0.5 if p.ndim > 1 and not name.startswith("backbone.stem.") else 0.0
        assert of[p] == pytest.approx((rate, decay)), name
    everywhere = OptimizerSettings(weight_decay=0.5, decay_all=True).groups(network)
    assert [g["weight_decay"] for g in everywhere] == [0.5]
    with pytest.raises(ValueError, match="backbon .*backbone"):
        OptimizerSettings(rules={"backbon": {"lr": 0.1}}).groups(network)


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1), ("sqrt", 2), ("linear", 4)])
def test_the_rate_is_scaled_with_the_batch_size_once(scaling: str, factor: float) -> None:
    given = OptimizerSettings(lr=0.01, lr_scaling=scaling, lr_reference_batch=32)
    scaled = given.for_batch(128)
    assert scaled.lr == pytest.approx(0.01 * factor)
    assert scaled.for_batch(128) == scaled
    assert given.for_batch(32).lr == 0.01
