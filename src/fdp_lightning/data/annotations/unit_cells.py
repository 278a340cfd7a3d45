"""Cells of action units in a clip table, as a protocol reads them."""

from collections.abc import Mapping, Sequence

import pandas as pd

from fdp_lightning.data.annotations.action_units import ActionUnits, parse
from fdp_lightning.data.annotations.clips import name_clips
from fdp_lightning.errors import UserError
from fdp_lightning.labels import JOIN


def as_meant(clips: pd.DataFrame, read_as: Mapping[str, str]) -> pd.Series:
    """Return the clips' cells, with ambiguous ones replaced as `read_as` ('subject/clip' → cell) gives them."""
    meant = (clips["subject"] + "/" + clips["clip"]).map(dict(read_as))
    plain = clips["action_units"].map(lambda cell: _is_plain(parse(cell)))
    return clips["action_units"].where(meant.isna() | plain, meant)


def classes_shown(cell: str, classes: Mapping[str, Sequence[object]]) -> str:
    """Return the classes (name → unit numbers) that a cell shows, joined by '+'; '' if none."""
    shown = {str(number) for number in parse(cell).numbers}
    return JOIN.join(name for name, labels in classes.items() if shown & {str(label) for label in labels})


def unreadable_words(cells: pd.Series) -> pd.Series:
    """Return the unreadable words of each cell, '' where all of it can be parsed."""
    return cells.map(lambda cell: ", ".join(parse(cell).unreadable))


def unreadable_lines(clips: pd.DataFrame, words: pd.Series) -> list[str]:
    """Return a line on each unreadable notation, with its cells and clips.

    Args:
        clips: clip table.
        words: words from `unreadable_words`, one entry per clip.
    """
    return [
        f"no action unit, '{word}' in {', '.join(map(repr, part['action_units'].unique()))}: {len(part)} "
        f"({name_clips(part, most=400)}); say what is meant: protocol.read_as"
        for word, part in clips.assign(words=words)[words != ""].groupby("words")
    ]


def check_units(classes: Mapping[str, Sequence[object]], read_as: object, protocol: str) -> None:
    """Raise UserError if a class name contains the joining sign, or a label or a `read_as` cell is no plain unit."""
    if joined := [name for name in classes if JOIN in name or not name]:
        raise UserError(
            f"protocol.classes of {protocol}: '{joined[0]}' cannot be the name of an action unit, because clips "
            f"with several are written with a {JOIN} between them. Expected a name such as AU12"
        )
    labels = [str(label) for labels in classes.values() for label in labels]
    if unread := [label for label in labels if not (label.isascii() and label.isdigit() and 0 < int(label) < 100)]:
        raise UserError(
            f"protocol.classes of {protocol}: '{unread[0]}' is no action unit; expected numbers, as in AU12: [12]"
        )
    if not isinstance(read_as, Mapping):
        raise UserError(f"protocol.read_as of {protocol}: expected subject/clip: units, found {read_as!r}")
    for clip, cell in read_as.items():
        if not isinstance(cell, str) or not _is_plain(parse(cell)):
            raise UserError(
                f"protocol.read_as of {protocol} reads {clip} as {cell!r}; expected action units in quotes, without "
                '"?" or "or", as in "R12+R15"'
            )


def _is_plain(units: ActionUnits) -> bool:
    """Return True if a cell is unambiguous."""
    return not (units.uncertain or units.unreadable)
