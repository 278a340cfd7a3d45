"""A folder that is either whole or not there."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fdp_lightning.errors import UserError


@contextmanager
def atomic_folder(root: Path, is_whole: Callable[[Path], bool]) -> Iterator[Path]:
    """Give a temporary sibling of `root` to write into and rename it to `root` when the block ends well.

    Two processes may write the same folder at once: the second to finish throws its own away.

    Args:
        root: the folder to make; it may exist if it is empty.
        is_whole: whether a folder holds the finished result, for that case.

    Raises:
        UserError: `root` exists and holds something.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} exists and is not the synthetic data set asked for; move it or choose another.")
    root.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{root.name}.{socket.gethostname()}."
    _remove_leftovers(root.parent, prefix)
    temporary = root.with_name(f"{prefix}{os.getpid()}.partial")
    temporary.mkdir()
    try:
        yield temporary
        if root.is_dir() and not any(root.iterdir()):
            root.rmdir()
        try:
            temporary.rename(root)
        except OSError:
            if not is_whole(root):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(parent: Path, prefix: str) -> None:
    """Remove what writers of this machine left behind when they were killed; living ones keep theirs."""
    for folder in parent.iterdir():
        pid = folder.name.removeprefix(prefix).removesuffix(".partial")
        if folder.name == f"{prefix}{pid}.partial" and pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there os.kill has no harmless signal to ask with
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
