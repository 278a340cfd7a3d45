"""Batch-norm statistics recomputed on training clips, for the weights that predict.

Running statistics lag behind the weights: after few steps they belong to much earlier weights, and a network that has
learnt its training clips predicts one class for every new one. `torch.optim.swa_utils.update_bn` would also put dropout
and drop path into training mode.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import lightning as L
import torch
from lightning.pytorch.plugins.precision import Precision
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fdp_lightning.training.module import Batch, RecognitionModule, clips_of
from fdp_lightning.training.synced_batch_norm import SyncedBatchNorm


class BatchStatistics(L.Callback):
    """Recompute the statistics of all batch norms, at the end of a training and on request.

    It must come after an average of weights (EMA), which replaces the weights at the end of the training too.

    Args:
        batches: returns the same batches of training clips each time, of sizes that differ by at most one clip.
    """

    def __init__(self, batches: Callable[[], Iterable[Batch]]) -> None:
        self._batches = batches

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Recompute the statistics of the trained network."""
        assert isinstance(pl_module, RecognitionModule)
        self.compute(pl_module, trainer.precision_plugin)

    @torch.no_grad()
    def compute(self, module: RecognitionModule, precision: Precision) -> None:
        """Replace the running statistics by the means over the batches, and leave the module in evaluation mode.

        Each process of a fold does so by itself on all batches, without communication.

        Args:
            module: module with the weights that predict.
            precision: precision of the training.
        """
        norms = _norms(module)
        if not norms:
            return
        module.eval()
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all batches
            norm.train()
            if isinstance(norm, SyncedBatchNorm | nn.SyncBatchNorm):
                norm.forward = partial(_BatchNorm.forward, norm)  # type: ignore[method-assign]
        try:
            for batch in self._batches():
                given = {name: tensor.to(module.device) for name, tensor in precision.convert_input(batch).items()}
                clips = clips_of(given)
                with precision.forward_context():
                    module.run(clips)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
                norm.eval()
                vars(norm).pop("forward", None)

    @contextmanager
    def computed(self, module: RecognitionModule, precision: Precision) -> Iterator[None]:
        """Use recomputed statistics within the context and restore the running ones afterwards."""
        kept = [(buffer, buffer.clone()) for norm in _norms(module) for buffer in norm.buffers()]
        self.compute(module, precision)
        try:
            yield
        finally:
            for buffer, before in kept:
                buffer.copy_(before)


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
