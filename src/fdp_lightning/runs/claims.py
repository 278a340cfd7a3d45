"""Exclusive claims of one process or one kind of command: on a fold in training, a GPU, a run folder.

They are file locks, so runs need not know of each other, and the system releases a lock however its holder ends.
"""

import ctypes
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import product
from pathlib import Path

from filelock import FileLock, Timeout

from fdp_lightning.errors import UserError
from fdp_lightning.processes import in_worker


def claim(path: Path) -> FileLock | None:
    """Acquire and return the lock of this file; None if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, mode=0o666)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


@contextmanager
def run_claim(run: Path, fingerprint: str) -> Iterator[None]:
    """Reserve a run folder for commands of one fingerprint while any of them works in it.

    Commands with the same settings share it, each training other folds; UserError if a command with other settings
    works in it. Leftovers of killed commands are removed.
    """
    place = run / ".working"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "mutex", mode=0o666):
        for path in place.glob("*.lock"):
            if (held := claim(path)) is not None:
                path.unlink(missing_ok=True)
                held.release()
            elif (other := path.name.partition("-")[0]) != fingerprint:
                raise UserError(
                    f"another command is working in {run} with other settings, clips or source code (fingerprint "
                    f"{other}, this one has {fingerprint}). Wait until it has ended, or choose another folder: run=…"
                )
        own = place / f"{fingerprint}-{os.getpid()}-{secrets.token_hex(4)}.lock"
        lock = claim(own)
        assert lock is not None
    try:
        yield
    finally:
        own.unlink(missing_ok=True)
        lock.release()


class Gpus:
    """GPUs of this machine, shared with all its runs of this project, for up to `per_gpu` concurrent folds each.

    `names` must be the same in all processes on the machine. The locks are in `folder` or, by default, in a folder for
    all users below the system's temporary folder.
    """

    def __init__(self, names: Sequence[str], per_gpu: int = 1, folder: Path | None = None) -> None:
        self._names, self._per_gpu = list(names), per_gpu
        self._folder = folder or _shared_folder()

    def claim(self, count: int) -> tuple[tuple[int, ...], ExitStack] | None:
        """Claim `count` free GPUs, the least busy first, with a stack that releases them; None if fewer are free."""
        indices: list[int] = []
        with ExitStack() as held:
            for lane, (index, name) in product(range(self._per_gpu), enumerate(self._names)):
                path = self._folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}-{lane}.lock"
                if len(indices) < count and index not in indices and (lock := claim(path)):
                    held.callback(lock.release)
                    indices.append(index)
            return (tuple(indices), held.pop_all()) if len(indices) == count else None


@cache
def gpu_names() -> list[str]:
    """Return `visible_gpus` from a worker, because this process does not import torch."""
    return in_worker(visible_gpus) if _has_driver() else []


def visible_gpus() -> list[str]:
    """Return a name for each visible GPU, in torch's order: its entry in CUDA_VISIBLE_DEVICES, or its number."""
    import torch

    count = torch.cuda.device_count()
    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return listed[:count] if len(listed) >= count else [str(index) for index in range(count)]


def _has_driver() -> bool:
    """Return False if PyTorch cannot see any GPU here, which is faster than importing it."""
    if sys.platform != "linux" or Path("/dev/kfd").exists():  # AMD's
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _shared_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / "fdp_lightning-gpus"
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)  # like /tmp: all users may lock, but not remove files of others
    return folder
