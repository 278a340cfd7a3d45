"""A full disk, a quota, a limit or a forbidden place: errors of the system that are no bug, in words."""

import errno
import os
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_UNUSABLE = {
    errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP,
    errno.EIO,
}  # fmt: skip
_OF_TORCH = ("PytorchStreamWriter", "inline_container", "unexpected pos")
"""In the RuntimeError by which torch.save says that it could not write its file."""


def is_full(error: BaseException) -> bool:
    """Return True if an error means that a disk, a quota or the limit of a file's size (ulimit -f) is reached."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _OF_TORCH)


def disk_trouble(error: BaseException | None) -> str | None:
    """What to tell a user of an error of the disk, or of one that was raised because of it; None for another error.

    Args:
        error: as it was caught.
    """
    while error is not None:
        place = error.filename if isinstance(error, OSError) else None
        shown = "a file" if place is None else str(place)
        reason = (isinstance(error, OSError) and error.strerror) or str(error).partition("\n")[0]
        if is_full(error):
            return (
                f"no space left for {shown} ({reason})\n"
                "  Free some space, or raise your quota or `ulimit -f`; the same command goes on from what is finished."
            )
        if isinstance(error, OSError) and error.errno in _UNUSABLE:
            return (
                f"{shown} cannot be used: {reason}. Expected a place that you may read and write.\n"
                "  Change its permissions or its name, or start in another folder."
            )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def require_writable(folder: Path) -> None:
    """Raise an OSError, as writing would later, if a folder that is to be made or filled visibly cannot be."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))
