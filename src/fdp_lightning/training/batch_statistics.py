"""Batch norm's statistics computed anew on training clips, for the weights that are to predict.

Running statistics lag behind the weights: after few steps they are those of weights long gone, and a network that has
learnt its training clips answers one class for every new one. `torch.optim.swa_utils.update_bn` would do, but it puts
the whole network into training, dropout and drop path too.
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
    """Computes the statistics of all batch norms anew, at the end of a training and whenever it is asked to.

    It stands behind an average of weights (EMA), which takes its place at the end of the training too.

    Args:
        batches: gives the same batches of training clips each time, equally large but for one clip.
    """

    def __init__(self, batches: Callable[[], Iterable[Batch]]) -> None:
        self._batches = batches

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the statistics that predict in the trained network."""
        assert isinstance(pl_module, RecognitionModule)
        self.compute(pl_module, trainer.precision_plugin)

    @torch.no_grad()
    def compute(self, module: RecognitionModule, precision: Precision) -> None:
        """Put means of the batches' statistics in the place of the running ones; the module is in evaluation then.

        Each process of a fold does so by itself, on all of the batches: nothing is asked of the others.

        Args:
            module: with the weights that are to predict.
            precision: of the training.
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
        """Have the statistics of the weights as they are, and the running ones back afterwards."""
        kept = [(buffer, buffer.clone()) for norm in _norms(module) for buffer in norm.buffers()]
        self.compute(module, precision)
        try:
            yield
        finally:
            for buffer, before in kept:
                buffer.copy_(before)


def _norms(module: nn.Module) -> list[_BatchNorm]:
    return [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.track_running_stats]
