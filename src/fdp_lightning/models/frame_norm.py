"""Batch norm of each frame index by itself, in one pass over all frames."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class FrameBatchNorm(_BatchNorm):
    """In training, statistics of each frame index, one after the other.

    With time folded into the batch, time outermost, every `clips` maps are of one frame index: the statistics are those
    of one pass of the network per frame (R), running ones included, while all between the norms is done at once.

    Args:
        norm: the layer whose parameters and running statistics are used, as they are and under their own names.

    Attributes:
        clips: b, maps of one frame index; None: all.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.clips: int | None = None

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape (n, c, …)."""

    def forward(self, input: Tensor) -> Tensor:
        """(n, c, …) → the same shape.

        Raises:
            ValueError: n is no multiple of `clips`.
        """
        if self.clips is None or not self.training or self.clips == len(input):
            return super().forward(input)
        if len(input) % self.clips:
            raise ValueError(f"{len(input)} maps are not the frames of {self.clips} clips")
        return torch.cat([super(FrameBatchNorm, self).forward(frame) for frame in input.split(self.clips)])


def by_frame(module: nn.Module) -> None:
    """Put a `FrameBatchNorm` in the place of each plain batch norm within a module."""
    for name, child in module.named_children():
        # What timm derives from them does more than normalise.
        if isinstance(child, _BatchNorm) and type(child) in (nn.BatchNorm1d, nn.BatchNorm2d):
            setattr(module, name, FrameBatchNorm(child))
        else:
            by_frame(child)
