"""Batch norm: statistics recomputed for the final weights, and a norm over the clips of all processes.

Running statistics lag behind the weights: after a short training they belong to much earlier weights, and a network
that has learnt its training clips predicts a single class for all new ones. `torch.optim.swa_utils.update_bn` would
also put dropout and drop path into training mode. torch's SyncBatchNorm supports only GPUs.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.plugins import LayerSync
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce  # type: ignore[attr-defined]  # the one with a gradient
from torch.nn.modules.batchnorm import _BatchNorm

from fdp_lightning.training.module import Batch, RecognitionModule, clips_of


class BatchStatistics(L.Callback):
    """Recompute the statistics of all batch norms, at the end of training and on request.

    It must come after a weight-averaging callback (EMA), which also replaces the weights at the end of training.

    Args:
        batches: function that returns the same batches of training clips at each call, whose sizes differ by at most
            one clip.
    """

    def __init__(self, batches: Callable[[], Iterable[Batch]]) -> None:
        self._batches = batches

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, RecognitionModule)
        self.compute(pl_module, trainer.precision_plugin)

    @torch.no_grad()
    def compute(self, module: RecognitionModule, precision: Precision) -> None:
        """Replace the running statistics by the means over the batches, and leave the module in evaluation mode.

        Each process of a fold does this on all batches, without communication, in the training's `precision`.
        """
        norms = _norms(module)
        if not norms:
            return
        module.eval()
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative mean over all batches
            norm.train()
            if isinstance(norm, SyncedBatchNorm | nn.SyncBatchNorm):
                norm.forward = partial(_BatchNorm.forward, norm)  # type: ignore[method-assign]
        for batch in self._batches():
            clips = clips_of(precision.convert_input(batch), module.device)
            with precision.forward_context():
                module.run(clips)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
            vars(norm).pop("forward", None)

    @contextmanager
    def computed(self, module: RecognitionModule, precision: Precision) -> Iterator[None]:
        """Use recomputed statistics within the context and restore the running ones afterwards."""
        kept = [(buffer, buffer.clone()) for norm in _norms(module) for buffer in norm.buffers()]
        self.compute(module, precision)
        yield
        for buffer, before in kept:
            buffer.copy_(before)


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]


class SyncedBatchNorm(_BatchNorm):
    """Batch norm that in training uses mean and variance over all processes, so DDP learns what one process would.

    For the n values of a channel in all processes, the mean is Σx / n and the variance Σ(x - mean)² / n, with n - 1 for
    the running variance.

    Args:
        norm: layer whose parameters and running statistics are shared under the same names.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        reduced = [0, *range(2, input.ndim)]
        shape = [1, -1] + [1] * (input.ndim - 2)
        n = input.new_tensor([input.numel() / input.shape[1]])
        dist.all_reduce(n)
        mean = all_reduce(input.sum(dim=reduced)) / n
        variance = all_reduce((input - mean.view(shape)).square().sum(dim=reduced)) / n
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), share)
            self.running_var.lerp_((variance.detach() * n / (n - 1)).to(self.running_var.dtype), share)
        scaled = (input - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        return scaled * self.weight.view(shape) + self.bias.view(shape) if self.affine else scaled


class SyncedBatchNorms(LayerSync):
    """Lightning plugin that replaces each batch norm by a `SyncedBatchNorm` during training."""

    def __init__(self) -> None:
        self._originals: dict[SyncedBatchNorm, _BatchNorm] = {}

    def apply(self, model: nn.Module) -> nn.Module:
        for name, child in model.named_children():
            if isinstance(child, _BatchNorm):
                synced = SyncedBatchNorm(child)
                self._originals[synced] = child
                setattr(model, name, synced)
            else:
                self.apply(child)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for name, child in model.named_children():
            if isinstance(child, SyncedBatchNorm):
                setattr(model, name, self._originals.pop(child).train(child.training))
            else:
                self.revert(child)
        return model
