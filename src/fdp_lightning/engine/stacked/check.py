"""Check of the options of `loso.engine=stacked` before anything is trained."""

from typing import Any

from omegaconf import DictConfig

from fdp_lightning.engine.ddp_processes import ranks_of
from fdp_lightning.errors import UserError
from fdp_lightning.tracking.loggers import uses_wandb

ENGINES = ("processes", "stacked")

_PRECISIONS = ("32-true", "32", "64-true", "64", "bf16-mixed")
INSTEAD = "loso.engine=processes trains each fold by itself and takes it"

# Options of the Trainer that the engine supports or that do not affect it. Any other is refused.
_FOLLOWED = {
    "accelerator", "devices", "num_nodes", "strategy", "sync_batchnorm", "precision", "deterministic", "benchmark",
    "max_epochs", "max_steps", "gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches",
    "check_val_every_n_epoch",
}  # fmt: skip


def check_engine(config: DictConfig, launched: bool) -> None:
    """Check that the engine exists and that the stacked one supports all options.

    Args:
        config: configuration of the run.
        launched: True if torchrun or srun started the command once per device.

    Raises:
        UserError: an option is not supported, with the engine that supports it.
    """
    engine, stack = config.loso.engine, config.loso.stack
    if engine not in ENGINES:
        raise UserError(f"loso.engine is {engine!r}; expected one of {', '.join(ENGINES)}")
    if stack is not None and stack < 1:
        raise UserError(f"loso.stack is {stack}; expected how many folds a stack may hold, 1 or more, or null")
    if engine != "stacked":
        return
    if launched:
        raise UserError(f"loso.engine=stacked trains its folds in one process, not in those of torchrun; {INSTEAD}")
    trainer = config.trainer
    if ranks_of(trainer) > 1:
        raise UserError(f"loso.engine=stacked trains all folds of a stack on one device (trainer.devices=1); {INSTEAD}")
    if str(trainer.get("precision") or "32-true") not in _PRECISIONS:
        raise UserError(
            f"loso.engine=stacked takes trainer.precision of {', '.join(_PRECISIONS)}, found {trainer.precision}; "
            f"{INSTEAD}"
        )
    neutral: dict[str, Any] = {"accumulate_grad_batches": 1}
    for name, value in trainer.items():
        if name not in _FOLLOWED and value is not None and value != neutral.get(str(name)):
            raise UserError(f"loso.engine=stacked does not follow trainer.{name}={value}; {INSTEAD}")
    limit = trainer.get("limit_train_batches")
    if limit is not None and not isinstance(limit, int):
        raise UserError(f"loso.engine=stacked takes trainer.limit_train_batches as a number, found {limit}; {INSTEAD}")
    for name in ("compile", "checkpointing"):
        if config.compute[name] is not None:
            raise UserError(f"loso.engine=stacked does not follow compute.{name}={config.compute[name]}; {INSTEAD}")
    if uses_wandb(config):
        raise UserError(
            f"logger=wandb opens one run per process, and loso.engine=stacked has many folds in one; {INSTEAD}"
        )
