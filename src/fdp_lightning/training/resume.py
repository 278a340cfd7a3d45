"""Checkpoints to resume an interrupted training from: the newest intact one is used, a damaged one is never read."""

import contextlib
import hashlib
import os
import re
import secrets
import time
from pathlib import Path

import lightning as L

from fdp_lightning.files import sha256

_NAME = re.compile(r"(?P<fingerprint>[0-9a-f]+)-epoch(?P<epoch>\d+)-(?P<checksum>[0-9a-f]{16})\.ckpt")


class ResumePoints(L.Callback):
    """Save the state of a training after epochs, at most one checkpoint per `every` seconds.

    A file's name holds fingerprint, epoch and checksum, so that a truncated or changed file is recognised without a
    second one.

    Args:
        folder: folder for the checkpoints of one fold.
        fingerprint: fingerprint of everything that decides the training, hexadecimal.
        every: seconds that a killed training may lose; at least an epoch is lost.
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
    """Return the checkpoint to resume from, if there is one, and a remark on each file that cannot be used.

    Args:
        folder: folder of one fold's checkpoints.
        fingerprint: fingerprint of the training to resume; checkpoints of another are skipped.
    """
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
    """Rename a complete checkpoint to its final name and delete the older ones.

    Args:
        temporary: complete checkpoint in its folder.
        name: `<fingerprint>-epoch<number>`.
    """
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
