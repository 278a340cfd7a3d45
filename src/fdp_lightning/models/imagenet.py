"""Weights of ImageNet-1k, fetched by timm or read from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models import adapt_input_conv
from torch import Tensor, nn

from fdp_lightning.errors import first_line
from fdp_lightning.models.weights import read_weights


def imagenet_weights(architecture: str, source: bool | str, option: str) -> Mapping[str, Tensor]:
    """Return the weights of one of timm's networks, in its names.

    Args:
        architecture: its name in timm.
        source: True: timm fetches them and keeps them in its cache; else a file of them, safetensors or a state dict
            that `torch.load(weights_only=True)` reads.
        option: that the user has given the source by, for messages.

    Raises:
        ValueError: they cannot be had.
    """
    if isinstance(source, str):
        try:
            return read_weights(Path(source))
        except ValueError as error:
            raise ValueError(f"{option}={error}; allowed are true, false and a file of weights") from error
    try:
        return timm.create_model(architecture, pretrained=True).state_dict()
    except Exception as error:
        # Whatever the hub's client raises without a network, even without words, the user can do one thing about it.
        reason = first_line(error)
        raise ValueError(
            f"{option}=true: timm cannot fetch {architecture} ({reason}); give the path of a local "
            f"file of its weights, {option}=/path/to/model.safetensors, or start from none, {option}=false"
        ) from error


def load_timm(network: nn.Module, architecture: str, source: bool | str, option: str) -> None:
    """Load weights, as of `imagenet_weights`, into a timm network with another classifier or number of channels.

    Raises:
        ValueError: the weights cannot be had, or are another network's.
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
            f"{option}={source}: no weights of {architecture}; {differing[0]} is missing or of another shape"
        )
    network.load_state_dict({name: value for name, value in kept.items() if name in own}, strict=False)
