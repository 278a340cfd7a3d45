"""Read third-party files, such as model files and run folders, as plain data.

No link, pipe or device is opened, no path leads out of the folder, no interpolation is resolved, and no stated size is
trusted.
"""

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdp_lightning.errors import UserError, first_line

MOST_BYTES = 1 << 28  # size limit of a description, a table or a page; weight files have their own

MOST_BYTES_OF_ANY = 1 << 40

ESCAPES = re.compile("[\x1b\x9b]")
"""Characters that start a terminal command when text is printed."""

_LONGEST_TEXT = 4000
_MOST_VALUES = 1_000_000
_DEEPEST = 12
_LARGEST = 1e300


def require_plain(path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Require a plain file: a link leads elsewhere, a device never ends, a pipe waits for its other end.

    UserError if it is one of them or a folder, or larger than `most_bytes`; FileNotFoundError if it does not exist.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "a folder, a pipe or a device"
        raise UserError(f"{path} is {kind}; expected a plain file")
    if found.st_size > most_bytes:
        raise UserError(f"{path} has {found.st_size} bytes; expected at most {most_bytes}")


def read_plain(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Read a third-party file, see `require_plain`; OSError if it cannot be read."""
    require_plain(path, most_bytes)
    return path.read_bytes()


def inside(folder: Path, name: object) -> Path:
    """Return the path of a file that a list in a folder names; UserError if it leads out of it or through a link."""
    parts = Path(name).parts if isinstance(name, str) else ()
    if not parts or Path(str(name)).is_absolute() or ".." in parts or "\0" in str(name):
        raise UserError(f"{folder} names the file {name!r}; expected one in this folder")
    place = folder
    for part in parts[:-1]:
        place = place / part
        if place.is_symlink():
            raise UserError(f"{place} is a link; expected a plain folder")
    return folder / str(name)


def require_plain_tree(folder: Path, but: tuple[str, ...] = ()) -> None:
    """Raise UserError for the first entry below a folder that is neither a plain file nor a folder.

    The folder itself may be a link, since the user named it. Folders named in `but` are not checked, because nothing in
    them is read.
    """
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in but)
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise UserError(f"{Path(place) / name} is a link; expected a plain folder")
        for name in sorted(files):
            require_plain(Path(place) / name, MOST_BYTES_OF_ANY)


def read_json(path: Path) -> Any:
    """Read plain JSON, see `require_values`; UserError for anything else, FileNotFoundError if there is no file."""
    data = read_plain(path)
    try:
        content = json.loads(data)
        require_values(content, longest_text=MOST_BYTES, interpolations=True)  # they are not resolved in JSON
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON ({error})") from error
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping of plain values as written by Hydra and OmegaConf, without resolving anything.

    UserError if it is not a plain file or YAML mapping, or contains aliases, interpolations or other objects;
    FileNotFoundError if it does not exist.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    data = read_plain(path)
    try:
        text = data.decode("utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError("it contains aliases")
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False) if text.strip() else {}
        require_values(content)
        if not isinstance(content, dict):
            raise ValueError("it is not a mapping")
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        reason = first_line(error)
        raise UserError(
            f"{path}: expected YAML of plain values ({reason}). The run's command writes it again"
        ) from error
    return content  # type: ignore[return-value]


def require_values(content: Any, longest_text: int = _LONGEST_TEXT, interpolations: bool = False) -> None:
    """Require finite numbers, text, and bounded lists and mappings of them; ValueError names anything else.

    `longest_text` is in characters; `interpolations` allows text that OmegaConf would resolve.
    """
    left = _MOST_VALUES
    todo = [(content, 0)]
    while todo:
        value, depth = todo.pop()
        left -= 1
        if depth > _DEEPEST or left < 0:
            raise ValueError(f"it is nested more than {_DEEPEST} deep, or holds more than {_MOST_VALUES} values")
        if isinstance(value, str):
            if ("${" in value and not interpolations) or len(value) > longest_text:
                raise ValueError(f"an interpolation or a text of more than {longest_text} characters: {value[:60]!r}")
            if ESCAPES.search(value):
                raise ValueError(f"a command to the terminal: {value[:60]!r}")
        elif isinstance(value, int | float):  # a bool is an int
            if not abs(value) <= _LARGEST:  # also true for NaN; isfinite fails for large integers
                raise ValueError(f"{value!s:.40} is not a finite number of at most {_LARGEST:.0e}")
        elif isinstance(value, Mapping):
            if odd := [key for key in value if not isinstance(key, str | int)]:
                raise ValueError(f"the key {odd[0]!r} is not text")
            todo += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, list | tuple):
            todo += [(inner, depth + 1) for inner in value]
        elif value is not None:
            raise ValueError(f"{value!r} is a {type(value).__name__}; expected numbers, text, lists and mappings")
