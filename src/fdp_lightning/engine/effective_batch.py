"""Clips of one optimizer step, devices, and the learning rate for them."""

from dataclasses import asdict, dataclass

from omegaconf import DictConfig

from fdp_lightning.engine.ddp_processes import ranks_of
from fdp_lightning.training.optimizer import OptimizerSettings


@dataclass(frozen=True)
class EffectiveBatch:
    """The clips of one optimizer step.

    `data.batch_size` counts the clips of all devices together, so that batch and learning rate do not depend on the
    number of devices.

    Attributes:
        batch_size: clips of all devices per batch.
        batch_per_device: clips of each device per batch.
        devices: devices of each machine.
        num_nodes: number of machines.
        accumulate_grad_batches: batches per step.
        effective_batch: clips per step.
        sync_batchnorm: True if batch norm takes its statistics over all devices, False if over those of each.
        lr: largest learning rate, scaled.
        lr_scaling: rule of the scaling.
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

    def facts(self) -> dict[str, int | float | bool | str]:
        """Return the facts by name, for fold.json and the loggers."""
        return asdict(self)

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
    """Return the effective batch of a configuration.

    Args:
        config: configuration of the run.
        optimizer: settings of the optimizer, not scaled yet.
    """
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
