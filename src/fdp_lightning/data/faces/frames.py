"""Frames of a clip: listing their folder, comparing it with onset..offset, decoding them to pixels."""

import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from fdp_lightning.data.checks.problems import some
from fdp_lightning.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
MOST_PIXELS = 48_000_000  # largest accepted image or video frame, limited by memory (ours; 8K is 33 million)
_DEPTHS = (8, 10, 12, 14, 16)  # bit depths of cameras
_START_OF_IMAGE, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
_PADDING = re.compile(r"extraneous bytes before marker 0xd9$")


@dataclass(frozen=True)
class FrameFile:
    """One image file of a clip.

    Attributes:
        number: frame number, see `list_frames`.
        path: path of the file.
        state: size and modification time when the folder was listed, used in place of the content; 'gone' for a
            dangling link.
    """

    number: int
    path: Path
    state: str = ""

    @property
    def size(self) -> int:
        """Size of the file, bytes; -1 for a dangling link."""
        return -1 if self.state == "gone" else int(self.state.partition(":")[0])


class UnreadableImageError(UserError):
    """An image file cannot be decoded; the message names it."""


def list_frames(folder: Path) -> list[FrameFile]:
    """Return all image files of a folder, or of the series of a file (`x.png`, `x_1.png`, …), sorted by frame number;
    raises OSError if the folder cannot be listed.
    """
    if folder.suffix.lower() in IMAGE_SUFFIXES and folder.is_file():
        return _series(folder)
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122 - a Path per file is slow on 30,000 files
            # macOS adds a hidden file ('._img46.jpg') to every file it copies.
            if suffix.lower() not in IMAGE_SUFFIXES or entry.name.startswith(".") or not re.search(r"\d", stem):
                continue
            try:
                state = entry.stat()
            except OSError:  # a broken or circular link: reading it reports that under the clip's name
                found.append((stem, folder / entry.name, "gone"))
                continue
            if not stat.S_ISDIR(state.st_mode):
                found.append((stem, folder / entry.name, _state(state)))
    numbers = frame_numbers([stem for stem, _, _ in found])
    files = [FrameFile(number, path, state) for number, (_, path, state) in zip(numbers, found, strict=True)]
    return sorted(files, key=lambda file: (file.number, file.path.name))


def _series(first: Path) -> list[FrameFile]:
    name = first.stem.rstrip(" ")
    end = first.stem[len(name) :] + first.suffix
    files: list[FrameFile] = []
    path = first
    while path.is_file():
        files.append(FrameFile(len(files), path, _state(path.stat())))
        path = first.with_name(f"{name}_{len(files)}{end}")
    return files


def _state(found: os.stat_result) -> str:
    return f"{found.st_size}:{found.st_mtime_ns}"


def frame_numbers(stems: Sequence[str]) -> list[int]:
    """Return the frame number in each name of a folder; names have no suffix and at least one digit.

    Among names that differ only in their digits, it is the group of digits with the most distinct values. If there are
    several such groups, it is the last, unless an earlier one numbers the frames without gaps in another order: the
    size or position of a crop may vary too.
    """
    alike: dict[tuple[str, ...], list[int]] = {}
    digits = []
    for place, stem in enumerate(stems):
        parts = re.split(r"(\d+)", stem)
        digits.append([int(part) for part in parts[1::2]])
        alike.setdefault(tuple(parts[::2]), []).append(place)
    numbers = [0] * len(stems)
    for places in alike.values():
        group = _counting(list(zip(*(digits[place] for place in places), strict=True)))
        for place in places:
            numbers[place] = digits[place][group]
    return numbers


def _counting(groups: list[tuple[int, ...]]) -> int:
    """Return the index of the group of digits that numbers the frames; a group holds its values in all names."""
    values = [len(set(group)) for group in groups]
    *earlier, last = (place for place, count in enumerate(values) if count == max(values))
    if values[last] < len(groups[last]):
        return last
    order = sorted(groups[last])
    for place in earlier:
        numbers = groups[place]
        is_gapless = max(numbers) - min(numbers) + 1 == len(numbers)
        if is_gapless and order != [value for _, value in sorted(zip(numbers, groups[last], strict=True))]:
            return place
    return last


def frames_between(files: list[FrameFile], onset: int, offset: int) -> tuple[list[FrameFile], str]:
    """Return the frames of onset..offset, each number once, and a description of their problems ('' if none)."""
    inside = [file for file in files if onset <= file.number <= offset]
    counts = Counter(file.number for file in inside)
    first_of = {file.number: file for file in reversed(inside)}
    trouble = []
    if len(counts) < len(inside):
        trouble.append(f"frame numbers {some(n for n, count in counts.items() if count > 1)} occur more than once")
    if missing := offset - onset + 1 - len(counts):
        # Not listed in full: an offset with a digit too many would produce millions.
        named = some(number for number in range(onset, offset + 1) if number not in counts)
        verb = "is" if missing == 1 else "are"
        trouble.append(f"{missing} of the frames {onset}..{offset} {verb} missing ({named})")
    return [first_of[number] for number in counts], "; ".join(trouble)


def read_image(path: Path, bits: int | None = None) -> np.ndarray:
    """Decode an image to RGB, uint8, (h, w, 3), see `read_samples`; 16-bit samples are scaled by `bits`, or by the bit
    depth of their values.
    """
    samples = read_samples(path)
    return eight_bits(samples, bits or bits_of([samples]))


def read_samples(path: Path) -> np.ndarray:
    """Decode an image to RGB at its own depth, uint8 or uint16, (h, w, 3); raises UnreadableImageError if it is empty,
    truncated, damaged, too large, or of another depth.
    """
    data = _bytes_of(path)
    _size_in(data, path)
    if data.startswith(_START_OF_IMAGE):
        if (flawless := _flawless_jpeg(data)) is not None:
            return flawless
        # OpenCV decodes a damaged JPEG without an error, with missing parts grey or the rest shifted.
        if damage := _jpeg_damage(data):
            raise UnreadableImageError(f"{path} is damaged or truncated ({damage})")
    image: np.ndarray | None = None
    with suppress(cv2.error):
        # Not IMREAD_COLOR_RGB: it swaps the channels of a 16-bit colour TIFF (OpenCV 5.0.0).
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise UnreadableImageError(f"{path} cannot be decoded as an image")
    if image.dtype not in (np.uint8, np.uint16):
        raise UnreadableImageError(f"{path} holds samples of type {image.dtype}; expected 8 or 16 bits")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def bits_of(images: Iterable[np.ndarray]) -> int:
    """Return the bit depth that 16-bit images use: the smallest camera bit depth that holds their values."""
    peak = max((int(image.max()) for image in images if image.dtype == np.uint16), default=0)
    return next(bits for bits in _DEPTHS if peak < 2**bits)


def eight_bits(image: np.ndarray, bits: int) -> np.ndarray:
    """Return an image as uint8, with 16-bit samples scaled by the `bits` they use; higher values become white."""
    if image.dtype == np.uint8:
        return image
    return np.asarray(np.minimum(image >> (bits - 8), 255).astype(np.uint8))


def range_remark(bits: int, option: str = "") -> str:
    """Return a remark on the scaling of 16-bit samples by the bits found or set by `option`; '' if 16 were found."""
    if bits == 16 and not option:
        return ""
    what = f"are read as {bits}-bit images ({option}={bits})" if option else f"that use {bits} bits"
    return f"16-bit images {what}: 0..{2**bits - 1} are scaled to black..white"


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height from an image's header; raises UnreadableImageError if they are missing or too large."""
    return _size_in(_bytes_of(path), path)


def _bytes_of(path: Path) -> bytes:
    if trouble := unreadable(path):
        raise UnreadableImageError(trouble)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"{path} cannot be read ({error.strerror})") from error


def _size_in(data: bytes, path: Path) -> tuple[int, int]:
    width, height = _header_size(data, path)
    if width * height > MOST_PIXELS:
        raise UnreadableImageError(f"{path} is {width}x{height}; expected {MOST_PIXELS} pixels at most")
    return width, height


def _header_size(data: bytes, path: Path) -> tuple[int, int]:
    if data.startswith(_START_OF_IMAGE):
        with suppress(ValueError):  # fails on rare formats, but needs no part of the file besides the image
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
            return width, height
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, on images too large and on damaged parts without image
            with Image.open(BytesIO(data)) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"{path} has too many pixels; expected {MOST_PIXELS} at most") from error
    except Exception as error:  # Pillow's plugins raise many kinds on foreign files
        raise UnreadableImageError(f"{path} cannot be decoded as an image") from error


def blended(read: Callable[[np.ndarray], np.ndarray], places: np.ndarray) -> np.ndarray:
    """Return a clip's frames at real-valued positions, (t,), blending the two neighbours linearly; `read` returns
    frames, uint8, (t, h, w) or (t, h, w, 3), at integer positions.
    """
    if places.dtype.kind == "i":
        return read(places)
    before, after = np.floor(places).astype(np.int64), np.ceil(places).astype(np.int64)
    first, second = read(before), read(after)
    share = (places - before).reshape(-1, *[1] * (first.ndim - 1))
    return np.asarray((first * (1 - share) + second * share).round().astype(np.uint8))


_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


def decoded(
    read: Callable[[_Given], _Found], given: Sequence[_Given], workers: int, progress: Callable[[int, int], None]
) -> Iterator[_Found]:
    """Yield `read` of each item, in `workers` threads (decoding releases the GIL); `progress` gets (done, total)."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            for done, found in enumerate(pool.map(read, given), start=1):
                progress(done, len(given))
                yield found
    finally:
        cv2.setNumThreads(threads)


def unreadable(path: Path) -> str:
    """Return why a file cannot be an image or a video, judged by its type, size and permissions; '' if it can."""
    try:
        state = os.stat(path)  # noqa: PTH116 - as in list_frames
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    if not stat.S_ISREG(state.st_mode):  # reading a pipe would block
        return f"{path} is {'a folder' if stat.S_ISDIR(state.st_mode) else 'not a regular file'}"
    if not state.st_size:
        return f"{path} is empty (0 bytes)"
    return "" if os.access(path, os.R_OK) else f"{path} cannot be read (Permission denied)"


def _flawless_jpeg(data: bytes) -> np.ndarray | None:
    """Return the image, identical to OpenCV's, if libjpeg decodes it without a warning; else None. JPEGs with Exif data
    are left to OpenCV, which applies their orientation.
    """
    if b"Exif\0" in data:
        return None
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, "RGB", strict=True))
    except ValueError:
        return None


def _jpeg_damage(data: bytes) -> str:
    """Return libjpeg's warning about a JPEG, '' if there is none: damage to a single bit often leaves valid code.
    Decoding at an eighth of the size in grey reads every bit of the file.
    """
    found = _complaint(data)
    if _PADDING.search(found):
        # Some encoders pad the end of an image, which is harmless; truncated data may look the same.
        bare = data[: data.rfind(_END_OF_IMAGE)].rstrip(b"\0")
        return _complaint(bare + b"\0" * bare.endswith(b"\xff") + _END_OF_IMAGE)  # FF 00 encodes a byte of the image
    return found


def _complaint(jpeg: bytes) -> str:
    try:
        simplejpeg.decode_jpeg(jpeg, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:
        # Rare kinds of JPEG that only this reader rejects are not damaged; OpenCV decides.
        return "" if str(error).startswith(("tj", "Unsupported color")) else str(error)
    return ""
