"""Recording after each epoch, for the curves and for the selections `oracle` and `inner`.

The recorder only observes: it changes no gradient, random number or weight and stops nothing. All selections come from
the same training run:
    last    the last epoch; the default and the headline,
    inner   the epoch best on the inner validation subjects, where there are some,
    oracle  the epoch best on the held-out subject: what most published code reports, always printed beside `last`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
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
    """Raised when a loss is not finite; predictions of such a network are meaningless."""


class Recorder(L.Callback):
    """Record curves, and the held-out clips' probabilities of the epochs that `oracle` and `inner` choose.

    Only the process of rank 0 records: held-out clips are few, and each is predicted once.

    Args:
        test: makes the loader of the held-out clips, in the order of the clip table, or returns None.
        on_epoch: called with the number of epochs done.
        inner: makes the loader of the inner validation clips, or returns None.
        statistics: batch-norm statistics, recomputed for each evaluation; None: the running ones.

    Attributes:
        curves: one dictionary per epoch.
        oracle: probabilities of the epoch most accurate on the held-out clips (the first of equals), shape (n, k); None
            without such clips, and where not every epoch was evaluated.
        inner: those of the epoch most accurate on the inner validation clips (of equals the one of the lowest emotion
            loss there, then the first); None without such clips.
        aside: probabilities of the inner validation clips themselves, by selection: of the newest epoch (`last`) and of
            the one that `inner` chooses; empty without such clips.
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
        self.aside: dict[str, np.ndarray] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epochs before an interruption again.

        The loggers' files start empty. W&B continues the same run but has lost what it had not written when it was
        killed (all of a short fold, if offline); it receives the points that it has already again, unchanged.
        """
        for logger in trainer.loggers:
            for row, step in zip(self.curves, self._steps, strict=True):
                logger.log_metrics(_part(row, "train/", without=True), step=step)
                # Lightning logs the means of an epoch at its last step, not after it.
                logger.log_metrics({**_part(row, "train/"), "epoch": int(row["epoch"]) - 1}, step=step - 1)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluate with the weights of this epoch, or of each `trainer.check_val_every_n_epoch`-th and of the last.

        A training loss that is not finite is a DivergedError.
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
        with self._predicting_weights(trainer, pl_module):
            row = self.record(pl_module, epoch, trainer.global_step, train, trainer.precision_plugin, evaluate)
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
        """Evaluate an epoch, add it to curves and selections, and return the values of the evaluation by name.

        `epoch` and `step` count those that are done; `train` has the means of the epoch over the training clips.
        Without `evaluate` only these are recorded. The best of all epochs is then unknown, so there is no `oracle`.
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
        if "test" not in probabilities:  # a model of all subjects: there is nothing to choose an epoch for
            return row
        self.offer_to_oracle(probabilities["test"], row["test/accuracy"])
        if "inner" in probabilities:
            self.aside["last"] = probabilities["inner"]
            if self._is_better("inner", [row["inner/accuracy"], -row["inner/emotion_loss"]]):
                self.inner, self.aside["inner"] = probabilities["test"], probabilities["inner"]
        return row

    def state_dict(self) -> dict[str, Any]:
        kept = {name: torch.from_numpy(p) for name in ("oracle", "inner") if (p := getattr(self, name)) is not None}
        aside = {selection: torch.from_numpy(p) for selection, p in self.aside.items()}
        steps = {"curves": self.curves, "steps": self._steps, "all_evaluated": self._all_evaluated}
        return {**steps, "best": self._best, "probabilities": kept, "aside": aside}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curves, self._best = list(state_dict["curves"]), dict(state_dict["best"])
        self._steps, self._all_evaluated = list(state_dict["steps"]), bool(state_dict["all_evaluated"])
        for name, probabilities in state_dict["probabilities"].items():
            setattr(self, name, probabilities.cpu().numpy())
        self.aside = {selection: p.cpu().numpy() for selection, p in state_dict["aside"].items()}

    def offer_to_oracle(self, probabilities: np.ndarray, accuracy: float) -> None:
        """Choose these probabilities of the held-out clips, (n, k), if they are the best so far.

        The final ones are offered too: where arithmetic is not repeatable (GPU) they may be the best.
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

    @contextmanager
    def _predicting_weights(self, trainer: L.Trainer, module: RecognitionModule) -> Iterator[None]:
        """Use the weights that predict: the average of weights (EMA) where there is one, else those in training."""
        averages: list[Any] = [c for c in trainer.callbacks if isinstance(c, WeightAveraging)]  # type: ignore[attr-defined]
        for average in averages:
            average.on_validation_epoch_start(trainer, module)
        try:
            yield
        finally:
            for average in averages:
                average.on_validation_epoch_end(trainer, module)


def _part(row: Mapping[str, float], prefix: str, without: bool = False) -> dict[str, float]:
    """Return the values of one side of an epoch, or of the other sides."""
    return {k: v for k, v in row.items() if k != "epoch" and k.startswith(prefix) != without}


@torch.inference_mode()
def _evaluate(
    module: RecognitionModule, batches: DataLoader[Any], precision: Precision
) -> tuple[np.ndarray, Mapping[str, float]]:
    """Return probabilities of all clips, shape (n, k), and means of all values over them."""
    module.eval()
    totals: dict[str, float] = {}
    probabilities = []
    n_clips = 0
    for batch in batches:
        clips = clips_of({name: tensor.to(module.device) for name, tensor in precision.convert_input(batch).items()})
        with precision.forward_context():  # as Lightning makes the final predictions
            _, values, output = module.evaluate(clips)
        n = len(clips.target)
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + float(value) * n
        probabilities.append(module.probabilities(output.logits).cpu().numpy())
        n_clips += n
    return np.concatenate(probabilities), {name: total / n_clips for name, total in totals.items()}
