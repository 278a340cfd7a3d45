"""Finished folds: sealed with checksums, identified by their fingerprint, verified when read."""

import json
import re
import shutil
from itertools import count
from pathlib import Path
from typing import Any

from fdp_lightning.errors import UserError, first_line
from fdp_lightning.files import sha256, write_atomic
from fdp_lightning.foreign import MOST_BYTES_OF_ANY, inside, read_json, require_plain, require_plain_tree

_UNSEALED = ("log", "wandb", "model")
"""Folders of loggers and of `task=export`, which may be written later; no score is read from them."""

_UNSEALED_FILES = ("fold.json", "log.txt", "model.onnx")

_CURE = "Repeat the run's command (task=loso): finished folds are kept, this one is trained again."


def seal(fold: Path, facts: dict[str, Any]) -> None:
    """Write fold.json, which marks a fold as finished, with the checksums of its files."""
    checksums = {name: sha256(fold / name) for name in _files(fold)}
    write_atomic(fold / "fold.json", json.dumps({**facts, "checksums": checksums}, indent=1))


def finished(fold: Path, fingerprint: str, checkpoints: bool = False) -> tuple[bool, str]:
    """Return True if a fold can be used, else False and the reason ('' if there is no fold yet).

    With `checkpoints`, their checksums are compared too, which is slow; a fit needs it, because only they are used. A
    fold's checkpoint is verified when it is read.
    """
    if not fold.exists():
        return False, ""
    try:
        facts = sealed(fold, checkpoints)
    except UserError as error:
        return False, first_line(error)
    if facts["fingerprint"] != fingerprint:
        return False, "it was trained with other settings, clips or source code"
    return True, ""


def sealed(fold: Path, checkpoints: bool = True) -> dict[str, Any]:
    """Return the facts of a finished fold after verifying its files, including checkpoints if `checkpoints`.

    UserError if a file is missing, changed, added or not a plain file.
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
            raise UserError(f"{fold / added[0]} is not part of this fold as it was written\n  {_CURE}")
        for name, place in places.items():
            require_plain(place, MOST_BYTES_OF_ANY)  # also for unsealed files, such as a pipe among the logs
            if (checkpoints or not name.startswith("checkpoints/")) and sha256(place) != checksums[name]:
                cure = f"Remove {fold}. {_CURE}" if name.startswith("checkpoints/") else _CURE
                raise UserError(f"{place} has changed since it was written (checksum differs)\n  {cure}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{fold} is not complete ({error!r})\n  {_CURE}") from error
    return dict(facts)


def move_aside(run: Path, fold: Path) -> Path:
    """Move an unusable fold to `superseded` instead of deleting it."""
    place = run / "superseded"
    place.mkdir(parents=True, exist_ok=True)
    free = next(target for n in count(1) if not (target := place / f"{fold.name}-{n}").exists())
    return Path(shutil.move(fold, free))


def _files(fold: Path) -> list[str]:
    """Return the names of the sealed files, sorted, without hidden files that systems create (.DS_Store)."""
    names = [path.relative_to(fold) for path in fold.rglob("*") if path.is_file()]
    return sorted(
        name.as_posix()
        for name in names
        if name.as_posix() not in _UNSEALED_FILES
        and not set(name.parts[:-1]) & set(_UNSEALED)
        and not any(part.startswith(".") for part in name.parts)
    )
