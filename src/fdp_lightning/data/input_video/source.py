"""Input videos at a path: one clip or many."""

import os
from collections import Counter
from pathlib import Path
from typing import BinaryIO, cast

from fdp_lightning.data.checks.problems import some
from fdp_lightning.data.faces.frames import IMAGE_SUFFIXES, list_frames
from fdp_lightning.data.input_video.folder import FrameFolder
from fdp_lightning.data.input_video.frame import Footage, Frame, folder_name
from fdp_lightning.data.input_video.video import VideoFile
from fdp_lightning.errors import UserError

__all__ = ["VIDEO_SUFFIXES", "Footage", "Frame", "FrameFolder", "VideoFile", "as_footage", "footages"]

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".flv", ".avi", ".divx", ".webm", ".mkv", ".wmv", ".asf",
    ".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".ogv", ".ogg", ".mxf", ".dv", ".gif",
})  # fmt: skip
"""Suffixes of videos among the files of a folder; a file given by its own path may have any name."""

_WANTED = "expected a video file, a folder of frames (img1.jpg, img2.jpg …), or a folder of such"


def footages(source: Path, fps: float | None = None) -> list[Footage]:
    """Return the clips at a path: a single one, or those in a folder, by name.

    A folder that contains frames is one clip; frames in folders below it are left out with a warning. In a folder
    without frames, each video and each folder of frames is a clip. Hidden and other files are skipped. Names are unique
    regardless of case, and valid as folder names. `fps` replaces a video's own rate, and gives a folder of frames one.
    Raises UserError if there is no clip at the path, or its contents are ambiguous.
    """
    if not source.is_dir():
        if source.suffix.lower() in IMAGE_SUFFIXES and source.exists():
            raise UserError(f"{source} is a single picture; {_WANTED}.")
        return [VideoFile(source, fps=fps)]
    folders, videos, others = _listing(source)
    if list_frames(source):
        _refuse_both(source, videos)
        clip = FrameFolder(source, fps)
        if hidden := [folder.name for folder in folders if list_frames(folder)]:
            clip.remarks.append(f"{source} contains frames itself: those in {some(hidden)} below it are left out")
        return [clip]
    found: list[tuple[Path, Footage]] = [(video, VideoFile(video, fps=fps)) for video in videos]
    for folder in folders:
        _, inner_videos, _ = _listing(folder)
        if list_frames(folder):
            _refuse_both(folder, inner_videos)
            found.append((folder, FrameFolder(folder, fps)))
        elif inner_videos:  # do not skip them silently
            raise UserError(
                f"{folder} holds {len(inner_videos)} videos ({some(path.name for path in inner_videos)}), a level "
                f"too deep in {source}. Give that folder itself as the input, or move its videos up."
            )
    if not found:
        names = some(path.name for path in (*folders, *others)) or "nothing"
        raise UserError(f"{source} holds no video and no frames, but {names}; {_WANTED}.")
    found.sort(key=lambda pair: pair[0].name)
    for (_, footage), name in zip(found, _unique(found), strict=True):
        footage.name = name
    return [footage for _, footage in found]


def as_footage(source: Path | str | BinaryIO | Footage, name: str = "", fps: float | None = None) -> Footage:
    """Return the single clip of a video file, a folder of frames, a file open for reading, or an input video.

    Raises UserError if there is no clip, or more than one.
    """
    if isinstance(source, Path | str):
        clips = footages(Path(source), fps)
        if len(clips) > 1:
            names = some(clip.name for clip in clips)
            raise UserError(f"{source} holds {len(clips)} clips ({names}), expected one; task=predict takes them all")
        (footage,) = clips
    else:
        footage = cast(Footage, source) if hasattr(source, "frames") else VideoFile(cast(BinaryIO, source), name, fps)
    footage.name = folder_name(name) if name else footage.name
    return footage


def _listing(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the folders, videos and other files in a folder by name, without hidden ones."""
    try:
        paths = sorted(Path(entry) for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} cannot be listed ({error.strerror}); {_WANTED}.") from error
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    return folders, videos, [path for path in files if path not in videos]


def _refuse_both(folder: Path, videos: list[Path]) -> None:
    if videos:
        raise UserError(
            f"{folder} holds both frames ({list_frames(folder)[0].path.name} …) and videos "
            f"({some(path.name for path in videos)}): is it a clip, or a folder of clips? Give one of the videos as "
            "the input, or move the frames to a folder of their own."
        )


def _unique(found: list[tuple[Path, Footage]]) -> list[str]:
    """Return a unique name for each: without the suffix if that is unique, else with it, else numbered."""
    short = Counter(footage.name.casefold() for _, footage in found)
    names: list[str] = []
    taken: set[str] = set()
    for path, footage in found:
        name = wanted = footage.name if short[footage.name.casefold()] == 1 else folder_name(path.name)
        number = 2
        while name.casefold() in taken:
            name, number = f"{wanted}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names
