"""Recording after each epoch, for the curves and for the selections `oracle` and `inner`.

The recorder only observes: it does not change gradients, random numbers or weights, and never stops the training. All
selections come from the same training:
    last    the last epoch; the default and the headline,
    inner   the epoch that is best on the inner validation subjects, if there are any,
    oracle  the epoch that is best on the held-out subject: what most published code reports, always shown with `last`.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.plugins.precision import Precision
from torch.utils.data import DataLoader

from fdp_lightning.training.batch_norm import BatchStatistics
from fdp_lightning.training.module import RecognitionModule, clips_of

Loader = Callable[[], DataLoader[Any] | None]


class DivergedError(Exception):
    """Raised when a loss is not finite, which makes predictions meaningless."""


class Recorder(L.Callback):
    """Record curves, and probabilities of the held-out clips at the epochs that `oracle` and `inner` choose.

    Only the process of rank 0 records, because held-out clips are few and each has to be predicted once.

    Args:
        test: factory of the loader of the held-out clips, in the order of the clip table; returns None without any.
        on_epoch: function called with the number of finished epochs.
        inner: factory of the loader of the inner validation clips; returns None without any.
        statistics: batch-norm statistics to recompute for each evaluation; None for the running ones.

    Attributes:
        curves: one dictionary per epoch.
        oracle: probabilities, (n, k), of the held-out clips at the epoch with the highest accuracy on them (the first
            one if tied); None without such clips, or if not every epoch was evaluated.
        inner: probabilities, (n, k), of the held-out clips at the epoch with the highest accuracy on the inner
            validation clips (if tied, the one with the lowest emotion loss on them, then the first); None without such
            clips.
        inner_probabilities: probabilities of the inner validation clips by selection: at the newest epoch (`last`) and
            at the one that `inner` chooses; empty without such clips.
    """

    def __init__(
        self,
        test: Loader,
        on_epoch: Callable[[int], None],
        inner: Loader = lambda: None,
        statistics: BatchStatistics | None = None,
    ) -> None:
        self._statistics = statistics
        self._loaders = {"test": test, "inner": inner}
        self._on_epoch = on_epoch
        self._best: dict[str, list[float]] = {}
        self._steps: list[int] = []
        self._all_evaluated = True
        self.curves: list[dict[str, float]] = []
        self.oracle: np.ndarray | None = None
        self.inner: np.ndarray | None = None
        self.inner_probabilities: dict[str, np.ndarray] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epochs before an interruption again.

        The loggers' files start empty. W&B continues the same run but has lost everything that was unwritten when it
        was killed (for a short offline fold, all of it); points that it already has are sent again, unchanged.
        """
        for logger in trainer.loggers:
            for row, step in zip(self.curves, self._steps, strict=True):
                train = {name: value for name, value in row.items() if name.startswith("train/")}
                evaluated = {name: value for name, value in row.items() if name not in train and name != "epoch"}
                logger.log_metrics(evaluated, step=step)
                # Lightning logs the means of an epoch at its last step, not after it.
                logger.log_metrics({**train, "epoch": int(row["epoch"]) - 1}, step=step - 1)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Record this epoch; evaluate it if it is the last, or by `trainer.check_val_every_n_epoch`.

        Raises:
            DivergedError: a training loss is not finite.
        """
        assert isinstance(pl_module, RecognitionModule)
        epoch = trainer.current_epoch + 1
        train = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")}
        for name, value in train.items():
            if name.endswith("loss") and not math.isfinite(value):
                raise DivergedError(
                    f"the training diverged: {name} is {value} in epoch {epoch}; try a lower model.optimizer.lr"
                )
        if trainer.global_rank != 0:
            return
        ended = trainer.should_stop or epoch == trainer.max_epochs
        evaluate = ended or epoch % (trainer.check_val_every_n_epoch or 1) == 0
        # The weights meant for prediction: their moving average (EMA), if there is one.
        averages: list[Any] = [c for c in trainer.callbacks if isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
        for average in averages:
            average.on_validation_epoch_start(trainer, pl_module)
        row = self.record(pl_module, epoch, trainer.global_step, train, trainer.precision_plugin, evaluate)
        for average in averages:
            average.on_validation_epoch_end(trainer, pl_module)
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)
        self._on_epoch(epoch)

    def record(
        self,
        module: RecognitionModule,
        epoch: int,
        step: int,
        train: Mapping[str, float],
        precision: Precision,
        evaluate: bool = True,
    ) -> dict[str, float]:
        """Evaluate an epoch, add it to curves and selections, and return the evaluated values by name.

        `epoch` and `step` count the finished ones; `train` holds the means over the training clips. Without `evaluate`
        only these are recorded; the best epoch is then unknown, so there is no `oracle`.
        """
        self._all_evaluated &= evaluate
        row: dict[str, float] = {}
        probabilities = {}
        loaders = self._loaders if evaluate else {}
        sides = {side: batches for side, loader in loaders.items() if (batches := loader()) is not None}
        with self._statistics.computed(module, precision) if self._statistics and sides else nullcontext():
            for side, batches in sides.items():
                probabilities[side], values = _evaluate(module, batches, precision)
                row |= {f"{side}/{name}": value for name, value in values.items()}
        module.train()
        self.curves.append({"epoch": epoch, **train, **row})
        self._steps.append(step)
        if "test" not in probabilities:  # a model of all subjects has no held-out clips to choose an epoch for
            return row
        self.offer_to_oracle(probabilities["test"], row["test/accuracy"])
        if "inner" in probabilities:
            self.inner_probabilities["last"] = probabilities["inner"]
            if self._is_better("inner", [row["inner/accuracy"], -row["inner/emotion_loss"]]):
                self.inner, self.inner_probabilities["inner"] = probabilities["test"], probabilities["inner"]
        return row

    def state_dict(self) -> dict[str, Any]:
        kept = {name: torch.from_numpy(p) for name in ("oracle", "inner") if (p := getattr(self, name)) is not None}
        of_inner = {selection: torch.from_numpy(p) for selection, p in self.inner_probabilities.items()}
        steps = {"curves": self.curves, "steps": self._steps, "all_evaluated": self._all_evaluated}
        return {**steps, "best": self._best, "probabilities": kept, "inner_probabilities": of_inner}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curves, self._best = list(state_dict["curves"]), dict(state_dict["best"])
        self._steps, self._all_evaluated = list(state_dict["steps"]), bool(state_dict["all_evaluated"])
        for name, probabilities in state_dict["probabilities"].items():
            setattr(self, name, probabilities.cpu().numpy())
        of_inner = state_dict["inner_probabilities"]
        self.inner_probabilities = {selection: p.cpu().numpy() for selection, p in of_inner.items()}

    def offer_to_oracle(self, probabilities: np.ndarray, accuracy: float) -> None:
        """Keep these probabilities of the held-out clips, (n, k), if they are the best so far.

        The final ones are offered too, because they may be the best if arithmetic is not reproducible (GPU).
        """
        if not self._all_evaluated:
            self.oracle = None
        elif self._is_better("oracle", [accuracy]):
            self.oracle = probabilities

    def _is_better(self, selection: str, score: list[float]) -> bool:
        if selection in self._best and score <= self._best[selection]:
            return False
        self._best[selection] = score
        return True


@torch.inference_mode()
def _evaluate(
    module: RecognitionModule, batches: DataLoader[Any], precision: Precision
) -> tuple[np.ndarray, Mapping[str, float]]:
    """Return the probabilities of all clips, shape (n, k), and the means of all values over them."""
    module.eval()
    totals: dict[str, float] = {}
    probabilities = []
    n_clips = 0
    for batch in batches:
        clips = clips_of(precision.convert_input(batch), module.device)
        with precision.forward_context():  # as in Lightning's final predictions
            _, values, output = module.evaluate(clips)
        n = len(clips.target)
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + float(value) * n
        probabilities.append(module.probabilities(output.logits).cpu().numpy())
        n_clips += n
    return np.concatenate(probabilities), {name: total / n_clips for name, total in totals.items()}
