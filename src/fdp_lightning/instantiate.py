"""From configuration to objects: the one place where `hydra.utils.instantiate` is called."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.errors import UserError


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
