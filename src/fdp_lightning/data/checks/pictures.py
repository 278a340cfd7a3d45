"""Problems of a copy's pictures: sizes by one header per clip, or every picture decoded."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from fdp_lightning.data.annotations.clips import clip_id, has_interval
from fdp_lightning.data.checks.clips import Listing
from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.data.faces.frames import UnreadableImageError, decoded, image_size, read_image

Progress = Callable[[int, int], None]
_Clip = tuple[str, list[Path]]


def pictures(clips: pd.DataFrame, listings: Mapping[str, Listing]) -> list[_Clip]:
    """Return each clip that has pictures, with those of its interval."""
    found = []
    for usable, (_, row) in zip(has_interval(clips), clips.iterrows(), strict=True):
        files = listings[row["folder"]].files if usable else []
        paths = [file.path for file in files if row["onset"] <= file.number <= row["offset"]]
        if paths:
            found.append((clip_id(row), paths))
    return found


def size_problems(clips: Sequence[_Clip], workers: int = 1) -> list[Problem]:
    """Return clips whose first picture differs in size from most, by its header alone, and unreadable headers."""
    with ThreadPoolExecutor(workers) as pool:
        sizes = list(pool.map(_header_size, [paths[0] for _, paths in clips]))
    counts = Counter(size for size in sizes if not isinstance(size, str))
    usual = next((size for size, _ in counts.most_common(1)), (0, 0))
    found = []
    for (clip, paths), size in zip(clips, sizes, strict=True):
        if isinstance(size, str):
            found.append(Problem(clip, "unreadable_frame", size))
        elif size != usual:
            detail = f"{paths[0]} is {size[0]}x{size[1]}, most clips are {usual[0]}x{usual[1]}"
            found.append(Problem(clip, "odd_size", detail, fatal=False))
    return found


def decode_problems(clips: Sequence[_Clip], workers: int, progress: Progress) -> list[Problem]:
    """Return every picture that cannot be decoded or differs in size from the first of its clip, see `decoded`."""
    jobs = [(clip, path) for clip, paths in clips for path in paths]
    found: list[Problem] = []
    first_of: dict[str, tuple[int, int]] = {}
    sizes = decoded(_decoded_size, [path for _, path in jobs], workers, progress)
    for (clip, path), size in zip(jobs, sizes, strict=True):
        if isinstance(size, str):
            found.append(Problem(clip, "unreadable_frame", size))
        elif size != (first := first_of.setdefault(clip, size)):
            detail = f"{path} is {size[0]}x{size[1]}, the clip began with {first[0]}x{first[1]}"
            found.append(Problem(clip, "odd_size", detail))
    return found


def _header_size(path: Path) -> tuple[int, int] | str:
    """Return width and height, or what is wrong with the file."""
    try:
        return image_size(path)
    except UnreadableImageError as error:
        return str(error)


def _decoded_size(path: Path) -> tuple[int, int] | str:
    try:
        height, width = read_image(path).shape[:2]
    except UnreadableImageError as error:
        return str(error)
    return width, height
