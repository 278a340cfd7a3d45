"""Batch norm over the clips of all processes, on the CPU too (torch's SyncBatchNorm is for GPUs only)."""

import torch
import torch.distributed as dist
from lightning.pytorch.plugins import LayerSync
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce  # type: ignore[attr-defined]  # the one with a gradient
from torch.nn.modules.batchnorm import _BatchNorm


class SyncedBatchNorm(_BatchNorm):
    """Batch norm that in training uses mean and variance over all processes, so that DDP learns what one process would.

    Of the n values of a channel in all processes: mean Σx / n, variance Σ(x - mean)² / n, running variance by n - 1.

    Args:
        norm: layer whose parameters and running statistics are used under their own names.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any shape (b, c, …)."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise maps (b, c, …)."""
        if not self.training:
            return super().forward(input)
        places = [0, *range(2, input.ndim)]
        shape = [1, -1] + [1] * (input.ndim - 2)
        n = input.new_tensor([input.numel() / input.shape[1]])
        dist.all_reduce(n)
        mean = all_reduce(input.sum(dim=places)) / n
        variance = all_reduce((input - mean.view(shape)).square().sum(dim=places)) / n
        self._follow(mean.detach(), variance.detach() * n / (n - 1))
        scaled = (input - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        return scaled * self.weight.view(shape) + self.bias.view(shape) if self.affine else scaled

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class SyncedBatchNorms(LayerSync):
    """Lightning's hook that replaces each batch norm by a `SyncedBatchNorm` while training."""

    def __init__(self) -> None:
        self._originals: dict[SyncedBatchNorm, _BatchNorm] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace all batch norms of a model."""
        for name, child in model.named_children():
            if isinstance(child, _BatchNorm):
                synced = SyncedBatchNorm(child)
                self._originals[synced] = child
                setattr(model, name, synced)
            else:
                self.apply(child)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Put the original batch norms back."""
        for name, child in model.named_children():
            if isinstance(child, SyncedBatchNorm):
                setattr(model, name, self._originals.pop(child).train(child.training))
            else:
                self.revert(child)
        return model
