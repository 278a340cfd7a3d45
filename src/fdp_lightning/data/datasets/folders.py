"""Finding folders the way people write their names: in other letters' case than the annotation does."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path


class Folders:
    """Paths below a folder, without regard to case.

    Args:
        root: the folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names = cache(_names_in)  # one listing per folder, forgotten with this object

    def find(self, *parts: str) -> str:
        """The path of `parts` below the root as it is written on disk; as asked for, where nothing is found.

        The very name wins over one that differs in case.
        """
        place = self.root
        for part in parts:
            names = self._names(str(place))
            place = place / (part if part in names.values() else names.get(part.lower(), part))
        return str(place)


def existing(root: Path, candidates: Iterable[str]) -> Path:
    """The first of several folders below `root` that exists, without regard to case; else the first as asked for."""
    folders = Folders(root)
    places = [Path(folders.find(*Path(candidate).parts)) for candidate in candidates]
    return next((place for place in places if is_folder(place)), places[0])


def is_folder(path: Path) -> bool:
    """Whether there is a folder, as far as we may look: Path.is_dir raises where a folder above it is closed to us."""
    try:
        return path.is_dir()
    except OSError:
        return False


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, without hidden ones and those of macOS; [] where there is none to look into."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in inside if not path.name.startswith((".", "__MACOSX")) and is_folder(path)]


def _names_in(folder: str) -> dict[str, str]:
    """The name of each entry by the same name in small letters."""
    try:
        return {path.name.lower(): path.name for path in sorted(Path(folder).iterdir())}
    except OSError:  # missing, a file, or not ours to read: whoever lists the frames will say so under the clip's name
        return {}
