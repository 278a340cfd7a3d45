"""The frames of a clip: found in the folder's listing, compared with onset..offset, decoded to pixels."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
_LAST_DIGITS = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class FrameFile:
    """One image of a clip and its frame number (the last group of digits in its name)."""

    number: int
    path: Path


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
            if match and suffix.lower() in IMAGE_SUFFIXES:
                files.append(FrameFile(int(match[1]), folder / entry.name))
    return sorted(files, key=lambda file: (file.number, file.path.name))


def frames_between(files: list[FrameFile], onset: int, offset: int) -> tuple[list[FrameFile], str]:
    """The frames of onset..offset, and what is wrong with them ('' if nothing)."""
    inside = [file for file in files if onset <= file.number <= offset]
    numbers = [file.number for file in inside]
    doubled = sorted({n for n in numbers if numbers.count(n) > 1})
    if doubled:
        return inside, f"frame numbers {doubled[:5]} occur more than once"
    missing = sorted(set(range(onset, offset + 1)) - set(numbers))
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (" …" if len(missing) > 5 else "")
        return inside, f"{len(missing)} of the frames {onset}..{offset} are missing ({shown})"
    return inside, ""


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
    if path.suffix.lower() in (".jpg", ".jpeg") and b"\xff\xd9" not in data[-4096:].tobytes():
        # OpenCV fills the missing part of a truncated JPEG with grey and says nothing.
        raise UnreadableImageError(f"{path} is truncated (no end-of-image marker)")
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise UnreadableImageError(f"{path} cannot be decoded as an image")
    return image
