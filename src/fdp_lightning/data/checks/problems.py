"""What a user should know of a clip, in one form for all who look: annotation, listing, pictures, faces."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True)
class Problem:
    """Something a user should know of a clip.

    Attributes:
        clip: its name in messages (`clips.clip_id`), or a folder or file.
        kind: one word for what is wrong.
        detail: what was found, and where.
        fatal: the clip cannot be used as it is annotated.
    """

    clip: str
    kind: str
    detail: str
    fatal: bool = True


def some(items: Iterable[object], most: int = 5) -> str:
    """The first few of some frame numbers or names; takes no more of them than it needs."""
    first = list(islice(items, most + 1))
    return ", ".join(map(str, first[:most])) + (" …" if len(first) > most else "")
