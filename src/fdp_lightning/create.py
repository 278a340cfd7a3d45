"""Recognisers from Python, by their names in the configuration: `create_model("fdp_tiny", classes=5)`."""

from numbers import Integral
from typing import TYPE_CHECKING

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.console.arguments import explain
from fdp_lightning.console.option_values import check_values
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import build_model

if TYPE_CHECKING:
    from torch import nn


def list_models() -> list[str]:
    """Return the names that `model=…` and `create_model` take, sorted."""
    files = (CONF_DIR / "model").glob("[!_]*.yaml")
    return sorted(path.stem for path in files if path.stem != "own" and "/_classical@" not in path.read_text())


def create_model(name: str, classes: int, *overrides: str) -> "nn.Module":
    """Build the untrained network of `model=<name>`, with random weights, or with ImageNet's if configured so.

    Args:
        name: one of `list_models`.
        classes: number of classes or action units, k.
        overrides: overrides as on the command line: 'model.pooling=mean', 'data.sampling.frames=16', 'input.size=32';
            for resnet18_flow, 'model.pretrained=false' prevents timm from downloading weights.

    Returns:
        Network that maps a batch of its input, (b, t, c, h, w) for frames or (b, c, h, w) for apex_flow, to logits
        (b, k) or to an object with logits and more.

    Raises:
        UserError: there is no model of this name, or `classes` or an override is invalid.
    """
    if name not in (known := list_models()):
        raise UserError(f"there is no model '{name}'. Models: {', '.join(known)}")
    if isinstance(classes, bool) or not isinstance(classes, Integral) or classes < 1:
        raise UserError(f"classes is {classes!r}; expected a whole number of at least 1")
    overrides = tuple(map(str, overrides))
    try:
        config = configuration(f"model={name}", *overrides)
        check_values(config)
        network: nn.Module = build_model(config, int(classes))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, overrides)) from error
    return network
