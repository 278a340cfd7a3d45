"""Recording the held-out subject after each epoch, for the curves and for the `oracle` selection.

The recorder looks and never acts: no gradient, no random number, no stopping and no choice of epoch comes of it.
`oracle` is what most published code reports; it is read off the same training run and always printed beside `last`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch.utils.data import DataLoader

from fdp_lightning.training.module import FDPModule, clips_of


class HeldOutRecorder(L.Callback):
    """Curves of both sides, and the probabilities of the epoch that is best on the held-out subject.

    Args:
        loader: makes the loader of the held-out clips, in the order of the clip table.
        on_epoch: called with the number of epochs done.

    Attributes:
        curves: one dictionary per epoch.
        oracle: probabilities of the most accurate epoch (the earliest among equals), shape (n, k).
    """

    def __init__(self, loader: Callable[[], DataLoader[Any]], on_epoch: Callable[[int], None]) -> None:
        self._loader, self._on_epoch = loader, on_epoch
        self._best = -1.0
        self.curves: list[dict[str, float]] = []
        self.oracle: np.ndarray | None = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluate the held-out clips with the weights of this epoch."""
        assert isinstance(pl_module, FDPModule)
        with self._predicting_weights(trainer, pl_module):
            probabilities, row = self._evaluate(pl_module)
        train = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")}
        self.curves.append({"epoch": trainer.current_epoch + 1, **train, **row})
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)
        if row["test/accuracy"] > self._best:
            self._best, self.oracle = row["test/accuracy"], probabilities
        self._on_epoch(trainer.current_epoch + 1)

    @contextmanager
    def _predicting_weights(self, trainer: L.Trainer, module: FDPModule) -> Iterator[None]:
        """The weights that would predict now: with an average of weights (EMA) those, else the ones in training."""
        averages: list[Any] = [c for c in trainer.callbacks if isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
        for average in averages:
            average.on_validation_epoch_start(trainer, module)
        try:
            yield
        finally:
            for average in averages:
                average.on_validation_epoch_end(trainer, module)

    @torch.inference_mode()
    def _evaluate(self, module: FDPModule) -> tuple[np.ndarray, dict[str, float]]:
        module.eval()
        totals: dict[str, float] = {}
        probabilities = []
        n_clips = 0
        for batch in self._loader():
            clips = clips_of({name: tensor.to(module.device) for name, tensor in batch.items()})
            _, values, output = module.evaluate(clips)
            n = len(clips.target)
            for name, value in values.items():
                totals[f"test/{name}"] = totals.get(f"test/{name}", 0.0) + float(value) * n
            probabilities.append(module.probabilities(output.logits).cpu().numpy())
            n_clips += n
        module.train()
        return np.concatenate(probabilities), {name: total / n_clips for name, total in totals.items()}
