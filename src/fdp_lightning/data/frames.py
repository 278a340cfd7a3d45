"""The frames of a clip: found in the folder's listing, compared with onset..offset, decoded to pixels."""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from fdp_lightning.data.problems import some

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
_LAST_DIGITS = re.compile(r"(\d+)\D*$")
_START_OF_IMAGE, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_PADDING = re.compile(r"extraneous bytes before marker 0xd9$")


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
        UnreadableImageError: empty, truncated, damaged or not an image.
    """
    try:
        if trouble := unreadable(os.stat(path), path):  # noqa: PTH116 - as in list_frames
            raise UnreadableImageError(trouble)
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{path} cannot be read ({error.strerror})") from error
    # OpenCV fills what is missing or damaged in a JPEG with grey, or shifts what follows, and returns it as a picture.
    if _is_truncated_jpeg(data):
        raise UnreadableImageError(f"{path} is truncated (no end-of-image marker)")
    if (picture := _flawless_jpeg(data)) is not None:
        return picture
    if damage := _jpeg_damage(data):
        raise UnreadableImageError(f"{path} is damaged ({damage})")
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise UnreadableImageError(f"{path} cannot be decoded as an image")
    return image


def blended(read: Callable[[np.ndarray], np.ndarray], places: np.ndarray) -> np.ndarray:
    """Frames of a clip at positions that need not be whole: between two of the clip their blend by distance.

    Args:
        read: gives the frames at whole positions, uint8.
        places: from `Sampling.positions`, shape (t,).

    Returns:
        uint8, shape (t, h, w) or (t, h, w, 3).
    """
    if places.dtype.kind == "i":
        return read(places)
    before, after = np.floor(places).astype(np.int64), np.ceil(places).astype(np.int64)
    first, second = read(before), read(after)
    share = (places - before).reshape(-1, *[1] * (first.ndim - 1))
    return np.asarray((first * (1 - share) + second * share).round().astype(np.uint8))


def unreadable(state: os.stat_result, path: Path) -> str:
    """Why a file of this state cannot hold a picture, '' if it can."""
    if not stat.S_ISREG(state.st_mode):  # reading a pipe would wait for ever
        return f"{path} is no regular file"
    return "" if state.st_size else f"{path} is empty (0 bytes)"


def _flawless_jpeg(data: bytes) -> np.ndarray | None:
    """The picture of a JPEG that libjpeg has nothing to complain of, the same as OpenCV's; None: look closer.

    One pass decodes it and finds damage. Of a picture with Exif data OpenCV knows which way up it is.
    """
    if not data.startswith(_START_OF_IMAGE) or b"Exif\0" in data:
        return None
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB", strict=True))
    except ValueError:
        return None


def _jpeg_damage(data: bytes) -> str:
    """What libjpeg complains of in a JPEG, '' if nothing.

    A look at an eighth of the size in grey decodes every bit of the file. Of damage that leaves a valid code (a single
    bit, more often than not) nobody can know.
    """
    if not data.startswith(_START_OF_IMAGE):
        return ""
    found = _complaint(data)
    if _PADDING.search(found):
        # Some encoders pad the end of a picture, which harms nothing; cut data may look like it.
        bare = data[: data.rfind(_END_OF_IMAGE)].rstrip(b"\0")
        return _complaint(bare + b"\0" * bare.endswith(b"\xff") + _END_OF_IMAGE)  # FF 00 is a byte of the picture
    return found


def _complaint(jpeg: bytes) -> str:
    try:
        simplejpeg.decode_jpeg(jpeg, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        # Rare kinds of JPEG that only this reader refuses are no damage: OpenCV will decode them or not.
        return "" if str(error).startswith(("tj", "Unsupported color")) else str(error)
    return ""


def _is_truncated_jpeg(data: bytes) -> bool:
    """Whether a file that begins as a JPEG lacks its end-of-image marker.

    The marker counts only behind the start of the scan: an embedded thumbnail in front of it has one of its own.
    """
    if not data.startswith(_START_OF_IMAGE):
        return False
    at = 2
    while data[at : at + 1] == b"\xff" and data[at : at + 2] != _START_OF_SCAN:
        is_fill_byte = data[at + 1 : at + 2] == b"\xff"
        at += 1 if is_fill_byte else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(_END_OF_IMAGE, at) < 0
