"""The optimizer and its learning-rate schedule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
SCHEDULES = ("constant", "cosine", "step", "exponential")
_FACTORS = ("lr", "weight_decay")
_LR_SCALINGS = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}


@dataclass(frozen=True)
class OptimizerSettings:
    """Settings of the optimizer. Single values are checked in console/option_values.py, their combinations here.

    Args:
        name: 'adam', 'adamw' or 'sgd'.
        momentum: momentum of 'sgd'.
        lr: largest learning rate.
        lr_scaling: scaling of `lr` with the number b of clips per step, by (b / lr_reference_batch)^p: 'none' p = 0,
            'sqrt' p = ½ (usual for Adam), 'linear' p = 1 (for SGD; Goyal et al., arXiv 1706.02677). The number of
            devices does not change b, because `data.batch_size` counts the clips of all devices.
        lr_reference_batch: clips per step that `lr` is meant for.
        weight_decay: weight decay of convolutions and linear layers.
        decay_all: apply weight decay to norms and biases too, as in the released code (R); otherwise they have none
            (O).
        rules: factors of `lr` and `weight_decay` by part of the network. A part is the name of a module, such as
            'backbone' or 'backbone.stem'; of several that contain a parameter, the longest name applies.
        schedule: factor on the rate after s steps: 'constant'; 'cosine' down to zero over the whole training; 'step'
            gamma^⌊s / every⌋; 'exponential' gamma^(s / every).
        gamma: base of 'step' and 'exponential'.
        every: steps per factor gamma; the steps of an epoch if the recipe counts epochs.
        lowest: lower limit of the factor.
        warmup: share of the steps over which the rate rises from zero.
        gradient_clip: limit of the gradient norm, passed to `trainer.gradient_clip_val`; None for no limit.
        ema: decay per step of an exponential moving average of the weights, which is then used for prediction; None for
            no average.
        batch_norm: statistics used for prediction: 'recomputed' on training clips for the final weights (O), or
            'running' from the training steps (R).
        batch_norm_clips: largest number of training clips, drawn once per fold, for recomputing the statistics.
        steps: number of training steps, passed to `trainer.max_steps`; None if another budget ends the training.
    """

    name: str = "adam"
    momentum: float = 0.0
    lr: float = 1e-4
    lr_scaling: str = "none"
    lr_reference_batch: int | None = None
    weight_decay: float = 1e-3
    decay_all: bool = False
    rules: Mapping[str, Mapping[str, float]] | None = None
    schedule: str = "constant"
    gamma: float = 0.5
    every: int | None = None
    lowest: float = 0.0
    warmup: float = 0.0
    gradient_clip: float | None = 1.0
    ema: float | None = None
    batch_norm: str = "recomputed"
    batch_norm_clips: int = 72
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.lr_scaling != "none" and self.lr_reference_batch is None:
            raise ValueError(
                f"lr_scaling={self.lr_scaling} needs lr_reference_batch: the clips per step that lr is meant for"
            )
        if self.momentum and self.name != "sgd":
            raise ValueError(f"momentum={self.momentum} applies to name=sgd only; name={self.name} has its own betas")
        if self.schedule in ("step", "exponential") and self.every is None:
            raise ValueError(f"schedule={self.schedule} needs every: the steps per factor gamma on the rate")
        for part, factors in (self.rules or {}).items():
            if not isinstance(factors, Mapping) or set(factors) - set(_FACTORS):
                raise ValueError(f"unknown rule {part}: {factors}; allowed are factors of {' and '.join(_FACTORS)}")
            if not all(isinstance(value, int | float) and value >= 0 for value in factors.values()):
                raise ValueError(f"rule {part}: {factors}; expected factors of at least 0")

    @property
    def needs_end(self) -> bool:
        """True if the learning rate depends on the total number of steps."""
        return self.schedule == "cosine" or self.warmup > 0

    def for_batch(self, clips: int) -> "OptimizerSettings":
        """Return the settings for steps of `clips` clips, with `lr` already scaled."""
        if self.lr_scaling == "none" or self.lr_reference_batch is None:
            return self
        factor = (clips / self.lr_reference_batch) ** _LR_SCALINGS[self.lr_scaling]
        return replace(self, lr=self.lr * factor, lr_scaling="none")

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Return a parameter group for each pair of learning rate and weight decay.

        Raises:
            ValueError: `rules` name an unknown part.
        """
        rules = self.rules or {}
        parts = {name for name, _ in model.named_modules() if name}
        if unknown := sorted(set(rules) - parts):
            top = ", ".join(sorted(name for name, _ in model.named_children()))
            raise ValueError(
                f"unknown part {', '.join(unknown)} in optimizer.rules; allowed are {top}, and parts of them"
            )
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in model.named_parameters():
            holding = [part for part in rules if name.startswith(f"{part}.")]
            factors: Mapping[str, float] = rules[max(holding, key=len)] if holding else {}
            decay = self.weight_decay if parameter.ndim > 1 or self.decay_all else 0.0
            key = (self.lr * factors.get("lr", 1.0), decay * factors.get("weight_decay", 1.0))
            groups.setdefault(key, []).append(parameter)
        return [{"params": group, "lr": lr, "weight_decay": decay} for (lr, decay), group in groups.items()]

    def build(self, model: nn.Module, steps: int, fused: bool = False) -> dict[str, Any]:
        """Return Lightning's optimizer configuration for `steps` steps; `fused` uses one kernel per step."""
        options = {"momentum": self.momentum} if self.name == "sgd" else {}
        optimizer = OPTIMIZERS[self.name](self.groups(model), lr=self.lr, fused=fused, **options)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._factor(step, max(1, steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _factor(self, step: int, steps: int) -> float:
        warm = round(self.warmup * steps)
        if step < warm:
            return (step + 1) / warm
        step, steps = step - warm, max(1, steps - warm)
        if self.schedule == "constant":
            return max(self.lowest, 1.0)
        if self.schedule == "cosine":
            return max(self.lowest, 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps))))
        assert self.every is not None
        return max(self.lowest, self.gamma ** (step // self.every if self.schedule == "step" else step / self.every))
