"""What all recognisers on flow maps share: the check of their input, and the form of a training recipe."""

import pkgutil
from dataclasses import dataclass
from importlib import import_module

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """How a network was trained where it was published, and on which maps.

    Attributes:
        channels: of the input, in the order in which the network takes them.
        image_size: side of the input, pixels.
        value_range: of the input, after min-max of each channel of each clip.
        optimizer: 'adam' or 'sgd'.
        lr: learning rate.
        batch_size: clips in a batch.
        epochs: passes over the training clips; the last one predicts.
        weight_decay: L2 penalty in the gradient.
        momentum: of 'sgd'.
        lr_step: epochs after which the learning rate is halved, again and again; None keeps it.
        shuffle: draw the clips in a new order in each epoch.
        loss: 'cross_entropy'.
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
    lr_step: int | None = None
    shuffle: bool = True
    loss: str = "cross_entropy"
    pretrained: bool = False


class FlowNet(nn.Module):
    """A network from flow maps to logits: `forward_features`, then `forward_head`.

    Attributes:
        inputs: kinds of `input` that it takes.
        in_channels: of the maps.
        image_size: side of the maps, pixels.
    """

    inputs = ("apex_flow", "maps")
    in_channels: int
    image_size: int

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Flow maps to logits.

        Raises:
            ValueError: maps of another shape than the network was made for.
        """
        _, c, h, w = maps.shape
        if (c, h, w) != (self.in_channels, self.image_size, self.image_size):
            raise ValueError(
                f"{type(self).__name__} was made for maps of "
                f"{self.in_channels}×{self.image_size}×{self.image_size}, and got {c}×{h}×{w}"
            )
        return self.forward_head(self.forward_features(maps))

    def forward_features(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b *d"]:
        """Flow maps to what the head reads."""
        raise NotImplementedError

    def forward_head(self, features: Float[Tensor, "b *d"]) -> Float[Tensor, "b k"]:
        """Features to logits."""
        raise NotImplementedError


def networks() -> list[type[FlowNet]]:
    """Return all networks of this package, in the order of their files: a new one is a file and no more."""
    package = __name__.rpartition(".")[0]
    files = pkgutil.iter_modules(import_module(package).__path__)
    members = [member for file in files for member in vars(import_module(f"{package}.{file.name}")).values()]
    found = [one for one in members if isinstance(one, type) and issubclass(one, FlowNet) and one is not FlowNet]
    return list(dict.fromkeys(found))
