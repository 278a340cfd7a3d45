"""Clips of one optimizer step, devices, and the learning rate for them."""

from dataclasses import dataclass

from omegaconf import DictConfig

from fdp_lightning.engine.ddp_processes import ranks_of
from fdp_lightning.training.optimizer import OptimizerSettings


@dataclass(frozen=True)
class EffectiveBatch:
    """The clips of one optimizer step, as fold.json and the loggers have them.

    `data.batch_size` counts the clips of all devices together, so that batch and learning rate do not depend on the
    number of devices: `batch_size` and `batch_per_device` are of a batch, `effective_batch` is of a step of
    `accumulate_grad_batches` batches. `devices` are those of each of `num_nodes` machines; `sync_batchnorm` is True
    if batch norm takes its statistics over all of them; `lr` is the largest learning rate, scaled by `lr_scaling`.
    """

    batch_size: int
    batch_per_device: int
    devices: int
    num_nodes: int
    accumulate_grad_batches: int
    effective_batch: int
    sync_batchnorm: bool
    lr: float
    lr_scaling: str

    def __str__(self) -> str:
        devices = self.devices * self.num_nodes
        parts = [f"batch {self.batch_size}" + (f" = {devices} × {self.batch_per_device}" if devices > 1 else "")]
        if self.accumulate_grad_batches > 1:
            parts.append(f"{self.accumulate_grad_batches} batches per step, {self.effective_batch} clips")
        if devices > 1:
            parts.append(f"batch norm {'over all' if self.sync_batchnorm else 'of each device by itself'}")
        how = "" if self.lr_scaling == "none" else f" ({self.lr_scaling} scaling)"
        return ", ".join([*parts, f"lr {self.lr:g}{how}"])


def effective_batch(config: DictConfig, optimizer: OptimizerSettings) -> EffectiveBatch:
    """Return the effective batch of a configuration, from settings of the optimizer that are not scaled yet."""
    trainer, size = config.trainer, config.data.batch_size
    accumulated = trainer.get("accumulate_grad_batches") or 1
    ranks = ranks_of(trainer)
    return EffectiveBatch(
        batch_size=size,
        batch_per_device=size // ranks,
        devices=trainer.get("devices", 1),
        num_nodes=trainer.get("num_nodes", 1),
        accumulate_grad_batches=accumulated,
        effective_batch=size * accumulated,
        sync_batchnorm=bool(trainer.get("sync_batchnorm", False)) and ranks > 1,
        lr=optimizer.for_batch(size * accumulated).lr,
        lr_scaling=optimizer.lr_scaling,
    )
