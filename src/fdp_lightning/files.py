"""Files and folders that are either whole or absent: atomic writes and checksums."""

import contextlib
import glob
import hashlib
import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


def write_atomic(path: Path | str, content: str | bytes) -> None:
    """Write a file so that a reader, or a run cut off at any moment, sees the old content or the new, never
    half.

    The content goes to a temporary file in the same folder (a rename is atomic only within one file system),
    is forced to the disk, and takes the place of `path`. Missing parent folders are made. Text is UTF-8 with
    its line ends left as they are. If anything raises, the old file is untouched and no temporary file stays.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        # O_EXCL with mode 666 leaves the permissions to the umask; tempfile would make the file private
        # (600).
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)  # noqa: PTH105 — the call the promise rests on, by its own name
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):  # of a full disk the system does not say which file it was
            error.filename, error.filename2 = str(path), None
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The rename itself survives a power cut only once the folder is on the disk. Not every system can open
    # one.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksummed(facts: Mapping[str, Any]) -> str:
    """Facts as JSON text that is closed by a checksum of all of it, under the key `checksum`."""
    body = json.dumps(facts, indent=1, allow_nan=False)
    checksum = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({**facts, "checksum": checksum}, indent=1, allow_nan=False) + "\n"


@contextlib.contextmanager
def atomic_folder(root: Path, is_whole: Callable[[Path], bool]) -> Iterator[Path]:
    """Give a temporary sibling of `root` to write into, and rename it to `root` when the block ends well.

    Two processes may write the same folder at once: the second to finish throws its own away. What killed writers of
    this machine left behind is removed.

    Args:
        root: the folder to make; it may exist if it is empty.
        is_whole: whether a folder that came to `root` meanwhile holds the finished result.

    Raises:
        OSError: `root` holds something else, or the disk is full.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{root.name}.{socket.gethostname()}."
    _remove_leftovers(root.parent, prefix)
    temporary = root.with_name(f"{prefix}{os.getpid()}{_PARTIAL}")
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


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `write_atomic` that processes of this machine left in a folder when killed."""
    for path in folder.glob(f".*.{glob.escape(socket.gethostname())}.*.tmp"):
        pid = path.name.split(".")[-2].partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Give a folder among the system's temporary ones, and remove it at the end, with those of killed processes.

    Args:
        prefix: of its name and of theirs.
    """
    for place in Path(tempfile.gettempdir()).glob(f"{prefix}*-*"):
        pid = place.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(place, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def is_partial(folder: Path) -> bool:
    """Whether a folder is one that `atomic_folder` is still writing, or was when it was killed."""
    return folder.name.endswith(_PARTIAL)


_PARTIAL = ".partial"


def _remove_leftovers(parent: Path, prefix: str) -> None:
    for folder in parent.iterdir():
        pid = folder.name.removeprefix(prefix).removesuffix(_PARTIAL)
        # In a container a killed run and the next one often have the same process id: what bears ours is not ours yet.
        dead = pid.isdigit() and (int(pid) == os.getpid() or not is_alive(int(pid)))
        if folder.name == f"{prefix}{pid}{_PARTIAL}" and dead:
            shutil.rmtree(folder, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Return True if a process of this machine has this id."""
    if os.name == "nt":  # there os.kill has no harmless signal to ask with
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
