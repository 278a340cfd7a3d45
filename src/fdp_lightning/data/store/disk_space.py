"""What a user reads when the disk is full while a store is built."""

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
    """Turn an error that means 'no space' into one that says how much is needed, what is free and what to do.

    Args:
        folder: of the store that is being built.
        parts: its prepared clips.
        sources: all its clips.

    Raises:
        UserError: in place of an OSError of a full disk; other errors pass.
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
        # What is ready tells grey from colour; before that the smaller of the two is told.
        per_frame = written / frames if frames else parts.settings.size**2
        store = per_frame * sum(len(source.files) for source in sources)
        kept = f"  The {ready} clips that are prepared are kept in {parts.folder}: the same command goes on there.\n"
        raise UserError(
            f"no space left for the clip store in {folder.parent} ({error.strerror})\n"
            f"  The store takes about {_size(store)}, and as much again while it is built; {_size(written)} of that is "
            f"written, {_size(shutil.disk_usage(folder.parent).free)} are free.\n"
            + (kept if ready else "")
            + "  Free some space (or raise your quota or `ulimit -f`), or choose another place: data.store=<folder>."
        ) from error


def _size(n_bytes: float) -> str:
    """Bytes in the unit that a person would use."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while n_bytes >= 1000 and len(units) > 1:
        n_bytes /= 1000
        del units[0]
    return f"{n_bytes:.3g} {units[0]}"
