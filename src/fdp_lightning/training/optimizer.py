"""The optimizer and its schedule."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
_SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class OptimizerSettings:
    """How the network is optimised.

    Args:
        name: 'adam' or 'adamw'.
        lr: the largest learning rate.
        weight_decay: on weights of convolutions and linear layers alone; norms and biases have none (O).
        schedule: 'constant', or 'cosine' down to zero over the whole training.
        warmup: share of the steps over which the rate rises from zero.
    """

    name: str = "adam"
    lr: float = 1e-4
    weight_decay: float = 1e-3
    schedule: str = "constant"
    warmup: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in _OPTIMIZERS:
            raise ValueError(f"unknown optimizer name '{self.name}'; allowed are {', '.join(_OPTIMIZERS)}")
        if self.schedule not in _SCHEDULES:
            raise ValueError(f"unknown schedule '{self.schedule}'; allowed are {', '.join(_SCHEDULES)}")

    def build(self, model: nn.Module, steps: int) -> dict[str, Any]:
        """Lightning's optimizer configuration for a training of `steps` steps."""
        weights = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = _OPTIMIZERS[self.name](groups, lr=self.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._factor(step, max(1, steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _factor(self, step: int, steps: int) -> float:
        warm = round(self.warmup * steps)
        if step < warm:
            return (step + 1) / warm
        if self.schedule == "constant":
            return 1.0
        progress = (step - warm) / max(1, steps - warm)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
