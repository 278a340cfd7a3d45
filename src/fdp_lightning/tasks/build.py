"""From configuration to objects: the one place where `hydra.utils.instantiate` is called."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.data.prepare_clip import FaceSettings
from fdp_lightning.data.protocol import Protocol
from fdp_lightning.data.targets import is_multi_label
from fdp_lightning.errors import UserError
from fdp_lightning.tasks.budget import Budget
from fdp_lightning.tasks.ranks import ranks_of


def build(node: DictConfig, **arguments: Any) -> Any:
    """Instantiate a node, with plain lists and dictionaries.

    A value that the object refuses is the user's mistake; anything else is a bug and raised as it is.
    """
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, ValueError):
            raise UserError(f"{error.__cause__} (in {node._get_full_key('')})") from error
        if isinstance(error.__cause__, TypeError) and "unexpected keyword" in str(error.__cause__):
            raise UserError(f"{error.__cause__} (in {node._get_full_key('')})") from error
        raise


def settings(kind: type, node: DictConfig) -> Any:
    """A settings dataclass from the node of the same fields."""
    plain: Mapping[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    unknown = set(plain) - {f.name for f in fields(kind)}
    if unknown:
        raise UserError(f"{node._get_full_key('')} has no option {', '.join(sorted(unknown))}")
    try:
        return kind(**plain)
    except ValueError as error:
        raise UserError(f"{error} (in {node._get_full_key('')})") from error


def build_protocol(config: DictConfig) -> Protocol:
    """The protocol; raises UserError if it is made for another dataset than the one chosen."""
    protocol: Protocol = settings(Protocol, config.protocol)
    if protocol.dataset != config.data.name:
        raise UserError(
            f"protocol={protocol.name} is made for {protocol.dataset}, but data={config.data.name} was chosen.\n"
            f"  Choose both, for example: data={protocol.dataset} protocol={protocol.name}"
        )
    return protocol


def build_model(config: DictConfig, classes: int, mean: float = 0.5, std: float = 0.25) -> Any:
    """The network, with the statistics of its training subjects."""
    network = config.model.copy()
    OmegaConf.set_struct(network, False)
    if config.data.faces.colour == "rgb":
        network.backbone.in_channels = 3  # grey frames suit a backbone for colour, but not the other way round
    for other in ("name", "objective", "optimizer"):
        network.pop(other, None)
    return build(
        network,
        classes=classes,
        image_size=config.data.faces.size,
        frames=config.data.sampling.frames,
        mean=mean,
        std=std,
    )


class Checked(NamedTuple):
    """What a run is, as far as only the built network and optimizer can say it."""

    parameters: int
    """Of the network."""
    step: str
    """What one step sees on which devices, and when a training ends."""


def check_options(config: DictConfig) -> Checked:
    """Refuse impossible options before a process per fold would stumble over them."""
    from fdp_lightning.tasks.effective_batch import effective_batch  # torch: only when there is something to train
    from fdp_lightning.tasks.stack_check import try_stack
    from fdp_lightning.tasks.train_fold import check_trainer
    from fdp_lightning.training.compute import Compute
    from fdp_lightning.training.optimizer import OptimizerSettings

    batch_size = config.data.batch_size
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"data.batch_size is {batch_size!r}; expected a whole number of at least 1")
    if batch_size % (processes := ranks_of(config.trainer)):
        raise UserError(
            f"data.batch_size is {batch_size}, and each batch is shared out evenly to {processes} processes "
            f"(trainer.devices): expected a multiple of {processes}"
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
    if compute.checkpointing and not hasattr(model.backbone, "checkpointing"):
        raise UserError(
            f"compute.checkpointing={compute.checkpointing}: {type(model.backbone).__name__} has no parts to compute "
            "once more; expected compute.checkpointing=null, or one of our own backbones"
        )
    build(config.model.objective, multi_label=is_multi_label(config.protocol.column))
    optimizer: OptimizerSettings = settings(OptimizerSettings, config.model.optimizer)
    try:
        optimizer.groups(model)
    except ValueError as error:
        raise UserError(f"{error} (in model.optimizer)") from error
    if config.loso.engine == "stacked":
        try_stack(config)
    return Checked(sum(p.numel() for p in model.parameters()), f"{effective_batch(config, optimizer)}, until {budget}")


def _check_augmentation(config: DictConfig) -> None:
    """Refuse transforms that do not take the frames of this configuration, or give frames of another size back."""
    if not config.data.augmentation:
        return
    augmentation = build(config.data.augmentation)
    faces: FaceSettings = settings(FaceSettings, config.data.faces)
    clip = np.zeros((config.data.sampling.frames, *faces.frame_shape), np.uint8)
    for seed in range(20):  # a transform that comes seldom may not come at once
        augmentation(clip, seed)
