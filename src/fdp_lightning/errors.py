"""Exceptions for a user's mistakes and for disk errors, which the command line distinguishes from bugs."""

import errno
import os
from pathlib import Path
from unicodedata import category


class UserError(Exception):
    """A mistake that the user can correct: reported without a traceback, exit code 2.

    The message names the file or key, what was found, what was expected, and what to do.
    """


def visible(text: str) -> str:
    """Return text for a terminal or a table, with control characters escaped: file names may contain commands."""
    return "".join(
        repr(letter)[1:-1] if category(letter) == "Cc" and letter not in "\n\t" else letter for letter in text
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if the message is empty."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


class DiskError(UserError):
    """A full disk or a path without permission: a search, which continues after other mistakes, stops at this one."""


_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}
_UNUSABLE = {
    errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP,
    errno.EIO,
}  # fmt: skip
_OF_TORCH = ("PytorchStreamWriter", "inline_container", "unexpected pos")
"""Parts of the RuntimeError's message with which torch.save reports that it could not write its file."""


def is_full(error: BaseException) -> bool:
    """Return True if an error means that a disk is full, or a quota or the file size limit (ulimit -f) exceeded."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _OF_TORCH)


def disk_trouble(error: BaseException | None) -> str | None:
    """Return the message for a disk error, or for an error that one caused; None for other errors."""
    while error is not None:
        # For a file being moved, such as a checkpoint from the temporary folder, the second name is its destination.
        place = (error.filename2 or error.filename) if isinstance(error, OSError) else None
        shown = "a file" if place is None else str(place)
        reason = (isinstance(error, OSError) and error.strerror) or str(error).partition("\n")[0]
        if is_full(error):
            return (
                f"no space left for {shown} ({reason})\n"
                "  Free some space, or raise your quota or `ulimit -f`; the same command resumes from what is finished."
            )
        if isinstance(error, OSError) and error.errno in _UNUSABLE:
            return (
                f"{shown} cannot be used: {reason}. Expected a path that you may read and write.\n"
                "  Change its permissions or its name, or run in another folder."
            )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def require_writable(folder: Path) -> None:
    """Raise an OSError, as writing would later, if a folder cannot be created or written to."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        number = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number), str(there))
