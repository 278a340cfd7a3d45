"""Problems of clips, in one form for all checks: annotation, listing, pictures, faces."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True)
class Problem:
    """A problem of a clip that the user should know about.

    Attributes:
        clip: clip id (`clips.clip_id`), or a folder or file.
        kind: identifier of the kind of problem.
        detail: description of what was found, and where.
        fatal: True if the clip cannot be used as annotated.
    """

    clip: str
    kind: str
    detail: str
    fatal: bool = True


def some(items: Iterable[object], most: int = 5) -> str:
    """List the first few frame numbers or names; consumes no more items than needed."""
    first = list(islice(items, most + 1))
    return ", ".join(map(str, first[:most])) + (" …" if len(first) > most else "")
