"""What cannot be trained as a stack of folds (`loso.engine=stacked`) is refused before anything is trained."""

from typing import Any

from omegaconf import DictConfig

from fdp_lightning.data.targets import is_multi_label
from fdp_lightning.errors import UserError
from fdp_lightning.tasks.loggers import uses_wandb
from fdp_lightning.tasks.ranks import ranks_of

ENGINES = ("processes", "stacked")

_PRECISIONS = ("32-true", "32", "64-true", "64", "bf16-mixed")
_INSTEAD = "loso.engine=processes trains each fold by itself and takes it"

# Options of the Trainer that the engine follows, and those that change nothing in it. Any other one is refused.
_FOLLOWED = {
    "accelerator", "devices", "num_nodes", "strategy", "sync_batchnorm", "precision", "deterministic", "benchmark",
    "max_epochs", "max_steps", "gradient_clip_val", "gradient_clip_algorithm", "limit_train_batches",
    "check_val_every_n_epoch",
}  # fmt: skip


def check_engine(config: DictConfig, launched: bool) -> None:
    """Refuse an engine that there is not, and options that the stacked one does not follow.

    Args:
        config: the configuration.
        launched: whether torchrun or srun has started the command once per device.

    Raises:
        UserError: naming the option and what takes it.
    """
    engine, stack = config.loso.engine, config.loso.stack
    if engine not in ENGINES:
        raise UserError(f"loso.engine is {engine!r}; expected one of {', '.join(ENGINES)}")
    if stack is not None and stack < 1:
        raise UserError(f"loso.stack is {stack}; expected how many folds a stack may hold, 1 or more, or null")
    if engine != "stacked":
        return
    if launched:
        raise UserError(f"loso.engine=stacked trains its folds in one process, not in those of torchrun; {_INSTEAD}")
    trainer = config.trainer
    if ranks_of(trainer) > 1:
        raise UserError(
            f"loso.engine=stacked trains all folds of a stack on one device (trainer.devices=1); {_INSTEAD}"
        )
    if str(trainer.get("precision") or "32-true") not in _PRECISIONS:
        raise UserError(
            f"loso.engine=stacked takes trainer.precision of {', '.join(_PRECISIONS)}, found {trainer.precision}; "
            f"{_INSTEAD}"
        )
    neutral: dict[str, Any] = {"accumulate_grad_batches": 1}
    for name, value in trainer.items():
        if name not in _FOLLOWED and value is not None and value != neutral.get(str(name)):
            raise UserError(f"loso.engine=stacked does not follow trainer.{name}={value}; {_INSTEAD}")
    limit = trainer.get("limit_train_batches")
    if limit is not None and not isinstance(limit, int):
        raise UserError(f"loso.engine=stacked takes trainer.limit_train_batches as a number, found {limit}; {_INSTEAD}")
    for name in ("compile", "checkpointing"):
        if config.compute[name] is not None:
            raise UserError(f"loso.engine=stacked does not follow compute.{name}={config.compute[name]}; {_INSTEAD}")
    if uses_wandb(config):
        raise UserError(
            f"logger=wandb opens one run per process, and loso.engine=stacked has many folds in one; {_INSTEAD}"
        )


def try_stack(config: DictConfig) -> None:
    """Train two networks of this configuration for a step on noise, as a stack.

    Raises:
        UserError: torch cannot map an operation of the model or of its losses over a stack.
    """
    import torch

    from fdp_lightning.tasks.build import build, build_model, settings
    from fdp_lightning.training.compute import Compute
    from fdp_lightning.training.module import FDPModule
    from fdp_lightning.training.optimizer import OptimizerSettings
    from fdp_lightning.training.stack import Clipping, Stack

    k, t = len(config.protocol.classes), config.data.sampling.frames
    multi_label = is_multi_label(config.protocol.column)
    modules = [
        FDPModule(
            build_model(config, k),
            build(config.model.objective, class_counts=[1] * k, train_clips=k, multi_label=multi_label),
            settings(OptimizerSettings, config.model.optimizer),
            compute=settings(Compute, config.compute),
        )
        for _ in range(2)
    ]
    colours = 3 if config.data.faces.colour == "rgb" else 1
    batch = {
        "frames": torch.rand(2, 2, t, colours, config.data.faces.size, config.data.faces.size),
        "frame_number": torch.arange(float(t)).repeat(2, 2, 1),
        "apex": torch.full((2, 2), torch.nan),
        "target": torch.zeros(2, 2, k) if multi_label else torch.zeros(2, 2, dtype=torch.long),
    }
    try:
        Stack(modules, 1, Clipping(1.0)).step(batch, [torch.Generator().manual_seed(seed) for seed in (0, 1)])
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"loso.engine=stacked cannot train this model: {reason}\n  {_INSTEAD}") from error
