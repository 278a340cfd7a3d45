"""Files and folders that are either complete or absent: atomic writes and checksums."""

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

_PARTIAL = ".partial"


def write_atomic(path: Path | str, content: str | bytes) -> None:
    """Write a file so that a reader sees either the old content or the new, even if this process is killed.

    The content is written to a temporary file in the same folder (a rename is atomic only within a file system), forced
    to disk, and renamed to `path`. Missing parent folders are created. Text is written as UTF-8 with unchanged line
    endings; bytes of file names that are not valid text become escapes, which JSON allows. If anything raises, the old
    file is untouched and no temporary file remains.
    """
    path = Path(path)
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        # O_EXCL with mode 666 leaves the permissions to the umask; tempfile would make the file private (600).
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)  # noqa: PTH105 — the atomic call, by its own name
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):  # the system does not name the file that did not fit on the disk
            error.filename, error.filename2 = str(path), None
        raise
    # The rename survives a power cut only once the folder is on disk.
    with contextlib.suppress(OSError):
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksummed(facts: Mapping[str, Any]) -> str:
    """Return facts as JSON text that ends with their checksum, under the key `checksum`."""
    body = json.dumps(facts, indent=1, allow_nan=False)
    checksum = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({**facts, "checksum": checksum}, indent=1, allow_nan=False) + "\n"


@contextlib.contextmanager
def atomic_folder(root: Path, is_whole: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a temporary sibling of `root` to write into, and rename it to `root` if the block succeeds.

    Two processes may write the same folder at the same time: the second to finish discards its own if `is_whole`
    accepts the other's. Folders left behind by killed processes of this machine are removed. OSError if `root` holds
    anything else (an empty folder is replaced), or the disk is full.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{root.name}.{socket.gethostname()}."
    for folder in root.parent.iterdir():
        pid = folder.name.removeprefix(prefix).removesuffix(_PARTIAL)
        if folder.name == f"{prefix}{pid}{_PARTIAL}" and (_is_dead(pid) or pid == str(os.getpid())):
            # In containers a killed run and the next one often have the same process id.
            shutil.rmtree(folder, ignore_errors=True)
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
    """Remove temporary files of `write_atomic` that killed processes of this machine left in a folder."""
    for path in folder.glob(f".*.{glob.escape(socket.gethostname())}.*.tmp"):
        if _is_dead(path.name.split(".")[-2].partition("-")[0]):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """Yield a temporary folder and remove it at the end; also remove those of this prefix left by killed processes."""
    for place in Path(tempfile.gettempdir()).glob(f"{prefix}*-*"):
        if _is_dead(place.name.removeprefix(prefix).partition("-")[0]):
            shutil.rmtree(place, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _is_dead(pid: str) -> bool:
    """Return True if no process of this machine has this id."""
    if pid.isdigit():
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is another user's
            return False
    return False
