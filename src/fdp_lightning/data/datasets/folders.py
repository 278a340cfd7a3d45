"""Case-insensitive search for folders, because names on disk often differ in case from the annotation."""

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path


class Folders:
    """Case-insensitive lookup of paths below a folder, which need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names = cache(_names_in)  # one listing per folder and object

    def find(self, *parts: str) -> str:
        """Return the path of `parts` as written on disk, preferring the same case; as given if there is none."""
        place = self.root
        for part in parts:
            names = self._names(str(place))
            place = place / (part if part in names.values() else names.get(part.lower(), part))
        return str(place)

    def first(self, candidates: Iterable[Sequence[str]]) -> str:
        """Return the first of several paths, each given as parts, that is a folder; else the first as given."""
        places = [self.find(*parts) for parts in candidates]
        return next((place for place in places if is_folder(Path(place))), places[0])


def existing(root: Path, candidates: Iterable[str]) -> Path:
    """Return the first of several folders below `root` that exists, regardless of case; else the first as given."""
    return Path(Folders(root).first(Path(candidate).parts for candidate in candidates))


def is_folder(path: Path) -> bool:
    """Return True if `path` is a folder, False if access is denied (Path.is_dir raises if a parent is unreadable)."""
    return os.path.isdir(path)  # noqa: PTH112


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted by name, without hidden and macOS ones; [] if it cannot be listed."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in inside if not path.name.startswith((".", "__MACOSX")) and is_folder(path)]


def _names_in(folder: str) -> dict[str, str]:
    try:
        return {path.name.lower(): path.name for path in sorted(Path(folder).iterdir())}
    except OSError:  # missing, a file, or unreadable: listing the frames reports it under the clip's name
        return {}
