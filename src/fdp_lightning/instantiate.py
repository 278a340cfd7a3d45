"""Build objects from the configuration: the only place where `hydra.utils.instantiate` is called."""

from dataclasses import fields
from inspect import Parameter, signature
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from fdp_lightning.errors import UserError, first_line


def build(node: DictConfig, **arguments: Any) -> Any:
    """Instantiate a node, with plain lists and dictionaries.

    A value that the object rejects is a user's mistake; any other exception is a bug and raised unchanged.
    """
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError) or (isinstance(cause, TypeError) and "unexpected keyword" in str(cause)):
            raise UserError(f"{cause} (in {node._get_full_key('')})") from error
        raise


def settings(kind: type, node: DictConfig) -> Any:
    """Return a settings dataclass built from the node with the same fields (see `option_values.check_values`)."""
    plain: Any = OmegaConf.to_container(node, resolve=True)
    if unknown := set(plain) - {field.name for field in fields(kind)}:
        raise UserError(f"{node._get_full_key('')} has no option {', '.join(sorted(unknown))}")
    try:
        return kind(**plain)
    except ValueError as error:
        raise UserError(f"{error} (in {node._get_full_key('')})") from error


def build_model(config: DictConfig, classes: int, mean: float = 0.5, std: float = 0.25) -> Any:
    """Build the network, passing those of classes, input shape and training statistics that its class takes.

    `mean` and `std` are those of all values of the training frames. The ranges of the options are not checked here but
    by every command, by `create_model` and by `check_values`. UserError if the class does not exist or takes another
    input.
    """
    network = config.model.copy()
    OmegaConf.set_struct(network, False)
    for other in ("name", "objective", "optimizer"):
        network.pop(other, None)
    *frames, channels, side, _ = input_shape(config)
    if channels > 1 and "backbone" in network:
        network.backbone.in_channels = channels  # a backbone for colour also takes grey frames, but not vice versa
    offered = {
        "classes": classes, "in_channels": channels, "image_size": side, "frames": frames[0] if frames else 1,
        "mean": mean, "std": std,
    }  # fmt: skip
    try:
        kind = get_class(network._target_)
        asked = parameters_of(kind)
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(f"model._target_ is {network._target_!r}: {first_line(error)}") from error
    if (inputs := getattr(kind, "inputs", ())) and config.input.kind not in inputs:
        raise UserError(
            f"input={config.input.kind}: model={config.model.name} takes {' or '.join(inputs)}; "
            f"expected input={inputs[0]}"
        )
    return build(network, **{name: value for name, value in offered.items() if name in asked and name not in network})


def parameters_of(kind: type) -> dict[str, Parameter]:
    """Return the parameters of a class by name; with `**options`, also those of its base class."""
    own = signature(kind).parameters.values()
    named = {one.name: one for one in own if one.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)}
    base = kind.__base__
    if base is None or base is object or not any(one.kind is Parameter.VAR_KEYWORD for one in own):
        return named
    return {**parameters_of(base), **named}


def input_shape(config: DictConfig) -> tuple[int, ...]:
    """Return the shape of one clip's input: (t, c, h, w) for frames and `flow`, (c, h, w) for `apex_flow`."""
    size, given = config.data.faces.size, config.input
    if given.kind == "frames":
        return (config.data.sampling.frames, 3 if config.data.faces.colour == "rgb" else 1, size, size)
    maps = (len(given.channels), given.size, given.size)
    if given.kind == "flow":
        return (config.data.sampling.frames, *maps)
    return (len(given.phases) * maps[0], *maps[1:])
