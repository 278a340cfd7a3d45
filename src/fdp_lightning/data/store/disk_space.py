"""Message for a full disk during a store build."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fdp_lightning.data.store.parts import Parts
from fdp_lightning.data.store.sources import ClipSource
from fdp_lightning.disk import is_full
from fdp_lightning.errors import UserError


@contextmanager
def full_disk_explained(folder: Path, parts: Parts, sources: list[ClipSource]) -> Iterator[None]:
    """Turn an error for a full disk into one that says how much is needed, what is free and what to do.

    Args:
        folder: folder of the store being built.
        parts: prepared clips of the store.
        sources: all clips of the store.

    Raises:
        UserError: the disk is full; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        ready, frames, written = 0, 0, 0
        for prepared in map(parts.read, sources):
            if prepared is not None:
                ready, frames, written = ready + 1, frames + len(prepared.frames), written + prepared.frames.nbytes
        # Prepared clips tell grey from colour; before there are any, the smaller size is given.
        per_frame = written / frames if frames else parts.settings.size**2
        store = per_frame * sum(len(source.files) for source in sources)
        kept = f"  The {ready} prepared clips are kept in {parts.folder}; the same command resumes from them.\n"
        raise UserError(
            f"no space left for the clip store in {folder.parent} ({error.strerror})\n"
            f"  The store takes about {_size(store)}, and as much again while it is built; {_size(written)} are "
            f"written, {_size(shutil.disk_usage(folder.parent).free)} are free.\n"
            + (kept if ready else "")
            + "  Free some space (or raise your quota or `ulimit -f`), or choose another place: data.store=<folder>."
        ) from error


def _size(n_bytes: float) -> str:
    """Format a number of bytes in a readable unit."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while n_bytes >= 1000 and len(units) > 1:
        n_bytes /= 1000
        del units[0]
    return f"{n_bytes:.3g} {units[0]}"
