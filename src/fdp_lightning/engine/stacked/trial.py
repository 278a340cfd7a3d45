"""Trial step of a stack, which shows whether torch can map a model and its losses over it."""

import torch
from omegaconf import DictConfig

from fdp_lightning.engine.stacked.check import INSTEAD
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import build, build_model, input_shape, settings
from fdp_lightning.labels import LabelKind
from fdp_lightning.training.compute import Compute
from fdp_lightning.training.module import RecognitionModule
from fdp_lightning.training.optimizer import OptimizerSettings
from fdp_lightning.training.stack import Clipping, Stack


def try_stack(config: DictConfig) -> None:
    """Train a stack of two networks of this configuration for one step on noise.

    Raises:
        UserError: torch cannot map an operation of the model or of its losses over a stack.
    """
    k, t = len(config.protocol.classes), config.data.sampling.frames
    label_kind = LabelKind.of_column(config.protocol.column)
    modules = [
        RecognitionModule(
            build_model(config, k),
            build(config.model.objective, class_counts=[1] * k, train_clips=k, label_kind=label_kind),
            settings(OptimizerSettings, config.model.optimizer),
            compute=settings(Compute, config.compute),
        )
        for _ in range(2)
    ]
    batch = {
        "frames": torch.rand(2, 2, *input_shape(config)),
        "frame_number": torch.arange(float(t)).repeat(2, 2, 1),
        "apex": torch.full((2, 2), torch.nan),
        "target": torch.zeros(2, 2, k) if label_kind.is_multi else torch.zeros(2, 2, dtype=torch.long),
    }
    try:
        Stack(modules, 1, Clipping(1.0)).step(batch, [torch.Generator().manual_seed(seed) for seed in (0, 1)])
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"loso.engine=stacked cannot train this model: {reason}\n  {INSTEAD}") from error
