"""The optimizer: weight decay and learning rate of each parameter, and the rate by step and batch size."""

import math

import pytest
import torch

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build_model
from fdp_lightning.training.optimizer import OptimizerSettings


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"schedule": "step", "every": 3}, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]),
        ({"schedule": "step", "every": 3, "lowest": 0.4}, [1, 1, 1, 0.5, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4]),
        ({"schedule": "exponential", "every": 3}, [0.5 ** (step / 3) for step in range(10)]),
        ({"schedule": "cosine"}, [0.5 + 0.5 * math.cos(math.pi * step / 10) for step in range(10)]),
        ({"warmup": 0.4}, [0.25, 0.5, 0.75, *[1] * 7]),
    ],
)
def test_the_rate_by_step(options: dict, expected: list[float]) -> None:
    built = OptimizerSettings("sgd", 0.9, lr=0.1, gamma=0.5, **options).build(torch.nn.Linear(2, 1), steps=10)
    optimizer, schedule, rates = built["optimizer"], built["lr_scheduler"]["scheduler"], []
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["momentum"] == 0.9
    for _ in range(10):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.1 * factor for factor in expected])


@pytest.mark.parametrize(
    "wrong",
    [{"name": "adam", "momentum": 0.9}, {"schedule": "step"}, {"lr_scaling": "sqrt"}, {"rules": {"a": {"b": 1}}}],
)
def test_impossible_combinations_are_rejected(wrong: dict) -> None:
    with pytest.raises(ValueError, match="|".join(wrong).removesuffix("s")):
        OptimizerSettings(**wrong)


def test_rules_set_rate_and_decay_of_a_part_and_the_longest_name_applies() -> None:
    """Without a rule, norms and biases do not decay."""
    network = build_model(configuration(), 5)
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
    with pytest.raises(ValueError, match=r"backbon .*backbone"):
        OptimizerSettings(rules={"backbon": {"lr": 0.1}}).groups(network)


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1), ("sqrt", 2), ("linear", 4)])
def test_the_rate_is_scaled_with_the_batch_size_once(scaling: str, factor: float) -> None:
    given = OptimizerSettings(lr=0.01, lr_scaling=scaling, lr_reference_batch=32)
    scaled = given.for_batch(128)
    assert scaled.lr == pytest.approx(0.01 * factor)
    assert scaled.for_batch(128) == scaled
    assert given.for_batch(32).lr == 0.01
