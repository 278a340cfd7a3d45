"""Check all options before any fold starts; torch is imported here."""

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.engine.classical import check_classical, is_classical
from fdp_lightning.engine.devices import ranks_of
from fdp_lightning.engine.plan import Budget, Checked
from fdp_lightning.engine.train_fold import check_trainer, effective_batch
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import build, build_model, input_shape, settings
from fdp_lightning.labels import LabelKind
from fdp_lightning.models.recognizer import with_logits
from fdp_lightning.runs.folder import model_name
from fdp_lightning.training.compute import Compute
from fdp_lightning.training.optimizer import OptimizerSettings


def check_options(config: DictConfig) -> Checked:
    """Build everything once and raise UserError for impossible options, before any fold starts."""
    if config.task == "fit" and config.input.kind == "maps":
        raise UserError(
            f"task=fit writes a model for videos, but data={config.data.name} has precomputed flow maps instead of "
            "frames; expected a dataset of frames, with input=apex_flow"
        )
    if is_classical(config.model):
        return Checked(0, check_classical(config))
    if config.data.batch_size % (processes := ranks_of(config.trainer)):
        raise UserError(
            f"data.batch_size is {config.data.batch_size}, but each batch is split evenly between {processes} "
            f"processes (trainer.devices): expected a multiple of {processes}"
        )
    if not str(budget := Budget.of(config.trainer)):
        raise UserError(
            "the training has no end: expected trainer.max_steps (from model.optimizer.steps), trainer.max_epochs or "
            "+trainer.max_time"
        )
    check_trainer(config)
    _check_augmentation(config)
    compute: Compute = settings(Compute, config.compute)
    model = build_model(config, len(config.protocol.classes))
    _check_network(config, model)
    if compute.checkpointing and not any(hasattr(part, "checkpointing") for part in model.modules()):
        raise UserError(
            f"compute.checkpointing={compute.checkpointing}: {model_name(config)} has no parts that can be "
            "recomputed; expected compute.checkpointing=null, or one of this project's own backbones"
        )
    build(config.model.objective, label_kind=LabelKind.of_column(config.protocol.column))
    optimizer: OptimizerSettings = settings(OptimizerSettings, config.model.optimizer)
    if optimizer.needs_end and budget.steps is None and budget.epochs is None:
        raise UserError(
            f"model.optimizer has schedule={optimizer.schedule} and warmup={optimizer.warmup}, which need a known "
            "number of steps: expected trainer.max_steps or trainer.max_epochs in addition to trainer.max_time"
        )
    try:
        optimizer.groups(model)
    except ValueError as error:
        raise UserError(f"{error} (in model.optimizer)") from error
    return Checked(sum(p.numel() for p in model.parameters()), f"{effective_batch(config, optimizer)}, until {budget}")


def _check_network(config: DictConfig, network: nn.Module) -> None:
    """Raise UserError for a network that does not accept clips of this configuration, or returns other logits."""
    shape, expected = (1, *input_shape(config)), (1, len(config.protocol.classes))
    try:
        with torch.no_grad():
            logits = with_logits(network.eval()(torch.zeros(shape))).logits
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{model_name(config)} does not accept clips of shape {shape}: {error}") from error
    if logits.shape != expected:
        raise UserError(f"{model_name(config)} returns logits of shape {tuple(logits.shape)}; expected {expected}")


def _check_augmentation(config: DictConfig) -> None:
    """Raise UserError for transforms that fail on the frames of this configuration or change their size."""
    if not config.data.augmentation:
        return
    augmentation = build(config.data.augmentation)
    faces: FaceSettings = settings(FaceSettings, config.data.faces)
    clip = np.zeros((config.data.sampling.frames, *faces.frame_shape), np.uint8)
    for seed in range(20):  # a rare transform may not be applied the first time
        augmentation(clip, seed)
