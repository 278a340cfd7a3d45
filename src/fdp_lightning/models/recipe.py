"""What all published peers share: the form of a training recipe, and how their networks are found."""

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar

from torch import nn


@dataclass(frozen=True)
class Recipe:
    """How a network was trained where it was published, and on which input.

    Attributes:
        channels: of the input, in the order in which the network takes them.
        image_size: side of the input, pixels.
        value_range: of the input; of maps after min-max of each channel of each clip.
        optimizer: 'adam', 'adamw' or 'sgd'.
        lr: learning rate.
        batch_size: clips in a batch.
        epochs: passes over the training clips; the last one predicts.
        weight_decay: L2 penalty in the gradient; of 'adamw' decoupled from it. Norms and biases decay too.
        momentum: of 'sgd'.
        lr_gamma: factor on the learning rate after each `lr_epochs` epochs.
        lr_epochs: likewise; None keeps the rate.
        lr_lowest: factor below which the rate does not fall.
        shuffle: draw the clips in a new order in each epoch.
        pretrained: starts from ImageNet weights.
    """

    channels: tuple[str, ...]
    image_size: int
    value_range: tuple[float, float]
    optimizer: str
    lr: float
    batch_size: int
    epochs: int
    weight_decay: float = 0.0
    momentum: float = 0.0
    lr_gamma: float = 0.5
    lr_epochs: int | None = None
    lr_lowest: float = 0.0
    shuffle: bool = True
    pretrained: bool = False


AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


def networks(base: type[AnyNetwork]) -> list[type[AnyNetwork]]:
    """Return all networks of the package of `base`, in the order of their files: a new one is a file and no more."""
    package = base.__module__.rpartition(".")[0]
    files = pkgutil.iter_modules(import_module(package).__path__)
    members = [member for file in files for member in vars(import_module(f"{package}.{file.name}")).values()]
    found = [one for one in members if isinstance(one, type) and issubclass(one, base) and one is not base]
    return list(dict.fromkeys(found))
