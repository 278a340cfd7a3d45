"""Finished folds: sealed with checksums, known again by their fingerprint, verified when they are read."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from fdp_lightning.errors import UserError
from fdp_lightning.files import sha256, write_atomic
from fdp_lightning.foreign import MOST_BYTES_OF_ANY, inside, read_json, require_plain, require_plain_tree

_UNSEALED = ("log", "wandb")
"""Folders of loggers, which go on writing; nothing of them is read."""

_CURE = "Give the command of the run again (task=loso): finished folds are kept, this one is made anew."


def seal(fold: Path, facts: dict[str, Any]) -> None:
    """Write fold.json, the mark of a finished fold, with the checksums of its files."""
    checksums = {name: sha256(fold / name) for name in _files(fold)}
    write_atomic(fold / "fold.json", json.dumps({**facts, "checksums": checksums}, indent=1))


def finished(fold: Path, fingerprint: str, checkpoints: bool = False) -> tuple[bool, str]:
    """Return whether a fold can be used as it is, and if not, why ('' when there is none yet).

    Args:
        fold: its folder.
        fingerprint: of the settings that are asked for.
        checkpoints: compare their checksums too, which takes long: of a fit, of which nothing else is used. Who reads
            the checkpoint of a fold verifies it then.
    """
    if not fold.exists():
        return False, ""
    try:
        facts = sealed(fold, checkpoints)
    except UserError as error:
        return False, str(error).split("\n")[0]
    if facts["fingerprint"] != fingerprint:
        return False, "it was made with other settings, clips or source code"
    return True, ""


def sealed(fold: Path, checkpoints: bool = True) -> dict[str, Any]:
    """Return the facts of a finished fold whose files are all as they were written.

    Args:
        fold: its folder.
        checkpoints: compare their checksums too.

    Raises:
        UserError: naming what is missing, changed, added or no plain file.
    """
    try:
        require_plain_tree(fold, but=_UNSEALED)
        facts = read_json(fold / "fold.json")
        subjects = facts["subjects"]
        if not re.fullmatch(r"[0-9a-f]{12}", facts["fingerprint"]) or any(
            not isinstance(subjects[side], list) or not all(isinstance(one, str) for one in subjects[side])
            for side in ("train", "inner", "test")
        ):
            raise KeyError("fingerprint or subjects")
        checksums = facts["checksums"]
        places = {name: inside(fold, name) for name in checksums}
        if added := sorted(set(_files(fold)) - set(places)):
            raise UserError(f"{fold / added[0]} was not written with this fold\n  {_CURE}")
        for name, place in places.items():
            require_plain(place, MOST_BYTES_OF_ANY)  # also what is not sealed: a pipe among logs
            if (checkpoints or not name.startswith("checkpoints/")) and sha256(place) != checksums[name]:
                cure = f"Remove {fold}. {_CURE}" if name.startswith("checkpoints/") else _CURE
                raise UserError(f"{place} is not what was written (checksum differs)\n  {cure}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{fold} is not whole ({error!r})\n  {_CURE}") from error
    return dict(facts)


def move_aside(run: Path, fold: Path) -> Path:
    """Move a fold that cannot be used out of the way, keeping it."""
    place = run / "superseded"
    place.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in place.glob(f"{fold.name}-*")) + 1
    return Path(shutil.move(fold, place / f"{fold.name}-{number}"))


def _files(fold: Path) -> list[str]:
    """Return the names of the files that are sealed, sorted."""
    paths = sorted(path for path in fold.rglob("*") if path.is_file())
    names = [path.relative_to(fold) for path in paths]
    return [
        name.as_posix() for name in names
        if name.as_posix() not in ("fold.json", "log.txt") and not set(name.parts[:-1]) & set(_UNSEALED)
    ]  # fmt: skip
