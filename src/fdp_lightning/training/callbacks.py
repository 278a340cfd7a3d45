"""Training callbacks: seeds per epoch, a budget of steps, the duration of a step, and checkpoints to resume from."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import lightning as L

from fdp_lightning.files import sha256
from fdp_lightning.seeds import derived_seed


class EpochSeeds(L.Callback):
    """Seed all generators at the first batch of each epoch, from the fold's `seed`, the epoch and the process.

    A resumed training then continues exactly as without the interruption, because the state of the generators depends
    only on the epoch. Checkpoints need no such state, and earlier draws of the process (for a figure or another fold)
    have no effect.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed at the first batch; Lightning does not call the hook for the start of an epoch when it resumes."""
        if batch_idx == 0:
            seed = derived_seed(self._seed, trainer.current_epoch, trainer.global_rank)
            L.seed_everything(seed, verbose=False)


class StepBudget(L.Callback):
    """Stop after `steps` optimizer steps, even in the middle of an epoch.

    Lightning 2.6.6 repeats epochs on resuming if its own `max_steps` is set; with max_steps=-1 it counts epochs.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step >= self._steps:
            trainer.should_stop = True


class StepTimer(L.Callback):
    """Report once the seconds per step, measured over `steps` optimizer steps.

    The first step is excluded, because it allocates memory and may compile code; evaluations between epochs are
    included.
    """

    def __init__(self, report: Callable[[float], None], steps: int = 3) -> None:
        self._report, self._steps = report, steps
        self._first: tuple[int, float] | None = None
        self._reported = False

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        step, now = trainer.global_step, time.monotonic()
        if self._first is None:
            self._first = (step, now)
        elif not self._reported and step - self._first[0] >= self._steps:
            self._reported = True
            self._report((now - self._first[1]) / (step - self._first[0]))


class ResumePoints(L.Callback):
    """Save the state of the training after an epoch, at most once per `every` seconds, in the folder of a fold.

    Files are named `<fingerprint>-epoch<number>-<checksum>.ckpt`, so truncated or modified ones are recognised.
    """

    def __init__(self, folder: Path, fingerprint: str, every: float) -> None:
        self._folder, self._fingerprint, self._every = folder, fingerprint, every
        self._saved_at = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save if it is due; must run after the recorder, whose state of this epoch belongs in the file."""
        due = time.monotonic() - self._saved_at >= self._every
        # Not at the end: Lightning would not call `on_train_end` again, which computes the weights for prediction.
        ended = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if not trainer.strategy.broadcast(due) or ended:
            return
        temporary = trainer.strategy.broadcast(self._folder / f"{secrets.token_hex(4)}.partial")
        trainer.save_checkpoint(temporary)  # all processes take part, the first one writes
        if trainer.is_global_zero:
            _keep(temporary, f"{self._fingerprint}-epoch{trainer.current_epoch + 1:06}")
        self._saved_at = time.monotonic()


def newest(folder: Path, fingerprint: str) -> tuple[Path | None, list[str]]:
    """Return the newest intact checkpoint of a fingerprint in a fold's folder, and a remark on each damaged one."""
    remarks: list[str] = []
    for path in sorted(folder.glob(f"{fingerprint}-epoch{'[0-9]' * 6}-*.ckpt"), reverse=True):
        with contextlib.suppress(FileNotFoundError):  # another process of the same fold has a newer one
            if _checksum(path) == path.stem.rpartition("-")[2]:
                return path, remarks
            remarks.append(f"{path} is damaged (checksum differs) and is not used; its epochs are trained again")
    return None, remarks


def _keep(temporary: Path, name: str) -> None:
    """Rename a finished checkpoint to its name with its checksum, and delete older ones."""
    with temporary.open("rb") as stream:
        os.fsync(stream.fileno())
    place = temporary.with_name(f"{name}-{_checksum(temporary)}.ckpt")
    temporary.rename(place)
    for path in place.parent.iterdir():
        if path.suffix in (".ckpt", ".partial") and path != place:  # .partial: left by a killed process
            path.unlink(missing_ok=True)


def _checksum(path: Path) -> str:
    return sha256(path)[:16]
