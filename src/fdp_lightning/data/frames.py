"""The frames of a clip: found in the folder's listing, compared with onset..offset, decoded to pixels."""

import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fdp_lightning.data.problems import some

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
_LAST_DIGITS = re.compile(r"(\d+)\D*$")
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


@dataclass(frozen=True)
class FrameFile:
    """One image of a clip.

    Attributes:
        number: of the frame, the last group of digits in its name.
        path: of the file.
        state: size and time of change when the folder was listed: they stand for the content. 'gone' for a link that
            leads nowhere.
    """

    number: int
    path: Path
    state: str = ""


class UnreadableImageError(Exception):
    """An image file that cannot be decoded; the message names it."""


def list_frames(folder: Path) -> list[FrameFile]:
    """All image files of a folder in the order of their frame numbers; other files are passed over.

    Raises:
        FileNotFoundError, NotADirectoryError, PermissionError: of the folder.
    """
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122 - a Path per file is slow on 30,000 files
            match = _LAST_DIGITS.search(stem)
            # A leading dot hides a file; macOS puts a shadow ('._img46.jpg') beside every file it copies.
            if not match or suffix.lower() not in IMAGE_SUFFIXES or entry.name.startswith("."):
                continue
            try:
                state = entry.stat()
            except OSError:  # a link to nowhere or to itself: reading it will say so under the clip's name
                files.append(FrameFile(int(match[1]), folder / entry.name, "gone"))
                continue
            if not stat.S_ISDIR(state.st_mode):
                files.append(FrameFile(int(match[1]), folder / entry.name, f"{state.st_size}:{state.st_mtime_ns}"))
    return sorted(files, key=lambda file: (file.number, file.path.name))


def frames_between(files: list[FrameFile], onset: int, offset: int) -> tuple[list[FrameFile], str]:
    """The frames of onset..offset, each number once, and what is wrong with them ('' if nothing)."""
    inside = [file for file in files if onset <= file.number <= offset]
    first_of: dict[int, FrameFile] = {}
    for file in inside:
        first_of.setdefault(file.number, file)
    trouble = []
    if len(first_of) < len(inside):
        counts = Counter(file.number for file in inside)
        trouble.append(f"frame numbers {some(n for n, count in counts.items() if count > 1)} occur more than once")
    missing = offset - onset + 1 - len(first_of)
    if missing:
        # Not as a list: an offset with a digit too many would make one of millions.
        named = some(number for number in range(onset, offset + 1) if number not in first_of)
        trouble.append(f"{missing} of the frames {onset}..{offset} are missing ({named})")
    return list(first_of.values()), "; ".join(trouble)


def read_image(path: Path) -> np.ndarray:
    """Decode an image to RGB, uint8, shape (height, width, 3).

    Raises:
        UnreadableImageError: empty, truncated or not an image.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UnreadableImageError(f"{path} cannot be read ({error.strerror})") from error
    if data.size == 0:
        raise UnreadableImageError(f"{path} is empty (0 bytes)")
    if _is_truncated_jpeg(data.tobytes()):
        # OpenCV fills the missing part of a truncated JPEG with grey and says nothing.
        raise UnreadableImageError(f"{path} is truncated (no end-of-image marker)")
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise UnreadableImageError(f"{path} cannot be decoded as an image")
    return image


def _is_truncated_jpeg(data: bytes) -> bool:
    """Whether a file that begins as a JPEG lacks its end-of-image marker.

    The marker counts only behind the start of the scan: an embedded thumbnail in front of it has one of its own.
    """
    if not data.startswith(b"\xff\xd8"):
        return False
    at = 2
    while data[at : at + 1] == b"\xff" and data[at : at + 2] != _START_OF_SCAN:
        is_fill_byte = data[at + 1 : at + 2] == b"\xff"
        at += 1 if is_fill_byte else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(_END_OF_IMAGE, at) < 0
