"""Callbacks of a training: random numbers by epoch, a budget in steps, a step's duration, points to resume from."""

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import lightning as L

from fdp_lightning.files import sha256
from fdp_lightning.seeds import derived_seed


class EpochSeeds(L.Callback):
    """Seed all generators at the first batch of each epoch, from the fold's `seed`, the epoch and the process.

    A resumed training then continues exactly as it would have without interruption: the state of the generators is a
    function of the epoch alone. A checkpoint needs none of it, and what a process drew before (for a figure, for
    another fold) has no effect.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed at the first batch, not at the epoch's start, whose hook Lightning does not call when it resumes."""
        if batch_idx == 0:
            seed = derived_seed(self._seed, trainer.current_epoch, trainer.global_rank)
            L.seed_everything(seed, verbose=False)


class StepBudget(L.Callback):
    """Stop after `steps` optimizer steps, in the middle of an epoch too.

    With Lightning's own `max_steps` Lightning 2.6.6 repeats epochs on resuming; with max_steps=-1 it counts epochs.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_step >= self._steps:
            trainer.should_stop = True


class StepTimer(L.Callback):
    """Tell once how many seconds a step takes, measured over `steps` optimizer steps.

    The first step is not counted: memory is allocated, and perhaps code compiled. An evaluation between epochs is.
    """

    def __init__(self, tell: Callable[[float], None], steps: int = 3) -> None:
        self._tell, self._steps = tell, steps
        self._first: tuple[int, float] | None = None
        self._told = False

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if self._told:
            return
        step, now = trainer.global_step, time.monotonic()
        if self._first is None:
            self._first = (step, now)
        elif step - self._first[0] >= self._steps:
            self._told = True
            self._tell((now - self._first[1]) / (step - self._first[0]))


_NAME = re.compile(r"(?P<fingerprint>[0-9a-f]+)-epoch(?P<epoch>\d+)-(?P<checksum>[0-9a-f]{16})\.ckpt")


class ResumePoints(L.Callback):
    """Save the state of a training after epochs, at most one checkpoint per `every` seconds, into the folder of one
    fold.

    A file's name holds fingerprint, epoch and checksum, so that a truncated or changed file is recognised without a
    second one.
    """

    def __init__(self, folder: Path, fingerprint: str, every: float) -> None:
        self._folder, self._fingerprint, self._every = folder, fingerprint, every
        self._saved_at = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save if it is due; must come after the recorder, whose state of this epoch belongs in the file."""
        due = time.monotonic() - self._saved_at >= self._every
        # Not at the end: Lightning would not call `on_train_end` again, where the weights that predict are made.
        ended = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if not trainer.strategy.broadcast(due) or ended:
            return
        temporary = trainer.strategy.broadcast(self._folder / f"{secrets.token_hex(4)}.partial")
        trainer.save_checkpoint(temporary)  # all processes take part, the first one writes
        if trainer.is_global_zero:
            keep(temporary, f"{self._fingerprint}-epoch{trainer.current_epoch + 1:06}")
        self._saved_at = time.monotonic()


def newest(folder: Path, fingerprint: str) -> tuple[Path | None, list[str]]:
    """Return the newest intact checkpoint of this fingerprint in a fold's folder, and a remark on each damaged one."""
    remarks: list[str] = []
    found = [match for path in _files(folder) if (match := _NAME.fullmatch(path.name))]
    for match in sorted(found, key=lambda one: int(one["epoch"]), reverse=True):
        path = folder / match[0]
        if match["fingerprint"] != fingerprint:
            continue
        with contextlib.suppress(FileNotFoundError):  # another process of the same fold has a newer one
            if sha256(path).startswith(match["checksum"]):
                return path, remarks
            remarks.append(f"{path} is damaged (checksum differs) and is not used; its epochs are trained again")
    return None, remarks


def keep(temporary: Path, name: str) -> None:
    """Rename a complete checkpoint to `<fingerprint>-epoch<number>-<checksum>.ckpt`, and delete older ones."""
    with temporary.open("rb") as stream:
        checksum = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
        os.fsync(stream.fileno())
    place = temporary.with_name(f"{name}-{checksum}.ckpt")
    temporary.rename(place)
    for path in _files(place.parent):
        if path.suffix in (".ckpt", ".partial") and path != place:  # partial: a killed process was writing it
            path.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
