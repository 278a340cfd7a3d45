"""Files that are either whole or absent: atomic writes and checksums."""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        # O_EXCL with mode 666 leaves the permissions to the umask; tempfile would make the file private
        # (600).
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
        )
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)  # noqa: PTH105 — the call the promise rests on, by its own name
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
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
