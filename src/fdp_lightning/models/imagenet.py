"""ImageNet-1k weights, fetched by timm or read from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models import adapt_input_conv
from torch import Tensor, nn

from fdp_lightning.errors import first_line
from fdp_lightning.models.weights import read_weights


def imagenet_weights(architecture: str, source: bool | str, option: str) -> Mapping[str, Tensor]:
    """Return the weights of one of timm's networks, under timm's names.

    Args:
        architecture: name of the network in timm.
        source: True for weights that timm fetches and caches; otherwise the path of a file of them, see `read_weights`.
        option: name of the option that holds the source, for messages.

    Raises:
        ValueError: the weights cannot be fetched or read.
    """
    if isinstance(source, str):
        return read_weights(Path(source))
    try:
        return timm.create_model(architecture, pretrained=True).state_dict()
    except Exception as error:
        # Whatever the hub's client raises without a connection, the user's remedy is the same.
        reason = first_line(error)
        raise ValueError(
            f"{option}=true: timm cannot fetch {architecture} ({reason}); give the path of a local "
            f"file of its weights, {option}=/path/to/model.safetensors, or train from scratch, {option}=false"
        ) from error


def load_timm(network: nn.Module, architecture: str, source: bool | str, option: str) -> None:
    """Load `imagenet_weights` into a timm network, whose classifier and number of input channels may differ.

    Raises:
        ValueError: the weights cannot be fetched or read, or belong to another network.
    """
    given, own = dict(imagenet_weights(architecture, source, option)), network.state_dict()
    config: Any = network.default_cfg
    first, last = f"{config['first_conv']}.weight", f"{config['classifier']}."
    if first in given and given[first].ndim == 4:
        given[first] = adapt_input_conv(own[first].shape[1], given[first])
    kept = {name: value for name, value in given.items() if not name.startswith(last)}
    differing = [n for n in own if not n.startswith(last) and (n not in kept or kept[n].shape != own[n].shape)]
    if differing:
        raise ValueError(
            f"{option}={source}: not the weights of {architecture}; {differing[0]} is missing or has another shape"
        )
    network.load_state_dict({name: value for name, value in kept.items() if name in own}, strict=False)
