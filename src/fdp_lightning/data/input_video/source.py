"""Input videos at a path: a folder with one image per frame, a video file, or a folder of such."""

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from fdp_lightning.console.option_values import require_allowed
from fdp_lightning.data.checks.problems import some
from fdp_lightning.data.faces.frames import (
    IMAGE_SUFFIXES,
    FrameFile,
    UnreadableImageError,
    bits_of,
    eight_bits,
    frames_between,
    list_frames,
    range_remark,
    read_samples,
)
from fdp_lightning.data.input_video.video import Frame, InputVideo, VideoFile, folder_name
from fdp_lightning.errors import UserError

_MOST_RANGED = 100  # largest number of 16-bit frames decoded to find the range of all
# Suffixes by which videos in a folder are recognised; a file given by its own path may have any name.
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".flv", ".avi", ".divx", ".webm", ".mkv", ".wmv", ".asf",
    ".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".ogv", ".ogg", ".mxf", ".dv", ".gif",
})  # fmt: skip
_WANTED = "expected a video file, a folder of frames (img1.jpg, img2.jpg …), or a folder of such"

__all__ = ["VIDEO_SUFFIXES", "Frame", "FrameFolder", "InputVideo", "VideoFile", "as_input_video", "input_videos"]


class FrameFolder:
    """A folder of images with frame numbers in their names, see `input_videos`; other files in it are skipped.

    Times are derived from the numbers, so that missing frames leave a gap; without `fps` they are unknown. `bits` is
    the depth of 16-bit images; None: that of their values. `remarks` are the caller's warnings, repeated at each
    iteration.
    """

    def __init__(self, folder: Path, fps: float | None = None, bits: int | None = None) -> None:
        require_allowed({"predict.fps": fps})
        self.folder, self.fps, self.bits = folder, fps, bits
        self.name = folder_name(folder.resolve().name)
        self.remarks: list[str] = []
        self.warnings: list[str] = []

    def frames(self) -> Iterator[Frame]:
        """See `InputVideo.frames`; reading a frame that is damaged or differs in size from the first one fails."""
        self.warnings = [*self.remarks]
        try:
            files = list_frames(self.folder)
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be listed ({error.strerror}); expected a folder of frames."
            ) from error
        if not files:
            raise UserError(f"{self.folder} holds no frames; expected images with numbers in their names (img1.jpg …).")
        first, last = files[0].number, files[-1].number
        files, trouble = frames_between(files, first, last)
        if trouble:
            self.warnings.append(f"{self.folder}: {trouble}; the first file of a repeated number is used")
        images = _Images(files, self.warnings, self.bits)
        for file in files:
            seconds = None if self.fps is None else (file.number - first) / self.fps
            yield Frame(file.number, seconds, partial(images.read, file))


class _Images:
    """Frames of one folder, all with the first one's size and a common range."""

    def __init__(self, files: Sequence[FrameFile], warnings: list[str], bits: int | None) -> None:
        self.files, self.first, self._warnings, self._stated = files, files[0], warnings, bits
        self.shape: tuple[int, ...] | None = None
        self._clipped = False

    def read(self, file: FrameFile) -> np.ndarray:
        image = _read(file)
        if self.shape is None:
            self.shape = image.shape if file is self.first else _read(self.first).shape
        if image.shape != self.shape:
            (height, width), (first_height, first_width) = image.shape[:2], self.shape[:2]
            raise UserError(
                f"{file.path} is {width}x{height} and {self.first.path.name} {first_width}x{first_height}; expected "
                "frames of one size. Remove the files that do not belong to the clip."
            )
        if image.dtype == np.uint8:
            return image
        if not self._clipped and bits_of([image]) > self._bits:
            self._clipped = True
            self._warnings.append(f"{file.path} and possibly others have values above that range; they become white")
        return eight_bits(image, self._bits)

    @cached_property
    def _bits(self) -> int:
        """Bit depth of all frames, from a sample of the folder; with several depths, the brightness would flicker."""
        step = math.ceil(len(self.files) / _MOST_RANGED)
        bits = self._stated or bits_of(_read(file) for file in self.files[::step])
        if remark := range_remark(bits, "predict.bits" if self._stated else ""):
            self._warnings.append(remark)
        return bits


def _read(file: FrameFile) -> np.ndarray:
    try:
        return read_samples(file.path)
    except UnreadableImageError as error:
        raise UserError(
            f"{error}; expected an image. Replace it, or remove it to continue without that frame."
        ) from error


def input_videos(source: Path, fps: float | None = None, bits: int | None = None) -> list[InputVideo]:
    """Return the clips at a path, sorted by name: a single one, or those in a folder.

    A folder that contains frames is one clip; frames in folders below it are left out with a warning. In a folder
    without frames, each video and each folder of frames is a clip. Hidden and other files are skipped. Clip names are
    unique regardless of case, and valid as folder names. `fps` replaces a video's own frame rate, and is the rate of
    folders of frames. Raises UserError if there is no clip, the contents are ambiguous, or `bits` (of 16-bit images) is
    given for a video.
    """
    if not source.is_dir():
        if source.suffix.lower() in IMAGE_SUFFIXES and source.exists():
            raise UserError(f"{source} is a single image; {_WANTED}.")
        if bits is not None and source.exists():
            raise UserError(
                f"predict.bits={bits} applies to 16-bit images, but {source} is a video, which states its own bit "
                "depth. Leave predict.bits out."
            )
        return [VideoFile(source, fps=fps)]
    folders, videos, others = _listing(source)
    if clip := _frame_folder(source, videos, fps, bits):
        if hidden := [folder.name for folder in folders if list_frames(folder)]:
            clip.remarks.append(f"{source} itself contains frames: those in its folders {some(hidden)} are left out")
        return [clip]
    found: list[tuple[Path, InputVideo]] = [(video, VideoFile(video, fps=fps)) for video in videos]
    for folder in folders:
        _, inner_videos, _ = _listing(folder)
        if clip := _frame_folder(folder, inner_videos, fps, bits):
            found.append((folder, clip))
        elif inner_videos:  # do not skip them silently
            raise UserError(
                f"{folder} holds {len(inner_videos)} videos ({some(path.name for path in inner_videos)}), one "
                f"level too deep in {source}. Give that folder itself as the input, or move its videos up."
            )
    if not found:
        names = some(path.name for path in (*folders, *others)) or "nothing"
        raise UserError(f"{source} holds no video and no frames, but {names}; {_WANTED}.")
    found.sort(key=lambda pair: pair[0].name)
    _make_names_unique(found)
    return [video for _, video in found]


def as_input_video(source: Path | str | BinaryIO | InputVideo, name: str = "", fps: float | None = None) -> InputVideo:
    """Return a video, a folder of frames, an open file or an input video as one clip; UserError if it holds several."""
    if isinstance(source, Path | str):
        clips = input_videos(Path(source), fps)
        if len(clips) > 1:
            names = some(clip.name for clip in clips)
            raise UserError(f"{source} holds {len(clips)} clips ({names}); expected one. task=predict accepts several.")
        (video,) = clips
    elif hasattr(source, "frames"):
        video = cast(InputVideo, source)
    elif hasattr(source, "seek"):
        video = VideoFile(source, name, fps)
    else:
        raise UserError(
            f"a clip is given as {type(source).__name__}; expected a path, a file open for reading, or an object with "
            "name, warnings and frames() like fdp_lightning.data.input_video.video.InputVideo"
        )
    video.name = folder_name(name) if name else video.name
    return video


def _listing(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the folders, videos and other files in a folder, each sorted by name, without hidden ones."""
    try:
        paths = sorted(Path(entry) for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} cannot be listed ({error.strerror}); {_WANTED}.") from error
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    return folders, videos, [path for path in files if path not in videos]


def _frame_folder(folder: Path, videos: list[Path], fps: float | None, bits: int | None) -> FrameFolder | None:
    """Return the clip whose frames are in a folder, None without frames; UserError if there are videos as well."""
    files = list_frames(folder)
    if files and videos:
        raise UserError(
            f"{folder} holds both frames ({files[0].path.name} …) and videos ({some(path.name for path in videos)}): "
            "is it a clip, or a folder of clips? Give one of the videos as the input, or move the frames to a separate "
            "folder."
        )
    return FrameFolder(folder, fps, bits) if files else None


def _make_names_unique(found: list[tuple[Path, InputVideo]]) -> None:
    """Name each without its suffix if that is unique, else with it, else numbered."""
    short = Counter(video.name.casefold() for _, video in found)
    taken: set[str] = set()
    for path, video in found:
        name = wanted = video.name if short[video.name.casefold()] == 1 else folder_name(path.name)
        number = 2
        while name.casefold() in taken:
            name, number = f"{wanted}-{number}", number + 1
        taken.add(name.casefold())
        video.name = name
